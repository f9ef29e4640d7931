"""What a strategy is shown: never a row of the test part, never the fold it is compared on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from studies import make_task

from whichway import Options, Watcher, load_task, registry, run_study
from whichway.study.split import make_split


@dataclass(frozen=True)
class Spy:
    """A strategy that writes down all it was shown."""

    learnt: ClassVar[list[set[str]]] = []
    tasks: ClassVar[list[Any]] = []
    needs: ClassVar[tuple[str, ...]] = ()
    trains: ClassVar[bool] = False

    def fit(self, task: Any, train: Any, dev: Any, kit: Any) -> Any:
        self.learnt.append({row.id for row in [*train, *dev]})
        self.tasks.append(task)
        return self.load(task, kit.folder, kit)

    def load(self, task: Any, folder: Path, kit: Any) -> Any:
        return registry.get("strategy", "majority")().fit(task, EXAMPLE_ROWS, [], kit)


EXAMPLE_ROWS: list[Any] = []


@pytest.fixture
def spied(tmp_path, monkeypatch):
    """Return a function that runs a study with the spy: (loaded task, spy, split)."""
    registry.names("strategy")
    monkeypatch.setitem(registry._things["strategy"], "spy", Spy)

    def run(n: int, **how: Any):
        for seen in (Spy.learnt, Spy.tasks, EXAMPLE_ROWS):
            seen.clear()
        loaded = load_task(make_task(tmp_path, n, **how))
        EXAMPLE_ROWS.extend(loaded.examples[:1])
        run_study(loaded, tmp_path / "run", Options(only=("spy",)), Watcher())
        return loaded, make_split(loaded.examples, loaded.test, loaded.settings.seed)

    return run


@pytest.mark.parametrize("n", [120, 160, 400])
def test_no_strategy_ever_learns_from_the_test_part_nor_from_the_fold_it_is_compared_on(spied, n):
    loaded, split = spied(n)
    assert len(Spy.learnt) == len(split.folds) + bool(split.test)
    for learnt, fold in zip(Spy.learnt, split.folds):
        assert learnt == {*fold.train, *fold.dev}
        assert not learnt & {*fold.validation, *split.test}
    for learnt in Spy.learnt:
        assert not learnt & set(split.test)
    if split.test:
        assert Spy.learnt[-1] == set(split.learning)  # the refit before certification


def test_the_task_a_strategy_is_given_carries_no_rows(spied):
    loaded, _ = spied(160)
    said = repr(Spy.tasks[0])
    assert not any(str(row.inputs["message"]) in said for row in loaded.examples)

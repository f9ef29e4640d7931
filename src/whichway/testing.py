"""Contract checks that a new format, metric or strategy must pass; a plug-in calls them in its own tests."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from whichway.core.fields import Fields
from whichway.core.output import Labels
from whichway.core.strategy import PICKLED, Kit, Solution, Strategy
from whichway.core.task import Example, Inputs, Metric, Prediction, Task, Value
from whichway.core.text import Text

RESAMPLES = 20
CLOSE = 1e-4  # how far a confidence may move with the batch or after loading, without a neural network
NEURAL_CLOSE = 0.02  # the same with one: matrix products in bfloat16 depend on the size of the batch
PICKLE_STARTS = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6)) + (b"PK\x03\x04",)


class ContractBroken(AssertionError):
    """A thing does not keep what its kind promises; the message says which promise."""


def check_metric(metric: Metric, examples: Sequence[Example], predictions: Sequence[Prediction]) -> None:
    """Check a metric on answers of any quality; raises ContractBroken.

    Scores are plain JSON data, `aggregate` takes any resample of them in any order and stays within `bounds`, `is_mean`
    and `by_value` (optional) are true to their word, `resample` (optional) agrees with `aggregate`, `score_examples`
    (optional) with `score_example`; right answers score no less than the given ones, but where the class says
    `uses_target = False`.
    """
    _must(bool(metric.name) and isinstance(metric.is_mean, bool), "a metric has a name, and is_mean is a bool")
    low, high = metric.bounds
    _must(low < high, f"bounds go from low to high, not from {low} to {high}")
    scores = [metric.score_example(row, one) for row, one in zip(examples, predictions, strict=True)]
    again = [metric.score_example(row, one) for row, one in zip(examples, predictions, strict=True)]
    _must(scores == again, "score_example gives the same for the same answer")
    if getattr(metric, "by_value", False):
        unsure = [replace(one, confidence=(one.confidence + 0.5) % 1, scores=None) for one in predictions]
        told = [metric.score_example(row, one) for row, one in zip(examples, unsure, strict=True)]
        _must(told == scores, "by_value says that confidences change nothing")
    kept = _through_json(scores, "score_example")
    whole = metric.aggregate(scores)
    _must(isinstance(whole, float), f"aggregate returns a float, not {type(whole).__name__}")
    _close(metric.aggregate(kept), whole, "aggregate is the same for scores that went through JSON")
    rng = random.Random(0)
    for size in (1, 2, len(scores)):
        for _ in range(RESAMPLES):
            picked = [rng.choice(scores) for _ in range(size)]
            found = metric.aggregate(picked)
            _must(low - 1e-9 <= found <= high + 1e-9, f"the aggregate {found} of a resample lies outside its bounds")
            mixed = rng.sample(picked, len(picked))
            _close(metric.aggregate(mixed), found, "the order of rows does not matter")
            if metric.is_mean:
                _close(found, sum(picked) / len(picked), "is_mean says that aggregate is the mean of the scores")
    _check_resample(metric, scores, rng)
    if hasattr(metric, "score_examples"):
        together = metric.aggregate(metric.score_examples(examples, predictions))
        _must(abs(together - whole) <= NEURAL_CLOSE, "score_examples gives what score_example gives")
    if not getattr(metric, "uses_target", True):
        return
    right = [metric.score_example(row, _right(row, one)) for row, one in zip(examples, predictions, strict=True)]
    _must(metric.aggregate(right) >= whole - 1e-9, "higher is better: right answers score no less than these")


def check_strategy(
    strategy: Strategy,
    task: Task,
    train: Sequence[Example],
    dev: Sequence[Example],
    inputs: Sequence[Inputs],
    kit: Kit,
) -> None:
    """Fit a strategy on rows of a task, use it, save it and load it again; raises ContractBroken.

    `kit.folder` is an empty folder. It fits once where a model has a part in it (`needs`, `helped_by`), else twice with one seed.
    """
    _check_recipe(strategy)
    _must(not _holds_examples(task), "the task carries no examples")
    before = asdict(strategy)  # type: ignore[call-overload]
    solution = _fitted(strategy, task, train, dev, replace(kit, folder=kit.folder / "fit"))
    _must(asdict(strategy) == before, "fit leaves the settings as they are")  # type: ignore[call-overload]
    watched = [_Watched(row, task) for row in inputs]
    answers = solution.predict(watched)
    asked = sorted({name for row in watched for name in row.strange})
    _must(not asked, f"a solution reads the fields of the task alone, not {', '.join(asked)}")
    _check_answers(task, inputs, answers)
    if not _is_neural(strategy, kit):
        _same(list(reversed(solution.predict(list(reversed(inputs))))), answers, CLOSE, "in another order")
        _same([solution.predict([row])[0] for row in inputs], answers, CLOSE, "one row at a time")
        twin = _fitted(strategy, task, train, dev, replace(kit, folder=kit.folder / "twin"))
        _same(twin.predict(inputs), answers, CLOSE, "when fitted again with the same seed")
    _check_saving(strategy, solution, task, inputs, kit)
    _must(list(solution.predict([])) == [], "no rows give no answers")


def check_format(format: Any, path: Path, rows: int) -> None:
    """Check a format on a sample file that is its own and holds this many rows; raises ContractBroken."""
    from whichway.intake.source import open_source

    source = open_source(path)
    _must(all(one.startswith(".") and one == one.lower() for one in format.suffixes), "suffixes look like '.csv'")
    _must(format.claim(source) in (1, 2), f"claim returns 1 or 2 for its own file, not {format.claim(source)!r}")
    found = format.read(source)
    _must(len(found.rows) == rows, f"{len(found.rows)} rows were read, {rows} are there")
    _must(len(found.lines) == rows and list(found.lines) == sorted(found.lines), "each row has its line, in order")
    _must(all(line >= 1 for line in found.lines), "lines count from 1")
    _must(all(isinstance(key, str) for row in found.rows for key in row), "columns are named by text")
    named = {*found.inputs, *([found.target] if found.target else [])}
    columns = set(found.columns) or {key for row in found.rows for key in row}
    _must(named <= columns, f"inputs and target are columns: {sorted(named - columns)} are not")
    _must(format.read(source) == found, "reading again gives the same")
    strange = replace(source, data=b"<?xml version='1.0'?>", text="<?xml version='1.0'?><rows/>")
    _must(format.claim(strange) == 0, "claim returns 0 for what no format reads")


class _Watched(Mapping[str, Value]):
    """A row that remembers which names beyond the task's fields it was asked for."""

    def __init__(self, row: Inputs, task: Task) -> None:
        self.row = {one.name: row.get(one.name) for one in task.fields}
        self.strange: set[str] = set()

    def __getitem__(self, name: str) -> Value:
        if name not in self.row:
            self.strange.add(name)
        return self.row[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.row)

    def __len__(self) -> int:
        return len(self.row)


def _fitted(strategy: Strategy, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> Solution:
    kit.folder.mkdir(parents=True)
    return strategy.fit(task, train, dev, kit)


def _check_recipe(strategy: Any) -> None:
    frozen = is_dataclass(strategy) and getattr(type(strategy), "__dataclass_params__").frozen  # noqa: B009
    _must(bool(frozen), "a strategy is a frozen dataclass of settings")
    own = {one.name for one in fields(strategy)}
    _must(not {"needs", "trains"} & own, "needs and trains are class attributes, not settings")
    _must(isinstance(strategy.needs, tuple) and isinstance(strategy.trains, bool), "needs is a tuple, trains a bool")
    _through_json(asdict(strategy), "a strategy's settings")


def _holds_examples(thing: Any, depth: int = 4) -> bool:
    """Search what a task holds, a few levels deep, for an Example."""
    if isinstance(thing, Example) or depth == 0:
        return isinstance(thing, Example)
    if isinstance(thing, Mapping):
        return any(_holds_examples(one, depth - 1) for one in thing.values())
    if isinstance(thing, (list, tuple, set, frozenset)):
        return any(_holds_examples(one, depth - 1) for one in thing)
    return any(_holds_examples(one, depth - 1) for one in getattr(thing, "__dict__", {}).values())


def _check_answers(task: Task, inputs: Sequence[Inputs], answers: Sequence[Prediction]) -> None:
    _must(len(answers) == len(inputs), f"{len(inputs)} rows were asked and {len(answers)} answered: one answer per row")
    for one in answers:
        _must(isinstance(one, Prediction), f"an answer is a Prediction, not a {type(one).__name__}")
        _must(_is_share(one.confidence), f"a confidence lies in [0, 1]; {one.confidence!r} does not")
        _must(_is_valid(task.output, one.value), f"{one.value!r} is no value of the task's output")
        names = set(task.output.names) if isinstance(task.output, Labels) else set()
        known = one.scores is None or set(one.scores) <= names
        _must(known and all(_is_share(p) for p in (one.scores or {}).values()), "scores map labels to probabilities")


def _is_valid(output: Labels | Fields | Text, value: Any) -> bool:
    if isinstance(output, Fields):
        return isinstance(value, dict)
    if isinstance(output, Text):
        return isinstance(value, str)
    if not output.multi:
        return isinstance(value, str) and value in output.names
    return isinstance(value, tuple) and list(value) == sorted(set(value)) and set(value) <= set(output.names)


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and 0 <= value <= 1


def _check_saving(strategy: Strategy, solution: Solution, task: Task, inputs: Sequence[Inputs], kit: Kit) -> None:
    """Load from the saved folder alone: what fitting left elsewhere is gone by then."""
    saved = kit.folder / "saved"
    saved.mkdir()
    before = solution.predict(inputs)
    solution.save(saved)
    files = [one for one in saved.rglob("*") if one.is_file()]
    _must(bool(files), "save writes something")
    pickled = [one.name for one in files if one.suffix in PICKLED or _begins_like_pickle(one)]
    _must(not pickled, f"a solution is saved in open formats, never as pickle: {', '.join(pickled)}")
    shutil.rmtree(kit.folder / "fit")
    after = strategy.load(task, saved, replace(kit, folder=saved)).predict(inputs)
    _same(after, before, NEURAL_CLOSE if _is_neural(strategy, kit) else CLOSE, "when saved and loaded")


def _is_neural(strategy: Strategy, kit: Kit) -> bool:
    """Tell whether a model has a part in the answers, whose numbers depend a little on what is computed beside them."""
    return bool(strategy.needs or (getattr(strategy, "helped_by", ()) and kit.embedder is not None))


def _begins_like_pickle(file: Path) -> bool:
    with file.open("rb") as data:
        return data.read(4).startswith(PICKLE_STARTS)


def _check_resample(metric: Any, scores: Sequence[Any], rng: random.Random) -> None:
    if not hasattr(metric, "resample"):
        return
    import numpy as np

    index = np.array([[rng.randrange(len(scores)) for _ in scores] for _ in range(RESAMPLES)])
    found = metric.resample(scores, index)
    _must(len(found) == RESAMPLES, "resample returns one number per resample")
    for row, value in zip(index, found, strict=True):
        _close(float(value), metric.aggregate([scores[i] for i in row]), "resample agrees with aggregate")


def _right(row: Example, given: Prediction) -> Prediction:
    if given.scores is None:
        return replace(given, value=row.target, confidence=1.0, parsed=True)
    labels = {row.target} if isinstance(row.target, str) else set(row.target)
    names = labels | set(given.scores)
    return Prediction(row.target, 1.0, {name: float(name in labels) for name in names})


def _through_json(value: Any, what: str) -> Any:
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ContractBroken(f"Broken: {what} is plain JSON data ({error}).") from error


def _same(found: Sequence[Prediction], wanted: Sequence[Prediction], close: float, when: str) -> None:
    _must(len(found) == len(wanted), f"as many answers {when}")
    for one, other in zip(found, wanted, strict=True):
        near = abs(one.confidence - other.confidence) <= close
        _must(one.value == other.value and near, f"the same answers {when}: {one} is not {other}")


def _close(found: float, wanted: float, promise: str) -> None:
    _must(math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-9), f"{promise}: {found} is not {wanted}")


def _must(kept: bool, promise: str) -> None:
    if not kept:
        raise ContractBroken(f"Broken: {promise}.")

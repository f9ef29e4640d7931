"""The bench runs: its sides on two rows each, and a side that fails costs the bench one row of its table."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HOME = Path(__file__).resolve().parent.parent
BENCH = HOME / "bench"
PROMPTS = ["The box was crushed.\nAnswer:", "The box came a day early, thank you.\nAnswer:"]
LABELS = [" bad", " good"]
SIDES = {
    "score": ("whichway", "plain", "copied_prefix"),
    "step": ("whichway", "peft"),
    "train": ("whichway", "full", "trl_defaults", "trl_best"),
    "generate": ("whichway", "whichway_single", "transformers"),
    "embed": ("whichway", "whichway_again", "sentence_transformers"),
}


@pytest.fixture
def side(monkeypatch):
    """Import a script of bench/sides as if it were run: its neighbours are found by their bare names."""
    monkeypatch.syspath_prepend(str(BENCH / "sides"))
    own = {one.stem for one in (BENCH / "sides").glob("*.py")}
    monkeypatch.setenv("ROWS", "2")
    monkeypatch.setenv("BATCH", "2")

    def load(name: str) -> ModuleType:
        for one in own:
            sys.modules.pop(one, None)
        return importlib.import_module(name)

    yield load
    for one in own:
        sys.modules.pop(one, None)


def inputs(script: str) -> dict[str, Any]:
    """Return what bench/compare.py would give to a script, of two rows of our own."""
    from whichway.models.embedded import causal_folder, encoder_folder

    if script == "embed":
        return {"model": str(encoder_folder()), "texts": PROMPTS, "targets": ["a", "a"]}
    pairs = {"prompts": PROMPTS, "completions": LABELS, "held_prompts": PROMPTS, "held_completions": LABELS}
    scored = {"groups": [PROMPTS], "labels": LABELS, "targets": [0, 1]}
    return {"model": str(causal_folder()), "new": 3, **scored, **pairs}


@pytest.mark.slow
@pytest.mark.parametrize(("script", "name"), [(script, name) for script, names in SIDES.items() for name in names])
def test_every_side_that_needs_no_other_environment_runs_on_two_rows(side, script, name, monkeypatch):
    pytest.importorskip("torch")
    module = side(script)
    monkeypatch.setattr(module, "STEPS", 2, raising=False)
    found = getattr(module, name)(inputs(script))()
    assert found["rows"] > 0 and isinstance(found["quality"], float)

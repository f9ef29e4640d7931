"""Without the packages of the extra `local` everything else works, and what does not names the extra."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from studies import make_task, report_of, whichway

HIDING = """
import importlib.util, sys
GONE = {"torch", "transformers", "sentence_transformers", "trl", "peft"}
seen = importlib.util.find_spec
def find_spec(name, package=None):
    return None if name.split(".")[0] in GONE else seen(name, package)
importlib.util.find_spec = find_spec
class Gone:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in GONE:
            raise ImportError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Gone)
"""


@pytest.fixture
def core(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that finds none of these packages."""
    (tmp_path / "hiding").mkdir()
    (tmp_path / "hiding" / "sitecustomize.py").write_text(HIDING)
    return {"PYTHONPATH": str(tmp_path / "hiding"), "WHICHWAY_CACHE": str(tmp_path / "cache")}


@pytest.mark.slow
def test_a_core_install_runs_what_it_can_and_names_the_extra_for_the_rest(tmp_path: Path, core: dict[str, str]) -> None:
    task, run = make_task(tmp_path, 90), tmp_path / "run"
    done = whichway("run", task, "--out", run, **core)
    assert done.returncode == 0, done.stderr
    trials = {one["strategy"]: one for one in report_of(run)["trials"]}
    ran = {name for name, one in trials.items() if one["state"] == "done"}
    assert ran == {"majority", "classic"}
    assert {"probe", "prompt-zero", "prompt-nearest", "encoder", "finetune", "hybrid"} <= set(trials)
    for name in set(trials) - ran:
        assert trials[name]["state"] == "skipped", trials[name]
        words = ("serves", "documents", "without labels", "able to reflect")
        no_fit = any(one in trials[name]["reason"] for one in words)
        assert "whichway[local]" in trials[name]["reason"] or no_fit, trials[name]
    (tmp_path / "in.jsonl").write_text('{"message": "parcel late courier box", "amount": 1}\n')
    done = whichway("predict", run, tmp_path / "in.jsonl", **core)
    assert json.loads(done.stdout)["output"] == "delivery"


@pytest.mark.slow
def test_the_doctor_of_a_core_install_is_content_and_says_what_is_closed(tmp_path: Path, core: dict[str, str]) -> None:
    done = whichway("doctor", **core)
    assert done.returncode == 0, done.stderr
    assert "embedded models" in done.stdout and "Traceback" not in done.stderr
    asked = whichway("plan", make_task(tmp_path, 90), **core)
    assert asked.returncode == 0 and "whichway[local]" in asked.stdout

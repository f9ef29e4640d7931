"""A way that goes in steps: each is measured on the same rows, and the report says what each of them bought."""

from __future__ import annotations

import os
from pathlib import Path

from studies import make_task, report_of, whichway, write_plug_in

CLIMBER = """
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from whichway.core.strategy import PromptVersion, Step
from whichway.core.task import Prediction

WORDS = {"refund": "money back charge return paid", "delivery": "parcel courier late tracking box",
         "account": "login password email profile locked"}

@dataclass(frozen=True)
class Way:
    needs: ClassVar = ()
    trains: ClassVar = True
    def fit(self, task, train, dev, kit):
        return Climbed(3)
    def load(self, task, folder, kit):
        return Climbed(3)

@dataclass(frozen=True)
class Climbed:
    known: int
    def predict(self, inputs):
        names = list(WORDS)[:self.known]
        counts = [[sum(w in row["message"] for w in WORDS[name].split()) for name in names] for row in inputs]
        return [Prediction(names[one.index(max(one))], 0.5) for one in counts]
    def version(self):
        return PromptVersion(f"I know {self.known} labels.", ())
    def steps(self):
        return [Step("seed", "one label", Climbed(1)), Step("prompt", "two labels", Climbed(2)),
                Step("weights", "no better", None), Step("prompt again", "three labels", self)]
    def save(self, folder):
        (folder / "way.json").write_text("{}")
"""


def beside(plug_in: Path) -> str:
    """Return where packages are looked for: the plug-in, and what the tests themselves were told."""
    return os.pathsep.join([str(plug_in), os.environ.get("PYTHONPATH", "")])


def test_each_step_is_measured_on_the_same_rows_and_the_report_says_what_it_bought(tmp_path):
    task, plug_in = make_task(tmp_path), write_plug_in(tmp_path / "plug", "climber", CLIMBER)
    said = ("run", task, "--out", tmp_path / "run", "--only", "majority,climber")
    done = whichway(*said, PYTHONPATH=beside(plug_in))
    assert done.returncode == 0, done.stderr
    report = report_of(tmp_path / "run")
    (way,) = report["steps"]
    seed, prompt, weights, again = way["steps"]
    assert way["strategy"] == "climber" and [one["name"] for one in way["steps"]][-1] == "prompt again"
    assert seed["score"]["n"] == prompt["score"]["n"] == again["score"]["n"] > 20
    assert seed["score"]["value"] < prompt["score"]["value"] < again["score"]["value"]
    assert seed["gain"] is None and weights["score"] is None and weights["gain"] is None
    for before, after in ((seed, prompt), (prompt, again)):
        bought = after["score"]["value"] - before["score"]["value"]
        assert abs(after["gain"]["value"] - bought) < 1e-6 and after["gain"]["low"] > 0
    trial = next(one for one in report["trials"] if one["strategy"] == "climber")
    assert again["score"]["value"] == trial["validation"]["value"]
    page = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "| what was done |" in page and "two labels" in page
    sentence = "climber, step by step on the same n = "
    words = " ".join(done.stdout.split())
    assert sentence in words and "the prompt +0." in words and "the prompt again +0." in words
    assert "Not kept: the weights (no better)." in words
    again_done = whichway("prompts", tmp_path / "run", PYTHONPATH=beside(plug_in))
    assert again_done.stdout.count("climber") == 3


def test_steps_that_could_not_all_be_measured_have_no_gains_until_the_run_is_continued(tmp_path):
    late = (
        CLIMBER.replace('"two labels", Climbed(2)', '"two labels", Late(2)')
        + """
class Late(Climbed):
    def predict(self, inputs):
        import os
        from whichway.errors import BudgetReached
        if "IN_TIME" not in os.environ:
            raise BudgetReached("The time budget is used up.")
        return super().predict(inputs)
"""
    )
    task, plug_in = make_task(tmp_path), write_plug_in(tmp_path / "plug", "climber", late)
    said = ("run", task, "--out", tmp_path / "run", "--only", "majority,climber")
    done = whichway(*said, PYTHONPATH=beside(plug_in))
    assert done.returncode == 0, done.stderr
    report = report_of(tmp_path / "run")
    assert {one["state"] for one in report["trials"]} == {"done"}
    assert report["recommendation"]["strategy"] == "climber"
    assert [one["gain"] for one in report["steps"][0]["steps"]] == [None] * 4
    assert "step by step" not in done.stdout
    done = whichway(*said, PYTHONPATH=beside(plug_in), IN_TIME="1")
    assert [one["gain"] is None for one in report_of(tmp_path / "run")["steps"][0]["steps"]] == [
        True,
        False,
        True,
        False,
    ]
    assert "step by step" in done.stdout

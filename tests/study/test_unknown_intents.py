"""Questions of a kind that training never saw: a study's threshold passes them on, and keeps its promise on the known ones."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import rankdata

from whichway import Options, Watcher, load_task, run_study
from whichway.live.answer import Asked, answer_file
from whichway.live.bundle import write_bundle

KNOWN = {
    "card lost": "card lost stolen block missing",
    "transfer late": "transfer pending delayed arrive waiting",
    "pin forgotten": "pin forgot reset attempts code",
    "fee charged": "fee charged extra cost statement",
    "rate wrong": "rate exchange currency euro conversion",
    "limit reached": "limit withdrawal maximum raise daily",
}
UNKNOWN = (
    "mortgage house loan deposit",
    "insurance claim car accident",
    "shares invest fund dividend",
    "job apply career vacancy",
)
COMMON = "please tell me about my the I want to know when is it".split()


def sentence(rng: random.Random, own: str) -> str:
    """Return eight words, about half of which are of the intent."""
    return " ".join(rng.choice(own.split() if rng.random() < 0.5 else COMMON) for _ in range(8))


def write(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "text", "label"), *rows])
    return path


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the report of a study of the known intents, and answers to new questions, half of which are of others."""
    home, rng = tmp_path_factory.mktemp("intents"), random.Random(3)
    names = list(KNOWN)
    write(
        home / "rows.csv", [(f"r{i}", sentence(rng, KNOWN[names[i % 6]]) + f" {i}", names[i % 6]) for i in range(420)]
    )
    new = [(f"known{i}", sentence(rng, KNOWN[names[i % 6]]), "") for i in range(150)]
    new += [(f"other{i}", sentence(rng, UNKNOWN[i % 4]), "") for i in range(150)]
    task = home / "task.yaml"
    task.write_text(
        "task: intents\ninstruction: Which intent?\ndata: {train: rows.csv}\ninputs: {text: text}\ntarget: label\n"
        "id: id\nmetric: accuracy\nbudget: {minutes: 5, usd: 0}\n",
        encoding="utf-8",
    )
    loaded = load_task(task)
    report = run_study(loaded, home / "run", Options(only=("classic",)), Watcher())
    write_bundle(loaded, report, home / "run")
    _, found = answer_file(home / "run", write(home / "new.csv", new), None, Asked("classic", coverage=0.95))
    return report, found


def test_confidence_tells_known_intents_from_those_hidden_from_training(told: Any) -> None:
    ranks = rankdata([one["confidence"] for one in told[1]])
    known = sum(rank for rank, one in zip(ranks, told[1], strict=True) if one["id"].startswith("known"))
    assert (known - 150 * 151 / 2) / 150**2 > 0.88, "area under the curve of known against unknown"


def test_the_threshold_of_a_coverage_keeps_its_promise_and_withholds_other_intents(told: Any) -> None:
    report, found = told
    withheld = {
        side: sum(one["id"].startswith(side) for one in found if one.get("withheld")) for side in ("known", "other")
    }
    assert withheld["known"] < 0.12 * 150 and withheld["other"] > 0.6 * 150
    promised = next(one for one in report["abstention"]["classic"]["promises"] if one["coverage"] == 0.95)
    assert abs(promised["measured"] - 0.95) < 0.05 and promised["n"] > 80

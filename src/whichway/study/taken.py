"""What a study has taken over from the runs beside it, as its report tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whichway.core.model import Spend
from whichway.study.bench import Bench
from whichway.study.lines import Line


def taken_by(bench: Bench, line: Line) -> dict[str, Any] | None:
    """Return how many fits and answers of a way come from which runs, and the seconds that they took there; None: none."""
    own = f"{line.key(bench.fingerprint)}/"
    found = [(spend, about) for key, _, _, spend, about in bench.ledger.taken() if key.startswith(own)]
    if not found:
        return None
    return {
        "fits": sum("folder" in about for _, about in found),
        "answers": sum(int(about.get("rows", 0)) for _, about in found),
        "runs": sorted({about["taken_from"] for _, about in found}),
        "seconds": round(sum(spend.seconds for spend, _ in found), 3),
    }


def taken_spend(bench: Bench) -> dict[tuple[str, str], Spend]:
    """Return by trial and phase what stands in the book and was spent by other runs."""
    found: dict[tuple[str, str], Spend] = {}
    for _, trial, phase, spend, _ in bench.ledger.taken():
        found[trial, phase] = found.get((trial, phase), Spend()) + spend
    return found


def taken_sentence(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say in one sentence what of these trials was not made here."""
    parts = [(one["strategy"], one["taken"]) for one in trials if one["taken"]]
    if not parts:
        return []
    runs = sorted({run for _, one in parts for run in one["runs"]})
    named = "; ".join(f"{name} ({_counted(one)})" for name, one in parts)
    where = "the run " + runs[0] if len(runs) == 1 else "the runs " + ", ".join(runs)
    return [f"Taken over from {where} beside this one, with what it took there (--fresh makes it here): {named}."]


def _counted(one: dict[str, Any]) -> str:
    parts = [
        f"{one[key]} {word}{'s' * (one[key] > 1)}" for key, word in (("fits", "fit"), ("answers", "answer")) if one[key]
    ]
    return ", ".join(parts)

"""What a study has not made itself, or once for several ways, as its report tells it: each way costs what it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whichway.core.model import Spend
from whichway.study.bench import Bench
from whichway.study.lines import Line
from whichway.study.trainings import TRAINING


def taken_by(bench: Bench, line: Line) -> dict[str, Any] | None:
    """Return how many fits and answers of a way come from which runs, and the seconds that they took there; None: none."""
    found = [(spend, about) for spend, about in _of(bench, line) if "taken_from" in about]
    if not found:
        return None
    return {
        "fits": sum("folder" in about for _, about in found),
        "answers": sum(int(about.get("rows", 0)) for _, about in found),
        "runs": sorted({about["taken_from"] for _, about in found}),
        "seconds": round(sum(spend.seconds for spend, _ in found), 3),
    }


def shared_by(bench: Bench, line: Line) -> dict[str, Any] | None:
    """Return how many trainings and scored prompts a way has found in other ways or runs, and what they took; None: none."""
    found = [one for _, about in _of(bench, line) if "taken_from" not in about for one in about["spared"]]
    if not found:
        return None
    prompts = [one for one in found if one.get("kind", TRAINING) != TRAINING]
    return {
        "trainings": len(found) - len(prompts),
        "prompts": len(prompts),
        "ways": sorted({one["way"] for one in found}),
        "runs": sorted({one["run"] for one in found} - {""}),
        "seconds": round(sum(one["seconds"] for one in found), 3),
    }


def taken_spend(bench: Bench) -> dict[tuple[str, str], Spend]:
    """Return by trial and phase what stands in the book and was spent by other runs, or by other ways of this one."""
    found: dict[tuple[str, str], Spend] = {}
    for _, trial, phase, spend, about in bench.ledger.taken():
        found[trial, phase] = found.get((trial, phase), Spend()) + (spend if "taken_from" in about else _spared(about))
    return found


def spared_seconds(bench: Bench, name: str) -> float:
    """Return the seconds of what a trial has found of other trials, and that stand in the book as its own."""
    return sum(
        _spared(one[-1]).seconds for one in bench.ledger.taken() if one[1] == name and "taken_from" not in one[-1]
    )


def taken_sentence(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say in one sentence what of these trials was not made here."""
    parts = [(one["strategy"], one["taken"]) for one in trials if one["taken"]]
    if not parts:
        return []
    runs = sorted({run for _, one in parts for run in one["runs"]})
    named = "; ".join(f"{name} ({_counted(one)})" for name, one in parts)
    where = "the run " + runs[0] if len(runs) == 1 else "the runs " + ", ".join(runs)
    return [f"Taken over from {where} beside this one, with what it took there (--fresh makes it here): {named}."]


def shared_sentence(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say in one sentence what of these trials was made once for several, and how that is counted."""
    parts = [(one["strategy"], one["shared"]) for one in trials if one["shared"]]
    if not parts:
        return []
    named = "; ".join(f"{name} ({_found(one)}, {one['seconds']:.1f} s)" for name, one in parts)
    return [f"Made once, and counted in the cost to build of each way that uses it: {named}."]


def _found(one: Mapping[str, Any]) -> str:
    counts = ((one["trainings"], "training"), (one["prompts"], "scored prompt"))
    said = " and ".join(f"{count} {what}{'s' * (count > 1)}" for count, what in counts if count)
    runs = f" in {' and '.join(one['runs'])}" if one["runs"] else ""
    return f"{said} of {' and '.join(one['ways'])}{runs}"


def _of(bench: Bench, line: Line) -> list[tuple[Spend, dict[str, Any]]]:
    own = f"{line.key(bench.fingerprint)}/"
    return [(spend, about) for key, _, _, spend, about in bench.ledger.taken() if key.startswith(own)]


def _spared(about: Mapping[str, Any]) -> Spend:
    """Return what the trainings took that a fit has found."""
    found = about.get("spared", ())
    return Spend(sum(one["seconds"] for one in found), tokens_in=sum(one["tokens"] for one in found))


def _counted(one: dict[str, Any]) -> str:
    parts = [
        f"{one[key]} {word}{'s' * (one[key] > 1)}" for key, word in (("fits", "fit"), ("answers", "answer")) if one[key]
    ]
    return ", ".join(parts)

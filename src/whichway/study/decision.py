"""What a verdict was made of, kept beside the report, so that it can be made again under other conditions without a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from whichway.core.task import Constraints, Objective
from whichway.errors import UsageError
from whichway.study.bench import Bench
from whichway.study.certify import candidates, judged_on
from whichway.study.conditions import Case
from whichway.study.cost import Needs, priced
from whichway.study.facts import hourly_price
from whichway.study.flips import Flip, changes, flips
from whichway.study.lines import Line
from whichway.study.pursuit import not_run
from whichway.study.recommend import Aside, Candidate, Verdict

FILE = "decision.json"
SCHEMA = 3
DIGITS = 5
PLAIN = ("name", "p95_ms", "memory_mb", "consistency", "parsed", "order")
DRAWN = ("samples", "p95_samples", "pace", "build")
LABELS = ("strategy", "rungs", "band", "break_even")  # what the decision needs of how ways grow with labels


@dataclass(frozen=True)
class Kept:
    """What is decided about, on which part it was measured, and how ways grow with labels.

    `validated` is the same for every way that has answered all validation rows, where only some are certified.
    """

    case: Case
    part: str
    labels: tuple[Mapping[str, Any], ...] = ()
    validated: Case | None = None


@dataclass(frozen=True)
class Redecided:
    """A verdict under some conditions: what it was made of, at which numbers it flips, and that in sentences.

    Where no certified way meets the conditions, `uncertified` is the verdict on validation rows about every way run to its end.
    """

    kept: Kept
    verdict: Verdict
    flips: tuple[Flip, ...]
    changes: tuple[str, ...]
    uncertified: Verdict | None = None


def keep_decision(bench: Bench, lines: Sequence[Line], labels: Sequence[Mapping[str, Any]] = ()) -> None:
    """Write what the verdict of this study is made of into its folder."""
    part, judged = judged_on(bench, lines)
    rows = [_plain(one) for one in candidates(bench, judged, part)]
    others = candidates(bench, lines, "validation") if part == "test" else []
    said = {
        "schema": SCHEMA,
        "part": part,
        "hourly_usd": hourly_price(bench),
        "constraints": asdict(bench.task.constraints),
        "objective": asdict(bench.task.objective),
        "candidates": rows,
        "validated": [_plain(one) for one in others] if len(others) > len(rows) else [],
        "aside": asdict(not_run(bench, lines, [one["name"] for one in rows])),
        "labels": [{key: one[key] for key in LABELS} for one in labels],
    }
    scratch = bench.ledger.folder / f"{FILE}.partial"
    scratch.write_text(json.dumps(said), encoding="utf-8")
    scratch.replace(bench.ledger.folder / FILE)


def read_decision(folder: Path) -> Kept:
    """Return what was kept; raises UsageError where there is nothing, or it is damaged."""
    try:
        said = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if said["schema"] != SCHEMA:
            raise ValueError(f"schema {said['schema']!r}, this version reads {SCHEMA}")
        constraints, objective = Constraints(**said["constraints"]), Objective(**said["objective"])
        hourly = float(said["hourly_usd"])
        found = tuple(_candidate(one, objective, hourly) for one in said["candidates"])
        case = Case(found, constraints, objective, hourly, aside=_aside(said["aside"]))
        others = tuple(_candidate(one, objective, hourly) for one in said["validated"])
        return Kept(
            case, str(said["part"]), tuple(said["labels"]), replace(case, candidates=others) if others else None
        )
    except FileNotFoundError as error:
        fix = "Run the study's command again: what is measured is kept, and the decision is written anew."
        raise UsageError(f"{folder} holds no decision.", fix) from error
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        fix = "Run the study's command again: the file is written anew."
        raise UsageError(f"{folder / FILE} is damaged ({type(error).__name__}: {error}).", fix) from error


def redecide(kept: Kept, conditions: Mapping[str, Any]) -> Redecided:
    """Decide again under conditions by name; see conditions.parse_condition for which there are."""
    case = kept.case.under(conditions)
    verdict = case.verdict()
    found = flips(case, verdict)
    said = changes(case, verdict, found, kept.labels)
    more = kept.validated.under(conditions).verdict() if kept.validated and verdict.chosen is None else None
    return Redecided(replace(kept, case=case), verdict, tuple(found), tuple(said), more)


def _plain(one: Candidate) -> dict[str, Any]:
    return {
        **{key: getattr(one, key) for key in PLAIN},
        "needs": asdict(one.needs) if one.needs else None,
        **{key: _rounded(getattr(one, key)) for key in DRAWN},
    }


def _aside(said: Mapping[str, Any]) -> Aside:
    return Aside({str(name): float(one) for name, one in said["missed"].items()}, tuple(said["unreached"]))


def _candidate(said: Mapping[str, Any], objective: Objective, hourly: float) -> Candidate:
    import numpy as np

    needs = Needs(**said["needs"])
    drawn: Any = {key: None if said[key] is None else np.array(said[key], dtype=float) for key in DRAWN}
    return Candidate(
        cost=priced(needs, objective, hourly),
        needs=needs,
        build_days=needs.build_days(objective),
        **{key: said[key] for key in PLAIN},
        **drawn,
    )


def _rounded(drawn: Any) -> Any:
    return None if drawn is None else [float(f"{float(x):.{DIGITS}g}") for x in drawn]

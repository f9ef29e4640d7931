"""What a verdict was made of, kept beside the report, so that it can be made again under other conditions without a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from whichway.core.task import Constraints, Objective
from whichway.errors import UsageError
from whichway.study.bench import Bench
from whichway.study.certify import build_of, candidates, hourly_price, judged_on
from whichway.study.cost import Cost
from whichway.study.lines import Line
from whichway.study.recommend import Candidate, Verdict, changes, decide

FILE = "decision.json"
SCHEMA = 1
DIGITS = 5


@dataclass(frozen=True)
class Kept:
    """Candidates with their posterior samples, what they were decided under, and which share of their cost is this machine's."""

    candidates: tuple[Candidate, ...]
    constraints: Constraints
    objective: Objective
    part: str
    local: frozenset[str]
    machine_usd: Mapping[str, float]  # of each upfront cost
    hourly_usd: float


@dataclass(frozen=True)
class Redecided:
    """A verdict under some conditions: what would change it, and whom privacy excluded."""

    kept: Kept
    verdict: Verdict
    changes: tuple[str, ...]
    excluded: tuple[str, ...]


def keep_decision(bench: Bench, lines: Sequence[Line]) -> None:
    """Write what the verdict of this study is made of into its folder."""
    part, judged = judged_on(bench, lines)
    found, price = candidates(bench, judged, part), hourly_price(bench)
    by_name = {line.name: line for line in lines}
    rows = [
        {
            "name": one.name,
            "local": by_name[one.name].is_local,
            "upfront_usd": one.cost.upfront_usd,
            "per_1000_usd": one.cost.per_1000_usd,
            "machine_usd": build_of(bench, by_name[one.name])["seconds"] * price / 3600,
            **{key: getattr(one, key) for key in ("p95_ms", "memory_mb", "consistency", "parsed", "order")},
            "samples": [round(float(x), DIGITS) for x in one.samples],
        }
        for one in found
    ]
    said = {
        "schema": SCHEMA,
        "part": part,
        "hourly_usd": price,
        "constraints": asdict(bench.task.constraints),
        "objective": asdict(bench.task.objective),
        "candidates": rows,
    }
    scratch = bench.ledger.folder / f"{FILE}.partial"
    scratch.write_text(json.dumps(said), encoding="utf-8")
    scratch.replace(bench.ledger.folder / FILE)


def read_decision(folder: Path) -> Kept:
    """Return what was kept; raises UsageError where there is nothing, or it is damaged."""
    import numpy as np

    try:
        said = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if said["schema"] != SCHEMA:
            raise ValueError(f"schema {said['schema']!r}")
        plain = ("name", "p95_ms", "memory_mb", "consistency", "parsed", "order")
        found = tuple(
            Candidate(
                samples=np.array(one["samples"], dtype=float),
                cost=Cost(one["upfront_usd"], one["per_1000_usd"]),
                **{key: one[key] for key in plain},
            )
            for one in said["candidates"]
        )
        constraints, objective = Constraints(**said["constraints"]), Objective(**said["objective"])
        local = frozenset(one["name"] for one in said["candidates"] if one["local"])
        machine = {one["name"]: float(one["machine_usd"]) for one in said["candidates"]}
        return Kept(found, constraints, objective, str(said["part"]), local, machine, float(said["hourly_usd"]))
    except FileNotFoundError as error:
        fix = "Run the study's command again: what is measured is kept, and the decision is written anew."
        raise UsageError(f"{folder} holds no decision.", fix) from error
    except (OSError, ValueError, TypeError, LookupError) as error:
        fix = "Run the study's command again: the file is written anew."
        raise UsageError(f"{folder / FILE} is damaged ({type(error).__name__}: {error}).", fix) from error


def redecide(kept: Kept, conditions: Mapping[str, Any]) -> Redecided:
    """Decide again under conditions by name; see `parse_condition` for which there are."""
    limits = {key: value for key, value in conditions.items() if key in _names(Constraints)}
    wishes = {key: value for key, value in conditions.items() if key in _names(Objective)}
    kept = replace(kept, constraints=replace(kept.constraints, **limits), objective=replace(kept.objective, **wishes))
    price = kept.objective.compute_usd_per_hour
    if price is not None and "compute_usd_per_hour" in conditions:
        if kept.hourly_usd <= 0:
            fix = "Give objective.compute_usd_per_hour in the task file and run the study's command again."
            raise UsageError("This run took its machine to be free, so another price cannot be applied to it.", fix)
        kept = _repriced(kept, price)
    out = (
        () if kept.constraints.privacy == "any" else tuple(c.name for c in kept.candidates if c.name not in kept.local)
    )
    task: Any = SimpleNamespace(constraints=kept.constraints, objective=kept.objective)
    able = [one for one in kept.candidates if one.name not in out]
    verdict = decide(task, able)
    return Redecided(kept, verdict, tuple(changes(task, verdict, able)), out)


def parse_condition(text: str) -> tuple[str, Any]:
    """Return name and value of "name=value"; raises UsageError with the names there are."""
    name, sign, value = (part.strip() for part in text.partition("="))
    known = sorted({*_names(Constraints), *_names(Objective)} - {"label_usd", "timeline_days"})
    if not sign or name not in known:
        raise UsageError(f"--if {text!r} is no condition.", f'Write "name=value", with one of: {", ".join(known)}.')
    if name == "privacy":
        if value not in ("local", "any"):
            raise UsageError(f"privacy cannot be {value!r}.", "Known: local, any.")
        return name, value
    if value in ("none", "") and name in _names(Constraints):
        return name, None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or (number < 0 and name != "min_score"):  # money lost is a score below zero
        raise UsageError(f"{name} cannot be {value!r}.", f"Give a number that is not negative, such as {name}=0.9.")
    return name, number


def _repriced(kept: Kept, hourly: float) -> Kept:
    """Return candidates at another price of this machine's hour; what endpoints charge stays."""
    ratio = hourly / kept.hourly_usd if kept.hourly_usd else 0.0

    def priced(one: Candidate) -> Candidate:
        machine = kept.machine_usd[one.name]
        build = one.cost.upfront_usd - machine + machine * ratio
        use = one.cost.per_1000_usd * (ratio if one.name in kept.local else 1.0)
        return replace(one, cost=Cost(build, use))

    return replace(kept, candidates=tuple(priced(one) for one in kept.candidates), hourly_usd=hourly)


def _names(kind: Any) -> set[str]:
    return {one.name for one in fields(kind)}

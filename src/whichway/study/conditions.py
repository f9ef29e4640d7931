"""What a decision is made of, and the same under other conditions: limits, wishes, prices, by the names of the task file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from whichway.core.task import Constraints, Objective
from whichway.errors import UsageError
from whichway.study.cost import priced
from whichway.study.recommend import NOTHING, Aside, Candidate, Verdict, decide

ENDPOINTS = "endpoint_price_factor"  # what all prices of endpoints are multiplied by
BY_WAY = ("hours", "refresh_hours")
UNUSED = ("timeline_days",)  # of the plan alone


@dataclass(frozen=True)
class Case:
    """Candidates, what is asked of them, the price of this machine's hour, and what endpoints' prices are multiplied by.

    `aside`: the ways that were not run to their end, which may be better.
    """

    candidates: tuple[Candidate, ...]
    constraints: Constraints
    objective: Objective
    hourly_usd: float
    endpoints: float = 1.0
    aside: Aside = NOTHING

    @property
    def able(self) -> tuple[Candidate, ...]:
        """Those that privacy does not exclude."""
        is_open = self.constraints.privacy == "any"
        return tuple(one for one in self.candidates if is_open or one.needs is None or one.needs.is_local)

    @property
    def excluded(self) -> tuple[str, ...]:
        """Names of the others."""
        kept = {one.name for one in self.able}
        return tuple(one.name for one in self.candidates if one.name not in kept)

    def verdict(self) -> Verdict:
        """Decide."""
        return decide(self, self.able, self.aside)

    def under(self, conditions: Mapping[str, Any]) -> Case:
        """Return the case under other conditions by name; raises UsageError for hours of a way that there is not."""
        limits = {key: value for key, value in conditions.items() if key in _names(Constraints)}
        wishes = {key: value for key, value in conditions.items() if key in _names(Objective)}
        for key, value in conditions.items():
            name, dot, way = key.partition(".")
            if dot:
                self._check(way)
                wishes[name] = {**wishes.get(name, getattr(self.objective, name)), way: value}
        objective = replace(self.objective, **wishes)
        hourly = conditions.get("compute_usd_per_hour", self.hourly_usd)
        factor = conditions.get(ENDPOINTS, self.endpoints)
        found = tuple(_priced(one, objective, hourly, factor) for one in self.candidates)
        return Case(found, replace(self.constraints, **limits), objective, hourly, factor, self.aside)

    def _check(self, way: str) -> None:
        known = sorted({x for one in self.candidates if one.needs for x in (one.name, one.needs.way)})
        if way not in known:
            raise UsageError(f"There is no way called {way!r} in this run.", f"Known: {', '.join(known)}.")


def parse_condition(text: str) -> tuple[str, Any]:
    """Return name and value of "name=value"; raises UsageError with the names there are."""
    name, sign, value = (part.strip() for part in text.partition("="))
    if not sign or not _is_known(name):
        raise UsageError(f"--if {text!r} is no condition.", f'Write "name=value", with one of: {", ".join(known())}.')
    if name == "privacy":
        if value not in ("local", "any"):
            raise UsageError(f"privacy cannot be {value!r}.", "Known: local, any.")
        return name, value
    if value in ("none", "") and (name in _names(Constraints) or name in _may_be_none()):
        return name, None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or (number < 0 and name != "min_score"):  # money lost is a score below zero
        raise UsageError(f"{name} cannot be {value!r}.", f"Give a number that is not negative, such as {name}=0.9.")
    if number == 0 and name in ("horizon_months", "refresh_months"):
        raise UsageError(f"{name} cannot be 0.", f"Give months, such as {name}=6.")
    return name, number


def known() -> list[str]:
    """Return the names that conditions may have."""
    plain = {*_names(Constraints), *_names(Objective), ENDPOINTS} - {*UNUSED, *BY_WAY}
    return [*sorted(plain), *(f"{one}.WAY" for one in BY_WAY)]


def _is_known(name: str) -> bool:
    head, dot, way = name.partition(".")
    return bool(way) and head in BY_WAY if dot else name in known()


def _may_be_none() -> Sequence[str]:
    return [one.name for one in fields(Objective) if one.default is None and one.name != "compute_usd_per_hour"]


def _priced(one: Candidate, objective: Objective, hourly: float, endpoints: float) -> Candidate:
    if one.needs is None:
        return one
    cost = priced(one.needs, objective, hourly, endpoints)
    return replace(one, cost=cost, build_days=one.needs.build_days(objective))


def _names(kind: Any) -> set[str]:
    return {one.name for one in fields(kind)}

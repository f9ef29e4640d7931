"""What would change the answer: each setting with the number at which the same decision comes out otherwise (methods.md §5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from whichway.study.conditions import ENDPOINTS, Case
from whichway.study.cost import total_cost, usd
from whichway.study.recommend import FEASIBLE, Candidate, Verdict, broken_limits

FAR = 1000.0  # times and parts of today's number up to which a flip is looked for
STEPS = 13  # on the way there, evenly in logarithms
HALVINGS = 12  # of the step in which the decision changes
FROM_NOTHING = (0.001, 1000.0)  # where a price is nothing yet: between which dollars a flip is looked for


@dataclass(frozen=True)
class Flip:
    """At which number of a setting the decision changes, to whom (None: to no way at all), and that in a sentence."""

    setting: str
    now: float | None
    at: float
    to: str | None
    sentence: str

    def as_json(self) -> dict[str, Any]:
        """Return plain data, the number rounded to four digits."""
        return {**asdict(self), "at": float(f"{self.at:.4g}")}


# (setting, whether more of it is looked at, what is said of the number, and of today's)
PRICES = (
    ("requests_per_month", True, "From about {:,.0f} requests a month on ({:,.0f} now)", ""),
    ("requests_per_month", False, "Up to about {:,.0f} requests a month ({:,.0f} now)", ""),
    ("compute_usd_per_hour", True, "If an hour of this machine costs ${:.3g} or more (${:.3g} now)", "local"),
    ("compute_usd_per_hour", False, "If an hour of this machine costs ${:.3g} or less (${:.3g} now)", "local"),
    (ENDPOINTS, True, "If tokens of endpoints cost {:.3g} times as much or more ({:g} now)", "remote"),
    (ENDPOINTS, False, "If tokens of endpoints cost {:.3g} times as much or less ({:g} now)", "remote"),
    ("hosting_usd_per_month", True, "If a machine by the month costs ${:,.4g} or more (${:,.4g} now)", "hosting"),
    ("hosting_usd_per_month", False, "If a machine by the month costs ${:,.4g} or less (${:,.4g} now)", "hosting"),
    ("label_usd", True, "If a label costs ${:.3g} or more (${:.3g} now)", "labels"),
    ("label_usd", False, "If a label costs ${:.3g} or less (${:.3g} now)", "labels"),
    ("hourly_usd", True, "If an hour of work costs ${:,.3g} or more (${:,.3g} now)", "hours"),
    ("hourly_usd", False, "If an hour of work costs ${:,.3g} or less (${:,.3g} now)", "hours"),
)


def flips(case: Case, verdict: Verdict) -> list[Flip]:
    """Return at which volume, price, score and speed another way would be recommended; nothing where none is now."""
    if verdict.chosen is None:
        return []
    found = [_score_flip(case, verdict), *_limit_flips(case, verdict), _gap_flip(case, verdict)]
    for setting, is_more, said, whom in PRICES:
        if not _matters(case, whom):
            continue
        now = _now(case, setting)
        if now > 0:
            steps = now * np.geomspace(1, FAR if is_more else 1 / FAR, STEPS)[1:]
        elif is_more:
            steps = np.geomspace(*FROM_NOTHING, 2 * STEPS)
        else:
            continue
        hit = _first_change(_chooser(case, setting), verdict.chosen, [now, *steps])
        if hit is not None:
            at, to = hit
            found.append(Flip(setting, now, at, to, f"{said.format(_round(at), now)}, {_taken(to)}."))
    return [one for one in found if one is not None]


def changes(case: Case, verdict: Verdict, found: Sequence[Flip], labels: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """Return what would change the answer in sentences, each with its number; where none met the target, the ways there."""
    by_name = {one.name: one for one in case.able}
    if verdict.chosen is None:
        return _ways_to_feasible(case, verdict, by_name, labels)
    said = [one.sentence for one in found] + label_flips(verdict.chosen, labels)
    now = case.objective.requests_per_month
    if now > 0 and _matters(case, "") and not any(one.setting in {name for name, *_ in PRICES} for one in found):
        said.append(
            f"No volume from {now / FAR:,.0f} to {now * FAR:,.0f} requests a month and no price from a thousandth to a "
            f"thousand times today's changes the answer among the {len(case.able)} ways compared."
        )
    if verdict.runner_up and verdict.level != "decided":
        said.append(
            f"More test rows: {verdict.chosen} and {verdict.runner_up} cannot be told apart well at this number."
        )
    return said


def label_flips(chosen: str, labels: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say from how many labels on another way is foretold to pass the recommended one, and below how many it would not lead."""
    found = []
    for one in labels:
        even = one.get("break_even") or {}
        median, low, high = (even.get(key) for key in ("median", "low", "high"))
        points = [rung["labels"] for rung in one.get("rungs", ())]
        if median is None or low is None or not points or not even.get("against"):
            continue
        upto = f"{high:,.0f}" if high is not None else "no upper end"
        around = f"({max(points):,} now; 80 %: {low:,.0f} to {upto})"
        if even["against"] == chosen and max(points) < median <= 4 * max(points):
            said = (
                f"From about {median:,.0f} labels on {around}, {one['strategy']} is foretold to pass {chosen} as it is."
            )
            found.append(said)
        if one["strategy"] == chosen and min(points) <= median <= max(points):
            found.append(f"With fewer than about {median:,.0f} labels {around}, {even['against']} would score higher.")
    return found


def _score_flip(case: Case, verdict: Verdict) -> Flip | None:
    """Say from which required score on the decision changes, and up to which whoever takes the place can be had."""
    now, by_name = case.constraints.min_score, {one.name: one for one in case.able}
    chosen = by_name[verdict.chosen or ""]
    top = max(float(one.samples.max()) for one in case.able)
    first = now if now is not None else min(float(one.samples.min()) for one in case.able)
    steps = [now, *np.linspace(first, top, 3 * STEPS)[1:]]
    hit = _first_change(_chooser(case, "min_score"), chosen.name, steps, first)
    if hit is None:
        return None
    at, to = hit
    if to is None:
        none = f"none of the {len(case.able)} ways compared meets it with probability {FEASIBLE:g}"
        said = f"If you require more than {at:.3f}, {none}."
        return Flip("min_score", now, at, None, said)
    said = f"If you require more than {at:.3f} (min_score), {to} takes its place, up to {_reach(by_name[to]):.3f}."
    return Flip("min_score", now, at, to, said)


def _limit_flips(case: Case, verdict: Verdict) -> list[Flip | None]:
    """Say at which limit on speed or on the price of an answer another way takes the place; not where none is left."""
    one = next(one for one in case.able if one.name == verdict.chosen)
    found: list[Flip | None] = []
    for setting, now, said in (
        ("max_p95_ms", one.p95_ms, "If an answer must come within {:.3g} ms (p95; {:.3g} measured)"),
        (
            "max_cost_per_1000_usd",
            one.cost.running_per_1000(case.objective.requests_per_month),
            "If 1,000 answers may cost at most ${:.3g} (${:.3g} now)",
        ),
    ):
        if not now:
            continue
        most = getattr(case.constraints, setting)
        start = min(most, 4 * now) if most is not None else 4 * now  # samples reach above what was measured
        steps = [most, *start * np.geomspace(1, 1 / FAR, 2 * STEPS)]
        hit = _first_change(_chooser(case, setting), verdict.chosen, steps, float(start))
        if hit is not None and hit[1] is not None:
            found.append(Flip(setting, most, hit[0], hit[1], f"{said.format(hit[0], now)}, {_taken(hit[1])}."))
    return found


def _gap_flip(case: Case, verdict: Verdict) -> Flip | None:
    """Say for which gain a better one would be taken instead of a cheaper one that ties with it."""
    if verdict.best in (None, verdict.chosen):
        return None
    now = case.objective.smallest_difference
    steps = [now, *np.linspace(now, 0, 2 * STEPS)[1:]]
    hit = _first_change(_chooser(case, "smallest_difference"), verdict.chosen, steps)
    by_name = {one.name: one for one in case.able}
    if hit is None or hit[1] is None:
        return None
    at, to = hit
    chosen, other = by_name[verdict.chosen or ""], by_name[to or ""]
    gain = max(0.0, float(np.mean(other.samples - chosen.samples)))
    extra = total_cost(other.cost, case.objective) - total_cost(chosen.cost, case.objective)
    said = (
        f"If a gain of {gain:.3f} is worth {usd(max(extra, 0.0))} over {case.objective.horizon_months:g} months to you "
        f"(smallest_difference below {at:.3f}), take {other.name}."
    )
    return Flip("smallest_difference", now, at, other.name, said)


def _ways_to_feasible(
    case: Case, verdict: Verdict, by_name: Mapping[str, Candidate], labels: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Say which requirement would have to give way, what labels may bring, and what would tell more."""
    if verdict.closest is None:
        return ["At least one strategy must end with a measurement."]
    one, limit, found = by_name[verdict.closest], case.constraints.min_score, []
    if broken := broken_limits(case, one):
        found.append(f"{one.name} comes closest, but {' and '.join(broken)}.")
    if limit is not None and _reach(one) < limit:
        found.append(
            f"Lower min_score from {limit:.3f} to {_reach(one):.3f}: {one.name} meets that with probability {FEASIBLE:g}."
        )
        found += _labels_to(case, limit, labels)
        found += _rows_to_tell(case, one, limit)
        found.append(
            f"Add labels or a stronger model (models.endpoints, models.causal): {one.name} is the closest so far."
        )
    found += _loosened(case)
    return found or [f"Loosen the limits on cost, latency or memory: {one.name} is the closest so far."]


def _loosened(case: Case) -> list[str]:
    """Say from which number of one limit alone on some way would meet everything."""
    found = []
    for setting in ("max_p95_ms", "max_cost_per_1000_usd", "max_upfront_usd", "max_memory_mb", "deadline_days"):
        now = getattr(case.constraints, setting)
        if now is None:
            continue
        start = max(now, 1e-9)
        hit = _first_change(
            _chooser(case, setting),
            None,
            [now, *start * np.geomspace(1, FAR * FAR, 3 * STEPS)],
            start,
        )
        if hit is not None:
            found.append(f"Raise {setting} from {now:.4g} to {hit[0]:.4g}: {hit[1]} then meets everything.")
    return found


def _labels_to(case: Case, limit: float, labels: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say which way is foretold to reach the score with the fewest more labels, and what those cost."""
    needed = []
    for one in labels:
        have = max((rung["labels"] for rung in one.get("rungs", ())), default=0)
        enough = [at["labels"] for at in one.get("band", ()) if at["labels"] > have and at["value"] >= limit]
        if enough:
            needed.append((min(enough) - have, one["strategy"]))
    if not needed:
        return []
    more, name = min(needed)
    return [
        f"About {more:,} more labels to learn from{_price_of(case, more)}: {name} is then foretold to reach {limit:.3f}."
    ]


def _rows_to_tell(case: Case, one: Candidate, limit: float) -> list[str]:
    """Say how many times the rows would settle whether the closest one meets the score, where that is open."""
    met = float(np.mean(one.samples >= limit))
    gap, spread = float(np.mean(one.samples)) - limit, float(np.std(one.samples))
    if not 0.1 < met < FEASIBLE or abs(gap) < 1e-9:
        return []
    times = (1.28 * spread / gap) ** 2  # 1.28: the 90 % quantile of a normal
    if not 1 < times < FAR:
        return []
    return [
        f"To find out at the least cost: {times:.1f} times as many test rows would settle whether {one.name} "
        f"meets {limit:.3f} (probability {met:.2f} now)."
    ]


def _price_of(case: Case, more: float) -> str:
    return f" (${more * case.objective.label_usd:,.2f})" if case.objective.label_usd > 0 else ""


def _first_change(
    decided: Callable[[float], str | None],
    name: str | None,
    steps: Sequence[float | None],
    start: float | None = None,
) -> tuple[float, str | None] | None:
    """Return the first number, and for whom, at which somebody else is chosen; steps[0] is where things are now."""
    same = start if start is not None else float(steps[0] or 0.0)
    for step in steps[1:]:
        assert step is not None
        if decided(step) == name:
            same = float(step)
            continue
        other = float(step)
        for _ in range(HALVINGS):
            middle = (same * other) ** 0.5 if same > 0 and other > 0 else (same + other) / 2
            if decided(middle) == name:
                same = middle
            else:
                other = middle
        return other, decided(other)
    return None


def _chooser(case: Case, setting: str) -> Callable[[float], str | None]:
    """Return what is chosen for each number of a setting."""
    return lambda value: case.under({setting: value}).verdict().chosen


def _matters(case: Case, whom: str) -> bool:
    """Tell whether anybody pays this price."""
    wishes, needs = case.objective, [one.needs for one in case.able if one.needs is not None]
    return {
        "": bool(needs),
        "local": case.hourly_usd > 0 and any(one.is_local for one in needs),
        "remote": any(one.calls_usd > 0 or one.paid_usd > 0 for one in needs),
        "hosting": wishes.hosting_usd_per_month is not None,
        "labels": wishes.labels_owned is not None or (wishes.refresh_labels > 0 and wishes.refresh_months is not None),
        "hours": bool(wishes.hours or (wishes.refresh_hours and wishes.refresh_months)),
    }[whom]


def _now(case: Case, setting: str) -> float:
    special = {"compute_usd_per_hour": case.hourly_usd, ENDPOINTS: case.endpoints}
    return float(special.get(setting, getattr(case.objective, setting, 0.0)) or 0.0)


def _reach(one: Candidate) -> float:
    """Return the score that it meets with the probability that is asked for."""
    return float(np.quantile(one.samples, 1 - FEASIBLE))


def _taken(to: str | None) -> str:
    return "no way meets everything" if to is None else f"take {to}"


def _round(value: float) -> float:
    """Return a number with two digits: nobody knows a flip better than that."""
    return float(f"{value:.2g}")

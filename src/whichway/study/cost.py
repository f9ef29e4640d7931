"""What a strategy costs: to build, per request, to keep up, over the horizon, and from which volume another one is cheaper."""

# TC(Q) = upfront + Q per_request + ceil(horizon / refresh) refresh_cost + hosting months (methods.md §4). What is paid once and
# what is paid per request are not counted twice: a machine that is rented by the month has no price per request, until there
# are more requests than one such machine carries; from then on as many more as are needed, in fractions.

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from whichway.core.task import Objective
from whichway.models.pricing import price_of

# Assumption, not a quote: list prices of on-demand machines with 2 virtual cores and 8 GiB were about 0.08 to 0.10 USD
# per hour at the large clouds, of one data-centre GPU about 2 to 4 (from memory, 2026-11). The task file's price wins.
CPU_USD_PER_HOUR = 0.10
GPU_USD_PER_HOUR = 2.50
PRICES_AS_OF = "2026-11-22"
UTILISATION = 0.5  # share of a paid hour in which a server has something to do
HOURS_PER_MONTH = 730
HOURS_PER_DAY = 8  # of a person
STANDING = ("majority", "prompt")  # families with nothing to train, index or search again
AS_CHEAP = 1.5  # times the least total: measured times differ by more from run to run


@dataclass(frozen=True)
class Cost:
    """US dollars: once to build, per 1,000 requests, for each refresh, and for each month of a machine that stays up.

    One such machine answers `carries` requests a month. `machine_usd` is the part of the start that is this machine's time.
    """

    upfront_usd: float
    per_1000_usd: float
    refresh_usd: float = 0.0
    hosting_usd: float = 0.0
    carries: float = math.inf
    machine_usd: float = 0.0

    def total(self, requests: float, months: float = 0.0, refreshes: int = 0) -> float:
        """Return dollars for this many requests over these months."""
        start, flat, slope, steep = self.parts(months, refreshes)
        return float(start + requests * slope + max(flat, requests * steep))

    def parts(self, months: float, refreshes: int) -> tuple[float, float, float, float]:
        """Return what total(Q) is made of: start + slope Q + max(flat, steep Q)."""
        steep = self.hosting_usd / self.carries if self.hosting_usd else 0.0
        start = self.upfront_usd + refreshes * self.refresh_usd
        return start, months * self.hosting_usd, self.per_1000_usd / 1000, steep

    def running_per_1000(self, requests_per_month: float) -> float:
        """Return dollars per 1,000 requests at this volume, with its share of the machine that stays up."""
        if not self.hosting_usd:
            return self.per_1000_usd
        return self.per_1000_usd + 1000 * self.hosting_usd * max(1 / max(1.0, requests_per_month), 1 / self.carries)


def in_turn(cheap: Cost, dear: Cost, share: float) -> Cost:
    """Return what running a cheap way costs that passes a share of requests on to a dear one; both use one rented machine."""
    load = sum(part / one.carries for one, part in ((cheap, 1.0), (dear, share)) if one.hosting_usd)
    use = cheap.per_1000_usd + share * dear.per_1000_usd
    rent = max(cheap.hosting_usd, dear.hosting_usd)
    return Cost(0.0, use, hosting_usd=rent, carries=1 / load if load else math.inf)


@dataclass(frozen=True)
class Needs:
    """What a way was measured to need, before anything has a price; one build, and 1,000 requests to an endpoint."""

    name: str
    way: str
    is_local: bool = True
    machine_hours: float = 0.0
    paid_usd: float = 0.0
    labels: int = 0
    rows_per_s: float = 0.0
    calls_usd: float = 0.0

    def hours(self, said: Mapping[str, float]) -> float:
        """Return people's hours: the strategy's own, else its family's, else none."""
        return float(said.get(self.name, said.get(self.way, 0.0)))

    def build_days(self, objective: Objective) -> float:
        """Return days until it can be in use."""
        return self.hours(objective.hours) / HOURS_PER_DAY + self.machine_hours / 24


def priced(needs: Needs, objective: Objective, hourly: float, endpoints: float = 1.0) -> Cost:
    """Return what these needs cost; `endpoints` is what their prices are multiplied by."""
    machine = needs.machine_hours * hourly
    owned = math.inf if objective.labels_owned is None else objective.labels_owned
    bought = max(0.0, needs.labels - owned) * objective.label_usd
    build = machine + needs.paid_usd * endpoints
    again = build + objective.refresh_labels * objective.label_usd if needs.way not in STANDING else 0.0
    refresh = again + needs.hours(objective.refresh_hours) * objective.hourly_usd
    upfront = build + bought + needs.hours(objective.hours) * objective.hourly_usd
    month, per_1000, carries = 0.0, needs.calls_usd * endpoints, math.inf
    if needs.is_local and needs.rows_per_s > 0:
        if objective.hosting_usd_per_month is None:
            per_1000 += local_per_1000(needs.rows_per_s, hourly)
        else:
            month = objective.hosting_usd_per_month
            carries = needs.rows_per_s * UTILISATION * HOURS_PER_MONTH * 3600
    return Cost(upfront, per_1000, refresh if objective.refresh_months else 0.0, month, carries, machine)


def usd(value: float) -> str:
    """Return dollars in words: cents from one dollar on, else three digits that say something."""
    if value >= 1 or value <= 0:
        return f"${value:,.2f}" if value > 0 else "$0"
    return f"${value:.{2 - math.floor(math.log10(value))}f}"


def hourly_usd(objective: Objective, has_gpu: bool) -> float:
    """Return what an hour of this machine is taken to cost; the user's own price always wins."""
    if objective.compute_usd_per_hour is not None:
        return objective.compute_usd_per_hour
    return GPU_USD_PER_HOUR if has_gpu else CPU_USD_PER_HOUR


def local_per_1000(rows_per_s: float, per_hour: float) -> float:
    """Return dollars per 1,000 answers of a machine that answers this fast (methods.md §4)."""
    return 1000 * per_hour / (3600 * rows_per_s * UTILISATION)


def endpoint_prices(settings: Any) -> list[dict[str, Any]]:
    """Return what each endpoint of the task file charges, in US dollars per million tokens, and whose price that is."""
    found = []
    for name, one in settings.models.endpoints.items():
        price = price_of(one)
        if price is not None:
            tariff, how = (price.batch, ", within a batch") if one.batch else (price.plain, "")
            kept = {"input": tariff.input, "cached_input": tariff.cached_input, "output": tariff.output}
            found.append({"endpoint": name, "model": one.model, **kept, "said": price.said + how})
    return found


def horizon_requests(objective: Objective) -> float:
    """Return the number of requests over the horizon."""
    return objective.requests_per_month * objective.horizon_months


def refreshes(objective: Objective) -> int:
    """Return how often a way is refreshed; one that falls on the end of the horizon counts."""
    if not objective.refresh_months:
        return 0
    return math.ceil(objective.horizon_months / objective.refresh_months - 1e-9)


def total_cost(cost: Cost, objective: Objective, requests: float | None = None) -> float:
    """Return dollars over the horizon; `requests` are all of them, else those of the objective."""
    volume = horizon_requests(objective) if requests is None else requests
    return cost.total(volume, objective.horizon_months, refreshes(objective))


def crossings(one: Cost, other: Cost, objective: Objective | None = None) -> list[float]:
    """Return the volumes above zero at which two ways cost the same in all, in order; without an objective by start and use."""
    months, times = (objective.horizon_months, refreshes(objective)) if objective else (0.0, 0)
    a, b = one.parts(months, times), other.parts(months, times)
    kinks = [flat / steep for _, flat, _, steep in (a, b) if flat > 0 and 0 < steep < math.inf]
    edges, found = [0.0, *sorted(kinks), math.inf], []
    for low, high in zip(edges, edges[1:], strict=False):
        inside = low + 1.0 if high == math.inf else (low + high) / 2
        (first, up), (second, rise) = (_line(*x, inside) for x in (a, b))
        if math.isclose(up, rise, rel_tol=1e-9):  # prices that differ in their last digit alone
            continue
        if low < (at := (second - first) / (up - rise)) <= high:
            found.append(at)
    return sorted(set(found))


def _line(start: float, flat: float, slope: float, steep: float, volume: float) -> tuple[float, float]:
    """Return where the straight piece at this volume begins, and how it rises."""
    return (start + flat, slope) if flat >= volume * steep else (start, slope + steep)


def break_even(chosen: Cost, other: Cost, objective: Objective | None = None) -> float | None:
    """Return the number of requests from which the one with the cheaper request has paid for its dearer start.

    None means never: one of them is not dearer in either respect.
    """
    found = crossings(chosen, other, objective)
    return found[0] if found else None

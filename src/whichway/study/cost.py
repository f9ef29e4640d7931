"""What a strategy costs: to build, per request, over the horizon, and from which volume another one is cheaper."""

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


@dataclass(frozen=True)
class Cost:
    """US dollars: once to build, and per 1,000 requests."""

    upfront_usd: float
    per_1000_usd: float

    def total(self, requests: float) -> float:
        """Return dollars for this many requests."""
        return self.upfront_usd + requests * self.per_1000_usd / 1000


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


def break_even(chosen: Cost, other: Cost) -> float | None:
    """Return the number of requests from which the one with the cheaper request has paid for its dearer start.

    None means never: one of them is not dearer in either respect.
    """
    dear, cheap = (chosen, other) if chosen.upfront_usd >= other.upfront_usd else (other, chosen)
    saved = cheap.per_1000_usd - dear.per_1000_usd
    if saved <= 0 or dear.upfront_usd <= cheap.upfront_usd:
        return None
    return 1000 * (dear.upfront_usd - cheap.upfront_usd) / saved


def break_even_sentence(names: tuple[str, str], costs: Mapping[str, Cost]) -> dict[str, Any]:
    """Return the break-even volume of two strategies in a number and in words."""
    first, second = names
    a, b = costs[first], costs[second]
    volume = break_even(a, b)
    if volume is not None:
        dear = first if a.upfront_usd > b.upfront_usd else second
        other = second if dear == first else first
        words = f"{dear} costs more to build and less per request: it is cheaper than {other} from {volume:,.0f} requests on."
        return {"requests": math.ceil(volume), "sentence": words}
    cheaper = first if (a.per_1000_usd, a.upfront_usd) <= (b.per_1000_usd, b.upfront_usd) else second
    other = second if cheaper == first else first
    return {
        "requests": None,
        "sentence": f"Never: {cheaper} is no dearer than {other}, neither to build nor per request.",
    }


def cheapness(cost: Cost, objective: Objective) -> float:
    """Return total dollars over the horizon to one significant digit: measured times differ by more from run to run."""
    total = cost.total(horizon_requests(objective))
    if total <= 0:
        return 0.0
    digits = -math.floor(math.log10(total))
    return round(total, digits)

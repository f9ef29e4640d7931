"""TEST DATA, invented: how two ways grow with labels, who has no curve, and what the sample's study guarantees."""

from __future__ import annotations

from typing import Any

SIZES, FAR = (28, 56, 112, 224), (314, 448, 627, 896)
PRICE = 0.05  # of a label in the sample's objective


def _grown(name: str, measured: tuple[float, ...], foretold: tuple[float, ...], even: dict[str, Any]) -> dict[str, Any]:
    """Return one way of the part on labels; bands grow by two points a step."""
    rungs = [
        {"labels": size, "value": value, "low": value - 0.08, "high": min(1.0, value + 0.07), "n": 96}
        for size, value in zip(SIZES, measured, strict=True)
    ]
    band = [
        {"labels": size, "value": value, "low": value - 0.02 * (i + 1), "high": min(1.0, value + 0.015 * (i + 1))}
        for i, (size, value) in enumerate(zip((*SIZES, *FAR), (*measured, *foretold), strict=True))
    ]
    gains = [_gain(more, share * (foretold[-1] - measured[-1])) for more, share in ((112, 0.4), (224, 0.6), (672, 1.0))]
    return {
        "strategy": name,
        "rungs": rungs,
        "chance": 0.125,
        "seed": 0,
        "band": band,
        "gains": gains,
        "break_even": even,
    }


def _gain(more: int, value: float) -> dict[str, Any]:
    usd, high = more * PRICE, value + 0.03
    each = None if value <= 0 else {"value": usd / (100 * value), "low": usd / (100 * high), "high": None}
    return {"more": more, "value": value, "low": -0.01, "high": high, "usd": usd, "usd_per_point": each}


def even(against: str, median: int | None, low: int | None, high: int | None, **more: Any) -> dict[str, Any]:
    """Return break-even labels."""
    return {"against": against, "median": median, "low": low, "high": high, "available": 0.2, "never": 0.3,
            "horizon": 896, **more}  # fmt: skip


def labels() -> dict[str, Any]:
    """Return the parts of the sample that are about labels and guarantees."""
    return {
        "labels": [
            _grown("probe", (0.71, 0.79, 0.84, 0.885), (0.891, 0.9, 0.905, 0.91), even("prompt-few", 118, 60, 240)),
            _grown("encoder", (0.52, 0.68, 0.81, 0.896), (0.905, 0.92, 0.93, 0.94), even("probe", 205, 150, None)),
            _grown("classic <b>&", (0.8, 0.82, 0.83, 0.833), (0.833,) * 4, even("probe", None, None, None, never=0.9)),
        ],
        "labels_missing": [
            {
                "strategy": "lora",
                "reason": "its smaller fits would take about 98 s (limit 30 s; --exhaustive measures them)",
            }
        ],
        "guarantees": {
            "g1": {
                "used": True,
                "why_not": "",
                "alpha": 0.05,
                "ruled_out": ["majority"],
                "by_estimate": ["nearest", "prompt <i>"],
            },
            "g2": {
                "why_not": "",
                "level": 0.95,
                "level_of_each": 0.983333,
                "exact": True,
                "finalists": [{"strategy": name, "n": 160} for name in ("probe", "encoder", "prompt-few")],
            },
            "g3": {
                "p_best": 0.71,
                "p_good_enough": 0.9,
                "p_feasible": 1.0,
                "p_missed": 0.04,
                "foretold": ["probe", "encoder"],
            },
        },
    }

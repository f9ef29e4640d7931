"""TEST DATA, invented: a report with ten trials, hostile names and texts, and every part filled."""

from __future__ import annotations

import copy
import math
from typing import Any

from sample_labels import labels

XSS = '<script>alert("x")</script>'
IMG = "<img src=x onerror=alert(1)>"
LABELS = ["refund", "delivery", "account", "invoice", "damaged | broken", IMG, "cancel_order", "other"]


def report(**changes: Any) -> dict[str, Any]:
    """Return a fresh copy of the whole sample, with top-level parts replaced."""
    return {**copy.deepcopy(_SAMPLE), **changes}


def trial(strategy: str, **changes: Any) -> dict[str, Any]:
    """Return one trial without anything measured, with parts replaced."""
    empty: dict[str, Any] = {"strategy": strategy, "way": "prompt", "settings": {}, "state": "done", "reason": ""}
    parts = ("validation", "test", "build", "use", "consistency", "calibration_error", "parsed", "memory_mb", "p_best")
    return {**empty, "finalist": False, "local": True, **dict.fromkeys(parts), "p_feasible": None, **changes}


def around(value: float, n: int, **more: Any) -> dict[str, Any]:
    """Return an estimate with a plausible interval."""
    half = 1.96 * math.sqrt(max(value * (1 - value), 0.002) / n)
    return {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half), "n": n, **more}


def _measured(
    name: str, way: str, scores: tuple[float, float | None], use: tuple[float, float], **more: Any
) -> dict[str, Any]:
    validation, test = scores
    return trial(
        name,
        way=way,
        finalist=test is not None,
        validation=around(validation, 96),
        test=None if test is None else around(test, 160, refit=True),
        use={"usd_per_1000": use[0], "p50_ms": use[1] * 0.6, "p95_ms": use[1], "rows_per_s": 1000 / use[1]},
        p_feasible=1.0,
        parsed=1.0,
        **more,
    )


def _build(seconds: float, usd: float = 0.0, tokens: int = 0) -> dict[str, Any]:
    return {"seconds": seconds, "usd": usd, "tokens": tokens}


_TRIALS = [
    _measured(
        "probe",
        "embed",
        (0.885, 0.881),
        (0.0021, 14.2),
        build=_build(6.4, 0.0002),
        consistency=0.97,
        consistency_note="24 rows, 3 rewordings",
        calibration_error=0.041,
        memory_mb=410,
        p_best=0.71,
    ),
    _measured(
        "encoder",
        "tune",
        (0.896, 0.888),
        (0.0048, 31.0),
        build=_build(312, 0.0087),
        consistency=0.96,
        calibration_error=0.083,
        memory_mb=620,
        p_best=0.24,
    ),
    _measured(
        "prompt-few",
        "prompt",
        (0.844, 0.838),
        (0.31, 212.0),
        build=_build(48, 0.042, 61_200),
        consistency=0.91,
        calibration_error=0.12,
        memory_mb=980,
        p_best=0.05,
    ),
    _measured(
        "classic",
        "classic",
        (0.833, None),
        (0.0001, 0.9),
        build=_build(1.1),
        consistency=0.94,
        calibration_error=0.06,
        memory_mb=120,
        p_best=0.0,
    ),
    _measured("nearest", "embed", (0.812, None), (0.0020, 13.1), build=_build(2.0, 0.0001), p_best=0.0),
    _measured("prompt", "prompt", (0.729, None), (0.12, 96.0), build=_build(0.2), consistency=0.88, p_best=0.0),
    _measured("majority", "classic", (0.146, None), (0.0, 0.01), build=_build(0.01), consistency=1.0, p_best=0.0),
    trial("lora", way="tune", state="skipped", reason="would take 41 min, the budget has 12 min left"),
    trial(
        "endpoint-few",
        way="prompt",
        state="skipped",
        local=False,
        reason="privacy is 'local': nothing may leave this machine",
    ),
    trial("rag", way="hybrid", state="failed", reason=f"the answer was cut off \x1b[31mred {XSS}", build=_build(3.0)),
]


def _cost(name: str, start: float, per_1000: float, even: tuple[float, ...] = (), **more: Any) -> dict[str, Any]:
    """Return one way of the part on costs; `even` is its break-even volume against `probe` with its interval."""
    requests, low, high = even or (None, None, None)
    refresh = 20.0 if start > 100 else 0.0
    total = start + 120 * per_1000 + 4 * refresh
    cheaper = (
        [] if requests is None else [{"from": 0, "to": requests}] if start < 480 else [{"from": requests, "to": None}]
    )
    return {
        "strategy": name,
        "upfront_usd": {"value": start, "low": None, "high": None},
        "per_1000_usd": {"value": per_1000, "low": per_1000 * 0.8, "high": per_1000 * 1.3},
        "total_usd": {"value": total, "low": total * 0.95, "high": total * 1.1},
        "hosting_usd_per_month": 0.0,
        "carries_per_month": None,
        "refresh_usd": refresh,
        "hours": start / 80,
        "break_even": {"requests": requests, "low": low, "high": high, "never": 0.0, "sentence": ""},
        "cheaper": cheaper,
        **more,
    }


_COSTS = {
    "against": "probe",
    "horizon_months": 12,
    "requests": 120_000,
    "refreshes": 4,
    "ways": [
        _cost("majority", 40.0, 0.0),
        _cost("prompt", 80.0, 0.12, (4_200_000, 3_100_000, 5_900_000)),
        _cost("prompt-few", 160.0, 0.31, (1_030_000, 800_000, 1_400_000)),
        _cost("classic", 240.0, 0.0001),
        _cost("probe", 480.0, 0.0021),
        _cost(f"encoder {XSS}", 1_280.0, 0.0011, (800_000_000, 90_000_000, None)),
        _cost("nearest", 481.0, 0.002, (10_000_000, 2_000_000, None)),
    ],
    "notes": ["A way on this machine is paid for by use.", f"Labels are there already. {IMG}"],
}

_SAMPLE: dict[str, Any] = {
    **labels(),
    "cost": _COSTS,
    "schema": 1,
    "whichway": "0.1.0",
    "state": "finished",
    "task": {
        "name": f"support tickets {XSS}",
        "instruction": "Decide which team should answer the customer's message.",
        "output": {"shape": "labels", "labels": LABELS, "multi": False},
        "metric": {"name": "accuracy", "settings": {}, "is_mean": True, "bounds": [0, 1]},
        "fields": [{"name": "message", "kind": "text"}, {"name": "channel", "kind": "category"}],
        "constraints": {"min_score": 0.85, "max_cost_per_1000_usd": 0.5, "max_p95_ms": 250, "privacy": "local"},
        "objective": {
            "smallest_difference": 0.02,
            "requests_per_month": 10_000,
            "horizon_months": 12,
            "compute_usd_per_hour": 0.1,
            "label_usd": 0.05,
        },
        "fingerprint": "5d0c3f1e9a7b",
    },
    "split": {
        "train": 224,
        "validation": 96,
        "test": 160,
        "fingerprint": "ab12cd34ef56",
        "folds": 1,
        "test_from": "split",
        "seed": 0,
        "certificate": True,
    },
    "data": {
        "rows": 480,
        "findings": [
            {
                "code": "near-duplicates",
                "severity": "warning",
                "message": "14 rows are nearly the same as another row; they were kept on one side of the split.",
            },
            {"code": "rare-labels", "severity": "info", "message": f"The label '{IMG}' has only 9 rows."},
        ],
    },
    "trials": _TRIALS,
    "differences": [
        {"a": "probe", "b": "encoder", "part": "test", "value": -0.007, "low": -0.018, "high": 0.006, "n": 160},
        {"a": "probe", "b": "prompt-few", "part": "test", "value": 0.043, "low": 0.009, "high": 0.081, "n": 160},
        {"a": "encoder", "b": "classic", "part": "validation", "value": 0.063, "low": -0.004, "high": 0.131, "n": 96},
    ],
    "recommendation": {
        "strategy": "probe",
        "level": "leaning",
        "sentence": "Use probe: within 0.02 of the best score, at less than half the cost of the next way.",
        "reasons": [
            "It reaches 0.881, above the 0.85 you asked for, on test rows that nothing was tuned on.",
            "encoder scores 0.007 higher, less than the 0.02 you said matters, and costs 2.3 times as much.",
        ],
        "runner_up": "encoder",
        "difference": {"value": -0.007, "low": -0.018, "high": 0.006, "n": 160, "part": "test"},
        "break_even": {
            "requests": 123_456,
            "sentence": "encoder would pay for itself only if 0.007 of score were worth more than $0.027 a month.",
        },
        "would_change": [
            "A required score above 0.89: then encoder is the only way that could reach it.",
            "About 600 more labelled rows: the curve of encoder still rises, the curve of probe is flat.",
        ],
        "not_tested": [
            "Fine-tuning with LoRA: it did not fit into the budget.",
            "Models behind an endpoint: privacy forbids them.",
        ],
        "p_best": 0.71,
        "p_feasible": 1.0,
    },
    "per_class": [
        {
            "label": label,
            "n": n,
            "scores": {
                name: {
                    "precision": p - shift,
                    "recall": r - shift,
                    "f1": 2 * (p - shift) * (r - shift) / (p + r - 2 * shift),
                }
                for name, shift in (("probe", 0.0), ("encoder", -0.01), ("prompt-few", 0.05))
            },
        }
        for label, n, p, r in zip(
            LABELS,
            (34, 31, 27, 22, 16, 9, 12, 9),
            (0.94, 0.9, 0.88, 0.95, 0.81, 0.8, 0.92, 0.6),
            (0.94, 0.93, 0.85, 0.91, 0.81, 0.67, 0.92, 0.67),
            strict=True,
        )
    ],
    "confusions": [
        {"strategy": name, "true": true, "answered": answered, "n": n}
        for name in ("probe", "encoder", "prompt-few")
        for true, answered, n in (
            ("account", "other", 3),
            ("damaged | broken", "refund", 2),
            (IMG, "other", 2),
            ("delivery", "account", 2),
            ("refund", "damaged | broken", 2),
            ("other", "account", 2),
            ("invoice", "account", 2),
            (IMG, "cancel_order", 1),
            ("other", "refund", 1),
            ("cancel_order", "refund", 1),
            ("account", "delivery", 1),
        )
    ],
    "disagreements": [
        {
            "id": "row-17",
            "text": "My parcel came yesterday but the lid is cracked and I have already been charged twice for it.",
            "true": "damaged | broken",
            "answers": {
                "probe": {"value": "refund", "confidence": 0.52},
                "encoder": {"value": "damaged | broken", "confidence": 0.81},
                "prompt-few": {"value": "refund", "confidence": 0.66},
            },
        },
        {
            "id": "row-203",
            "text": f"Hello {XSS} \x1b[2J\u202e please {IMG} close it",
            "true": "cancel_order",
            "answers": {
                "probe": {"value": "cancel_order", "confidence": 0.47},
                "encoder": {"value": "account", "confidence": 0.58},
                "prompt-few": {"value": None, "confidence": None},
            },
        },
    ],
    "calibration": {
        name: [
            {
                "low": low / 5,
                "high": low / 5 + 0.2,
                "n": n,
                "confidence": low / 5 + 0.11,
                "accuracy": min(1.0, low / 5 + 0.11 + off),
            }
            for low, n, off in ((1, 8, 0.1 - tilt), (2, 21, 0.06 - tilt), (3, 39, 0.02 - tilt), (4, 92, 0.04 - tilt))
        ]
        for name, tilt in (("probe", 0.02), ("encoder", 0.09), ("prompt-few", 0.16))
    },
    "steps": [
        {
            "strategy": "hybrid",
            "steps": [
                {
                    "name": name,
                    "said": said,
                    "prompt": {"id": "0a1b", "text": f"Sort. {XSS}"} if value else None,
                    "score": {"value": value, "low": value - 0.06, "high": value + 0.06, "n": 96} if value else None,
                    "gain": {"value": gain, "low": gain - 0.05, "high": gain + 0.05, "n": 96} if gain else None,
                    "edits": [{"what": "rule", "before": "none", "after": IMG, "bought": 0.04, "rows": 64}],
                }
                for name, said, value, gain in (
                    ("seed", "the few-shot prompt", 0.52, None),
                    ("prompt", "12 prompts scored", 0.61, 0.09),
                    ("weights", f"trained on 210 rows {XSS}", 0.83, 0.22),
                    ("prompt again", "No headroom", None, None),
                )
            ],
        }
    ],
    "spent": {"seconds": 611.0, "usd": 0.093, "tokens": 188_400},
    "spend_by": [
        {"strategy": name, "phase": phase, "seconds": seconds, "usd": seconds / 36_000, "tokens": tokens}
        for name, phases in (
            ("encoder", {"fit": (96, 0), "validation": (4, 0), "latency": (3, 0), "refit": (216, 0), "test": (7, 0)}),
            (
                "prompt-few",
                {
                    "fit": (48, 61_200),
                    "validation": (39, 48_000),
                    "latency": (11, 9_000),
                    "consistency": (31, 38_000),
                    "test": (66, 32_200),
                },
            ),
            (
                "probe",
                {
                    "fit": (6.4, 0),
                    "validation": (2, 0),
                    "latency": (1, 0),
                    "consistency": (2, 0),
                    "refit": (6, 0),
                    "test": (3, 0),
                },
            ),
            ("prompt", {"validation": (18, 0), "latency": (6, 0), "consistency": (12, 0)}),
            ("classic", {"fit": (1.1, 0), "validation": (0.2, 0)}),
            ("rag", {"fit": (3.0, 0)}),
        )
        for phase, (seconds, tokens) in phases.items()
    ],
    "threats": [
        "Test rows come from the same weeks as training rows; next month's messages may differ.",
        "With 160 test rows, a score has an interval of about 0.05 to either side.",
    ],
    "reproduce": {
        "command": "whichway run task.yaml --seed 0 --out runs/tickets",
        "seed": 0,
        "versions": {
            "whichway": "0.1.0",
            "python": "3.11.2",
            "numpy": "2.1.0",
            "SmolLM2-135M-Instruct": "b179c9523d0e",
        },
    },
    "timing": {
        "started": "2026-01-05T09:12:44Z",
        "finished": "2026-01-05T09:22:55Z",
        "machine": {"processor": "Test CPU", "cores": 2, "memory_gb": 15.6, "gpu": None},
    },
}

"""The task, the split, the machine and the versions of a study as plain data."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict
from typing import Any

from whichway.core.fields import Fields
from whichway.core.output import Labels
from whichway.core.task import Task
from whichway.study.bench import Bench
from whichway.study.cost import CPU_USD_PER_HOUR, GPU_USD_PER_HOUR, PRICES_AS_OF
from whichway.study.facts import hourly_price


def task_of(bench: Bench, loaded: Any) -> dict[str, Any]:
    task = bench.task
    settings = metric_settings(task.metric)
    return {
        "name": task.name,
        "instruction": task.instruction,
        "output": _output(task),
        "documents": len(task.documents),
        "metric": {
            "name": task.metric.name,
            "settings": settings,
            "is_mean": task.metric.is_mean,
            "bounds": list(task.metric.bounds),
        },
        "fields": [{"name": one.name, "kind": one.kind} for one in task.fields],
        "constraints": {key: value for key, value in asdict(task.constraints).items() if value is not None},
        "objective": {
            **asdict(task.objective),
            "compute_usd_per_hour": hourly_price(bench),
            "compute_price": "the task file's"
            if task.objective.compute_usd_per_hour is not None
            else f"assumed {PRICES_AS_OF}: {CPU_USD_PER_HOUR} USD/h for two cores, {GPU_USD_PER_HOUR} USD/h for a GPU",
        },
        "fingerprint": loaded.fingerprint,
    }


def metric_settings(metric: Any) -> dict[str, Any]:
    """Return a metric's parameters that are plain data; models and documents are not."""
    names = getattr(metric, "__dataclass_fields__", {})
    return {
        name: one
        for name in names
        if name not in ("documents", "embedder") and _is_plain(one := _plain(getattr(metric, name)))
    }


def _plain(value: Any) -> Any:
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _output(task: Task) -> dict[str, Any]:
    output, found = task.output, {"shape": task.output.shape, "labels": [], "multi": False}
    if isinstance(output, Labels):
        return {**found, "labels": list(output.names), "multi": output.multi}
    return (
        {**found, "schema": output.schema}
        if isinstance(output, Fields)
        else {**found, "rules": output.rules.describe()}
    )


def split_of(bench: Bench) -> dict[str, Any]:
    split = bench.split
    first = split.folds[0]
    return {
        "train": len(first.train) + len(first.dev),
        "validation": len(split.validation),
        "test": len(split.test),
        "fingerprint": split.fingerprint,
        "folds": len(split.folds),
        "test_from": split.test_from,
        "seed": split.seed,
        "certificate": bool(split.test),
    }


def timing(bench: Bench) -> dict[str, Any]:
    started = bench.ledger.noted("started") or _now()
    at_once = {**(bench.ledger.noted("at once") or {}), **bench.shelf.at_once()}
    bench.ledger.note("at once", at_once)
    return {"started": started, "finished": _now(), "machine": machine(), "at_once": at_once}


def machine() -> dict[str, Any]:
    """Return what this machine is, as far as it says."""
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": memory,
        "gpu": _gpu(),
    }


def _gpu() -> str | None:
    import sys

    torch = sys.modules.get("torch")
    return str(torch.cuda.get_device_name(0)) if torch is not None and torch.cuda.is_available() else None


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")

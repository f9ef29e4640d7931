"""Finished runs as folders, written by hand: what `predict` finds without a study having been run."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from whichway.core.output import Labels
from whichway.core.task import Field, Task
from whichway.live.bundle import write_bundle
from whichway.registry import get
from whichway.study.lines import folder_name

PRICED = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "key_env": None, "max_concurrency": 1, "timeout_s": 1.0}
PRICED["price"] = {"input": 1000.0, "output": 1000.0, "cached_input": None}  # type: ignore[assignment]


def make_task(multi: bool = False) -> Task:
    return Task("desk", "Sort.", (Field("text"),), Labels(("a", "b", "c"), multi), get("metric", "accuracy")())


def trial(name: str, way: str = "majority", test: Any = None, **settings: Any) -> dict[str, Any]:
    return {"strategy": name, "way": way, "settings": settings, "state": "done", "test": test, "validation": None}


def lay_solution(run: Path, name: str, which: str, value: Any) -> None:
    """Write a fitted majority answer where a trial would."""
    home = run / "trials" / folder_name(name) / which
    home.mkdir(parents=True)
    said = {"value": value, "confidence": 0.5, "scores": {"a": 0.5, "b": 0.5, "c": 0.0}}
    (home / "majority.json").write_text(json.dumps(said))


def finish(
    run: Path,
    trials: list[dict[str, Any]],
    chosen: str | None,
    task: Task | None = None,
    endpoints: dict[str, Any] | None = None,
    usd: float = 0.0,
    abstention: dict[str, Any] | None = None,
) -> list[str]:
    """Write the bundle of a study of these trials."""
    task = task or make_task()
    said = {"causal": "embedded", "embedder": "embedded", "endpoints": endpoints or {}}
    models = SimpleNamespace(model_dump=lambda mode: said)
    loaded = SimpleNamespace(task=task, settings=SimpleNamespace(models=models, budget=SimpleNamespace(usd=usd)))
    recommendation = {"strategy": chosen, "closest": trials[0]["strategy"] if trials else None, "sentence": "So."}
    about = {"name": task.name, "metric": {"name": "accuracy"}}
    report = {"task": about, "recommendation": recommendation, "trials": trials, "abstention": abstention or {}}
    return write_bundle(loaded, report, run)

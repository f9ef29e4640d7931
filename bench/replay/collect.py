"""Replay B's matrix: every arm on every data set, run to the end, its outcome on each row and its real cost kept as numbers.

A job is one line (a strategy with settings) on one data set under one seed, which draws split and train rows anew. Trainable
lines are fitted at nested rungs of n/8, n/4, n/2 and n train rows. No text is kept: outcomes are numbers between 0 and 1.
"""

from __future__ import annotations

import argparse
import base64
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))
DATA = Path(os.environ.get("WHICHWAY_DATA", ROOT.parent / "shared" / "data"))
LABELS = ("sms_spam", "banking77", "banking10", "cuad_clause_type", "pubmedqa_gold")
EXAMPLES = ("support_triage", "contract_clauses", "clinical_coding", "payment_fraud", "invoice_fields", "product_copy")
WRITTEN = ("sec_loan_ner", "e2e_nlg_cleaned", "meqsum")
SETS = (*LABELS, *EXAMPLES, *WRITTEN)
MOST_TRAIN, MOST_VALIDATION, MOST_TEST = 640, 200, 400
RUNGS = (8, 4, 2, 1)  # of all train rows, one in so many
STATIC: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("majority", "majority", {}),
    ("prompt-zero", "prompt", {"form": "zero"}),
    ("prompt-few-4", "prompt", {"form": "few", "shots": 4}),
    ("prompt-few-16", "prompt", {"form": "few", "shots": 16}),
    ("prompt-nearest-2", "prompt", {"form": "nearest", "shots": 2}),
    ("prompt-nearest-8", "prompt", {"form": "nearest", "shots": 8}),
    ("extractive", "extractive", {}),
)
LEARNING: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("classic", "classic", {}),
    ("probe", "probe", {}),
    ("encoder", "encoder", {}),
    ("encoder-plain", "encoder", {"loss": "classifier", "words": 0.0}),
    ("finetune", "finetune", {"batch": 16, "drafts": 0}),
    ("finetune-full", "finetune", {"batch": 16, "method": "full", "drafts": 0}),
    ("hybrid", "finetune", {"batch": 16, "shown": 2, "epochs": 1, "longest": 768, "drafts": 0}),
)


@dataclass(frozen=True)
class Job:
    """One line on one data set under one seed."""

    set: str
    line: str
    way: str
    settings: tuple[tuple[str, Any], ...]
    rungs: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class Parts:
    """A task and its rows under one seed: train in the order of its nested rungs."""

    task: Any
    train: tuple[Any, ...]
    validation: tuple[Any, ...]
    test: tuple[Any, ...]


def main() -> None:
    """Run all jobs in --workers processes until --minutes are over; finished ones in the output folder are not run again."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--sets", default=",".join(SETS))
    asked.add_argument("--lines", default="")
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--workers", type=int, default=1)
    asked.add_argument("--minutes", type=float, default=600)
    asked.add_argument("--out", type=Path, required=True)
    said = asked.parse_args()
    said.out.mkdir(parents=True, exist_ok=True)
    jobs = [
        job for job in all_jobs(said.sets.split(","), said.seeds) if not said.lines or job.line in said.lines.split(",")
    ]
    done = finished(said.out)
    jobs = [job for job in jobs if (job.set, job.line, job.seed) not in done]
    end = time.time() + 60 * said.minutes
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    for job in jobs:
        queue.put(job)
    workers = [
        context.Process(target=_work, args=(queue, said.out / f"arms-{i}.jsonl", end, 1 / said.workers))
        for i in range(said.workers)
    ]
    for one in workers:
        one.start()
    for one in workers:
        one.join()


def all_jobs(sets: Sequence[str], seeds: int) -> list[Job]:
    """Return every job, the first seed of all sets before the second; within a set the long ones first."""
    jobs = []
    for seed in range(seeds):
        for name in sets:
            jobs += [Job(name, line, way, tuple(how.items()), RUNGS, seed) for line, way, how in reversed(LEARNING)]
            jobs += [Job(name, line, way, tuple(how.items()), (1,), seed) for line, way, how in STATIC]
    return jobs


def finished(folder: Path) -> set[tuple[str, str, int]]:
    """Return which jobs' last rung, or reason for having none, is in the folder."""
    rows = [json.loads(one) for path in folder.glob("arms-*.jsonl") for one in path.read_text().splitlines()]
    return {(one["set"], one["line"], one["seed"]) for one in rows if one.get("last")}


def _work(queue: Any, out: Path, end: float, share: float) -> None:
    """Do jobs until there are none or the time is over; a GPU's memory is shared out among the workers."""
    import queue as queues

    import torch

    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share)

    models: dict[str, Any] = {}
    parts: dict[tuple[str, int], Parts] = {}
    while time.time() < end:
        try:
            job = queue.get(timeout=2)
        except queues.Empty:
            return
        with out.open("a", encoding="utf-8") as file:
            for found in _arms(job, models, parts, end):
                file.write(json.dumps({"set": job.set, "line": job.line, "seed": job.seed, **found}) + "\n")
                file.flush()
                print(job.set, job.line, job.seed, {k: v for k, v in found.items() if k[0] != "_"}, flush=True)


def _arms(job: Job, models: dict[str, Any], parts: dict[tuple[str, int], Parts], end: float) -> Any:
    """Yield one record per rung; one that cannot serve the task, or fails, ends the line with the reason."""
    from whichway.errors import WhichwayError

    try:
        if (job.set, job.seed) not in parts:
            parts[job.set, job.seed] = load_parts(job.set, job.seed)
        had = parts[job.set, job.seed]
        for rung in job.rungs:
            if time.time() > end:
                return
            yield {**_arm(job, had, rung, models), "last": rung == job.rungs[-1]}
    except WhichwayError as error:
        yield {"last": True, "reason": error.problem[:120]}
    except Exception as error:
        traceback.print_exc()
        yield {"last": True, "reason": f"{type(error).__name__}: {str(error)[:80]}"}


def _arm(job: Job, had: Parts, rung: int, models: dict[str, Any]) -> dict[str, Any]:
    """Fit at one rung, answer validation and test, return seconds and outcomes."""
    from whichway.core.strategy import Kit
    from whichway.errors import NotApplicable
    from whichway.registry import get

    strategy = get("strategy", job.way)(**dict(job.settings))
    if had.task.output.shape not in getattr(strategy, "shapes", ("labels",)):
        raise NotApplicable("serves other shapes of answer", "")
    _load(models)
    rows = had.train[: max(16, len(had.train) // rung)]
    cut = max(2, round(0.15 * len(rows)))
    folder = Path(tempfile.mkdtemp())
    kit = Kit({"causal": models["causal"]}, models["embedder"], folder, seed=job.seed)
    began = time.perf_counter()
    solution = strategy.fit(had.task, rows[cut:], rows[:cut], kit)
    fitted = time.perf_counter()
    asked = [*had.validation, *had.test]
    answers = solution.predict([row.inputs for row in asked])
    ended = time.perf_counter()
    shutil.rmtree(folder, ignore_errors=True)
    metric = had.task.metric
    scores = [metric.aggregate([metric.score_example(*pair)]) for pair in zip(asked, answers, strict=True)]
    low, high = metric.bounds
    packed = bytes(round(250 * (one - low) / (high - low)) for one in scores)
    return {
        "rung": rung,
        "labels": len(rows),
        "fit_s": round(fitted - began, 3),
        "row_s": round((ended - fitted) / len(asked), 6),
        "validation": len(had.validation),
        "test": len(had.test),
        "_scores": base64.b64encode(packed).decode(),
        "mean": round(sum(packed) / 250 / len(packed), 4),
    }


def _load(models: dict[str, Any]) -> None:
    """Load both models and use each once, so that no arm pays for the first call."""
    if models:
        return
    from whichway.registry import get

    models["causal"] = get("model", "causal")("embedded")
    models["embedder"] = get("model", "encoder")("embedded")
    models["causal"].score(["One."] * 4, [" a", " b"])
    models["embedder"].embed(["One."])
    import datasets  # noqa: F401
    import peft  # noqa: F401
    import trl  # noqa: F401


def load_parts(name: str, seed: int) -> Parts:
    """Return a data set's task and rows under a seed, every part drawn at random; a metric learns from train rows alone."""
    from whichway.core.task import Teachable
    from whichway.intake.load import load_task

    folder = Path(tempfile.mkdtemp())
    try:
        loaded = load_task(_task_file(name, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rng = random.Random(1000 + seed)
    rows = rng.sample(list(loaded.examples), len(loaded.examples))
    if loaded.test is not None:
        test = rng.sample(list(loaded.test), min(MOST_TEST, len(loaded.test)))
    else:
        some = min(MOST_TEST, round(0.3 * len(rows)))
        test, rows = rows[:some], rows[some:]
    some = min(MOST_VALIDATION, round(0.33 * len(rows)))
    validation, train = rows[:some], rows[some : some + MOST_TRAIN]
    metric = loaded.task.metric
    task = replace(loaded.task, metric=metric.taught(train) if isinstance(metric, Teachable) else metric)
    return Parts(task, tuple(train), tuple(validation), tuple(test))


def _task_file(name: str, folder: Path) -> Path:
    """Return the path of a data set's task file: an example's own, else one written into the folder."""
    if name in EXAMPLES:
        home = shutil.copytree(ROOT / "examples" / name, folder / name)
        path = Path(home) / "task.yaml"
        path.write_text(path.read_text().replace("{name: average_precision, positive: fraud}", "accuracy"))
        return path
    import targets

    targets.DATA = DATA
    targets.SETS = {key: {**about, "rows": 0, "test_rows": 0} for key, about in targets.SETS.items()}
    if name == "banking10":
        return _banking10(folder)
    made: Path = targets._task(name, folder / name, 1)
    return made


def _banking10(folder: Path) -> Path:
    """Ten intents about cards, of the 77."""
    import targets

    path: Path = targets._task("banking77", folder / "banking10", 1)
    kept = sorted({json.loads(one)["output"] for one in _lines(path.parent / "train.jsonl")})[10:20]
    for part, source in (("train", "train.jsonl"), ("test", "test.jsonl")):
        rows = [one for one in _lines(DATA / "banking77" / source) if json.loads(one)["output"] in kept]
        (path.parent / f"{part}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def _lines(path: Path) -> list[str]:
    return [one for one in path.read_text(encoding="utf-8").split("\n") if one]


if __name__ == "__main__":
    main()

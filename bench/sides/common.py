"""What every side of a comparison does alike: read its inputs, time its work, say what it took. No whichway import here."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

PARAMETERS = 106.2e6  # of SmolLM2-135M, without its vocabulary


def measured(sides: dict[str, Callable[[dict[str, Any]], Callable[[], dict[str, Any]]]]) -> None:
    """Run the side named on the command line on a JSON file: prepare, warm up, time the work, print one line of JSON.

    A side prepares outside the clock (loading a model) and returns the work to be timed, which returns its outcome.
    """
    side, path = sys.argv[1], sys.argv[2]
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with open(path, encoding="utf-8") as file:
        inputs = json.load(file)
    work = sides[side](inputs)
    cpu, began = time.process_time(), time.perf_counter()
    outcome = work()
    seconds = time.perf_counter() - began
    peak = _gpu_mb() or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    said = {"seconds": seconds, "cpu_seconds": time.process_time() - cpu, "peak_mb": round(peak), **outcome}
    print("RESULT " + json.dumps(said), flush=True)


def device() -> str:
    """Return where a peer computes: on the GPU where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def number_format() -> Any:
    """Return the format in which a peer computes: the one that is fastest on this machine."""
    import torch

    return {"bf16": torch.bfloat16, "fp32": torch.float32}[os.environ.get("BENCH_FORMAT", "bf16")]


def _gpu_mb() -> float:
    """Return the most memory that tensors held on the GPU; 0 without one."""
    torch = sys.modules.get("torch")
    return torch.cuda.max_memory_allocated() / 1e6 if torch is not None and torch.cuda.is_available() else 0.0

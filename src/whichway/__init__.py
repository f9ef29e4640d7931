"""Which way should this model be customised for this task? Measured, not guessed."""

from __future__ import annotations

import importlib
import os
from typing import Any

__version__ = "0.1.0"

# Threads of one product wait for each other by spinning: alone on a machine that is fastest, beside another process they keep
# the processor from whom they wait for. Spinning for less costs 0 to 5 % alone and makes work beside others 1.7 to 4 times as
# fast (docs/log.md). Read once, when the OpenMP runtime is loaded, so it stands here; what is set already wins.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# Public name -> where it lives; each is imported when first used, so that `import whichway` stays fast.
_DOOR = {
    "Budget": "whichway.core.strategy",
    "Constraints": "whichway.core.task",
    "Example": "whichway.core.task",
    "Field": "whichway.core.task",
    "Kit": "whichway.core.strategy",
    "Labels": "whichway.core.output",
    "Metric": "whichway.core.task",
    "Objective": "whichway.core.task",
    "Options": "whichway.study.run",
    "Prediction": "whichway.core.task",
    "Solution": "whichway.core.strategy",
    "Spend": "whichway.core.model",
    "Strategy": "whichway.core.strategy",
    "Task": "whichway.core.task",
    "Watcher": "whichway.study.run",
    "WhichwayError": "whichway.errors",
    "init": "whichway.intake.init",
    "load_solution": "whichway.live.bundle",
    "load_task": "whichway.intake.load",
    "read_report": "whichway.report.write",
    "register": "whichway.registry",
    "render": "whichway.report.write",
    "run_study": "whichway.study.run",
    "write_report": "whichway.report.write",
}
__all__ = sorted([*_DOOR, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _DOOR:
        return getattr(importlib.import_module(_DOOR[name]), name)
    raise AttributeError(f"module 'whichway' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)

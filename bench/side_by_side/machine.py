"""The machine that a comparison runs on: its name and roof, and whether others leave it alone."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

FOREIGN = 0.05  # share of the machine that others may use while we time
WAIT_S = 120
TRIES = 3

Found = TypeVar("Found")


class Failed(Exception):
    """Something could not be measured; says why in one line."""


def undisturbed(work: Callable[[], Found], anyway: bool) -> tuple[Found, float]:
    """Return what `work` gives and the share of all cores that others used meanwhile.

    Where that was much the work is done again as soon as the machine is quiet.
    Raises Failed where others disturb all of three tries, or give no quiet second in two minutes. `anyway` takes the first try.
    """
    for _ in range(TRIES):
        wait(anyway)
        before = _jiffies()
        found = work()
        foreign = round(_foreign(before, _jiffies()), 3)
        if foreign <= FOREIGN or anyway:
            return found, foreign
        print(f"others used {100 * foreign:.0f} % of the machine: measuring again", flush=True)
    raise Failed(f"others used the machine in each of {TRIES} tries, {100 * foreign:.0f} % of it in the last")


def wait(anyway: bool) -> None:
    """Return as soon as others leave the machine alone for a second. Raises Failed if they do not."""
    end = time.monotonic() + WAIT_S
    while not anyway:
        before = _jiffies()
        time.sleep(1)
        if _foreign(before, _jiffies()) <= FOREIGN:
            return
        if time.monotonic() > end:
            raise Failed(f"another process has kept this machine busy for {WAIT_S} s: stop it, or give --anyway")


def number_format() -> str:
    """Return the format that whichway and its peers alike compute in here: bf16 where that is fast, else fp32."""
    import torch

    from whichway.models import hardware

    return "bf16" if hardware.dtype() == torch.bfloat16 else "fp32"


def peak(anyway: bool) -> float | None:
    """Return operations per second of a large matrix product in that format here, the roof; None where others disturb it."""
    try:
        return round(undisturbed(_product, anyway)[0])
    except Failed as why:
        print(f"The roof is unknown: {why}.", flush=True)
        return None


def gpu() -> str:
    """Return the name of the GPU; empty without one."""
    import torch

    return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else ""


def name() -> str:
    """Return processor, GPU and the versions of what computes."""
    import torch

    model = next((x.split(":")[1].strip() for x in open("/proc/cpuinfo") if x.startswith("model name")), "")
    software = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{f'one {gpu()}, ' if gpu() else ''}{os.cpu_count()} cores of {model}, {software}"


def _product() -> float:
    import torch

    size, device = (8192, "cuda") if gpu() else (2048, "cpu")
    kind = {"bf16": torch.bfloat16, "fp32": torch.float32}[number_format()]
    a, b = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
    seconds = []
    for _ in range(20):
        began = time.perf_counter()
        float((a @ b)[0, 0])  # reading one number waits for a GPU
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / statistics.median(seconds)


def _jiffies() -> tuple[float, float, float]:
    """Return CPU seconds of the machine, of us and our finished children, and the time."""
    fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    times = os.times()
    busy = (sum(fields[:8]) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
    return busy, times.children_user + times.children_system + times.user + times.system, time.monotonic()


def _foreign(before: tuple[float, float, float], after: tuple[float, float, float]) -> float:
    """Return the share of all cores that other processes used in between."""
    busy, own, wall = (b - a for a, b in zip(before, after, strict=True))
    return max(0.0, busy - own) / (max(wall, 1e-6) * (os.cpu_count() or 1))

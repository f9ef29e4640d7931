"""What this machine computes with: device, number format, threads, and quiet libraries."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import warnings
from collections.abc import Iterator
from typing import Any, TypeVar

from whichway.errors import UsageError

REFERENCE = (
    7.4e11  # operations per second of that product on two EPYC cores with AVX512-BF16, where rates were measured
)
UNKNOWN_BYTES = 2 << 30  # taken for free memory where the system does not tell
REFERENCE_FP32 = 3.2e11  # the same in fp32
TIMED_S, TURNS = 0.1, 6
MOST_APART = 50.0

Kind = TypeVar("Kind")


@functools.cache
def device() -> Any:
    """Return the torch device: CUDA where there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name() -> str:
    """Return the name of the GPU that is computed on, or of the processor."""
    import torch

    return str(torch.cuda.get_device_name()) if device().type == "cuda" else processor()


def at_once(cpu: int, gpu: int) -> int:
    """Return a bound on a batch: what two cores do fastest, or what fills a GPU."""
    return by_device(cpu, gpu)


def by_device(cpu: Kind, gpu: Kind) -> Kind:
    """Return what holds on the device that this process computes on."""
    return gpu if device().type == "cuda" else cpu


def free_bytes() -> int:
    """Return how much memory can still be had: a GPU's, or the machine's within the bounds of this process's container."""
    if device().type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    found = [_number(line.split()[1]) * 1024 for line in _lines("/proc/meminfo") if line.startswith("MemAvailable")]
    most, used = (_lines(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if most and used and most[0].isdigit():
        found.append(max(0, _number(most[0]) - _number(used[0])))
    return min(found, default=UNKNOWN_BYTES)


def processor() -> str:
    """Return what the processor is called."""
    names = (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _lines(file: str) -> list[str]:
    try:
        with open(file, encoding="ascii", errors="replace") as opened:
            return opened.read().splitlines()
    except OSError:
        return []


@functools.cache
def dtype() -> Any:
    """Return bf16 where the processor or GPU multiplies it fast (AMX, AVX512-BF16, Ampere and later), else fp32."""
    import torch

    if device().type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    wanted, known = os.environ.get("WHICHWAY_DTYPE", ""), {"bf16": torch.bfloat16, "fp32": torch.float32}
    if wanted:
        if wanted not in known:
            raise UsageError(f"WHICHWAY_DTYPE cannot be {wanted!r}.", f"Known: {', '.join(known)}; or leave it unset.")
        return known[wanted]
    return torch.bfloat16 if torch.backends.cpu.get_cpu_capability() == "AVX512" and _cpu_has_bf16() else torch.float32


def _cpu_has_bf16() -> bool:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            text = file.read()
    except OSError:
        return False
    return "avx512_bf16" in text or "amx_bf16" in text


def quiet() -> None:
    """Keep model libraries from printing and from looking anything up on a network; called before they are imported."""
    keep_memory()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_DISABLE", "1")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl|peft|accelerate)\b")
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


@contextlib.contextmanager
def exact_products(kind: Any) -> Iterator[None]:
    """Let matrix products of fp32 tensors that hold bf16 values run at the speed of bf16 (on a GPU: tf32) with fp32 results.

    Their factors are exact in both, so nothing is lost, while a bf16 result would round a logit of 20 to steps of 1/8.
    """
    import torch

    if kind != torch.bfloat16:
        yield
        return
    backend, fast = torch.backends.mkldnn.matmul, "bf16"
    if device().type == "cuda":
        backend, fast = torch.backends.cuda.matmul, "tf32"
    before = backend.fp32_precision
    backend.fp32_precision = fast
    try:
        yield
    finally:
        backend.fp32_precision = before


@functools.cache
def keep_memory() -> None:
    """Let the C library keep freed memory: giving 30 MB back and faulting it in again costs more than the sums in it."""
    import ctypes
    import sys

    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
            libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def give_memory_back() -> None:
    """Give the system what the C library keeps of freed memory: after a piece of work whose sizes will not come again.

    `keep_memory` lets it keep all; between tensors that live on, a process so grew by gigabytes from one training to the next.
    """
    import ctypes
    import sys

    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


@functools.cache
def slowness(exact: bool = False) -> float:
    """Return how many times as long model work takes here as on the machine of study/plan.py's rates: by one timed product.

    In the format of models, or in fp32 where `exact`. A tenth of a second, and longer on a slow machine, whose first products
    take twice as long. What else runs on the machine counts, as it will count against the work that is estimated.
    """
    import time

    import torch

    kind, reference = (torch.float32, REFERENCE_FP32) if exact else (dtype(), REFERENCE)
    rows = torch.randn(1024, 576, device=device()).to(kind)
    weight = torch.randn(1536, 576, device=device()).to(kind)
    best, end, turns = float("inf"), time.perf_counter() + TIMED_S, 0
    while time.perf_counter() < end or turns < TURNS:
        turns += 1
        began = time.perf_counter()
        for _ in range(4):
            found = torch.nn.functional.linear(rows, weight)
        float(found[0, 0])  # reading one number waits for a GPU
        best = min(best, (time.perf_counter() - began) / 4)
    apart: float = best * reference / (2 * rows.numel() * weight.shape[0])
    return min(max(apart, 1 / MOST_APART), MOST_APART)

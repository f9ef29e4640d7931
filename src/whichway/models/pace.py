"""How many tokens this machine reads at a time fastest: timed once per machine, kept in the cache folder."""

from __future__ import annotations

import functools
import json
import time
from typing import Any

from whichway.models import embedded, hardware

SIZES = {"cpu": (512, 1024, 2048, 4096), "cuda": (8_192, 32_768, 131_072)}
WIDTH, INNER, LAYERS = (
    576,
    1536,
    8,
)  # those of the embedded model; enough layers that their weights are not all in cache
REPEATS = 3
AS_FAST = (
    0.95  # of the fastest size's speed: where the usual size is so fast, it is taken, as timings differ by as much
)


@functools.cache
def tokens_at_once() -> int:
    """Return the size of a batch, in tokens, that a decoder's products and norms run fastest in.

    Of a few sizes the second, that of two cores, unless another is clearly faster by the best of three timings of eight random
    layers. A second or two at first; then it stands in the cache folder, by processor, threads, format and torch's version.
    """
    import torch

    kind = hardware.device().type
    name = (
        torch.cuda.get_device_name() if kind == "cuda" else f"{hardware.processor()}, {torch.get_num_threads()} threads"
    )
    key = f"{name}, {hardware.dtype()}, torch {torch.__version__}, {SIZES[kind]}"
    file = embedded.cache_folder() / "pace.json"
    known = _read(file)
    if key not in known:
        known = {**_read(file), key: measured(SIZES[kind])}
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch = file.with_suffix(f".{time.time_ns()}")
        scratch.write_text(json.dumps(known, indent=1), encoding="utf-8")
        scratch.replace(file)
    speeds = {int(size): float(speed) for size, speed in known[key].items()}
    usual, fastest = SIZES[kind][1], max(speeds, key=lambda size: speeds[size])
    return usual if speeds[usual] >= AS_FAST * speeds[fastest] else fastest


def scaled(usual: tuple[int, int]) -> int:
    """Return a bound on a batch's tokens, given what it is where two cores (or one GPU) are fastest at their usual size."""
    usual_size = SIZES[hardware.device().type][1]
    return max(1, round(hardware.at_once(*usual) * tokens_at_once() / usual_size))


def measured(sizes: tuple[int, ...]) -> dict[str, float]:
    """Return tokens per second by batch size, the sizes timed in turn."""
    import torch

    device, dtype = hardware.device(), hardware.dtype()
    shapes = ((2 * INNER, WIDTH), (WIDTH, INNER), (2 * WIDTH, WIDTH))
    layers = [[torch.randn(shape, device=device).to(dtype) / 32 for shape in shapes] for _ in range(LAYERS)]
    best = dict.fromkeys(sizes, float("inf"))
    for _ in range(REPEATS):
        for size in sizes:
            states = torch.randn(size, WIDTH, device=device).to(dtype)
            began = time.perf_counter()
            float(_read_through(layers, states)[0, 0])  # reading one number waits for a GPU
            best[size] = min(best[size], time.perf_counter() - began)
    return {str(size): round(size / took, 1) for size, took in best.items()}


def _read_through(layers: list[Any], states: Any) -> Any:
    import torch

    linear, silu = torch.nn.functional.linear, torch.nn.functional.silu
    with torch.inference_mode():
        for wide, narrow, across in layers:
            states = states + linear(torch.nn.functional.rms_norm(states, (WIDTH,)), across)[:, :WIDTH]
            gate, up = linear(torch.nn.functional.rms_norm(states, (WIDTH,)), wide).chunk(2, dim=-1)
            states = states + linear(silu(gate) * up, narrow)
    return states


def _read(file: Any) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}

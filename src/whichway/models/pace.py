"""How many tokens this machine reads at a time fastest: timed once per machine and shape of model, kept in the cache folder."""

from __future__ import annotations

import functools
import json
import time
from typing import Any

from whichway.models import embedded, hardware

SIZES = {"cpu": (512, 1024, 2048, 4096), "cuda": (8_192, 32_768, 131_072)}
Shape = tuple[int, int]  # of a model's layers: numbers per token, and between the two products of its middle part
USUAL: Shape = (576, 1536)  # the embedded model's
WIDEST = (
    2048  # numbers per token that are timed; of wider models layers shrunk to this: theirs would take half a minute
)
INNER = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size")  # what families call the second number
LAYERS, WEIGHTS = 8, 27_000_000  # enough layers that their weights are not all in cache; fewer of a wide model
REPEATS, ENOUGH_S = 3, 2.0  # turns at most; seconds after which no further one is begun
AS_FAST = (
    0.95  # of the fastest size's speed: where the usual size is so fast, it is taken, as timings differ by as much
)


@functools.cache
def tokens_at_once(shape: Shape = USUAL) -> int:
    """Return the size of a batch, in tokens, that products and norms of layers of a shape run fastest in.

    Of a few sizes the second, that of two cores, unless another is clearly faster by the best of up to three timings of random
    layers. A few seconds at first; then it is kept in the cache folder by shape, processor, threads, format and torch's version.
    """
    import torch

    kind = hardware.device().type
    name = (
        torch.cuda.get_device_name() if kind == "cuda" else f"{hardware.processor()}, {torch.get_num_threads()} threads"
    )
    key = f"{name}, {hardware.dtype()}, torch {torch.__version__}, {SIZES[kind]}, {shape[0]} x {shape[1]}"
    file = embedded.cache_folder() / "pace.json"
    known = _read(file)
    if key not in known:
        known = {**_read(file), key: measured(SIZES[kind], shape)}
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch = file.with_suffix(f".{time.time_ns()}")
        scratch.write_text(json.dumps(known, indent=1), encoding="utf-8")
        scratch.replace(file)
    speeds = {int(size): float(speed) for size, speed in known[key].items()}
    usual, fastest = SIZES[kind][1], max(speeds, key=lambda size: speeds[size])
    return usual if speeds[usual] >= AS_FAST * speeds[fastest] else fastest


def shape_of(config: Any) -> Shape:
    """Return the shape of a model's layers by its settings, no wider than is timed; the embedded model's where they tell none."""
    width = getattr(config, "hidden_size", None)
    if not isinstance(width, int) or width < 1:
        return USUAL
    inner = next((one for name in INNER if isinstance(one := getattr(config, name, None), int) and one > 0), 4 * width)
    return min(width, WIDEST), inner if width <= WIDEST else round(inner * WIDEST / width)


def scaled(usual: tuple[int, int], config: Any = None) -> int:
    """Return a bound on a batch's tokens, given what it is where two cores (or one GPU) are fastest at their usual size.

    `config` are the settings of the model that is to read the batch.
    """
    usual_size = SIZES[hardware.device().type][1]
    return max(1, round(hardware.at_once(*usual) * tokens_at_once(shape_of(config)) / usual_size))


def measured(sizes: tuple[int, ...], shape: Shape = USUAL) -> dict[str, float]:
    """Return tokens per second by batch size, the sizes timed in turn."""
    import torch

    device, dtype = hardware.device(), hardware.dtype()
    width, inner = shape
    parts = ((2 * inner, width), (width, inner), (2 * width, width))
    count = min(LAYERS, max(1, WEIGHTS // sum(rows * columns for rows, columns in parts)))
    layers = [[torch.randn(part, device=device).to(dtype) / 32 for part in parts] for _ in range(count)]
    best, end = dict.fromkeys(sizes, float("inf")), time.perf_counter() + ENOUGH_S
    for turn in range(REPEATS):
        if turn and time.perf_counter() > end:
            break
        for size in sizes:
            states = torch.randn(size, width, device=device).to(dtype)
            began = time.perf_counter()
            float(_read_through(layers, states)[0, 0])  # reading one number waits for a GPU
            best[size] = min(best[size], time.perf_counter() - began)
    return {str(size): round(size / took, 1) for size, took in best.items()}


def _read_through(layers: list[Any], states: Any) -> Any:
    import torch

    linear, silu, width = torch.nn.functional.linear, torch.nn.functional.silu, states.shape[1]
    with torch.inference_mode():
        for wide, narrow, across in layers:
            states = states + linear(torch.nn.functional.rms_norm(states, (width,)), across)[:, :width]
            gate, up = linear(torch.nn.functional.rms_norm(states, (width,)), wide).chunk(2, dim=-1)
            states = states + linear(silu(gate) * up, narrow)
    return states


def _read(file: Any) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}

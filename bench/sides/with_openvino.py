"""OpenVINO GenAI on this processor: writing for many prompts and for one at a time, and labels by the network itself."""

# Not named openvino.py, which would hide the package. peers-openvino.txt leaves openvino-telemetry out: with it,
# `import openvino` tells Google Analytics at once, unasked. The environment has an older transformers for the conversion.

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from common import measured

Work = Callable[[], dict[str, Any]]
BLOCK = 32


def write(inputs: dict[str, Any]) -> Work:
    """All prompts in one call of the continuous batching pipeline, after one that reads what they share."""
    from generate import _outcome

    pipeline, tokens = _pipeline(inputs)

    def work() -> dict[str, Any]:
        rows = tokens(inputs["prompts"])
        _write(pipeline, [_shared(rows)], 1)
        return _outcome(_write(pipeline, rows, inputs["new"]), inputs)

    return work


def write_single(inputs: dict[str, Any]) -> Work:
    """The same prompts, one request after the other, what they share read before the clock starts."""
    from generate import _outcome

    pipeline, tokens = _pipeline(inputs)
    _write(pipeline, [_shared(tokens(inputs["prompts"]))], 1)

    def work() -> dict[str, Any]:
        found = [_write(pipeline, tokens([one]), inputs["new"])[0] for one in inputs["prompts"]]
        return _outcome(found, inputs)

    return work


def score(inputs: dict[str, Any]) -> Work:
    """The network itself in batches of 16 behind the states of what prompts share: the pipeline gives no likelihoods of labels.

    Only for labels of one token each, whose likelihoods are read at the last token of a prompt.
    """
    import openvino
    from score import _outcome
    from transformers import AutoTokenizer

    core = openvino.Core()
    network = core.read_model(f"{_converted(inputs['model'])}/openvino_model.xml")
    _last_only(network)
    request = core.compile_model(network, "CPU", _how()).create_infer_request()
    tokenizer = AutoTokenizer.from_pretrained(inputs["model"])
    labels = [row for (row,) in tokenizer(inputs["labels"], add_special_tokens=False)["input_ids"]]
    _states(request, tokenizer("Warm up.")["input_ids"])

    def work() -> dict[str, Any]:
        rows = tokenizer([one for group in inputs["groups"] for one in group], add_special_tokens=False)["input_ids"]
        shared = _shared(rows)
        states = _states(request, shared)
        order, found = sorted(range(len(rows)), key=lambda i: len(rows[i])), {}
        for start in range(0, len(order), 16):
            part = order[start : start + 16]
            logits = _behind(request, states, len(shared), [rows[i][len(shared) :] for i in part])
            found |= dict(zip(part, logits[:, -1, labels].tolist(), strict=True))
        return _outcome([found[i] for i in range(len(rows))], inputs)

    return work


def _last_only(network: Any) -> None:
    """Let the vocabulary be computed for the last token of each row alone."""
    import numpy
    from openvino import opset13

    head = network.output("logits").get_node().input_value(0).get_node()
    last = [numpy.array([one], dtype=numpy.int64) for one in (-1, 2**31 - 1, 1, 1)]
    head.input(0).replace_source_output(opset13.slice(head.input_value(0), *last).output(0))
    network.validate_nodes_and_infer_types()


def _states(request: Any, tokens: list[int]) -> dict[str, Any]:
    """Return the keys and values after these tokens."""
    import numpy

    request.reset_state()
    _infer(request, numpy.array([tokens]), numpy.ones((1, len(tokens)), dtype=numpy.int64), 0)
    return {one.name: numpy.array(one.state.data) for one in request.query_state()}


def _behind(request: Any, states: dict[str, Any], size: int, rows: list[list[int]]) -> Any:
    """Return logits [rows, 1, vocabulary] of rows behind kept states; rows are padded at their left."""
    import numpy
    import openvino

    wide = max(map(len, rows))
    ids = numpy.array([[0] * (wide - len(row)) + row for row in rows])
    own = numpy.array([[0] * (wide - len(row)) + [1] * len(row) for row in rows])
    for one in request.query_state():
        one.state = openvino.Tensor(numpy.repeat(states[one.name], len(rows), axis=0))
    return _infer(request, ids, numpy.concatenate([numpy.ones((len(rows), size), dtype=own.dtype), own], axis=1), size)


def _infer(request: Any, ids: Any, mask: Any, size: int) -> Any:
    import numpy

    places = numpy.maximum(mask.cumsum(axis=1) - 1, 0)[:, size:]
    beams = numpy.arange(len(ids), dtype=numpy.int32)
    found = request.infer({"input_ids": ids, "attention_mask": mask, "position_ids": places, "beam_idx": beams})
    return found["logits"]


def _pipeline(inputs: dict[str, Any]) -> tuple[Any, Callable[[list[str]], list[list[int]]]]:
    import openvino_genai
    from transformers import AutoTokenizer

    how = openvino_genai.SchedulerConfig()
    how.enable_prefix_caching = True
    how.cache_size = 2
    how.max_num_batched_tokens = int(os.environ.get("BATCHED", "2048"))
    how.max_num_seqs = 256
    pipeline = openvino_genai.ContinuousBatchingPipeline(_converted(inputs["model"]), how, "CPU", _how())
    tokenizer = AutoTokenizer.from_pretrained(inputs["model"])
    tokens = lambda texts: tokenizer(texts, add_special_tokens=False)["input_ids"]  # noqa: E731
    _write(pipeline, tokens(["Warm up."] * 4), 4)
    return pipeline, tokens


def _how() -> dict[str, str]:
    return {"KV_CACHE_PRECISION": os.environ["KV"]} if os.environ.get("KV") else {}


def _write(pipeline: Any, rows: list[list[int]], new: int) -> list[list[int]]:
    import numpy
    import openvino
    import openvino_genai

    how = openvino_genai.GenerationConfig(max_new_tokens=new, ignore_eos=True, do_sample=False)
    asked = [openvino.Tensor(numpy.array([row], dtype=numpy.int64)) for row in rows]
    return [list(one.m_generation_ids[0]) for one in pipeline.generate(asked, [how] * len(asked))]


def _converted(model: str) -> str:
    """Return the folder of the model in OpenVINO's form, its weights in bf16; made in a process of its own, for its memory."""
    folder = os.environ["IR"]
    if not os.path.exists(f"{folder}/ready"):
        subprocess.run([sys.executable, __file__, "convert", model, folder], check=True, stdout=subprocess.DEVNULL)
    return folder


def _convert(model: str, folder: str) -> None:
    import openvino
    from openvino_tokenizers import convert_tokenizer
    from optimum.intel import OVModelForCausalLM
    from transformers import AutoTokenizer

    OVModelForCausalLM.from_pretrained(
        model, export=True, load_in_8bit=False, compile=False, local_files_only=True
    ).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.save_pretrained(folder)
    parts = convert_tokenizer(tokenizer, with_detokenizer=True)
    for part, name in zip(parts, ("tokenizer", "detokenizer"), strict=True):
        openvino.save_model(part, f"{folder}/openvino_{name}.xml")
    open(f"{folder}/ready", "w").close()


def _shared(rows: list[list[int]]) -> list[int]:
    """Return the tokens that all rows begin with, in whole blocks of the pipeline's cache.

    The last block, were it half full, would be written by all rows at once: their answers are then wrong (2026.4.1).
    """
    least = min(map(len, rows))
    size = next((i for i in range(least) if len({row[i] for row in rows}) > 1), least - 1)
    return rows[0][: size // BLOCK * BLOCK]


if __name__ == "__main__":
    if sys.argv[1] == "convert":
        _convert(*sys.argv[2:])
    else:
        measured({"write": write, "write_single": write_single, "score": score})

"""Greedy writing of 40 tokens for many prompts with a shared beginning: whichway in one batch, transformers in batches of 16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common import PARAMETERS, device, measured, number_format


def whichway(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """The engine under `Model.generate`, without stop tokens, so that both sides write the same number."""
    from whichway.models.causal import CausalModel
    from whichway.models.decoding import Ask, write
    from whichway.models.prefixes import plan

    model = CausalModel(inputs["model"])
    write(model.network, model.scorer.prefixes, [Ask(tuple(model.tokens("Warm up.")), 4)] * 4, frozenset())

    def work() -> dict[str, Any]:
        asks = [Ask(tuple(model.tokens(one)), inputs["new"]) for one in inputs["prompts"]]
        written = write(model.network, model.scorer.prefixes, asks, frozenset())
        found = _outcome([one.tokens for one in written], inputs)
        (group,) = plan([ask.tokens for ask in asks])
        tokens = group.size + sum(len(ask.tokens) - group.size + ask.most for ask in asks)
        return {**found, "flops": 2 * PARAMETERS * tokens}

    return work


def whichway_single(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """The same prompts, one request after the other, what they share read before the clock starts."""
    from whichway.models.causal import CausalModel
    from whichway.models.decoding import Ask, write
    from whichway.models.prefixes import plan

    model = CausalModel(inputs["model"])
    rows = model.tokenizer(inputs["prompts"], add_special_tokens=False)["input_ids"]  # past the memory of model.tokens
    (group,) = plan(rows)
    shared = rows[0][: group.size]
    write(model.network, model.scorer.prefixes, [Ask((*shared, *model.tokens("Warm up.")), 4)], frozenset(), shared)

    def work() -> dict[str, Any]:
        found = []
        for one in inputs["prompts"]:
            ask = Ask(tuple(model.tokens(one)), inputs["new"])
            found.append(write(model.network, model.scorer.prefixes, [ask], frozenset(), shared)[0].tokens)
        return _outcome(found, inputs)

    return work


def transformers(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """`network.generate` in the machine's format, rows padded at their left, 16 at a time, sorted by length."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network = AutoModelForCausalLM.from_pretrained(inputs["model"], dtype=number_format()).eval().to(device())
    tokenizer = AutoTokenizer.from_pretrained(inputs["model"], padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    how = {"max_new_tokens": inputs["new"], "min_new_tokens": inputs["new"], "do_sample": False}
    network.generate(**tokenizer(["Warm up."] * 4, return_tensors="pt").to(device()), max_new_tokens=4, do_sample=False)

    def work() -> dict[str, Any]:
        prompts, found = sorted(inputs["prompts"], key=len), {}
        for start in range(0, len(prompts), 16):
            batch = tokenizer(prompts[start : start + 16], return_tensors="pt", padding=True).to(device())
            with torch.inference_mode():
                out = network.generate(**batch, **how)[:, batch["input_ids"].shape[1] :].tolist()
            found |= dict(zip(prompts[start : start + 16], out, strict=True))
        return _outcome([found[one] for one in inputs["prompts"]], inputs)

    return work


def _outcome(new: list[list[int]], inputs: dict[str, Any]) -> dict[str, Any]:
    """Quality: mean log-likelihood per token that fp32 gives to what was written (strings differ in bf16)."""
    import time

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    began = time.perf_counter()
    network = AutoModelForCausalLM.from_pretrained(inputs["model"], dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(inputs["model"])
    scores = []
    for prompt, tokens in list(zip(inputs["prompts"], new, strict=True))[:8]:
        start = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logits = network(torch.tensor([start + tokens])).logits[0].log_softmax(-1)
        scores.append(sum(float(logits[len(start) - 1 + i, token]) for i, token in enumerate(tokens)) / len(tokens))
    said = {"rows": len(new), "quality": sum(scores) / len(scores), "scores": scores, "answers": new}
    return {**said, "not_counted_s": time.perf_counter() - began}


if __name__ == "__main__":
    measured({"whichway": whichway, "whichway_single": whichway_single, "transformers": transformers})

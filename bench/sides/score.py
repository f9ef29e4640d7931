"""Label scoring: whichway's prefix tree, lm-evaluation-harness, or transformers with a prefix cache copied per row."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from common import PARAMETERS, device, measured, number_format


def whichway(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """All prompts in one call; `groups` of prompts are candidates, laid in one tree."""
    from whichway.models.causal import CausalModel
    from whichway.models.prefixes import plan
    from whichway.models.scoring import build_trie

    model = CausalModel(inputs["model"])
    prompts = [prompt for group in inputs["groups"] for prompt in group]
    model.score([prompts[0][-200:]] * 4, inputs["labels"])

    def work() -> dict[str, Any]:
        return _outcome(model.score(prompts, inputs["labels"]).tolist(), inputs)

    # past the memory of model.tokens: our clock counts the reading of all prompts, as the peers' does
    rows = model.tokenizer(prompts, add_special_tokens=False)["input_ids"]
    nodes = len(build_trie(model.tokenizer(inputs["labels"], add_special_tokens=False)["input_ids"]).tokens)
    groups = plan(rows)
    starts = {tuple(rows[one.rows[0]][: one.size]) for one in groups}
    own = sum(len(rows[i]) - one.size + nodes for one in groups for i in one.rows)
    tokens = own + len({start[:n] for start in starts for n in range(1, len(start) + 1)})
    return lambda: {**work(), "flops": 2 * PARAMETERS * tokens}


def whichway_answer(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """The same where only the likeliest label is asked for, as accuracy does: others are not read to their end."""
    from whichway.models import branches, scoring
    from whichway.models.causal import CausalModel

    model, read = CausalModel(inputs["model"]), []
    prompts = [prompt for group in inputs["groups"] for prompt in group]
    model.score([prompts[0][-200:]] * 4, inputs["labels"])

    def counted(network: Any, rows: Any, past: Any, whole: Any = scoring.read_apart) -> Any:
        read.append(rows.ids.shape[1])
        return whole(network, rows, past)

    branches.read_apart = scoring.read_apart = counted  # which tokens it reads hangs on what it finds
    return lambda: {
        **_outcome(model.score_near(prompts, inputs["labels"]).tolist(), inputs),
        "flops": 2 * PARAMETERS * sum(read),
    }


def lm_eval(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """The harness' own scoring of (context, continuation) requests, at the batch size in $BATCH."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(
        pretrained=inputs["model"], device=device(), dtype=number_format(), batch_size=int(os.environ["BATCH"])
    )
    prompts = [prompt for group in inputs["groups"] for prompt in group]
    requests = [
        Instance("loglikelihood", {}, (prompt, label), i)
        for prompt in prompts
        for i, label in enumerate(inputs["labels"])
    ]
    model.loglikelihood(requests[:4], disable_tqdm=True)

    def work() -> dict[str, Any]:
        found = [one[0] for one in model.loglikelihood(requests, disable_tqdm=True)]
        wide = len(inputs["labels"])
        return _outcome([found[i : i + wide] for i in range(0, len(found), wide)], inputs)

    return work


def plain(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """Every prompt with every label through transformers, padded batches of $BATCH sorted by length."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network = AutoModelForCausalLM.from_pretrained(inputs["model"], dtype=number_format()).eval().to(device())
    tokenizer = AutoTokenizer.from_pretrained(inputs["model"])
    labels = [tokenizer(one, add_special_tokens=False)["input_ids"] for one in inputs["labels"]]
    prompts = [prompt for group in inputs["groups"] for prompt in group]
    size = int(os.environ["BATCH"])

    def batch(pairs: list[tuple[list[int], list[int]]]) -> list[float]:
        longest = max(len(a) + len(b) for a, b in pairs)
        ids = torch.tensor([a + b + [0] * (longest - len(a) - len(b)) for a, b in pairs], device=device())
        hidden = network.model(input_ids=ids).last_hidden_state  # causal: what stands after a row changes nothing in it
        rows = [i for i, (_, b) in enumerate(pairs) for _ in b]
        places = [len(a) - 1 + j for a, b in pairs for j in range(len(b))]
        logits = network.lm_head(hidden[rows, places]).float().log_softmax(-1)
        gains = logits.gather(1, torch.tensor([[t] for _, b in pairs for t in b], device=device()))[:, 0]
        sums = torch.zeros(len(pairs), device=device()).index_add_(0, torch.tensor(rows, device=device()), gains)
        return sums.tolist()

    def work() -> dict[str, Any]:
        rows = [tokenizer(one, add_special_tokens=False)["input_ids"] for one in prompts]
        asked = [(row, label) for row in rows for label in labels]
        order = sorted(range(len(asked)), key=lambda i: len(asked[i][0]) + len(asked[i][1]))
        found = [0.0] * len(asked)
        with torch.inference_mode():
            for start in range(0, len(order), size):
                part = order[start : start + size]
                for i, value in zip(part, batch([asked[i] for i in part]), strict=True):
                    found[i] = value
        return _outcome([found[i : i + len(labels)] for i in range(0, len(found), len(labels))], inputs)

    with torch.inference_mode():
        batch([([1] * 100, labels[0])] * 4)
    return work


def copied_prefix(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """One candidate after the other in transformers: its prefix computed once, the cache copied for each batch of 16 rows.

    Only for labels of one token each.
    """
    import copy

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

    network = AutoModelForCausalLM.from_pretrained(inputs["model"], dtype=number_format()).eval().to(device())
    tokenizer = AutoTokenizer.from_pretrained(inputs["model"])
    first = [tokenizer(label, add_special_tokens=False)["input_ids"][0] for label in inputs["labels"]]

    def batch(rows: list[list[int]], cache: Any, size: int) -> list[list[float]]:
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device())
        mask = torch.tensor([[1] * (size + len(row)) + [0] * (longest - len(row)) for row in rows], device=device())
        own = copy.deepcopy(cache)
        own.batch_repeat_interleave(len(rows))
        hidden = network.model(input_ids=ids, attention_mask=mask, past_key_values=own).last_hidden_state
        last = hidden[torch.arange(len(rows)), torch.tensor([len(row) - 1 for row in rows])]
        return network.lm_head(last).float().log_softmax(-1)[:, first].tolist()

    def work() -> dict[str, Any]:
        found: list[list[float]] = []
        with torch.inference_mode():
            for group in inputs["groups"]:
                rows = [tokenizer(one, add_special_tokens=False)["input_ids"] for one in group]
                size = next(i for i in range(min(map(len, rows))) if len({row[i] for row in rows}) > 1)
                cache = DynamicCache()
                network.model(input_ids=torch.tensor([rows[0][:size]], device=device()), past_key_values=cache)
                order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
                table: dict[int, list[float]] = {}
                for start in range(0, len(rows), 16):
                    part = order[start : start + 16]
                    table |= dict(zip(part, batch([rows[i][size:] for i in part], cache, size), strict=True))
                found += [table[i] for i in range(len(rows))]
        return _outcome(found, inputs)

    return work


def _outcome(table: list[list[float]], inputs: dict[str, Any]) -> dict[str, Any]:
    best = [max(range(len(row)), key=row.__getitem__) for row in table]
    targets = inputs["targets"] * len(inputs["groups"])
    right = [float(a == b) for a, b in zip(best, targets, strict=True)]
    return {"rows": len(table), "quality": sum(right) / len(table), "scores": right, "answers": best}


if __name__ == "__main__":
    sides = {"whichway": whichway, "whichway_answer": whichway_answer}
    measured({**sides, "lm_eval": lm_eval, "plain": plain, "copied_prefix": copied_prefix})

"""One optimiser step of LoRA on the same rows: whichway's, and PEFT's as it comes under a loss that reads only answers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from common import PARAMETERS, device, measured

STEPS = 20
ROWS = int(os.environ.get("ROWS", "8"))


def whichway(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """Rows laid end to end, adapters added in place, the head at answer positions alone."""
    from whichway.models import packed, training

    model, network, rows = _prepared(inputs, fused=True)
    batches = [{name: one.to(device()) for name, one in packed.collate(some).items()} for some in _cut(rows)]
    return _steps(network, batches, training.completion_loss, rows)


def peft(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """get_peft_model over weights in the machine's format, padded batches, states of answers made contiguous before the head."""
    import torch

    _, network, rows = _prepared(inputs, fused=False)

    def padded(some: list[dict[str, list[int]]]) -> dict[str, Any]:
        widest = max(len(row["input_ids"]) for row in some)
        fill = {"input_ids": 0, "labels": -100}
        batch = {
            key: torch.tensor([row[key] + [empty] * (widest - len(row[key])) for row in some], device=device())
            for key, empty in fill.items()
        }
        lengths = torch.tensor([[len(row["input_ids"])] for row in some], device=device())
        return {**batch, "attention_mask": (torch.arange(widest, device=device())[None] < lengths).long()}

    def loss(network: Any, batch: dict[str, Any]) -> Any:
        inner = network.get_base_model()
        states = inner.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        wanted = batch["labels"][:, 1:]
        logits = inner.lm_head(states[:, :-1][wanted != -100].contiguous()).float()
        return torch.nn.functional.cross_entropy(logits, wanted[wanted != -100])

    batches = [padded(some) for some in _cut(rows)]
    return _steps(network, batches, loss, rows)


def _prepared(inputs: dict[str, Any], fused: bool) -> tuple[Any, Any, list[dict[str, list[int]]]]:
    from peft import LoraConfig, get_peft_model

    from whichway.models import adapters, training
    from whichway.models.causal import CausalModel, load_network

    model = CausalModel(inputs["model"])
    pairs = zip(inputs["prompts"], inputs["completions"], strict=True)
    rows = [training._row(model, *pair, longest=512, first=[]) for pair in pairs]
    if fused:
        network = adapters.network_to_train(model.where, training.LORA)
        return model, adapters.add_adapter(network, training.LORA, seed=0), rows
    network, _ = load_network(model.where)
    config = LoraConfig(r=16, lora_alpha=32, target_modules=adapters.USUAL, task_type="CAUSAL_LM")
    return model, get_peft_model(network, config).train(), rows


def _cut(rows: list[Any]) -> list[list[Any]]:
    rows = rows * -(-ROWS // len(rows)) if len(rows) < ROWS else rows
    return [rows[i : i + ROWS] for i in range(0, len(rows) - ROWS + 1, ROWS)]


def _steps(network: Any, batches: list[Any], loss: Any, rows: list[Any]) -> Callable[[], dict[str, Any]]:
    import torch

    learned = [one for one in network.parameters() if one.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=5e-4, fused=True)

    def step(batch: Any) -> float:
        value = loss(network, batch)
        value.backward()
        optimiser.step()
        optimiser.zero_grad()
        return float(value.detach())

    def work() -> dict[str, Any]:
        used = [batches[i % len(batches)] for i in range(STEPS)]
        scores = [-step(one) for one in used][-5:]
        tokens = sum(len(row["input_ids"]) for row in rows) / len(rows) * STEPS * ROWS
        quality = sum(scores) / len(scores)
        return {"rows": STEPS * ROWS, "quality": quality, "scores": scores, "flops": 4 * PARAMETERS * tokens}

    for one in batches[:2]:
        step(one)
    return work


if __name__ == "__main__":
    measured({"whichway": whichway, "peft": peft})

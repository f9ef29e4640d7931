"""LoRA on the same pairs: whichway's training, trl as it comes (on a CPU), and trl with the best settings found."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import PARAMETERS, device, measured, number_format

SHARED = {"learning_rate": 5e-4, "num_train_epochs": 3, "seed": 0, "report_to": [], "save_strategy": "no"}


def whichway(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """`Trainable.train` with its defaults and the batch size of the peers' best settings."""
    return _ours(inputs, {"batch": 16, "rank": 16, "alpha": 32, "rate": 5e-4})


def full(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """All weights instead of adapters: fp32 weights with bf16 products, or fp32 throughout under WHICHWAY_DTYPE=fp32."""
    return _ours(inputs, {"batch": 16, "method": "full"})


def _ours(inputs: dict[str, Any], how: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    from whichway.core.strategy import Kit
    from whichway.models.causal import CausalModel

    model, folder = CausalModel(inputs["model"]), Path(tempfile.mkdtemp())
    import trl  # noqa: F401  (importing is not training)

    def work() -> dict[str, Any]:
        settings = {"epochs": 3, **how}
        model.train(
            inputs["prompts"], inputs["completions"], settings, ((), ()), folder / "weights", Kit({}, None, folder)
        )
        tuned = _quality(model.adapted(folder / "weights"), inputs)
        return {"rows": 3 * len(inputs["prompts"]), "flops": 4 * PARAMETERS * tokens, **tuned}

    pairs = zip(inputs["prompts"], inputs["completions"], strict=True)
    tokens = 3 * sum(len(model.tokens(a + b)) + 1 for a, b in pairs)
    return work


def trl_defaults(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """SFTTrainer with LoRA r=16 on all linear layers, `use_cpu`, everything else as it comes; no bf16 where there is none."""
    import torch

    has_bf16 = number_format() == torch.bfloat16
    return _trl(inputs, {} if has_bf16 else {"bf16": False}, torch.float32)


def trl_best(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """The best settings found for it here: weights in the machine's format, no checkpointing, batches of 16 by length."""
    more = {"gradient_checkpointing": False, "per_device_train_batch_size": 16, "bf16": False}
    return _trl(inputs, {**more, "train_sampling_strategy": "group_by_length"}, number_format())


def _trl(inputs: dict[str, Any], more: dict[str, Any], kind: Any) -> Callable[[], dict[str, Any]]:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    network = AutoModelForCausalLM.from_pretrained(inputs["model"], dtype=kind)
    tokenizer = AutoTokenizer.from_pretrained(inputs["model"])
    pairs = [{"prompt": a, "completion": b} for a, b in zip(inputs["prompts"], inputs["completions"], strict=True)]
    folder = tempfile.mkdtemp()
    config = SFTConfig(output_dir=folder, use_cpu=device() == "cpu", disable_tqdm=True, **{**SHARED, **more})
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")

    def work() -> dict[str, Any]:
        trainer = SFTTrainer(
            model=network,
            args=config,
            train_dataset=Dataset.from_list(pairs),
            processing_class=tokenizer,
            peft_config=lora,
        )
        trainer.train()
        merged = trainer.model.merge_and_unload()
        merged.to(number_format()).save_pretrained(folder + "/merged")
        tokenizer.save_pretrained(folder + "/merged")
        from whichway.models.causal import CausalModel

        return {"rows": 3 * len(pairs), **_quality(CausalModel(folder + "/merged"), inputs)}

    return work


def _quality(model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return accuracy on held-out prompts and how long that took, which is not part of training."""
    import time

    began = time.perf_counter()
    table = model.score(inputs["held_prompts"], inputs["labels"])
    right = [
        float(inputs["labels"][i] == want) for i, want in zip(table.argmax(1), inputs["held_completions"], strict=True)
    ]
    return {"quality": sum(right) / len(right), "scores": right, "not_counted_s": time.perf_counter() - began}


if __name__ == "__main__":
    measured({"whichway": whichway, "full": full, "trl_defaults": trl_defaults, "trl_best": trl_best})

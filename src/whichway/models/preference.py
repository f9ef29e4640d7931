"""Preference tuning: fine-tuned weights learn to prefer the right answer to rejected ones, by DPO (Rafailov et al. 2023)."""

# Through trl's DPOTrainer: the adapter goes on from the fine-tuned one, a frozen copy of which is the reference. Its loss
# begins at log 2, as weights and reference are the same: an adapter that is no better than that on dev is not kept.

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whichway.core.strategy import RESUME, Kit
from whichway.errors import MissingExtra
from whichway.models import fused, hardware
from whichway.models.checkpoint import Resumable, identity
from whichway.models.watching import watcher

DPO = {"method": "preference", "beta": 0.1, "rate": 5e-5, "epochs": 2, "batch": 4, "patience": 1, "longest": 1024}
Triple = tuple[str, str, str]  # prompt, chosen, rejected


def prefer(
    model: Any, rows: Sequence[Triple], dev: Sequence[Triple], settings: Mapping[str, Any], folder: Path, kit: Kit
) -> tuple[float, ...]:
    """Train the PEFT adapter in `folder` on preferences, in place; return dev losses, the first before training.

    Where none of them lies below the first, the adapter stays as it is. Raises BudgetReached at the deadline; what was
    stopped goes on from its checkpoint in `kit.folder / RESUME`.
    """
    try:
        import torch
        import trl  # noqa: F401
    except ImportError as missing:
        raise MissingExtra(str(missing.name), "local", "Preference tuning") from missing
    plan: dict[str, Any] = {**DPO, **settings, "called": "preferences"}
    torch.manual_seed(kit.seed)
    train, held = ([_row(model, one, min(plan["longest"], model.limit)) for one in part] for part in (rows, dev))
    trainer = _trainer(_network(model, folder), model.tokenizer, train, plan, kit)
    trainer.identity = identity([train, held], plan, model.where, kit.seed)
    before = math.log(2)
    watch = watcher(trainer, (lambda: _dev_loss(trainer, held)) if held else None, plan, kit)
    trainer.add_callback(watch)
    trainer.train(resume_from_checkpoint=trainer.checkpoint())
    if not held or min(trainer.losses) < before:
        watch.restore(trainer.model)
        trainer.model.save_pretrained(folder, safe_serialization=True, selected_adapters=["default"])
    shutil.rmtree(kit.folder / RESUME, ignore_errors=True)
    return (before, *trainer.losses)


def _row(model: Any, one: Triple, longest: int) -> dict[str, list[int]]:
    """Tokenise one preference; a prompt that is too long loses its beginning, answers lose nothing."""
    prompt, *answers = (model.tokens(text) for text in one)
    chosen, rejected = ([*answer, model.tokenizer.eos_token_id] for answer in answers)
    room = max(0, longest - max(len(chosen), len(rejected)))
    return {"prompt_ids": prompt[max(0, len(prompt) - room) :], "chosen_ids": chosen, "rejected_ids": rejected}


def _network(model: Any, folder: Path) -> Any:
    from peft import PeftModel

    from whichway.models.causal import load_network

    network = PeftModel.from_pretrained(
        load_network(model.where)[0], str(folder), is_trainable=True, local_files_only=True
    )
    fused.fuse(network)
    network.train()
    return network


def _trainer(network: Any, tokenizer: Any, rows: list[dict[str, list[int]]], plan: dict[str, Any], kit: Kit) -> Any:
    from datasets import Dataset, disable_progress_bars
    from transformers import PrinterCallback, ProgressCallback
    from trl import DPOConfig, DPOTrainer

    disable_progress_bars()
    logging.getLogger("trl").setLevel(logging.ERROR)

    class PreferenceTrainer(Resumable, DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset  # tokens already

    steps = math.ceil(len(rows) / plan["batch"]) * plan["epochs"]
    config = DPOConfig(
        output_dir=str(kit.folder / RESUME),
        beta=plan["beta"],
        num_train_epochs=plan["epochs"],
        per_device_train_batch_size=plan["batch"],
        learning_rate=plan["rate"],
        lr_scheduler_type="cosine",
        warmup_steps=max(1, steps // 10),
        optim="adamw_torch_fused",
        use_cpu=hardware.device().type == "cpu",
        bf16=False,
        gradient_checkpointing=False,
        max_length=None,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=kit.seed,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )
    config._n_gpu = 1  # of several GPUs too: the trainer would cut batches that cannot be cut
    trainer = PreferenceTrainer(
        model=network, args=config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer
    )
    trainer.losses, trainer.best = [], {}
    for noisy in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(noisy)
    return trainer


def _dev_loss(trainer: Any, held: list[dict[str, list[int]]]) -> float:
    """Return the mean loss over held preferences."""
    import torch

    network, total, size = trainer.model, 0.0, trainer.args.per_device_train_batch_size
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(held), size):
            batch = trainer._prepare_inputs(trainer.data_collator(held[start : start + size]))
            total += float(trainer.compute_loss(network, batch)) * len(held[start : start + size])
    network.train()
    return total / len(held)

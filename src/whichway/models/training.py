"""Adapting a causal model: an adapter or all weights, through trl and peft, with the loss on the completion only."""

# What differs from trl's defaults was measured: bf16 base weights without gradient checkpointing, rows laid end to end
# without padding (packed.py), adapters added in place (fused.py), and only completion positions given to the vocabulary
# head, as contiguous rows. Numbers are in docs/log.md.

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from whichway.core.strategy import ONWARD, RESUME, Kit
from whichway.errors import MissingExtra
from whichway.models import anatomy, hardware, once, packed, virtual
from whichway.models.adapters import RATES, add_adapter, network_to_train, save_adapter
from whichway.models.checkpoint import Resumable, identity
from whichway.models.head import finished
from whichway.models.watching import watcher

LORA = {
    "method": "lora",
    "adapter": "lora",
    "layers": "usual",
    "bits": 16,
    "rank": 16,
    "alpha": 32,
    "epochs": 3,
    "batch": 16,
    "patience": 1,
    "longest": 1024,
}
FULL = {**LORA, "method": "full"}
FULL_RATE = 3e-5
AT_ONCE = {"cpu": 1024, "cuda": 16384}  # tokens whose activations are held; a batch of more is read in parts


@dataclass(frozen=True)
class Trained:
    """The saved result: `folder` in PEFT or transformers format, what it took, and dev losses by epoch."""

    folder: Path
    seconds: float
    tokens: int
    dev_losses: tuple[float, ...]


def train(
    model: Any,
    prompts: Sequence[str],
    completions: Sequence[str],
    settings: Mapping[str, Any],
    dev: tuple[Sequence[str], Sequence[str]],
    folder: Path,
    kit: Kit,
) -> Trained:
    """Train a fresh copy of `model` on prompt -> completion pairs; keep the epoch with the lowest dev loss.

    `kit` gives seed, budget and progress; `dev` holds pairs for early stopping and may be empty.
    Raises BudgetReached when the deadline comes before training ends. What was stopped goes on from its last checkpoint,
    in `kit.folder / RESUME`, when rows, settings and weights are the same. With `kit.begun` it goes on from a training on fewer
    rows, weights and optimiser, and passes over its own rows that much less often. What `kit.trainings` has is copied; see Kit.
    """
    try:
        import torch
        import trl  # noqa: F401
    except ImportError as missing:
        raise MissingExtra(str(missing.name), "local", "Fine-tuning") from missing
    began = time.perf_counter()
    full = settings.get("method") == "full"
    plan = {**(FULL if full else LORA), **settings}
    plan.setdefault("rate", FULL_RATE if full else RATES[plan["adapter"]])
    longest = min(plan["longest"], model.limit)
    if plan["adapter"] != "prompt":  # rows are cut by it, and nothing else hangs on it
        del plan["longest"]
    before, kind = _begun(kit, plan, model.where), _kind(plan, model.where, kit.seed)
    if before is not None:
        plan["epochs"], plan["begun"] = max(1.0, plan["epochs"] - before["rows"] / len(prompts)), before["identity"]
    parts = _rows(model, prompts, completions, longest), _rows(model, *dev, longest)
    content = once.content_of(parts, plan, model.where, kit)
    if found := once.taken(content, folder, kit):
        return Trained(folder, found["seconds"], found["tokens"], tuple(found["dev_losses"]))
    torch.manual_seed(kit.seed)
    network = network_to_train(model.where, plan)
    network = network if full else add_adapter(network, plan, kit.seed)
    if first := virtual.tokens(network):
        parts = _rows(model, prompts, completions, longest, first), _rows(model, *dev, longest, first)
    rows, held = parts
    trainer = _trainer(network, model.tokenizer, rows, plan, kit.seed, kit.folder / RESUME)
    trainer.identity = identity(parts, plan, model.where, kit.seed)
    trainer.begun = None if before is None else kit.begun
    trainer.take_up()
    watch = watcher(trainer, (lambda: _dev_loss(trainer, held)) if held else None, plan, kit)
    trainer.add_callback(watch)
    trainer.train(resume_from_checkpoint=trainer.checkpoint())
    watch.restore(trainer.model)
    save_adapter(trainer.model, model.where, folder)
    if kit.is_step and not full:
        passed = len(rows) * trainer.state.epoch
        trainer.leave(kit.folder / ONWARD, {"kind": kind, "rows": passed, "identity": trainer.identity})
    shutil.rmtree(kit.folder / RESUME, ignore_errors=True)
    if plan["method"] == "full":
        model.tokenizer.save_pretrained(folder)
    seen = sum(len(row["input_ids"]) for row in rows) * max(1, len(trainer.losses))
    said = {"seconds": time.perf_counter() - began, "tokens": seen, "dev_losses": trainer.losses}
    once.keep(content, folder, said, kit)
    return Trained(folder, said["seconds"], seen, tuple(trainer.losses))


def _begun(kit: Kit, plan: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """Return what was said of the training that this one goes on from; None where there is none of these settings."""
    if kit.begun is None or plan["method"] == "full":
        return None
    try:
        said: dict[str, Any] = json.loads((kit.begun / "about.json").read_text())
    except (OSError, ValueError):
        return None
    return said if said.get("kind") == _kind(plan, where, kit.seed) else None


def _kind(plan: Mapping[str, Any], where: str, seed: int) -> str:
    """Return a hash of what two trainings must have in common for one to go on from the other."""
    return identity([], {key: value for key, value in plan.items() if key != "epochs"}, where, seed)


def _rows(
    model: Any, prompts: Sequence[str], completions: Sequence[str], longest: int, first: Sequence[int] = ()
) -> list[dict[str, list[int]]]:
    return [_row(model, *pair, longest, list(first)) for pair in zip(prompts, completions, strict=True)]


def _row(model: Any, prompt: str, completion: str, longest: int, first: list[int]) -> dict[str, list[int]]:
    """Tokenise one pair behind its virtual tokens; a prompt that is too long loses its beginning, a completion nothing."""
    end = [model.tokenizer.eos_token_id]
    answer = model.tokens(completion) + end
    asked = model.tokens(prompt)
    asked = first + asked[max(0, len(asked) - max(0, longest - len(first) - len(answer))) :]
    return {"input_ids": asked + answer, "labels": [-100] * len(asked) + answer}


def _trainer(network: Any, tokenizer: Any, rows: list[dict[str, list[int]]], plan: Any, seed: int, folder: Path) -> Any:
    from datasets import Dataset, disable_progress_bars
    from transformers import PrinterCallback, ProgressCallback
    from trl import SFTConfig

    disable_progress_bars()
    logging.getLogger("trl").setLevel(logging.ERROR)
    steps = math.ceil(len(rows) / plan["batch"]) * plan["epochs"]
    config = SFTConfig(
        output_dir=str(folder),
        num_train_epochs=plan["epochs"],
        per_device_train_batch_size=plan["batch"],
        learning_rate=plan["rate"],
        lr_scheduler_type="cosine",
        warmup_steps=max(1, steps // 10),
        weight_decay=0.01,
        optim="adamw_torch_fused",
        use_cpu=hardware.device().type == "cpu",
        bf16=False,  # the loss says itself where products are in bf16
        gradient_checkpointing=False,
        max_length=None,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=seed,
        dataset_kwargs={"skip_prepare_dataset": True},
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )
    config._n_gpu = 1  # of several GPUs too: the trainer would cut batches that cannot be cut
    trainer = _sft_class()(
        model=network,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        data_collator=partial(_in_parts, network),
    )
    trainer.losses, trainer.best = [], {}
    for noisy in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(noisy)
    return trainer


def _in_parts(network: Any, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    most = AT_ONCE.get(hardware.device().type, AT_ONCE["cpu"])
    return {"parts": packed.parts(rows, most, packed.packs(_base(network)))}


def _base(network: Any) -> Any:
    return network.get_base_model() if hasattr(network, "get_base_model") else network


def _sft_class() -> Any:
    """Return trl's SFTTrainer with our loss; made here because trl is imported late."""
    from trl import SFTTrainer

    class CompletionTrainer(Resumable, SFTTrainer):  # type: ignore[misc]
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            return sum(completion_loss(model, part) * part["share"] for part in inputs["parts"])

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            model.train()
            losses = []
            for part in self._prepare_inputs(inputs)["parts"]:
                losses.append(completion_loss(model, part) * part["share"])
                self.accelerator.backward(losses[-1])
            return sum(one.detach() for one in losses)

    return CompletionTrainer


def completion_loss(network: Any, batch: Mapping[str, Any]) -> Any:
    """Return the mean negative log-likelihood of completion tokens of a packed batch; the head sees only their positions.

    Weights in fp32, as full fine-tuning keeps them, are multiplied in bf16 where that is fast. The trainer's own autocast
    wraps the network's `forward`, which is not called here.
    """
    import torch

    inner = _base(network)
    with _autocast(inner):
        states = packed.states(inner, batch)[:-1]
        wanted = batch["labels"][0, 1:]
        keep = wanted != -100
        logits = anatomy.head(inner)(states[keep].contiguous())
    return torch.nn.functional.cross_entropy(finished(inner, logits.float()), wanted[keep])


def _autocast(network: Any) -> Any:
    import torch

    fast = hardware.dtype() == torch.bfloat16 and network.dtype == torch.float32
    return torch.autocast(network.device.type, dtype=torch.bfloat16, enabled=fast)


def _dev_loss(trainer: Any, held: list[dict[str, list[int]]]) -> float:
    import torch

    network, total = trainer.model, 0.0
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(held), 16):
            rows = held[start : start + 16]
            for part in _in_parts(network, rows)["parts"]:
                batch = {name: one.to(network.device) for name, one in part.items()}
                total += float(completion_loss(network, batch) * batch["share"]) * len(rows)
    network.train()
    return total / len(held)

"""Training that was stopped goes on where it was: weights, optimiser state and the losses so far, without pickle."""

# transformers keeps optimiser and random state as pickles. Here tensors are safetensors and all else is JSON, in one
# folder that is replaced in one step. The order of rows follows from seed and epoch, so no random state is needed.

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

NAME = "checkpoint"
EVERY_S = {"lora": 60.0, "full": 600.0}  # seconds between two: one of all weights is gigabytes


class Resumable:
    """What a transformers Trainer needs to keep checkpoints of this kind; mixed into one, which sets `identity`.

    `identity` names rows, settings and base weights: a checkpoint of other ones is passed over. `begun` is a folder that a
    training on fewer rows has left: without a checkpoint, weights and optimiser go on from there, on a schedule of their own.
    """

    identity = ""
    begun: Path | None = None
    losses: list[float]
    best: dict[str, Any]
    args: Any
    model: Any
    optimizer: Any
    lr_scheduler: Any
    state: Any
    train_dataset: Any

    def checkpoint(self) -> str | None:
        """Return the folder of a checkpoint that this training can continue, or None."""
        folder = Path(self.args.output_dir) / NAME
        try:
            said = json.loads((folder / "about.json").read_text())
        except (OSError, ValueError):
            return None
        return str(folder) if said.get("identity") == self.identity else None

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        from safetensors.torch import save_file

        folder = Path(self.args.output_dir) / NAME
        fresh = folder.with_name(NAME + ".partial")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        save_file(_state(self.model, self.optimizer, self.best), fresh / "state.safetensors")
        about = {"identity": self.identity, "losses": self.losses, "schedule": self.lr_scheduler.last_epoch}
        (fresh / "about.json").write_text(json.dumps(about))
        self.state.save_to_json(str(fresh / "trainer_state.json"))
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)

    def leave(self, folder: Path, said: dict[str, Any]) -> None:
        """Write what a training on more rows needs to go on from here, and what this one was."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file(_state(self.model, self.optimizer, {}), folder / "state.safetensors")
        (folder / "about.json").write_text(json.dumps(said))

    def take_up(self) -> None:
        """Begin with the weights of the training in `begun`."""
        if self.begun is not None:
            self._take(_kept(self.begun))

    def _take(self, kept: Mapping[str, Any]) -> None:
        import torch

        with torch.no_grad():
            for name, one in _trainable(self.model):
                one.copy_(kept[f"weight/{name}"])

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        kept = _kept(Path(resume_from_checkpoint))
        self._take(kept)
        self.best.update({name.split("/", 1)[1]: one for name, one in kept.items() if name.startswith("best/")})
        self.losses[:] = json.loads((Path(resume_from_checkpoint) / "about.json").read_text())["losses"]

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        source = self.begun if checkpoint is None else Path(checkpoint)
        if source is None:
            return
        import torch

        kept = _kept(source)
        inner: Any = getattr(self.optimizer, "optimizer", self.optimizer)
        for name, one in _trainable(self.model):
            parts = [part for part in ("step", "exp_avg", "exp_avg_sq") if f"{part}/{name}" in kept]
            inner.state[one] = {part: kept[f"{part}/{name}"].to(one.device, torch.float32) for part in parts}
        if checkpoint is None:
            return
        schedule: Any = getattr(self.lr_scheduler, "scheduler", self.lr_scheduler)
        schedule.last_epoch = json.loads((Path(checkpoint) / "about.json").read_text())["schedule"]
        rates = [base * f(schedule.last_epoch) for base, f in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)]
        schedule._last_lr = rates
        for group, rate in zip(inner.param_groups, rates, strict=True):
            group["lr"] = rate

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Nothing here is random but the order of rows, which is drawn from the seed and the epoch."""

    def _get_train_sampler(self, *_: Any) -> Any:
        return _Order(self)


class _Order:
    """Row numbers of the epoch that the trainer is in, shuffled by seed and epoch."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.size = trainer, len(trainer.train_dataset)

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        import torch

        steps = -(-self.size // self.trainer.args.per_device_train_batch_size)
        epoch = self.trainer.state.global_step // steps
        generator = torch.Generator().manual_seed(1_000 * self.trainer.args.seed + epoch)
        yield from torch.randperm(self.size, generator=generator).tolist()


def identity(rows: Sequence[Any], plan: Any, where: str, seed: int) -> str:
    """Return a hash of all that decides how a training goes."""
    return hashlib.sha256(json.dumps([rows, dict(plan), where, seed], sort_keys=True).encode()).hexdigest()


class Clock:
    """Says when the next checkpoint is due."""

    def __init__(self, every: float) -> None:
        self.every, self.last = every, time.monotonic()

    def due(self) -> bool:
        """True once per period."""
        if time.monotonic() - self.last < self.every:
            return False
        self.last = time.monotonic()
        return True


def _kept(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    found: dict[str, Any] = load_file(folder / "state.safetensors")
    return found


def _trainable(network: Any) -> list[tuple[str, Any]]:
    return [(name, one) for name, one in network.named_parameters() if one.requires_grad]


def _state(network: Any, optimizer: Any, best: dict[str, Any]) -> dict[str, Any]:
    """Return weights, their optimiser state and the best epoch's weights as named tensors on the CPU."""
    inner = getattr(optimizer, "optimizer", optimizer)
    found = {f"best/{name}": one for name, one in best.items()}
    for name, one in _trainable(network):
        found[f"weight/{name}"] = one.detach()
        found |= {f"{part}/{name}": value for part, value in inner.state[one].items()}
    return {name: one.cpu().contiguous().clone() for name, one in found.items()}

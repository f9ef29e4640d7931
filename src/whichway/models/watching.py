"""Watches over a training: tells its steps, stops it at the deadline, keeps the weights of the best epoch in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from whichway.core.strategy import Kit, Progress
from whichway.errors import BudgetReached
from whichway.models import hardware
from whichway.models.checkpoint import EVERY_S, Clock


def watcher(trainer: Any, dev_loss: Callable[[], float] | None, plan: Mapping[str, Any], kit: Kit) -> Any:
    """Return a callback for a trainer with `losses`, a list of dev losses by epoch, and `best`, the best epoch's weights.

    Training ends early when `dev_loss` has not fallen for `plan["patience"]` epochs, and raises BudgetReached at the deadline.
    """
    import torch
    from transformers import TrainerCallback

    each = math.ceil(len(trainer.train_dataset) / plan["batch"])

    class Watch(TrainerCallback):  # type: ignore[misc]
        clock = Clock(EVERY_S["full" if plan["method"] == "full" else "lora"])

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            kit.progress(Progress(plan.get("called", "training"), state.global_step, state.max_steps))
            if state.global_step % each:  # at an epoch's end its dev loss comes first
                control.should_save = self.clock.due()
            if kit.budget.remaining_s() <= 0:  # half-trained weights would later pass for trained ones
                raise BudgetReached("The time budget ended during training.")

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            trainer.losses.append(dev_loss() if dev_loss else 0.0)
            if trainer.losses[-1] <= min(trainer.losses):
                trainer.best = _trainable(trainer.model)
            hardware.give_memory_back()
            control.should_save = self.clock.due()
            control.should_training_stop |= dev_loss is not None and _stale(trainer.losses) >= plan["patience"]

        def restore(self, network: Any) -> None:
            with torch.no_grad():
                for name, value in network.named_parameters():
                    if name in trainer.best:
                        value.copy_(trainer.best[name])

    return Watch()


def _trainable(network: Any) -> dict[str, Any]:
    return {name: one.detach().clone() for name, one in network.named_parameters() if one.requires_grad}


def _stale(losses: list[float]) -> int:
    """Return how many epochs ago the lowest dev loss was."""
    return len(losses) - 1 - losses.index(min(losses))

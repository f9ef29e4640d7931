"""Fine-tuning a causal model on prompt -> answer pairs: LoRA by default, all weights as a setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from whichway.core.output import Labels
from whichway.core.strategy import Kit
from whichway.core.task import Example, Task
from whichway.errors import NotApplicable
from whichway.registry import register
from whichway.strategies.parts.drafts import fit_drafts
from whichway.strategies.parts.hosted import HostedSolution, fit_hosted, load_hosted
from whichway.strategies.parts.neighbours import index_examples
from whichway.strategies.parts.preferring import Liking, preferring
from whichway.strategies.parts.prompted import PromptSolution
from whichway.strategies.parts.prompting import PromptFormat
from whichway.strategies.parts.tuned import LOW_RANK, Tuned, confident, load_tuned, tune
from whichway.strategies.parts.writing import WrittenReader, WrittenSolution, room_for


@register("strategy", "finetune")
@dataclass(frozen=True)
class Finetune:
    """Trains with the loss on the answer only and stops early on dev; the result is a standard PEFT or transformers folder.

    `shown` > 0 trains and uses prompts that carry that many nearest train examples. The prompt is bare (no instruction,
    no list of labels): the weights learn both. `rank`, `rate`, `epochs`, `batch` are the usual ones. Of text, up to `references`
    further right answers of each row are trained on, too, and a text that misses a fact or breaks a house rule is written
    again: the best of `drafts` more is taken (0: never). Where rows have rejected answers, LoRA weights then learn to prefer
    the right ones (DPO, Rafailov et al. 2023), and keep what they learned where it is true on dev, too. With `preferences`
    'judge' they write two drafts of `judged` train rows, and learn to prefer the one that the task file's judge prefers in
    both orders; its calls are part of the cost to build.

    `adapter` is what LoRA's place takes: DoRA (Liu et al. 2024), IA3 (Liu et al. 2022), or a prompt
    of `rank` learned vectors (prompt tuning, Lester et al. 2021); `layers` says which linear layers are
    adapted, `bits` 4 holds the frozen weights in 4 bits (QLoRA; a CUDA GPU alone). With `tries` > 1, adapter, rank, rate and
    epochs are searched for, beginning at these, judged by the loss on dev, in up to 60 % of the time that is left.

    Where `model` is an endpoint that fine-tunes (`fine_tuning: true`), the rows are sent there, and the settings are those
    its jobs know, epochs and batch, and `shown`; any other is refused.
    """

    method: Literal["lora", "full"] = "lora"
    model: str = "causal"
    epochs: int = 3
    rank: int = 16
    rate: float = 0.0  # 0: 5e-4 for LoRA, 3e-5 for all weights
    batch: int = 8
    shown: int = 0
    longest: int = 512  # tokens of a training row
    references: int = 3  # further right answers of a row that are trained on
    drafts: int = 8  # of a text with a fault
    adapter: Literal["lora", "dora", "ia3", "prompt"] = "lora"
    layers: Literal["usual", "attention", "all"] = "usual"
    bits: Literal[16, 4] = 16
    tries: int = 0  # settings that are tried: adapter, rank, rate, epochs
    preference: float = 0.1  # DPO's beta: how close the weights stay to what they were; 0: no rejected answers
    preferences: Literal["rows", "judge"] = "rows"  # the rows' rejected answers alone, or a judge's verdicts, too
    judged: int = 64  # train rows of which a judge compares two drafts
    needs: ClassVar[tuple[str, ...]] = ("causal",)
    trains: ClassVar[bool] = True
    reads_instruction: ClassVar[bool] = False
    at_endpoint: ClassVar[tuple[str, ...]] = ("model", "epochs", "batch", "shown")
    shapes: ClassVar[tuple[str, ...]] = ("labels", "fields", "text")

    def fit(self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> Tuned | HostedSolution:
        model: Any = kit.models[self.model]
        if self.shown and kit.embedder is None:
            raise NotApplicable("Retrieved examples need an embedder, and there is none.", "Install whichway[local].")
        if hasattr(model, "tune"):
            self._refuse_idle()
            return fit_hosted(task, model, train, dev, {"epochs": self.epochs, "batch": self.batch}, kit, self.shown)
        if not hasattr(model, "train"):
            raise NotApplicable(f"The model {self.model!r} cannot be trained here.", "Fine-tune a local causal model.")
        draft = self._draft(task, model, train, kit)
        settings = self._settings()
        liking = Liking(self.preference, self.judged) if self.preferences == "judge" else Liking(self.preference)
        then = preferring(draft, train, dev, liking, settings, kit) if self.can_prefer() else None
        tokens = tune(draft, train, dev, settings, kit, self.references, then)
        tuned = replace(draft, model=model.adapted(kit.folder / "weights"))
        return Tuned(confident(tuned, dev, kit.seed), kit.folder / "weights", tokens)

    @property
    def searches(self) -> bool:
        """Tell whether what is found depends on the time there is."""
        return self.tries > 1

    @property
    def continues(self) -> bool:
        """Tell whether a fit on all rows goes on from one on a part of them: adapters do, under one set of settings."""
        return self.method == "lora" and self.tries < 2 and self.preferences == "rows"

    def can_prefer(self) -> bool:
        """Tell whether these settings leave room for preferences: DPO goes on from a low-rank adapter."""
        return self.preference > 0 and self.method == "lora" and self.adapter in LOW_RANK

    def load(self, task: Task, folder: Path, kit: Kit) -> Tuned | HostedSolution:
        if (folder / "hosted.json").exists():
            return load_hosted(task, folder, kit.models[self.model], kit)
        return load_tuned(task, folder, kit.models[self.model], kit)

    def _refuse_idle(self) -> None:
        """Raise NotApplicable where a setting was asked for that does nothing at an endpoint."""
        idle = [one.name for one in fields(self) if one.name not in self.at_endpoint]
        asked = [name for name in idle if getattr(self, name) != getattr(Finetune, name)]
        if asked:
            raise NotApplicable(f"The setting {asked[0]!r} does nothing at an endpoint.", "Leave it out.")

    def _draft(self, task: Task, model: Any, train: Sequence[Example], kit: Kit) -> PromptSolution | WrittenSolution:
        """Return the bare prompt, which cannot yet say how sure it is."""
        form = PromptFormat(instruction=False, context=False, labels=False)
        near = index_examples(task, train, kit.embedder) if self.shown else None
        if isinstance(task.output, Labels):
            return PromptSolution(task, model, form, (), near, self.shown, None)
        reader, drafts = WrittenReader(room_for(task, model, train)), fit_drafts(task, self.drafts, train)
        return WrittenSolution(task, model, form, (), near, self.shown, reader, True, drafts)

    def _settings(self) -> dict[str, Any]:
        said: dict[str, Any] = {"method": self.method, "epochs": self.epochs, "rank": self.rank, "alpha": 2 * self.rank}
        said |= {"batch": self.batch, "longest": self.longest}
        said |= {"adapter": self.adapter, "layers": self.layers, "bits": self.bits}
        said |= {"tries": self.tries if self.method == "lora" else 0}
        return said | ({"rate": self.rate} if self.rate else {})

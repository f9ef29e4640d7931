"""Prompts that another search has scored, on the same rows with the same weights: found by content, not scored again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichway.core.model import Scorer
from whichway.core.output import Labels
from whichway.core.strategy import Kit, Trainings
from whichway.core.task import Example, Task
from whichway.strategies.parts.store import load_json, save_json

PLACE, FILE = "blocks", "blocks.json"
KIND = "scored prompt"  # as the report calls what was found


@dataclass(frozen=True)
class ScoredPrompts:
    """What searches on the same rows, with the same rows to show, words and weights have scored; `content` tells those."""

    kept: Trainings
    content: str

    def find(self, id_: str, scratch: Path) -> list[dict[str, Any]]:
        """Return the blocks of likelihoods that a search has read with a prompt, none where it has not."""
        place = scratch / id_
        if self.kept.take(f"{self.content} {id_}", {PLACE: place}) is None:
            return []
        found: list[dict[str, Any]] = load_json(place / FILE)
        shutil.rmtree(place)
        return found

    def keep(self, id_: str, blocks: Sequence[Mapping[str, Any]], scratch: Path) -> None:
        """Keep them for the next search."""
        place = scratch / id_
        save_json(place / FILE, list(blocks))
        seconds, tokens = (sum(one["spend"][name] for one in blocks) for name in ("seconds", "tokens_in"))
        said = {"kind": KIND, "seconds": seconds, "tokens": tokens}
        self.kept.keep(f"{self.content} {id_}", {PLACE: place}, said)
        shutil.rmtree(place)


def scored_prompts(
    kit: Kit, task: Task, model: Any, scored: Sequence[Example], pool: Sequence[Example]
) -> ScoredPrompts | None:
    """Return where prompts' likelihoods of `scored` rows are found and kept, examples chosen from `pool`.

    None where answers are written or asked of an endpoint, and where nothing tells the weights from others.
    """
    name, is_scored = model.name, isinstance(task.output, Labels) and isinstance(model, Scorer)
    if not is_scored or not model.is_local or kit.trainings is None:
        return None
    weights = kit.trainings.weights()
    if not weights:
        return None
    rows = [[[row.id, dict(row.inputs), row.target] for row in part] for part in (scored, pool)]
    words = [task.instruction, task.context, task.output.ask(), [one.name for one in (task.metric, *task.further)]]
    fields = [[one.name, one.kind] for one in task.fields]
    text = json.dumps([weights, name, words, fields, kit.seed, rows], sort_keys=True, default=str)
    return ScoredPrompts(kit.trainings, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())

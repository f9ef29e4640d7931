"""Prompts that another search has scored, on the same rows with the same weights: found by content, not scored again."""

from __future__ import annotations

import contextlib
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
from whichway.strategies.parts.answering import continuations
from whichway.strategies.parts.prompted import PromptSolution
from whichway.strategies.parts.store import load_json, save_json

PLACE, FILE = "blocks", "blocks.json"
KIND = "scored prompt"  # as the report calls what was found


@dataclass(frozen=True)
class ScoredPrompts:
    """What searches on the same rows, with the same rows to show, words and weights have scored; `content` tells those."""

    kept: Trainings
    content: str

    def find(self, draft: PromptSolution, scratch: Path) -> Found | None:
        """Return what a search has read with a prompt, None where none has."""
        key, place = self._key(draft), scratch / draft.version().id
        said = self.kept.look(key, {PLACE: place})
        if said is None:
            return None
        blocks: list[dict[str, Any]] = load_json(place / FILE)
        shutil.rmtree(place)
        return Found(blocks, {"key": key, "way": said["way"], "run": said["run"]})

    def book(self, used: Sequence[Mapping[str, Any]], source: Mapping[str, str]) -> None:
        """Count blocks that are in use at what they took where they were read; a later count stands for an earlier one."""
        if used:
            about = {"way": source["way"], "run": source["run"], "kind": KIND}
            self.kept.book(source["key"], {**about, **_cost(used)})

    def keep(self, draft: PromptSolution, blocks: Sequence[Mapping[str, Any]], scratch: Path) -> None:
        """Keep them for the next search; where the disk has no room for them, that costs nothing else."""
        place = scratch / draft.version().id
        with contextlib.suppress(OSError):
            save_json(place / FILE, list(blocks))
            self.kept.keep(self._key(draft), {PLACE: place}, {**_cost(blocks), "kind": KIND})
        shutil.rmtree(place, ignore_errors=True)

    def _key(self, draft: PromptSolution) -> str:
        """Return what tells a prompt from others, and how it spells the answers, which no example need show."""
        return json.dumps([self.content, draft.version().id, continuations(draft.task, draft.form)])


@dataclass(frozen=True)
class Found:
    """Blocks of a prompt's likelihoods; `source` tells which way of which run has read them, and their key."""

    blocks: list[dict[str, Any]]
    source: Mapping[str, str]


def _cost(blocks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    seconds, tokens = (sum(one["spend"][name] for one in blocks) for name in ("seconds", "tokens_in"))
    return {"seconds": seconds, "tokens": tokens}


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

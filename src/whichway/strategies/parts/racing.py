"""Prompts raced on the same labelled rows, block by block: one that is clearly behind is dropped (as in CAPO, AutoML 2025)."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from whichway.core.model import Reply, Request, Scorer, Spend
from whichway.core.task import Example, Prediction, Task, worth
from whichway.strategies.parts.answering import LikelihoodReader, read_left_out
from whichway.strategies.parts.prompted import PromptSolution, read_labels
from whichway.strategies.parts.scored import ScoredPrompts
from whichway.strategies.parts.sparing import sparing_from
from whichway.strategies.parts.writing import WrittenSolution, read_reply

BLOCK = 16
BEHIND = 1.0  # standard errors (84 %, one-sided) by which a prompt must be behind the best one to be dropped
LEAST_SPREAD = 0.2  # of a paired difference, per row: a few equal rows do not prove that two prompts are the same
SOFT = 0.2  # weight of the right answer's probability beside right or wrong, where it is known


@dataclass
class Runner:
    """A prompt in the race: what is known of it so far. `values` are per row, in the order of the race's rows.

    `blocks` are what was scored, as it is kept on disk: those of a killed or another search first; `replayed` are in use.
    """

    id: str
    draft: PromptSolution | WrittenSolution
    values: list[float] = field(default_factory=list)
    table: list[list[float]] = field(default_factory=list)
    reader: LikelihoodReader | None = None  # of the table, as its rows so far teach it
    spend: Spend = Spend()
    dropped: bool = False
    blocks: list[dict[str, Any]] = field(default_factory=list)
    replayed: int = 0
    found: int = 0  # blocks, the first ones, that another search has read
    source: Mapping[str, str] = field(default_factory=dict)  # which
    shared: int = 0  # blocks that other searches know
    steps: Any = None  # log-probabilities by token of a first block that was just read

    @property
    def mean(self) -> float:
        return sum(self.values) / max(1, len(self.values))


class Race:
    """Scores prompts on labelled rows in one fixed order. Where a fit was killed, `folder` tells what had been scored.

    A search that is taken up again is gone through from its beginning, block by block: so every decision is the one that it
    was, and only what had not been scored is asked. So it is with what `known` has of other searches.
    """

    def __init__(self, task: Task, rows: Sequence[Example], folder: Path, known: ScoredPrompts | None = None) -> None:
        self.task, self.rows, self.folder, self.known = task, list(rows), folder, known
        self.runners: dict[str, Runner] = {}
        self.hear: Callable[[Runner], None] = lambda one: None  # is told of a prompt before rows are asked

    def enter(self, id_: str, draft: PromptSolution | WrittenSolution) -> Runner:
        """Return the runner of a prompt."""
        if id_ not in self.runners:
            self.runners[id_] = one = self._begun(id_, draft)
            if not one.blocks and self.known and isinstance(draft, PromptSolution):
                found = self.known.find(draft, self.folder / "found")
                if found is not None:
                    one.blocks, one.found, one.source = found.blocks, len(found.blocks), found.source
                    self._keep(one)
            one.shared = one.found
        return self.runners[id_]

    def share(self) -> None:
        """Keep for other searches what they do not know yet, and count what is in use of what they have read."""
        for one in self.runners.values():
            if self.known is None or not isinstance(one.draft, PromptSolution):
                continue
            if one.found:
                self._keep(one)  # with what is in use of it
                self.known.book(one.blocks[: min(one.found, one.replayed)], one.source)
            if len(one.blocks) > one.shared:
                self.known.keep(one.draft, one.blocks, self.folder / "shared")
                one.shared = len(one.blocks)

    def recall(self) -> None:
        """Count again what a search that has ended had found and used."""
        if self.known is None:
            return
        for file in sorted(self.folder.glob("*.json")):
            said = json.loads(file.read_text(encoding="utf-8"))
            if said.get("found"):
                self.known.book(said["blocks"][: min(said["found"], said["used"])], said["source"])

    def advance(self, one: Runner, rows: int) -> None:
        """Score a prompt on the first `rows` rows, at the most; what is known is not scored again."""
        rows = min(rows, len(self.rows))
        if len(one.values) >= rows:
            return
        is_new = one.replayed == len(one.blocks)
        if is_new:
            self.hear(one)
            one.blocks.append(self._scored(one, self.rows[len(one.values) : rows]))
        block = one.blocks[one.replayed]
        one.replayed, one.spend = one.replayed + 1, one.spend + Spend(**block["spend"])
        if block["table"] is None:
            one.values += block["values"]
        else:
            one.table += block["table"]
            one.values = self._by_likelihood(one)
        if is_new:
            self._keep(one)  # a first block with what it has taught

    def finished(self, draft: PromptSolution | WrittenSolution) -> Runner | None:
        """Return the runner of a prompt that was scored on all rows, be it by a fit that was killed; None: it was not."""
        id_ = draft.version().id
        one = self.runners.get(id_) or self._begun(id_, draft)
        while one.replayed < len(one.blocks) and len(one.values) < len(self.rows):
            self.advance(one, len(self.rows))
        return one if len(one.values) == len(self.rows) else None

    def take(self, one: Runner, other: Race) -> None:
        """Take over what another race found for the same prompt, where that holds all rows of this one: nothing is asked."""
        theirs = other.finished(one.draft)
        if theirs is None or one.blocks:
            return
        known = dict(zip((row.id for row in other.rows), theirs.table or theirs.values, strict=True))
        if all(row.id in known for row in self.rows):
            mine = [known[row.id] for row in self.rows]
            found = {"values": None, "table": mine} if theirs.table else {"values": mine, "table": None}
            one.blocks.append({**found, "sparing": theirs.blocks[0].get("sparing"), "spend": asdict(Spend())})

    def _scored(self, one: Runner, rows: Sequence[Example]) -> dict[str, Any]:
        """Ask about rows; return likelihoods, or values where answers are written, and what that cost.

        Of the first rows all likelihoods are read; of the next those that matter to a reader whom these have taught.
        """
        began, paid = time.monotonic(), Paid(one.draft.model)
        found: dict[str, Any] = {"values": None, "table": None}
        if isinstance(one.draft, PromptSolution) and isinstance(one.draft.model, Scorer):
            if one.reader is None:
                table, one.steps = one.draft.by_token(rows)
            else:
                table = one.draft.table(rows, one.reader)
            found["table"] = [[float(x) for x in row] for row in table]
        else:
            found["values"] = row_values(self.task, rows, answered(replace(one.draft, model=paid), rows))
        return {**found, "spend": asdict(replace(paid.spend, seconds=time.monotonic() - began))}

    def run(self, one: Runner, best: Runner | None, stop: Callable[[], bool] = lambda: False) -> None:
        """Score a prompt block by block, until all rows are done or it is clearly behind `best`."""
        while len(one.values) < len(self.rows) and not one.dropped and not stop():
            self.advance(one, len(one.values) + BLOCK)
            if best is not None and best is not one:
                one.dropped = is_behind(gaps(one, best))

    def _by_likelihood(self, one: Runner) -> list[float]:
        """Return the values of all rows scored so far, each calibrated by the others; learn the reader that all of them teach."""
        seen, first = self.rows[: len(one.table)], one.blocks[0]
        spares = sparing_from(first.get("sparing")) if one.steps is None else one.steps
        one.reader, answers = read_left_out(self.task, one.table, [row.target for row in seen], spares)
        if one.steps is not None:
            first["sparing"], one.steps = one.reader.sparing and asdict(one.reader.sparing), None
        found = row_values(self.task, seen, answers)
        return [
            (1 - SOFT) * value + SOFT * _right_share(a, row) for value, a, row in zip(found, answers, seen, strict=True)
        ]

    def _keep(self, one: Runner) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        scratch = self.folder / f"{one.id}.partial"
        said = {"blocks": one.blocks, "found": one.found, "source": dict(one.source), "used": one.replayed}
        scratch.write_text(json.dumps(said), encoding="utf-8")
        scratch.replace(self.folder / f"{one.id}.json")

    def _begun(self, id_: str, draft: PromptSolution | WrittenSolution) -> Runner:
        """Return a runner with what a killed search has kept of it."""
        file = self.folder / f"{id_}.json"
        said = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        kept = {"blocks": list(said.get("blocks", [])), "found": said.get("found", 0), "source": said.get("source", {})}
        return Runner(id_, draft, **kept)


class Paid:
    """A model that is asked as it is; `spend` sums up what its replies cost."""

    def __init__(self, model: Any) -> None:
        self.model, self.spend = model, Spend()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer each request, in order."""
        replies: list[Reply] = self.model.generate(requests)
        self.spend = sum((one.spend for one in replies), self.spend)
        return replies


def gaps(one: Runner, other: Runner) -> list[float]:
    """Return the differences on the rows that both have answered."""
    return [a - b for a, b in zip(one.values, other.values, strict=False)]


def is_behind(found: Sequence[float]) -> bool:
    """Tell whether paired differences lie clearly below zero."""
    n = len(found)
    mean = sum(found) / n
    spread = math.sqrt(sum((x - mean) ** 2 for x in found) / max(1, n - 1))
    return mean + BEHIND * max(spread, LEAST_SPREAD) / math.sqrt(n) < 0


def headroom(seed: Runner, others: Sequence[Runner], draws: int = 2000) -> tuple[float, float, float]:
    """Return best minus seed on the rows all have answered, and its 90 % interval by the paired bootstrap.

    The best is chosen anew in each resample, so that the interval holds the luck of choosing (methods.md §2.3).
    """
    import numpy as np

    n = min(len(one.values) for one in (seed, *others))
    table = np.array([one.values[:n] for one in (seed, *others)])
    rows = np.random.default_rng(0).integers(0, n, size=(draws, n))
    means = table[:, rows].mean(axis=2)
    found = means.max(axis=0) - means[0]
    whole = table.mean(axis=1)
    return float(whole.max() - whole[0]), float(np.quantile(found, 0.05)), float(np.quantile(found, 0.95))


def row_values(task: Task, rows: Sequence[Example], answers: Sequence[Prediction]) -> list[float]:
    """Return the metric of each row by itself."""
    metric: Any = task.metric
    scores = (
        metric.score_examples(rows, answers)
        if hasattr(metric, "score_examples")
        else [metric.score_example(row, one) for row, one in zip(rows, answers, strict=True)]
    )
    return [
        float(one) if metric.is_mean else worth(metric, one, said.parsed)
        for one, said in zip(scores, answers, strict=True)
    ]


def answered(
    draft: PromptSolution | WrittenSolution, rows: Sequence[Example], reader: LikelihoodReader | None = None
) -> list[Prediction]:
    """Return what a prompt that is not fitted yet answers to labelled rows, none of which is shown to itself.

    Likelihoods of fewer rows than a block teach no calibration: they are read by `reader`, that of a prompt much like it.
    """
    if isinstance(draft, WrittenSolution):
        return [read_reply(draft.task, one) for one in draft.replies([row.inputs for row in rows])]
    if not isinstance(draft.model, Scorer):
        return read_labels(draft, rows)
    table = draft.table(rows)
    if reader is not None and len(rows) < BLOCK:
        return reader.read(table)
    return read_left_out(draft.task, table, [row.target for row in rows])[1]


def _right_share(answer: Prediction, row: Example) -> float:
    scores = answer.scores or {}
    right = [row.target] if isinstance(row.target, str) else list(row.target or ())
    return (
        sum(scores.get(name, 0.0) for name in right) / max(1, len(right))
        if right
        else float(answer.value == row.target)
    )

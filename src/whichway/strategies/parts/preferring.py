"""What fine-tuned weights learn to prefer: right answers to rows' rejected ones, and of two drafts the one a judge prefers."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from whichway.core.model import Request
from whichway.core.strategy import Kit, Progress
from whichway.core.task import Example, Prediction
from whichway.core.text import Text
from whichway.errors import NotApplicable
from whichway.strategies.parts.prompted import PromptSolution
from whichway.strategies.parts.store import load_json, save_json
from whichway.strategies.parts.tuned import asked, lead
from whichway.strategies.parts.writing import WrittenSolution, read_reply

DRAFTS, HEAT = 3, 0.9  # drafts of a row, the first two that differ are judged; the temperature they are written at
HELD_SHARE = 4  # one row of dev is judged for so many of train: it tells whether to keep what was learned
FEWEST = 8  # verdicts of train rows that are learned from
Triple = tuple[str, str, str]  # prompt, chosen, rejected


@dataclass(frozen=True)
class Liking:
    """How preferences are learned: DPO's `beta` (0: not at all), and of how many train rows a judge compares drafts."""

    beta: float
    judged: int = 0


@dataclass(frozen=True)
class Verdicts:
    """Preferences of a judge on train and dev rows; `pairs` drafts were shown to it, `agreed` verdicts held in both orders."""

    train: tuple[Triple, ...]
    dev: tuple[Triple, ...]
    pairs: int
    agreed: int


def preferring(
    draft: PromptSolution | WrittenSolution,
    train: Sequence[Example],
    dev: Sequence[Example],
    liking: Liking,
    settings: Mapping[str, Any],
    kit: Kit,
) -> Callable[[Path], None] | None:
    """Return what the weights in `kit.folder / "weights"` learn after the right answers, or None where that is nothing.

    It is handed a folder in which a killed fit finds what it had asked. What was learned from, and the losses on dev, lie
    beside the weights in `preferences.json`.
    """
    rejected = preferences(draft, train) if liking.beta else []
    if not rejected and not (liking.beta and liking.judged):
        return None

    def learn(home: Path) -> None:
        weights, found = kit.folder / "weights", Verdicts((), (), 0, 0)
        if liking.judged:
            assert isinstance(draft, WrittenSolution)
            found = verdicts(draft, train, dev, liking.judged, home, kit)
        likes = found.train if len(found.train) >= FEWEST else ()
        rows = [*rejected, *likes]
        also = {"beta": liking.beta, "batch": max(1, settings["batch"] // 2), "longest": settings["longest"]}
        losses: Any = ()
        if rows:
            losses = draft.model.prefer(rows, [*preferences(draft, dev), *found.dev], also, weights, kit)
        facts = {"rejected": len(rejected), "judged": found.pairs, "agreed": found.agreed, "learned": len(rows)}
        save_json(weights / "preferences.json", {**facts, "dev_losses": [round(one, 5) for one in losses or ()]})

    return learn


def preferences(draft: PromptSolution | WrittenSolution, rows: Sequence[Example]) -> list[Triple]:
    """Return prompt, right answer and rejected answer, once for each rejected answer."""
    some = [row for row in rows if row.rejected]
    write = draft.task.output.write
    return [
        (prompt, lead(draft) + write(row.target), lead(draft) + write(other))
        for prompt, row in zip(asked(draft, some), some, strict=True)
        for other in row.rejected
    ]


def verdicts(
    draft: WrittenSolution, train: Sequence[Example], dev: Sequence[Example], count: int, home: Path, kit: Kit
) -> Verdicts:
    """Let the fine-tuned weights write drafts, and a judge say which is better, in both orders; where they differ, none is.

    Raises NotApplicable without a judge.
    """
    if kit.judge is None:
        raise NotApplicable("There is no judge to say which draft is better.", "Name one: judge: {model: NAME}.")
    file = home / "judged.json"
    if file.exists():
        kept = load_json(file)
        likes = [tuple((one[0], one[1], one[2]) for one in kept[part]) for part in ("train", "dev")]
        return Verdicts(likes[0], likes[1], kept["pairs"], kept["agreed"])
    rng = random.Random(f"judged {kit.seed}")
    parts = [
        rng.sample(list(rows), min(most, len(rows))) for rows, most in ((train, count), (dev, count // HELD_SHARE))
    ]
    rows = [*parts[0], *parts[1]]
    written = _written(draft, rows, home, kit)
    told = [i for i, row in enumerate(rows) if row.id in written]
    kit.progress(Progress("judged", 0, len(told)))
    first, second = ([Prediction(written[rows[i].id][at], 1.0) for i in told] for at in (0, 1))
    said = kit.judge.better([rows[i] for i in told], first, second) if told else []
    prompts = asked(draft, rows)
    train_likes: list[Triple] = []
    dev_likes: list[Triple] = []
    for i, one, other, verdict in zip(told, first, second, said, strict=True):
        if verdict != "tie":
            better, worse = (one, other) if verdict == "a" else (other, one)
            liked = (prompts[i], lead(draft) + str(better.value), lead(draft) + str(worse.value))
            (train_likes if i < len(parts[0]) else dev_likes).append(liked)
    agreed = len(train_likes) + len(dev_likes)
    kit.progress(Progress(f"the judge agrees with itself on {agreed} of {len(told)} pairs"))
    found = Verdicts(tuple(train_likes), tuple(dev_likes), len(told), agreed)
    save_json(file, asdict(found))
    return found


def _written(draft: WrittenSolution, rows: Sequence[Example], home: Path, kit: Kit) -> dict[str, list[str]]:
    """Return two drafts that differ, by row; a row whose drafts are all alike has none."""
    file = home / "drafts.json"
    if file.exists():
        return dict(load_json(file))
    kit.progress(Progress("drafts for the judge", 0, len(rows)))
    model, task = draft.model.adapted(kit.folder / "weights"), draft.task
    assert isinstance(task.output, Text)
    base = Request((), draft.reader.most, HEAT, continues=draft.continues, stop=task.output.stop)
    requests = [
        replace(base, messages=(("user", prompt),), draw=number + 1)
        for number in range(DRAFTS)
        for prompt in asked(draft, rows)
    ]
    replies = model.generate(requests)
    found = {}
    for i, row in enumerate(rows):
        answers = [read_reply(task, one) for one in replies[i :: len(rows)]]
        texts = list(dict.fromkeys(task.output.write(one.value) for one in answers if one.parsed))
        if len(texts) > 1:
            found[row.id] = texts[:2]
    save_json(file, found)
    return found

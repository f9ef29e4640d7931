"""What a prompt is made of, as settings to search in, and how settings become a prompt. No strong model is needed."""

from __future__ import annotations

import copy
import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from whichway.core.output import Labels, as_labels
from whichway.core.task import Example, Task
from whichway.strategies.parts import marks
from whichway.strategies.parts.features import described, text_of
from whichway.strategies.parts.neighbours import Neighbours, index_examples
from whichway.strategies.parts.prompted import PromptSolution, draft_prompt, pick_shots
from whichway.strategies.parts.prompting import WORDINGS, PromptFormat, longest_shown
from whichway.strategies.parts.writing import WrittenSolution

RULES: Mapping[str, tuple[str, ...]] = {
    "labels": (
        "",
        "Choose the answer that fits best, even if none fits perfectly.",
        "Look at what the writer means, not at single words.",
        "Decide as in the examples.",
        "Read the whole text before you answer. Answer with the label alone.",
    ),
    "fields": (
        "",
        "Copy names, numbers and dates exactly as they are written.",
        "Leave a field empty when the text does not say it.",
        "Fill in the fields in the order of the examples.",
    ),
    "text": (
        "",
        "Keep to what is given and invent nothing.",
        "Write in the style of the examples.",
        "Be brief and exact.",
        "State every fact that is given.",
    ),
}
SHOTS = (0, 2, 4, 8, 12, 16)
FORMATS = 14  # formats that a search may choose among
FIXED_CHARACTERS, OWN_CHARACTERS = 5000, 2000  # of examples in a prompt: the same for all rows, or looked up for each
HINT_WORDS = 4
MEASURED = 16  # rows by which the length of a prompt is measured
LIKELY = 0.5  # added to counts


@dataclass(frozen=True)
class Recipe:
    """Settings of one prompt; the defaults are those of the few-shot prompt that a search begins with."""

    wording: int = 0
    rule: int = 0
    context: bool = True
    listed: bool = True  # the labels, or the form of the answer
    hints: bool = False  # typical words beside labels without a description
    spelling: str = "words"
    marks: int = 0
    pick: str = "spread"  # which examples: 'spread' over labels, 'central' ones, or the 'nearest' to each input
    shots: int = 8
    draw: int = 0
    order: str = "mixed"

    def canonical(self) -> Recipe:
        """Return the same prompt without settings that say nothing: no examples have no order."""
        if self.shots == 0:
            return replace(self, pick="spread", draw=0, order="mixed")
        if self.pick == "nearest":
            return replace(self, draw=0, order="mixed")
        return replace(self, draw=0) if self.pick == "central" else self

    def differing(self, other: Recipe) -> list[str]:
        """Return names of the settings in which two recipes differ; how examples are chosen counts as one."""
        names = [one.name for one in fields(self) if getattr(self, one.name) != getattr(other, one.name)]
        return [one for one in names if one not in ("draw", "order")] + (
            ["order"] if {"draw", "order"} & set(names) and "pick" not in names and "shots" not in names else []
        )

    def with_from(self, other: Recipe, name: str) -> Recipe:
        """Return this recipe with one setting of another; examples go back together with their order."""
        taken = {name: getattr(other, name)}
        if name in ("pick", "shots", "order"):
            taken |= {"draw": other.draw, "order": other.order}
        return replace(self, **taken).canonical()


class Pantry:
    """Everything that recipes of one task are made with: rows to show, their vectors, typical words."""

    def __init__(self, task: Task, model: Any, rows: Sequence[Example], embedder: Any, seed: int) -> None:
        self.task, self.model, self.rows, self.seed = task, model, list(rows), seed
        self.near: Neighbours | None = index_examples(task, rows, embedder) if embedder is not None and rows else None
        self.formats = marks.sample(FORMATS, seed)
        self.typical = typical_words(task, rows) if isinstance(task.output, Labels) else {}

    def choices(self) -> dict[str, tuple[Any, ...]]:
        """Return what each setting may be for this task; the first choice is the seed's."""
        labels = isinstance(self.task.output, Labels)
        own = labels and not self.task.labels.descriptions and bool(self.typical)
        picks = ("spread", *(("central", "nearest") if self.near is not None else ()))
        found: dict[str, tuple[Any, ...]] = {
            "wording": tuple(range(len(WORDINGS))),
            "rule": tuple(range(len(RULES[self.task.output.shape]))),
            "context": (True, False) if self.task.context.strip() else (True,),
            "listed": (True, False) if labels else (True,),
            "hints": (False, True) if own else (False,),
            "spelling": ("words", "as is", "title", "found") if labels else ("words",),
            "marks": tuple(self.formats),
            "pick": picks,
            "shots": tuple(one for one in SHOTS if one <= self.most(FIXED_CHARACTERS)),
            "draw": (0, 1, 2),
            "order": ("mixed", "turned", "grouped") if labels else ("mixed", "turned"),
        }
        return found

    def seed_recipe(self) -> Recipe:
        """Return the few-shot prompt that a search begins with: eight examples, or as many as there is room for."""
        return Recipe(shots=max(one for one in SHOTS if one <= min(8, self.most(FIXED_CHARACTERS))))

    def over(self, model: Any) -> Pantry:
        """Return the same for another model."""
        other = copy.copy(self)
        other.model = model
        return other

    def lighter(self, recipe: Recipe, most: int) -> Recipe:
        """Return the recipe with fewer examples, and if need be without lists and context, until it puts at most `most`
        tokens around a row: what is read with every row of training has to be short."""
        bare = replace(recipe, shots=0)
        tries = [replace(recipe, shots=one) for one in reversed(SHOTS) if one < recipe.shots]
        tries += [replace(bare, hints=False), replace(bare, hints=False, listed=False)]
        tries.append(replace(bare, hints=False, listed=False, context=False))
        fitting = (one.canonical() for one in (recipe, *tries) if self.around(one.canonical()) <= most)
        return next(fitting, tries[-1].canonical())

    def around(self, recipe: Recipe) -> float:
        """Return how many tokens a prompt holds beside the row itself, on average over a few rows."""
        draft, some = self.draft(recipe), self.rows[:MEASURED]
        inputs = [row.inputs for row in some]
        few = draft.near.nearest(inputs, draft.shots) if draft.near is not None else [draft.shown] * len(some)
        count = self.model.count
        sizes: list[int] = [
            count(draft.form.prompt(self.task, row, one)) - count(described(self.task, row))
            for row, one in zip(inputs, few, strict=True)
        ]
        return sum(sizes) / max(1, len(sizes))

    def most(self, characters: int) -> int:
        """Return how many examples fit into so many characters."""
        lengths = [min(longest_shown(self.task), len(described(self.task, row.inputs))) + 40 for row in self.rows] or [
            1
        ]
        return min(len(self.rows), int(characters / (sum(lengths) / len(lengths))))

    def draft(self, recipe: Recipe) -> PromptSolution | WrittenSolution:
        """Return the prompt of a recipe."""
        shots = min(recipe.shots, self.most(OWN_CHARACTERS)) if recipe.pick == "nearest" else recipe.shots
        examples = self.near if recipe.pick == "nearest" and self.near and shots else self._shown(recipe)
        return draft_prompt(self.task, self.model, self.form(recipe), examples, shots, self.rows)

    def form(self, recipe: Recipe) -> PromptFormat:
        """Return the format of a recipe."""
        return PromptFormat(
            context=recipe.context,
            labels=recipe.listed,
            words=recipe.spelling == "words",
            marks=recipe.marks,
            wording=recipe.wording,
            rule=RULES[self.task.output.shape][recipe.rule],
            hints=tuple((name, ", ".join(words)) for name, words in self.typical.items()) if recipe.hints else (),
            spelled=self._spelled(recipe.spelling),
        )

    def said(self, recipe: Recipe, name: str) -> tuple[str, str]:
        """Return the name of a setting and its value in words a reader understands."""
        value = getattr(recipe, name)
        if name == "rule":
            return "rule", RULES[self.task.output.shape][value] or "none"
        if name == "marks":
            made = marks.marks(value)
            return "format", f"{made.asks}... {made.answers}...".replace("\n", "\\n")
        if name == "wording":
            return "wording", WORDINGS[value].format("...").replace("\n", "\\n")
        if name == "order":
            return "examples", f"draw {recipe.draw}, {recipe.order}"
        words = {"pick": "choice of examples", "shots": "number of examples", "listed": "list of labels"}
        words |= {"hints": "typical words", "context": "context", "spelling": "spelling of labels"}
        return words[name], ("shown" if value else "left out") if isinstance(value, bool) else str(value)

    def _shown(self, recipe: Recipe) -> tuple[Example, ...]:
        if recipe.shots == 0:
            return ()
        if recipe.pick == "central" and self.near is not None:
            shown = _central(self.task, self.near, recipe.shots)
        else:
            shown = pick_shots(self.task, self.rows, recipe.shots, self.seed + recipe.draw)
        if recipe.order == "turned":
            return shown[::-1]
        if recipe.order == "grouped":
            return tuple(sorted(shown, key=lambda row: self.task.output.write(row.target)))
        return shown

    def _spelled(self, spelling: str) -> tuple[tuple[str, str], ...]:
        if not isinstance(self.task.output, Labels) or spelling in ("words", "as is"):
            return ()
        names = self.task.labels.names
        if spelling == "title":
            made = {name: name.replace("_", " ").capitalize() for name in names}
        else:
            made = {name: self.typical[name][0] if self.typical.get(name) else name for name in names}
        return tuple(made.items()) if len(set(map(str.casefold, made.values()))) == len(names) else ()


def typical_words(task: Task, rows: Sequence[Example]) -> dict[str, tuple[str, ...]]:
    """Return for each label the words that tell it from the others best, by the logarithm of their odds (none seen once)."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in task.labels.names}
    sizes: Counter[str] = Counter()
    for row in rows:
        words = set(re.findall(r"[^\W\d_]{3,}", text_of(task, row.inputs).casefold()))
        for name in as_labels(row.target):
            if name in counts:
                counts[name].update(words)
                sizes[name] += 1
    whole, every = sum(counts.values(), Counter()), sum(sizes.values())
    found = {}
    for name, own in counts.items():
        odds = {
            word: n * (_log_share(n, sizes[name]) - _log_share(whole[word] - n, every - sizes[name]))
            for word, n in own.items()
            if n > 1
        }
        best = sorted(odds, key=lambda word: (-odds[word], word))[:HINT_WORDS]
        if best:
            found[name] = tuple(best)
    return found


def _log_share(count: int, size: int) -> float:
    return math.log((count + LIKELY) / (size + 2 * LIKELY))


def _central(task: Task, near: Neighbours, count: int) -> tuple[Example, ...]:
    """Return rows that lie closest to the middle of their label, as many labels as possible."""
    import numpy as np

    by_label: dict[str, list[int]] = {}
    for i, row in enumerate(near.examples):
        by_label.setdefault(task.output.write(row.target) if isinstance(task.output, Labels) else "", []).append(i)
    ranked = []
    for members in by_label.values():
        middle = np.asarray(near.vectors[members]).mean(axis=0)
        order = np.argsort(-(near.vectors[members] @ middle), kind="stable")
        ranked.append([members[i] for i in order])
    random.Random(0).shuffle(ranked)
    turns = (members[turn] for turn in range(count) for members in ranked if turn < len(members))
    return tuple(near.examples[i] for _, i in zip(range(count), turns, strict=False))

"""What a search for a prompt searches in, each found where it alone matters; and a sampler that learns from scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_search import NAMES, Reader, make_task

from whichway.core.strategy import Kit, PromptVersion
from whichway.core.task import Example
from whichway.strategies.optimise import Optimise
from whichway.strategies.parts.prompting import WORDINGS
from whichway.strategies.parts.recipe import RULES

EVERY = 10  # one row in so many lies in the middle of its label


class Meanings:
    """Vectors of the label's word alone for rows in the middle, and with one more direction of their own for others."""

    def embed(self, texts: Any) -> Any:
        found = np.zeros((len(texts), 3 + 64))
        for vector, text in zip(found, texts, strict=True):
            words = text.split()
            vector[next(i for i, name in enumerate(NAMES) if name in words)] = 1.0
            if "core" not in words:
                vector[3 + int(words[-1][1:]) % 64] = 0.8
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def rows(count: int) -> list[Example]:
    middle = ("core " if i % EVERY == 0 else "" for i in range(count))
    return [Example(f"r{i}", {"text": f"{one}about {NAMES[i % 3]} x{i}"}, NAMES[i % 3]) for i, one in enumerate(middle)]


def searched(model: Any, folder: Path, said: list[PromptVersion] | None = None, **settings: Any) -> Any:
    kit = Kit({"causal": model}, Meanings(), folder, 0, record=(said if said is not None else []).append)
    some = rows(200)
    return Optimise(**{"prompts": 16, **settings}).fit(make_task(), some[:160], some[160:], kit)


def shows_one_alike(prompt: str) -> bool:
    """Tell whether the example next to the question is of the question's kind."""
    *_, before, asked = (one.split() for one in prompt.split("about "))
    return before[:1] == asked[:1]


def shows_the_middle(prompt: str) -> bool:
    return prompt.count("core ") >= 6


@pytest.mark.parametrize(("pleases", "pick"), [(shows_one_alike, "nearest"), (shows_the_middle, "central")])
def test_how_examples_are_chosen_is_searched_for_where_there_is_an_embedder(
    tmp_path: Path, pleases: Any, pick: str
) -> None:
    found = searched(Reader(lambda prompt: prompt.count("about ") > 1 and pleases(prompt), 0.2), tmp_path)
    (edit,) = [one for one in found.edits() if one.what == "choice of examples"]
    assert (edit.before, edit.after) == ("spread", pick) and edit.bought > 0.2


class Capital(Reader):
    """Knows a label by its capital letter."""

    def _one(self, prompt: str, name: str) -> float:
        self.share = 1.0 if name.strip()[:1].isupper() else 0.4
        return super()._one(prompt, name)


def test_how_labels_are_spelled_is_searched_for(tmp_path: Path) -> None:
    found = searched(Capital(lambda _: False), tmp_path, prompts=40, rows=32)
    (edit,) = [one for one in found.edits() if one.what == "spelling of labels"]
    assert (edit.before, edit.after) == ("words", "title") and edit.bought > 0.3
    assert "Refund" in found.version().text


class Graded(Reader):
    """Knows the more, the more of three things a prompt has."""

    def _one(self, prompt: str, name: str) -> float:
        self.share = 0.1 + 0.25 * sum(liked(prompt))
        return super()._one(prompt, name)


def liked(prompt: str) -> tuple[bool, bool, bool]:
    return WORDINGS[4].format("")[:10] in prompt, RULES["labels"][3] in prompt, "Refund" in prompt


def test_what_the_sampler_proposes_is_learned_from_scores(tmp_path: Path) -> None:
    said: list[PromptVersion] = []
    searched(Graded(lambda _: False), tmp_path, said, prompts=60, rows=32)
    shares = np.mean([liked(one.text) for one in said[-30:-5]], axis=0)
    drawn = (1 / len(WORDINGS), 1 / len(RULES["labels"]), 1 / 4)  # by a sampler that learns nothing
    assert shares.mean() > 2 * np.mean(drawn), shares

"""Texts are tokenised once, whoever asks, and the ids are those of the tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from whichway.models.causal import CausalModel
from whichway.models.token_memo import TokenMemo, memo_of

TEXTS = ["one text", " another, longer text", "", "one text", "naïve ☕ 42"]


class Counting:
    """A tokenizer of letters that writes down what it reads."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts: Any, add_special_tokens: bool) -> dict[str, Any]:
        assert not add_special_tokens
        self.asked.append(list(texts))
        return {"input_ids": [list(map(ord, text)) for text in texts]}


def test_each_text_is_read_once_and_new_ones_together() -> None:
    memo = TokenMemo(plain := Counting())
    assert memo(TEXTS) == [list(map(ord, text)) for text in TEXTS]
    assert memo(["one text", "new"]) == [list(map(ord, "one text")), list(map(ord, "new"))]
    assert plain.asked == [list(dict.fromkeys(TEXTS)), ["new"]] and memo.read == 5


def test_what_is_changed_by_a_caller_stays_as_it_was() -> None:
    memo = TokenMemo(Counting())
    memo(["ab"])[0].append(7)
    assert memo(["ab"]) == [[97, 98]]


def test_the_longest_unused_texts_go_first() -> None:
    memo = TokenMemo(plain := Counting(), most=6)
    memo(["aaa", "bbb"])
    memo(["aaa"])
    memo(["ccc"])  # b goes
    memo(["aaa", "bbb"])
    assert plain.asked == [["aaa", "bbb"], ["ccc"], ["bbb"]]
    assert memo(["x" * 9]) == [[120] * 9]  # longer than all that is kept


@pytest.mark.slow
def test_adaptations_of_a_model_share_what_was_tokenised(tmp_path: Path) -> None:
    first = CausalModel()
    wanted = [first.tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    assert [first.tokens(text) for text in TEXTS] == wanted
    read = first.memo.read
    second = CausalModel()
    assert second.memo is first.memo is memo_of(second.tokenizer)
    second.score(["one text", "naïve ☕ 42"], ["one text", " another, longer text"])
    assert first.memo.read == read

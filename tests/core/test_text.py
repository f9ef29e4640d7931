"""Running text: where it ends, and how 'I do not know' is said."""

from __future__ import annotations

import pytest

from whichway.core.rules import Rules
from whichway.core.text import Text


def test_the_house_rules_stand_in_what_is_asked():
    asked = Text(Rules.of({"max_words": 20, "must_not_say": ["cheap"]})).ask()
    assert "20 words" in asked and "cheap" in asked


def test_an_answer_ends_at_the_first_stop():
    assert Text(stop=("\n", "END")).read("  One line END more\nand more") == "One line"
    assert Text().read("One line\nand more") == "One line\nand more"


@pytest.mark.parametrize("said", ["I do not know.", "i do not know", " I  do not know ! "])
def test_the_sentence_for_not_knowing_is_the_empty_answer_and_back(said):
    output = Text()
    assert output.read(said) == "" and output.write("") == "I do not know."
    assert output.read("I do not know the price, but it is 5.") != ""


def test_saying_nothing_is_no_answer():
    assert Text().read(" \n ") is None and Text(stop=("\n",)).read("\n\nlate") == "late"

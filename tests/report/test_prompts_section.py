"""The section on prompts: a prompt that differs from its seed is shown line by line."""

from __future__ import annotations

from typing import Any

import pytest
from sample import report

from whichway.report.details import spend
from whichway.report.prompts import prompts


@pytest.mark.parametrize(("after", "differs"), [("Sort it.\nBe brief.", True), ("Sort it.", False)])
def test_a_prompt_that_differs_from_its_seed_is_shown_whatever_is_known_of_its_changes(
    after: str, differs: bool
) -> None:
    search: dict[str, Any] = {"strategy": "reflect", "edits": [], "scored": 9, "gain": {"value": 0.1}}
    search |= {"seed": {"id": "a1", "text": "Sort it."}, "best": {"id": "b2", "text": after}}
    found = prompts(report(searches=[search]))
    assert ("+Be brief." in found.code) is differs and bool(found.code) is differs


def test_what_was_learnt_of_an_endpoint_is_told_where_it_takes_less_than_is_allowed() -> None:
    found = {"far": {"learnt": 3, "allowed": 16}, "near": {"learnt": 8, "allowed": 8}}
    said = [one for one in spend(report(timing={"at_once": found})).items if "at once" in one]
    assert said == ["far takes 3 calls at once, as learnt from its refusals (max_concurrency 16)."]

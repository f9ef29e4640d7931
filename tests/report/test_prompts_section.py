"""The section on prompts: a prompt that differs from its seed is shown line by line."""

from __future__ import annotations

from typing import Any

import pytest
from sample import report

from whichway.report.prompts import prompts


@pytest.mark.parametrize(("after", "differs"), [("Sort it.\nBe brief.", True), ("Sort it.", False)])
def test_a_prompt_that_differs_from_its_seed_is_shown_whatever_is_known_of_its_changes(
    after: str, differs: bool
) -> None:
    search: dict[str, Any] = {"strategy": "reflect", "edits": [], "scored": 9, "gain": {"value": 0.1}}
    search |= {"seed": {"id": "a1", "text": "Sort it."}, "best": {"id": "b2", "text": after}}
    found = prompts(report(searches=[search]))
    assert ("+Be brief." in found.code) is differs and bool(found.code) is differs

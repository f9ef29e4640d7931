"""Labels, objects and texts alike: who serves them and who says why not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_contracts import DOCUMENTS, LettersEmbedder, as_shape, examples, new_rows, shaped_task, task

from whichway import registry
from whichway.core.strategy import Kit
from whichway.errors import NotApplicable
from whichway.study.lines import Line, _misshapen

EVERY_SHAPE = ("labels", "fields", "text")
INNER = [("rag", {"then": "classic"}), ("rag", {"then": "probe"})]


@pytest.mark.parametrize("shape", EVERY_SHAPE)
@pytest.mark.parametrize(("name", "settings"), [(name, {}) for name in registry.names("strategy")] + INNER)
def test_a_way_serves_a_shape_of_answer_or_says_why_not_and_what_to_do(name, settings, shape, tmp_path):
    rows = examples(40) if shape == "labels" else [as_shape(shape, row) for row in examples(40, multi=True)]
    about = task() if shape == "labels" else shaped_task(shape, rows)
    about = replace(about, documents=DOCUMENTS, unlabelled=tuple(new_rows()))
    made = registry.get("strategy", name)(**settings)
    why = _misshapen(Line(name, name, made, ""), about)
    if not why:
        assert shape in made.shapes if hasattr(made, "shapes") else shape == "labels"
        return
    assert shape in why and "serves" in why, "what the report says of a way that was skipped"
    with pytest.raises(NotApplicable) as refused:
        made.fit(about, rows[:30], rows[30:], Kit({}, LettersEmbedder(), tmp_path, 3))
    assert refused.value.problem.endswith(f"the answers here are {shape}.") and refused.value.fix.startswith(
        "Use a way that"
    )

"""Labels, objects and texts alike: who serves them and who says why not; what stands in a prompt."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_contracts import DOCUMENTS, LettersEmbedder, as_shape, examples, new_rows, shaped_task, task

from whichway import registry
from whichway.core.strategy import Kit
from whichway.errors import NotApplicable
from whichway.strategies.parts.prompting import PromptFormat
from whichway.study.lines import Line, _misshapen

EVERY_SHAPE = ("labels", "fields", "text")
FORMATS = {"labels": "- billing", "fields": "- first: ", "text": "Answer with the text alone"}
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


@pytest.mark.parametrize("shape", EVERY_SHAPE)
def test_instruction_context_examples_and_format_stand_in_a_prompt_of_every_shape(shape):
    plain = examples(6) if shape == "labels" else [as_shape(shape, row) for row in examples(6, multi=True)]
    rows = [row for row in plain if row.target]
    about = task() if shape == "labels" else shaped_task(shape, rows)
    form, asked = PromptFormat(), {"text": "a new parcel", "amount": 1.0, "channel": "web"}
    said = form.prompt(about, asked, rows[:2])
    chat = "\n".join(text for _, text in form.messages(about, asked, rows[:2]))
    shown = [form.answer_text(about, row.target) for row in rows[:2]]
    parts = [about.instruction, about.context, FORMATS[shape], rows[0].inputs["text"], *shown, "a new parcel"]
    for prompt in (said, chat):
        places = [*map(prompt.find, parts[:3]), *map(prompt.rfind, parts[3:])]
        assert min(places) >= 0 and places[:3] == sorted(places[:3]), (parts[places.index(min(places))], prompt)
        assert places[2] < min(places[3:-1]) and max(places[3:-1]) < places[-1], "examples, then the row in question"
    bare = PromptFormat(instruction=False, context=False, labels=False).prompt(about, asked)
    assert not any(part in bare for part in parts[:-1]), "each can be left out"

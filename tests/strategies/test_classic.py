"""The linear model on TF-IDF: what it reads of rows with several texts, or with long ones."""

import random

import pytest

from whichway.core.output import Labels
from whichway.core.strategy import Kit
from whichway.core.task import Example, Field, Task
from whichway.metrics.labels import Accuracy
from whichway.strategies.classic import Classic
from whichway.strategies.parts.store import load_arrays, load_json, save_arrays, save_json
from whichway.strategies.parts.views import WHOLE, View, apart

FIELDS = (Field("question"), Field("report"))
WORDS = "cells dose trial group weeks mean risk score cohort nurse clinic season river table paper".split()


def _rows(count, seed):
    """The last sentence of a long report says what is right; the same words stand all over the rest of it, at random."""
    rng, rows = random.Random(seed), []
    for i in range(count):
        label = rng.choice(("yes", "no"))
        said = [*rng.choices(("better", "worse"), k=15), "better" if label == "yes" else "worse"]
        report = " ".join(f"The {' '.join(rng.choices(WORDS, k=4))} then went {one}." for one in said)
        inputs = {"question": f"Does {rng.choice(WORDS)} help {rng.choice(WORDS)}?", "report": report}
        rows.append(Example(str(i), inputs, label))
    return rows


def _right(solution, rows):
    said = solution.predict([row.inputs for row in rows])
    return sum(one.value == row.target for one, row in zip(said, rows, strict=True)) / len(rows)


@pytest.fixture
def task():
    return Task("trials", "Does it help?", FIELDS, Labels(("yes", "no")), Accuracy())


def test_the_end_of_a_long_text_is_read_by_itself_where_held_out_rows_say_so(task, tmp_path):
    train, held, kit = _rows(160, 0), _rows(120, 1), Kit({}, None, tmp_path)
    chosen = Classic().fit(task, train, (), kit)
    whole = Classic(texts="whole").fit(task, train, (), kit)
    assert _right(chosen, held) > _right(whole, held) + 0.1
    assert {view.name for view, _ in chosen.reader.sides} == {"all:question", "all:report", "end:report"}
    chosen.save(tmp_path / "kept")
    again = Classic().load(task, tmp_path / "kept", kit)
    inputs = [row.inputs for row in held]
    assert again.predict(inputs) == chosen.predict(inputs)


def test_one_short_text_is_one_view(task):
    short = [{"question": row.inputs["question"], "report": ""} for row in _rows(20, 0)]
    assert apart(Task("t", "?", FIELDS[:1], task.output, task.metric), short) == WHOLE
    assert apart(task, short) == (View("question"), View("report"))
    assert WHOLE[0].read(task, {"question": "a", "report": "b"}) == "question: a\nreport: b"


def test_a_missing_text_reads_as_none(task):
    assert View("report", is_end=True).read(task, {"question": "a", "report": None}) == ""
    assert View("report", is_end=True).read(task, {}) == ""
    said = {"report": "One. Two. Three. Four."}
    assert View("report", is_end=True).read(task, said) == "Two. Three. Four."


def test_a_folder_written_before_views_were_kept_is_still_read(task, tmp_path):
    rows, kit, old = _rows(60, 0), Kit({}, None, tmp_path), {"words all:": "words", "characters all:": "characters"}
    fitted = Classic(texts="whole", strengths=(3.0,)).fit(task, rows, (), kit)
    fitted.save(tmp_path / "kept")
    words, weights = tmp_path / "kept" / "vocabulary.json", tmp_path / "kept" / "idf.safetensors"
    save_json(words, {old[name]: one for name, one in load_json(words).items()})
    save_arrays(weights, {old[name]: one for name, one in load_arrays(weights).items()})
    inputs = [row.inputs for row in rows]
    assert Classic().load(task, tmp_path / "kept", kit).predict(inputs) == fitted.predict(inputs)

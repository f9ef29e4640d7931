"""What one answer is worth by itself, under metrics that count over many rows."""

from __future__ import annotations

import pytest

from whichway.core.fields import Fields
from whichway.core.output import Labels
from whichway.core.task import Example, Field, Prediction, Task, worth
from whichway.registry import get
from whichway.strategies.parts.racing import row_values
from whichway.strategies.parts.trust import goodness

SCHEMA = {"type": "object", "properties": {"names": {"type": "array", "items": {"type": "string"}}}}
EMPTY = Example("r", {"text": "Nobody is named here."}, {"names": []})


@pytest.mark.parametrize("name", ["entity_f1", "field_f1"])
@pytest.mark.parametrize(("said", "parsed", "value"), [([], True, 1.0), (["ACME"], True, 0.0), ([], False, 0.0)])
def test_silence_where_nothing_was_wanted_is_right_and_an_invention_is_not(name, said, parsed, value):
    task = Task("t", "List the names.", (Field("text"),), Fields(SCHEMA), get("metric", name)())
    answer = Prediction({"names": said}, 0.5, parsed=parsed)
    assert goodness(task, EMPTY, answer) == value
    assert row_values(task, [EMPTY], [answer]) == [value]
    assert task.metric.aggregate([task.metric.score_example(EMPTY, answer)]) == 0.0  # over many rows it is left out


def test_a_row_without_labels_that_is_given_none_is_right():
    task = Task("t", "Which?", (Field("text"),), Labels(("a", "b"), True), get("metric", "micro_f1")())
    for said, value in (((), 1.0), (("a",), 0.0)):
        score = task.metric.score_example(Example("r", {"text": "x"}, ()), Prediction(said, 0.5))
        assert worth(task.metric, score) == value


def test_a_mean_of_rows_and_metrics_without_a_right_answer_are_left_alone():
    assert worth(get("metric", "accuracy")(), 0.0) == 0.0
    assert worth(get("metric", "groundedness")({"d": "x"}), [0, 0]) == 0.0

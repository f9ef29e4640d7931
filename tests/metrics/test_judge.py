"""A model as judge: its replies are read, orders exchanged, agreement with people counted; and similarity by vectors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from whichway import registry
from whichway.core.model import Reply
from whichway.core.task import Example, Prediction
from whichway.errors import DataError, UsageError
from whichway.metrics.judge import agreement, judge_by_rubric, judge_pairs


@dataclass
class Judge:
    """A model that answers by a function of the prompt."""

    answer: Any
    name: str = "judge"
    is_local: bool = True
    seen: list[str] = field(default_factory=list)

    def generate(self, requests):
        self.seen += [one.messages[-1][1] for one in requests]
        replies = [self.answer(one.messages[-1][1]) for one in requests]
        return [one if isinstance(one, Reply) else Reply(one) for one in replies]


def between(prompt, start, end):
    return prompt.split(start, 1)[1].split(end, 1)[0].strip()


def longer(prompt):
    first, second = between(prompt, "Answer 1:", "Answer 2:"), between(prompt, "Answer 2:", "Give a reason")
    return f"It says more.\n**Verdict: {1 if len(first) > len(second) else 2}**"


ROWS = [Example("r0", {"question": "why?", "empty": None}, "because"), Example("r1", {"question": "who?"}, "")]


def answers(*texts):
    return [Prediction(text, 1.0) for text in texts]


def test_a_judge_that_prefers_one_answer_in_both_orders_is_believed():
    judge = Judge(longer)
    found = judge_pairs(judge, ROWS, answers("because it is so", "no"), answers("so", "nobody"))
    assert [one["verdict"] for one in found] == ["a", "b"]
    assert [one["orders"] for one in found] == [["a", "a"], ["b", "b"]]
    assert len(judge.seen) == 4 and found[0]["id"] == "r0" and len(found[0]["reasons"]) == 2


@pytest.mark.parametrize("said", ["Verdict: 1", "Verdict: 2"])
def test_a_judge_that_prefers_a_place_finds_ties_alone(said):
    found = judge_pairs(Judge(lambda _: said), ROWS, answers("x", "x"), answers("y", "y"))
    assert [one["verdict"] for one in found] == ["tie", "tie"]
    assert sorted(found[0]["orders"]) == ["a", "b"]


@pytest.mark.parametrize(
    "reply", ["I like both.", "Verdict: 3", Reply("Verdict: 1", finish="failed"), "", "Verdict: 12"]
)
def test_a_reply_without_a_verdict_is_a_tie_and_recorded_as_none(reply):
    (found,) = judge_pairs(Judge(lambda _: reply), ROWS[:1], answers("x"), answers("y"))
    assert (found["verdict"], found["orders"]) == ("tie", [None, None])


def test_the_last_verdict_of_a_reply_counts():
    one_then_tie = Judge(lambda _: "At first, Verdict: 1 seemed right.\nVerdict: Tie")
    assert judge_pairs(one_then_tie, ROWS[:1], answers("x"), answers("y"))[0]["orders"] == ["tie", "tie"]


def test_the_judge_sees_inputs_and_the_right_answer_unless_told_otherwise():
    judge = Judge(longer)
    judge_pairs(judge, ROWS[:1], answers("{inputs} {gold}"), answers("y"), criteria="Be strict.")
    assert "question: why?" in judge.seen[0] and "because" in judge.seen[0] and "Be strict." in judge.seen[0]
    assert "empty" not in judge.seen[0] and "{inputs} {gold}" in judge.seen[0]
    blind = Judge(longer)
    judge_pairs(blind, ROWS[:1], answers("x"), answers("y"), show_target=False)
    assert "because" not in blind.seen[0]


@pytest.mark.parametrize(
    ("reply", "grade", "score"),
    [
        ("Fine.\nGrade: 5", 5, 1.0),
        ("Grade: **3**/5", 3, 0.5),
        ("grade - 1", 1, 0.0),
        ("Grade: 2. Then, on reflection, Grade: 4.", 4, 0.75),
        ("Grade: 45", None, 0.0),
        ("Grade: 4.5", None, 0.0),
        ("Grade: 6", None, 0.0),
        ("very good", None, 0.0),
        (Reply("Grade: 5", finish="failed"), None, 0.0),
    ],
)
def test_grades_from_1_to_5_become_0_to_1(reply, grade, score):
    (found,) = judge_by_rubric(Judge(lambda _: reply), ROWS[:1], answers("x"))
    assert (found["verdict"], found["score"]) == (grade, score)


def test_an_answer_that_does_not_parse_is_not_paid_for():
    judge = Judge(lambda _: "Grade: 5")
    found = judge_by_rubric(judge, ROWS, [Prediction("x", 1.0, parsed=False), Prediction("y", 1.0)])
    assert [one["score"] for one in found] == [0.0, 1.0] and len(judge.seen) == 1
    one = registry.get("metric", "rubric")(model=judge)
    assert one.score_examples(ROWS, [Prediction("x", 1.0, parsed=False), Prediction("y", 1.0)]) == [0.0, 1.0]


@pytest.mark.parametrize("seed", range(3))
def test_agreement_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    ours, people = rng.choice(["a", "b", "tie"], 40), rng.choice(["a", "b", "tie"], 40)
    verdicts = [{"id": str(at), "verdict": str(one)} for at, one in enumerate(ours)]
    found = agreement(
        [*verdicts, {"id": "unjudged", "verdict": "a"}], {str(at): str(one) for at, one in enumerate(people)}
    )
    assert found["n"] == 40 and found["agreement"] == pytest.approx(float(np.mean(ours == people)))
    assert found["kappa"] == pytest.approx(cohen_kappa_score(ours, people))


def test_agreement_needs_rows_judged_by_both_and_is_no_better_than_chance_on_one_verdict():
    assert agreement([{"id": "x", "verdict": "a"}], {"x": "a"}) == {"n": 1, "agreement": 1.0, "kappa": 0.0}
    with pytest.raises(DataError, match="both"):
        agreement([{"id": "x", "verdict": "a"}], {"y": "a"})


@dataclass
class Known:
    """An embedder with a table of vectors; it counts its calls."""

    table: dict[str, Any]
    name: str = "known"
    calls: int = 0

    def embed(self, texts):
        self.calls += 1
        return np.array([self.table[text] for text in texts], dtype=np.float32)


def test_similarity_is_the_cosine_to_the_nearest_right_answer_in_one_call():
    embedder = Known({"up": [1, 0], "rather up": [0.8, 0.6], "right": [0, 1], "down": [-1, 0]})
    one = registry.get("metric", "embedding_similarity")(embedder=embedder)
    rows = [
        Example("a", {}, "right", references=("up",)),
        Example("b", {}, "up"),
        Example("c", {}, "up"),
        Example("d", {}, ""),
    ]
    said = answers("rather up", "down", "", "")
    assert one.score_examples(rows, said) == pytest.approx([0.8, 0.0, 0.0, 1.0])
    assert embedder.calls == 1
    assert [one.score_example(row, answer) for row, answer in zip(rows, said)] == pytest.approx([0.8, 0.0, 0.0, 1.0])
    assert one.score_example(rows[1], Prediction("up", 1.0, parsed=False)) == 0.0


@pytest.mark.parametrize("name", ["embedding_similarity", "rubric"])
def test_what_a_metric_needs_and_was_not_given_is_said(name):
    with pytest.raises(UsageError, match=name):
        registry.get("metric", name)().score_example(ROWS[0], Prediction("something else", 1.0))

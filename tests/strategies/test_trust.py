"""Confidence: as often right as it says, never less with more evidence, and 'I do not know' below a threshold."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from types import SimpleNamespace

import pytest

from whichway.core.model import Reply
from whichway.core.output import Labels
from whichway.core.task import Example, Field, Prediction, Task
from whichway.core.text import Text
from whichway.registry import get
from whichway.strategies.parts.prompted import draft_prompt, fitted_prompt, load_prompt
from whichway.strategies.parts.prompting import PromptFormat
from whichway.strategies.parts.trust import Trust, fit_odds, fit_trust, rows_to_check, trust_from

WRITTEN = Task("t", "Answer.", (Field("q"),), Text(), get("metric", "exact_match")())
SORTED = Task("t", "Sort.", (Field("q"),), Labels(("spam", "ham")), get("metric", "accuracy")())


def asked(n: int, seed: int, unknown: float = 0.0):
    """Return rows, answers and evidence: the more of it, the likelier right; `unknown` rows have no answer, and little of it."""
    rng, rows, answers, evidence = random.Random(seed), [], [], []
    for i in range(n):
        is_unknown = rng.random() < unknown
        said = rng.gauss(-3.0 if is_unknown else -1.0, 0.7)
        is_right = not is_unknown and rng.random() < 1 / (1 + math.exp(-(3.0 + 2.0 * said)))
        rows.append(Example(str(i), {"q": "?"}, "" if is_unknown else "yes"))
        answers.append(Prediction("yes" if is_right or is_unknown else "no", 0.5))
        evidence.append(said)
    return rows, answers, evidence


def error_of(confidence, right) -> float:
    """Return how far confidences are from the share of right ones, in four bins of equal size."""
    pairs = sorted(zip(confidence, right, strict=True), key=lambda one: one[0])
    size = len(pairs) // 4
    bins = [pairs[at : at + size] for at in range(0, 4 * size, size)]
    return sum(abs(sum(c for c, _ in one) - sum(r for _, r in one)) for one in bins) / (4 * size)


def test_confidences_in_texts_are_kept_on_other_rows_and_grow_with_evidence():
    trust = fit_trust(WRITTEN, *asked(64, 0))
    rows, answers, evidence = asked(2000, 1)
    told = trust.apply(answers, evidence)
    assert (
        error_of([one.confidence for one in told], [a.value == r.target for a, r in zip(told, rows, strict=True)])
        < 0.08
    )
    levels = [trust.of(x / 10) for x in range(-60, 10)]
    assert levels == sorted(levels) and levels[0] < 0.1 < 0.9 < levels[-1]


def test_more_evidence_never_means_less_trust_even_where_rows_say_so():
    rows, answers, evidence = asked(48, 0)
    turned = fit_trust(WRITTEN, rows, answers, [-one for one in evidence])
    assert turned.slope == 0.0 and turned.of(-3.0) == turned.of(3.0)


def test_an_answer_below_the_threshold_becomes_i_do_not_know():
    trust = fit_trust(WRITTEN, *asked(64, 2, unknown=0.3))
    rows, answers, evidence = asked(1000, 3, unknown=0.3)
    told = trust.apply(answers, evidence)
    silent = [row.target == "" for row, one in zip(rows, told, strict=True) if one.value == ""]
    assert trust.threshold > 0 and sum(silent) > 0.7 * len(silent), "mostly where there is no answer"
    assert sum(silent) > 0.6 * sum(row.target == "" for row in rows), "and of those, most"
    before = sum(a.value == r.target for a, r in zip(answers, rows, strict=True))
    assert sum(a.value == r.target for a, r in zip(told, rows, strict=True)) > before + 100
    assert fit_trust(WRITTEN, *asked(64, 2)).threshold == 0.0, "no row is without an answer"


def test_rows_without_an_answer_are_among_those_that_trust_is_learned_from():
    held = 0
    for seed in range(40):
        rows = asked(100, seed, unknown=0.12)[0]
        for most in (12, 24):
            some = rows_to_check(WRITTEN, rows, most, 2 * most)
            share = sum(row.target == "" for row in some) / len(some)
            assert len(some) == 2 * most and sum(row.target == "" for row in some) >= 3
            assert share <= max(3 / len(some), sum(row.target == "" for row in rows) / 100 + 0.5 / len(some))
        held += sum(row.target == "" for row in rows[:24]) >= 3
    assert held < 40, "by chance alone there are often too few"
    assert rows_to_check(WRITTEN, asked(100, 0)[0], 12, 24) == asked(100, 0)[0][:12]
    assert rows_to_check(SORTED, rows_of(50), 12, 24) == rows_of(50)[:12]


def test_a_prompt_of_a_task_with_rows_without_an_answer_says_that_it_does_not_know():
    rows, answers, evidence = asked(100, 7, unknown=0.12)
    told = dict(zip((row.id for row in rows), zip(answers, evidence, strict=True), strict=True))

    class Writing:
        name, is_local = "writing", False

        def generate(self, requests):
            known = [told[one.messages[-1][1].split()[-1]] for one in requests]
            return [Reply(answer.value, top_logprobs=({answer.value: said},)) for answer, said in known]

    rows = [replace(row, inputs={"q": f"row {row.id}"}) for row in rows]
    draft = draft_prompt(WRITTEN, Writing(), PromptFormat(), (), 0, rows)
    assert fitted_prompt(draft, rows).reader.trust.threshold > 0


def test_an_answer_that_was_not_parsed_stays_one():
    lost = Prediction("", 0.4, None, parsed=False)
    assert Trust(threshold=0.9).apply([lost], [1.0]) == [replace(lost, confidence=0.0)]


def test_trust_is_saved_and_loaded():
    trust = fit_trust(WRITTEN, *asked(64, 2, unknown=0.3))
    assert trust_from(json.loads(json.dumps(trust.as_json()))) == trust
    assert trust_from(0.7) == Trust(slope=1.0, plain=0.7), "of an earlier version: as sure as the model says, or 0.7"


class Boasting:
    """A model whose tokens always look nearly certain; it is right the more often the nearer they are to that."""

    name, is_local = "boasting", False

    def __init__(self, tells: bool = True) -> None:
        self.tells = tells

    def generate(self, requests):
        found = []
        for one in requests:
            i = int(one.messages[-1][1].split()[-1])
            top = ({"spam": -0.02 * (1 + i % 3)},) if self.tells else ()
            found.append(Reply("spam", top_logprobs=top))
        return found


def rows_of(n: int, start: int = 0) -> list[Example]:
    """Return rows of which 90, 60 and 30 of 100 are spam, by their number."""
    rng = random.Random(start)
    shares = (0.9, 0.6, 0.3)
    return [
        Example(str(i), {"q": f"row {i}"}, "spam" if rng.random() < shares[i % 3] else "ham")
        for i in range(start, start + n)
    ]


def prompt_of(model, rows):
    draft = draft_prompt(SORTED, model, PromptFormat(), (), 0, ())
    return fitted_prompt(draft, rows)


def test_labels_behind_an_endpoint_are_as_sure_as_they_are_right(monkeypatch, tmp_path):
    monkeypatch.setattr("whichway.strategies.parts.prompted.CHECKED_PAID", 90)
    model, fresh = Boasting(), rows_of(900, start=1000)
    solution = prompt_of(model, rows_of(90))
    told = solution.predict([row.inputs for row in fresh])
    assert (
        error_of([one.confidence for one in told], [a.value == r.target for a, r in zip(told, fresh, strict=True)])
        < 0.1
    )
    by_evidence = [told[2 + i].confidence for i in range(3)]  # rows 1002 to 1004: the more evidence, the surer
    assert by_evidence == sorted(by_evidence, reverse=True) and len(set(by_evidence)) == 3
    solution.save(tmp_path)
    again = load_prompt(SORTED, tmp_path, model, SimpleNamespace(embedder=None))
    assert again.predict([row.inputs for row in fresh]) == told


def test_few_rows_that_are_all_right_make_no_answer_certain_and_keep_the_order():
    right = [Example(str(i), {"q": f"row {i}"}, "spam") for i in range(1, 13)]
    told = prompt_of(Boasting(), right).predict([{"q": "row 1"}, {"q": "row 2"}, {"q": "row 3"}])
    levels = [one.confidence for one in told]
    assert all(0.8 < one < 0.99 for one in levels) and levels[2] > levels[0] > levels[1]


def test_without_log_probabilities_all_labels_are_as_sure_as_the_rows_say():
    rows = rows_of(12)
    told = prompt_of(Boasting(tells=False), rows).predict([row.inputs for row in rows_of(3, 20)])
    right = sum(row.target == "spam" for row in rows)
    assert {one.confidence for one in told} == {round((right + 1) / 14, 4)}


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_log_odds_that_tell_the_truth_stay_nearly_what_they_are(share):
    rng = random.Random(1)
    odds = [rng.gauss(math.log(share / (1 - share)), 1.5) for _ in range(2000)]
    trust = fit_odds([rng.random() < 1 / (1 + math.exp(-one)) for one in odds], odds)
    assert abs(trust.base) < 0.25 and abs(trust.slope - 1) < 0.15

"""Further drafts of a text with a fault: which rows get them, which draft is taken, what is kept of it."""

from __future__ import annotations

import random
from types import SimpleNamespace

from whichway.core.model import Reply, Request, Spend
from whichway.core.rules import Rules
from whichway.core.task import Example, Field, Task
from whichway.core.text import Text
from whichway.strategies.parts.drafts import HEAT, Drafts, fit_drafts, load_drafts

SAID = {"food": {"thai": "cooks thai", "greek": "cooks greek"}, "price": {"low": "cheap", "high": "costly"}}


def task(**rules) -> Task:
    fields = tuple(Field(name) for name in ("name", *SAID))
    return Task("t", "Describe.", fields, Text(Rules(**rules)), SimpleNamespace(name="chrf"))


def rows(count: int = 120) -> list[Example]:
    rng, found = random.Random(3), []
    for at in range(count):
        given = {"name": rng.choice(["Fig", "Oak", "Elm"])} | {
            key: rng.choice(sorted(one)) for key, one in SAID.items()
        }
        text = f"{given['name']} {SAID['food'][given['food']]} and is {SAID['price'][given['price']]}."
        found.append(Example(str(at), given, text))
    return found


def reply(text: str, sure: float = -1.0, finish: str = "stop") -> Reply:
    return Reply(text, Spend(tokens_out=1), finish, mean_logprob=sure)


ASKED = Request((("user", "x"),), max_tokens=9)
ROW = {"name": "Fig", "food": "thai", "price": "low"}
GOOD, BAD = "Fig cooks thai and is cheap.", "Fig cooks greek and is cheap."


def test_only_a_text_with_a_fault_is_written_again_and_the_likeliest_right_draft_is_taken():
    drafts, sent = fit_drafts(task(), 3, rows()), []

    def generate(requests):
        sent.append(len(requests))
        assert {one.temperature for one in requests} == {HEAT}
        return [reply(BAD, -0.1), reply(GOOD + " Yes.", -0.9), reply(GOOD, -0.2)][-len(requests) :]

    first = [reply(GOOD), reply(BAD)]
    best = drafts.improve([ROW, ROW], [ASKED, ASKED], first, generate)
    assert best[0] is first[0] and best[1].text == GOOD
    assert sent == [2] and best[1].spend.tokens_out == 3, "what all drafts cost is told"


def test_what_two_drafts_do_not_mend_is_written_more_often():
    drafts, sent = fit_drafts(task(), 5, rows()), []

    def generate(requests):
        sent.append(len(requests))
        return [reply(BAD)] * 2 if len(sent) == 1 else [reply(BAD), reply(GOOD), reply(BAD)]

    (best,) = drafts.improve([ROW], [ASKED], [reply(BAD)], generate)
    assert sent == [2, 3] and best.text == GOOD and best.spend.tokens_out == 6


def test_a_text_that_was_cut_off_is_worse_than_any_other_and_the_first_stays_where_none_is_better():
    drafts = fit_drafts(task(), 2, rows())
    (best,) = drafts.improve([ROW], [ASKED], [reply(GOOD, 0.0, "length")], lambda _: [reply(BAD), reply(BAD, -0.5)])
    assert best.text == BAD
    (best,) = drafts.improve([ROW], [ASKED], [reply(BAD, -0.1)], lambda _: [reply(BAD, -1.0), reply("", 0.0)])
    assert best.mean_logprob == -0.1


def test_not_knowing_is_no_fault_and_is_not_written_over():
    drafts = fit_drafts(task(min_words=5), 2, rows())
    said = reply("I do not know.")
    assert drafts.improve([ROW], [ASKED], [said], lambda _: [reply(GOOD)] * 2) == [said]
    assert drafts.faults(ROW, reply("  ")) == 1_000


def test_house_rules_count_as_faults_too():
    drafts = fit_drafts(task(must_not_say=("cheap",)), 2, [])
    assert drafts.facts is None and drafts.faults(ROW, reply(GOOD)) == 1 and drafts.faults(ROW, reply("Fig.")) == 0


def test_attributes_that_people_do_not_state_are_not_asked_for():
    silent = [Example(one.id, {**one.inputs, "code": f"k{i % 7}"}, one.target) for i, one in enumerate(rows())]
    drafts = fit_drafts(task(), 2, silent)
    assert set(drafts.facts.fields) == {"name", "food", "price"}


def test_without_anything_to_check_there_are_no_drafts():
    questions = [Example(str(i), {"q": f"what is {i}"}, f"It is {i * 7}.") for i in range(60)]
    assert fit_drafts(task(), 4, questions) is None and fit_drafts(task(), 0, rows()) is None


def test_what_was_learned_is_kept(tmp_path):
    drafts = fit_drafts(task(), 5, rows())
    drafts.save(tmp_path)
    again = load_drafts(task(), tmp_path)
    assert isinstance(again, Drafts) and again.count == 5
    assert [again.faults(ROW, reply(one)) for one in (GOOD, BAD)] == [0, drafts.faults(ROW, reply(BAD))]
    assert drafts.faults(ROW, reply(BAD)) > 0

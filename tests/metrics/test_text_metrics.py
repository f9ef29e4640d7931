"""The text metrics against the rules of SQuAD 2.0 and the figures of rouge_score 0.1.2 and sacrebleu 2.6.0."""

from __future__ import annotations

import numpy as np
import pytest

from whichway import registry
from whichway.core.task import Example, Prediction

TEXT_METRICS = ("exact_match", "token_f1", "rouge_l", "chrf")


def score(name, said, *right, parsed=True, **settings):
    one = registry.get("metric", name)(**settings)
    row = Example("x", {}, right[0], references=tuple(right[1:]))
    return one.aggregate([one.score_example(row, Prediction(said, 1.0, parsed=parsed))])


@pytest.mark.parametrize(
    ("said", "right", "exact", "f1"),
    [
        ("Denver Broncos", ["The Denver Broncos!"], 1, 1),
        ("the Broncos of Denver", ["Denver Broncos"], 0, 0.8),
        ("won by the Broncos", ["Broncos", "the Denver Broncos"], 0, 0.5),
        ("24-10", ["2410"], 1, 1),
        ("Saint Bernadette Soubirous in 1858", ["Saint Bernadette Soubirous"], 0, 0.75),
        ("gold gold gold", ["gold, silver and gold"], 0, 4 / 7),
        ("nothing shared", ["Denver Broncos"], 0, 0),
        ("", [""], 1, 1),
        ("something", [""], 0, 0),
        ("", ["something"], 0, 0),
        ("the", ["an answer", "the"], 0, 0),
    ],
)
def test_exact_match_and_token_f1_keep_the_rules_of_squad(said, right, exact, f1):
    assert score("exact_match", said, *right) == exact
    assert score("token_f1", said, *right) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("right", "said", "wanted"),
    [
        ("The quick brown fox jumps over the lazy dog", "The quick brown dog jumps on the log.", 0.5882352941176471),
        ("testing one two", "testing", 0.5),
        ("police killed the gunman", "police kill the gunman", 0.75),
        ("the gunman kill police", "police killed the gunman", 0.5),
        ("Café Zürich is open 24/7.", "Cafe Zurich is open 24 hours", 0.4615384615384615),
        ("a_b under_score", "a b under score", 1.0),
        ("w1 w2 w3 w4 w5", "w1 w3 w8 w9 w5 w1 w2", 0.5),
        ("", "x", 0.0),
    ],
)
def test_rouge_l_is_that_of_google(right, said, wanted):
    assert score("rouge_l", said, right) == pytest.approx(wanted)


def test_rouge_l_takes_the_best_reference():
    right = ["police killed the gunman", "the gunman was shot down by police"]
    assert score("rouge_l", "the gunman was killed by police", *right) == pytest.approx(0.7692307692307692)


def test_rouge_l_reads_other_scripts_when_asked():
    assert score("rouge_l", "пример ответа", "пример другого ответа") == 0.0
    assert score("rouge_l", "пример ответа", "пример другого ответа", unicode=True) == pytest.approx(0.8)
    assert score("rouge_l", "пример", "пример") == 1.0


def brute_force(one, other):
    if not one or not other:
        return 0
    if one[0] == other[0]:
        return 1 + brute_force(one[1:], other[1:])
    return max(brute_force(one[1:], other), brute_force(one, other[1:]))


@pytest.mark.parametrize("seed", range(5))
def test_rouge_l_finds_the_longest_common_subsequence(seed):
    rng = np.random.default_rng(seed)
    for _ in range(20):
        one, other = ([str(x) for x in rng.integers(0, 4, rng.integers(1, 9))] for _ in range(2))
        wanted = 2 * brute_force(one, other) / (len(one) + len(other))
        assert score("rouge_l", " ".join(one), " ".join(other)) == pytest.approx(wanted)


SAID = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
RIGHT = [
    ["The dog bit the man.", "It was not unexpected.", "The man bit him first."],
    ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."],
]


def chrf_scores():
    one = registry.get("metric", "chrf")()
    rows = [Example(str(at), {}, first, references=(second,)) for at, (first, second) in enumerate(zip(*RIGHT))]
    return one, [one.score_example(row, Prediction(said, 1.0)) for row, said in zip(rows, SAID)]


def test_chrf_of_all_rows_is_that_of_sacrebleu_and_so_is_that_of_a_resample():
    one, scores = chrf_scores()
    assert one.aggregate(scores) == pytest.approx(0.5972751782684763)  # as documented in sacrebleu's README: 59.73
    assert one.resample(scores, np.array([[0, 2, 2], [1, 1, 1]])) == pytest.approx(
        [0.6399739193512465, 0.3534635301425291]
    )


@pytest.mark.parametrize(
    ("said", "right", "wanted"),
    [
        ("ab", "abcdefgh", 0.23404255319148938),
        ("Niemand hat die Absicht", "Keiner hat die Absicht, eine Mauer", 0.4469015053704869),
        ("abcdefgh", "ab", 0.55),
        ("abc", "xyz", 0.0),
        ("", "abc", 0.0),
    ],
)
def test_chrf_of_one_row_is_that_of_sacrebleu(said, right, wanted):
    assert score("chrf", said, right) == pytest.approx(wanted)


def test_chrf_leaves_out_runs_longer_than_the_right_answer_as_sacrebleu_does():
    one = registry.get("metric", "chrf")()
    pairs = [("abcdefgh", "ab"), ("The dog bit", "The dog bit him")]
    scores = [one.score_example(Example("x", {}, right), Prediction(said, 1.0)) for said, right in pairs]
    assert one.aggregate(scores) == pytest.approx(0.7144024214476396)


def test_chrf_counts_an_answer_that_should_not_have_been_given():
    one = registry.get("metric", "chrf")()
    rows = [Example("a", {}, ""), Example("b", {}, "a right answer")]
    silent = [Prediction("", 1.0), Prediction("a right answer", 1.0)]
    talking = [Prediction("an answer", 1.0), Prediction("a right answer", 1.0)]
    scores = [one.aggregate([one.score_example(*pair) for pair in zip(rows, said)]) for said in (silent, talking)]
    assert scores[0] == 1.0 > scores[1] > 0.5


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_saying_nothing_is_right_where_there_is_nothing_to_say_and_only_there(name):
    assert score(name, "", "") == 1.0
    assert score(name, "", "an answer") == 0.0
    assert score(name, "an answer", "") == 0.0
    assert score(name, "", "", parsed=False) == 0.0
    assert score(name, "an answer", "an answer", parsed=False) == 0.0


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_the_nearest_of_several_right_answers_counts(name):
    assert score(name, "next week", "tomorrow at noon", "next week") == 1.0
    assert score(name, "next week", "tomorrow at noon") < 1.0

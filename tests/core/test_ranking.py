"""Hit at k, reciprocal rank and nDCG against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from whichway.core.ranking import hit_at, ndcg, reciprocal_rank


def test_a_hit_is_a_gold_document_among_the_first_k():
    assert hit_at(["c"], ["a", "b", "c"], 3) == 1.0
    assert hit_at(["c"], ["a", "b", "c"], 2) == 0.0
    assert hit_at({"c", "a"}, ["a", "b"], 1) == 1.0
    assert hit_at(["c"], [], 5) == 0.0


def test_a_document_found_by_several_passages_counts_once_at_its_best_rank():
    ranked = ["a", "a", "a", "b", "a", "c"]
    assert hit_at(["b"], ranked, 2) == 1.0
    assert reciprocal_rank(["c"], ranked) == pytest.approx(1 / 3)
    assert ndcg(["a"], ["a", "a", "a"], 3) == 1.0


def test_the_reciprocal_rank_is_that_of_the_first_gold_document():
    assert reciprocal_rank(["b", "d"], ["a", "b", "c", "d"]) == 0.5
    assert reciprocal_rank(["z"], ["a", "b"]) == 0.0
    assert reciprocal_rank(["z"], []) == 0.0


def test_ndcg_is_the_discounted_gain_over_the_best_one_possible():
    best = 1 + 1 / math.log2(3)
    assert ndcg(["a", "c"], ["a", "b", "c"], 3) == pytest.approx((1 + 1 / math.log2(4)) / best)
    assert ndcg(["a", "c"], ["c", "a"], 2) == 1.0
    assert ndcg(["a", "b", "c"], ["a"], 1) == 1.0  # no more than k can be among the first k
    assert ndcg(["a"], ["b", "a"], 1) == 0.0


def test_a_question_without_gold_has_no_rank():
    for asked in (lambda: hit_at([], ["a"], 1), lambda: reciprocal_rank([], ["a"]), lambda: ndcg([], ["a"], 1)):
        with pytest.raises(ValueError, match="without gold"):
            asked()
    with pytest.raises(ValueError, match="counts from 1"):
        hit_at(["a"], ["a"], 0)

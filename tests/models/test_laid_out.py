"""Weights laid out for the processor's products: the same results, the same answers, and plain ones where it cannot be done."""

from __future__ import annotations

import gc

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from whichway.models import head, laid_out  # noqa: E402
from whichway.models.attention import install, step_mask  # noqa: E402
from whichway.models.precise import sample_ids  # noqa: E402
from whichway.models.shelf import SHELF, Shelf  # noqa: E402


def small(kind=torch.bfloat16):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=512,
        hidden_size=96,
        intermediate_size=160,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
    )
    return transformers.LlamaForCausalLM(config).to(kind).eval()


def states(network):
    with torch.inference_mode():
        return network.model(input_ids=sample_ids(network), use_cache=False).last_hidden_state


def test_a_network_computes_the_same_and_gives_its_plain_weights_up():
    network = small()
    if not laid_out.can_lay_out(network.lm_head.weight):
        pytest.skip("this processor or this torch lays out no bf16 weights")
    before, bytes_before = states(network), sum(one.numel() for one in network.model.layers.parameters())
    assert laid_out.lay_out(network)
    assert torch.allclose(states(network).float(), before.float(), atol=0.02)
    assert sum(one.numel() for one in network.model.layers.parameters()) < 0.1 * bytes_before
    assert network.dtype == torch.bfloat16


def test_fp32_networks_stay_as_they_are():
    network = small(torch.float32)
    before = states(network)
    assert not laid_out.lay_out(network) and torch.equal(states(network), before)


def test_without_the_kernel_weights_stay_plain(monkeypatch):
    network = small()
    before = states(network)

    def missing(*_):
        raise AttributeError("no such kernel")

    monkeypatch.setattr(laid_out, "laid_out", missing)
    assert not laid_out.lay_out(network) and torch.equal(states(network), before)


def test_a_kernel_that_computes_something_else_is_not_used(monkeypatch):
    network = small()
    monkeypatch.setattr(laid_out, "times", lambda rows, weight, bias=None: rows.new_zeros(*rows.shape[:-1], 64))
    assert not laid_out.lay_out(network)


def test_the_likeliest_tokens_have_exact_logits_in_writing():
    network = small()
    hidden = torch.randn(40, 96).bfloat16().float() * 3
    exact, written = head.next_token_logits(network, hidden), head.written_logits(network, hidden)
    assert torch.equal(exact.argmax(-1), written.argmax(-1))
    assert torch.allclose(exact.max(-1).values, written.max(-1).values, atol=2e-3)
    assert torch.allclose(exact.logsumexp(-1), written.logsumexp(-1), atol=0.02)


def test_a_head_with_more_to_it_than_a_product_is_left_exact():
    network = small()
    network.config.logits_scaling = 2.0
    hidden = torch.randn(4, 96).bfloat16().float()
    assert torch.equal(head.written_logits(network, hidden), head.next_token_logits(network, hidden))


def test_the_fp32_copy_of_a_head_counts_against_the_bound_for_all_that_is_kept(monkeypatch):
    network, hidden = small(), torch.randn(4, 96).bfloat16().float()
    weight = network.get_output_embeddings().weight
    roomy, tight = Shelf(4 * weight.numel()), Shelf(4 * weight.numel() - 1)
    monkeypatch.setattr(head, "WORDS", 100)
    monkeypatch.setattr(head, "SHELF", tight)
    in_parts = head.next_token_logits(network, hidden)
    assert tight.bytes == 0
    monkeypatch.setattr(head, "SHELF", roomy)
    whole = head.next_token_logits(network, hidden)
    copy = next(head._wide(network.get_output_embeddings()))
    assert next(head._wide(network.get_output_embeddings())) is copy and roomy.bytes == 4 * weight.numel()
    assert torch.allclose(whole, in_parts, atol=1e-5) and torch.equal(whole.argmax(-1), in_parts.argmax(-1))


def test_the_copy_of_a_head_goes_with_its_network():
    network, before = small(), SHELF.bytes
    head.next_token_logits(network, torch.randn(4, 96))
    assert SHELF.bytes > before
    del network
    gc.collect()
    assert SHELF.bytes == before


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("prefix", [0, 5, 600])
@pytest.mark.parametrize("count", [1, 3])
def test_one_new_token_per_row_attends_as_plain_attention_does(kind, prefix, count):
    """Rows of 7 and 4 tokens, the second padded at its left, behind a prefix, against each row read whole without a cache."""
    network = small(kind)
    network.config.max_position_embeddings = 2048
    plain = small(kind)
    assert install(network)
    from whichway.models.decoding import Ask, write
    from whichway.models.prefixes import PrefixStore

    generator = torch.Generator().manual_seed(1)
    start = torch.randint(100, 500, (prefix,), generator=generator).tolist()
    rows = [torch.randint(100, 500, (size,), generator=generator).tolist() for size in (7, 4, 5)][:count]
    asks = [Ask((*start, *row), 4) for row in rows]
    found = write(network, PrefixStore(network), asks, frozenset(), start)
    for ask, one in zip(asks, found, strict=True):
        with torch.inference_mode():
            ids = torch.tensor([[*ask.tokens, *one.tokens]])
            logits = plain(ids).logits[0, len(ask.tokens) - 1 : -1].float().log_softmax(-1)
        likelihood = sum(float(logits[i, token]) for i, token in enumerate(one.tokens))
        assert one.likelihood == pytest.approx(likelihood, abs=1e-3 if kind == torch.float32 else 0.05)


def test_the_mask_of_a_step_hides_padding_alone():
    network = small()
    real = torch.tensor([[True, True], [False, True]])[:, None, None]
    mask = step_mask(network, real)
    assert mask.dtype == torch.bfloat16 and torch.equal(mask == 0, real) and mask[1, 0, 0, 0] == float("-inf")


def test_drafts_of_many_rows_are_one_batch_and_say_what_rows_written_alone_say(monkeypatch):
    from whichway.models import decoding
    from whichway.models.prefixes import PrefixStore

    network, generator = small(torch.float32), torch.Generator().manual_seed(2)
    assert install(network)
    start, *rows = (torch.randint(100, 500, (size,), generator=generator).tolist() for size in (30, 60, 64, 70))
    asks = [decoding.Ask((*start, *row), 5) for row in rows for _ in range(2)]
    batches = []

    class Counted(decoding._Batch):
        def run(self, generator):
            batches.append(len(self.asks))
            return super().run(generator)

    monkeypatch.setattr(decoding, "_Batch", Counted)
    together = decoding.write(network, PrefixStore(network), asks, frozenset())
    assert batches == [6]
    alone = [decoding.write(network, PrefixStore(network), [ask], frozenset())[0] for ask in asks]
    assert [one.tokens for one in together] == [one.tokens for one in alone]

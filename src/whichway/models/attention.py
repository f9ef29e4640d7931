"""Attention over a prompt prefix that all rows share: its keys and values are read in place, never copied per row."""

# Each query attends to the shared prefix and to its own row separately; the two results are joined by their
# log-sum-exps, as in Hydragen (Juravsky et al. 2024). All rows' queries of one key head are laid end to end, so that
# the prefix is one matrix product. It hooks into transformers as an attention function of its own.

from __future__ import annotations

from typing import Any

NAME = "whichway_shared_prefix"


def install(network: Any) -> bool:
    """Let a network attend through this file; False when it would not compute the same (then nothing is changed)."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    before = network.config._attn_implementation
    try:
        network.set_attn_implementation(NAME)
        if _agrees(network):
            return True
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
        pass
    network.set_attn_implementation(before)
    return False


def attend(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float | None = None, **more: Any
) -> tuple[Any, None]:
    """Attend like sdpa; with `shared_prefix` (per layer: keys and values [1, heads, tokens, width]) also to that.

    query [rows, heads, tokens, width]; returns [rows, tokens, heads, width]. `attention_mask` is boolean.
    """
    import torch

    prefix = more.pop("shared_prefix", None)
    if prefix is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **more)  # type: ignore[no-any-return]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    keys, values = prefix[module.layer_idx]
    rows, heads, tokens, width = query.shape
    shared, groups = keys.shape[1], heads // keys.shape[1]
    folded = query.view(rows, shared, groups, tokens, width).permute(1, 0, 2, 3, 4).reshape(1, shared, -1, width)
    there, there_sum = _weighted(folded, keys, values, None, scale)
    there = there.view(shared, rows, groups, tokens, width).permute(1, 0, 2, 3, 4).reshape(query.shape)
    there_sum = there_sum.view(shared, rows, groups, tokens).permute(1, 0, 2, 3).reshape(rows, heads, tokens)
    own_keys, own_values = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    here, here_sum = _weighted(query, own_keys, own_values, attention_mask, scale)
    share = (there_sum - here_sum).sigmoid()[..., None]
    joined = torch.lerp(here.float(), there.float(), share).to(query.dtype)
    return joined.transpose(1, 2).contiguous(), None


def prefix_states(network: Any, tokens: tuple[int, ...]) -> list[tuple[Any, Any]]:
    """Return keys and values [1, heads, tokens, width] per layer of a prefix, read once."""
    import torch
    from transformers import DynamicCache

    cache = DynamicCache()
    network.model(input_ids=torch.tensor([tokens], device=network.device), past_key_values=cache, use_cache=True)
    return [(layer.keys, layer.values) for layer in cache.layers]


def _weighted(query: Any, keys: Any, values: Any, mask: Any, scale: float) -> tuple[Any, Any]:
    """Return attention's result and the log-sum-exp of its scores [rows, heads, tokens], both over these keys alone."""
    import torch

    if query.device.type == "cpu":
        bias = None
        if mask is not None:
            bias = torch.zeros(mask.shape, dtype=query.dtype).masked_fill_(~mask, float("-inf"))
        fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        found, total = fused(query, keys, values, 0.0, False, attn_mask=bias, scale=scale)
        return found, total
    scores = torch.matmul(query.float(), keys.float().transpose(-1, -2)) * scale
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    total = torch.logsumexp(scores, dim=-1)
    return torch.matmul((scores - total[..., None]).exp().to(values.dtype), values), total


def _agrees(network: Any) -> bool:
    """Compare one short text read whole with the same text read behind a shared prefix."""
    import torch

    ids = torch.arange(3, 27, device=network.device)[None] % network.config.vocab_size
    with torch.inference_mode():
        whole = network.model(input_ids=ids, use_cache=False).last_hidden_state[0, -1].float()
        past = prefix_states(network, tuple(ids[0, :16].tolist()))
        own = torch.ones(8, 8, dtype=torch.bool, device=network.device).tril()[None, None]
        places = torch.arange(16, 24, device=network.device)[None]
        split = (
            network.model(
                input_ids=ids[:, 16:], attention_mask=own, position_ids=places, use_cache=False, shared_prefix=past
            )
            .last_hidden_state[0, -1]
            .float()
        )
    return bool(torch.nn.functional.cosine_similarity(whole, split, dim=0) > 0.995)

"""Attention over a prompt prefix that all rows share: its keys and values are read in place, never copied per row."""

# Each query attends to the shared prefix and to its own row separately; the two results are joined by their
# log-sum-exps, as in Hydragen (Juravsky et al. 2024). All rows' queries of one key head are laid end to end, so that
# the prefix is one matrix product. It hooks into transformers as an attention function of its own.

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whichway.models import anatomy, hardware
from whichway.models.end_to_end import Block, Rows, laid
from whichway.models.precise import agree, sample_ids, widen
from whichway.models.trie import build_trie

NAME = "whichway_shared_prefix"
SHORT_PREFIX = 512  # tokens up to which one kernel reads the prefix faster than products do, with several rows
FOREIGN = ("s_aux", "softcap", "position_bias")  # what some networks' own attention does beside masks and scores
SCORES = (1 << 20, 1 << 28)  # attention scores held at once: 4 MB, about a core's cache; on a GPU 1 GB


def install(network: Any) -> bool:
    """Let a network attend through this file; False when it would not compute the same (then nothing is changed)."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    before = network.config._attn_implementation
    try:
        whole = _read_whole(network)  # by the attention that the network came with
        network.set_attn_implementation(NAME)
        if _agrees(network, whole):
            widen(network)
            return True
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        pass
    network.set_attn_implementation(before)
    return False


def attend(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float | None = None, **more: Any
) -> tuple[Any, None]:
    """Attend like sdpa; with `shared_prefix` (per layer: keys and values [1, heads, tokens, width]) also to that.
    In writing, a layer's prefix has a third place, None at first, that keeps the keys as products read them. With
    `rows_apart` (Rows of end_to_end.py) the batch is one sequence of rows, each of which sees itself and the prefix.

    query [rows, heads, tokens, width]; returns [rows, tokens, heads, width]. `attention_mask` is boolean.
    """
    import torch

    refuse_foreign(module, more)
    kind = next(module.parameters()).dtype
    query, key, value = query.to(kind), key.to(kind), value.to(kind)
    prefix = more.pop("shared_prefix", None)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if (rows_apart := more.pop("rows_apart", None)) is not None:
        key, value = key[0], value[0]
        if rows_apart.kept is not None:
            key, value = rows_apart.kept.grown(module.layer_idx, key, value)
        return _apart(query[0], key, value, scale, prefix and prefix[module.layer_idx], rows_apart), None
    if query.shape[2] == 1 and attention_mask is not None and attention_mask.is_floating_point():
        return _written(query, key, value, attention_mask, scale, prefix[module.layer_idx] if prefix else None), None
    if prefix is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **more)  # type: ignore[no-any-return]
    keys, values = prefix[module.layer_idx][:2]
    rows, heads, tokens, width = query.shape
    shared, groups = keys.shape[1], heads // keys.shape[1]
    grouped = query.reshape(rows, shared, groups * tokens, width)
    folded = grouped.transpose(0, 1).reshape(shared, -1, width)
    there, there_sum = _weighted(folded, _for_products(keys[0], scale), values[0], None)
    there = there.view(shared, rows, groups * tokens, width).transpose(0, 1)
    there_sum = there_sum.view(shared, rows, -1).transpose(0, 1)
    mask = attention_mask.expand(rows, 1, tokens, key.shape[2]).repeat(1, shared, groups, 1).flatten(0, 1)
    here, here_sum = _weighted(
        grouped.flatten(0, 1), _for_products(key.flatten(0, 1), scale), value.flatten(0, 1), ~mask
    )
    share = (there_sum - here_sum.view(rows, shared, -1)).sigmoid()[..., None]
    joined = torch.lerp(here.view(there.shape).float(), there.float(), share).to(query.dtype)
    return joined.view(query.shape).transpose(1, 2).contiguous(), None


def read_apart(network: Any, rows: Rows, past: Any) -> Any:
    """Return the last hidden states [tokens, width] of rows laid end to end behind a prefix, whose states may be None."""
    import torch

    # A mask of four dimensions is passed on as it is, and read by nobody: each block has its own.
    mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=network.device)
    read = {"position_ids": rows.positions, "attention_mask": mask, "shared_prefix": past, "rows_apart": rows}
    return anatomy.body(network)(input_ids=rows.ids, use_cache=False, **read).last_hidden_state[0]


def refuse_foreign(module: Any, more: Mapping[str, Any]) -> None:
    """Raise ValueError where a network asks its attention for what ours does not do."""
    if strange := [name for name in FOREIGN if more.get(name) is not None]:
        raise ValueError(f"{type(module).__name__} attends with {', '.join(strange)}, which this attention leaves out.")


def step_mask(network: Any, real: Any) -> Any:
    """Return the mask of one new token per row, from booleans [rows, 1, 1, tokens], as `attend` reads it fastest."""
    import torch

    if network.device.type != "cpu" or not hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu"):
        return real
    return torch.zeros(real.shape, dtype=network.dtype, device=real.device).masked_fill_(~real, float("-inf"))


def _written(query: Any, key: Any, value: Any, mask: Any, scale: float, prefix: Any) -> Any:
    """Attend with one new token per row: query heads of one key head take the place of tokens, and one kernel does the rest."""
    import torch

    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    rows, heads, _, width = query.shape
    shared = key.shape[1]
    grouped = query.view(rows, shared, heads // shared, width)
    here, here_sum = kernel(grouped, key, value, 0.0, False, attn_mask=mask, scale=scale)
    if prefix is None:
        return here.reshape(query.shape).transpose(1, 2)
    keys, values = prefix[:2]
    folded = grouped.transpose(0, 1).reshape(shared, -1, width)
    if rows == 1 or keys.shape[2] <= SHORT_PREFIX:
        there, there_sum = kernel(folded[None], keys, values, 0.0, False, scale=scale)
    else:
        if prefix[2] is None:
            prefix[2] = _for_products(keys[0], scale)
        there, there_sum = _weighted(folded, prefix[2], values[0], None)
    there = there.view(shared, rows, -1, width).transpose(0, 1)
    there_sum = there_sum.view(shared, rows, -1).transpose(0, 1)
    share = (there_sum - here_sum).sigmoid()[..., None]
    joined = torch.lerp(here.float(), there.float(), share).to(query.dtype)
    return joined.view(query.shape).transpose(1, 2)


def states_after(network: Any, states: list[tuple[Any, Any]], tokens: tuple[int, ...]) -> list[tuple[Any, Any]]:
    """Return keys and values [1, heads, tokens, width] per layer of tokens behind a prefix whose `states` may be empty."""
    import torch
    from transformers import DynamicCache

    cache, more = DynamicCache(), {}
    size, before = len(tokens), states[0][0].shape[2] if states else 0
    if states:
        own = torch.ones(size, size, dtype=torch.bool, device=network.device).tril()[None, None]
        places = torch.arange(before, before + size, device=network.device)[None]
        more = {"attention_mask": own, "position_ids": places, "shared_prefix": states}
    ids = torch.tensor([tokens], device=network.device)
    with torch.inference_mode():
        anatomy.body(network)(input_ids=ids, past_key_values=cache, use_cache=True, **more)
    return [(layer.keys.to(network.dtype), layer.values.to(network.dtype)) for layer in cache.layers]


def _for_products(keys: Any, scale: float) -> Any:
    """Return keys [n, k, width] scaled and turned, fp32 [n, width, k]."""
    return (keys.float() * scale).transpose(1, 2).contiguous()


def _apart(query: Any, key: Any, value: Any, scale: float, prefix: Any, rows: Rows) -> Any:
    """Attend within each row of a sequence and to what stands before all.

    query [heads, tokens, width]; key and value may hold those of sequences read before; returns [1, tokens, heads, width].
    """
    import torch

    own = [_within(block, query, key, value, scale) for block in rows.blocks]
    here, here_sum = (torch.cat(parts, 1).index_select(1, rows.places) for parts in zip(*own, strict=True))
    if prefix:
        keys, values = prefix[:2]
        folded = query.reshape(keys.shape[1], -1, query.shape[2])
        there, there_sum = _weighted(folded, _for_products(keys[0], scale), values[0], None)
        share = (there_sum.view(here_sum.shape) - here_sum).sigmoid()[..., None]
        here = torch.lerp(here.float(), there.view(here.shape).float(), share).to(query.dtype)
    return here.transpose(0, 1)[None].contiguous()


def _within(block: Block, query: Any, key: Any, value: Any, scale: float) -> tuple[Any, Any]:
    """Attend within a block; returns [heads, kept, width] and the log-sum-exps [heads, kept]."""
    shared, groups = key.shape[0], query.shape[0] // key.shape[0]
    (rows, asking), width = block.asks.shape, query.shape[2]
    queries = query.index_select(1, block.asks.flatten()).view(shared, groups, rows, asking, width).transpose(1, 2)
    keys, values = (one.index_select(1, block.sees.flatten()).view(shared * rows, -1, width) for one in (key, value))
    unseen = block.unseen.repeat(1, groups, 1)
    out, sums = _weighted(queries.reshape(shared * rows, -1, width), _for_products(keys, scale), values, unseen)
    out = out.view(shared, rows, groups, asking, width).transpose(1, 2).reshape(query.shape[0], -1, width)
    sums = sums.view(shared, rows, groups, asking).transpose(1, 2).reshape(query.shape[0], -1)
    if len(block.kept) == sums.shape[1]:
        return out, sums
    return out.index_select(1, block.kept), sums.index_select(1, block.kept)


def _weighted(query: Any, keys: Any, values: Any, unseen: Any) -> tuple[Any, Any]:
    """Return attention's result and the log-sum-exp of its scores over these keys alone.

    query [n, m, width], keys [n, width, k] of `_for_products`, values [n, k, width]; returns [n, m, width] and [n, m].
    `unseen` [n, m, k], or [r, m, k] that holds for r after r of them, tells which keys a query does not see; None: all seen.
    """
    import torch

    found, totals = torch.empty_like(query), query.new_empty(query.shape[:2], dtype=torch.float32)
    step = max(1, hardware.at_once(*SCORES) // (query.shape[0] * keys.shape[2]))
    with hardware.exact_products(query.dtype):
        for start in range(0, query.shape[1], step):
            part = slice(start, start + step)
            scores = torch.bmm(query[:, part].float(), keys)
            if unseen is not None:
                scores.unflatten(0, (-1, len(unseen))).masked_fill_(unseen[:, part], float("-inf"))
            shares = scores.softmax(-1)
            totals[:, part] = scores.amax(-1) - shares.amax(-1).log()
            found[:, part] = torch.bmm(shares.to(values.dtype), values)
    return found, totals


def _read_whole(network: Any) -> Any:
    """Return the last 8 hidden states [8, width] of one short text, read whole."""
    import torch

    with torch.inference_mode():
        ids = sample_ids(network)
        return anatomy.body(network)(input_ids=ids, use_cache=False).last_hidden_state[0, -8:]


def _agrees(network: Any, whole: Any) -> bool:
    """Compare one short text read whole with the same text read behind a shared prefix, by every layer.

    In a window shorter than that text nothing can be told by it, and little would be gained.
    """
    import torch

    ids = sample_ids(network)
    if anatomy.window(network) < ids.shape[1]:
        return False
    with torch.inference_mode():
        past = _Watched(states_after(network, [], tuple(ids[0, :16].tolist())))
        own = torch.ones(8, 8, dtype=torch.bool, device=network.device).tril()[None, None]
        places = torch.arange(16, 24, device=network.device)[None]
        split = anatomy.body(network)(
            input_ids=ids[:, 16:], attention_mask=own, position_ids=places, use_cache=False, shared_prefix=past
        ).last_hidden_state[0]
        if past.seen != set(range(anatomy.layers(network))) or not agree(split, whole, network.dtype):
            return False
        past.seen.clear()
        rows = laid([ids[0, 16:23].tolist(), ids[0, 16:].tolist()], build_trie([]), 16, network.device)
        last = read_apart(network, rows, past)[-8:]
    return past.seen == set(range(anatomy.layers(network))) and agree(last, whole, network.dtype)


class _Watched(list[tuple[Any, Any]]):
    """States per layer that know which layers have looked at them."""

    def __init__(self, states: list[tuple[Any, Any]]) -> None:
        super().__init__(states)
        self.seen: set[int] = set()

    def __getitem__(self, layer: Any) -> Any:
        self.seen.add(layer)
        return super().__getitem__(layer)

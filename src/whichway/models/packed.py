"""Training rows laid end to end without padding: every layer sees real tokens only, each row attends to itself alone."""

# Rows of 20 to 200 tokens in one batch make half of a padded batch empty. Here the linear layers, nine tenths of the
# work, see one sequence of all tokens; attention alone pads, as its cost is small for short rows.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from whichway.models import anatomy
from whichway.models.attention import refuse_foreign
from whichway.models.precise import agree, sample_ids

NAME = "whichway_packed"
CHECKED = 23  # tokens that a network is checked with
FUSED_FROM = 256  # tokens of the longest row from which the fused kernel is used, as scores then fill the memory


@dataclass(frozen=True)
class Layout:
    """Where each token of the packed sequence stands in [rows, longest]: `places` [tokens]."""

    rows: int
    longest: int
    places: Any
    seen: set[int] = field(default_factory=set, compare=False)  # layers that have attended by it

    def padded(self, packed: Any) -> Any:
        """[tokens, heads, width] -> [rows, heads, longest, width], zeros at padding."""
        out = packed.new_zeros(self.rows * self.longest, *packed.shape[1:])
        return out.index_copy(0, self.places, packed).unflatten(0, (self.rows, self.longest)).transpose(1, 2)

    def packed(self, padded: Any) -> Any:
        """[rows, heads, longest, width] -> [tokens, heads, width]."""
        return padded.transpose(1, 2).flatten(0, 1).index_select(0, self.places)


def install(network: Any) -> bool:
    """Let a network attend within the rows of packed batches; False when it would not (then it is as before)."""
    import torch
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    if anatomy.window(network) < CHECKED:
        return False
    before = network.config._attn_implementation
    ids = sample_ids(network, CHECKED)[0].tolist()
    two = collate([{"input_ids": part, "labels": part} for part in (ids[:7], ids[7:])])
    two = {name: one.to(network.device) for name, one in two.items()}
    alone = two["input_ids"][:, 7:]
    try:
        with torch.inference_mode():
            wanted = anatomy.body(network)(input_ids=alone, use_cache=False).last_hidden_state[0]
            network.set_attn_implementation(NAME)
            where = layout(two["lengths"])
            found = _end_to_end(network, two, where)[7:]
        if where.seen == set(range(anatomy.layers(network))) and agree(found, wanted, network.dtype):
            return True
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
        pass
    network.set_attn_implementation(before)
    return False


def states(network: Any, batch: Mapping[str, Any]) -> Any:
    """Return the last hidden states [tokens, width] of a packed batch.

    They come from padded rows where a network cannot pack, or where a row is longer than what all of its layers see.
    """
    import torch

    where = layout(batch["lengths"])
    if network.config._attn_implementation == NAME and where.longest <= anatomy.window(network):
        return _end_to_end(network, batch, where)
    ids = where.padded(batch["input_ids"][0, :, None, None])[:, 0, :, 0]
    real = torch.arange(where.longest, device=ids.device) < batch["lengths"][:, None]
    found = anatomy.body(network)(input_ids=ids, attention_mask=real.long(), use_cache=False).last_hidden_state
    return where.packed(found[:, None])[:, 0]


def _end_to_end(network: Any, batch: Mapping[str, Any], where: Layout) -> Any:
    import torch

    # A mask of four dimensions is passed on as it is, and read by nobody: none of all tokens by all tokens is made.
    mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=batch["input_ids"].device)
    read = {"position_ids": batch["position_ids"], "attention_mask": mask, "packing": where}
    return anatomy.body(network)(input_ids=batch["input_ids"], use_cache=False, **read).last_hidden_state[0]


def collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return input_ids, labels and position_ids [1, tokens] and the rows' lengths [rows]."""
    import torch

    lengths = [len(row["input_ids"]) for row in rows]
    ids = [token for row in rows for token in row["input_ids"]]
    labels = [label for row in rows for label in [-100, *row["labels"][1:]]]  # nothing foretells a row's first token
    places = [place for size in lengths for place in range(size)]
    found = {"input_ids": ids, "labels": labels, "position_ids": places}
    return {name: torch.tensor([one]) for name, one in found.items()} | {"lengths": torch.tensor(lengths)}


def layout(lengths: Any) -> Layout:
    """Return the layout of rows of these lengths."""
    import torch

    longest = int(lengths.max())
    rows = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
    first = (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
    within = torch.arange(len(rows), device=lengths.device) - first
    return Layout(len(lengths), longest, rows * longest + within)


def attend(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float | None = None, **more: Any
) -> tuple[Any, None]:
    """Attend causally within each row of `packing` (a Layout); query [1, heads, tokens, width].

    Returns [1, tokens, heads, width]. Without `packing` the batch is one row or padded, and read by sdpa.
    """
    import torch

    refuse_foreign(module, more)
    packing: Layout | None = more.pop("packing", None)
    if packing is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **more)  # type: ignore[no-any-return]
    packing.seen.add(module.layer_idx)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    queries, keys, values = (packing.padded(one[0].transpose(0, 1)) for one in (query, key, value))
    if packing.longest >= FUSED_FROM:
        fused = torch.nn.functional.scaled_dot_product_attention
        out = fused(queries, keys, values, is_causal=True, scale=scale, enable_gqa=True)
    else:
        out = _causal(queries, keys, values, scale)
    return packing.packed(out)[None], None


def _causal(query: Any, key: Any, value: Any, scale: float) -> Any:
    """Return causal attention [rows, heads, tokens, width]; heads that share a key head are laid end to end."""
    import torch

    rows, heads, tokens, width = query.shape
    shared = key.shape[1]
    grouped = query.reshape(rows * shared, -1, width)
    scores = torch.bmm(grouped, key.flatten(0, 1).transpose(1, 2)) * scale
    hidden = torch.ones(tokens, tokens, dtype=torch.bool, device=query.device).triu(1)
    scores = scores.view(-1, tokens, tokens).masked_fill(hidden, float("-inf"))
    shares = scores.softmax(-1).view(rows * shared, -1, tokens)
    return torch.bmm(shares, value.flatten(0, 1)).view(rows, heads, tokens, width)

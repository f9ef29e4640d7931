"""Training rows laid end to end without padding, what their prompts have in common once: each row attends to itself and that."""

# Rows of 20 to 200 tokens in one batch make half of a padded batch empty. Here the linear layers, nine tenths of the
# work, see one sequence of all tokens; attention alone pads, as its cost is small for short rows. Rows under one prompt
# begin alike: instruction, labels and examples are read once per batch, and gradients of all rows meet there.

from __future__ import annotations

import os.path
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from whichway.models import anatomy
from whichway.models.attention import refuse_foreign
from whichway.models.precise import agree, sample_ids

NAME = "whichway_packed"
CHECKED = 23  # tokens that a network is checked with
FUSED_FROM = 256  # tokens of the longest row from which the fused kernel is used, as scores then fill the memory
SAVES = 0.1  # of a batch's tokens that reading a common beginning once must save; less is not worth its own products


@dataclass(frozen=True)
class Layout:
    """Where each token of the packed sequence stands in [rows, longest]: `places` [tokens].

    Before these tokens stand `shared` others that every row goes on from.
    """

    rows: int
    longest: int
    places: Any
    shared: int = 0
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
    apart, alike = (
        _on(network, collate(rows)) for rows in (_rows(ids[:7], ids[7:]), _rows(ids[7:12] + ids[:7], ids[7:]))
    )
    try:
        with torch.inference_mode():
            wanted = anatomy.body(network)(input_ids=apart["input_ids"][:, 7:], use_cache=False).last_hidden_state[0]
            network.set_attn_implementation(NAME)
            if all(_agrees(network, batch, wanted) for batch in (apart, alike)):
                return True
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
        pass
    network.set_attn_implementation(before)
    return False


def _rows(*rows: list[int]) -> list[dict[str, list[int]]]:
    return [{"input_ids": row, "labels": [-100] * 6 + row[6:]} for row in rows]


def _on(network: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one.to(network.device) for name, one in batch.items()}


def _agrees(network: Any, batch: Mapping[str, Any], wanted: Any) -> bool:
    """Tell whether the last row has the states it has alone, and every layer has attended by the layout."""
    import torch

    where = layout(batch)
    found = _end_to_end(network, batch, where)
    last = torch.cat([found[: where.shared], found[-int(batch["lengths"][-1]) :]])
    return where.seen == set(range(anatomy.layers(network))) and agree(last, wanted, network.dtype)


def packs(network: Any) -> bool:
    """Tell whether `install` has let a network attend within the rows of packed batches."""
    return bool(network.config._attn_implementation == NAME)


def states(network: Any, batch: Mapping[str, Any]) -> Any:
    """Return the last hidden states [tokens, width] of a packed batch.

    They come from padded rows where a network cannot pack, or where a row is longer than what all of its layers see.
    """
    where = layout(batch)
    if packs(network) and where.shared + where.longest <= anatomy.window(network):
        return _end_to_end(network, batch, where)
    return _padded(network, batch, where)


def _padded(network: Any, batch: Mapping[str, Any], where: Layout) -> Any:
    """Return the same states from rows that are read apart, each with the beginning it shares."""
    import torch

    first, own = batch["input_ids"][0, : where.shared], batch["input_ids"][0, where.shared :]
    ids = where.padded(own[:, None, None])[:, 0, :, 0]
    real = torch.arange(where.longest, device=ids.device) < batch["lengths"][:, None]
    ids = torch.cat([first.expand(where.rows, -1), ids], 1)
    real = torch.cat([real.new_ones(where.rows, where.shared), real], 1)
    found = anatomy.body(network)(input_ids=ids, attention_mask=real.long(), use_cache=False).last_hidden_state
    return torch.cat([found[0, : where.shared], where.packed(found[:, None, where.shared :])[:, 0]])


def _end_to_end(network: Any, batch: Mapping[str, Any], where: Layout) -> Any:
    import torch

    # A mask of four dimensions is passed on as it is, and read by nobody: none of all tokens by all tokens is made.
    mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=batch["input_ids"].device)
    read = {"position_ids": batch["position_ids"], "attention_mask": mask, "packing": where}
    return anatomy.body(network)(input_ids=batch["input_ids"], use_cache=False, **read).last_hidden_state[0]


def collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return input_ids, labels and position_ids [1, tokens], the rows' lengths [rows], and how many tokens they share.

    What is shared stands first and once; `lengths` are of what follows it. It ends before the first token whose
    likelihood is asked for, so that each of those is foretold by a token of its own row.
    """
    import torch

    first = _shared(rows)
    own = [row["input_ids"][first:] for row in rows]
    ids = [*rows[0]["input_ids"][:first], *(token for part in own for token in part)]
    # nothing of its own foretells a row's first token
    labels = [-100] * first + [label for row in rows for label in [-100, *row["labels"][first + 1 :]]]
    places = [*range(first), *(first + place for part in own for place in range(len(part)))]
    found = {"input_ids": ids, "labels": labels, "position_ids": places}
    whole = {name: torch.tensor([one]) for name, one in found.items()}
    return whole | {"lengths": torch.tensor([len(part) for part in own]), "shared": torch.tensor(first)}


def parts(rows: Sequence[Mapping[str, Any]], tokens: int, packs_them: bool = True) -> list[dict[str, Any]]:
    """Return a batch cut into parts of up to so many tokens each (or one row), rows of like length together.

    Rows of a network that does not pack count as long as the longest of their part. Each part has `share`, its part of all
    tokens whose likelihood is asked for: gradients of the parts' mean losses, so weighted, add up to that of the whole
    batch, in the memory of one part. A part of which nothing is asked has no loss, and is left out.
    """
    import torch

    cut: list[list[Mapping[str, Any]]] = []
    for row in sorted(rows, key=lambda one: len(one["input_ids"])):
        both = [*cut[-1], row] if cut else []
        read = len(collate(both)["input_ids"][0]) if both and packs_them else len(both) * len(row["input_ids"])
        if both and read <= tokens:
            cut[-1].append(row)
        else:
            cut.append([row])
    found = [collate(part) for part in cut]
    asked = [int((part["labels"] != -100).sum()) for part in found]
    every = sum(asked)
    told = [(part, count) for part, count in zip(found, asked, strict=True) if count or not every]
    return [part | {"share": torch.tensor(count / max(1, every))} for part, count in told]


def _shared(rows: Sequence[Mapping[str, Any]]) -> int:
    """Return how many tokens all rows begin with that are read once; 0 where that saves little, or rows are long.

    Long rows are attended by the fused kernel, which knows no common beginning.
    """
    ids = [row["input_ids"] for row in rows]
    asked = min(next((i for i, label in enumerate(row["labels"]) if label != -100), len(row["labels"])) for row in rows)
    first = max(0, min(len(os.path.commonprefix(ids)), asked - 1))
    saves = first * (len(rows) - 1) >= SAVES * sum(map(len, ids))
    return first if saves and max(map(len, ids)) - first < FUSED_FROM else 0


def layout(batch: Mapping[str, Any]) -> Layout:
    """Return the layout of a batch that `collate` made."""
    import torch

    lengths = batch["lengths"]
    longest = int(lengths.max())
    rows = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
    first = (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
    within = torch.arange(len(rows), device=lengths.device) - first
    return Layout(len(lengths), longest, rows * longest + within, int(batch["shared"]))


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
    first = packing.shared
    queries, keys, values = (packing.padded(one[0, :, first:].transpose(0, 1)) for one in (query, key, value))
    if not first:
        return packing.packed(_attend(queries, keys, values, scale))[None], None
    asked, known, told = (one[:, :, :first] for one in (query, key, value))
    out = packing.packed(_causal(queries, keys, values, scale, (known[0], told[0])))
    return torch.cat([_attend(asked, known, told, scale)[0].transpose(0, 1), out])[None], None


def _attend(query: Any, key: Any, value: Any, scale: float) -> Any:
    import torch

    if query.shape[2] < FUSED_FROM:
        return _causal(query, key, value, scale)
    fused = torch.nn.functional.scaled_dot_product_attention
    return fused(query, key, value, is_causal=True, scale=scale, enable_gqa=True)


def _causal(query: Any, key: Any, value: Any, scale: float, begun: tuple[Any, Any] | None = None) -> Any:
    """Return causal attention [rows, heads, tokens, width]; heads that share a key head are laid end to end.

    `begun` are keys and values [key heads, tokens, width] that all rows see before their own: one product for all rows.
    """
    import torch

    rows, heads, tokens, width = query.shape
    shared = key.shape[1]
    grouped = query.unflatten(1, (shared, -1)).transpose(0, 1).reshape(shared, -1, width)
    each = (shared * rows, heads // shared * tokens, -1)
    keys, values = (one.transpose(0, 1).reshape(shared * rows, tokens, width) for one in (key, value))
    scores = torch.bmm(grouped.view(*each), keys.transpose(1, 2)) * scale
    hidden = torch.ones(tokens, tokens, dtype=torch.bool, device=query.device).triu(1)
    scores = scores.view(-1, tokens, tokens).masked_fill(hidden, float("-inf")).view(*each)
    if begun is None:
        out = torch.bmm(scores.softmax(-1), values)
    else:
        before = torch.bmm(grouped, begun[0].transpose(1, 2)) * scale
        shares = torch.cat([before.view(*each), scores], -1).softmax(-1)
        seen, own = shares.split([before.shape[-1], tokens], -1)
        out = torch.bmm(own, values) + torch.bmm(seen.reshape(shared, -1, before.shape[-1]), begun[1]).view(*each)
    return out.view(shared, rows, heads // shared, tokens, width).transpose(0, 1).reshape(rows, heads, tokens, width)

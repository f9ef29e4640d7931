"""From hidden states to the logits of the next token, in fp32 whatever the weights' number format."""

# A bf16 product rounds a logit of 20 to a step of 1/8: enough to turn one label into another. The weights are kept a
# second time in fp32 (their values unchanged), so that the product of the same factors comes out unrounded. The copy stands
# on the shelf, within the bound for all that is kept.

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary, finalize

from whichway.models import anatomy, hardware
from whichway.models.laid_out import can_lay_out, laid_out, times
from whichway.models.shelf import SHELF, new_number

FACTORS = ("logit_scale", "lm_head_multiplier", "output_multiplier")  # of Cohere, Falcon-H1, Muse
SCALING, CAP = "logits_scaling", "final_logit_softcapping"
WORDS = 8192  # whose weights are widened at a time where there is no room for all
EXACT = 16  # tokens per state whose logits are computed exactly in writing
_LAID_OUT: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
_OWNERS: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # numbers on the shelf


def next_token_logits(network: Any, hidden: Any) -> Any:
    """Return fp32 logits [states, vocabulary] for hidden states [states, width] after the last layer's norm."""
    import torch

    head, rows = anatomy.head(network), hidden.float()
    with hardware.exact_products(head.weight.dtype):
        parts = [torch.mm(rows, weight.t()) for weight in _wide(head)]
    logits = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
    if getattr(head, "bias", None) is not None:
        logits += head.bias.detach().float()
    return finished(network, logits)


def finished(network: Any, logits: Any) -> Any:
    """Return what a network makes of the product with its vocabulary; differentiable."""
    config = anatomy.config(network)
    for name in FACTORS:
        if factor := getattr(config, name, None):
            logits = logits * factor
    if scaling := getattr(config, SCALING, None):  # Granite divides by it, HyperCLOVA X multiplies
        logits = logits * scaling if config.model_type.startswith("hyperclovax") else logits / scaling
    if cap := getattr(config, CAP, None):  # Gemma
        logits = (logits / cap).tanh() * cap
    return logits


def written_logits(network: Any, hidden: Any) -> Any:
    """Return what `next_token_logits` does, for writing: only the likeliest tokens' logits are exact, the rest as bf16 has them.

    Twice as fast with few states; which token is the likeliest, and its log-likelihood, come out the same.
    """
    import torch

    head, weight = anatomy.head(network), _laid_out(network)
    if weight is None:
        return next_token_logits(network, hidden)
    rounded = times(hidden.to(head.weight.dtype), weight)
    top = rounded.topk(EXACT, -1).indices
    exact = torch.einsum("nw,nkw->nk", hidden.float(), head.weight[top].float())
    return rounded.float().scatter_(1, top, exact)


def _laid_out(network: Any) -> Any:
    """Return the head's weight laid out for few rows, once per head; None where there is more to it than a product."""
    head = anatomy.head(network)
    if head not in _LAID_OUT:
        _LAID_OUT[head] = laid_out(head.weight) if is_product(network) and can_lay_out(head.weight) else None
    return _LAID_OUT[head]


def is_product(network: Any) -> bool:
    """Tell whether logits are the product of states and the head's weight, and nothing else."""
    head, config = anatomy.head(network), anatomy.config(network)
    changed = any(getattr(config, name, None) not in (None, 0, 1) for name in (*FACTORS, SCALING, CAP))
    return getattr(head, "bias", None) is None and not changed


def _wide(head: Any) -> Iterator[Any]:
    """Yield the weight in fp32: whole, kept on the shelf, or where that has no room for it some words at a time."""
    import torch

    weight = head.weight.detach()
    if weight.dtype == torch.float32:
        yield weight
        return
    if head not in _OWNERS:
        _OWNERS[head] = new_number()
        finalize(head, SHELF.forget, _OWNERS[head])
    key = (_OWNERS[head], True, ())
    kept = SHELF.find(key)
    if kept is None and 4 * weight.numel() > SHELF.limit():
        yield from (part.float() for part in weight.split(WORDS))
        return
    if kept is None:
        kept = [(weight.float(), None)]
        SHELF.keep(key, kept)
    yield kept[0][0]

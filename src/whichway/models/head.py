"""From hidden states to the logits of the next token, in fp32 whatever the weights' number format."""

# A bf16 product rounds a logit of 20 to a step of 1/8: enough to turn one label into another. The weights are kept a
# second time in fp32 (their values unchanged), so that the product of the same factors comes out unrounded.

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from whichway.models import anatomy, hardware
from whichway.models.laid_out import can_lay_out, laid_out, times

FACTORS = ("logit_scale", "lm_head_multiplier", "output_multiplier")  # of Cohere, Falcon-H1, Muse
SCALING, CAP = "logits_scaling", "final_logit_softcapping"
EXACT = 16  # tokens per state whose logits are computed exactly in writing
_LAID_OUT: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
_WIDE: WeakKeyDictionary[Any, tuple[Any, Any]] = WeakKeyDictionary()


def next_token_logits(network: Any, hidden: Any) -> Any:
    """Return fp32 logits [states, vocabulary] for hidden states [states, width] after the last layer's norm."""
    import torch

    head = anatomy.head(network)
    weight, bias = _wide(head)
    with hardware.exact_products(head.weight.dtype):
        logits = torch.mm(hidden.float(), weight.t())
    if bias is not None:
        logits += bias
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
    head, config = anatomy.head(network), anatomy.config(network)
    if head not in _LAID_OUT:
        changed = any(getattr(config, name, None) not in (None, 0, 1) for name in (*FACTORS, SCALING, CAP))
        plain = getattr(head, "bias", None) is None and not changed
        _LAID_OUT[head] = laid_out(head.weight) if plain and can_lay_out(head.weight) else None
    return _LAID_OUT[head]


def _wide(head: Any) -> tuple[Any, Any]:
    """Return weight and bias in fp32, copied once per head."""
    if head not in _WIDE:
        bias = getattr(head, "bias", None)
        _WIDE[head] = (head.weight.detach().float(), None if bias is None else bias.detach().float())
    return _WIDE[head]

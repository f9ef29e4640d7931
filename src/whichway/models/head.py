"""From hidden states to the logits of the next token, in fp32 whatever the weights' number format."""

# A bf16 product rounds a logit of 20 to a step of 1/8: enough to turn one label into another. The weights are kept a
# second time in fp32 (their values unchanged), so that the product of the same factors comes out unrounded.

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from whichway.models import hardware

_WIDE: WeakKeyDictionary[Any, tuple[Any, Any]] = WeakKeyDictionary()


def next_token_logits(network: Any, hidden: Any) -> Any:
    """Return fp32 logits [states, vocabulary] for hidden states [states, width] after the last layer's norm."""
    import torch

    head, config = network.lm_head, network.config
    weight, bias = _wide(head)
    with hardware.exact_products(head.weight.dtype):
        logits = torch.mm(hidden.float(), weight.t())
    if bias is not None:
        logits += bias
    if scale := getattr(config, "logit_scale", None):  # Cohere
        logits *= scale
    if divisor := getattr(config, "logits_scaling", None):  # Granite
        logits /= divisor
    if cap := getattr(config, "final_logit_softcapping", None):  # Gemma
        logits = (logits / cap).tanh() * cap
    return logits


def _wide(head: Any) -> tuple[Any, Any]:
    """Return weight and bias in fp32, copied once per head."""
    if head not in _WIDE:
        bias = getattr(head, "bias", None)
        _WIDE[head] = (head.weight.detach().float(), None if bias is None else bias.detach().float())
    return _WIDE[head]

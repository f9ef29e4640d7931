"""Keeping the running sum over a network's layers in fp32 while its matrix products stay in bf16."""

# The residual stream is rounded twice per layer in bf16; that rounding, not the products', is most of the error of a
# log-likelihood (docs/log.md: spread of a margin .031 instead of .055, at no cost in speed).

from __future__ import annotations

from typing import Any

from whichway.models import anatomy


def widen(network: Any) -> bool:
    """Let embeddings, norms and residual sums of a bf16 network work in fp32; False where it would not (then unchanged)."""
    import torch

    if network.dtype != torch.bfloat16:
        return False
    before = _states(network)
    norms = [one for one in network.modules() if isinstance(one, torch.nn.LayerNorm)]
    hooks = [network.get_input_embeddings().register_forward_hook(lambda _, __, out: out.float())]
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            hooks.append(module.register_forward_pre_hook(_narrow))
    for norm in norms:
        norm.float()
    try:
        if agree(_states(network), before, torch.bfloat16):
            return True
    except (RuntimeError, TypeError, ValueError):
        pass
    for hook in hooks:
        hook.remove()
    for norm in norms:
        norm.bfloat16()
    return False


def _narrow(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return inputs[0].to(module.weight.dtype), *inputs[1:]


def _states(network: Any) -> Any:
    """Return the last hidden states [24, width] of a few tokens in fp32."""
    import torch

    with torch.inference_mode():
        return anatomy.body(network)(input_ids=sample_ids(network), use_cache=False).last_hidden_state[0].float()


def agree(found: Any, wanted: Any, kind: Any) -> bool:
    """Tell whether hidden states [tokens, width] are the same but for the rounding of a number format."""
    import torch

    found, wanted = found.float(), wanted.float()
    if kind == torch.float32:
        return bool((found - wanted).norm() < 1e-3 * wanted.norm())
    return bool(torch.nn.functional.cosine_similarity(found, wanted, dim=-1).median() > 0.99)


def sample_ids(network: Any, size: int = 24) -> Any:
    """Return token ids [1, size] to check an engine with, from the middle of the vocabulary.

    Its first tokens are special ones that no training moved; their states are noise in any number format.
    """
    import torch

    vocabulary = anatomy.config(network).vocab_size
    return (torch.arange(size, device=network.device)[None] + vocabulary // 2) % vocabulary

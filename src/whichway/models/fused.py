"""Low-rank adapters in two matrix products a layer each way instead of five steps: the same sums as peft's, fewer passes."""

# peft computes base(x) + scale * B(A(dropout(x))) as four operations whose intermediate results, as wide as the layer,
# are written, kept for the backward pass and read again. Here they are added in place; adapters stay in fp32 (so small
# steps count) and are rounded to the base's format only inside the products.

from __future__ import annotations

import functools
import types
from typing import Any


def fuse(network: Any) -> int:
    """Replace the forward of plain LoRA layers of a peft network in place; return how many. Others stay as they are."""
    from peft.tuners.lora import Linear

    count = 0
    for module in network.modules():
        if isinstance(module, Linear) and _plain(module):
            module.forward = types.MethodType(_forward, module)
            count += 1
    return count


def _plain(module: Any) -> bool:
    """True for one unmerged adapter without dropout, bias or variant on an ordinary linear layer."""
    import torch

    names = module.active_adapters
    if len(names) != 1 or module.merged or names[0] not in module.lora_A:
        return False
    (name,) = names
    return (
        type(module.base_layer) is torch.nn.Linear
        and isinstance(module.lora_dropout[name], torch.nn.Identity)
        and module.lora_B[name].bias is None
        and not module.use_dora.get(name, False)
    )


def _forward(module: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
    """Return base(x) + scale * B(A(x)); [.., in] -> [.., out]."""
    if module.disable_adapters or module.merged:
        return module.base_layer(inputs)
    (name,) = module.active_adapters
    base, down, up = module.base_layer, module.lora_A[name].weight, module.lora_B[name].weight
    flat = inputs.reshape(-1, inputs.shape[-1])
    out = _function().apply(flat, base.weight, base.bias, down, up, module.scaling[name])
    return out.view(*inputs.shape[:-1], out.shape[-1])


@functools.cache
def _function() -> Any:
    """Return the autograd function; made here because torch is imported late."""
    import torch

    class LowRank(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, rows: Any, weight: Any, bias: Any, down: Any, up: Any, scale: float) -> Any:
            small_down, small_up = down.to(rows.dtype), up.to(rows.dtype)
            inner = rows @ small_down.t()
            out = torch.nn.functional.linear(rows, weight, bias)
            out.addmm_(inner, small_up.t(), alpha=scale)
            ctx.save_for_backward(rows, weight, small_down, small_up, inner)
            ctx.scale, ctx.kinds = scale, (down.dtype, up.dtype)
            return out

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            rows, weight, down, up, inner = ctx.saved_tensors
            grad = grads[0].contiguous()
            back = (grad @ up).mul_(ctx.scale)
            to_rows = None
            if ctx.needs_input_grad[0]:
                to_rows = (grad @ weight).addmm_(back, down)
            to_down = (back.t() @ rows).to(ctx.kinds[0])
            to_up = (grad.t() @ inner).to(ctx.kinds[1]).mul_(ctx.scale)
            return to_rows, None, None, to_down, to_up, None

    return LowRank

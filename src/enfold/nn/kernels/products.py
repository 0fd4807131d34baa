"""Products of rows with a linear layer's weight."""

import torch.nn.functional as F
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.nn import _kernels
from enfold.nn.kernels import plain
from enfold.nn.kernels.dispatch import ROWS, TYPES, native, threads


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str | None = None) -> Tensor:
    """`activation(x @ weight.T + bias)`, products summed in fp32.

    Where the native kernel runs, a row's result doesn't depend on how many rows come with it; in fp32 with AVX-512 that
    is every number of rows.

    Args:
        x: [M, K]; rows may be strided. Other shapes go to torch.
        weight: [N, K].
        bias: [N].
        activation: "silu", "gelu", "gelu_tanh" or "relu".

    Raises:
        ArgumentError: unknown activation.
    """
    if x.dim() == 2:
        M, K = x.shape
        dtype = x.dtype
        if ROWS.get(dtype, 0) >= M and native(x, weight, bias):
            N, width = weight.shape
            row, step = x.stride()
            if (
                width == K
                and weight.dtype is dtype
                and weight.is_contiguous()
                and (step == 1 or K == 1)
                and (bias is None or (bias.dtype is dtype and bias.numel() == N and bias.is_contiguous()))
                and activation in plain.ACTIVATIONS
            ):
                out = x.new_empty(M, N)
                _kernels.linear(
                    x.data_ptr(),
                    row,
                    weight.data_ptr(),
                    0 if bias is None else bias.data_ptr(),
                    out.data_ptr(),
                    M,
                    N,
                    K,
                    plain.ACTIVATIONS[activation],
                    TYPES[dtype],
                    threads(),
                )
                return out
    return plain.activate(F.linear(x, weight, bias), activation)


def linear_int8(
    x: Tensor, packed: Tensor, scale: Tensor, bias: Tensor | None = None, activation: str | None = None
) -> Tensor:
    """`activation(x @ weight.T + bias)` with a weight of bytes; each 64 inputs of a row are rounded to bytes, too.

    The products of 64 inputs are summed in integers, so a row's result doesn't depend on how many rows come with it.

    Args:
        x: [M, K] or [K], fp32, bf16 or fp16; rows may be strided.
        packed, scale: of the weight [N, K], as `enfold.nn.int8.pack` returns them.
        bias: [N].
        activation: "silu", "gelu", "gelu_tanh" or "relu".

    Raises:
        ArgumentError: unknown activation, or shapes that don't fit.
    """
    if x.dim() != 2:
        return linear_int8(x.reshape(-1, x.shape[-1]), packed, scale, bias, activation).view(*x.shape[:-1], -1)
    M, K = x.shape
    N, (blocks, groups) = len(scale), packed.shape[:2]
    if not (N <= 32 * blocks < N + 32) or not (K <= 4 * groups < K + 4):
        raise ArgumentError(f"x {tuple(x.shape)} doesn't fit a weight packed for up to {32 * blocks} × {4 * groups}")
    dtype = x.dtype
    if dtype in TYPES and activation in plain.ACTIVATIONS and native(x, packed, scale, bias):
        row, step = x.stride()
        if (
            (step == 1 or K == 1)
            and packed.is_contiguous()
            and (bias is None or (bias.dtype is dtype and bias.numel() == N and bias.is_contiguous()))
        ):
            out = x.new_empty(M, N)
            _kernels.linear_int8(
                x.data_ptr(),
                row,
                packed.data_ptr(),
                scale.data_ptr(),
                0 if bias is None else bias.data_ptr(),
                out.data_ptr(),
                M,
                N,
                K,
                plain.ACTIVATIONS[activation],
                TYPES[dtype],
                threads(),
            )
            return out
    return plain.activate(plain.linear_int8(x, packed, scale, bias), activation)

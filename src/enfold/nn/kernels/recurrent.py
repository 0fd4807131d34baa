"""Ops with a state."""

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.nn import _kernels
from enfold.nn.kernels import plain
from enfold.nn.kernels.dispatch import native, threads


def selective_scan(
    step: Tensor, u: Tensor, into: Tensor, out_of: Tensor, decay: Tensor, offsets: Tensor, state: Tensor
) -> tuple[Tensor, Tensor] | None:
    """`h ← exp(step · decay) · h + step · u · into`, `y = Σ h · out_of`, along each sequence (Gu & Dao 2023, alg. 2).

    No tensor of [N, C, S] is made. There is no torch expression behind it: a caller computes it another way.

    Args:
        step, u: [N, C] fp32.
        into, out_of: [N, S] fp32; rows may be strided.
        decay: [C, S] fp32, at most 0.
        offsets: int64 [B + 1], on the CPU: sequence b holds rows `offsets[b]` … `offsets[b + 1] - 1`.
        state: h before the first row, [B, C, S] fp32.

    Returns:
        y [N, C], and h after each sequence's last row; None where no kernel may run.

    Raises:
        ArgumentError: shapes that don't fit, or offsets that don't cut N rows into sequences in order.
    """
    (N, C), (B, _, S) = step.shape, state.shape
    fit = u.shape == step.shape and into.shape == out_of.shape == (N, S) and decay.shape == (C, S)
    if not fit or state.shape[1] != C or offsets.numel() != B + 1:
        raise ArgumentError(
            f"step {tuple(step.shape)}, u {tuple(u.shape)}, into {tuple(into.shape)}, out_of {tuple(out_of.shape)}, "
            f"decay {tuple(decay.shape)}, state {tuple(state.shape)} and {offsets.numel()} offsets don't fit: expected "
            "twice [N, C], twice [N, S], [C, S], [B, C, S] and B + 1 offsets"
        )
    given = (step, u, into, out_of, decay, state)
    if not native(*given, offsets) or any(tensor.dtype is not torch.float32 for tensor in given):
        return None
    if (into.stride(1) != 1 or out_of.stride(1) != 1) and S > 1:
        return None
    step, u, decay, offsets = step.contiguous(), u.contiguous(), decay.contiguous(), offsets.contiguous()
    state, out = state.clone(memory_format=torch.contiguous_format), torch.empty_like(step)
    bad = _kernels.selective_scan(
        step.data_ptr(),
        u.data_ptr(),
        into.data_ptr(),
        into.stride(0),
        out_of.data_ptr(),
        out_of.stride(0),
        decay.data_ptr(),
        offsets.data_ptr(),
        state.data_ptr(),
        out.data_ptr(),
        N,
        B,
        C,
        S,
        threads(),
    )
    if bad >= 0:
        plain.refuse_offsets(offsets, N, None, None, N)
    return out, state

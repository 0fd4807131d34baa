"""Attention over a cache, and over packed sequences."""

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.nn import _kernels
from enfold.nn.kernels import plain
from enfold.nn.kernels.dispatch import TYPES, native, threads


def attend_decode(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths: Tensor,
    scale: float,
    *,
    bias: Tensor | None = None,
    starts: Tensor | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Attention of one query a sequence over the first `lengths[b]` keys of its cache → [B, H, d].

    `softmax(softcap(scale · q kᵀ) + bias) v` with fp32 sums and weights. A sequence that sees no key gets zeros.

    Args:
        q: [B, H, d]; H is a multiple of Hkv, neighbouring heads share keys.
        k, v: [B, Hkv, capacity, d]; all but the last dimension may be strided.
        lengths: int64 [B], on the CPU, each at most capacity.
        scale: of the scores, usually d^-1/2.
        bias: fp32 [H, ≥ longest] or [B, H, ≥ longest].
        starts: int64 [B], first visible key of each sequence (a sliding window).
        softcap: scores become `softcap · tanh(score / softcap)`.
        sinks: fp32 [H], a further score of each head, whose value is zero.

    Raises:
        ArgumentError: shapes that don't fit, or a length beyond the cache (or the bias).
    """
    B, H, d = q.shape
    Bk, Hkv, capacity, dk = k.shape
    longest = capacity if bias is None or bias.shape[-1] > capacity else bias.shape[-1]
    if Bk != B or dk != d or v.shape != k.shape or H % Hkv or lengths.numel() != B:
        raise ArgumentError(
            f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)} and {len(lengths)} lengths don't fit: "
            "expected [B, H, d], twice [B, Hkv, capacity, d] with H a multiple of Hkv, and B lengths"
        )
    dtype = q.dtype
    if dtype in TYPES and d <= 256 and native(q, k, v, lengths, bias, starts, sinks):
        q_row, q_head, q_step = q.stride()
        k_batch, k_head, k_slot, k_step = k.stride()
        v_batch, v_head, v_slot, v_step = v.stride()
        if (
            k.dtype is dtype
            and v.dtype is dtype
            and ((q_step == 1 and k_step == 1 and v_step == 1) or d == 1)
            and lengths.dtype is torch.int64
            and lengths.is_contiguous()
            and (starts is None or (starts.dtype is torch.int64 and starts.is_contiguous() and starts.numel() == B))
            and (bias is None or (bias.dtype is torch.float32 and bias.stride(-1) == 1 and bias.shape[-2] == H))
            and (sinks is None or (sinks.dtype is torch.float32 and sinks.is_contiguous() and sinks.shape == (H,)))
        ):
            out = q.new_empty(B, H, d)
            bad = _kernels.attend_decode(
                q.data_ptr(),
                q_row,
                q_head,
                k.data_ptr(),
                k_batch,
                k_head,
                k_slot,
                v.data_ptr(),
                v_batch,
                v_head,
                v_slot,
                lengths.data_ptr(),
                0 if starts is None else starts.data_ptr(),
                0 if bias is None else bias.data_ptr(),
                0 if bias is None or bias.dim() == 2 else bias.stride(0),
                0 if bias is None else bias.stride(-2),
                0 if sinks is None else sinks.data_ptr(),
                out.data_ptr(),
                B,
                H,
                Hkv,
                d,
                longest,
                scale,
                softcap or 0.0,
                TYPES[dtype],
                threads(),
            )
            if bad >= 0:
                plain.refuse_lengths(lengths, starts, longest)
            return out
    return plain.attend_decode(q, k, v, lengths, scale, bias, starts, softcap, sinks, longest)


def attend_packed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    offsets: Tensor,
    scale: float,
    *,
    bias: Tensor | None = None,
    causal: bool = False,
    window: int | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Tensor:
    """Attention of the sequences that lie one after another in the rows of q, each over its own keys → [N, H, d].

    `softmax(softcap(scale · q kᵀ) + bias) v` with fp32 sums and weights; with `causal`, a row sees no later one.

    Args:
        q: [N, H, d]; H is a multiple of Hkv, neighbouring heads share keys.
        k, v: [N, Hkv, d], or a cache's [B, Hkv, capacity, d]. All three may be slices of a fused projection: only the
            last dimension must be contiguous.
        offsets: int64 [B + 1], on the CPU: sequence b holds rows `offsets[b]` … `offsets[b + 1] - 1`.
        scale: of the scores, usually d^-1/2.
        bias: fp32 [H, 2 · longest − 1], by distance: of keys `longest − 1` places before their query, …, at its place
            (the middle column), …, as many behind it; or [H, longest, longest], of which rows may be the same memory.
        causal: whether later rows of a sequence are hidden from earlier ones.
        window: a row sees itself and `window − 1` neighbours on each side.
        softcap: scores become `softcap · tanh(score / softcap)`.
        sinks: fp32 [H], a further score of each head, whose value is zero.
        lengths: int64 [B], on the CPU, with a cache: keys of each sequence, whose rows in q are the last of them.

    Raises:
        ArgumentError: shapes that don't fit, or offsets that don't cut N rows into sequences in order.
    """
    N, H, d = q.shape
    Hkv, rows = k.shape[1], (N,) if lengths is None else (offsets.numel() - 1,)
    if k.dim() != (3 if lengths is None else 4) or k.shape[0] != rows[0] or k.shape[-1] != d or v.shape != k.shape:
        fit = False
    else:
        fit = (
            H % Hkv == 0
            and (bias is None or bias.dim() == 3 or bias.shape[1] % 2 == 1)
            and offsets.numel() >= 1
            and (lengths is None or lengths.numel() == rows[0])
        )
    if not fit or (window is not None and window < 1):
        raise ArgumentError(
            f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)} and window={window} don't fit: expected "
            "[N, H, d] and twice [N, Hkv, d] (or [B, Hkv, capacity, d] with B lengths), H a multiple of Hkv, window ≥ 1"
        )
    dtype = q.dtype
    if dtype in TYPES and d <= 256 and native(q, k, v, offsets, bias, lengths, sinks):
        q_row, q_head, q_step = q.stride()
        if lengths is None:
            (k_row, k_head, k_step), (v_row, v_head, v_step), k_batch, v_batch, capacity = (
                k.stride(),
                v.stride(),
                0,
                0,
                N,
            )
        else:
            (k_batch, k_head, k_row, k_step), (v_batch, v_head, v_row, v_step) = k.stride(), v.stride()
            capacity = k.shape[2]
        if (
            k.dtype is dtype
            and v.dtype is dtype
            and ((q_step == 1 and k_step == 1 and v_step == 1) or d == 1)
            and offsets.dtype is torch.int64
            and offsets.is_contiguous()
            and (lengths is None or (lengths.dtype is torch.int64 and lengths.is_contiguous()))
            and (sinks is None or (sinks.dtype is torch.float32 and sinks.is_contiguous() and sinks.numel() == H))
            and (bias is None or (bias.dtype is torch.float32 and bias.stride(-1) == 1 and bias.shape[0] == H))
        ):
            out, address, head_step, row_step, reach = q.new_empty(N, H, d), 0, 0, 0, 0
            if bias is not None and bias.dim() == 2:
                reach = bias.shape[1] // 2 + 1
                address, head_step, row_step = bias.data_ptr() + 4 * (reach - 1), bias.stride(0), -1
            elif bias is not None:
                address, head_step, row_step, reach = bias.data_ptr(), *bias.stride()[:2], min(bias.shape[1:])
            bad = _kernels.attend_packed(
                q.data_ptr(),
                q_row,
                q_head,
                k.data_ptr(),
                k_batch,
                k_row,
                k_head,
                v.data_ptr(),
                v_batch,
                v_row,
                v_head,
                offsets.data_ptr(),
                0 if lengths is None else lengths.data_ptr(),
                capacity,
                address,
                head_step,
                row_step,
                reach,
                out.data_ptr(),
                N,
                offsets.numel() - 1,
                H,
                Hkv,
                d,
                causal,
                window or 0,
                0 if sinks is None else sinks.data_ptr(),
                scale,
                softcap or 0.0,
                TYPES[dtype],
                threads(),
            )
            if bad >= 0:
                plain.refuse_offsets(offsets, N, bias, lengths, capacity)
            return out
    return plain.attend_packed(q, k, v, offsets, scale, bias, causal, window, softcap, sinks, lengths)

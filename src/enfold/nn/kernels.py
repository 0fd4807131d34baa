"""Native CPU kernels for inference, as functions of tensors.

Each function is a plain torch expression (written out in its docstring) that a native kernel computes when it can: CPU
tensors of fp32, bf16 or fp16 with contiguous rows, nothing that needs gradients, and no tracing, compiling, autocasting
or transforming under way. Otherwise torch computes it, with equal results up to rounding. `ENFOLD_KERNELS=0` turns the
native kernels off, `ENFOLD_CPU` (baseline, avx2, avx512, avx512_vnni, avx512_bf16) picks the instruction set.
"""

import os

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C._functorch import maybe_current_level as _transforming
from torch.autograd import forward_ad
from torch.nn import Parameter

from enfold.base.errors import ArgumentError
from enfold.nn import _kernels
from enfold.nn import kernels_plain as plain
from enfold.nn.spec import Pairs

__all__ = [
    "add",
    "attend_decode",
    "attend_packed",
    "available",
    "gated",
    "layer_norm",
    "linear",
    "linear_int8",
    "rms_norm",
    "rope_store",
    "selective_scan",
    "swiglu",
    "use",
]

# Elements from which torch computes a sum with more than one thread (at::internal::GRAIN_SIZE).
_parallel_in_torch = 32768

_types = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}

# Rows up to which the native linear is faster than torch's, measured by benchmarks/kernels.py. fp32 with AVX-512 is at
# the processor's pace for any number of rows; torch has no fast fp16 product at all.
_always = 1 << 60
_worthwhile = {
    "avx512_bf16": {torch.float32: _always, torch.bfloat16: 32, torch.float16: _always},
    "avx512_vnni": {torch.float32: _always, torch.bfloat16: 8, torch.float16: _always},
    "avx512": {torch.float32: _always, torch.bfloat16: 8, torch.float16: _always},
    "avx2": {torch.float32: 32, torch.bfloat16: 8, torch.float16: _always},
    "baseline": {torch.float32: 0, torch.bfloat16: 0, torch.float16: 0},
}
_rows: dict[torch.dtype, int] = {}
_enabled = os.environ.get("ENFOLD_KERNELS", "1") != "0"

# Looked up once: these checks run on every call, and a decoding step has hundreds.
_grad_enabled = torch.is_grad_enabled
_compiling = torch.compiler.is_compiling
_tracing = torch._C._is_tracing
_modes = torch._C._len_torch_dispatch_stack
_autocast = torch._C._is_any_autocast_enabled
_threads = torch.get_num_threads


def available() -> str | None:
    """The instruction set of the native kernels in use, or None when torch computes everything."""
    return _kernels.level() if _enabled else None


def use(level: str | None) -> None:
    """Choose the kernels' instruction set for the whole process; None: the best that this processor runs.

    Raises:
        ArgumentError: a name that isn't known, or that this processor can't run.
    """
    try:
        _kernels.use(level or "")
    except ValueError as error:
        raise ArgumentError(f"ENFOLD_CPU or use({level!r}): {error}") from None
    _rows.update(_worthwhile[_kernels.level()])


use(os.environ.get("ENFOLD_CPU"))


def _native(*tensors: Tensor | None) -> bool:
    """Whether a kernel may read these tensors' memory in place of torch."""
    if (
        not _enabled
        or _compiling()
        or _tracing()
        or _modes()
        or _transforming() is not None
        or forward_ad._current_level >= 0
        or _autocast()
    ):
        return False
    grad = _grad_enabled()
    for tensor in tensors:
        if tensor is None:
            continue
        kind = type(tensor)
        if (kind is not Tensor and kind is not Parameter) or not tensor.is_cpu or (grad and tensor.requires_grad):
            return False
    return True


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
        if _rows.get(dtype, 0) >= M and _native(x, weight, bias):
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
                    _types[dtype],
                    _threads(),
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
    if dtype in _types and activation in plain.ACTIVATIONS and _native(x, packed, scale, bias):
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
                _types[dtype],
                _threads(),
            )
            return out
    return plain.activate(plain.linear_int8(x, packed, scale, bias), activation)


def add(x: Tensor, y: Tensor) -> Tensor:
    """`x + y`, of two tensors of one shape and dtype.

    torch spreads large sums over its own threads, which then look out for more work for milliseconds, on the processors
    that the next kernel needs.
    """
    if _compiling() or (count := x.numel()) < _parallel_in_torch:
        return x + y
    dtype = x.dtype
    if (
        x.shape != y.shape
        or dtype is not y.dtype
        or dtype not in _types
        or not (x.is_contiguous() and y.is_contiguous())
        or not _native(x, y)
    ):
        return x + y
    out = torch.empty_like(x)
    _kernels.add(x.data_ptr(), y.data_ptr(), out.data_ptr(), count, _types[dtype], _threads())
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
    if x.dim() != 2 or x.dtype not in _types or not _native(x, weight, bias, residual):
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
        _types[dtype],
        _threads(),
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
    if gate_up.dim() == 2 and gate_up.dtype in _types and _native(gate_up):
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
                _types[gate_up.dtype],
                _threads(),
            )
            return out
    gate, up = gate_up.chunk(2, -1)
    return plain.activate(gate, activation) * up


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
    if dtype in _types and d <= 256 and _native(q, k, v, lengths, bias, starts, sinks):
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
                _types[dtype],
                _threads(),
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
    if dtype in _types and d <= 256 and _native(q, k, v, offsets, bias, lengths, sinks):
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
                _types[dtype],
                _threads(),
            )
            if bad >= 0:
                plain.refuse_offsets(offsets, N, bias, lengths, capacity)
            return out
    return plain.attend_packed(q, k, v, offsets, scale, bias, causal, window, softcap, sinks, lengths)


def rope_store(
    qkv: Tensor,
    cos: Tensor | None,
    sin: Tensor | None,
    k_cache: Tensor,
    v_cache: Tensor,
    slots: Tensor,
    *,
    positions: Tensor | None = None,
    sequences: Tensor | None = None,
    pairs: Pairs = "halves",
) -> Tensor:
    """Split rows of a fused projection, rotate q and k, write k and v into the cache; returns q [M, H, d].

    The rotation is `x · cos + quarter_turn(x) · sin` over the first R elements of each head, where `quarter_turn` makes
    pairs (a, b) into (-b, a). cos and sin are rounded to qkv's dtype first, and so are both products and their sum, as
    separate torch operations would round them.

    Args:
        qkv: [M, (H + 2 · Hkv) · d], heads of q, then of k, then of v. H follows from the width.
        cos, sin: [P, R] in fp32 or qkv's dtype; None: nothing is rotated.
        k_cache, v_cache: [B, Hkv, capacity, d]; all but the last dimension may be strided. Written in place.
        slots: int64 [M], where in its sequence's cache each row is kept.
        positions: int64 [M], each row's row of cos and sin; None: row m takes row m.
        sequences: int64 [M], each row's place in the batch; None: row m belongs to sequence m.
        pairs: whether element i turns with i + R / 2 ("halves"), or 2i with 2i + 1 ("neighbours").

    Raises:
        ArgumentError: shapes that don't fit, or a slot, position or sequence out of range. Nothing is written then.
    """
    M, width = qkv.shape
    B, Hkv, capacity, d = k_cache.shape
    H = width // d - 2 * Hkv
    P, R = (0, 0) if cos is None else cos.shape
    if (
        width % d
        or H < 1
        or v_cache.shape != k_cache.shape
        or slots.numel() != M
        or (positions is None and cos is not None and P < M)
        or (positions is not None and positions.numel() != M)
        or (sequences is None and B < M)
        or (sequences is not None and sequences.numel() != M)
        or (cos is None) is not (sin is None)
        or (cos is not None and sin is not None and (cos.shape != sin.shape or R % 2 or d < R))
    ):
        raise ArgumentError(
            f"qkv {tuple(qkv.shape)}, caches {tuple(k_cache.shape)} and {tuple(v_cache.shape)}, cos and sin "
            f"{None if cos is None else tuple(cos.shape)} and {None if sin is None else tuple(sin.shape)}, "
            f"{len(slots)} slots don't fit: expected [M, (H + 2 · Hkv) · d], twice [B, Hkv, capacity, d], twice [P, R] "
            "with an even R ≤ d, and M slots (positions, sequences)"
        )
    dtype = qkv.dtype
    if dtype in _types and _native(qkv, cos, sin, k_cache, v_cache, slots, positions, sequences):
        row, step = qkv.stride()
        k_batch, k_head, k_slot, k_step = k_cache.stride()
        v_batch, v_head, v_slot, v_step = v_cache.stride()
        if (
            k_cache.dtype is dtype
            and v_cache.dtype is dtype
            and ((step == 1 and k_step == 1 and v_step == 1) or d == 1)
            and slots.dtype is torch.int64
            and slots.is_contiguous()
            and (positions is None or (positions.dtype is torch.int64 and positions.is_contiguous()))
            and (sequences is None or (sequences.dtype is torch.int64 and sequences.is_contiguous()))
            and (
                cos is None
                or sin is None
                or (
                    cos.dtype is sin.dtype
                    and (cos.dtype is dtype or cos.dtype is torch.float32)
                    and cos.is_contiguous()
                    and sin.is_contiguous()
                )
            )
        ):
            q = qkv.new_empty(M, H, d)
            bad = _kernels.rope_store(
                qkv.data_ptr(),
                row,
                0 if cos is None else cos.data_ptr(),
                R,
                0 if sin is None else sin.data_ptr(),
                R,
                cos is not None and cos.dtype is torch.float32,
                pairs == "neighbours",
                0 if positions is None else positions.data_ptr(),
                slots.data_ptr(),
                0 if sequences is None else sequences.data_ptr(),
                q.data_ptr(),
                k_cache.data_ptr(),
                k_batch,
                k_head,
                k_slot,
                v_cache.data_ptr(),
                v_batch,
                v_head,
                v_slot,
                M,
                H,
                Hkv,
                d,
                R,
                P,
                capacity,
                B,
                _types[dtype],
                _threads(),
            )
            if bad:
                plain.refuse_rows(positions, slots, sequences, P, capacity, B)
            return q
    return plain.rope_store(qkv, cos, sin, k_cache, v_cache, slots, positions, sequences, pairs)


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
    if not _native(*given, offsets) or any(tensor.dtype is not torch.float32 for tensor in given):
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
        _threads(),
    )
    if bad >= 0:
        plain.refuse_offsets(offsets, N, None, None, N)
    return out, state

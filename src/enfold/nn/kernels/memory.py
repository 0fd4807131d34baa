"""Writing keys and values where they are kept."""

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.nn import _kernels
from enfold.nn.kernels import plain
from enfold.nn.kernels.dispatch import TYPES, native, threads
from enfold.nn.spec import Pairs


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
    if dtype in TYPES and native(qkv, cos, sin, k_cache, v_cache, slots, positions, sequences):
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
                TYPES[dtype],
                threads(),
            )
            if bad:
                plain.refuse_rows(positions, slots, sequences, P, capacity, B)
            return q
    return plain.rope_store(qkv, cos, sin, k_cache, v_cache, slots, positions, sequences, pairs)

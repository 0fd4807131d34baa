"""The kernels' operations as plain torch expressions: what runs wherever the native kernels may not."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.nn.rope import rotate
from enfold.nn.spec import Pairs

ACTIVATIONS = {None: 0, "silu": 1, "gelu": 2, "gelu_tanh": 3, "relu": 4}


def activate(x: Tensor, activation: str | None) -> Tensor:
    match activation:
        case None:
            return x
        case "silu":
            return F.silu(x)
        case "gelu":
            return F.gelu(x)
        case "gelu_tanh":
            return F.gelu(x, approximate="tanh")
        case "relu":
            return F.relu(x)
    raise ArgumentError(f"unknown activation {activation!r}: expected one of {', '.join(map(repr, ACTIVATIONS))}")


def unpack_int8(packed: Tensor, scale: Tensor, inputs: int) -> tuple[Tensor, Tensor]:
    """The whole numbers [N, K], in fp32, that a weight was rounded to, and what each is worth [N, 1]."""
    rows = packed.transpose(1, 2).flatten(2).flatten(0, 1)  # [blocks · 32, groups · 4]
    return rows[: len(scale), :inputs].float() - 128, scale[:, None]


def linear_int8(x: Tensor, packed: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    steps, each = unpack_int8(packed, scale, x.shape[-1])
    wide = x.float()
    if not (torch.is_grad_enabled() and x.requires_grad):  # rounding has no gradient, so there is none
        shares = F.pad(wide, (0, -x.shape[-1] % 64)).unflatten(-1, (-1, 64))
        worth = shares.abs().amax(-1, keepdim=True) / 127
        wide = ((shares / torch.where(worth == 0, 1.0, worth)).round() * worth).flatten(-2)[..., : x.shape[-1]]
    out = F.linear(wide, steps * each)
    return (out if bias is None else out + bias.float()).to(x.dtype)


def attend_decode(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths: Tensor,
    scale: float,
    bias: Tensor | None,
    starts: Tensor | None,
    softcap: float | None,
    sinks: Tensor | None,
    longest: int,
) -> Tensor:
    group = q.shape[1] // k.shape[1]
    key = torch.arange(longest, device=q.device)
    seen = key < lengths[:, None]  # [B, longest]
    if starts is not None:
        seen = seen & (key >= starts[:, None])
    k = k[:, :, :longest].repeat_interleave(group, 1).float()
    v = v[:, :, :longest].repeat_interleave(group, 1).float()
    scores = torch.einsum("bhd,bhkd->bhk", q.float(), k) * scale
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    if bias is not None:
        scores = scores + bias[..., :longest]
    scores = scores.masked_fill(~seen[:, None], float("-inf"))
    # Rows that see nothing are all -inf: their softmax is NaN, their answer zero.
    top = scores if sinks is None else torch.cat([scores, sinks.view(-1, 1).expand(*scores.shape[:2], 1)], -1)
    weights = top.softmax(-1)[..., :longest].masked_fill((scores == float("-inf")).all(-1, keepdim=True), 0.0)
    # What the cache holds beyond a sequence's keys was never written, and 0 · NaN would be NaN.
    v = v.masked_fill(~seen[:, None, :, None], 0.0)
    return torch.einsum("bhk,bhkd->bhd", weights, v).to(q.dtype)


def refuse_lengths(lengths: Tensor, starts: Tensor | None, longest: int) -> None:
    given = f"lengths {lengths.tolist()}" + ("" if starts is None else f" and starts {starts.tolist()}")
    raise ArgumentError(f"{given} leave the {longest} keys that the cache (and the bias) hold: expected 0 … {longest}")


def attend_packed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    offsets: Tensor,
    scale: float,
    bias: Tensor | None,
    causal: bool,
    window: int | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Tensor:
    bounds: list[int] = offsets.tolist()
    queries = [last - first for first, last in itertools.pairwise(bounds)]
    keys: list[int] = queries if lengths is None else lengths.tolist()
    capacity = len(q) if lengths is None else k.shape[2]
    if (
        bounds[0] != 0
        or bounds[-1] != len(q)
        or min(queries, default=0) < 0
        or any(new > every or every > capacity for new, every in zip(queries, keys, strict=True))
        or (bias is not None and max(keys, default=0) > reach(bias))
    ):
        refuse_offsets(offsets, len(q), bias, lengths, capacity)
    parts = []
    for b, (first, new, every) in enumerate(zip(bounds, queries, keys, strict=False)):
        one = q[first : first + new].transpose(0, 1)  # [H, new, d]
        if lengths is None:
            own, values = (t[first : first + new].transpose(0, 1) for t in (k, v))
        else:
            own, values = k[b, :, :every], v[b, :, :every]  # [Hkv, every, d]
        back = torch.arange(every - new, every, device=q.device)[:, None] - torch.arange(every, device=q.device)
        mask = None
        if bias is not None:
            by_distance = bias.dim() == 2
            mask = bias[:, bias.shape[1] // 2 - back] if by_distance else bias[:, every - new : every, :every]
            mask = mask.to(q.dtype)
        hidden = back < 0 if causal else torch.zeros_like(back, dtype=torch.bool)
        if window is not None:
            hidden = hidden | (back.abs() >= window)
        if bool(hidden.any()):
            mask = q.new_zeros(1, new, every) if mask is None else mask
            mask = mask.masked_fill(hidden, float("-inf"))
        group = q.shape[1] // k.shape[1]
        own, values = own.repeat_interleave(group, 0), values.repeat_interleave(group, 0)
        if not softcap and sinks is None:
            seen = F.scaled_dot_product_attention(
                one[None], own[None], values[None], attn_mask=None if mask is None else mask[None], scale=scale
            )[0]
        else:
            scores = one @ own.transpose(-1, -2) * scale
            scores = softcap * torch.tanh(scores / softcap) if softcap else scores
            scores = scores if mask is None else scores + mask
            if sinks is not None:
                scores = torch.cat([scores, sinks.to(scores.dtype).view(-1, 1, 1).expand(-1, new, 1)], dim=-1)
            weights = scores.softmax(-1, dtype=torch.promote_types(torch.float32, q.dtype)).to(q.dtype)
            seen = weights[..., :every] @ values
        parts.append(seen.transpose(0, 1))
    return torch.cat(parts) if parts else q.new_empty(q.shape)


def reach(bias: Tensor) -> int:
    """The longest sequence that a bias is for."""
    return (bias.shape[1] + 1) // 2 if bias.dim() == 2 else min(bias.shape[1:])


def refuse_offsets(
    offsets: Tensor, N: int, bias: Tensor | None, lengths: Tensor | None = None, capacity: int = 0
) -> None:
    room = "" if bias is None else f", each sequence at most {reach(bias)} rows long (the bias)"
    given = f"offsets {offsets.tolist()}"
    if lengths is not None:
        given += f" and lengths {lengths.tolist()}"
        room += f", each length between the sequence's rows and {capacity} (the cache)"
    raise ArgumentError(f"{given}: expected 0 … {N} in ascending order{room}")


def rope_store(
    qkv: Tensor,
    cos: Tensor | None,
    sin: Tensor | None,
    k_cache: Tensor,
    v_cache: Tensor,
    slots: Tensor,
    positions: Tensor | None,
    sequences: Tensor | None,
    pairs: Pairs = "halves",
) -> Tensor:
    M = qkv.shape[0]
    B, Hkv, capacity, d = k_cache.shape
    refuse_rows(positions if cos is not None else None, slots, sequences, 0 if cos is None else len(cos), capacity, B)
    H = qkv.shape[1] // d - 2 * Hkv
    q, k, v = qkv.view(M, H + 2 * Hkv, d).split([H, Hkv, Hkv], 1)
    if cos is not None and sin is not None:
        rows = torch.arange(M, device=qkv.device) if positions is None else positions
        cos, sin = cos[rows, None].to(qkv.dtype), sin[rows, None].to(qkv.dtype)
        q, k = rotate(q, cos, sin, pairs), rotate(k, cos, sin, pairs)
    batch = torch.arange(M, device=qkv.device) if sequences is None else sequences
    k_cache[batch, :, slots] = k.to(k_cache.dtype)
    v_cache[batch, :, slots] = v.to(v_cache.dtype)
    return q.contiguous()


def refuse_rows(
    positions: Tensor | None, slots: Tensor, sequences: Tensor | None, P: int, capacity: int, B: int
) -> None:
    for name, index, limit in (
        ("position", positions, P),
        ("slot", slots, capacity),
        ("sequence", sequences, B),
    ):
        if index is not None and index.numel() and (index.min() < 0 or index.max() >= limit):
            raise ArgumentError(
                f"a {name} in {index.min().item()} … {index.max().item()}: expected 0 … {limit - 1}; "
                "give the cache or the rotary table more room"
            )

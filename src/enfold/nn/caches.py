"""Other ways to keep keys and values: a ring for windowed layers, eight bits a number, or in the host's memory."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError, NotBuiltError
from enfold.base.logging import get_logger
from enfold.nn.cache import Cache, FixedCache, Stored
from enfold.nn.where import Where

logger = get_logger(__name__)


class RingCache(Cache):
    """A growing cache whose windowed depths keep their window alone: the newest token takes the oldest one's place.

    Args:
        windows: tokens that each depth sees, itself included; None: all.
    """

    def __init__(self, windows: Sequence[int | None]):
        super().__init__()
        self.windows = tuple(windows)

    def places(self, depth: int, tokens: int) -> int:
        window = self.windows[depth]
        return tokens if window is None else min(tokens, window)

    def direct(self, depth: int, where: Where) -> bool:
        window = self.windows[depth]
        return window is None or where.decoding or max(where.after) <= window

    def slots(self, depth: int, where: Where) -> Tensor:
        window = self.windows[depth]
        return where.slots if window is None or max(where.after) <= window else where.slots % window

    def held(self, depth: int, stores: Sequence[Tensor], where: Where) -> Stored:
        lengths = tuple(self.places(depth, length) for length in where.after)
        return Stored(stores[0], stores[1], lengths=lengths)

    def write(self, depth: int, where: Where, keys: Tensor, values: Tensor) -> Stored:
        """As in a growing cache; what several new tokens see beyond the window is handed out before it is forgotten."""
        window = self.windows[depth]
        if window is None or max(where.after) <= window:
            return super().write(depth, where, keys, values)
        stores = self.storage(depth, where, *keys.shape[1:], like=keys)
        past = self.lengths or (0,) * len(where.lengths)
        kept = [min(length, window - 1) for length in past]
        lengths = tuple(before + new for before, new in zip(kept, where.lengths, strict=True))
        seen = []
        for store, new in zip(stores, (keys, values), strict=True):
            whole = new.new_zeros(len(past), new.shape[1], max(lengths), new.shape[2])
            for row, (length, before, count) in enumerate(zip(past, kept, where.lengths, strict=True)):
                fresh = new[where.offsets[row] : where.offsets[row + 1]].transpose(0, 1)  # [Hkv, count, d]
                old = torch.arange(length - before, length, device=new.device) % window
                whole[row, :, :before] = store[row, :, old]
                whole[row, :, before : before + count] = fresh
                left = min(count, window)
                places = torch.arange(length + count - left, length + count, device=new.device) % window
                store[row, :, places] = fresh[:, count - left :]
            seen.append(whole)
        return Stored(*seen, lengths=lengths)

    def _copy(self, moved: list[int], sources: list[int], since: int, until: int) -> None:
        for depth, stores in self._own.items():
            window = self.windows[depth]
            part = slice(since, until) if window is None or until <= window else slice(None)
            for store in stores:
                store[moved, :, part] = store[sources, :, part]

    def check_crop(self, lengths: Sequence[int]) -> None:
        super().check_crop(lengths)
        narrow = min((window for window in self.windows if window is not None), default=None)
        for held, length in zip(self.lengths, lengths, strict=True):
            if narrow is not None and narrow < held and length < held:
                raise ArgumentError(
                    f"a ring of {narrow} places has forgotten what stood before its {held} tokens, and can't go "
                    f"back to {length}: use cache_implementation='dynamic'"
                )


class QuantizedCache(Cache):
    """Keys and values in eight bits, with one scale for each token and head: about half of what bf16 takes.

    Args:
        nbits: 8.
    """

    def __init__(self, nbits: int = 8):
        super().__init__()
        if nbits != 8:
            raise NotBuiltError(f"a quantized cache with nbits={nbits} is not built yet; 8 is")

    def direct(self, depth: int, where: Where) -> bool:
        return False

    def storage(self, depth: int, where: Where, kv_heads: int, head_dim: int, like: Tensor) -> tuple[Tensor, ...]:
        pairs = ((head_dim, torch.int8), (head_dim, torch.int8), (1, torch.float32), (1, torch.float32))
        return self.stores(depth, where, kv_heads, pairs, like)

    def write(self, depth: int, where: Where, keys: Tensor, values: Tensor) -> Stored:
        stores = self.storage(depth, where, *keys.shape[1:], like=keys)
        (k, k_scale), (v, v_scale) = _eight_bits(keys), _eight_bits(values)
        for store, new in zip(stores, (k, v, k_scale, v_scale), strict=True):
            self.put(store, new, where)
        longest = max(where.after)
        k, v, k_scale, v_scale = (store[:, :, :longest] for store in stores)
        return Stored((k * k_scale).to(keys.dtype), (v * v_scale).to(values.dtype), lengths=where.after)

    def write_one(self, depth: int, where: Where, vectors: Tensor) -> Tensor:
        kinds = ((vectors.shape[2], torch.int8), (1, torch.float32))
        stores = self.stores(depth, where, vectors.shape[1], kinds, vectors)
        for store, new in zip(stores, _eight_bits(vectors), strict=True):
            self.put(store, new, where)
        bits, scale = (store[:, :, : max(where.after)] for store in stores)
        return (bits * scale).to(vectors.dtype)


def _eight_bits(x: Tensor) -> tuple[Tensor, Tensor]:
    """[N, H, d] → int8 of the same shape, and scales [N, H, 1]."""
    scale = (x.float().abs().amax(-1, keepdim=True) / 127).clamp(min=1e-12)
    return (x.float() / scale).round().to(torch.int8), scale


class OffloadedCache(Cache):
    """Keys and values in the host's memory; a depth's visit the device while it attends.

    Args:
        device: where the model runs; on a CPU there is nowhere else to keep them, and the cache is a growing one.
    """

    def __init__(self, device: torch.device | str):
        super().__init__()
        self.device = torch.device(device)
        if self.device.type == "cpu":
            logger.info(
                "an offloaded cache keeps keys and values on the CPU, where this model runs: it is a growing one"
            )

    def direct(self, depth: int, where: Where) -> bool:
        return self.device.type == "cpu"

    def write(self, depth: int, where: Where, keys: Tensor, values: Tensor) -> Stored:
        if self.device.type == "cpu":
            return super().write(depth, where, keys, values)
        near = (keys.to("cpu"), values.to("cpu"))
        stores = self.storage(depth, where, *keys.shape[1:], like=near[0])
        for store, new in zip(stores, near, strict=True):
            self.put(store, new, where)
        longest = max(where.after)
        k, v = (store[:, :, :longest].to(keys.device, non_blocking=True) for store in stores)
        return Stored(k, v, lengths=where.after)

    def write_one(self, depth: int, where: Where, vectors: Tensor) -> Tensor:
        held = super().write_one(depth, where, vectors if self.device.type == "cpu" else vectors.to("cpu"))
        return held[:, :, : max(where.after)].to(self.device, non_blocking=True)


class DynamicCache(Cache):
    """`Cache` under the name that the reference library gives it; a configuration is accepted and not needed."""

    def __init__(self, config: Any = None):
        super().__init__()


class StaticCache(FixedCache):
    """`FixedCache` under the name that the reference library gives it."""

    def __init__(self, config: Any = None, max_cache_len: int | None = None):
        if max_cache_len is None:
            raise ArgumentError("StaticCache needs max_cache_len, the tokens that it holds")
        super().__init__(max_cache_len)

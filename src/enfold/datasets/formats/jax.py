"""Rows as JAX arrays."""

import sys
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require
from enfold.datasets.formats.tensors import TensorFormat


class JaxFormat(TensorFormat):
    """Arrays of JAX, on the device asked for; integers are int32 unless JAX runs in 64 bits.

    Args:
        device: the name of a device as `str(device)` prints it; None: the first.
        options: of `jax.numpy.array`.
    """

    def __init__(self, *, device: str | None = None, **options: Any):
        super().__init__(**options)
        self.jax = require("jax", extra="jax", purpose="The jax format")
        known = {str(one): one for one in self.jax.devices()}
        if device is not None and not isinstance(device, str):
            raise ArgumentError(
                f"device= is the name of a device, str(device), not {device!r}: devices can't be pickled."
            )
        if device is not None and device not in known:
            raise ArgumentError(f"device={device!r} is none of JAX's devices here: {sorted(known)}.")
        self.device = device
        jnp = self.jax.numpy
        self.whole = jnp.int64 if self.jax.config.jax_enable_x64 else jnp.int32
        self.real = jnp.float32

    def is_tensor(self, value: Any) -> bool:
        torch = sys.modules.get("torch")
        return isinstance(value, self.jax.Array) or (torch is not None and isinstance(value, torch.Tensor))

    def tensor(self, value: Any) -> Any:
        foreign = self.is_tensor(value) and not isinstance(value, self.jax.Array)
        return super().tensor(value.detach().cpu().numpy()[()] if foreign else value)

    def make(self, value: Any, kind: dict[str, Any]) -> Any:
        devices = {str(one): one for one in self.jax.devices()}
        with self.jax.default_device(devices[self.device] if self.device else self.jax.devices()[0]):
            return self.jax.numpy.array(value, **{**kind, **self.options})

    def stack(self, items: list[Any]) -> Any:
        first: Any = items[0] if items else None
        kind = self.jax.Array
        if isinstance(first, kind) and all(
            isinstance(item, kind) and item.shape == first.shape and item.dtype == first.dtype for item in items
        ):
            return self.jax.numpy.stack(items)
        return items

"""What a processor returns: a dictionary of arrays, whose entries are attributes too."""

from collections import UserDict
from typing import Any

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require


class BatchFeature(UserDict):
    """A mapping (`batch["pixel_values"]`) with attributes (`batch.pixel_values`), passed to a model as `**batch`.

    Args:
        data: name → list of arrays, or an array.
        tensor_type: "pt" or "np" makes tensors of the lists.
    """

    def __init__(self, data: dict[str, Any] | None = None, tensor_type: Any = None):
        super().__init__(data or {})
        if tensor_type is not None:
            self.convert_to_tensors(tensor_type)

    def __getitem__(self, item: Any) -> Any:
        if not isinstance(item, str):
            raise KeyError(
                f"a batch is read by names, such as {next(iter(self.data), 'pixel_values')!r}, not by {item!r}"
            )
        return self.data[item]

    def __getattr__(self, name: str) -> Any:
        if name == "data" or name.startswith("__") or name not in self.data:
            raise AttributeError(f"the batch has no {name!r}; it has {', '.join(self.__dict__.get('data', ()))}")
        return self.data[name]

    def convert_to_tensors(self, tensor_type: Any = None) -> "BatchFeature":
        """Make each entry one tensor.

        Raises:
            ArgumentError: arrays of several shapes, or another kind of tensor.
        """
        kind = getattr(tensor_type, "value", tensor_type)
        if kind is None:
            return self
        if kind not in ("pt", "np"):
            raise ArgumentError(f"return_tensors={kind!r}; expected 'pt' or 'np'")
        for name, value in self.data.items():
            self.data[name] = as_tensor(value, kind, name)
        return self

    def to(self, *args: Any, **kwargs: Any) -> "BatchFeature":
        """Tensors on another device, floating ones in another dtype: arguments as of `torch.Tensor.to`."""
        torch = require("torch", extra="torch", purpose="Moving tensors")
        dtypes = [value for value in (*args, kwargs.get("dtype")) if isinstance(value, torch.dtype)]
        rest = [value for value in args if not isinstance(value, torch.dtype)]
        options = {name: value for name, value in kwargs.items() if name != "dtype"}
        for name, value in self.data.items():
            if isinstance(value, torch.Tensor):
                value = value.to(*rest, **options) if rest or options else value
                self.data[name] = value.to(dtypes[0]) if dtypes and value.is_floating_point() else value
        return self


def as_tensor(value: Any, kind: str, name: str) -> Any:
    """A list of arrays, or an array, as one tensor."""
    if not hasattr(value, "shape"):
        values = [as_array(part) for part in value]
        shapes = sorted({part.shape for part in values})
        if len(shapes) > 1:
            raise ArgumentError(
                f"{name!r} has rows of several shapes ({', '.join(map(str, shapes[:4]))}), which make no tensor: pad "
                "them (padding=True, do_pad=True), resize them (do_resize=True), or leave out return_tensors"
            )
        value = np.stack(values) if values else np.empty((0,), dtype=np.float32)
    if kind == "np":
        return as_array(value)
    torch = require("torch", extra="torch", purpose="return_tensors='pt'")
    return value if isinstance(value, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(value))


def as_array(value: Any) -> np.ndarray:
    """Anything numeric, torch's tensors on any device too, as a numpy array."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)

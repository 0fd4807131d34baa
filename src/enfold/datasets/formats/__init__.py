"""What rows are shown as: Python objects, arrays, tensors, data frames, or what a function makes of them.

`formatter(name, **options)` is an object with `row(table)` (a table of one row), `column(table, name)`, `batch(table)`
and `rows(table)` (each row in turn).
"""

import importlib
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.datasets.formats.base import Format

FORMATS = {
    None: ("python", "PythonFormat"),
    "custom": ("python", "CustomFormat"),
    "arrow": ("frames", "ArrowFormat"),
    "pandas": ("frames", "PandasFormat"),
    "polars": ("frames", "PolarsFormat"),
    "numpy": ("numpy", "NumpyFormat"),
    "torch": ("torch", "TorchFormat"),
    "jax": ("jax", "JaxFormat"),
    "tensorflow": ("tensorflow", "TensorFlowFormat"),
}
ALIASES = {
    "python": None,
    "np": "numpy",
    "pa": "arrow",
    "pyarrow": "arrow",
    "pd": "pandas",
    "pl": "polars",
    "pt": "torch",
    "pytorch": "torch",
    "tf": "tensorflow",
}


def format_name(name: str | None) -> str | None:
    """The name that a format is kept under; None is Python objects. ArgumentError for what is none."""
    known = ALIASES.get(name, name) if isinstance(name, str) else name
    if known not in FORMATS:
        raise ArgumentError(f"The format {name!r} is none of {[*(key or 'python' for key in FORMATS)]}.")
    return known


def formatter(name: str | None, **options: Any) -> Format:
    """The format of this name.

    Args:
        options: of the format (`dtype=`, `device=`, `transform=`), and `features=` where a caller has them at hand.
    """
    module, kind = FORMATS[format_name(name)]
    make = getattr(importlib.import_module(f"{__name__}.{module}"), kind)
    try:
        return make(**options)
    except TypeError as error:
        raise ArgumentError(f"The format {name or 'python'!r} can't be made with {sorted(options)}: {error}") from error


__all__ = ["Format", "format_name", "formatter"]

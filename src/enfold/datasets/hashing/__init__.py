"""A digest of any value: equal values give equal digests in every process, and what differs gives another.

Pickles won't do for this: they tell shared objects from equal ones, sets come in the order of the process's hash seed,
and functions are named instead of described. Here a value is walked once, part by part (`walk`), and each part's digest
enters that of the whole; `values` knows data, `code` knows functions, classes and modules.
"""

from typing import Any

from enfold.datasets.hashing import code, values  # noqa: F401  they register what they know
from enfold.datasets.hashing.walk import UnhashableError, Walk

__all__ = ["UnhashableError", "digest"]


def digest(value: Any) -> bytes:
    """Sixteen bytes that stand for `value`.

    Objects are described by their class and by what pickling would keep of them; a class may define `__fingerprint__()`
    to name something else that stands for its instances.

    Raises:
        UnhashableError: part of the value can't be described.
    """
    try:
        return Walk().of(value)
    except RecursionError:
        raise UnhashableError(f"A {type(value).__name__} is nested too deep to be hashed.") from None

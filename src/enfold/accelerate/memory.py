"""When memory runs out: give back what can be given, and try with less."""

import functools
import gc
from collections.abc import Callable
from typing import Any

import torch

from enfold.base.logging import get_logger

_logger = get_logger("enfold.accelerate")
_SIGNS = ("out of memory", "can't allocate memory", "cannot allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the machine ran out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def release_memory(*objects: Any) -> list[None]:
    """As many None as there are objects: `model, optimizer = release_memory(model, optimizer)`; caches are emptied."""
    gc.collect()
    if torch.accelerator.is_available():
        torch.accelerator.memory.empty_cache()
    return [None] * len(objects)


def find_executable_batch_size(
    function: Callable[..., Any] | None = None,
    starting_batch_size: int = 128,
    reduce_batch_size_fn: Callable[[int], int] | None = None,
) -> Callable[..., Any]:
    """A decorator: call `function(batch_size, …)` with ever smaller batches until it fits into memory.

    Args:
        function: takes the batch size first.
        starting_batch_size: the first to try.
        reduce_batch_size_fn: the next to try after one that failed; default: half of it.

    Raises:
        RuntimeError: not even a batch of one fits.
    """
    if function is None:
        return functools.partial(
            find_executable_batch_size,
            starting_batch_size=starting_batch_size,
            reduce_batch_size_fn=reduce_batch_size_fn,
        )
    smaller = reduce_batch_size_fn or (lambda size: size // 2)

    @functools.wraps(function)
    def attempt(*args: Any, **options: Any) -> Any:
        size = starting_batch_size
        while size > 0:
            try:
                return function(size, *args, **options)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                _logger.warning("A batch of %d doesn't fit into memory.", size)
            release_memory()
            size = smaller(size)
        raise RuntimeError("No batch size fits into memory, not even 1.")

    return attempt

"""Whether what a function returns goes into Arrow at once, so that arrays needn't become lists of Python objects."""

from contextvars import ContextVar

# Set while a data set's `map` calls a function with a batch.
results_to_arrow: ContextVar[bool] = ContextVar("results_to_arrow", default=False)

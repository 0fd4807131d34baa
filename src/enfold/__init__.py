"""enfold: the open-model stack as one package.

Importing this package loads neither torch nor numpy; every public name loads its room on first use.

    >>> from enfold import pipeline
    >>> pipe = pipeline("text-generation", model="HuggingFaceTB/SmolLM2-135M-Instruct")
"""

from enfold.base.lazy import lazy_names
from enfold.names import NOT_BUILT, WHERE

__version__ = "0.1.0"

__getattr__, __dir__ = lazy_names(__name__, WHERE, not_built=NOT_BUILT)

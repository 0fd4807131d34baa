"""enfold: the open-model stack as one package.

Importing this package loads neither torch nor numpy; every public name loads its room on first use.
"""

from enfold.base.lazy import lazy_names

__version__ = "0.1.0"

_WHERE = {
    "AutoTokenizer": "enfold.tokenizers.auto",
    "PreTrainedTokenizerFast": "enfold.tokenizers.pretrained",
}

__getattr__, __dir__ = lazy_names(__name__, _WHERE)

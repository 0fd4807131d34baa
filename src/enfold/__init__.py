"""enfold: the open-model stack as one package.

Importing this package loads neither torch nor numpy; every public name loads its room on first use.
"""

from enfold.base.lazy import lazy_names

__version__ = "0.1.0"

_WHERE = {
    "AutoTokenizer": "enfold.tokenizers.auto",
    "BatchEncoding": "enfold.tokenizers.batch_encoding",
    "BertTokenizer": "enfold.tokenizers.families.classes",
    "BertTokenizerFast": "enfold.tokenizers.families.classes",
    "DistilBertTokenizer": "enfold.tokenizers.families.classes",
    "DistilBertTokenizerFast": "enfold.tokenizers.families.classes",
    "GPT2Tokenizer": "enfold.tokenizers.families.classes",
    "GPT2TokenizerFast": "enfold.tokenizers.families.classes",
    "LlamaTokenizer": "enfold.tokenizers.families.classes",
    "LlamaTokenizerFast": "enfold.tokenizers.families.classes",
    "PreTrainedTokenizer": "enfold.tokenizers.pretrained",
    "PreTrainedTokenizerFast": "enfold.tokenizers.pretrained",
    "T5Tokenizer": "enfold.tokenizers.families.classes",
    "T5TokenizerFast": "enfold.tokenizers.families.classes",
}

__getattr__, __dir__ = lazy_names(__name__, _WHERE)

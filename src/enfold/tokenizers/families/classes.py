"""The families' tokenizer classes, under the names that users know."""

from typing import ClassVar

from enfold.tokenizers.families.recipes import BERT, GPT2, LLAMA, T5
from enfold.tokenizers.pretrained import PreTrainedTokenizerFast


class BertTokenizer(PreTrainedTokenizerFast):
    """BERT's WordPiece: `[CLS] A [SEP] B [SEP]`, with token types."""

    family = BERT
    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": "vocab.txt", "tokenizer_file": "tokenizer.json"}
    model_input_names = ["input_ids", "token_type_ids", "attention_mask"]


class DistilBertTokenizer(BertTokenizer):
    """BERT's WordPiece for a model without token types."""

    model_input_names = ["input_ids", "attention_mask"]


class GPT2Tokenizer(PreTrainedTokenizerFast):
    """GPT-2's byte-level BPE."""

    family = GPT2
    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": "vocab.json", "merges_file": "merges.txt"}


class LlamaTokenizer(PreTrainedTokenizerFast):
    """LLaMA's BPE with byte fallback; pads on the left."""

    family = LLAMA
    padding_side = "left"


class T5Tokenizer(PreTrainedTokenizerFast):
    """T5's Unigram with a hundred sentinel tokens; texts end with `</s>`."""

    family = T5


BertTokenizerFast = BertTokenizer
DistilBertTokenizerFast = DistilBertTokenizer
GPT2TokenizerFast = GPT2Tokenizer
LlamaTokenizerFast = LlamaTokenizer
T5TokenizerFast = T5Tokenizer

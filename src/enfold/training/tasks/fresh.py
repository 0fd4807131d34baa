"""From scratch: a tokenizer trained on the data, and a model with new weights."""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.models.auto import from_entries, read_entries

END = "<|endoftext|>"
_BERT: dict[str, Any] = {
    "unk_token": "[UNK]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id", "cls_token_id", "sep_token_id", "mask_token_id")


def byte_level_tokenizer(texts: Iterable[str], vocab_size: int) -> Any:
    """A byte-level BPE, whose only special token ends a text (Radford et al. 2019)."""
    from enfold.tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from enfold.tokenizers.pretrained import PreTrainedTokenizerFast

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if vocab_size <= len(alphabet):
        raise ArgumentError(f"tokenizer_vocab_size={vocab_size}; bytes alone are {len(alphabet)} tokens")
    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    engine.train_from_iterator(texts, trainer=trainer)
    return PreTrainedTokenizerFast(tokenizer_object=engine, bos_token=END, eos_token=END, pad_token=END)


def word_piece_tokenizer(texts: Iterable[str], vocab_size: int) -> Any:
    """Word pieces of lower-cased text, as BERT has them (Devlin et al. 2018)."""
    from enfold.tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from enfold.tokenizers.pretrained import PreTrainedTokenizerFast

    special = list(_BERT.values())
    engine = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    engine.normalizer = normalizers.BertNormalizer(lowercase=True)
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    engine.decoder = decoders.WordPiece()
    engine.train_from_iterator(
        texts, trainer=trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=special, show_progress=False)
    )
    engine.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, special.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(tokenizer_object=engine, **_BERT)


def letters(texts: Iterable[str]) -> Any:
    """A tokenizer of the letters of texts, as CTC reads them: `<pad>` is the blank, `|` the space between words.

    Raises:
        ArgumentError: texts with `|` in them.
    """
    from enfold.tokenizers.families.classes import Wav2Vec2CTCTokenizer

    found = sorted({letter for text in texts for letter in text} - {" "})
    if "|" in found:
        raise ArgumentError("the texts hold '|', which stands between words: take it out of them")
    tokens = ["<pad>", "<s>", "</s>", "<unk>", "|", *found]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vocab.json"
        file.write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
        return Wav2Vec2CTCTokenizer(file)


def config_of(source: str | dict[str, Any]) -> Any:
    """A configuration: its entries, these as JSON, a `config.json`, or a folder or repository that has one.

    Raises:
        ArgumentError: JSON that is no object.
    """
    return from_entries(entries_of(source), "config")


def entries_of(source: str | dict[str, Any]) -> dict[str, Any]:
    """The entries of a configuration, from wherever `config_of` takes it."""
    if isinstance(source, str) and source.lstrip().startswith("{"):
        try:
            source = json.loads(source)
        except json.JSONDecodeError as error:
            raise ArgumentError(f"config is no JSON object: {error}") from None
    if isinstance(source, dict):
        return dict(source)
    return read_entries(Path(source) if Path(source).exists() else source)


def fresh_config(source: str | dict[str, Any], tokenizer: Any) -> Any:
    """`config_of`, with the tokenizer's sizes and special tokens."""
    entries = entries_of(source)
    entries["vocab_size"] = len(tokenizer)
    entries |= {
        name: getattr(tokenizer, name, None) for name in _SPECIAL if name in entries or name[:3] in "bos eos pad"
    }
    return from_entries({name: value for name, value in entries.items() if value is not None}, "config")

"""Tokenizers put together for the usual cases: a model with the components that go with it, and their training."""

import os
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from enfold.tokenizers import decoders, normalizers, pre_tokenizers, processors
from enfold.tokenizers._engine import AddedToken, Regex, Tokenizer
from enfold.tokenizers.models import BPE, Unigram, WordPiece

Vocab = str | Mapping[str, int] | None
Merges = str | Sequence[tuple[str, str]] | None
Files = str | Sequence[str]
TokenLike = str | AddedToken


def _of_tokenizer(name: str) -> property:
    def read(self: "BaseTokenizer") -> Any:
        return getattr(self._tokenizer, name)

    def write(self: "BaseTokenizer", component: Any) -> None:
        setattr(self._tokenizer, name, component)

    return property(read, write, doc=f"The tokenizer's {name}.")


class BaseTokenizer:
    """A `Tokenizer` with the parameters it was made from. Every method of the `Tokenizer` is a method of this one."""

    model = _of_tokenizer("model")
    normalizer = _of_tokenizer("normalizer")
    pre_tokenizer = _of_tokenizer("pre_tokenizer")
    post_processor = _of_tokenizer("post_processor")
    decoder = _of_tokenizer("decoder")

    def __init__(self, tokenizer: Tokenizer, parameters: Mapping[str, Any] | None = None) -> None:
        self._tokenizer = tokenizer
        self._parameters = dict(parameters or {})

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value}" for name, value in self._parameters.items())
        return f"Tokenizer(vocabulary_size={self._tokenizer.get_vocab_size()}, {given})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._tokenizer, name)

    def normalize(self, sequence: str) -> str:
        """The text as the normalizer leaves it."""
        return self._tokenizer.normalizer.normalize_str(sequence) if self._tokenizer.normalizer else sequence

    def save_model(self, directory: str, prefix: str | None = None) -> list[str]:
        """Writes the files of the model into a folder; see `models.Model.save`."""
        return self._tokenizer.model.save(directory, prefix)

    def _train(self, files: Files, trainer: str, options: Mapping[str, Any]) -> None:
        paths = [files] if isinstance(files, (str, os.PathLike)) else list(files)
        tokenizer: Any = self._tokenizer
        tokenizer.train(paths, trainer=_trainer(trainer, options))

    def _train_from_iterator(
        self, iterator: Iterable[Any], length: int | None, trainer: str, options: Mapping[str, Any]
    ) -> None:
        tokenizer: Any = self._tokenizer
        tokenizer.train_from_iterator(iterator, trainer=_trainer(trainer, options), length=length)


def _trainer(name: str, options: Mapping[str, Any]) -> Any:
    return getattr(import_module("enfold.tokenizers.trainers"), name)(**options)


def _know(tokenizer: Tokenizer, tokens: Iterable[TokenLike]) -> None:
    """Makes those of the tokens special that the vocabulary has."""
    tokenizer.add_special_tokens([str(t) for t in tokens if tokenizer.token_to_id(str(t)) is not None])


def _in_sequence(steps: list[normalizers.Normalizer]) -> normalizers.Normalizer | None:
    if len(steps) > 1:
        return normalizers.Sequence(steps)
    return steps[0] if steps else None


def _metaspace(tokenizer: Tokenizer, replacement: str, add_prefix_space: bool) -> None:
    scheme = "always" if add_prefix_space else "never"
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=replacement, prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(replacement=replacement, prepend_scheme=scheme)


class BertWordPieceTokenizer(BaseTokenizer):
    """BERT's tokenizer: its normalizer, its words, WordPiece."""

    def __init__(
        self,
        vocab: Vocab = None,
        unk_token: TokenLike = "[UNK]",
        sep_token: TokenLike = "[SEP]",
        cls_token: TokenLike = "[CLS]",
        pad_token: TokenLike = "[PAD]",
        mask_token: TokenLike = "[MASK]",
        clean_text: bool = True,
        handle_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        lowercase: bool = True,
        wordpieces_prefix: str = "##",
    ) -> None:
        tokenizer = Tokenizer(WordPiece(vocab, unk_token=str(unk_token)))
        _know(tokenizer, [unk_token, sep_token, cls_token, pad_token, mask_token])
        tokenizer.normalizer = normalizers.BertNormalizer(clean_text, handle_chinese_chars, strip_accents, lowercase)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        if vocab is not None:
            around: list[Any] = []
            for name, token in (("sep_token", str(sep_token)), ("cls_token", str(cls_token))):
                id = tokenizer.token_to_id(token)
                if id is None:
                    raise TypeError(f"{name} not found in the vocabulary: {token!r}")
                around.append((token, id))
            tokenizer.post_processor = processors.BertProcessing(*around)
        tokenizer.decoder = decoders.WordPiece(prefix=wordpieces_prefix)
        parameters = {
            "model": "BertWordPiece",
            "unk_token": unk_token,
            "sep_token": sep_token,
            "cls_token": cls_token,
            "pad_token": pad_token,
            "mask_token": mask_token,
            "clean_text": clean_text,
            "handle_chinese_chars": handle_chinese_chars,
            "strip_accents": strip_accents,
            "lowercase": lowercase,
            "wordpieces_prefix": wordpieces_prefix,
        }
        super().__init__(tokenizer, parameters)

    @staticmethod
    def from_file(vocab: str, **options: Any) -> "BertWordPieceTokenizer":
        """From a vocab.txt; `options` are those of the class."""
        return BertWordPieceTokenizer(WordPiece.read_file(vocab), **options)

    @staticmethod
    def _options(
        vocab_size: int = 30000,
        min_frequency: int = 2,
        limit_alphabet: int = 1000,
        initial_alphabet: Sequence[str] = (),
        special_tokens: Sequence[TokenLike] = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
        show_progress: bool = True,
        wordpieces_prefix: str = "##",
    ) -> dict[str, Any]:
        return {
            "vocab_size": vocab_size,
            "min_frequency": min_frequency,
            "limit_alphabet": limit_alphabet,
            "initial_alphabet": list(initial_alphabet),
            "special_tokens": list(special_tokens),
            "show_progress": show_progress,
            "continuing_subword_prefix": wordpieces_prefix,
        }

    def train(self, files: Files, *args: Any, **options: Any) -> None:
        """Learns the vocabulary from files: vocab_size, min_frequency, limit_alphabet, initial_alphabet,
        special_tokens, show_progress, wordpieces_prefix, as `trainers.WordPieceTrainer` takes them."""
        self._train(files, "WordPieceTrainer", self._options(*args, **options))

    def train_from_iterator(
        self, iterator: Iterable[Any], *args: Any, length: int | None = None, **options: Any
    ) -> None:
        """The same from texts."""
        self._train_from_iterator(iterator, length, "WordPieceTrainer", self._options(*args, **options))


class _TrainedBPE(BaseTokenizer):
    @staticmethod
    def _options(**options: Any) -> dict[str, Any]:
        raise NotImplementedError

    def train(self, files: Files, *args: Any, **options: Any) -> None:
        """Learns the merges from files; the options are those of `trainers.BpeTrainer`."""
        self._train(files, "BpeTrainer", self._options(*args, **options))

    def train_from_iterator(
        self, iterator: Iterable[Any], *args: Any, length: int | None = None, **options: Any
    ) -> None:
        """The same from texts."""
        self._train_from_iterator(iterator, length, "BpeTrainer", self._options(*args, **options))


class ByteLevelBPETokenizer(_TrainedBPE):
    """GPT-2's tokenizer: BPE over bytes."""

    def __init__(
        self,
        vocab: Vocab = None,
        merges: Merges = None,
        add_prefix_space: bool = False,
        lowercase: bool = False,
        dropout: float | None = None,
        unicode_normalizer: str | None = None,
        continuing_subword_prefix: str | None = None,
        end_of_word_suffix: str | None = None,
        trim_offsets: bool = False,
    ) -> None:
        model = BPE()
        if vocab is not None and merges is not None:
            model = BPE(
                vocab,
                merges,
                dropout=dropout,
                continuing_subword_prefix=continuing_subword_prefix or "",
                end_of_word_suffix=end_of_word_suffix or "",
            )
        tokenizer = Tokenizer(model)
        steps: list[normalizers.Normalizer] = []
        if unicode_normalizer:
            steps.append(normalizers.unicode_normalizer_from_str(unicode_normalizer))
        if lowercase:
            steps.append(normalizers.Lowercase())
        tokenizer.normalizer = _in_sequence(steps)
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
        parameters = {
            "model": "ByteLevelBPE",
            "add_prefix_space": add_prefix_space,
            "lowercase": lowercase,
            "dropout": dropout,
            "unicode_normalizer": unicode_normalizer,
            "continuing_subword_prefix": continuing_subword_prefix,
            "end_of_word_suffix": end_of_word_suffix,
            "trim_offsets": trim_offsets,
        }
        super().__init__(tokenizer, parameters)

    @staticmethod
    def from_file(vocab_filename: str, merges_filename: str, **options: Any) -> "ByteLevelBPETokenizer":
        """From a vocab.json and a merges.txt; `options` are those of the class."""
        return ByteLevelBPETokenizer(*BPE.read_file(vocab_filename, merges_filename), **options)

    @staticmethod
    def _options(
        vocab_size: int = 30000,
        min_frequency: int = 2,
        show_progress: bool = True,
        special_tokens: Sequence[TokenLike] = (),
    ) -> dict[str, Any]:
        return {
            "vocab_size": vocab_size,
            "min_frequency": min_frequency,
            "show_progress": show_progress,
            "special_tokens": list(special_tokens),
            "initial_alphabet": pre_tokenizers.ByteLevel.alphabet(),
        }


class CharBPETokenizer(_TrainedBPE):
    """The first GPT's tokenizer: BPE over characters, a suffix at the end of words (Sennrich et al., 2016)."""

    def __init__(
        self,
        vocab: Vocab = None,
        merges: Merges = None,
        unk_token: TokenLike = "<unk>",
        suffix: str = "</w>",
        dropout: float | None = None,
        lowercase: bool = False,
        unicode_normalizer: str | None = None,
        bert_normalizer: bool = True,
        split_on_whitespace_only: bool = False,
    ) -> None:
        given: tuple[Any, ...] = (vocab, merges) if vocab is not None and merges is not None else ()
        tokenizer = Tokenizer(BPE(*given, dropout=dropout, unk_token=str(unk_token), end_of_word_suffix=suffix))
        _know(tokenizer, [unk_token])
        steps: list[normalizers.Normalizer] = []
        if unicode_normalizer:
            steps.append(normalizers.unicode_normalizer_from_str(unicode_normalizer))
        if bert_normalizer:
            steps.append(normalizers.BertNormalizer(lowercase=False))
        if lowercase:
            steps.append(normalizers.Lowercase())
        tokenizer.normalizer = _in_sequence(steps)
        words = pre_tokenizers.WhitespaceSplit if split_on_whitespace_only else pre_tokenizers.BertPreTokenizer
        tokenizer.pre_tokenizer = words()
        tokenizer.decoder = decoders.BPEDecoder(suffix=suffix)
        parameters = {
            "model": "BPE",
            "unk_token": unk_token,
            "suffix": suffix,
            "dropout": dropout,
            "lowercase": lowercase,
            "unicode_normalizer": unicode_normalizer,
            "bert_normalizer": bert_normalizer,
            "split_on_whitespace_only": split_on_whitespace_only,
        }
        super().__init__(tokenizer, parameters)

    @staticmethod
    def from_file(vocab_filename: str, merges_filename: str, **options: Any) -> "CharBPETokenizer":
        """From a vocab.json and a merges.txt; `options` are those of the class."""
        return CharBPETokenizer(*BPE.read_file(vocab_filename, merges_filename), **options)

    @staticmethod
    def _options(
        vocab_size: int = 30000,
        min_frequency: int = 2,
        special_tokens: Sequence[TokenLike] = ("<unk>",),
        limit_alphabet: int = 1000,
        initial_alphabet: Sequence[str] = (),
        suffix: str | None = "</w>",
        show_progress: bool = True,
    ) -> dict[str, Any]:
        return {
            "vocab_size": vocab_size,
            "min_frequency": min_frequency,
            "special_tokens": list(special_tokens),
            "limit_alphabet": limit_alphabet,
            "initial_alphabet": list(initial_alphabet),
            "end_of_word_suffix": suffix,
            "show_progress": show_progress,
        }


class SentencePieceBPETokenizer(_TrainedBPE):
    """BPE with sentencepiece's way with spaces."""

    def __init__(
        self,
        vocab: Vocab = None,
        merges: Merges = None,
        unk_token: TokenLike = "<unk>",
        replacement: str = "▁",
        add_prefix_space: bool = True,
        dropout: float | None = None,
        fuse_unk: bool = False,
    ) -> None:
        given: tuple[Any, ...] = (vocab, merges) if vocab is not None and merges is not None else ()
        tokenizer = Tokenizer(BPE(*given, dropout=dropout, unk_token=str(unk_token), fuse_unk=fuse_unk))
        _know(tokenizer, [unk_token])
        tokenizer.normalizer = normalizers.NFKC()
        _metaspace(tokenizer, replacement, add_prefix_space)
        parameters = {
            "model": "SentencePieceBPE",
            "unk_token": unk_token,
            "replacement": replacement,
            "add_prefix_space": add_prefix_space,
            "dropout": dropout,
        }
        super().__init__(tokenizer, parameters)

    @staticmethod
    def from_file(vocab_filename: str, merges_filename: str, **options: Any) -> "SentencePieceBPETokenizer":
        """From a vocab.json and a merges.txt; `options` are those of the class."""
        return SentencePieceBPETokenizer(*BPE.read_file(vocab_filename, merges_filename), **options)

    @staticmethod
    def _options(
        vocab_size: int = 30000,
        min_frequency: int = 2,
        special_tokens: Sequence[TokenLike] = ("<unk>",),
        limit_alphabet: int = 1000,
        initial_alphabet: Sequence[str] = (),
        show_progress: bool = True,
    ) -> dict[str, Any]:
        return {
            "vocab_size": vocab_size,
            "min_frequency": min_frequency,
            "special_tokens": list(special_tokens),
            "limit_alphabet": limit_alphabet,
            "initial_alphabet": list(initial_alphabet),
            "show_progress": show_progress,
        }


class SentencePieceUnigramTokenizer(BaseTokenizer):
    """A Unigram model with sentencepiece's way with spaces."""

    def __init__(
        self,
        vocab: Sequence[tuple[str, float]] | None = None,
        replacement: str = "▁",
        add_prefix_space: bool = True,
    ) -> None:
        tokenizer = Tokenizer(Unigram(vocab))
        runs = normalizers.Replace(Regex(" {2,}"), " ")
        tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), runs])
        _metaspace(tokenizer, replacement, add_prefix_space)
        parameters = {
            "model": "SentencePieceUnigram",
            "replacement": replacement,
            "add_prefix_space": add_prefix_space,
        }
        super().__init__(tokenizer, parameters)

    @staticmethod
    def _options(
        vocab_size: int = 8000,
        show_progress: bool = True,
        special_tokens: Sequence[TokenLike] | None = None,
        initial_alphabet: Sequence[str] | None = None,
        unk_token: str | None = None,
    ) -> dict[str, Any]:
        return {
            "vocab_size": vocab_size,
            "special_tokens": list(special_tokens or ()),
            "show_progress": show_progress,
            "initial_alphabet": list(initial_alphabet or ()),
            "unk_token": unk_token,
        }

    def train(self, files: Files, *args: Any, **options: Any) -> None:
        """Learns the vocabulary from files; the options are those of `trainers.UnigramTrainer`."""
        self._train(files, "UnigramTrainer", self._options(*args, **options))

    def train_from_iterator(
        self, iterator: Iterable[Any], *args: Any, length: int | None = None, **options: Any
    ) -> None:
        """The same from texts."""
        self._train_from_iterator(iterator, length, "UnigramTrainer", self._options(*args, **options))

"""Models: how a word becomes tokens."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from enfold.base.errors import TokenizerError
from enfold.tokenizers import _engine
from enfold.tokenizers.components import Component, Count, Flag, Option, Text, Typed, spec_text
from enfold.tokenizers.printing import printed

M = TypeVar("M", bound="Model")
Path_ = str | os.PathLike[str]


class Model(Component):
    """The base of all models."""

    _slot_class: ClassVar[Any] = _engine.ModelSlot

    def _make(self, **values: Any) -> None:
        """Makes the slot; `vocab` and `merges` are no options."""
        data = {key: values.pop(key) for key in ("vocab", "merges") if key in values}
        spec: dict[str, Any] = {"type": type(self).__name__}
        for name, option in self._options.items():
            spec[option.key] = option.check(name, values[name]) if name in values else option.default
        self._slot = self._slot_class(spec_text(spec | data))

    def _spec(self) -> dict[str, Any]:
        """The options; not the vocabulary, which may be large."""
        given = json.loads(self._slot.options)
        return {option.key: given.get(option.key, option.default) for option in self._options.values()}

    def _printed(self, limit: int) -> str:
        return printed(json.loads(self._slot.spec), limit)

    def __getstate__(self) -> bytes:
        return self._slot.spec.encode()

    def tokenize(self, sequence: str) -> list[_engine.Token]:
        """The tokens of one word, with the bytes of it that they stand for."""
        return self._slot.tokenize(sequence)

    def token_to_id(self, token: str) -> int | None:
        """The id of a token, if the vocabulary has it."""
        return self._slot.token_to_id(token)

    def id_to_token(self, id: int) -> str | None:
        """The token of an id, if there is one."""
        return self._slot.id_to_token(id)

    def get_trainer(self) -> Any:
        """A trainer for models of this kind, with its defaults."""
        name = type(self).__name__.replace("BPE", "Bpe") + "Trainer"
        return getattr(import_module("enfold.tokenizers.trainers"), name)()

    def save(self, folder: Path_, prefix: str | None = None) -> list[str]:
        """Writes the vocabulary in the files that models of this kind have.

        Args:
            folder: where; files of the same names are overwritten.
            prefix: put before the names of the files, with a dash.

        Returns:
            The paths of the files.

        Raises:
            TokenizerError: `folder` is no folder.
        """
        target = Path(folder)
        if not target.is_dir():
            raise TokenizerError(f"can't save the model: {target} is no folder; create it first")
        paths = []
        for name, text in self._files(json.loads(self._slot.spec)).items():
            path = target / (f"{prefix}-{name}" if prefix else name)
            path.write_text(text, encoding="utf-8", newline="\n")
            paths.append(str(path))
        return paths

    def _files(self, spec: dict[str, Any]) -> dict[str, str]:
        """The files of this model: name → text."""
        raise NotImplementedError


BASE = Model


class ModelOption(Option[Any]):
    """An option that can be set without a look at the vocabulary."""

    def __set__(self, component: Component, value: Any) -> None:
        component._slot.set_options(spec_text({self.key: self.check(self.name, value)}))


class OptionalText(Typed[str | None], ModelOption):
    kind = str
    optional = True


class ModelText(Text, ModelOption):
    pass


class ModelFlag(Flag, ModelOption):
    pass


class ModelCount(Count, ModelOption):
    pass


class Fraction(ModelOption):
    """A number between 0 and 1, or None."""

    def check(self, name: str, value: Any) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} should be a float or None, got {type(value).__name__}")
        if not 0 <= value <= 1:
            raise ValueError(f"{name} should lie between 0 and 1, got {value}")
        return float(value)


def _read_vocab(path: Path_) -> dict[str, int]:
    text = _read(path)
    try:
        vocab = json.loads(text)
    except ValueError as error:
        raise TokenizerError(f"the vocabulary {os.fspath(path)} is no JSON: {error}") from None
    if not isinstance(vocab, dict) or not all(isinstance(id, int) for id in vocab.values()):
        raise TokenizerError(f"the vocabulary {os.fspath(path)} should be an object of tokens and their ids")
    return vocab


def _read_merges(path: Path_) -> list[tuple[str, str]]:
    merges = []
    lines = _read(path).split("\n")
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        if line.startswith("#version"):
            continue
        parts = line.split(" ")
        if len(parts) != 2:
            raise TokenizerError(
                f"line {number} of the merges {os.fspath(path)} should be two tokens with a space between, got {line!r}"
            )
        merges.append((parts[0], parts[1]))
    return merges


def _read(path: Path_) -> str:
    try:
        return Path(path).read_bytes().decode()
    except OSError as error:
        raise TokenizerError(f"can't read {os.fspath(path)}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{os.fspath(path)} is no UTF-8 text: {error}") from None


class BPE(Model):
    """Byte pair encoding: pairs of symbols are merged, those learned first before others.

    Args:
        vocab: token → id, or the path of a vocab.json.
        merges: pairs of tokens, best first, or the path of a merges.txt. Given with `vocab` or not at all.
        cache_capacity: taken for the sake of the reference's signature; the engine's caches are its own matter.
        dropout: the chance that a merge is left out, between 0 and 1.
        unk_token: what stands for characters that the vocabulary lacks; without it they vanish.
        continuing_subword_prefix: what symbols within a word begin with.
        end_of_word_suffix: what the last symbol of a word ends with.
        fuse_unk: make neighbouring unknown characters one token.
        byte_fallback: write characters that the vocabulary lacks as tokens like `<0x61>`.
        ignore_merges: take a word that is in the vocabulary whole.
    """

    dropout = Fraction("dropout", None)
    unk_token = OptionalText("unk_token", None)
    continuing_subword_prefix = OptionalText("continuing_subword_prefix", None)
    end_of_word_suffix = OptionalText("end_of_word_suffix", None)
    fuse_unk = ModelFlag("fuse_unk", False)
    byte_fallback = ModelFlag("byte_fallback", False)
    ignore_merges = ModelFlag("ignore_merges", False)

    def __init__(
        self,
        vocab: Mapping[str, int] | str | None = None,
        merges: Sequence[tuple[str, str]] | str | None = None,
        cache_capacity: int | None = None,
        dropout: float | None = None,
        unk_token: str | None = None,
        continuing_subword_prefix: str | None = None,
        end_of_word_suffix: str | None = None,
        fuse_unk: bool = False,
        byte_fallback: bool = False,
        ignore_merges: bool = False,
    ) -> None:
        if (vocab is None) != (merges is None):
            raise ValueError("vocab and merges should be given together, or neither")
        self._make(
            dropout=dropout,
            unk_token=unk_token,
            continuing_subword_prefix=continuing_subword_prefix,
            end_of_word_suffix=end_of_word_suffix,
            fuse_unk=fuse_unk,
            byte_fallback=byte_fallback,
            ignore_merges=ignore_merges,
            vocab=_read_vocab(vocab) if isinstance(vocab, str) else dict(vocab or {}),
            merges=_read_merges(merges) if isinstance(merges, str) else list(merges or []),
        )

    @staticmethod
    def read_file(vocab: Path_, merges: Path_) -> tuple[dict[str, int], list[tuple[str, str]]]:
        """What a vocab.json and a merges.txt hold.

        Raises:
            TokenizerError: a file can't be read, or does not have the format.
        """
        return _read_vocab(vocab), _read_merges(merges)

    @classmethod
    def from_file(cls, vocab: Path_, merges: Path_, **options: Any) -> "BPE":
        """A model from a vocab.json and a merges.txt; `options` are those of the class."""
        return cls(*cls.read_file(vocab, merges), **options)

    def _files(self, spec: dict[str, Any]) -> dict[str, str]:
        merges = "".join(f"{left} {right}\n" for left, right in spec["merges"])
        return {"vocab.json": spec_text(spec["vocab"]), "merges.txt": f"#version: 0.2\n{merges}"}


class WordPiece(Model):
    """The longest token that a word begins with, then the longest that goes on with it.

    Args:
        vocab: token → id, or the path of a vocab.txt.
        unk_token: what stands for a word that can't be made of tokens.
        max_input_chars_per_word: words with more characters are unknown.
        continuing_subword_prefix: what tokens within a word begin with.
    """

    unk_token = ModelText("unk_token", "[UNK]")
    continuing_subword_prefix = ModelText("continuing_subword_prefix", "##")
    max_input_chars_per_word = ModelCount("max_input_chars_per_word", 100)

    def __init__(
        self,
        vocab: Mapping[str, int] | str | None = None,
        unk_token: str = "[UNK]",
        max_input_chars_per_word: int = 100,
        continuing_subword_prefix: str = "##",
    ) -> None:
        self._make(
            unk_token=unk_token,
            max_input_chars_per_word=max_input_chars_per_word,
            continuing_subword_prefix=continuing_subword_prefix,
            vocab=self.read_file(vocab) if isinstance(vocab, str) else dict(vocab or {}),
        )

    @staticmethod
    def read_file(vocab: Path_) -> dict[str, int]:
        """What a vocab.txt holds: a token on each line, its id the number of the line."""
        lines = _read(vocab).split("\n")
        if not lines[-1]:
            lines.pop()
        return {line.rstrip(): number for number, line in enumerate(lines)}

    @classmethod
    def from_file(cls, vocab: Path_, **options: Any) -> "WordPiece":
        """A model from a vocab.txt; `options` are those of the class."""
        return cls(cls.read_file(vocab), **options)

    def _files(self, spec: dict[str, Any]) -> dict[str, str]:
        tokens = sorted(spec["vocab"], key=spec["vocab"].__getitem__)
        return {"vocab.txt": "".join(f"{token}\n" for token in tokens)}


class WordLevel(Model):
    """A word is a token, or it is unknown.

    Args:
        vocab: token → id, or the path of a vocab.json.
        unk_token: what stands for words that the vocabulary lacks.
    """

    unk_token = ModelText("unk_token", "<unk>")

    def __init__(self, vocab: Mapping[str, int] | str | None = None, unk_token: str | None = None) -> None:
        self._make(
            unk_token="<unk>" if unk_token is None else unk_token,
            vocab=_read_vocab(vocab) if isinstance(vocab, str) else dict(vocab or {}),
        )

    @staticmethod
    def read_file(vocab: Path_) -> dict[str, int]:
        """What a vocab.json holds."""
        return _read_vocab(vocab)

    @classmethod
    def from_file(cls, vocab: Path_, unk_token: str | None = None) -> "WordLevel":
        """A model from a vocab.json."""
        return cls(cls.read_file(vocab), unk_token)

    def _files(self, spec: dict[str, Any]) -> dict[str, str]:
        return {"vocab.json": spec_text(spec["vocab"])}


class Unigram(Model):
    """The most likely way to cut a word into tokens that each have a probability.

    Args:
        vocab: (token, log-probability) pairs, in the order of the ids.
        unk_id: the id of the unknown token.
        byte_fallback: write characters that the vocabulary lacks as tokens like `<0x61>`.
        alpha: cut words at random, each way with its probability to this power. Missing or 0 takes the likeliest way.
        nbest_size: how many of the likeliest ways to draw from; missing or 0 draws from all.

    `alpha` and `nbest_size` are for training models: files and pickles leave them out.
    """

    unk_id = Option("unk_id", None)
    byte_fallback = ModelFlag("byte_fallback", False)

    def __init__(
        self,
        vocab: Sequence[tuple[str, float]] | None = None,
        unk_id: int | None = None,
        byte_fallback: bool | None = None,
        alpha: float | None = None,
        nbest_size: int | None = None,
    ) -> None:
        if vocab is None:
            vocab, unk_id = [("<unk>", 0.0)], 0
        # No decimals hold a score as exactly as this.
        pieces = [[token, float(score).hex()] for token, score in vocab]
        self._make(unk_id=unk_id, byte_fallback=bool(byte_fallback), vocab=pieces)
        if alpha is not None or nbest_size is not None:
            self._sample(alpha, nbest_size)

    def _sample(self, alpha: float | None, nbest_size: int | None) -> None:
        for name, value, kinds in (("alpha", alpha, (int, float)), ("nbest_size", nbest_size, (int,))):
            if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
                raise TypeError(f"{name} should be {kinds[-1].__name__} or None, got {type(value).__name__}")
        if nbest_size is not None and nbest_size < 0:
            raise OverflowError(f"nbest_size should not be negative, got {nbest_size}")
        if alpha is not None and not math.isfinite(alpha):
            raise ValueError(f"alpha should be a finite number, got {alpha}")
        self._slot.set_sampling(None if alpha is None else float(alpha), nbest_size)

    @property
    def alpha(self) -> float | None:
        """The power of the probabilities by which a way to cut a word is drawn."""
        return self._slot.sampling[0]

    @alpha.setter
    def alpha(self, value: float | None) -> None:
        self._sample(value, self.nbest_size)

    @property
    def nbest_size(self) -> int | None:
        """How many of the likeliest ways are drawn from."""
        return self._slot.sampling[1]

    @nbest_size.setter
    def nbest_size(self, value: int | None) -> None:
        self._sample(self.alpha, value)

    def _files(self, spec: dict[str, Any]) -> dict[str, str]:
        return {"unigram.json": json.dumps(spec, ensure_ascii=False, indent=2)}

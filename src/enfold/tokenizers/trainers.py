"""Trainers: how the vocabulary of a model is learnt from text.

`Tokenizer.train` and `Tokenizer.train_from_iterator` count the words that the tokenizer's normalizer and pre-tokenizer
make of the text, then the trainer makes a model of the counts. The same text always gives the same model.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

from enfold.base.errors import ArgumentError
from enfold.base.logging import get_logger
from enfold.base.progress import advance
from enfold.tokenizers import _engine
from enfold.tokenizers._engine import AddedToken
from enfold.tokenizers.components import spec_text
from enfold.tokenizers.progress_lines import Stage

if TYPE_CHECKING:
    from enfold.tokenizers import Tokenizer

T = TypeVar("T")
logger = get_logger(__name__)

BLOCK_BYTES = 1 << 21
# Merges between two looks at the keyboard.
MERGES_AT_ONCE = 64
FORMATS = ("indicatif", "json", "silent")


class Setting(Generic[T]):
    """An option of a trainer, checked when it is set."""

    def __init__(self, check: Callable[[str, Any], T]) -> None:
        self.check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, trainer: None, owner: type) -> "Setting[T]": ...
    @overload
    def __get__(self, trainer: "Trainer", owner: type) -> T: ...
    def __get__(self, trainer: "Trainer | None", owner: type) -> "Setting[T] | T":
        return self if trainer is None else trainer._values[self.name]

    def __set__(self, trainer: "Trainer", value: Any) -> None:
        trainer._values[self.name] = self.check(self.name, value)


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} should be an int, got {type(value).__name__}")
    value = value.__index__()
    if not 0 <= value < 1 << 63:
        raise OverflowError(f"{name} should lie between 0 and 2^63 - 1, got {value}")
    return value


def _optional_count(name: str, value: Any) -> int | None:
    return None if value is None else _count(name, value)


def _positive(name: str, value: Any) -> int:
    if _count(name, value) == 0:
        raise ArgumentError(f"{name} should be at least 1, got 0")
    return _count(name, value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} should be True or False, got {type(value).__name__}")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} should be a str, got {type(value).__name__}")
    return value


def _optional_text(name: str, value: Any) -> str | None:
    return None if value is None else _text(name, value)


def _fraction(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} should be a float, got {type(value).__name__}")
    if not 0 <= value < 1:
        raise ArgumentError(f"{name} should be at least 0 and less than 1, or nothing shrinks; got {value}")
    return float(value)


def _format(name: str, value: Any) -> str:
    if value not in FORMATS:
        raise ArgumentError(f"{name} should be one of {', '.join(FORMATS)}, got {value!r}")
    return value


def _alphabet(name: str, value: Any) -> list[str]:
    characters = list(value)
    for character in characters:
        if len(_text(name, character)) != 1:
            raise ValueError(f"{name} should hold texts of one character, got {character!r}")
    return sorted(set(characters))


def _special_tokens(name: str, value: Any) -> list[AddedToken]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{name} should be a list of str or AddedToken, got {type(value).__name__}")
    tokens = []
    for given in value:
        if isinstance(given, str):
            token = AddedToken(given)
        elif isinstance(given, AddedToken):
            token = copy(given)
        else:
            raise TypeError(f"{name} should be a list of str or AddedToken, one of them is a {type(given).__name__}")
        token.special = True
        tokens.append(token)
    return tokens


class Trainer:
    """The base of all trainers. Options can be read and set."""

    model: ClassVar[str]
    vocab_size = Setting(_count)
    show_progress = Setting(_flag)
    special_tokens = Setting(_special_tokens)

    def __init__(self, **values: Any) -> None:
        if type(self) is Trainer:
            raise TypeError("Trainer can't be made by itself; make one of the classes derived from it")
        self._values: dict[str, Any] = {}
        self._word_count = 0
        if "initial_alphabet" in values:
            # Of longer texts the first character counts, here alone.
            values["initial_alphabet"] = [_text("initial_alphabet", t)[:1] for t in values["initial_alphabet"] if t]
        for name, value in values.items():
            setattr(self, name, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"

    def _special(self) -> list[str]:
        return [token.content for token in self.special_tokens]

    def _shown(self) -> bool | None:
        return None if self.show_progress else False

    def _learn(self, words: _engine.WordCounts) -> dict[str, Any]:
        """What changes in the specification of the model."""
        raise NotImplementedError


def _unit_steps(training: Any, *arguments: Any) -> Iterator[int]:
    """Runs a training of the engine to its end; yields by how much it grew."""
    more = True
    while more:
        before = len(training)
        more = training.advance(*arguments)
        yield len(training) - before


class BpeTrainer(Trainer):
    """Learns byte-pair encoding (Sennrich et al. 2016): the most frequent pair of neighbours becomes a symbol.

    Args:
        vocab_size: tokens of the vocabulary, special tokens and characters included.
        min_frequency: pairs that occur less often are not merged.
        show_progress: draw a bar on a terminal.
        progress_format: "json" writes its steps to stderr instead, one JSON object a line; "silent" nothing.
        special_tokens: the first tokens of the vocabulary, never learnt from or cut.
        limit_alphabet: keep only so many characters, the most frequent ones; the others vanish from the words.
        initial_alphabet: characters that the vocabulary has whether the text has them or not. Of longer texts the
            first character counts.
        continuing_subword_prefix: what symbols within a word begin with.
        end_of_word_suffix: what the last symbol of a word ends with.
        max_token_length: make no tokens of so many characters or more (pairs of two characters may always merge).

    Raises:
        TypeError, OverflowError, ArgumentError: an option of the wrong type or out of range.
    """

    model = "BPE"
    min_frequency = Setting(_count)
    progress_format = Setting(_format)
    limit_alphabet = Setting(_optional_count)
    initial_alphabet = Setting(_alphabet)
    continuing_subword_prefix = Setting(_optional_text)
    end_of_word_suffix = Setting(_optional_text)
    max_token_length = Setting(_optional_count)

    def __init__(
        self,
        *,
        vocab_size: int = 30000,
        min_frequency: int = 0,
        show_progress: bool = True,
        progress_format: str = "indicatif",
        special_tokens: Sequence[str | AddedToken] = (),
        limit_alphabet: int | None = None,
        initial_alphabet: Iterable[str] = (),
        continuing_subword_prefix: str | None = None,
        end_of_word_suffix: str | None = None,
        max_token_length: int | None = None,
    ) -> None:
        super().__init__(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            show_progress=show_progress,
            progress_format=progress_format,
            special_tokens=special_tokens,
            limit_alphabet=limit_alphabet,
            initial_alphabet=initial_alphabet,
            continuing_subword_prefix=continuing_subword_prefix,
            end_of_word_suffix=end_of_word_suffix,
            max_token_length=max_token_length,
        )

    def get_word_count(self) -> int:
        """The number of distinct words that the last training counted."""
        return self._word_count

    def _shown(self) -> bool | None:
        return super()._shown() if self.progress_format == "indicatif" else False

    def _learn(self, words: _engine.WordCounts) -> dict[str, Any]:
        training = _merged(self, words, max_token_length=self.max_token_length)
        return {
            "continuing_subword_prefix": self.continuing_subword_prefix,
            "end_of_word_suffix": self.end_of_word_suffix,
            "vocab": {token: id for id, token in enumerate(training.tokens)},
            "merges": training.merges,
        }


class WordPieceTrainer(Trainer):
    """Learns a WordPiece vocabulary: that of byte-pair encoding over words whose inner symbols carry a mark.

    The options are those of `BpeTrainer`.
    """

    model = "WordPiece"
    min_frequency = Setting(_count)
    limit_alphabet = Setting(_optional_count)
    initial_alphabet = Setting(_alphabet)
    continuing_subword_prefix = Setting(_text)
    end_of_word_suffix = Setting(_optional_text)

    def __init__(
        self,
        *,
        vocab_size: int = 30000,
        min_frequency: int = 0,
        show_progress: bool = True,
        special_tokens: Sequence[str | AddedToken] = (),
        limit_alphabet: int | None = None,
        initial_alphabet: Iterable[str] = (),
        continuing_subword_prefix: str = "##",
        end_of_word_suffix: str | None = None,
    ) -> None:
        super().__init__(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            show_progress=show_progress,
            special_tokens=special_tokens,
            limit_alphabet=limit_alphabet,
            initial_alphabet=initial_alphabet,
            continuing_subword_prefix=continuing_subword_prefix,
            end_of_word_suffix=end_of_word_suffix,
        )

    def _learn(self, words: _engine.WordCounts) -> dict[str, Any]:
        training = _merged(self, words, max_token_length=None)
        return {
            "continuing_subword_prefix": self.continuing_subword_prefix,
            "vocab": {token: id for id, token in enumerate(training.tokens)},
        }


def _merged(
    trainer: BpeTrainer | WordPieceTrainer, words: _engine.WordCounts, max_token_length: int | None
) -> _engine.BpeTraining:
    lines = trainer.show_progress and getattr(trainer, "progress_format", None) == "json"
    stage = Stage("Tokenize words", len(words)) if lines else None
    training = _engine.BpeTraining(
        words,
        vocab_size=trainer.vocab_size,
        min_frequency=trainer.min_frequency,
        special_tokens=trainer._special(),
        limit_alphabet=trainer.limit_alphabet,
        initial_alphabet="".join(trainer.initial_alphabet),
        continuing_subword_prefix=trainer.continuing_subword_prefix,
        end_of_word_suffix=trainer.end_of_word_suffix,
        max_token_length=max_token_length,
    )
    if len(training) > trainer.vocab_size:
        logger.warning(
            "vocab_size=%d is less than the %d special tokens and characters, which all stay: nothing is merged. "
            "limit_alphabet= leaves characters out.",
            trainer.vocab_size,
            len(training),
        )
    if stage is not None:
        stage.end(len(words))
        Stage("Count pairs", len(words)).end(len(words))
        stage = Stage("Compute merges", trainer.vocab_size)
    room = max(trainer.vocab_size - len(training), 0)
    made = 0
    for grown in advance(
        _unit_steps(training, MERGES_AT_ONCE), total=room, label="Learning merges", shown=trainer._shown()
    ):
        made += grown
        if stage is not None:
            stage.reach(made)
    if stage is not None:
        stage.reach(len(training.merges))
        stage.end(len(training.merges))
    return training


class UnigramTrainer(Trainer):
    """Learns a unigram language model (Kudo 2018).

    Substrings that occur often are fitted to the text by expectation-maximisation; those that it can best do without
    are dropped, in turns, until the vocabulary is small enough.

    Args:
        vocab_size: tokens of the vocabulary, special tokens and characters included.
        show_progress: draw a bar on a terminal.
        special_tokens: the first tokens of the vocabulary.
        initial_alphabet: characters that the vocabulary has whether the text has them or not.
        shrinking_factor: how much of the pieces each turn keeps.
        unk_token: the unknown token; put first if it is none of `special_tokens`.
        max_piece_length: characters of the longest piece.
        n_sub_iterations: steps of expectation-maximisation in each turn.
        seed_size: pieces to begin with.

    Raises:
        TypeError, OverflowError, ArgumentError: an option of the wrong type or out of range.
    """

    model = "Unigram"
    initial_alphabet = Setting(_alphabet)
    shrinking_factor = Setting(_fraction)
    unk_token = Setting(_optional_text)
    max_piece_length = Setting(_positive)
    n_sub_iterations = Setting(_positive)
    seed_size = Setting(_positive)

    def __init__(
        self,
        *,
        vocab_size: int = 8000,
        show_progress: bool = True,
        special_tokens: Sequence[str | AddedToken] = (),
        initial_alphabet: Iterable[str] = (),
        shrinking_factor: float = 0.75,
        unk_token: str | None = None,
        max_piece_length: int = 16,
        n_sub_iterations: int = 2,
        seed_size: int = 1_000_000,
    ) -> None:
        super().__init__(
            vocab_size=vocab_size,
            show_progress=show_progress,
            special_tokens=special_tokens,
            initial_alphabet=initial_alphabet,
            shrinking_factor=shrinking_factor,
            unk_token=unk_token,
            max_piece_length=max_piece_length,
            n_sub_iterations=n_sub_iterations,
            seed_size=seed_size,
        )

    def _learn(self, words: _engine.WordCounts) -> dict[str, Any]:
        training = _engine.UnigramTraining(
            words,
            vocab_size=self.vocab_size,
            n_sub_iterations=self.n_sub_iterations,
            shrinking_factor=self.shrinking_factor,
            special_tokens=self._special(),
            initial_alphabet="".join(self.initial_alphabet),
            unk_token=self.unk_token,
            max_piece_length=self.max_piece_length,
            seed_size=self.seed_size,
        )
        surplus = max(len(training) - self.vocab_size, 0)
        turns = (-step for step in _unit_steps(training))
        for _ in advance(turns, total=surplus, label="Dropping pieces", shown=self._shown()):
            pass
        return {"unk_id": training.unk_id, "vocab": training.tokens}


class WordLevelTrainer(Trainer):
    """Takes the most frequent words.

    Args:
        vocab_size: tokens of the vocabulary, special tokens included.
        min_frequency: words that occur less often are left out.
        show_progress: draw a bar on a terminal.
        special_tokens: the first tokens of the vocabulary.
    """

    model = "WordLevel"
    min_frequency = Setting(_count)

    def __init__(
        self,
        *,
        vocab_size: int = 30000,
        min_frequency: int = 0,
        show_progress: bool = True,
        special_tokens: Sequence[str | AddedToken] = (),
    ) -> None:
        super().__init__(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            show_progress=show_progress,
            special_tokens=special_tokens,
        )

    def _learn(self, words: _engine.WordCounts) -> dict[str, Any]:
        tokens = [*self._special(), *words.most_common(self.vocab_size, self.min_frequency)]
        return {"vocab": {token: id for id, token in enumerate(tokens[: self.vocab_size])}}


TRAINERS: dict[str, type[Trainer]] = {
    trainer.model: trainer for trainer in (BpeTrainer, WordPieceTrainer, UnigramTrainer, WordLevelTrainer)
}


def train(tokenizer: "Tokenizer", files: Sequence[str | os.PathLike[str]], trainer: Trainer | None = None) -> None:
    """Trains the model of a tokenizer on text files; each line is a text, its end included.

    Args:
        files: paths of UTF-8 files.
        trainer: None for one that suits the model, with its defaults.

    Raises:
        OSError: a file can't be read.
        TokenizerError: a file is no UTF-8 text, or the vocabulary has no room for what it must hold.
        ArgumentError: the trainer is for another kind of model.
    """
    if isinstance(files, str | bytes | os.PathLike):
        raise TypeError(f"files should be a list of paths, got one {type(files).__name__}")
    paths = [os.fspath(path) for path in files]
    trainer = _suited(tokenizer, trainer)
    counter = _engine.WordCounter(tokenizer)
    total = sum(os.stat(path).st_size for path in paths)
    for _ in advance(_blocks(counter, paths), total=total, label="Counting words (bytes)", shown=trainer._shown()):
        pass
    _fit(tokenizer, trainer, counter.finish())


def _blocks(counter: _engine.WordCounter, paths: list[str]) -> Iterator[int]:
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(BLOCK_BYTES):
                counter.feed(block, path)
                yield len(block)
        counter.end_file(path)


def train_from_iterator(
    tokenizer: "Tokenizer", iterator: Iterable[Any], trainer: Trainer | None = None, length: int | None = None
) -> None:
    """Trains the model of a tokenizer on the texts of an iterator.

    Args:
        iterator: over str, or over lists (or other iterables) of str.
        trainer: None for one that suits the model, with its defaults.
        length: the number of texts, for the progress bar.

    Raises:
        TypeError: something else than a str.
        TokenizerError: the vocabulary has no room for what it must hold.
        ArgumentError: the trainer is for another kind of model.
    """
    trainer = _suited(tokenizer, trainer)
    counter = _engine.WordCounter(tokenizer)
    texts = iter(iterator)
    pulled = iter(lambda: counter.pull(texts), 0)
    for _ in advance(pulled, total=length, label="Counting words (texts)", shown=trainer._shown()):
        pass
    _fit(tokenizer, trainer, counter.finish())


def _suited(tokenizer: "Tokenizer", trainer: Trainer | None) -> Trainer:
    model = tokenizer.model._slot.type
    if trainer is None:
        return TRAINERS[model]()
    if not isinstance(trainer, Trainer):
        raise TypeError(f"trainer should be a Trainer or None, got {type(trainer).__name__}")
    if trainer.model != model:
        raise ArgumentError(
            f"{type(trainer).__name__} can only train a {trainer.model}, the tokenizer has a {model}: take "
            f"{TRAINERS[model].__name__}, or set tokenizer.model"
        )
    return trainer


def _fit(tokenizer: "Tokenizer", trainer: Trainer, words: _engine.WordCounts) -> None:
    """Learns from the words and puts the model in the place of the tokenizer's."""
    trainer._word_count = len(words)
    if not len(words):
        logger.warning("there was no text to train on: the vocabulary holds what was given, nothing learnt")
    slot = tokenizer.model._slot
    slot.assign(spec_text({**json.loads(slot.options), **trainer._learn(words)}))
    tokenizer.add_special_tokens(trainer.special_tokens)


def __getattr__(name: str) -> Any:
    if name == "ParityBpeTrainer":
        from enfold.tokenizers.parity import ParityBpeTrainer

        return ParityBpeTrainer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

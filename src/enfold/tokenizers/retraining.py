"""A tokenizer of the same kind with a vocabulary of its own: what `train_new_from_iterator` does."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from enfold.base.errors import ArgumentError
from enfold.tokenizers.special_tokens import EXTRA, NAMED

if TYPE_CHECKING:
    from typing import Self

    from enfold.tokenizers import AddedToken, Tokenizer

_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


class Retraining:
    """Training a new vocabulary for a tokenizer that is there."""

    if TYPE_CHECKING:
        _tokenizer: Tokenizer
        _special_tokens: dict[str, str | AddedToken | None]
        extra_special_tokens: list[str]
        init_kwargs: dict[str, Any]

        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def train_new_from_iterator(
        self,
        text_iterator: Iterable[Any],
        vocab_size: int,
        length: int | None = None,
        new_special_tokens: "Sequence[str | AddedToken] | None" = None,
        special_tokens_map: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> "Self":
        """Train a tokenizer like this one, of the same class, steps and special tokens, on another text.

        Args:
            text_iterator: over texts or batches (lists) of texts.
            vocab_size: tokens of the new vocabulary.
            length: the number of texts, for the progress bar.
            new_special_tokens: special tokens besides those that this tokenizer has.
            special_tokens_map: new names for special tokens, old → new.
            kwargs: options of the model's trainer (`min_frequency`, `limit_alphabet`, …).

        Raises:
            TypeError: something else than text, or an option that the trainer doesn't have.
            TokenizerError: a step is Python code, which has no form in a file.
            ArgumentError: the post-processor needs a special token that the new tokenizer lacks.
        """
        from enfold.tokenizers import Tokenizer
        from enfold.tokenizers.trainers import TRAINERS

        renamed = dict(special_tokens_map or {})
        document = json.loads(self._tokenizer.to_str())
        added, post_processor = document["added_tokens"], document["post_processor"]
        document |= {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
        model = document["model"]
        kind = model["type"]
        kwargs = {**_options(model, document["pre_tokenizer"], renamed), **kwargs}
        kept = [token for token in added if token["special"] or kind == "Unigram"]
        special = [_token({**token, "content": renamed.get(token["content"], token["content"])}) for token in kept]
        trainer = TRAINERS[kind](
            vocab_size=vocab_size, special_tokens=[*special, *(new_special_tokens or ())], **kwargs
        )
        engine = Tokenizer.from_str(json.dumps(document))
        engine.train_from_iterator(text_iterator, trainer=trainer, length=length)
        if post_processor is not None:
            _renumber(post_processor, renamed, engine)
            engine = Tokenizer.from_str(json.dumps({**json.loads(engine.to_str()), "post_processor": post_processor}))
        # Added tokens that are not special keep their texts and get new ids.
        engine.add_tokens([_token(token, special=False) for token in added if token not in kept])
        options = {**self.init_kwargs, "tokenizer_object": engine}
        for name in NAMED:
            token = self._special_tokens.get(name)
            if token is None:
                continue
            content = renamed.get(str(token), str(token))
            options[name] = content if isinstance(token, str) else _token({**_flags(token), "content": content})
        extra = [*self.extra_special_tokens, *(new_special_tokens or ())]
        if extra:
            options[EXTRA] = extra
        return type(self)(**options)


def _token(fields: Mapping[str, Any], special: bool = True) -> "AddedToken":
    from enfold.tokenizers import AddedToken

    return AddedToken(fields["content"], **{name: fields[name] for name in _FLAGS}, special=special)


def _flags(token: "AddedToken") -> dict[str, Any]:
    return {name: getattr(token, name) for name in _FLAGS}


def _options(model: dict[str, Any], pre_tokenizer: dict[str, Any] | None, renamed: Mapping[str, str]) -> dict[str, Any]:
    """Empties the model; returns what its trainer has to know of it."""
    kind = model["type"]
    if "unk_token" in model:
        model["unk_token"] = renamed.get(model["unk_token"], model["unk_token"])
    options: dict[str, Any] = {}
    if kind == "Unigram":
        if model["unk_id"] is not None:
            unknown = model["vocab"][model["unk_id"]][0]
            options["unk_token"] = renamed.get(unknown, unknown)
        model |= {"vocab": [], "unk_id": None}
    else:
        model["vocab"] = {}
    if kind == "BPE":
        model["merges"] = []
        for name in ("continuing_subword_prefix", "end_of_word_suffix"):
            if model.get(name) is not None:
                options[name] = model[name]
    if kind != "WordLevel" and pre_tokenizer is not None and _has_bytes(pre_tokenizer):
        from enfold.tokenizers.pre_tokenizers import ByteLevel

        options["initial_alphabet"] = ByteLevel.alphabet()
    return options


def _has_bytes(pre_tokenizer: dict[str, Any]) -> bool:
    return pre_tokenizer["type"] == "ByteLevel" or any(map(_has_bytes, pre_tokenizer.get("pretokenizers", ())))


def _renumber(processor: dict[str, Any], renamed: Mapping[str, str], engine: "Tokenizer") -> None:
    """Gives the special tokens of a post-processor their new names and ids."""

    def id_of(token: str) -> int:
        index = engine.token_to_id(token)
        if index is None:
            raise ArgumentError(
                f"The post-processor puts in the token {token!r}, which the new vocabulary lacks: add it with "
                "new_special_tokens, or rename it with special_tokens_map."
            )
        return index

    for part in processor.get("processors", ()):
        _renumber(part, renamed, engine)
    for entry in processor.get("special_tokens", {}).values():
        entry["tokens"] = [renamed.get(token, token) for token in entry["tokens"]]
        entry["ids"] = [id_of(token) for token in entry["tokens"]]
    for name in ("cls", "sep"):
        if name in processor:
            token = renamed.get(processor[name][0], processor[name][0])
            processor[name] = [token, id_of(token)]

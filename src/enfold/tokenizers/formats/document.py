"""A tokenizer.json document under construction, before the engine reads it."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from enfold.base.errors import TokenizerError

if TYPE_CHECKING:
    from enfold.tokenizers import AddedToken, Tokenizer

FIELDS = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")


def added_token(fields: Mapping[str, Any], source: Any, **forced: Any) -> "AddedToken":
    """An AddedToken from its JSON form; `forced` fields win."""
    from enfold.tokenizers import AddedToken

    known = {key: fields[key] for key in FIELDS if key in fields} | forced
    if not isinstance(known.get("content"), str):
        raise TokenizerError(f"{source}: an added token needs its text under 'content', found {dict(fields)!r:.120}.")
    for key, value in known.items():
        if key != "content" and not isinstance(value, bool):
            raise TokenizerError(f"{source}: {key!r} of added token {known['content']!r} must be true or false.")
    return AddedToken(**known)


def token_fields(token: "AddedToken") -> dict[str, Any]:
    """The JSON form of an AddedToken, without its id."""
    return {key: getattr(token, key) for key in FIELDS}


def special(token: str, type_id: int = 0) -> dict[str, Any]:
    """A special token in a template."""
    return {"SpecialToken": {"id": token, "type_id": type_id}}


def sequence(name: str, type_id: int = 0) -> dict[str, Any]:
    """The first (`"A"`) or second (`"B"`) text in a template."""
    return {"Sequence": {"id": name, "type_id": type_id}}


def template(single: list[dict], pair: list[dict], ids: Mapping[str, int]) -> dict[str, Any]:
    """A TemplateProcessing post-processor."""
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": pair,
        "special_tokens": {token: {"id": token, "ids": [index], "tokens": [token]} for token, index in ids.items()},
    }


def begin_end_template(begin: tuple[str, int] | None, end: tuple[str, int] | None) -> dict[str, Any]:
    """Each text between a begin and an end token, either of which may be missing; tokens as (text, id)."""

    def around(name: str, type_id: int) -> list[dict]:
        first = [special(begin[0], type_id)] if begin else []
        last = [special(end[0], type_id)] if end else []
        return [*first, sequence(name, type_id), *last]

    return template(around("A", 0), around("A", 0) + around("B", 1), dict(filter(None, (begin, end))))


class Document:
    """A tokenizer.json as a dictionary, with the id arithmetic that adding tokens needs.

    Args:
        model: the `model` section, `vocab` included.
        sections: `normalizer`, `pre_tokenizer`, `post_processor`, `decoder`; what is missing is null.
    """

    def __init__(self, model: dict[str, Any], **sections: Any):
        self.model = model
        self.sections = {
            name: sections.get(name) for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder")
        }
        self._added: dict[str, tuple[int, AddedToken]] = {}
        vocab = model["vocab"]
        self._vocab: Mapping[str, int] = (
            vocab if isinstance(vocab, dict) else {entry[0]: index for index, entry in enumerate(vocab)}
        )
        self._size = len(vocab)

    def id_of(self, token: str) -> int | None:
        """The id of a token, added or of the vocabulary."""
        return self._added[token][0] if token in self._added else self._vocab.get(token)

    def added(self) -> list[str]:
        """The added tokens' texts."""
        return list(self._added)

    def add(self, tokens: "Iterable[AddedToken]") -> None:
        """Add tokens as the engine would: a known text keeps its id and gets new flags, a new one takes the next id."""
        for token in tokens:
            if not token.content:
                continue
            index = self.id_of(token.content)
            if index is None:
                highest = max((i for i, _ in self._added.values()), default=-1)
                index = max(highest + 1, self._size)
            self._added[token.content] = (index, token)

    def ids(self, tokens: Sequence[str]) -> dict[str, int]:
        """token → id for tokens that must be known."""
        found = {}
        for token in tokens:
            index = self.id_of(token)
            if index is None:
                raise TokenizerError(f"Special token {token!r} is not in the vocabulary.")
            found[token] = index
        return found

    def _without_model(self) -> dict[str, Any]:
        added = [
            {"id": index, **token_fields(token)} for index, token in sorted(self._added.values(), key=lambda e: e[0])
        ]
        return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, **self.sections}

    def to_json(self) -> str:
        """The document as text."""
        return json.dumps({**self._without_model(), "model": self.model}, ensure_ascii=False)

    def build(self) -> "Tokenizer":
        """The engine's tokenizer."""
        from enfold.tokenizers import Tokenizer

        # The vocabulary, which may be large, and its scores, which no decimals can hold, are handed over as they are.
        options = {key: value for key, value in self.model.items() if key not in ("vocab", "merges")}
        sections, model = (json.dumps(part, ensure_ascii=False) for part in (self._without_model(), options))
        vocab, merges = self.model["vocab"], self.model.get("merges")
        return _reported(lambda: Tokenizer._from_parts(sections, model, vocab, merges), "the tokenizer's parts")


def engine_from(document: str, source: Any) -> "Tokenizer":
    """Hand a tokenizer.json to the engine; whatever it refuses is reported with `source`."""
    from enfold.tokenizers import Tokenizer

    return _reported(lambda: Tokenizer.from_str(document), source)


def _reported(make: "Callable[[], Tokenizer]", source: Any) -> "Tokenizer":
    try:
        return make()
    except ImportError:
        raise
    except Exception as error:
        raise TokenizerError(f"{source}: {error}") from error

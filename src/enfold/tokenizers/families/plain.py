"""Tokenizers without an engine: characters, bytes, and the few families that are small programs of their own.

They have the interface of every tokenizer and, as in transformers, know no offsets, words or overflowing rows.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from enfold.base.errors import ArgumentError, TokenizerError
from enfold.tokenizers.batch_encoding import to_python
from enfold.tokenizers.calls import refuse_unknown
from enfold.tokenizers.families.plain_calls import PlainCalls
from enfold.tokenizers.formats.document import token_fields
from enfold.tokenizers.loading import ADDED, Source, find_source, settings
from enfold.tokenizers.pretrained import OPTIONS, PreTrainedTokenizerFast
from enfold.tokenizers.special_tokens import EXTRA, NAMED

if TYPE_CHECKING:
    from enfold.tokenizers import AddedToken


class PlainTokenizer(PlainCalls, PreTrainedTokenizerFast):
    """A tokenizer in Python; its subclasses say what a token is.

    Args:
        added_tokens_decoder: id → AddedToken.
        options: as of every tokenizer, and what the family takes.
    """

    is_fast = False
    # Every option that the class takes, special tokens included.
    defaults: ClassVar[Mapping[str, Any]] = {}
    # Special token → flags that it has when it is given as a plain string.
    flags: ClassVar[Mapping[str, Mapping[str, bool]]] = {}
    # Argument → file of the repository. Those that end in "?" may be missing.
    files: ClassVar[Mapping[str, str]] = {}
    # Where special tokens stand, by name: "cls $A sep".
    single: ClassVar[str] = "$A"
    pair: ClassVar[str] = "$A $B"
    # Whether the second text of a pair has the second token type.
    second_type: ClassVar[bool] = True

    def __init__(
        self,
        *,
        added_tokens_decoder: "Mapping[int, AddedToken] | None" = None,
        name_or_path: str = "",
        **options: Any,
    ):
        from enfold.tokenizers import AddedToken

        self.name_or_path = name_or_path
        self._warned: set[str] = set()
        self._declared_class = None
        given = {key: value for key, value in options.items() if not key.startswith("_")}
        options = {**self.defaults, **options}
        for name, flags in self.flags.items():
            if isinstance(options[name], str):
                options[name] = AddedToken(options[name], **flags)
        if EXTRA not in options and options.get("additional_special_tokens") is None:
            options["additional_special_tokens"] = self._extra(options)
        self._added: dict[int, AddedToken] = {**self._own_tokens(options), **(added_tokens_decoder or {})}
        self._added_ids = {token.content: index for index, token in self._added.items()}
        self._pattern: re.Pattern[str] | None = None
        self._take_options(options)
        for key in self.defaults:
            if not key.endswith("_token") and not hasattr(type(self), key):
                self.__dict__.setdefault(key, options[key])
        self.init_kwargs = {**self.defaults, **given}
        self.add_tokens([token for token in self.all_special_tokens if token not in self._added_ids], True)

    # What a family says

    def _extra(self, options: Mapping[str, Any]) -> list[str]:
        """Extra special tokens that the family has by default."""
        return []

    def _own_tokens(self, options: Mapping[str, Any]) -> "dict[int, AddedToken]":
        """Tokens that stand at fixed ids."""
        return {}

    def _tokens(self, text: str) -> list[str]:
        """Text without added tokens → tokens."""
        raise NotImplementedError

    def _id(self, token: str) -> int | None:
        """The id of a token of the vocabulary, the unknown token's for others."""
        raise NotImplementedError

    def _known(self, token: str) -> int | None:
        """The id of a token of the vocabulary itself."""
        raise NotImplementedError

    def _token(self, index: int) -> str | None:
        """The token of an id of the vocabulary."""
        raise NotImplementedError

    def _base_vocab(self) -> dict[str, int]:
        """The vocabulary without added tokens."""
        raise NotImplementedError

    def _uncut(self) -> Iterable[str]:
        """Tokens of the vocabulary that are found wherever they stand."""
        return ()

    # Vocabulary

    @property
    def backend_tokenizer(self) -> Any:
        """There is none."""
        raise TokenizerError(f"{type(self).__name__} is written in Python: it has no engine to hand out.")

    def get_vocab(self) -> dict[str, int]:
        """token → id, added tokens included."""
        return {**self._base_vocab(), **self._added_ids}

    def __len__(self) -> int:
        base = self._base_size()
        return base + sum(1 for token in self._added_ids if self._known(token) is None)

    def _base_size(self) -> int:
        return len(self._base_vocab())

    @property
    def added_tokens_decoder(self) -> "dict[int, AddedToken]":
        """id → added token."""
        return dict(sorted(self._added.items()))

    @property
    def _model_type(self) -> str:
        return ""

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        """Add tokens to the vocabulary; returns how many were new. See `SpecialTokens.add_tokens`."""
        from enfold.tokenizers import AddedToken

        tokens: list[Any] = list(new_tokens) if isinstance(new_tokens, (list, tuple)) else [new_tokens]
        next_id, added = len(self), 0
        for token in tokens:
            if isinstance(token, str):
                if not token or token in self._added_ids:
                    continue
                special = special_tokens or token in self.all_special_tokens
                token = self._added_token(token, special)
            elif not isinstance(token, AddedToken):
                raise ArgumentError(
                    f"A token must be a string or an AddedToken, got {type(token).__name__}: {token!r}."
                )
            elif special_tokens and not token.special:
                token = AddedToken(**{**token_fields(token), "special": True})
            if not token.special and token.normalized and getattr(self, "do_lower_case", False):
                token = AddedToken(**{**token_fields(token), "content": token.content.lower()})
            index = self._known(token.content)
            if index is None:
                index = self._added_ids.get(token.content)
            if index is None:
                index = next_id + added
                added += 1
            if token.special and token.content not in self.all_special_tokens:
                self._extra_special.append(token)
            self._added[index] = token
            self._added_ids[token.content] = index
        self._pattern = None
        return added

    def _added_token(self, text: str, special: bool) -> "AddedToken":
        from enfold.tokenizers import AddedToken

        return AddedToken(text, normalized=not special, special=special)

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """The id of a token, or the ids of several; the unknown token's for what is not in the vocabulary."""
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in tokens]
        return self._added_ids[tokens] if tokens in self._added_ids else self._id(tokens)

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or the tokens of several."""
        if isinstance(ids, int):
            return self._added[ids].content if ids in self._added else self._token(ids)
        skip = set(self.all_special_ids) if skip_special_tokens else ()
        return [self.convert_ids_to_tokens(int(index)) for index in ids if int(index) not in skip]

    # Encoding

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **kwargs: Any
    ) -> list[str]:
        """The tokens of a text as strings of the vocabulary."""
        if add_special_tokens or pair is not None:
            return self.convert_ids_to_tokens(self(text, pair, add_special_tokens=add_special_tokens)["input_ids"])
        split = kwargs.pop("split_special_tokens", self.split_special_tokens)
        if kwargs:
            refuse_unknown(self.tokenize, kwargs, ["text", "pair", "add_special_tokens", "split_special_tokens"])
        if split:
            return self._tokens(text)
        found: list[str] = []
        for piece, added in self._cut(text):
            if piece:
                found += [piece] if added else self._tokens(piece)
        return found

    def _cut(self, text: str) -> list[tuple[str, bool]]:
        """The text cut at added tokens, which take white space with them or want it, as their flags say."""
        if self._pattern is None:
            longest = sorted({*self._added_ids, *self._uncut()}, key=len, reverse=True)
            if not longest:
                return [(text, False)]
            self._pattern = re.compile("|".join(map(re.escape, longest)))
        spans, end = [], 0
        for match in self._pattern.finditer(text):
            spans += [text[end : match.start()], match.group()]
            end = match.end()
        spans.append(text[end:])
        pieces = [piece for piece in spans if piece]
        for place, piece in enumerate(pieces):
            if piece not in self._added_ids:
                continue
            token = self._added[self._added_ids[piece]]
            before = pieces[place - 1] if place else ""
            after = pieces[place + 1] if place + 1 < len(pieces) else ""
            if token.rstrip and after:
                pieces[place + 1] = after.lstrip()
            if token.lstrip and before:
                pieces[place - 1] = before.rstrip()
            if token.single_word and before and before[-1] != " ":
                pieces[place - 1], pieces[place] = pieces[place - 1] + piece, ""
            elif token.single_word and after and after[0] != " ":
                pieces[place + 1], pieces[place] = piece + pieces[place + 1], ""
        return [(piece, piece in self._added_ids) for piece in pieces]

    # Special tokens

    def _place(self, first: list[int], second: list[int] | None, special: Any) -> list[Any]:
        """The pattern filled in: the sequences, and for each special token `special(name)`."""
        placed: list[Any] = []
        for name in (self.single if second is None else self.pair).split():
            if name.startswith("$"):
                placed += first if name == "$A" else (second or [])
            else:
                placed += special(name)
        return placed

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """The ids of a text or pair with the special tokens in their places."""

        def index(name: str) -> list[int]:
            found = getattr(self, f"{name}_token_id")
            if found is None:
                raise ArgumentError(f"{type(self).__name__} adds {name}_token, which is not set.")
            return [found]

        return self._place(token_ids_0, token_ids_1, index)

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """0 for the first text and its special tokens, 1 for the second, where the family tells them apart."""
        first = len(self.build_inputs_with_special_tokens(token_ids_0))
        if token_ids_1 is None:
            return [0] * first
        both = len(self.build_inputs_with_special_tokens(token_ids_0, token_ids_1))
        return [0] * first + [int(self.second_type)] * (both - first)

    def _special_mask(self, first: list[int], second: list[int] | None) -> list[int]:
        zeros = None if second is None else [0] * len(second)
        return self._place([0] * len(first), zeros, lambda name: [1])

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 where a special token stands, in ids that hold them already or will."""
        if already_has_special_tokens:
            return super().get_special_tokens_mask(token_ids_0, token_ids_1, True)
        return self._special_mask(list(token_ids_0), None if token_ids_1 is None else list(token_ids_1))

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many tokens encoding adds to a text, or to a pair."""
        return len(self.build_inputs_with_special_tokens([], [] if pair else None))

    # Decoding

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Tokens → text."""
        return " ".join(tokens)

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Ids → text; a batch of rows gives a list of texts. See `PreTrainedTokenizerFast.decode`."""
        ids: Any = to_python(token_ids["input_ids"] if isinstance(token_ids, Mapping) else token_ids)
        if isinstance(ids, list) and ids and isinstance(ids[0], list):
            return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces, **kwargs) for row in ids]
        return self._text(
            [ids] if isinstance(ids, int) else ids, skip_special_tokens, clean_up_tokenization_spaces, **kwargs
        )

    def _text(self, ids: list[int], skip_special: bool, tidy: bool | None, **kwargs: Any) -> Any:
        if kwargs:
            refuse_unknown(self.decode, kwargs, ["token_ids", "skip_special_tokens", "clean_up_tokenization_spaces"])
        text = self.convert_tokens_to_string(self.convert_ids_to_tokens(ids, skip_special_tokens=skip_special))
        return self._tidied(text, tidy)

    def _tidied(self, text: str, tidy: bool | None) -> str:
        tidy = self.clean_up_tokenization_spaces if tidy is None else tidy
        return self.clean_up_tokenization(text) if tidy else text

    # Files

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        *,
        use_fast: bool | None = None,
        trust_remote_code: bool | None = None,
        gguf_file: str | None = None,
        _source: Source | None = None,
        **overrides: Any,
    ) -> "PlainTokenizer":
        """Load a tokenizer. See `PreTrainedTokenizerFast.from_pretrained`."""
        where = {
            key: overrides.pop(key)
            for key in ("cache_dir", "local_files_only", "token", "revision", "subfolder")
            if key in overrides
        }
        if gguf_file is not None:
            raise ArgumentError(f"{cls.__name__} can't be read from a GGUF file.")
        source = _source or find_source(pretrained_model_name_or_path, **where)
        known = {*OPTIONS, *cls.defaults}
        if strange := [key for key in overrides if key not in known and not key.endswith("_token")]:
            refuse_unknown(cls.from_pretrained, strange, [*sorted(known), *NAMED, *where])
        options = settings(source, overrides)
        options["name_or_path"] = source.name
        for argument, name in cls.files.items():
            path = source.find(name.removesuffix("?"))
            if path is None and not name.endswith("?"):
                raise TokenizerError(f"{source.name}: {cls.__name__} needs {name}, which is not there.")
            options[argument] = path
        return cls(**options)

    def _config(self) -> dict[str, Any]:
        config = {key: value for key, value in super()._config().items() if key not in self.files}
        config["backend"] = "custom"
        config["added_tokens_decoder"] = {
            str(index): token_fields(token) for index, token in self.added_tokens_decoder.items()
        }
        return config

    def _save_vocabulary(self, folder: Path, filename_prefix: str | None) -> list[Path]:
        files = list(map(Path, self.save_vocabulary(folder, filename_prefix)))
        size = self.vocab_size
        beyond = {token: index for token, index in self._added_ids.items() if index >= size}
        if beyond:
            files.append(self._write_json(folder, ADDED, beyond, filename_prefix))
        return files

    def save_vocabulary(self, save_directory: str | os.PathLike, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write the vocabulary's own files, if the family has any."""
        return ()

    @staticmethod
    def _write_json(folder: Path, name: str, value: Any, prefix: str | None) -> Path:
        path = folder / ((f"{prefix}-" if prefix else "") + name)
        path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
        return path

    def train_new_from_iterator(self, *args: Any, **kwargs: Any) -> Any:
        """Not for tokenizers without an engine."""
        raise ArgumentError(f"{type(self).__name__} has no engine, so nothing to train.")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pattern": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

"""The named tokens of a tokenizer: `bos_token`, `eos_token`, … their ids, and the extra ones."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from enfold.base.errors import ArgumentError

if TYPE_CHECKING:
    from enfold.tokenizers import AddedToken, Tokenizer

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
EXTRA = "extra_special_tokens"
# The names of transformers 4 and 5 for the same list.
EXTRA_NAMES = frozenset({EXTRA, "additional_special_tokens"})


def as_special(token: "str | AddedToken") -> "AddedToken":
    """A plain string becomes a special token that is matched as it stands in the text."""
    from enfold.tokenizers import AddedToken

    return AddedToken(token, normalized=False, special=True) if isinstance(token, str) else token


def _token_name(attribute: str) -> tuple[str, bool]:
    """`eos_token_id` → (`eos_token`, True); `eos_token` → (`eos_token`, False)."""
    for suffix in ("_ids", "_id"):
        if attribute.endswith(suffix):
            return attribute[: -len(suffix)], True
    return attribute, False


class SpecialTokens:
    """Special tokens as attributes: `tokenizer.pad_token = tokenizer.eos_token`, `tokenizer.eos_token_id`, …

    Names beyond the usual seven (`image_token`, …) become attributes when the tokenizer's configuration has them.
    """

    if TYPE_CHECKING:
        bos_token: str | None
        eos_token: str | None
        unk_token: str | None
        sep_token: str | None
        pad_token: str | None
        cls_token: str | None
        mask_token: str | None
        bos_token_id: int | None
        eos_token_id: int | None
        unk_token_id: int | None
        sep_token_id: int | None
        pad_token_id: int | None
        cls_token_id: int | None
        mask_token_id: int | None
        extra_special_tokens: list[str]
        extra_special_tokens_ids: list[int]
        _tokenizer: Tokenizer

        def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any: ...
        def convert_ids_to_tokens(self, ids: int | Iterable[int], skip_special_tokens: bool = False) -> Any: ...

    SPECIAL_TOKENS_ATTRIBUTES: Sequence[str] = NAMED

    def _set_special_tokens(self, named: Mapping[str, Any], extra: Sequence[Any]) -> None:
        for key, value in named.items():
            if value is not None and not _is_token(value):
                raise ArgumentError(f"{key} must be a string or an AddedToken, got {type(value).__name__}: {value!r}.")
        names = [*NAMED, *(key for key in named if key not in NAMED)]
        self.__dict__["SPECIAL_TOKENS_ATTRIBUTES"] = names
        self.__dict__["_special_tokens"] = {key: named.get(key) for key in names}
        self.__dict__["_extra_special"] = list(extra)

    def __getattr__(self, attribute: str) -> Any:
        # Reached only when ordinary lookup failed; `__dict__` is empty while unpickling.
        name, wants_id = _token_name(attribute)
        named = self.__dict__.get("_special_tokens", {})
        if name in named:
            token = named[name]
            if token is None:
                return None
            return self.convert_tokens_to_ids(str(token)) if wants_id else str(token)
        if name in EXTRA_NAMES:
            tokens = [str(token) for token in self.__dict__.get("_extra_special", ())]
            return self.convert_tokens_to_ids(tokens) if wants_id else tokens
        if attribute in {"encode_plus", "batch_encode_plus"}:
            raise AttributeError(
                f"{attribute} left with transformers 5: call the tokenizer itself, tokenizer(text, …) or "
                "tokenizer([text, …], …); the arguments are the same."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {attribute!r}")

    def __setattr__(self, attribute: str, value: Any) -> None:
        # What calls resolved from the attributes no longer holds.
        self.__dict__["_requests"] = {}
        name, is_id = _token_name(attribute)
        named = self.__dict__.get("_special_tokens", {})
        if name in named:
            if is_id and value is not None:
                value = self._token_of(attribute, value)
            if value is not None and not _is_token(value):
                raise ArgumentError(f"{name} must be a string or an AddedToken, got {type(value).__name__}: {value!r}.")
            named[name] = value
        elif name in EXTRA_NAMES:
            if value is not None and not isinstance(value, (list, tuple)):
                raise ArgumentError(f"{attribute} must be a list, got {type(value).__name__}: {value!r}.")
            values = list(value or ())
            self.__dict__["_extra_special"] = [self._token_of(attribute, v) for v in values] if is_id else values
        else:
            super().__setattr__(attribute, value)

    def _token_of(self, attribute: str, index: int) -> str:
        token = self.convert_ids_to_tokens(int(index))
        if token is None:
            raise ArgumentError(f"{attribute} = {index}: the vocabulary has no such id.")
        return token

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """The named special tokens that are set, as strings."""
        return {name: str(token) for name, token in self._special_tokens.items() if token is not None}

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token once, named ones first."""
        return list(dict.fromkeys([*self.special_tokens_map.values(), *(str(t) for t in self._extra_special)]))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of `all_special_tokens`."""
        return self.convert_tokens_to_ids(self.all_special_tokens)

    def add_tokens(
        self, new_tokens: "str | AddedToken | Sequence[str | AddedToken]", special_tokens: bool = False
    ) -> int:
        """Add tokens to the vocabulary; returns how many were new.

        Args:
            new_tokens: one token or several; a string is matched after normalisation unless it is special.
            special_tokens: mark them special: `decode(..., skip_special_tokens=True)` leaves them out.
        """
        if not new_tokens:
            return 0
        tokens: list[Any] = list(new_tokens) if isinstance(new_tokens, (list, tuple)) else [new_tokens]
        for token in tokens:
            if not _is_token(token):
                raise ArgumentError(
                    f"A token must be a string or an AddedToken, got {type(token).__name__}: {token!r}."
                )
        return self._tokenizer.add_special_tokens(tokens) if special_tokens else self._tokenizer.add_tokens(tokens)

    def add_special_tokens(
        self, special_tokens_dict: Mapping[str, Any], replace_extra_special_tokens: bool = True
    ) -> int:
        """Set named special tokens and add to the vocabulary what it lacks; returns how many were new.

        Args:
            special_tokens_dict: `{"pad_token": "[PAD]"}`; the key `extra_special_tokens` (or its older name
                `additional_special_tokens`) takes a list.
            replace_extra_special_tokens: False keeps the extra special tokens there were.

        Raises:
            ArgumentError: a key that is no special token's name, a value that is no token.
        """
        to_add: list[AddedToken] = []
        allowed = [*self._special_tokens, *sorted(EXTRA_NAMES)]
        for key, value in special_tokens_dict.items():
            if key not in allowed:
                raise ArgumentError(f"{key!r} is not the name of a special token. Known names: {', '.join(allowed)}.")
            if key in EXTRA_NAMES:
                if not isinstance(value, (list, tuple)) or not all(_is_token(token) for token in value):
                    raise ArgumentError(f"{key} must be a list of strings or AddedTokens, got {value!r}.")
                known = set() if replace_extra_special_tokens else set(self.extra_special_tokens)
                tokens = [as_special(token) for token in value if str(token) not in known]
                if replace_extra_special_tokens and tokens:
                    self._extra_special.clear()
                self._extra_special.extend(tokens)
                to_add.extend(tokens)
            else:
                if not _is_token(value):
                    raise ArgumentError(f"{key} must be a string or an AddedToken, got {value!r}.")
                setattr(self, key, as_special(value))
                to_add.append(as_special(value))
        return self.add_tokens(to_add, special_tokens=True)

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 where an id is that of a special token, else 0; the ids must hold their special tokens already."""
        if not already_has_special_tokens:
            raise ArgumentError(
                "get_special_tokens_mask works on ids that hold their special tokens already "
                "(already_has_special_tokens=True); for text use tokenizer(text, return_special_tokens_mask=True)."
            )
        if token_ids_1 is not None:
            raise ArgumentError("With already_has_special_tokens=True both sequences stand in token_ids_0.")
        special = set(self.all_special_ids)
        return [int(int(index) in special) for index in token_ids_0]


def _is_token(value: object) -> bool:
    from enfold.tokenizers import AddedToken

    return isinstance(value, (str, AddedToken))

"""Post-processors: what stands around the tokens of a text or of a pair of texts."""

from collections.abc import Sequence as Items
from typing import Any, ClassVar

from enfold.tokenizers import _engine
from enfold.tokenizers.components import Component, Flag, Option, Parts, slots_of

Special = tuple[str, int] | tuple[int, str] | dict[str, Any]


class PostProcessor(Component):
    """The base of all post-processors."""

    _slot_class: ClassVar[Any] = _engine.PostProcessorSlot

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        """How many tokens it puts around one sequence, or around a pair."""
        return self._slot.num_special_tokens_to_add(is_pair)

    def process(
        self, encoding: _engine.Encoding, pair: _engine.Encoding | None = None, add_special_tokens: bool = True
    ) -> _engine.Encoding:
        """An encoding, or two, with what stands around them; they themselves stay as they are."""
        return self._slot.process(encoding, pair, add_special_tokens)


BASE = PostProcessor


class SpecialToken(Option[tuple[str, int]]):
    """A token and its id."""

    def read(self, value: Any) -> tuple[str, int]:
        return (value[0], value[1])

    def check(self, name: str, value: Any) -> list[Any]:
        if not (
            isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)
        ):
            raise TypeError(f"{name} should be a tuple of a token and its id, got {value!r}")
        if value[1] < 0:
            raise OverflowError(f"the id of {name} should not be negative, got {value[1]}")
        return list(value)


class BertProcessing(PostProcessor):
    """`[CLS] A [SEP]` and `[CLS] A [SEP] B [SEP]`.

    Args:
        sep: the separator and its id.
        cls: the first token and its id.
    """

    sep = SpecialToken("sep")
    cls = SpecialToken("cls")

    def __init__(self, sep: tuple[str, int], cls_token: tuple[str, int]) -> None:
        self._make(sep=sep, cls=cls_token)


class RobertaProcessing(PostProcessor):
    """`<s> A </s>` and `<s> A </s> </s> B </s>`, all of type 0.

    Args:
        sep: the separator and its id.
        cls: the first token and its id.
        trim_offsets: leave white space out of the offsets.
        add_prefix_space: whether the pre-tokenizer put a space first, which then stands for no character.
    """

    sep = SpecialToken("sep")
    cls = SpecialToken("cls")
    trim_offsets = Flag("trim_offsets", True)
    add_prefix_space = Flag("add_prefix_space", True)

    def __init__(
        self,
        sep: tuple[str, int],
        cls_token: tuple[str, int],
        trim_offsets: bool = True,
        add_prefix_space: bool = True,
    ) -> None:
        self._make(sep=sep, cls=cls_token, trim_offsets=trim_offsets, add_prefix_space=add_prefix_space)


class ByteLevel(PostProcessor):
    """Leaves white space out of the offsets of byte-level tokens.

    Args:
        add_prefix_space: whether the pre-tokenizer put a space first, which then stands for no character.
        trim_offsets: whether it does anything at all.
        use_regex: kept for the file format.
    """

    add_prefix_space = Flag("add_prefix_space", True)
    trim_offsets = Flag("trim_offsets", True)
    use_regex = Flag("use_regex", True)

    def __init__(
        self, add_prefix_space: bool | None = None, trim_offsets: bool | None = None, use_regex: bool | None = None
    ) -> None:
        given = {"add_prefix_space": add_prefix_space, "trim_offsets": trim_offsets, "use_regex": use_regex}
        self._make(**{name: value for name, value in given.items() if value is not None})


def _piece(text: Any) -> dict[str, Any]:
    """A part of a template: `$A`, `$B:1`, `$2` (a type of sequence A), `[SEP]`, `[SEP]:1`."""
    name, _, type_id = text.partition(":")
    if ":" in text and not type_id.isdecimal():
        raise ValueError(f"{text!r} is no part of a template: what follows the colon should be a type id")
    if not name.startswith("$"):
        return {"SpecialToken": {"id": name, "type_id": int(type_id or 0)}}
    which = name[1:]
    if which in ("", "A", "a", "B", "b"):
        return {"Sequence": {"id": which.upper() or "A", "type_id": int(type_id or 0)}}
    if which.isdecimal():
        return {"Sequence": {"id": "A", "type_id": int(type_id or which)}}
    raise ValueError(f"{text!r} is no part of a template: a sequence is $A or $B, or $ and a type id")


class Template(Option[str]):
    """A template: a text with spaces between the parts, or a list of them."""

    def read(self, value: Any) -> str:
        parts = []
        for piece in value:
            if "Sequence" in piece:
                parts.append(f"Sequence {{ id: {piece['Sequence']['id']}, type_id: {piece['Sequence']['type_id']} }}")
            else:
                special = piece["SpecialToken"]
                parts.append(f'SpecialToken {{ id: "{special["id"]}", type_id: {special["type_id"]} }}')
        return f"Template([{', '.join(parts)}])"

    def check(self, name: str, value: Any) -> list[dict[str, Any]]:
        return [_piece(part) for part in (value.split(" ") if isinstance(value, str) else value)]


class Specials(Option[dict[str, Any]]):
    """The special tokens that a template names."""

    def check(self, name: str, value: Any) -> dict[str, Any]:
        specials = {}
        for item in value:
            if isinstance(item, dict):
                special = {"id": item["id"], "ids": list(item["ids"]), "tokens": list(item["tokens"])}
                if len(special["ids"]) != len(special["tokens"]):
                    raise ValueError(f"the special token {item['id']!r} needs as many ids as tokens")
            elif isinstance(item, tuple) and len(item) == 2:
                token, number = item if isinstance(item[0], str) else item[::-1]
                if not isinstance(token, str) or not isinstance(number, int) or number < 0:
                    raise TypeError(f"a special token should be (token, id), (id, token) or a dict, got {item!r}")
                special = {"id": token, "ids": [number], "tokens": [token]}
            else:
                raise TypeError(f"a special token should be (token, id), (id, token) or a dict, got {item!r}")
            specials[special["id"]] = special
        return dict(sorted(specials.items()))


class TemplateProcessing(PostProcessor):
    """Any arrangement of the sequences and of special tokens.

    Args:
        single: the template for one sequence, as `"[CLS] $A [SEP]"` or a list of such parts. `$A` and `$B` are the
            sequences, what follows a colon is the type id.
        pair: the template for two.
        special_tokens: (token, id) for each special token that the templates name; or a dict with `id`, `ids`
            and `tokens` for a name that stands for several.
    """

    single = Template("single", [{"Sequence": {"id": "A", "type_id": 0}}])
    _pair = Template("pair", [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}])
    _special_tokens = Specials("special_tokens", {})

    def __init__(
        self,
        single: str | Items[str] | None = None,
        pair: str | Items[str] | None = None,
        special_tokens: Items[Special] | None = None,
    ) -> None:
        given = {"single": single, "_pair": pair, "_special_tokens": special_tokens}
        self._make(**{name: value for name, value in given.items() if value is not None})


class Sequence(Parts, PostProcessor):
    """Several post-processors, one after the other."""

    _parts_key = "processors"

    def __init__(self, processors: list[PostProcessor]) -> None:
        self._slot = self._slot_class.sequence(slots_of(processors, PostProcessor, "processors"))

"""What a column may hold: scalars, labels, lists, translations, JSON.

Each type is a dataclass whose fields are what its JSON and YAML forms carry. Those of its own storage have up to four
methods, which the code of `encoding`, `casting` and `decoding` asks for by name: `encode_example(value)` makes a Python
value ready for Arrow, `decode_example(value)` turns it into what a user sees, `cast_storage(array)` converts an Arrow
array of another type, `embed_storage(array)` replaces paths by bytes.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as AnySequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from enfold.base.errors import ArgumentError, DatasetError, LabelError
from enfold.datasets.features import dtypes

FeatureType = Any
"""A feature: an instance of one of the classes here, or a dict of features (a struct)."""

KINDS: dict[str, type] = {}
"""`_type` in JSON → class."""


def register_feature(kind: type, name: str) -> type:
    """Let `Features.from_dict` know a feature class under this `_type`."""
    KINDS[name] = kind
    return kind


def is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


@dataclass(repr=False)
class Value:
    """One scalar per row.

    Args:
        dtype: the name of its type, as `enfold.datasets.features.dtypes.arrow_dtype` reads it.
    """

    dtype: str
    id: str | None = field(default=None, repr=False)
    _type: str = field(default="Value", init=False, repr=False)

    def __post_init__(self):
        self.dtype = dtypes.ALIASES.get(self.dtype, self.dtype)
        self.pa_type: pa.DataType = dtypes.arrow_dtype(self.dtype)

    def __call__(self) -> pa.DataType:
        return self.pa_type

    def encode_example(self, value: Any) -> Any:
        """The value as Python's type of the column. A number with a fraction is no integer: DatasetError."""
        kind = self.pa_type
        if is_text(kind):
            return value if isinstance(value, str) else text_of(value)
        if pa.types.is_integer(kind):
            whole = int(value)
            if isinstance(value, float) and whole != value:
                raise DatasetError(f"{value!r} is no whole number, and the column is {self.dtype}")
            return whole
        if pa.types.is_floating(kind):
            return float(value)
        if pa.types.is_boolean(kind) and not isinstance(value, str):
            return bool(value)
        return value

    def __repr__(self):
        return f"{type(self).__name__}('{self.dtype}')"


def text_of(value: Any) -> str:
    """A scalar as text; containers and bytes have no text that anyone means."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode()
    if isinstance(value, (list, tuple, Mapping, set)) or getattr(value, "ndim", 0):
        raise DatasetError(f"a {type(value).__name__} stands where the column is text")
    return str(value)


@dataclass(init=False)
class ClassLabel:
    """An integer that stands for a name; -1 and None stand for "no label".

    Args:
        num_classes: how many; the names are then "0", "1", …
        names: the names in order.
        names_file: a text file with a name per line.
    """

    names: list[str]
    id: str | None = field(default=None, repr=False)
    dtype: ClassVar[str] = "int64"
    pa_type: ClassVar[Any] = pa.int64()
    _type: str = field(default="ClassLabel", init=False, repr=False)

    def __init__(
        self,
        num_classes: int | None = None,
        names: list[str] | None = None,
        names_file: str | None = None,
        id: str | None = None,
    ):
        if names_file is not None:
            if names is not None:
                raise ArgumentError("A ClassLabel takes names or names_file, not both.")
            lines = Path(names_file).read_text(encoding="utf-8").split("\n")
            names = [name.strip() for name in lines if name.strip()]
        if names is None:
            if num_classes is None:
                raise ArgumentError("A ClassLabel needs num_classes, names or names_file.")
            names = [str(index) for index in range(num_classes)]
        elif isinstance(names, str) or not isinstance(names, AnySequence):
            raise ArgumentError(f"The names of a ClassLabel are a list of strings, not {names!r}.")
        if num_classes is not None and num_classes != len(names):
            raise ArgumentError(f"A ClassLabel of num_classes={num_classes} was given {len(names)} names.")
        self.names, self.id, self.names_file = names, id, names_file  # pyright: ignore[reportAttributeAccessIssue]
        self.num_classes = len(names)
        self._int2str = [str(name) for name in names]
        self._str2int = {name: index for index, name in enumerate(self._int2str)}
        if len(self._str2int) != len(self._int2str):
            twice = sorted({name for name in self._int2str if self._int2str.count(name) > 1})
            raise ArgumentError(f"Each label has one name: {twice} stand twice in a ClassLabel.")

    def __call__(self) -> pa.DataType:
        return self.pa_type

    def str2int(self, values: str | Iterable) -> int | list[int]:
        """The number of a name, or of each name of an iterable. A name may be the number itself, written out."""
        if isinstance(values, str):
            return self._number(values)
        if not isinstance(values, Iterable):
            raise ArgumentError(f"str2int takes a name or several, not {values!r}.")
        return [self._number(value) for value in values]

    def int2str(self, values: int | Iterable) -> str | list[str]:
        """The name of a number, or of each number of an iterable (numpy and torch included)."""
        if isinstance(values, Iterable) and getattr(values, "ndim", 1):
            return [self._name(value) for value in values]
        try:
            return self._name(values)
        except TypeError as error:
            raise ArgumentError(f"int2str takes a number or several, not {values!r}.") from error

    def _number(self, name: Any) -> int:
        text = str(name)
        found = self._str2int.get(text)
        if found is None:
            found = self._str2int.get(text.strip())
        if found is not None:
            return found
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or not -1 <= number < self.num_classes:
            raise LabelError(f"{name!r} is none of the {self.num_classes} labels {_few(self._int2str)}")
        return number

    def _name(self, number: Any) -> str:
        if not 0 <= number < self.num_classes:
            raise LabelError(f"{number} is no label: there are {self.num_classes}, 0 to {self.num_classes - 1}")
        return self._int2str[int(number)]

    def encode_example(self, value: Any) -> int:
        if isinstance(value, str):
            return self._number(value)
        number = int(value)
        if number != value or not -1 <= number < self.num_classes:
            raise LabelError(f"{value!r} is no label: there are {self.num_classes}, 0 to {self.num_classes - 1}")
        return number

    def cast_storage(self, array: pa.Array) -> pa.Array:
        """Names or integers → labels."""
        if is_text(array.type):
            distinct = array.dictionary_encode()
            numbers = [None if name is None else self._number(name) for name in distinct.dictionary.to_pylist()]
            return pa.array(numbers, pa.int64()).take(distinct.indices)
        labels = array.cast(pa.int64())
        numbers = labels.drop_null().to_numpy()
        wrong = numbers[(numbers < -1) | (numbers >= self.num_classes)]
        if len(wrong):
            raise LabelError(f"{wrong[0]} is no label: there are {self.num_classes}, 0 to {self.num_classes - 1}")
        return labels


def _few(names: list[str]) -> str:
    return ", ".join(map(repr, names[:10])) + (", …" if len(names) > 10 else "")


class Sequence:
    """`List`, except that a dict of features becomes a dict of lists: `Sequence({"a": x})` is `{"a": List(x)}`."""

    def __new__(cls, feature: FeatureType = None, length: int = -1, **rest):
        if cls is Sequence:
            if isinstance(feature, dict) and not all(isinstance(inner, List) for inner in feature.values()):
                return {name: List(inner, length=length, **rest) for name, inner in feature.items()}
            return List(feature, length=length, **rest)
        return super().__new__(cls)


@dataclass(repr=False)
class List(Sequence):
    """A list of one feature per row.

    Args:
        feature: what an item is.
        length: how many there are in every row, or -1 where rows differ.
    """

    feature: Any
    length: int = -1
    id: str | None = field(default=None, repr=False)
    pa_type: ClassVar[Any] = None
    _type: str = field(default="List", init=False, repr=False)

    def __repr__(self):
        return f"List({self.feature}" + (f", length={self.length})" if self.length != -1 else ")")


@dataclass(repr=False)
class LargeList:
    """A list per row with 64-bit offsets, for columns of more than 2³¹ items."""

    feature: Any
    id: str | None = field(default=None, repr=False)
    pa_type: ClassVar[Any] = None
    _type: str = field(default="LargeList", init=False, repr=False)

    def __repr__(self):
        return f"LargeList({self.feature})"


@dataclass
class Translation:
    """The same text in several languages, all present in each row: `{"en": …, "fr": …}`."""

    languages: list[str]
    id: str | None = field(default=None, repr=False)
    dtype: ClassVar[str] = "dict"
    pa_type: ClassVar[Any] = None
    _type: str = field(default="Translation", init=False, repr=False)

    def __call__(self) -> pa.DataType:
        return pa.struct({language: pa.string() for language in sorted(self.languages)})

    def flatten(self) -> dict[str, FeatureType]:
        return {language: Value("string") for language in sorted(self.languages)}


@dataclass
class TranslationVariableLanguages:
    """A text in the languages that each row has, several translations allowed: `{"en": "cat", "fr": ["chat", …]}`.

    A row is stored as two lists, `language` (sorted) and `translation`.
    """

    languages: list[str] | None = None
    num_languages: int | None = None
    id: str | None = field(default=None, repr=False)
    dtype: ClassVar[str] = "dict"
    pa_type: ClassVar[Any] = None
    _type: str = field(default="TranslationVariableLanguages", init=False, repr=False)

    def __post_init__(self):
        self.languages = sorted(set(self.languages)) if self.languages else None
        self.num_languages = len(self.languages) if self.languages else None

    def __call__(self) -> pa.DataType:
        return pa.struct({"language": pa.list_(pa.string()), "translation": pa.list_(pa.string())})

    def encode_example(self, value: Mapping) -> Mapping:
        if set(value) == {"language", "translation"}:
            return value
        foreign = sorted(set(value) - set(self.languages)) if self.languages else []
        if foreign:
            raise DatasetError(f"{foreign} are not among the languages {self.languages}")
        pairs = sorted((code, text) for code, texts in value.items() for text in _texts(texts))
        return {"language": [code for code, _ in pairs], "translation": [text for _, text in pairs]}

    def flatten(self) -> dict[str, FeatureType]:
        return {"language": List(Value("string")), "translation": List(Value("string"))}


def _texts(texts: str | Iterable[str]) -> Iterable[str]:
    return [texts] if isinstance(texts, str) else texts


def to_plain(feature: Any) -> Any:
    """A feature as dicts, lists and scalars: fields at their default are left out, `_type` is kept."""
    if is_dataclass(feature) and not isinstance(feature, type):
        values = {spec.name: to_plain(getattr(feature, spec.name)) for spec in fields(feature)}
        return {
            spec.name: values[spec.name]
            for spec in fields(feature)
            if not spec.init or values[spec.name] != spec.default or spec.metadata.get("always")
        }
    if isinstance(feature, dict):
        return {name: to_plain(inner) for name, inner in feature.items()}
    if isinstance(feature, (list, tuple)):
        return type(feature)(to_plain(inner) for inner in feature)
    return feature


def from_plain(plain: Any) -> FeatureType:
    """The inverse of `to_plain`; `{"_type": "Sequence"}` of older files is understood."""
    if isinstance(plain, list):
        return [from_plain(inner) for inner in plain]
    if not isinstance(plain, Mapping):
        raise DatasetError(f"A feature is described by a dictionary, not by {plain!r}.")
    name = plain.get("_type")
    if name is None or isinstance(name, Mapping):
        return {key: from_plain(inner) for key, inner in plain.items()}
    options = {key: value for key, value in plain.items() if key != "_type"}
    if name in ("List", "LargeList", "Sequence"):
        kind = {"List": List, "LargeList": LargeList, "Sequence": Sequence}[name]
        return kind(from_plain(options.pop("feature")), **options)
    if name not in KINDS:
        raise DatasetError(f"The feature type {name!r} is unknown. Known are {', '.join(sorted(KINDS))}.")
    known = {spec.name for spec in fields(KINDS[name]) if spec.init}
    return KINDS[name](**{key: value for key, value in options.items() if key in known})


for _kind in (Value, ClassLabel, List, LargeList, Translation, TranslationVariableLanguages):
    register_feature(_kind, _kind.__name__)

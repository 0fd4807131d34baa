"""What the components of a tokenizer share: options that can be read and set, a printed form, pickling.

A component is a thin view of a slot of the engine. Tokenizers and sequences that hold the component share the slot, so
a change made through one of them reaches all; encodings that are under way in other threads finish with what they
began with.
"""

import json
from importlib import import_module
from typing import Any, ClassVar, Generic, TypeVar, overload

from enfold.tokenizers.printing import cut_short, printed

T = TypeVar("T")
C = TypeVar("C", bound="Component")

MODULES = {
    "normalizer": "normalizers",
    "pre_tokenizer": "pre_tokenizers",
    "post_processor": "processors",
    "decoder": "decoders",
    "model": "models",
}


class Component:
    """A component of a tokenizer; made by the classes that derive from it."""

    _slot: Any
    _slot_class: ClassVar[Any] = None
    _options: ClassVar[dict[str, "Option[Any]"]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._options = {name: value for name, value in vars(cls).items() if isinstance(value, Option)}

    def __init__(self) -> None:
        if "_slot_class" in vars(type(self)):
            raise TypeError(f"{type(self).__name__} can't be made by itself; make one of the classes derived from it")
        self._make()

    def _make(self, **values: Any) -> None:
        """Makes the slot from the values of the options, checked and in the order of the file format."""
        spec: dict[str, Any] = {"type": type(self).__name__}
        for name, option in self._options.items():
            spec[option.key] = option.check(name, values[name]) if name in values else option.default
        self._slot = self._slot_class(spec_text(spec))

    def _spec(self) -> dict[str, Any]:
        """The specification, with every option that the file it came from may have left out."""
        given = self._upgraded(json.loads(self._slot.spec))
        if not self._options:
            return given
        spec = {"type": given["type"]}
        for option in self._options.values():
            spec[option.key] = given.get(option.key, option.default)
        return spec

    def _upgraded(self, spec: dict[str, Any]) -> dict[str, Any]:
        """The specification in today's terms, if it uses those of an older format."""
        return spec

    def _printed(self, limit: int) -> str:
        if self._slot.type:
            return printed(self._spec(), limit)
        return f"{type(self).__name__}.custom({self._slot.object!r})"

    def __repr__(self) -> str:
        return self._printed(100)

    def __str__(self) -> str:
        return self._printed(6)

    def __getstate__(self) -> bytes:
        return spec_text(self._spec()).encode()

    def __setstate__(self, state: bytes) -> None:
        self._slot = self._slot_class(state.decode())

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self),), self.__getstate__()


def _restore(cls: type[C]) -> C:
    return cls.__new__(cls)


def spec_text(spec: dict[str, Any]) -> str:
    """A specification as it stands in a file."""
    return json.dumps(spec, ensure_ascii=False, separators=(",", ":"))


def component_of(slot: Any) -> Any:
    """The Python object for a slot: of the class named like the component in the module of its kind."""
    module = import_module(f"enfold.tokenizers.{MODULES[slot.kind]}")
    cls = getattr(module, slot.type, None) or module.BASE
    made = cls.__new__(cls)
    made._slot = slot
    return made


class Option(Generic[T]):
    """An option of a component, under the key that it has in the specification."""

    def __init__(self, key: str, default: Any = None) -> None:
        self.key = key
        self.default = default

    @overload
    def __get__(self, component: None, owner: type) -> "Option[T]": ...
    @overload
    def __get__(self, component: Component, owner: type) -> T: ...
    def __get__(self, component: Component | None, owner: type) -> "Option[T] | T":
        if component is None:
            return self
        return self.read(component._spec()[self.key])

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, component: Component, value: T) -> None:
        spec = component._spec()
        spec[self.key] = self.check(self.name, value)
        component._slot.assign(spec_text(spec))

    def read(self, value: Any) -> T:
        """What Python sees for a value of the specification."""
        return value

    def check(self, name: str, value: Any) -> Any:
        """What the specification holds for a value from Python."""
        return value


class Typed(Option[T]):
    """An option of one type; None too, if it may be left out."""

    kind: type
    optional = False

    def check(self, name: str, value: Any) -> Any:
        if value is None and self.optional:
            return None
        if not isinstance(value, self.kind) or (self.kind is int and isinstance(value, bool)):
            wanted = self.kind.__name__ + (" or None" if self.optional else "")
            raise TypeError(f"{name} should be {wanted}, got {type(value).__name__}")
        return value


class Flag(Typed[bool]):
    kind = bool


class OptionalFlag(Typed[bool | None]):
    kind = bool
    optional = True


class Text(Typed[str]):
    kind = str


class Character(Text):
    """One character."""

    def check(self, name: str, value: Any) -> str:
        value = super().check(name, value)
        if len(value) != 1:
            raise ValueError(f"{name} should be a str of length 1, got {value!r}")
        return value


class Count(Typed[int]):
    kind = int

    def check(self, name: str, value: Any) -> int:
        value = super().check(name, value)
        if value < 0:
            raise OverflowError(f"{name} should not be negative, got {value}")
        return value


class Choice(Text):
    """One of several names; `names` maps what Python sees to what the specification holds."""

    def __init__(self, key: str, names: dict[str, str], default: Any = None) -> None:
        super().__init__(key, default)
        self.names = names

    def read(self, value: str) -> str:
        for ours, theirs in self.names.items():
            if value == theirs:
                return ours
        return value

    def check(self, name: str, value: Any) -> str:
        value = getattr(value, "value", value)
        value = super().check(name, value)
        if value not in self.names:
            raise ValueError(f"{name} should be one of {', '.join(self.names)}, got {value!r}")
        return self.names[value]


BEHAVIORS = {
    "removed": "Removed",
    "isolated": "Isolated",
    "merged_with_previous": "MergedWithPrevious",
    "merged_with_next": "MergedWithNext",
    "contiguous": "Contiguous",
}


class Parts:
    """Getting at the parts of a sequence; each is shared with whoever else holds it."""

    _slot: Any
    _parts_key: ClassVar[str]

    def _printed(self, limit: int) -> str:
        parts = [component_of(part)._printed(limit) for part in self._slot.parts[:limit]]
        return f"Sequence({self._parts_key}=[{cut_short(parts, limit)}])"

    def __len__(self) -> int:
        return len(self._slot.parts)

    def __getitem__(self, index: int) -> Any:
        parts = self._slot.parts
        if not -len(parts) <= index < len(parts):
            raise IndexError(f"the sequence has {len(parts)} components, there is no index {index}")
        return component_of(parts[index])

    def __setitem__(self, index: int, value: Component) -> None:
        count = len(self._slot.parts)
        if not -count <= index < count:
            raise IndexError(f"the sequence has {count} components, there is no index {index}")
        if not isinstance(getattr(value, "_slot", None), type(self._slot)):
            raise TypeError(f"a part of the sequence can't be a {type(value).__name__}")
        self._slot.set_part(index % count, value._slot)


def slots_of(parts: Any, cls: type[Component], what: str) -> list[Any]:
    """The slots of a list of components."""
    slots = []
    for part in parts:
        if not isinstance(part, cls):
            raise TypeError(f"{what} should be a list of {cls.__name__} objects, one is a {type(part).__name__}")
        slots.append(part._slot)
    return slots

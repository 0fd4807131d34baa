"""Parts of a dataset: their names, their sizes, and expressions that choose rows from them.

`"train[:10%]+test[5:20]"` is two instructions: the first tenth of one split, then fifteen rows of another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from enfold.base.errors import ArgumentError

SPLIT_NAME = re.compile(r"^\w+(\.\w+)*$")
_PART = re.compile(
    r"""^\s*(?P<split>\w+(?:\.\w+)*)
    (?:\[
        (?:(?P<start>-?\d+)(?P<start_percent>%)?)? : (?:(?P<stop>-?\d+)(?P<stop_percent>%)?)?
    \])?
    (?:\((?P<rounding>[^)]*)\))?\s*$""",
    re.VERBOSE,
)
Rounding = Literal["closest", "pct1_dropremainder"]


class NamedSplit(str):
    """A split's name, possibly with a slice (`train[:10%]`). It is the string, so it compares and hashes as one."""

    __slots__ = ()

    def __new__(cls, name: str) -> NamedSplit:
        for part in str(name).split("+"):
            bare = part.split("[")[0].strip()
            if not SPLIT_NAME.match(bare):
                raise ArgumentError(
                    f"{bare!r} is not a split's name."
                    f" Use letters, digits, underscores and single dots: {SPLIT_NAME.pattern}"
                )
        return super().__new__(cls, name)

    def __repr__(self) -> str:
        return f"NamedSplit({str(self)!r})"

    def __reduce__(self):
        return NamedSplit, (str(self),)


class Split:
    """The names that most datasets use: `Split.TRAIN`, `Split.VALIDATION`, `Split.TEST`; `Split("mine")` is another."""

    TRAIN = NamedSplit("train")
    VALIDATION = NamedSplit("validation")
    TEST = NamedSplit("test")
    ALL = NamedSplit("all")

    def __new__(cls, name: str) -> NamedSplit:  # pyright: ignore[reportInconsistentConstructor]
        return NamedSplit("all") if name == "all" else NamedSplit(name)


@dataclass(frozen=True)
class Slice:
    """Rows `start` to `stop` (exclusive) of a split, in rows: what an instruction comes to once sizes are known."""

    split: str
    start: int
    stop: int

    def __len__(self) -> int:
        return max(self.stop - self.start, 0)


@dataclass(frozen=True)
class _Part:
    """One term of an expression."""

    split: str
    start: int | None
    stop: int | None
    unit: Literal["%", "abs"] | None
    rounding: Rounding | None

    def __post_init__(self) -> None:
        if self.unit not in ("%", "abs", None):
            raise ArgumentError(f"unit={self.unit!r}; it is '%' or 'abs'.")
        if self.rounding not in ("closest", "pct1_dropremainder", None):
            raise ArgumentError(f"rounding={self.rounding!r}; it is 'closest' or 'pct1_dropremainder'.")
        if self.unit != "%" and self.rounding is not None:
            raise ArgumentError(f"rounding={self.rounding!r} is for percents, and {self.split!r} is cut in rows.")
        if self.unit == "%":
            for bound in (self.start, self.stop):
                if bound is not None and abs(bound) > 100:
                    raise ArgumentError(f"{bound}% of {self.split!r}: percents lie between -100 and 100.")
            object.__setattr__(self, "rounding", self.rounding or "closest")

    @classmethod
    def parse(cls, text: str) -> _Part:
        match = _PART.match(text)
        if match is None:
            raise ArgumentError(
                f"{text!r} is not a split or a slice of one. Write train, train[100:200], train[:10%], "
                "test[-5%:](pct1_dropremainder), or a sum of those with +."
            )
        found = match.groupdict()
        percent = bool(found["start_percent"] or found["stop_percent"])
        bounds = [int(found[end]) if found[end] else None for end in ("start", "stop")]
        rounding: Any = found["rounding"]
        return cls(found["split"], bounds[0], bounds[1], "%" if percent else "abs", rounding)

    def spec(self) -> str:
        if self.start is None and self.stop is None:
            return self.split
        mark = "%" if self.unit == "%" else ""
        start, stop = ("" if bound is None else f"{bound}{mark}" for bound in (self.start, self.stop))
        rounding = f"({self.rounding})" if self.rounding not in (None, "closest") else ""
        return f"{self.split}[{start}:{stop}]{rounding}"

    def rows(self, sizes: Mapping[str, int]) -> Slice:
        if self.split not in sizes:
            raise ArgumentError(f"Unknown split {self.split!r}. There are: {', '.join(map(repr, sizes)) or 'none'}.")
        size = sizes[self.split]
        start = 0 if self.start is None else self._in_rows(self.start, size)
        stop = size if self.stop is None else self._in_rows(self.stop, size)
        start, stop = (min(max(bound + size, 0) if bound < 0 else bound, size) for bound in (start, stop))
        return Slice(self.split, start, stop)

    def _in_rows(self, bound: int, size: int) -> int:
        if self.unit != "%":
            return bound
        if self.rounding == "closest":
            return round(bound * size / 100.0)
        if size < 100:
            raise ArgumentError(
                f"{self.split!r} has {size} rows: with rounding='pct1_dropremainder' every percent of fewer than 100 "
                "rows is empty. Use 'closest'."
            )
        return bound * (size // 100)


class ReadInstruction:
    """Which rows to read: a split or a slice of one; `+` chains several.

    Args:
        split_name: the split.
        rounding: for percents: `"closest"` row (default), or `"pct1_dropremainder"`, where each percent has as many
            rows as every other and what is left over belongs to none.
        from_, to: bounds, to exclusive; negative ones count from the end; None is the end itself.
        unit: `"%"` or `"abs"` (rows).
    """

    def __init__(
        self,
        split_name: str,
        rounding: Rounding | None = None,
        from_: int | None = None,
        to: int | None = None,
        unit: Literal["%", "abs"] | None = None,
    ) -> None:
        self._parts = (_Part(str(split_name), from_, to, unit, rounding),)

    @classmethod
    def _of(cls, parts: tuple[_Part, ...]) -> ReadInstruction:
        instruction = cls.__new__(cls)
        instruction._parts = parts
        return instruction

    @classmethod
    def from_spec(cls, spec: str) -> ReadInstruction:
        """Read an expression: `"train[:50%]"`, `"train[10:]+test"`, `"test[:20%](pct1_dropremainder)"`."""
        instructions = [cls._of((_Part.parse(part),)) for part in re.split(r"\s*\+\s*", str(spec))]
        total = instructions[0]
        for instruction in instructions[1:]:
            total = total + instruction
        return total

    def to_spec(self) -> str:
        """The expression that `from_spec` reads."""
        return "+".join(part.spec() for part in self._parts)

    def to_absolute(self, name2len: Mapping[str, int]) -> list[Slice]:
        """The slices in rows, given each split's number of rows."""
        return [part.rows(name2len) for part in self._parts]

    def __add__(self, other: ReadInstruction) -> ReadInstruction:
        if not isinstance(other, ReadInstruction):
            raise TypeError(f"A ReadInstruction can be added to another, not to {type(other).__name__}.")
        mine, theirs = self._parts[0], other._parts[0]
        if "abs" not in (mine.unit, theirs.unit) and mine.rounding != theirs.rounding:
            raise ArgumentError(
                f"{self.to_spec()} and {other.to_spec()} round differently ({mine.rounding}, {theirs.rounding}): "
                "give both the same rounding."
            )
        return self._of(self._parts + other._parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReadInstruction) and self._parts == other._parts

    def __hash__(self) -> int:
        return hash(self._parts)

    def __str__(self) -> str:
        return self.to_spec()

    def __repr__(self) -> str:
        return f"ReadInstruction({self.to_spec()!r})"


@dataclass
class SplitInfo:
    """A split's size: bytes of Arrow and rows, over all and file by file.

    `shard_lengths` are the rows of each Arrow file (None for one file), `original_shard_lengths` those of each file
    that was read.
    """

    name: str = ""
    num_bytes: int = 0
    num_examples: int = 0
    shard_lengths: list[int] | None = None
    original_shard_lengths: list[int] | None = None
    dataset_name: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The entry in `dataset_info.json`."""
        entry: dict[str, Any] = {"name": self.name, "num_bytes": self.num_bytes, "num_examples": self.num_examples}
        for field in ("shard_lengths", "original_shard_lengths"):
            if getattr(self, field) is not None:
                entry[field] = list(getattr(self, field))
        return {**entry, "dataset_name": self.dataset_name}

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> SplitInfo:
        known = cls.__dataclass_fields__
        return cls(**{key: value for key, value in entry.items() if key in known})

    def __repr__(self) -> str:
        kept = {key: value for key, value in vars(self).items() if value or key == "name"}
        return f"SplitInfo({', '.join(f'{key}={value!r}' for key, value in kept.items())})"


class SplitDict(dict[str, SplitInfo]):
    """Split name → SplitInfo, in the order of the splits."""

    def __init__(self, *args: Any, dataset_name: str | None = None, **kwargs: SplitInfo) -> None:
        super().__init__(*args, **kwargs)
        self.dataset_name = dataset_name

    def add(self, split_info: SplitInfo) -> None:
        """Add a split that isn't there yet."""
        if split_info.name in self:
            raise ArgumentError(f"Split {split_info.name} already present")
        split_info.dataset_name = self.dataset_name
        super().__setitem__(split_info.name, split_info)

    @property
    def total_num_examples(self) -> int:
        """Rows of all splits."""
        return sum(split.num_examples for split in self.values())

    @classmethod
    def from_split_dict(cls, splits: Any, dataset_name: str | None = None) -> SplitDict:
        """From a list of entries or a dictionary of them, as files hold it."""
        entries = list(splits.items()) if isinstance(splits, Mapping) else [(None, entry) for entry in splits]
        infos = []
        for name, entry in entries:
            info = replace(entry) if isinstance(entry, SplitInfo) else SplitInfo.from_dict(entry)
            info.name = info.name or str(name)
            infos.append(info)
        result = cls(dataset_name=dataset_name or (infos[0].dataset_name if infos else None))
        for info in infos:
            result.add(info)
        return result

    def to_split_dict(self) -> list[SplitInfo]:
        """The splits as a list."""
        return [replace(info, name=info.name or name) for name, info in self.items()]

    def copy(self) -> SplitDict:
        return SplitDict.from_split_dict(self, self.dataset_name)

    def _to_yaml_list(self) -> list[dict[str, Any]]:
        left_out = ("dataset_name", "shard_lengths", "original_shard_lengths")
        return [
            {key: value for key, value in info.to_dict().items() if key not in left_out}
            for info in self.to_split_dict()
        ]

    @classmethod
    def _from_yaml_list(cls, entries: list[dict[str, Any]]) -> SplitDict:
        return cls.from_split_dict(entries)

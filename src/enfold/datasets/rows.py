"""Rows as a function sees them: a column becomes Python objects when somebody looks at it, and not before.

`Rows` is a run of rows, either an Arrow table or plain Python columns (streaming). `LazyRow` and `LazyBatch` are what
`map` hands to a function: mappings that decode on access and remember what was read, set and deleted, so that a column
nobody touched passes from input to output as Arrow.
"""

import operator
from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, Protocol

import pyarrow as pa


class Formatter(Protocol):
    """What a table is shown as: see `enfold.datasets.formats`."""

    def row(self, table: pa.Table) -> Any: ...

    def column(self, table: pa.Table, name: str) -> Any: ...

    def batch(self, table: pa.Table) -> Any: ...


class Rows:
    """A run of rows.

    Args:
        source: an Arrow table, or a mapping of columns of one length.
        formatter: what functions are shown, for an Arrow table; None: Python objects, decoded lazily.
        decoder: makes Python objects of an Arrow column (features decoded); None: `to_pylist`.
        heavy: columns whose values are decoded one by one and not kept (images, audio), for a row-wise function.
    """

    __slots__ = ("_columns", "_lasting", "decoded", "decoder", "formatter", "heavy", "names", "num_rows", "table")

    def __init__(
        self,
        source: pa.Table | Mapping[str, Sequence[Any]],
        *,
        formatter: Formatter | None = None,
        decoder: Formatter | None = None,
        heavy: frozenset[str] = frozenset(),
    ):
        self.formatter, self.decoder, self.heavy = formatter, decoder, heavy
        self._lasting: dict[str, bool] = {}
        # Columns of lasting values that a row has looked at: the next row needn't ask what kind they are.
        self.decoded: dict[str, Sequence[Any]] = {}
        if not isinstance(source, Mapping):
            self.table: Any = source
            self._columns: dict[str, Sequence[Any]] = {}
            self.names, self.num_rows = list(source.column_names), source.num_rows
        else:
            self.table = None
            self._columns = dict(source)
            self.names = list(source)
            self.num_rows = len(next(iter(source.values()))) if source else 0

    def __len__(self) -> int:
        return self.num_rows

    def column(self, name: str) -> Sequence[Any]:
        """The column as Python objects, decoded once."""
        if name not in self._columns:
            self._columns[name] = self._decoded(self._arrow(), name)
        return self._columns[name]

    def value(self, name: str, index: int) -> Any:
        """One value of a column as a Python object."""
        if name in self.heavy and name not in self._columns:
            return self._decoded(self._arrow().slice(index, 1), name)[0]
        return self.column(name)[index]

    def untouched(self, name: str) -> Any:
        """The column as it is stored: Arrow where the source is, else the Python column."""
        return self._columns[name] if self.table is None else self.table.column(name)

    def lasting(self, name: str) -> bool:
        """Whether the values are such that a function can't alter them in place (numbers, strings, …)."""
        if self.table is None or name in self.heavy:
            return False
        if name not in self._lasting:
            type = self.table.schema.field(name).type
            self._lasting[name] = not (pa.types.is_nested(type) or isinstance(type, pa.BaseExtensionType))
        return self._lasting[name]

    def slice(self, start: int, length: int) -> "Rows":
        """Rows `start` to `start + length`."""
        if self.table is not None:
            part: Any = self.table.slice(start, length)
        else:
            part = {name: column[start : start + length] for name, column in self._columns.items()}
        return Rows(part, formatter=self.formatter, decoder=self.decoder, heavy=self.heavy)

    def _arrow(self) -> Any:
        if self.table is None:
            raise KeyError("these rows have no such column")
        return self.table

    def _decoded(self, table: pa.Table, name: str) -> Sequence[Any]:
        return table.column(name).to_pylist() if self.decoder is None else self.decoder.column(table, name)


class _Lazy(MutableMapping[str, Any]):
    """What a row and a batch share: values held (read or set), names deleted, the rest in `rows`."""

    __slots__ = ("held", "names", "rows")

    def __init__(self, rows: Rows):
        self.rows = rows
        # Names in order, dropped ones removed; None stands for the rows' own until somebody adds or deletes.
        self.names: dict[str, None] | None = None
        self.held: dict[str, Any] = {}

    def _look(self, name: str) -> Any:
        raise NotImplementedError

    def changed(self) -> dict[str, Any]:
        """What may differ from the source: values that were set, or read and of a kind that can be altered."""
        raise NotImplementedError

    def __getitem__(self, name: str) -> Any:
        if name in self.held:
            return self.held[name]
        if name not in self._own():
            raise KeyError(name)
        return self._look(name)

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self._own():
            self._editable()[name] = None
        self.held[name] = value

    def __delitem__(self, name: str) -> None:
        del self._editable()[name]
        self.held.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._own())

    def __len__(self) -> int:
        return len(self._own())

    def __contains__(self, name: object) -> bool:
        return name in self._own()

    def __repr__(self) -> str:
        return repr(dict(self))

    def __or__(self, other: Mapping[str, Any]) -> "_Lazy":
        if not isinstance(other, Mapping):
            return NotImplemented
        joined = self.copy()
        joined.update(other)
        return joined

    def __ror__(self, other: Mapping[str, Any]) -> "_Lazy":
        if not isinstance(other, Mapping):
            return NotImplemented
        joined = self.copy()
        joined.names = dict.fromkeys([*other, *self])
        joined.held = {**other, **self.held}
        for name in self:
            if name in other and name not in self.held:
                del joined.held[name]
        return joined

    def __ior__(self, other: Mapping[str, Any]) -> "_Lazy":
        self.update(other)
        return self

    def copy(self) -> "_Lazy":
        """A mapping of its own over the same rows; values are shared, as in `dict.copy`."""
        twin = self.__copy__()
        twin.names = None if self.names is None else dict(self.names)
        twin.held = dict(self.held)
        return twin

    def __copy__(self) -> "_Lazy":
        raise NotImplementedError

    def __reduce__(self):
        return dict, (dict(self),)

    def _own(self) -> Collection[str]:
        return self.rows.names if self.names is None else self.names

    def _editable(self) -> dict[str, None]:
        if self.names is None:
            self.names = dict.fromkeys(self.rows.names)
        return self.names


class LazyRow(_Lazy):
    """One row, decoded on access."""

    __slots__ = ("index",)

    def __init__(self, rows: Rows, index: int):
        self.rows = rows
        self.names = None
        self.held = {}
        self.index = index

    def __getitem__(self, name: str) -> Any:
        if self.names is None and not self.held:
            column = self.rows.decoded.get(name)
            if column is not None:
                return column[self.index]
        return super().__getitem__(name)

    def _look(self, name: str) -> Any:
        value = self.rows.value(name, self.index)
        if self.rows.lasting(name):
            self.rows.decoded[name] = self.rows.column(name)
        else:
            self.held[name] = value
        return value

    def changed(self) -> dict[str, Any]:
        return self.held

    def __copy__(self) -> "LazyRow":
        return LazyRow(self.rows, self.index)


class LazyBatch(_Lazy):
    """Some rows, decoded one column at a time, on access."""

    __slots__ = ("_read",)

    def __init__(self, rows: Rows):
        super().__init__(rows)
        # What was read of columns whose values can't change: the list may be altered, and then differs from this copy.
        self._read: dict[str, list[Any]] = {}

    def _look(self, name: str) -> Any:
        values = self.held[name] = self.rows.column(name)
        if self.rows.lasting(name):
            self._read[name] = list(values)
        return values

    def changed(self) -> dict[str, Any]:
        return {name: value for name, value in self.held.items() if not self._as_read(name, value)}

    def _as_read(self, name: str, value: Any) -> bool:
        before = self._read.get(name)
        return (
            before is not None
            and isinstance(value, list)
            and len(value) == len(before)
            and all(map(operator.is_, value, before))
        )

    def __copy__(self) -> "LazyBatch":
        twin = LazyBatch(self.rows)
        twin._read = dict(self._read)
        return twin

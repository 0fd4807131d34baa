"""JSON: an object a line, an array of objects, an object of columns, or any of those under a field."""

from __future__ import annotations

import codecs
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.json as paj

from enfold.base.errors import ArgumentError, BadRowError, DatasetError, NotBuiltError
from enfold.datasets.files import DataFile
from enfold.datasets.opening import Opened, contents
from enfold.datasets.readers.base import OnBadRows, Reader, bad_row, check_on_bad_rows

# A place in a row: keys, and ITEMS where a list is entered.
ITEMS = 0
Path = tuple[Any, ...]
_CHANGED = re.compile(r"JSON parse error: Column\((?P<path>.*)\) changed from .* in row (?P<row>\d+)", re.DOTALL)

# The columns by which the reference knows recorded conversations, and their types.
_TRACES: tuple[dict[str, str], ...] = (
    {"type": "string", "message": "Json"},
    {"type": "string", "payload": "Json"},
    {"id": "string", "source": "string", "model": "string", "system_prompt": "string", "messages": "Json List"},
    {"type": "string", "id": "string", "version": "int64", "cwd": "string"},
)


@dataclass(frozen=True, kw_only=True)
class JsonReader(Reader):
    """JSON and JSON lines.

    Args:
        encoding, encoding_errors: as `open` takes them.
        field: the key of a whole-file object under which the rows are.
        chunksize: bytes read at a time.
        on_mixed_types: `"use_json"`: values of no common type (in the first chunk) become `Json`; None: an error.
        parse_agent_traces: the reference turns recorded conversations of coding agents into messages, which is not
            built: where files have the columns of such a record, False must say that their plain rows are meant.
        on_bad_rows: what happens with lines that are no JSON object, or don't fit the types.
    """

    encoding: str = "utf-8"
    encoding_errors: str | None = None
    field: str | None = None
    use_threads: bool = True
    block_size: int | None = None
    chunksize: int = 10 << 20
    newlines_in_values: bool | None = None
    on_mixed_types: Literal["use_json"] | None = "use_json"
    parse_agent_traces: bool = True
    on_bad_rows: OnBadRows = "error"
    mixed: tuple[Path, ...] = dataclasses.field(default=(), repr=False)  # places that hold Json

    extensions: ClassVar[tuple[str, ...]] = (".json", ".jsonl", ".ndjson")

    def __post_init__(self) -> None:
        check_on_bad_rows(self.on_bad_rows)
        if self.on_mixed_types not in ("use_json", None):
            raise ArgumentError(f"on_mixed_types={self.on_mixed_types!r}; it is 'use_json' or None.")
        if self.newlines_in_values:
            raise NotBuiltError(
                "newlines_in_values=True is not built. A whole array or object may span lines as it is."
            )
        if self.features is not None and not self.mixed:
            object.__setattr__(self, "mixed", tuple(json_places(self.features)))

    def prepared(self, splits: Mapping[str, Sequence[DataFile]]) -> JsonReader:
        """Find out the types in the first chunk of the first file: later ones follow it."""
        if self.features is not None:
            return self
        from enfold.datasets.features import Features, Json

        for files in splits.values():
            for file in files:
                for opened in contents(file, self.max_expansion):
                    for lines in self._chunks(opened):
                        mixed, table = self._inferred(lines, opened)
                        features = Features.from_arrow_schema(table.schema)
                        for place in mixed:
                            features = Features(_changed(features, place, Json()))
                        if self.parse_agent_traces:
                            _refuse_traces(features, opened)
                        return replace(self, features=features, mixed=tuple(mixed))
        return self

    def _inferred(self, lines: bytes, opened: Opened) -> tuple[list[Path], pa.Table]:
        if self.on_bad_rows != "error":
            rows = [row for row in map(_parsed, lines.split(b"\n")) if isinstance(row, dict)]
            lines = b"\n".join(_dumped(row) for row in rows)
        mixed: list[Path] = []
        table = None
        encoded = lines
        while table is None:
            try:
                table = self._arrow(encoded)
                if mixed or self.on_mixed_types is None or not any(map(_holds_object, table.schema.types)):
                    break
                mixed = mixed_places(_rows(lines))
                if mixed:
                    encoded, table = _encoded(lines, mixed), None
            except (pa.ArrowInvalid, json.JSONDecodeError) as error:
                changed = _CHANGED.search(str(error))
                if self.on_mixed_types is None or changed is None:
                    self._explain(opened, error)
                    raise AssertionError from error
                try:
                    rows = _rows(lines)
                except ValueError as reason:
                    self._explain(opened, reason)
                    raise AssertionError from reason
                found = [place for place in mixed_places(rows, scalars=True) if place not in mixed]
                if not found:
                    self._explain(opened, error)
                mixed += [place for place in found if not any(place[: len(known)] == known for known in mixed)]
                encoded = _encoded(lines, mixed)
        return mixed, table

    def read(self, opened: Opened) -> Iterator[pa.Table]:
        before = 0
        for lines in self._chunks(opened):
            if self.on_bad_rows != "error":
                table = self._row_by_row(lines, opened.name, before)
                before += sum(bool(line.strip()) for line in lines.split(b"\n"))
            else:
                try:
                    if _is_not_utf8(lines):
                        raise pa.ArrowInvalid("bytes that are not UTF-8")
                    table = self._arrow(_encoded(lines, self.mixed) if self.mixed else lines)
                    table = self.fitted(table)
                except (pa.ArrowInvalid, pa.ArrowNotImplementedError, DatasetError, ValueError) as error:
                    self._explain(opened, error)
                    raise AssertionError from error
                before += table.num_rows
            if table.num_rows:
                yield table

    def fitted(self, table: pa.Table) -> pa.Table:
        if self.features is None:
            return table
        schema = self.features.arrow_schema
        for name in self.features:
            if name not in table.column_names:
                table = table.append_column(name, pa.nulls(table.num_rows, schema.field(name).type))
        for at, name in enumerate(table.column_names):
            kind = table.schema.field(at).type
            if name in self.features and pa.types.is_struct(kind) and pa.types.is_string(schema.field(name).type):
                texts = [None if value is None else _dumped(value).decode() for value in table[name].to_pylist()]
                table = table.set_column(at, name, pa.array(texts, pa.string()))
        return super().fitted(table)

    def _arrow(self, lines: bytes) -> pa.Table:
        """Lines → a table, with the types that these lines have."""
        if not lines.strip():
            return pa.table({})
        size = max(len(lines) // 8, self.block_size or 1 << 20)
        while True:
            try:
                table = paj.read_json(
                    pa.BufferReader(lines),
                    read_options=paj.ReadOptions(use_threads=self.use_threads, block_size=size),
                )
                table.validate()
                return table
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                if size >= len(lines) or not ("straddling" in str(error) or "JSON conversion to" in str(error)):
                    raise
                size = len(lines)

    def _chunks(self, opened: Opened) -> Iterator[bytes]:
        """The file as JSON lines in UTF-8, whole lines at a time, whatever form it has."""
        utf8 = codecs.lookup(self.encoding).name == "utf-8" and self.encoding_errors in (None, "strict")
        with opened.open() as source:
            file = source if utf8 else _reencoded(source, self.encoding, self.encoding_errors)
            first = file.read(self.chunksize).removeprefix(codecs.BOM_UTF8)
            if self.field is not None or first.lstrip()[:1] == b"[" or self._spans_lines(first):
                yield self._rows_of_whole(first + file.read(), opened.name)
                return
            chunk = first
            while chunk:
                yield chunk + file.readline()
                chunk = file.read(self.chunksize)

    def _spans_lines(self, first: bytes) -> bool:
        """Whether the file is one object that spans lines, rather than an object a line."""
        line, newline, rest = first.strip().partition(b"\n")
        return (
            bool(newline)
            and line.startswith(b"{")
            and bool(rest.strip())
            and _parsed(line) is None
            and (_parsed(rest.partition(b"\n")[0]) is None)
        )

    def _rows_of_whole(self, data: bytes, name: str) -> bytes:
        try:
            values = list(_whole_values(data))
        except ValueError as error:
            raise BadRowError(f"{name} is no JSON: {error}. It is torn, or not JSON lines either.") from error
        value = values[0] if len(values) == 1 and (self.field is not None or isinstance(values[0], list)) else values
        if self.field is not None:
            if not isinstance(value, dict) or self.field not in value:
                keys = list(value)[:20] if isinstance(value, dict) else f"a {type(value).__name__}"
                raise ArgumentError(f"{name} has no field {self.field!r}; it has {keys}.")
            value = value[self.field]
        if isinstance(value, dict):
            value = _rows_of_columns(value, name)
        if not isinstance(value, list):
            raise DatasetError(f"{name} holds a single {type(value).__name__}; expected rows.")
        column = next(iter(self.features)) if self.features is not None and len(self.features) == 1 else "text"
        rows = (row if isinstance(row, dict) else {column: row} for row in value)
        return b"\n".join(map(_dumped, rows))

    # Row by row: slow, and it knows which row is bad

    def _row_by_row(self, lines: bytes, name: str, before: int) -> pa.Table:
        tables = []
        for number, line in enumerate((line for line in lines.split(b"\n") if line.strip()), before + 1):
            reason = ""
            if not isinstance(_parsed(line), dict):
                reason = "no JSON object"
            else:
                try:
                    tables.append(self.fitted(self._arrow(_encoded(line, self.mixed) if self.mixed else line)))
                except (pa.ArrowInvalid, pa.ArrowNotImplementedError, DatasetError, ValueError) as error:
                    reason = str(error)
            if reason:
                bad_row(self.on_bad_rows, name, number, reason)
        return pa.concat_tables(tables).combine_chunks() if tables else pa.table({})

    def _explain(self, opened: Opened, error: Exception) -> None:
        """Find the row that is at fault; raises always."""
        number = 0
        seen: pa.Table | None = None
        for lines in self._chunks(opened):
            for line in lines.split(b"\n"):
                if not line.strip():
                    continue
                number += 1
                row = _parsed(line)
                if not isinstance(row, dict):
                    what = "bytes that are not UTF-8" if _is_not_utf8(line) else "no JSON object"
                    raise BadRowError(f"{opened.name}, row {number}: {what}: {line[:120]!r}. {_ADVICE}") from error
                try:
                    table = self._arrow(_encoded(line, self.mixed) if self.mixed else line)
                    seen = self.fitted(table) if self.features is not None else _joined(seen, table)
                except (pa.ArrowException, DatasetError, ValueError) as reason:
                    raise BadRowError(f"{opened.name}, row {number}: {reason} {_ADVICE}") from error
        raise DatasetError(f"{opened.name} can't be read: {error}") from error


_ADVICE = "To leave such rows out: on_bad_rows='skip' (or 'warn')."


def json_places(feature: Any, place: Path = ()) -> Iterator[Path]:
    """Where `Json` stands in features."""
    from enfold.datasets.features import Json, LargeList, List

    if isinstance(feature, Json):
        yield place
    elif isinstance(feature, Mapping):
        for name, inner in feature.items():
            yield from json_places(inner, (*place, name))
    elif isinstance(feature, List | LargeList):
        yield from json_places(feature.feature, (*place, ITEMS))


def mixed_places(rows: Sequence[Any], *, scalars: bool = False) -> list[Path]:
    """Places whose values have no common type: objects with different keys, objects beside lists or scalars.

    With `scalars`, also texts beside numbers or booleans.
    """
    found: list[Path] = []
    waiting: list[tuple[Path, list[Any]]] = [((), [row for row in rows if row is not None])]
    while waiting:
        place, values = waiting.pop(0)
        if not values:
            continue
        objects, lists = (sum(isinstance(value, kind) for value in values) for kind in (dict, list))
        if objects == len(values):
            keys = values[0].keys()
            if place and (not keys or any(value.keys() != keys for value in values)):
                found.append(place)
                continue
            inner: dict[str, list[Any]] = {}
            for value in values:
                for name, item in value.items():
                    if item is not None:
                        inner.setdefault(name, []).append(item)
            waiting += [((*place, name), items) for name, items in inner.items()]
        elif lists == len(values):
            waiting.append(((*place, ITEMS), [item for value in values for item in value if item is not None]))
        elif objects or lists or (scalars and len({_kind(value) for value in values}) > 1):
            found.append(place)
    return found


def _kind(value: Any) -> str:
    return "text" if isinstance(value, str) else "boolean" if isinstance(value, bool) else "number"


def _changed(feature: Any, place: Path, to: Any) -> Any:
    if not place:
        return to
    step, rest = place[0], place[1:]
    if step == ITEMS:
        return type(feature)(_changed(feature.feature, rest, to))
    return {**feature, step: _changed(feature[step], rest, to)}


def _encoded(lines: bytes, places: Sequence[Path]) -> bytes:
    """The lines with what stands in these places replaced by its JSON text."""
    encoded = []
    for row in _rows(lines):
        for place in places:
            row = _encode_at(row, place)
        encoded.append(_dumped(row))
    return b"\n".join(encoded)


def _rows(lines: bytes) -> list[Any]:
    """The values of lines; one of them may span several."""
    try:
        return [json.loads(line) for line in lines.split(b"\n") if line.strip()]
    except ValueError:
        return list(_whole_values(lines))


def _whole_values(data: bytes) -> Iterator[Any]:
    """The values of a text in which one follows the other."""
    text = data.decode()
    at, decoder = 0, json.JSONDecoder()
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        value, at = decoder.raw_decode(text, at)
        yield value


def _encode_at(value: Any, place: Path) -> Any:
    if value is None:
        return None
    if not place:
        if isinstance(value, str) and _parsed(value) is not None:
            return value
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    step, rest = place[0], place[1:]
    if step == ITEMS:
        return [_encode_at(item, rest) for item in value]
    return {**value, step: _encode_at(value.get(step), rest)} if step in value else value


def _rows_of_columns(value: dict, name: str) -> list:
    if value and all(isinstance(column, list) for column in value.values()):
        if len({len(column) for column in value.values()}) > 1:
            raise DatasetError(
                f"{name} is an object whose lists differ in length ({ {key: len(v) for key, v in value.items()} }): "
                "these are no columns. If the rows are under one of the keys, give field=."
            )
        return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    lists = [key for key, inner in value.items() if isinstance(inner, list)]
    if lists:
        raise DatasetError(f"{name} is one object. If its rows are under a key, give it: field={lists[0]!r}.")
    return [value]


def _reencoded(source: Any, encoding: str, errors: str | None) -> Any:
    return codecs.EncodedFile(source, "utf-8", encoding, errors or "strict")


def _parsed(line: bytes | str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _is_not_utf8(line: bytes) -> bool:
    if line.isascii():
        return False
    try:
        line.decode()
    except UnicodeDecodeError:
        return True
    return False


def _holds_object(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return True
    return (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _holds_object(kind.value_type)


def _joined(seen: pa.Table | None, table: pa.Table) -> pa.Table:
    schemas = [part.schema for part in (seen, table) if part is not None]
    return pa.unify_schemas(schemas, promote_options="permissive").empty_table()


def _refuse_traces(features: Mapping[str, Any], opened: Opened) -> None:
    """Recorded conversations of agents are no rows yet, unless the user says that they are."""
    kinds = {name: getattr(feature, "dtype", None) or type(feature).__name__ for name, feature in features.items()}
    kinds = {name: type(features[name]).__name__ if kind in ("json", "list") else kind for name, kind in kinds.items()}
    if any(all(kinds.get(name, "?") in types.split() for name, types in marks.items()) for marks in _TRACES):
        raise NotBuiltError(
            f"{opened.name} has the columns of a recorded conversation of an agent, and making messages of those is "
            "not built. parse_agent_traces=False reads its plain rows."
        )

"""What every reader is, and which reader reads what."""

from __future__ import annotations

import dataclasses
import importlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa

from enfold.base.errors import ArgumentError, BadRowError, DatasetError, NotBuiltError
from enfold.base.logging import get_logger
from enfold.datasets.files import DataFile
from enfold.datasets.opening import DEFAULT_MAX_EXPANSION, Opened, contents
from enfold.datasets.readers import media

if TYPE_CHECKING:
    from enfold.datasets.features import Features

OnBadRows = Literal["error", "skip", "warn"] | Callable[[str, int, str], None]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """The options of a format. Called with a file and a number of rows to skip, it gives tables.

    A subclass says in `read` how one plain stream becomes tables; archives and compression are dealt with here.
    """

    features: Features | None = None
    max_expansion: float | None = DEFAULT_MAX_EXPANSION

    extensions: ClassVar[tuple[str, ...]] = ()
    option_names: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def of(cls, options: Mapping[str, Any], *, features: Features | None = None) -> Reader:
        """A reader with these options; an unknown one is an error that lists the known."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = [name for name in options if name not in known]
        if unknown:
            raise ArgumentError(
                f"{', '.join(map(repr, unknown))}: {cls.__name__.removesuffix('Reader').lower()} has no such option. "
                f"It has: {', '.join(sorted(known))}."
            )
        given = dict(options)
        if features is not None:
            given["features"] = features
        return cls(**given)

    def __call__(self, file: DataFile, skip_rows: int = 0) -> Iterator[pa.Table]:
        """The file's rows from `skip_rows` on."""
        yield from skipping(self.tables(file), skip_rows)

    def tables(self, file: DataFile) -> Iterator[pa.Table]:
        """The file's rows."""
        for opened in contents(file, self.max_expansion):
            yield from self.read(opened)

    def read(self, opened: Opened) -> Iterator[pa.Table]:
        """The rows of one plain stream."""
        raise NotImplementedError

    def prepared(self, splits: Mapping[str, Sequence[DataFile]]) -> Reader:
        """The reader that reads these files: what holds for all of them (types, labels) is found out here, once."""
        return self

    def shards(self, files: Sequence[DataFile]) -> Sequence[DataFile]:
        """Which of a split's files are data."""
        return files

    def fitted(self, table: pa.Table) -> pa.Table:
        """The table with the features that were asked for."""
        if self.features is None:
            return table
        from enfold.datasets.features.casting import cast_table

        return cast_table(table, self.features)


def skipping(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The tables without their first rows."""
    for table in tables:
        if rows >= table.num_rows and rows:
            rows -= table.num_rows
            continue
        yield table.slice(rows) if rows else table
        rows = 0


def bad_row(on_bad_rows: OnBadRows, file: str, row: int, reason: str) -> None:
    """Deal with a row that can't be read, as the option says. Rows count from 1, the header not among them.

    Raises:
        BadRowError: if bad rows are errors.
    """
    if on_bad_rows == "error":
        raise BadRowError(f"{file}, row {row}: {reason}. To leave such rows out: on_bad_rows='skip' (or 'warn').")
    if on_bad_rows == "warn":
        get_logger("enfold.datasets").warning("%s, row %d left out: %s", file, row, reason)
    elif callable(on_bad_rows):
        on_bad_rows(file, row, reason)


def check_on_bad_rows(value: Any) -> None:
    if value not in ("error", "skip", "warn") and not callable(value):
        raise ArgumentError(f"on_bad_rows={value!r}; it is 'error', 'skip', 'warn' or a function (file, row, reason).")


# Format → module and class.
FORMATS = {
    "arrow": ("arrow", "ArrowReader"),
    "audiofolder": ("folders", "AudioFolderReader"),
    "csv": ("csv", "CsvReader"),
    "imagefolder": ("folders", "ImageFolderReader"),
    "json": ("json", "JsonReader"),
    "parquet": ("parquet", "ParquetReader"),
    "text": ("text", "TextReader"),
    "webdataset": ("webdataset", "WebDatasetReader"),
    "xml": ("text", "XmlReader"),
}
_REFUSED = {
    "pandas": "a pickle runs the code that it holds. Read it once with pandas.read_pickle if you trust it, write "
    "parquet (frame.to_parquet), and load that",
}
_KNOWN_NOT_BUILT = media.words(
    "conll eval fasta fastq genbank harbor hdf5 iceberg lance meshfolder mmcif niftifolder pdb pdffolder tsfile "
    "videofolder vortex"
)

_EXTENSIONS: dict[str, tuple[str, dict[str, Any]]] = {
    ".csv": ("csv", {}),
    ".tsv": ("csv", {"sep": "\t"}),
    ".json": ("json", {}),
    ".jsonl": ("json", {}),
    ".ndjson": ("json", {}),
    ".parquet": ("parquet", {}),
    ".geoparquet": ("parquet", {}),
    ".gpq": ("parquet", {}),
    ".arrow": ("arrow", {}),
    ".txt": ("text", {}),
    ".xml": ("xml", {}),
    ".tar": ("webdataset", {}),
    **{extension: ("imagefolder", {}) for extension in media.IMAGES},
    **{extension: ("audiofolder", {}) for extension in media.AUDIO},
    # Formats that are known and not read: the error names them instead of finding nothing.
    **{extension: (name, {}) for name, extensions in media.NOT_READ.items() for extension in media.words(extensions)},
}
EXTENSIONS = frozenset([*_EXTENSIONS, ".zip"])
METADATA_FILES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_FAVOURITES = (".csv", ".json", ".jsonl", ".arrow", ".vortex", ".lance", ".parquet")


def reader_class(name: str) -> type[Reader]:
    """The reader of a format.

    Raises:
        DatasetError, NotBuiltError: a format that is refused, or known and not read.
    """
    if name in _REFUSED:
        raise DatasetError(f"The format {name!r} is refused: {_REFUSED[name]}.")
    if name in _KNOWN_NOT_BUILT:
        raise NotBuiltError(f"The format {name!r} is not built yet. These are: {', '.join(sorted(FORMATS))}.")
    module, class_name = FORMATS[name]
    return getattr(importlib.import_module(f"enfold.datasets.readers.{module}"), class_name)


# What isn't files: a function, a query, a frame.
OBJECTS = ("generator", "ray", "spark", "sql")


def is_format(name: str) -> bool:
    return name in FORMATS or name in OBJECTS or name in _REFUSED or name in _KNOWN_NOT_BUILT


def format_of(splits: Mapping[str, Sequence[DataFile]], where: str) -> tuple[str, dict[str, Any]]:
    """The format of a folder's data files, by the extension that most of them have, and the options it implies."""
    found = {split: _format_of_files(files) for split, files in splits.items()}
    first = next(iter(found.values()), None)
    if first is None:
        raise DatasetError(
            f"{where} holds no data file of a format that is read ({', '.join(sorted(FORMATS))}). If one of these is "
            "there under another name, load_dataset(format, data_files=…)."
        )
    if any(other != first for other in found.values()):
        raise DatasetError(
            f"The splits of {where} seem to have different formats: "
            f"{ {split: form and form[0] for split, form in found.items()} }. Give data_files= for those of one format."
        )
    return first


def _format_of_files(files: Sequence[DataFile]) -> tuple[str, dict[str, Any]] | None:
    counted = Counter(
        ("." + suffix.lower(), file.name in METADATA_FILES) for file in files for suffix in file.name.split(".")[1:]
    )

    def rank(entry: tuple[tuple[str, bool], int]) -> tuple:
        (extension, is_metadata), count = entry
        favour = _FAVOURITES.index(extension) if extension in _FAVOURITES else -1
        return not is_metadata, count, favour, extension

    for (extension, _), _count in sorted(counted.items(), key=rank, reverse=True):
        if extension in _EXTENSIONS:
            return _EXTENSIONS[extension]
        if extension == ".zip":
            return _format_in_archives([file for file in files if file.url.endswith(".zip")][:10])
    return None


def _format_in_archives(files: Sequence[DataFile]) -> tuple[str, dict[str, Any]] | None:
    names = [opened.name.rpartition("/")[2] for file in files for opened in contents(file)]
    counted = Counter("." + suffix.lower() for name in names for suffix in name.split(".")[1:])
    extension = counted.most_common(1)[0][0] if counted else ""
    return _EXTENSIONS.get(extension)

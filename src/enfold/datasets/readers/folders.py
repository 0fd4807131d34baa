"""Folders of images or sound: labels from the folders' names, or columns from a metadata file beside the files."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pyarrow as pa

from enfold.base.errors import ArgumentError, DatasetError, UnsafePathError
from enfold.datasets.files import DataFile
from enfold.datasets.opening import Opened, contents, members, stem
from enfold.datasets.readers import media
from enfold.datasets.readers.base import METADATA_FILES, Reader
from enfold.datasets.readers.csv import CsvReader
from enfold.datasets.readers.json import JsonReader
from enfold.datasets.readers.parquet import ParquetReader
from enfold.datasets.sources import tables_of_rows

_METADATA_READERS = {".csv": CsvReader, ".jsonl": JsonReader, ".parquet": ParquetReader}


@dataclass(frozen=True, kw_only=True)
class FolderReader(Reader):
    """One column of files, and what the folders or a metadata file say of each.

    Args:
        drop_labels: True: no labels; False: labels even where a metadata file is (without it, then); None: labels where
            there is no metadata, the files are all equally deep, and in at least two folders.
        drop_metadata: True: metadata files are passed over.
        metadata_filenames: their names, instead of `metadata.csv`, `.jsonl` and `.parquet`.
        filters: keep only rows for which it holds: an Arrow expression, or `[("column", "op", value), …]`.
        decode_num_threads: kept for compatibility; rows are decoded when they are looked at.
    """

    drop_labels: bool | None = None
    drop_metadata: bool | None = None
    metadata_filenames: Sequence[str] | None = None
    filters: Any = None
    decode_num_threads: int = 32
    metadata: Mapping[str, tuple[DataFile, ...]] | None = None  # split → its metadata files, once prepared
    labels: bool = False

    column: ClassVar[str] = ""

    def _feature(self) -> Any:
        raise NotImplementedError

    @property
    def _metadata_names(self) -> Sequence[str]:
        return self.metadata_filenames or METADATA_FILES

    def prepared(self, splits: Mapping[str, Sequence[DataFile]]) -> FolderReader:
        from enfold.datasets.features import ClassLabel, Features

        found = {
            split: tuple(file for file in files if file.name in self._metadata_names) for split, files in splits.items()
        }
        has_metadata = any(found.values()) or any(
            stem(opened.name) in self._metadata_names
            for files in splits.values()
            for file in files
            if file.name.lower().endswith(".zip")
            for opened in contents(file, self.max_expansion)
        )
        use_metadata = has_metadata and not self.drop_metadata
        paths = [name for files in splits.values() for file in files for name in self._media_names(file)]
        names = sorted({posixpath.basename(posixpath.dirname(path)) for path in paths})
        if has_metadata and self.drop_labels is not False:
            labelled = False
        elif self.drop_labels is None:
            labelled = len(names) > 1 and len({path.count("/") for path in paths}) == 1
        else:
            labelled = not self.drop_labels and not use_metadata
        chosen = replace(self, metadata=found if use_metadata else {}, labels=labelled and not use_metadata)
        if self.features is not None:
            return chosen
        if use_metadata:
            return replace(chosen, features=chosen._features_of_metadata(splits))
        columns = {self.column: self._feature()}
        if chosen.labels:
            columns["label"] = ClassLabel(names=names)
        return replace(chosen, features=Features(columns))

    def shards(self, files: Sequence[DataFile]) -> Sequence[DataFile]:
        if self.metadata:
            return [file for file in files if file.name in self._metadata_names or file.name.lower().endswith(".zip")]
        kept = [file for file in files if next(iter(self._media_names(file)), None) is not None]
        return kept

    def tables(self, file: DataFile) -> Iterator[pa.Table]:
        rows = self._rows_of_metadata(file) if self.metadata else self._rows_of_files(file)
        yield from tables_of_rows(rows, self.features)

    def _media_names(self, file: DataFile) -> Iterator[str]:
        """The names of the media files that a data file is, or (a zip) holds."""
        if _is_media(file.name, self.extensions):
            yield file.url.partition("::")[0]
        elif file.name.lower().endswith(".zip"):
            for opened in contents(file, self.max_expansion):
                if _is_media(stem(opened.name), self.extensions):
                    yield "archive/" + opened.name.partition(": ")[2]

    # Without metadata

    def _rows_of_files(self, file: DataFile) -> Iterator[dict[str, Any]]:
        if file.name.lower().endswith(".zip"):
            for opened in contents(file, self.max_expansion):
                if _is_media(stem(opened.name), self.extensions):
                    name = opened.name.partition(": ")[2]
                    yield from self._kept({self.column: _embedded(opened, name), **self._label("archive/" + name)})
        else:
            yield from self._kept({self.column: _referred(file), **self._label(file.url.partition("::")[0])})

    def _label(self, path: str) -> dict[str, str]:
        return {"label": posixpath.basename(posixpath.dirname(path))} if self.labels else {}

    def _kept(self, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if self.filters is not None:
            path = row[self.column]["path"]
            if not pa.Table.from_pylist([{**row, self.column: path}]).filter(_expression(self.filters)).num_rows:
                return
        yield row

    # With metadata

    def _features_of_metadata(self, splits: Mapping[str, Sequence[DataFile]]) -> Any:
        from enfold.datasets.features import Features

        found: dict[str, Any] = {}
        for files in splits.values():
            for file in self.shards(files):
                for opened, reader in self._tables_of_metadata(file):
                    first = next(iter(reader.read(opened)), None)
                    if first is not None:
                        found[opened.name] = Features.from_arrow_schema(first.schema)
                        break
        if len({os.path.splitext(name)[1] for name in found}) > 1:
            raise DatasetError(f"Metadata files of different formats: {', '.join(found)}. Keep those of one.")
        first_name, features = next(iter(found.items()))
        for name, other in found.items():
            if other != features:
                raise DatasetError(f"{name} has other columns than {first_name}: {other} and {features}.")
        pointed = [0]
        renamed = self._renamed(dict(features), pointed)
        if not pointed[0]:
            raise DatasetError(
                f"{first_name} points to no files: it needs a column file_name (*_file_name, file_names, *_file_names) "
                f"and has {', '.join(features)}."
            )
        return Features(renamed)

    def _renamed(self, features: Any, pointed: list[int]) -> Any:
        """The features in which names of files have become files."""
        if not isinstance(features, dict):
            return features
        from enfold.datasets.features import List, Value

        texts = (Value("string"), Value("large_string"))
        result = {}
        for name, feature in features.items():
            column, many = self._pointer(name)
            if column and not many and feature in texts:
                result[column], pointed[0] = self._feature(), pointed[0] + 1
            elif column and many and isinstance(feature, List) and feature.feature in texts:
                result[column], pointed[0] = List(self._feature()), pointed[0] + 1
            else:
                result[name] = self._renamed(feature, pointed)
        return result

    def _pointer(self, name: str) -> tuple[str, bool]:
        """The column that a column of file names becomes, and whether it holds lists; `""` for any other."""
        for suffix, plural in (("file_name", ""), ("file_names", "s")):
            if name == suffix:
                return self.column + plural, bool(plural)
            if name.endswith("_" + suffix):
                return name.removesuffix("_" + suffix), bool(plural)
        return "", False

    def _tables_of_metadata(self, file: DataFile) -> Iterator[tuple[Opened, Reader]]:
        for opened in contents(file, self.max_expansion):
            if stem(opened.name) in self._metadata_names:
                yield opened, self._metadata_reader(opened)

    def _metadata_reader(self, opened: Opened) -> Reader:
        extension = os.path.splitext(opened.name)[1]
        if extension not in _METADATA_READERS:
            raise ArgumentError(f"{opened.name}: metadata is {', '.join(_METADATA_READERS)}, not {extension!r}.")
        return _METADATA_READERS[extension]()

    def _rows_of_metadata(self, file: DataFile) -> Iterator[dict[str, Any]]:
        if file.name in self._metadata_names:
            folder = posixpath.dirname(file.url)

            def beside(name: str) -> dict[str, Any]:
                return _referred(replace(file, url=f"{folder}/{_safe(name, file)}"))

            yield from self._described(self._tables_of_metadata(file), beside)
            return
        with members(file, self.max_expansion) as inside:
            for name, opened in inside.items():
                if posixpath.basename(name) not in self._metadata_names:
                    continue

                def within(pointed: str, folder: str = posixpath.dirname(name)) -> dict[str, Any]:
                    path = posixpath.join(folder, _safe(pointed, file))
                    if path not in inside:
                        raise DatasetError(f"{file}: its metadata names {pointed!r}, which is not in the archive.")
                    return _embedded(inside[path], path)

                yield from self._described([(opened, self._metadata_reader(opened))], within)

    def _described(self, tables: Any, get: Callable[[str], dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for opened, reader in tables:
            for table in reader.read(opened):
                if self.filters is not None:
                    table = table.filter(_expression(self.filters))
                for row in table.to_pylist():
                    yield self._filled(row, get)

    def _filled(self, row: Any, get: Callable[[str], dict[str, Any]]) -> Any:
        if isinstance(row, list):
            return [self._filled(item, get) for item in row]
        if not isinstance(row, dict):
            return row
        result = {}
        for name, value in row.items():
            column, many = self._pointer(name)
            if column and many and isinstance(value, list):
                result[column] = [None if item is None else get(item) for item in value]
            elif column and not many and isinstance(value, str | None):
                result[column] = None if value is None else get(value)
            else:
                result[name] = self._filled(value, get)
        return result


def _is_media(name: str, extensions: Sequence[str]) -> bool:
    parts = name.lower().split(".")
    return any("." + part in extensions for part in parts[-2:][-1:] + parts[1:][-2:-1])


def _safe(name: str, file: DataFile) -> str:
    path = posixpath.normpath(name.replace("\\", "/"))
    if "://" in name or posixpath.isabs(path) or path == ".." or path.startswith("../"):
        raise UnsafePathError(
            f"{file}: file_name {name!r} leaves the folder of the metadata. It must be relative and inside; don't "
            "trust files that say otherwise."
        )
    return path


def _referred(file: DataFile) -> dict[str, Any]:
    """A file on this disk by its path; one from elsewhere with its bytes."""
    path = file.local_path()
    if path is not None:
        if not path.is_file():
            raise DatasetError(f"There is no file {path}, which the metadata names.")
        return {"bytes": None, "path": str(path)}
    with file.open() as source:
        return {"bytes": source.read(), "path": file.name}


def _embedded(opened: Opened, name: str) -> dict[str, Any]:
    with opened.open() as source:
        return {"bytes": source.read(), "path": name}


def _expression(filters: Any) -> Any:
    import pyarrow.parquet as pq

    return pq.filters_to_expression(filters) if isinstance(filters, list) else filters


@dataclass(frozen=True, kw_only=True)
class ImageFolderReader(FolderReader):
    """Images, in the column `image`."""

    extensions: ClassVar[tuple[str, ...]] = media.IMAGES
    column: ClassVar[str] = "image"

    def _feature(self) -> Any:
        from enfold.datasets.features import Image

        return Image()


@dataclass(frozen=True, kw_only=True)
class AudioFolderReader(FolderReader):
    """Sound, in the column `audio`."""

    extensions: ClassVar[tuple[str, ...]] = media.AUDIO
    column: ClassVar[str] = "audio"

    def _feature(self) -> Any:
        from enfold.datasets.features import Audio

        return Audio()

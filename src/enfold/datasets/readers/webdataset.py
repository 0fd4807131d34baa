"""WebDataset: tar files in which the files that share a name up to its first dot are one row."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, ClassVar

import pyarrow as pa

from enfold.base.errors import DatasetError, NotBuiltError
from enfold.datasets.files import DataFile
from enfold.datasets.opening import torn_archive
from enfold.datasets.readers import media
from enfold.datasets.readers.base import OnBadRows, Reader, bad_row, check_on_bad_rows
from enfold.datasets.readers.media import words
from enfold.datasets.sources import tables_of_rows

_SAMPLE_ROWS = 5
_ROWS_PER_TABLE = 100
_KEY = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
_IMAGES = frozenset(extension[1:] for extension in media.IMAGES) | {"h5", "hdf", "mpg", "mpeg"}
_AUDIO = frozenset(
    words(
        "aiff au avr caf flac htk svx mat4 mat5 mpc2k ogg paf pvf raw rf64 sd2 sds ircam voc w64 wav nist wavex wve xi "
        "mp3 opus"
    )
)
_VIDEO = frozenset(("mkv", "mp4", "avi", "mov"))


@dataclass(frozen=True, kw_only=True)
class WebDatasetReader(Reader):
    """Columns `__key__`, `__url__` and one per extension; images and sound stay as they are stored, until looked at.

    Text, JSON, integers, numpy arrays, msgpack and cbor are decoded; pickles are not.

    Args:
        on_bad_rows: what happens with rows one of whose files can't be decoded.
    """

    on_bad_rows: OnBadRows = "error"

    extensions: ClassVar[tuple[str, ...]] = (".tar",)

    def __post_init__(self) -> None:
        check_on_bad_rows(self.on_bad_rows)

    def prepared(self, splits: Mapping[str, Sequence[DataFile]]) -> WebDatasetReader:
        """Find out the columns from the first rows of the first file."""
        if self.features is not None:
            return self
        from enfold.datasets.features import Audio, Features, Image, Video
        from enfold.datasets.features.encoding import to_table

        file = next((file for files in splits.values() for file in files), None)
        first = [] if file is None else list(islice(self._rows(file), _SAMPLE_ROWS))
        if not first:
            return self
        if any(row.keys() != first[0].keys() for row in first):
            raise DatasetError(
                f"{file} is no WebDataset: its first rows have different files "
                f"({', '.join(sorted(set().union(*first) - {'__key__', '__url__'}))}). Files of a row share their name "
                "up to the first dot; if some rows lack some, give features=."
            )
        table = to_table({name: [row[name] for row in first] for name in first[0]})
        features = Features.from_arrow_schema(table.schema)
        for name in features:
            extension = name.rpartition(".")[2].lower()
            kind = (
                Image
                if extension in _IMAGES
                else Audio
                if extension in _AUDIO
                else Video
                if extension in _VIDEO
                else None
            )
            if kind is not None:
                features[name] = kind()
        return replace(self, features=features)

    def tables(self, file: DataFile) -> Iterator[pa.Table]:
        yield from tables_of_rows(self._completed(file), self.features, _ROWS_PER_TABLE)

    def _completed(self, file: DataFile) -> Iterator[dict[str, Any]]:
        from enfold.datasets.features import Audio, Image, Video

        features = self.features or {}
        stored = [name for name, feature in features.items() if isinstance(feature, Image | Audio | Video)]
        for row in self._rows(file):
            whole = {name: row.get(name) for name in features} if features else row
            unknown = row.keys() - whole.keys()
            if unknown:
                raise DatasetError(
                    f"{file}: {row['__key__']} has {', '.join(sorted(unknown))}, which the first rows lack. Give "
                    "features=."
                )
            for name in stored:
                if whole[name] is not None:
                    whole[name] = {"path": f"{row['__key__']}.{name}", "bytes": whole[name]}
            yield whole

    def _rows(self, file: DataFile) -> Iterator[dict[str, Any]]:
        """Groups of members that follow each other."""
        row: dict[str, Any] = {}
        key, number, reason = "", 0, ""
        for name, data in self._members(file):
            match = _KEY.match(name)
            if match is None:
                continue
            if match[1] != key and (row or reason):
                number += 1
                if reason:
                    bad_row(self.on_bad_rows, str(file), number, reason)
                else:
                    yield {**row, "__key__": key, "__url__": file.url}
                row, reason = {}, ""
            key, column = match[1], match[2]
            if column in row:
                raise DatasetError(f"{file}: {name} is there twice.")
            try:
                row[column] = _decoded(column, data)
            except (ValueError, KeyError, EOFError, OSError) as error:
                reason = reason or f"{name} can't be decoded: {error}"
                row[column] = None
        if reason:
            bad_row(self.on_bad_rows, str(file), number + 1, reason)
        elif row:
            yield {**row, "__key__": key, "__url__": file.url}

    def _members(self, file: DataFile) -> Iterator[tuple[str, bytes]]:
        """Names and contents in the archive's order; links and devices hold nothing to read."""
        with torn_archive(file.url), file.open() as opened:
            source: Any = _Blocks(opened)
            archive = tarfile.open(fileobj=source, mode="r|*")  # noqa: SIM115  # nothing to close: it only reads
            for member in archive:
                base = member.name.rpartition("/")[2]
                if not member.isreg() or base.startswith((".", "__")):
                    continue
                content = archive.extractfile(member)
                assert content is not None
                data = content.read()
                if len(data) != member.size:
                    raise DatasetError(f"{file} is torn: {member.name} is cut short. Get the file again.")
                yield member.name, data
            if archive.fileobj.comptype == "tar" and source.taken % tarfile.BLOCKSIZE:  # type: ignore[union-attr]
                raise EOFError("its last block is not whole")


class _Blocks:
    """A file's bytes and how many were taken."""

    def __init__(self, source: Any) -> None:
        self._source, self.taken = source, 0

    def read(self, size: int) -> bytes:
        data = self._source.read(size)
        self.taken += len(data)
        return data


def _decoded(column: str, data: bytes) -> Any:
    extension = column.rpartition(".")[2].lower()
    if extension == "gz":
        data = gzip.decompress(data)
        extension = column.split(".")[-2].lower() if "." in column else ""
    decode = _DECODERS.get(extension)
    return data if decode is None else decode(data)


def _npy(data: bytes) -> Any:
    import numpy as np

    return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)


def _npz(data: bytes) -> Any:
    import numpy as np

    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _with(module: str, function: str) -> Callable[[bytes], Any]:
    def decode(data: bytes) -> Any:
        from enfold.base.lazy import require

        return getattr(require(module, extra="webdataset", purpose=f"Decoding .{module} files"), function)(data)

    return decode


def _refused(data: bytes) -> Any:
    raise NotBuiltError("torch files and tenbin in a WebDataset are not decoded. Store arrays as .npy.")


_DECODERS: dict[str, Callable[[bytes], Any]] = {
    **dict.fromkeys(("txt", "text", "transcript"), lambda data: data.decode("utf-8")),
    **dict.fromkeys(("cls", "cls2", "index", "inx", "id"), int),
    **dict.fromkeys(("json", "jsn"), json.loads),
    **dict.fromkeys(("mp", "msg"), _with("msgpack", "unpackb")),
    **dict.fromkeys(("ten", "tb", "pth"), _refused),
    "npy": _npy,
    "npz": _npz,
    "cbor": _with("cbor2", "loads"),
}

"""Files in a column: bytes, or the path to them. What images and sounds share, and the kinds that are only carried.

A row is stored as `struct<bytes, path>`. `Image` and `Audio` (their own files) turn it into what people work with;
videos, documents, volumes, meshes and biological records are carried through unread.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pyarrow as pa

from enfold.base.errors import DatasetError, NotBuiltError
from enfold.base.lazy import require
from enfold.datasets.features.types import FeatureType, Value, is_text, register_feature

STORAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def is_remote(path: str) -> bool:
    """Whether a path names a store (`https://…`, `hf://…`, `zip://…::…`), not a local file."""
    return "::" in path or ("://" in path and urlsplit(path).scheme != "file")


def read_file(path: str, tokens: Mapping[str, Any] | None = None) -> bytes:
    """The bytes behind a path or a URL, through fsspec where it is remote."""
    if not is_remote(path):
        try:
            return Path(path.removeprefix("file://")).read_bytes()
        except OSError as error:
            raise DatasetError(f"the file {path} can't be read: {error.strerror or error}") from error
    fsspec = require("fsspec", extra="remote", purpose="Reading a remote file")
    options = {}
    if tokens and path.startswith("hf://datasets/"):
        repo = "/".join(path.removeprefix("hf://datasets/").split("/")[:2]).split("@")[0]
        options = {"token": tokens[repo]} if repo in tokens else {}
    with fsspec.open(path, "rb", **options) as file:
        return file.read()


class Media:
    """A file per row. Subclasses say how a value becomes bytes and how bytes become a value."""

    decode: bool
    pa_type: ClassVar[pa.DataType] = STORAGE

    def __call__(self) -> pa.DataType:
        return STORAGE

    def encode_example(self, value: Any) -> dict[str, Any]:
        """A path, bytes, `{"bytes": …, "path": …}` or the kind's own object → what is stored."""
        if isinstance(value, (bytes, bytearray)):
            return {"bytes": bytes(value), "path": None}
        if isinstance(value, str):
            return {"bytes": None, "path": value}
        if isinstance(value, Path):
            return {"bytes": None, "path": str(value.absolute())}
        if isinstance(value, Mapping):
            path, content = value.get("path"), value.get("bytes")
            if path is None and content is None:
                raise DatasetError(f"the file has neither bytes nor a path, only {sorted(map(str, value))}")
            # a file that is there needs no second copy
            return {"bytes": None if path is not None and os.path.isfile(path) else content, "path": path}
        return self.encode_object(value)

    def encode_object(self, value: Any) -> dict[str, Any]:
        raise DatasetError(f"a {type(value).__name__} can't be stored as {type(self).__name__}")

    def decode_example(self, value: Any, tokens: Mapping[str, Any] | None = None) -> Any:
        raise NotBuiltError(
            f"Decoding {type(self).__name__} is not built yet: cast the column to {type(self).__name__}(decode=False), "
            "which gives the bytes and the path."
        )

    def flatten(self) -> FeatureType:
        return self if self.decode else {"bytes": Value("binary"), "path": Value("string")}

    def cast_storage(self, array: pa.Array) -> pa.Array:
        """Paths (text), contents (binary) or a struct with `bytes`, `path` or both → storage."""
        kind = array.type
        missing = array.is_null()
        if is_text(kind):
            parts = [pa.nulls(len(array), pa.binary()), array.cast(pa.string())]
        elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
            parts = [array.cast(pa.binary()), pa.nulls(len(array), pa.string())]
        elif pa.types.is_struct(kind) and {field.name for field in kind} & {"bytes", "path"}:
            named = dict(zip([field.name for field in kind], array.flatten(), strict=True))
            parts = [
                named[part].cast(to) if part in named else pa.nulls(len(array), to)
                for part, to in (("bytes", pa.binary()), ("path", pa.string()))
            ]
        elif pa.types.is_null(kind):
            return pa.nulls(len(array), STORAGE)
        else:
            return self.cast_values(array)
        return pa.StructArray.from_arrays(parts, fields=list(STORAGE), mask=missing)

    def cast_values(self, array: pa.Array) -> pa.Array:
        raise DatasetError(f"Arrow data of type {array.type} can't be read as {type(self).__name__}")

    def embed_storage(
        self,
        array: pa.Array,
        token_per_repo_id: Mapping[str, Any] | None = None,
        local_files: bool = True,
        remote_files: bool = True,
    ) -> pa.Array:
        """Paths → the bytes of their files and the file's bare name."""

        def taken(path: str | None) -> bool:
            return path is not None and (remote_files if is_remote(path) else local_files)

        contents, names = [], []
        for row in array.to_pylist():
            path = row and row["path"]
            content = row and row["bytes"]
            contents.append(read_file(path, token_per_repo_id) if row and content is None and taken(path) else content)
            names.append(os.path.basename(path) if taken(path) else path)
        parts = [pa.array(contents, pa.binary()), pa.array(names, pa.string())]
        return pa.StructArray.from_arrays(parts, fields=list(STORAGE), mask=array.is_null())


def content_of(value: Mapping[str, Any], tokens: Mapping[str, Any] | None = None) -> bytes:
    """The bytes of a stored file, read from its path where they aren't stored."""
    if value.get("bytes") is not None:
        return value["bytes"]
    if value.get("path") is None:
        raise DatasetError("the file has neither bytes nor a path")
    return read_file(value["path"], tokens)


@dataclass
class Video(Media):
    """A video file per row; carried, not decoded."""

    decode: bool = True
    stream_index: int | None = None
    dimension_order: str = "NCHW"
    num_ffmpeg_threads: int = 1
    device: Any = "cpu"
    seek_mode: str = "exact"
    id: str | None = field(default=None, repr=False)
    _type: str = field(default="Video", init=False, repr=False)


@dataclass
class Pdf(Media):
    """A PDF document per row; carried, not decoded."""

    decode: bool = True
    id: str | None = field(default=None, repr=False)
    _type: str = field(default="Pdf", init=False, repr=False)


@dataclass
class Nifti(Media):
    """A medical volume (NIfTI) per row; carried, not decoded."""

    decode: bool = True
    id: str | None = field(default=None, repr=False)
    _type: str = field(default="Nifti", init=False, repr=False)


@dataclass
class Mesh(Media):
    """A triangle mesh per row; carried, not decoded."""

    decode: bool = True
    id: str | None = field(default=None, repr=False)
    _type: str = field(default="Mesh", init=False, repr=False)


@dataclass
class BioSequence(Media):
    """A biological sequence per row; carried, not decoded."""

    format: str = "fasta"
    decode: bool = True
    id: str | None = field(default=None, repr=False)
    _type: str = field(default="BioSequence", init=False, repr=False)


@dataclass
class BioStructure(Media):
    """A molecular structure per row; carried, not decoded."""

    format: str = "pdb"
    decode: bool = True
    id: str | None = field(default=None, repr=False)
    _type: str = field(default="BioStructure", init=False, repr=False)


for _kind in (Video, Pdf, Nifti, Mesh, BioSequence, BioStructure):
    register_feature(_kind, _kind.__name__)

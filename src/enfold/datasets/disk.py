"""Folders of Arrow files: `save_to_disk` and `load_from_disk`, as the `datasets` library writes and reads them.

    folder/data-00000-of-00002.arrow …  the rows
    folder/dataset_info.json            what is known of them
    folder/state.json                   the files in order, fingerprint, split, format

`state.json` is written last and removed first, so a folder is whole or not there.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Self

import pyarrow as pa

from enfold.base.errors import ArgumentError, DatasetError
from enfold.base.lazy import require
from enfold.datasets.cache import scratch_directory
from enfold.datasets.exports import Exported
from enfold.datasets.features import embed_table, require_embedding
from enfold.datasets.info import DatasetInfo
from enfold.datasets.table import open_mapped
from enfold.datasets.workers import run_tasks
from enfold.datasets.writing import TableWriter

STATE_FILE = "state.json"
INFO_FILE = "dataset_info.json"
DICT_FILE = "dataset_dict.json"
MAX_SHARD_SIZE = "500MB"
# Bytes of a record batch: Arrow's strings hold up to 2 GB, and readers take a batch at once.
BATCH_BYTES = 100_000_000


class Saved(Exported):
    """The part of `Dataset` that keeps rows in folders."""

    def save_to_disk(
        self,
        dataset_path: str | os.PathLike[str],
        max_shard_size: str | int | None = None,
        num_shards: int | None = None,
        num_proc: int | None = None,
        storage_options: dict[str, Any] | None = None,
    ) -> None:
        """Write the rows, in their order, into a folder; files that images and audio point to are stored with them.

        Args:
            dataset_path: a folder, or a URL of a store that fsspec knows (`s3://…`).
            max_shard_size: of a file, in bytes or as text ("500MB", the default).
            num_shards: how many files, instead.
            num_proc: processes that share the work.
            storage_options: for the store.
        """
        if max_shard_size is not None and num_shards is not None:
            raise ArgumentError("save_to_disk: give either max_shard_size or num_shards, not both.")
        self._no_indexes("save_to_disk")
        if num_shards is None:
            shards = self._estimated_bytes() // file_size(max_shard_size or MAX_SHARD_SIZE) + 1
            num_shards = min(max(shards, num_proc or 1), max(len(self), 1))
        names = [f"data-{index:05d}-of-{num_shards:05d}.arrow" for index in range(num_shards)]
        state = {
            "_data_files": [{"filename": name} for name in names],
            "_fingerprint": self._fingerprint,
            "_format_columns": self._format_columns,
            "_format_kwargs": self._format_kwargs,
            "_format_type": self._format_type,
            "_output_all_columns": self._output_all_columns,
            "_split": None if self.split is None else str(self.split),
        }
        try:
            state_text = json.dumps(state, indent=2, sort_keys=True)
        except TypeError as error:
            raise DatasetError(
                f"the format's options {self._format_kwargs} can't be kept as JSON ({error}): call reset_format() first"
            ) from error
        info = self._info.to_dict()
        with _folder(dataset_path, storage_options) as folder:
            tasks = [partial(self._save_shard, folder / name, index, num_shards) for index, name in enumerate(names)]
            run_tasks(tasks, num_proc, total=len(self), label="Saving the dataset")
            (folder / INFO_FILE).write_text(json.dumps({key: info[key] for key in sorted(info)}, indent=2))
            (folder / STATE_FILE).write_text(state_text)

    def _save_shard(self, path: Path, index: int, count: int, done: Callable[[int], None]) -> None:
        size, left = divmod(len(self), count)
        start = size * index + min(index, left)
        rows = min(1000, self._rows_of(BATCH_BYTES))
        features = self.features
        embeds = any(require_embedding(feature) for feature in features.values())
        with TableWriter(path, features=features, batch_rows=rows) as writer:
            for table in self._tables(rows, start=start, stop=start + size + (index < left)):
                writer.write(embed_table(table, remote_files=False) if embeds else table)
                done(table.num_rows)
            writer.close()

    @classmethod
    def load_from_disk(
        cls,
        dataset_path: str | os.PathLike[str],
        keep_in_memory: bool | None = None,
        storage_options: dict[str, Any] | None = None,
    ) -> Self:
        """The data set of a folder that `save_to_disk` wrote, memory-mapped.

        Args:
            dataset_path: the folder, or a URL of a store that fsspec knows (it is copied to this machine).
            keep_in_memory: read all of it into memory.
            storage_options: for the store.
        """
        folder = local_folder(dataset_path, storage_options)
        for name in (STATE_FILE, INFO_FILE):
            if not (folder / name).is_file():
                hint = ""
                if (folder / DICT_FILE).is_file():
                    hint = " It is the folder of a DatasetDict: use load_from_disk() or DatasetDict.load_from_disk()."
                raise MissingFolderError(f"{dataset_path} is no folder of a data set: it has no {name}.{hint}")
        state = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        info = DatasetInfo.from_dict(json.loads((folder / INFO_FILE).read_text(encoding="utf-8")))
        paths = [folder / _safe(entry["filename"]) for entry in state["_data_files"]]
        tables = [open_mapped(path, in_memory=bool(keep_in_memory)) for path in paths]
        data = cls(
            pa.concat_tables(tables),
            info,
            state["_split"],
            fingerprint=state["_fingerprint"],
            source_files=() if keep_in_memory else [str(path) for path in paths],
        )
        data.set_format(
            state["_format_type"],
            state["_format_columns"],
            state["_output_all_columns"],
            **(state["_format_kwargs"] or {}),
        )
        return data


class MissingFolderError(DatasetError, FileNotFoundError):
    """There is no data set where one was looked for."""


def file_size(size: str | int) -> int:
    """Bytes of "500MB" (powers of 1000), "1GiB" (of 1024), "8Gb" (bits) or a number."""
    if isinstance(size, int):
        return size
    match = re.fullmatch(r"\s*(\d+)\s*([KMGTP])(i?)([Bb])\s*", size, re.IGNORECASE)
    if match is None:
        raise ArgumentError(f"{size!r} is no size: write digits and a unit, like '500MB' or '1GiB'")
    number, prefix, binary, unit = match.groups()
    total = int(number) * (1024 if binary else 1000) ** ("KMGTP".index(prefix.upper()) + 1)
    return total // 8 if unit == "b" and not binary else total


def local_folder(path: str | os.PathLike[str], storage_options: dict[str, Any] | None) -> Path:
    """The folder itself, or a copy of a store's on this machine."""
    name = os.fspath(path)
    store, inner = _store(name, storage_options)
    if store is None:
        return Path(inner)
    copy = scratch_directory() / f"store-{secrets.token_hex(8)}"
    copy.mkdir()
    for file in store.find(inner):
        relative = _safe(PurePosixPath(file).relative_to(PurePosixPath(inner)).as_posix())
        (copy / relative).parent.mkdir(parents=True, exist_ok=True)
        store.get_file(file, str(copy / relative))
    return copy


@contextlib.contextmanager
def _folder(path: str | os.PathLike[str], storage_options: dict[str, Any] | None) -> Iterator[Path]:
    """A temporary folder whose files then go to `path`, `state.json` last; what an earlier save left there goes."""
    store, inner = _store(os.fspath(path), storage_options)
    if store is None:
        target = Path(inner)
        target.mkdir(parents=True, exist_ok=True)
        unfinished = target / f".{secrets.token_hex(4)}.unfinished"
    else:
        unfinished = scratch_directory() / f"save-{secrets.token_hex(8)}"
    unfinished.mkdir()
    try:
        yield unfinished
        files = sorted(unfinished.iterdir(), key=lambda file: (file.name == STATE_FILE, file.name))
        if store is None:
            _place(files, Path(inner))
        else:
            store.makedirs(inner, exist_ok=True)
            if store.exists(f"{inner}/{STATE_FILE}"):
                store.rm_file(f"{inner}/{STATE_FILE}")
            for file in files:
                store.put_file(str(file), f"{inner}/{file.name}")
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _place(files: list[Path], target: Path) -> None:
    (target / STATE_FILE).unlink(missing_ok=True)
    for old in target.glob("data-*-of-*.arrow"):
        # Rows that are mapped from it stay readable: the file goes when nobody has it open.
        old.unlink()
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        os.replace(file, target / file.name)


def _store(name: str, storage_options: dict[str, Any] | None) -> tuple[Any, str]:
    """The fsspec store of a URL and the path within, or None and a path of this machine."""
    if "://" not in name and "::" not in name:
        return None, os.path.expanduser(name)
    fsspec = require("fsspec", extra="remote", purpose="reading and writing stores")
    store, inner = fsspec.core.url_to_fs(name, **(storage_options or {}))
    if "file" in ((store.protocol,) if isinstance(store.protocol, str) else store.protocol):
        return None, inner
    return store, inner.rstrip("/")


def _safe(name: str) -> str:
    """A file name from a folder's own list: it may not lead out of the folder."""
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts:
        raise DatasetError(f"the folder's state names the file {name!r}, which lies outside of it")
    return name

"""A dataset that is described and not yet read: which files, which format, where its Arrow files lie."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enfold.base.errors import ArgumentError, DatasetError
from enfold.base.whole import remove
from enfold.datasets.building import MAX_FILE_BYTES, read_rows, write_splits
from enfold.datasets.cache import boot_id, build_once, cache_directory, sync_later
from enfold.datasets.files import DataFile
from enfold.datasets.fingerprint import Hasher
from enfold.datasets.info import INFO_FILE, DatasetInfo, Version
from enfold.datasets.readers.base import Reader
from enfold.datasets.sources import FileSource, Source
from enfold.datasets.splits import NamedSplit, ReadInstruction, SplitDict

if TYPE_CHECKING:
    from enfold.datasets.dataset import Dataset
    from enfold.datasets.dataset_dict import DatasetDict

# Part of every build's fingerprint: raise it when the same files would be read otherwise.
_READING = 1
_UNSYNCED = ".unsynced"


class DownloadMode(Enum):
    """What to do with what is in the cache: use it, use the downloads and read them again, or neither."""

    REUSE_DATASET_IF_EXISTS = "reuse_dataset_if_exists"
    REUSE_CACHE_IF_EXISTS = "reuse_cache_if_exists"
    FORCE_REDOWNLOAD = "force_redownload"


class VerificationMode(Enum):
    """What is checked after reading: the numbers of rows that the card announces (basic, all), or nothing."""

    ALL_CHECKS = "all_checks"
    BASIC_CHECKS = "basic_checks"
    NO_CHECKS = "no_checks"


@dataclass(frozen=True)
class BuilderConfig:
    """The configuration that a builder reads: its name, its files and the format's options."""

    name: str = "default"
    data_dir: str | None = None
    data_files: Mapping[str, Sequence[DataFile]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    version: Version | str = "0.0.0"
    description: str | None = None


class DatasetBuilder:
    """What `load_dataset_builder` returns: `info` says what is known, `download_and_prepare` reads the files.

    Args:
        format: name of the format.
        reader: reads the files; None if `sources` are given.
        config: name and files of the configuration.
        info: what a card says of it.
        dataset_name: the stem of its files in the cache.
        cache_dir: where its Arrow files go.
        sources: split → source, for what isn't files.
        fresh: build again even if the cache has it.
        identity: what the fingerprint is made from, besides files and options.
    """

    def __init__(
        self,
        format: str,
        reader: Reader | None,
        config: BuilderConfig,
        *,
        info: DatasetInfo | None = None,
        dataset_name: str,
        cache_dir: str | os.PathLike | None = None,
        sources: Mapping[str, Source] | None = None,
        fresh: bool = False,
        identity: Any = None,
        repo_id: str | None = None,
    ) -> None:
        self.name = format
        self.config = config
        self.dataset_name = dataset_name
        self.repo_id = repo_id
        self.info = (info or DatasetInfo()).copy()
        self.info.builder_name = format
        self.info.dataset_name = dataset_name
        self.info.config_name = config.name
        self.info.version = self.info.version or Version(str(config.version))
        if reader is not None and reader.features is not None:
            self.info.features = reader.features
        self._expected = self.info.splits
        self._reader = reader
        self._sources = sources
        self._fresh = fresh
        self._identity = identity
        root = Path(cache_dir).expanduser() if cache_dir is not None else cache_directory()
        self.hash = self._fingerprint()
        self._folder = root / dataset_name / f"{config.name}-{self.hash}"

    @property
    def cache_dir(self) -> str:
        """The folder of its Arrow files, there or not yet."""
        return str(self._folder)

    @property
    def cache_files(self) -> dict[str, Sequence[DataFile]]:
        return dict(self.config.data_files)

    def _fingerprint(self) -> str:
        files = {
            split: [(file.url, file.identity) for file in files] for split, files in self.config.data_files.items()
        }
        features = None if self.info.features is None else self.info.features.to_dict()
        names = (
            [] if self._reader is None else [field.name for field in fields(self._reader) if field.name != "features"]
        )
        options = {name: getattr(self._reader, name) for name in names}
        options = {name: value for name, value in options.items() if value is not None}
        return Hasher.hash([_READING, self.name, self.config.name, files, features, options, self._identity])

    def sources(self) -> dict[str, Source]:
        """Split → source: what a build reads at once, and streaming when somebody iterates."""
        if self._sources is not None:
            return dict(self._sources)
        assert self._reader is not None
        reader = self._reader.prepared(self.config.data_files)
        return {
            split: FileSource(tuple(reader.shards(files)), reader, reader.features)
            for split, files in self.config.data_files.items()
        }

    def download_and_prepare(
        self,
        output_dir: str | os.PathLike | None = None,
        *,
        verification_mode: VerificationMode | str | None = None,
        num_proc: int | None = None,
        max_shard_size: int | str | None = None,
    ) -> None:
        """Read the files into Arrow files in the cache (or in `output_dir`), if they aren't there.

        Two processes that want the same build it once; one that dies leaves nothing that is read back.
        """
        folder = self._folder if output_dir is None else Path(output_dir)
        mode = VerificationMode(verification_mode or VerificationMode.BASIC_CHECKS)
        if self._fresh and folder.exists():
            remove(folder)
        self._fresh = False
        unsynced = _unsynced(folder)
        boot = boot_id()

        def build(unfinished: Path) -> None:
            self._build(unfinished, mode, num_proc, bytes_of(max_shard_size))
            if boot:
                (unfinished / _UNSYNCED).write_text(boot)

        # Waiting for the disk can take longer than reading. The mark says that nobody waited, and since which start of
        # the machine: until the next one, what was written is there.
        if (build_once(folder, build, sync=not boot) and boot) or unsynced:
            sync_later(folder, _UNSYNCED)
        self._folder = folder
        self.info = DatasetInfo.from_directory(folder)

    def _build(self, folder: Path, mode: VerificationMode, num_proc: int | None, max_file_bytes: int) -> None:
        folder.mkdir(parents=True)
        info = self.info.copy()
        info.features, info.splits = write_splits(
            folder,
            self.sources(),
            self.dataset_name,
            features=info.features,
            num_proc=num_proc,
            max_file_bytes=max_file_bytes,
        )
        if mode is not VerificationMode.NO_CHECKS and self._expected:
            check_splits(self._expected, info.splits)
        info.dataset_size = sum(split.num_bytes for split in info.splits.values())
        info.download_size = sum(file_size(file) for files in self.config.data_files.values() for file in files)
        info.size_in_bytes = info.dataset_size + info.download_size
        info.write_to_directory(folder)

    def as_dataset(
        self,
        split: Any = None,
        *,
        in_memory: bool = False,
        verification_mode: VerificationMode | str | None = None,
    ) -> Dataset | DatasetDict:
        """The rows, mapped from the cache.

        Args:
            split: a name, an expression, a ReadInstruction, or a list or dictionary of those; all splits if None.
            in_memory: read them into memory.
        """
        from enfold.datasets.dataset_dict import DatasetDict

        if not (self._folder / INFO_FILE).is_file():
            raise DatasetError(f"{self.dataset_name} is not built yet: call download_and_prepare() first.")
        if split is None:
            splits = self.info.splits or {}
            return DatasetDict({name: self._dataset(name, in_memory) for name in splits})  # type: ignore[arg-type]
        return _mapped(split, lambda one: self._dataset(one, in_memory))

    def _dataset(self, split: Any, in_memory: bool) -> Dataset:
        from enfold.datasets.dataset import Dataset

        splits = self.info.splits or SplitDict()
        if isinstance(split, str) and str(split) == "all":
            split = "+".join(splits)
        instruction = split if isinstance(split, ReadInstruction) else ReadInstruction.from_spec(str(split))
        sizes = {name: info.num_examples for name, info in splits.items()}
        parts = [
            read_rows(self._folder, self.dataset_name, splits[rows.split], rows, in_memory=in_memory)
            for rows in instruction.to_absolute(sizes)
        ]
        import pyarrow as pa

        table = parts[0][0] if len(parts) == 1 else pa.concat_tables([table for table, _ in parts])
        files = [] if in_memory else list(dict.fromkeys(path for _, used in parts for path in used))
        name = NamedSplit(instruction.to_spec())
        fingerprint = Hasher.hash([self.hash, str(name)])
        return Dataset(table, info=self.info.copy(), split=name, fingerprint=fingerprint, source_files=files)

    def as_streaming_dataset(self, split: Any = None) -> Any:
        """The rows, read when somebody iterates."""
        from enfold.datasets.iterable import IterableDataset
        from enfold.datasets.iterable_dict import IterableDatasetDict

        sources = self.sources()
        features = self.info.features or next((source.features for source in sources.values()), None)
        info = self.info.copy()
        info.features = features

        def one(name: Any) -> Any:
            if str(name) not in sources:
                if isinstance(name, ReadInstruction) or any(sign in str(name) for sign in "[+"):
                    raise ArgumentError(
                        f"split={str(name)!r}: a stream has no known length to cut. Stream {', '.join(sources)} and "
                        "use skip() and take()."
                    )
                raise ArgumentError(f"Bad split: {name}. Available splits: {list(sources)}")
            source = sources[str(name)]
            return IterableDataset(source, info=info.copy(), split=NamedSplit(str(name)))

        if split is None:
            return IterableDatasetDict({name: one(name) for name in sources})
        return _mapped(split, one)


def _mapped(split: Any, make: Any) -> Any:
    if isinstance(split, list | tuple):
        return type(split)(_mapped(one, make) for one in split)
    if isinstance(split, Mapping):
        return {name: _mapped(one, make) for name, one in split.items()}
    return make(split)


def check_splits(expected: SplitDict, found: SplitDict) -> None:
    """Compare the numbers of rows with those that a card announces.

    Raises:
        DatasetError: splits that are missing, unannounced, or of another size.
    """
    way_out = "The files changed since, or were cut short. To load them as they are: verification_mode='no_checks'."
    if set(expected) != set(found):
        raise DatasetError(f"The card announces the splits {list(expected)}, and there are {list(found)}. {way_out}")
    wrong = [
        f"{name}: {found[name].num_examples} rows, announced {split.num_examples}"
        for name, split in expected.items()
        if split.num_examples and split.num_examples != found[name].num_examples
    ]
    if wrong:
        raise DatasetError(f"The splits are not of the announced size ({'; '.join(wrong)}). {way_out}")


def file_size(file: DataFile) -> int:
    """Bytes of a file as it is stored, 0 where nobody says."""
    path = None if file.is_remote and not file.url.startswith("hf://") else file.local_path()
    if path is not None:
        return path.stat().st_size
    for entry in file.identity:
        if isinstance(entry, tuple) and entry[0] in ("size", "Content-Length"):
            return int(entry[1])
    return 0


def bytes_of(size: int | str | None) -> int:
    """A number of bytes from `"500MB"` (decimal) or `"2GiB"` (binary)."""
    if size is None:
        return MAX_FILE_BYTES
    if isinstance(size, int):
        return size
    units = {
        "KB": 10**3,
        "MB": 10**6,
        "GB": 10**9,
        "TB": 10**12,
        "KIB": 2**10,
        "MIB": 2**20,
        "GIB": 2**30,
        "TIB": 2**40,
    }
    text = size.strip().upper()
    for unit, factor in sorted(units.items(), key=lambda entry: -len(entry[0])):
        if text.endswith(unit):
            try:
                return int(float(text[: -len(unit)]) * factor)
            except ValueError:
                break
    raise ArgumentError(f"max_shard_size={size!r}; write bytes, or '500MB', '2GiB'.")


def _unsynced(folder: Path) -> bool:
    """Whether a build may not have reached the disk; if the machine has stopped since, it is removed."""
    try:
        built = (folder / _UNSYNCED).read_text()
    except OSError:
        return False
    if built != boot_id():
        remove(folder)
        return False
    return True

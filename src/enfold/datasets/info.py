"""What is known about a dataset beside its rows: features, splits, sizes, version, licence."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import total_ordering
from typing import TYPE_CHECKING, Any

from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets.splits import SplitDict

if TYPE_CHECKING:
    from enfold.datasets.features import Features

INFO_FILE = "dataset_info.json"
LICENSE_FILE = "LICENSE"
_TEXTS = ("description", "citation", "homepage", "license")
_IN_YAML = ("features", "config_name", "splits", "download_size", "dataset_size")


@total_ordering
class Version:
    """A version `major.minor.patch`; it compares with another one or with a string."""

    def __init__(self, version_str: str, description: str | None = None, major=None, minor=None, patch=None) -> None:
        match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", str(version_str))
        if match is None:
            raise ArgumentError(f"{version_str!r} is not a version. Write three numbers: '1.0.0'.")
        self.version_str = str(version_str)
        self.description = description
        self.major, self.minor, self.patch = map(int, match.groups())

    @property
    def tuple(self) -> tuple[int, int, int]:
        return self.major, self.minor, self.patch

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Version:
        return cls(entry["version_str"], entry.get("description"))

    def to_dict(self) -> dict[str, Any]:
        entry: dict[str, Any] = {"version_str": self.version_str}
        if self.description is not None:
            entry["description"] = self.description
        return {**entry, "major": self.major, "minor": self.minor, "patch": self.patch}

    def _to_yaml_string(self) -> str:
        return self.version_str

    def __eq__(self, other: object) -> bool:
        try:
            return self.tuple == _version(other).tuple
        except (TypeError, ValueError):
            return NotImplemented

    def __lt__(self, other: object) -> bool:
        return self.tuple < _version(other).tuple

    def __hash__(self) -> int:
        return hash(self.tuple)

    def __str__(self) -> str:
        return self.version_str

    __repr__ = __str__


def _version(value: object) -> Version:
    if isinstance(value, str):
        return Version(value)
    if isinstance(value, Version):
        return value
    raise TypeError(f"A Version compares with a Version or a string, not with {type(value).__name__}.")


@dataclass
class SupervisedKeysData:
    """Which column is the input of a task and which its output."""

    input: str = ""
    output: str = ""


@dataclass(repr=False)
class DatasetInfo:
    """What is known about a dataset.

    Args:
        description, citation, homepage, license: texts.
        features: column name → type.
        supervised_keys: input and output columns.
        builder_name, dataset_name, config_name, version: what it was loaded from.
        splits: name → SplitInfo.
        download_checksums: file → size and hash, of what was read.
        download_size, post_processing_size, dataset_size, size_in_bytes: bytes read, bytes of Arrow, their sum.
    """

    description: str = ""
    citation: str = ""
    homepage: str = ""
    license: str = ""
    features: Features | None = None
    post_processed: Any = None
    supervised_keys: SupervisedKeysData | None = None
    builder_name: str | None = None
    dataset_name: str | None = None
    config_name: str | None = None
    version: Version | str | None = None
    splits: SplitDict | None = None
    download_checksums: dict | None = None
    download_size: int | None = None
    post_processing_size: int | None = None
    dataset_size: int | None = None
    size_in_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.features is not None:
            from enfold.datasets.features import Features

            if not isinstance(self.features, Features):
                self.features = Features.from_dict(self.features)
        if isinstance(self.version, Mapping):
            self.version = Version.from_dict(self.version)
        elif isinstance(self.version, str):
            self.version = Version(self.version)
        if self.splits is not None and not isinstance(self.splits, SplitDict):
            self.splits = SplitDict.from_split_dict(self.splits)
        if isinstance(self.supervised_keys, Mapping):
            self.supervised_keys = SupervisedKeysData(**self.supervised_keys)
        elif isinstance(self.supervised_keys, list | tuple):
            self.supervised_keys = SupervisedKeysData(*self.supervised_keys)

    def __repr__(self) -> str:
        shown = {name: value for name, value in self._items() if value}
        return f"DatasetInfo({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def _items(self) -> Iterable[tuple[str, Any]]:
        return ((field.name, getattr(self, field.name)) for field in fields(self))

    def to_dict(self) -> dict[str, Any]:
        """The content of `dataset_info.json`: what is None is left out."""
        entry: dict[str, Any] = {}
        for name, value in self._items():
            if value is None:
                continue
            if name == "splits":
                value = {split: info.to_dict() for split, info in value.items()}
            elif name == "supervised_keys":
                value = {"input": value.input, "output": value.output}
            elif hasattr(value, "to_dict"):
                value = value.to_dict()
            entry[name] = value
        return entry

    @classmethod
    def from_dict(cls, dataset_info_dict: Mapping[str, Any]) -> DatasetInfo:
        """From such a dictionary; entries of other versions that mean nothing here are passed over."""
        known = {field.name for field in fields(cls)}
        entry = {key: value for key, value in dataset_info_dict.items() if key in known and value is not None}
        return cls(**entry)

    def write_to_directory(
        self, dataset_info_dir: str | os.PathLike, pretty_print: bool = False, storage_options: dict | None = None
    ) -> None:
        """Write `dataset_info.json` (and `LICENSE`, if there is one) into a folder or a fsspec URL."""
        filesystem, folder = _filesystem(dataset_info_dir, storage_options)
        with filesystem.open(f"{folder}/{INFO_FILE}", "w", encoding="utf-8") as file:
            file.write(json.dumps(self.to_dict(), indent=4 if pretty_print else None))
        if self.license:
            with filesystem.open(f"{folder}/{LICENSE_FILE}", "w", encoding="utf-8") as file:
                file.write(self.license)

    @classmethod
    def from_directory(cls, dataset_info_dir: str | os.PathLike, storage_options: dict | None = None) -> DatasetInfo:
        """Read what `write_to_directory` wrote."""
        if not dataset_info_dir:
            raise ArgumentError("DatasetInfo.from_directory() needs the folder that holds dataset_info.json.")
        filesystem, folder = _filesystem(dataset_info_dir, storage_options)
        path = f"{folder}/{INFO_FILE}"
        with filesystem.open(path, "r", encoding="utf-8") as file:
            try:
                return cls.from_dict(json.load(file))
            except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
                raise DatasetError(f"{path} is torn: it is not the JSON of a DatasetInfo ({error}).") from error

    @classmethod
    def from_merge(cls, dataset_infos: Iterable[DatasetInfo | None]) -> DatasetInfo:
        """The texts of several, each once; the first one itself if all are equal."""
        infos = [copy.deepcopy(info) for info in dataset_infos if info is not None]
        if infos and all(info == infos[0] for info in infos):
            return infos[0]
        texts = {}
        for name in _TEXTS:
            seen = dict.fromkeys(getattr(info, name).strip() for info in infos)
            texts[name] = "\n\n".join(text for text in seen if text)
        return cls(**texts)

    def update(self, other_dataset_info: DatasetInfo, ignore_none: bool = True) -> None:
        """Take over what another one says."""
        for name, value in other_dataset_info._items():
            if value is not None or not ignore_none:
                setattr(self, name, copy.deepcopy(value))

    def copy(self) -> DatasetInfo:
        return copy.deepcopy(self)

    def _to_yaml_dict(self) -> dict[str, Any]:
        entry: dict[str, Any] = {}
        for name in _IN_YAML:
            value = getattr(self, name)
            if value is not None:
                entry[name] = value._to_yaml_list() if hasattr(value, "_to_yaml_list") else value
        return entry

    @classmethod
    def _from_yaml_dict(cls, yaml_data: Mapping[str, Any]) -> DatasetInfo:
        entry = dict(yaml_data)
        if entry.get("features") is not None:
            from enfold.datasets.features import Features

            entry["features"] = Features._from_yaml_list(entry["features"])
        if entry.get("splits") is not None:
            entry["splits"] = SplitDict._from_yaml_list(entry["splits"])
        return cls.from_dict(entry)


class Described:
    """What is known of a dataset, by its own names: both kinds of dataset have them."""

    _info: DatasetInfo

    @property
    def description(self) -> str:
        return self._info.description

    @property
    def citation(self) -> str:
        return self._info.citation

    @property
    def homepage(self) -> str:
        return self._info.homepage

    @property
    def license(self) -> str:
        return self._info.license

    @property
    def builder_name(self) -> str | None:
        return self._info.builder_name

    @property
    def config_name(self) -> str | None:
        return self._info.config_name

    @property
    def version(self) -> Any:
        return self._info.version

    @property
    def dataset_size(self) -> int | None:
        return self._info.dataset_size

    @property
    def download_size(self) -> int | None:
        return self._info.download_size

    @property
    def size_in_bytes(self) -> int | None:
        return self._info.size_in_bytes

    @property
    def download_checksums(self) -> dict | None:
        return self._info.download_checksums

    @property
    def supervised_keys(self) -> Any:
        return self._info.supervised_keys


def _filesystem(path: str | os.PathLike, storage_options: dict | None):
    import fsspec

    filesystem, folder = fsspec.core.url_to_fs(os.fspath(path), **(storage_options or {}))
    return filesystem, folder.rstrip("/")

"""`load_dataset`: a folder, a format or a repository → datasets. No script is ever run."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from enfold.base.errors import ArgumentError, DataFilesNotFoundError, DatasetError, NotBuiltError
from enfold.base.logging import get_logger
from enfold.datasets.builder import BuilderConfig, DatasetBuilder, DownloadMode, VerificationMode
from enfold.datasets.cache import cache_directory
from enfold.datasets.card import Card, read_card
from enfold.datasets.files import Access, DataFile, infer_patterns, resolve
from enfold.datasets.info import DatasetInfo
from enfold.datasets.patterns import patterns_of
from enfold.datasets.readers.base import EXTENSIONS, METADATA_FILES, OBJECTS, format_of, is_format, reader_class
from enfold.hub.files import find_commit, list_files, resolve_file

DataFiles = str | Sequence[str] | Mapping[str, str | Sequence[str]] | None


@dataclass(frozen=True)
class _Place:
    """Where a dataset is: a base that patterns are relative to, its card, and its name."""

    base: str
    card: Card
    name: str
    repo_id: str | None = None


def load_dataset(
    path: str,
    name: str | None = None,
    data_dir: str | None = None,
    data_files: DataFiles = None,
    split: Any = None,
    cache_dir: str | os.PathLike | None = None,
    features: Any = None,
    download_config: Any = None,
    download_mode: DownloadMode | str | None = None,
    verification_mode: VerificationMode | str | None = None,
    keep_in_memory: bool | None = None,
    save_infos: bool = False,
    revision: str | None = None,
    token: str | bool | None = None,
    streaming: bool = False,
    num_proc: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **config_kwargs: Any,
) -> Any:
    """Rows from files: read once into Arrow files in the cache, and mapped from there ever after.

    Args:
        path: a format (`"csv"`, `"json"`, `"parquet"`, …) with `data_files` or `data_dir`; a folder; or a repository
            (`"org/name"`), taken from the hub's cache without a request where it is there.
        name: the configuration.
        data_dir: the folder of the data, inside the repository or folder if `path` is one.
        data_files: paths, URLs and patterns (`"**/*.csv"`), as a string, a list, or a dictionary by split.
        split: `"train"`, an expression (`"train[:10%]+test"`), a ReadInstruction, or a list of those; all if None.
        cache_dir: where the Arrow files go.
        features: what the columns are, instead of what the files tell.
        download_mode: see DownloadMode.
        verification_mode: see VerificationMode.
        keep_in_memory: read the rows into memory instead of mapping them.
        revision: branch, tag or commit of a repository.
        token: for a private repository, as the official client takes it.
        streaming: read rows when they are iterated over (IterableDataset), and write nothing.
        num_proc: processes that share the files.
        storage_options: credentials and the like for a store that fsspec knows (`s3://`, `gs://`, …).
        config_kwargs: options of the format (`sep=` of csv, `field=` of json, …).

    Returns:
        Dataset or IterableDataset if `split` is given, else a dictionary of them by split.

    Raises:
        DataFilesNotFoundError: a file that isn't there.
        BadRowError: a row that can't be read.
        DatasetError: files that can't be read; a repository that needs its script.
    """
    if streaming and num_proc is not None:
        raise NotBuiltError("num_proc= goes with reading into files. For a stream, use a DataLoader's num_workers.")
    if streaming and keep_in_memory:
        raise ArgumentError("keep_in_memory=True and streaming=True exclude each other.")
    if save_infos:
        raise NotBuiltError("save_infos=True is not built: the information is in dataset.info, write_to_directory().")
    builder = load_dataset_builder(
        path,
        name,
        data_dir,
        data_files,
        cache_dir,
        features,
        download_config,
        download_mode,
        revision,
        token,
        storage_options,
        _streaming=streaming,
        _split=split,
        **config_kwargs,
    )
    if streaming:
        return builder.as_streaming_dataset(split)
    builder.download_and_prepare(verification_mode=verification_mode, num_proc=num_proc)
    return builder.as_dataset(split, in_memory=bool(keep_in_memory))


def load_dataset_builder(
    path: str,
    name: str | None = None,
    data_dir: str | None = None,
    data_files: DataFiles = None,
    cache_dir: str | os.PathLike | None = None,
    features: Any = None,
    download_config: Any = None,
    download_mode: DownloadMode | str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    storage_options: Mapping[str, Any] | None = None,
    _streaming: bool = False,
    _split: Any = None,
    **config_kwargs: Any,
) -> DatasetBuilder:
    """The dataset described, its files found and not yet read. The arguments are those of `load_dataset`."""
    if download_config is not None:
        raise NotBuiltError("download_config= is not built. Pass token=, storage_options=, cache_dir=, download_mode=.")
    if config_kwargs.pop("trust_remote_code", None):
        get_logger("enfold.datasets").warning("trust_remote_code=True changes nothing: no script is ever run.")
    mode = DownloadMode(download_mode or DownloadMode.REUSE_DATASET_IF_EXISTS)
    path = os.fspath(path)
    root = Path(cache_dir).expanduser() if cache_dir is not None else cache_directory()
    access = Access(token, dict(storage_options or {}), downloads=root / "downloads", streaming=_streaming)
    fresh = mode is not DownloadMode.REUSE_DATASET_IF_EXISTS
    common = {"cache_dir": cache_dir, "fresh": fresh}
    if features is not None:
        from enfold.datasets.features import Features

        features = features if isinstance(features, Features) else Features(features)
    if is_format(path):
        if path in OBJECTS:
            from enfold.datasets.readers.objects import builder_of

            return builder_of(path, config_kwargs, split=_first_name(_split), features=features, **common)
        reader_type = reader_class(path)
        place = _Place(os.path.abspath(os.path.expanduser(data_dir or "")), Card(), path)
        patterns = patterns_of(data_files) if data_files is not None else infer_patterns(place.base, access)
        files = resolve(patterns, place.base, access)
        reader = reader_type.of(config_kwargs, features=features)
        config = BuilderConfig(name or "default", data_dir, files, config_kwargs)
        return DatasetBuilder(path, reader, config, dataset_name=path, **common)
    place = _place(path, revision, token, refresh=mode is DownloadMode.FORCE_REDOWNLOAD)
    return _repository_builder(place, name, data_dir, data_files, features, access, config_kwargs, common)


def _first_name(split: Any) -> str:
    """The name of the one split of what isn't files: what is asked for first of it."""
    named = re.match(r"[\w.-]+", split) if isinstance(split, str) else None
    return named[0] if named else "train"


def _repository_builder(
    place: _Place,
    name: str | None,
    data_dir: str | None,
    data_files: DataFiles,
    features: Any,
    access: Access,
    options: Mapping[str, Any],
    common: Mapping[str, Any],
) -> DatasetBuilder:
    config_name, parameters = _chosen_config(place, name)
    if data_dir and os.path.isabs(data_dir):
        raise ArgumentError(f"data_dir={data_dir!r} must be inside {place.base}: give it relative to that.")
    own = data_files is not None or data_dir is not None
    folder = data_dir if own else parameters.get("data_dir")
    base = _inside(place.base, folder)
    given = data_files if data_files is not None else None if own else parameters.get("data_files")
    patterns = patterns_of(given) if given is not None else infer_patterns(base, access)
    files = resolve(patterns, base, access, extensions=EXTENSIONS)
    format, implied = format_of(files, place.name)
    reader_type = reader_class(format)
    files = {split: _of_format(listed, format, reader_type.extensions) for split, listed in files.items()}
    info = place.card.infos.get(config_name, DatasetInfo()).copy()
    if own:
        info.splits = info.features = None
    named = {key: value for key, value in parameters.items() if key not in ("default", "data_dir", "data_files")}
    known = {field.name for field in fields(reader_type)}
    version, description = named.pop("version", "0.0.0"), named.pop("description", None)
    described = {key: value for key, value in named.items() if key in known}
    reader = reader_type.of({**implied, **described, **options}, features=features or info.features)
    config = BuilderConfig(config_name, folder, files, dict(options), str(version), description)
    return DatasetBuilder(format, reader, config, info=info, dataset_name=place.name, repo_id=place.repo_id, **common)


def _of_format(files: Sequence[DataFile], format: str, extensions: Sequence[str]) -> list[DataFile]:
    """Those of a split's files that are of the format, its metadata included."""
    kept = {*extensions, ".zip"}
    named = METADATA_FILES if format in ("imagefolder", "audiofolder") else ()
    return [
        file
        for file in files
        if file.name in named or any("." + suffix.lower() in kept for suffix in file.name.split(".")[1:])
    ]


def _chosen_config(place: _Place, name: str | None) -> tuple[str, dict[str, Any]]:
    configs = place.card.configs
    if not configs:
        if name not in (None, "default") and name not in place.card.infos:
            raise ArgumentError(f"{place.name} has no configuration {name!r}; it has one, 'default'.")
        return name or place.card.default_config or "default", {}
    if name is None:
        name = place.card.default_config
        if name is None:
            raise ArgumentError(
                f"{place.name} has several configurations. Name one: load_dataset({place.repo_id or place.name!r}, "
                f"{next(iter(configs))!r}). There are: {', '.join(configs)}."
            )
    if name not in configs:
        raise ArgumentError(f"{place.name} has no configuration {name!r}. There are: {', '.join(configs)}.")
    return name, configs[name]


def _place(path: str, revision: str | None, token: str | bool | None, *, refresh: bool = False) -> _Place:
    """Find out what was named: a folder or a repository."""
    if path.startswith("hf://datasets/"):
        repo, _, at = path.removeprefix("hf://datasets/").rstrip("/").partition("@")
        return _place(repo, revision or at or None, token, refresh=refresh)
    if path.startswith(("buckets/", "hf://buckets/")):
        raise NotBuiltError(f"{path!r}: storage buckets are not built yet.")
    expanded = os.path.expanduser(path)
    if os.path.isfile(expanded):
        if path.endswith(".py"):
            raise DatasetError(f"{path} is a script, and no script is ever run. {_INSTEAD_OF_SCRIPT}")
        raise ArgumentError(
            f"{path!r} is a file. Name its format: load_dataset('csv', data_files={path!r}) (or json, parquet, …)."
        )
    if os.path.isdir(expanded):
        return _folder_place(os.path.abspath(expanded))
    if "://" in path:
        raise ArgumentError(f"{path!r}: give a format and the URL: load_dataset('csv', data_files={path!r}).")
    if path.endswith(".py") or path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise DataFilesNotFoundError(
            f"There is no folder {path!r} (looked from {os.getcwd()}), and it is no repository's id ('org/name')."
        )
    return _hub_place(path, revision, token, refresh)


_INSTEAD_OF_SCRIPT = (
    "Where its data is files, load those: load_dataset('csv', data_files=…). Where it is a repository, its branch "
    "refs/convert/parquet often has them as parquet: load_dataset(…, revision='refs/convert/parquet')."
)


def _folder_place(folder: str) -> _Place:
    name = os.path.basename(folder)
    if os.path.isfile(os.path.join(folder, "state.json")) or os.path.isfile(os.path.join(folder, "dataset_dict.json")):
        raise DatasetError(f"{folder} was written by save_to_disk: open it with load_from_disk({folder!r}).")
    if os.path.isfile(os.path.join(folder, f"{name}.py")):
        raise DatasetError(f"{folder} is read by a script ({name}.py), and no script is ever run. {_INSTEAD_OF_SCRIPT}")

    def read(file: str) -> str | None:
        path = Path(folder, file)
        return path.read_text(encoding="utf-8") if path.is_file() else None

    return _Place(folder, read_card(read, folder), snake_case(name))


def _hub_place(repo: str, revision: str | None, token: str | bool | None, refresh: bool) -> _Place:
    commit = find_commit(repo, revision=revision, token=token, refresh=refresh, repo_type="dataset")
    names = list_files(repo, revision=commit, token=token, repo_type="dataset")
    base_name = repo.rpartition("/")[2]
    if f"{base_name}.py" in names:
        raise DatasetError(
            f"{repo} is read by a script ({base_name}.py), and no script is ever run. {_INSTEAD_OF_SCRIPT}"
        )

    def read(file: str) -> str | None:
        if file not in names:
            return None
        path = resolve_file(repo, file, revision=commit, token=token, required=False, repo_type="dataset")
        return None if path is None else path.read_text(encoding="utf-8")

    return _Place(f"hf://datasets/{repo}@{commit}", read_card(read, repo), snake_case(base_name), repo)


def _inside(base: str, folder: str | None) -> str:
    if not folder:
        return base
    return posixpath.join(base, folder) if "://" in base else os.path.normpath(os.path.join(base, folder))


def snake_case(name: str) -> str:
    """`MyData` → `my_data`: how builds are named in the cache."""
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z\d])([A-Z])", r"\1_\2", name).lower()


def get_dataset_config_names(
    path: str,
    revision: str | None = None,
    download_config: Any = None,
    download_mode: DownloadMode | str | None = None,
    data_files: DataFiles = None,
    token: str | bool | None = None,
) -> list[str]:
    """The configurations of a folder or repository; `["default"]` where it names none."""
    _not_built(download_config)
    if is_format(path):
        return ["default"]
    place = _place(path, revision, token, refresh=download_mode in (DownloadMode.FORCE_REDOWNLOAD, "force_redownload"))
    return list(place.card.configs) or [place.card.default_config or "default"]


def get_dataset_default_config_name(
    path: str,
    revision: str | None = None,
    download_config: Any = None,
    download_mode: DownloadMode | str | None = None,
    data_files: DataFiles = None,
    token: str | bool | None = None,
) -> str | None:
    """The configuration that is meant when none is named; None where one must be."""
    _not_built(download_config)
    place = _place(path, revision, token)
    return place.card.default_config or (None if place.card.configs else "default")


def get_dataset_config_info(
    path: str,
    config_name: str | None = None,
    data_files: DataFiles = None,
    download_config: Any = None,
    download_mode: DownloadMode | str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    **config_kwargs: Any,
) -> DatasetInfo:
    """What is known about a configuration without reading it; its splits are named even where no card gives sizes."""
    from enfold.datasets.splits import SplitDict, SplitInfo

    builder = load_dataset_builder(
        path,
        config_name,
        data_files=data_files,
        download_config=download_config,
        download_mode=download_mode,
        revision=revision,
        token=token,
        **config_kwargs,
    )
    if builder.info.splits is None:
        names = builder.config.data_files or builder.sources()
        builder.info.splits = SplitDict({name: SplitInfo(name, dataset_name=builder.dataset_name) for name in names})
    return builder.info


def get_dataset_split_names(
    path: str,
    config_name: str | None = None,
    data_files: DataFiles = None,
    download_config: Any = None,
    download_mode: DownloadMode | str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    **config_kwargs: Any,
) -> list[str]:
    """The splits of a configuration."""
    info = get_dataset_config_info(
        path, config_name, data_files, download_config, download_mode, revision, token, **config_kwargs
    )
    return list(info.splits or ())


def get_dataset_infos(
    path: str,
    data_files: DataFiles = None,
    download_config: Any = None,
    download_mode: DownloadMode | str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    **config_kwargs: Any,
) -> dict[str, DatasetInfo]:
    """Configuration → what is known about it."""
    names = get_dataset_config_names(path, revision, download_config, download_mode, data_files, token)
    return {
        name: get_dataset_config_info(
            path, name, data_files, download_config, download_mode, revision, token, **config_kwargs
        )
        for name in names
    }


def _not_built(download_config: Any) -> None:
    if download_config is not None:
        raise NotBuiltError("download_config= is not built. Pass token=.")

"""`push_to_hub`: rows as Parquet files in a repository, and the card that says what is there."""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets.disk import file_size
from enfold.datasets.exports import CONTENT_CHUNKS, ROW_GROUP_BYTES, parquet_options
from enfold.datasets.features import Features, embed_table, require_embedding
from enfold.datasets.info import DatasetInfo
from enfold.datasets.splits import SplitDict, SplitInfo

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

    from enfold.datasets.dataset import Dataset
    from enfold.datasets.iterable import IterableDataset
    from enfold.hub.push import State

CARD = "README.md"
LEGACY_INFOS = "dataset_infos.json"
SHARD_BYTES = "500MB"
STREAM_ROWS = 1000
_SPLIT = re.compile(r"\w+(\.\w+)*")
_OLD_SHARD = re.compile(r"data/(\w+(?:\.\w+)*)-\d{5}-of-\d{5}[^/]*\.parquet")


@dataclass(frozen=True)
class Pushed:
    """One split as it is uploaded: its sizes as Arrow, and of the files before and after."""

    split: SplitInfo
    uploaded: int
    deleted: int


class Publishing:
    """What `Dataset` and `IterableDataset` add: `push_to_hub`."""

    split: Any

    def push_to_hub(
        self,
        repo_id: str,
        config_name: str = "default",
        set_default: bool | None = None,
        split: str | None = None,
        data_dir: str | None = None,
        commit_message: str | None = None,
        commit_description: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        max_shard_size: int | str | None = None,
        num_shards: int | None = None,
        embed_external_files: bool = True,
        num_proc: int | None = None,
    ) -> "CommitInfo":
        """Upload the rows as one split of a configuration; its other splits and configurations stay.

        Args:
            repo_id: `"org/name"`, or `"name"` for the account that the token belongs to; created if it doesn't exist.
            config_name: the configuration (subset).
            set_default: make it the one that is loaded when none is named.
            split: the split's name; by default this data set's, or "train".
            data_dir: the folder of the files; by default the configuration's name, "data" for the default one.
            commit_message, commit_description: of the commit, or of the pull request.
            private: for a repository that is created here.
            revision: branch to commit to.
            create_pr: open a pull request instead.
            max_shard_size: bytes of Arrow a file, as a number or like "500MB" (the default, except for rows that are
                streamed: those keep the shards that they are read in).
            num_shards: how many files, in place of max_shard_size.
            embed_external_files: put the bytes of images and sounds into the files, not the paths to them.
            num_proc: how many files are written at the same time.
        """
        name = split or (str(self.split) if self.split is not None else "train")
        shards = None if num_shards is None else {name: num_shards}
        return push(
            {name: cast("Dataset", self)}, repo_id, config_name, set_default, data_dir, commit_message,
            commit_description, private, token, revision, create_pr, max_shard_size, shards, embed_external_files,
            num_proc, replace=False,
        )  # fmt: skip


class PublishingSplits:
    """What `DatasetDict` and `IterableDatasetDict` add: `push_to_hub`."""

    def push_to_hub(
        self,
        repo_id: str,
        config_name: str = "default",
        set_default: bool | None = None,
        data_dir: str | None = None,
        commit_message: str | None = None,
        commit_description: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        max_shard_size: int | str | None = None,
        num_shards: Mapping[str, int | None] | None = None,
        embed_external_files: bool = True,
        num_proc: int | None = None,
    ) -> "CommitInfo":
        """Upload all splits as one configuration, which has no others from then on.

        `num_shards` is a dict, split → how many files; the rest is as in `Dataset.push_to_hub`.
        """
        return push(
            cast("Mapping[str, Dataset]", self), repo_id, config_name, set_default, data_dir, commit_message,
            commit_description, private, token, revision, create_pr, max_shard_size, num_shards, embed_external_files,
            num_proc,
        )  # fmt: skip


def push(
    splits: "Mapping[str, Dataset | IterableDataset]",
    repo_id: str,
    config_name: str = "default",
    set_default: bool | None = None,
    data_dir: str | None = None,
    commit_message: str | None = None,
    commit_description: str | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    max_shard_size: int | str | None = None,
    num_shards: Mapping[str, int | None] | None = None,
    embed_external_files: bool = True,
    num_proc: int | None = None,
    *,
    replace: bool = True,
) -> "CommitInfo":
    """Upload splits of one configuration.

    Args:
        num_shards: split → how many files.
        replace: the configuration consists of these splits and no others from now on.

    The rest is as in `Publishing.push_to_hub`.
    """
    from enfold.hub.push import Change, push_change

    splits = {name: _known(name, data) for name, data in splits.items()}
    _check(splits, config_name, max_shard_size, num_shards, repo_id)
    data_dir = data_dir or (config_name if config_name != "default" else "data")
    features = cast(Features, next(iter(splits.values())).features)
    limit = None if max_shard_size is None else file_size(max_shard_size)
    with tempfile.TemporaryDirectory(prefix="enfold-push-") as folder:
        files: dict[str, Path] = {}
        sizes: dict[str, tuple[SplitInfo, int]] = {}
        for name, data in splits.items():
            count = (num_shards or {}).get(name)
            shards = _shards(data, count, limit)
            written = _write(shards, features, Path(folder), f"{data_dir}/{name}", embed_external_files, num_proc)
            size = sum(file.num_bytes for file in written.values())
            split = SplitInfo(name, size, sum(file.num_rows for file in written.values()))
            sizes[name] = split, sum(file.path.stat().st_size for file in written.values())
            files.update({path: file.path for path, file in written.items()})

        def change(state: "State") -> Change:
            before = {name: [old for old in state.sizes if fnmatchcase(old, f"{data_dir}/{name}-*")] for name in splits}
            gone = [old for olds in before.values() for old in olds]
            if replace:
                gone = [old for old in state.sizes if old.rpartition("/")[0] == data_dir]
            pushed = [
                Pushed(split, uploaded, sum(state.sizes[old] for old in before[name]))
                for name, (split, uploaded) in sizes.items()
            ]
            card, infos = updated_card(
                state.read(CARD), state.read(LEGACY_INFOS), list(state.sizes), config_name, pushed, features, data_dir,
                set_default, replace=replace,
            )  # fmt: skip
            written = {CARD: card.encode(), **({} if infos is None else {LEGACY_INFOS: infos.encode()})}
            return Change(written, [old for old in gone if old not in files])

        return push_change(
            repo_id,
            files,
            change,
            private=private,
            token=token,
            commit_message=commit_message or "Upload dataset",
            commit_description=commit_description,
            revision=revision,
            create_pr=create_pr,
        )


def _check(splits: Any, config_name: str, max_shard_size: Any, num_shards: Any, repo_id: str) -> None:
    if not splits:
        raise ArgumentError("There is no split to upload.")
    if repo_id.startswith("buckets/"):
        raise ArgumentError(f"{repo_id!r} is a bucket; a data set is pushed to a repository, 'org/name'.")
    if config_name == "data":
        raise ArgumentError("A configuration can't be called 'data': that is the folder of the default one.")
    if num_shards is not None and not isinstance(num_shards, Mapping):
        raise ArgumentError(
            f"num_shards= of several splits is a dict, {{'train': 128, 'test': 4}}, not {num_shards!r}."
        )
    if max_shard_size is not None and any(count is not None for count in (num_shards or {}).values()):
        raise ArgumentError("max_shard_size= and num_shards= say the same thing in two ways: pass one of them.")
    for name in splits:
        if not _SPLIT.fullmatch(name):
            raise ArgumentError(f"A split is named by letters, digits, _ and dots between them, not {name!r}.")
    kinds = {name: data.features for name, data in splits.items()}
    first = next(iter(kinds.values()))
    other = next((name for name, features in kinds.items() if features != first), None)
    if other is not None:
        raise DatasetError(f"All splits have the same features, but {other!r} has {kinds[other]}, not {first}.")


def _known(name: str, data: Any) -> Any:
    """The rows as they are stored, their features known."""
    stream = hasattr(data, "_resolve_features")
    data = data.with_format(None)
    data = data._resolve_features() if stream else data
    if data.features is None:
        raise DatasetError(f"{name!r} has no rows to learn its features from: give features=, or leave it out.")
    return data


def _shards(data: Any, count: int | None, limit: int | None) -> list[Iterator[pa.Table]] | Iterator[Iterator[pa.Table]]:
    """The tables of each file: so many files, or files of at most `limit` bytes where their number isn't known."""
    if not hasattr(data, "_resolve_features"):
        files: int = count or data._estimated_bytes() // (limit or file_size(SHARD_BYTES)) + 1
        parts = [data.shard(files, index, contiguous=True) for index in range(files)]
        return [part._tables(max(1, part._rows_of(ROW_GROUP_BYTES))) for part in parts]
    if limit is not None and count is None:
        return _cut(data._tables(STREAM_ROWS), limit)
    files = count or data.num_shards
    return [data.shard(files, index)._tables(STREAM_ROWS) for index in range(files)]


def _cut(tables: Iterator[pa.Table], limit: int) -> Iterator[Iterator[pa.Table]]:
    """Runs of tables of about `limit` bytes; each is to be used up before the next is asked for."""
    waiting = next(tables, None)

    def run() -> Iterator[pa.Table]:
        nonlocal waiting
        size = 0
        while waiting is not None and (not size or size + waiting.nbytes <= limit):
            size += waiting.nbytes
            table, waiting = waiting, next(tables, None)
            yield table

    while waiting is not None:
        yield run()


@dataclass(frozen=True)
class Written:
    """A Parquet file: where it is, its rows, and their bytes as Arrow."""

    path: Path
    num_rows: int
    num_bytes: int


def _write(
    shards: Any, features: Features, folder: Path, stem: str, embed: bool, num_proc: int | None
) -> dict[str, Written]:
    """Name in the repository → the Parquet file written for it."""
    outside = embed and any(require_embedding(feature) for feature in features.values())
    (folder / stem).mkdir(parents=True, exist_ok=True)

    def write(numbered: tuple[int, Iterator[pa.Table]]) -> Written:
        index, tables = numbered
        path = folder / stem / f"{index}.parquet"
        if outside:
            tables = (embed_table(table, features) for table in tables)
        return Written(path, *write_parquet(tables, features, path))

    if isinstance(shards, list) and (num_proc or 1) > 1:
        with ThreadPoolExecutor(num_proc) as pool:
            written = list(pool.map(write, enumerate(shards)))
    else:
        written = [write(numbered) for numbered in enumerate(shards)]
    return {f"{stem}-{index:05d}-of-{len(written):05d}.parquet": file for index, file in enumerate(written)}


def write_parquet(tables: Iterator[pa.Table], features: Features, path: Path) -> tuple[int, int]:
    """Tables → a Parquet file, in row groups of about 100 MB; returns how many rows and bytes of Arrow there were."""
    import pyarrow.parquet as pq

    schema = features.arrow_schema
    rows = size = 0
    waiting: list[pa.Table] = []
    options = parquet_options(features, schema)
    chunks: Any = CONTENT_CHUNKS
    with pq.ParquetWriter(
        path, schema, use_content_defined_chunking=chunks, write_page_index=True, **options
    ) as writer:

        def flush() -> None:
            group = pa.concat_tables(waiting)
            writer.write_table(group, row_group_size=max(1, len(group)))
            waiting.clear()

        for table in tables:
            waiting.append(pa.Table.from_arrays(table.columns, schema=schema))
            rows, size = rows + len(table), size + table.nbytes
            if sum(part.nbytes for part in waiting) >= ROW_GROUP_BYTES:
                flush()
        if waiting:
            flush()
        writer.add_key_value_metadata({"content_defined_chunking": json.dumps(chunks)})
    return rows, size


def updated_card(
    text: str | None,
    legacy: str | None,
    files: list[str],
    config_name: str,
    pushed: list[Pushed],
    features: Features,
    data_dir: str,
    set_default: bool | None,
    *,
    replace: bool,
) -> tuple[str, str | None]:
    """The card after splits were pushed, and `dataset_infos.json` where an old one speaks of the configuration.

    Args:
        text, legacy: what is there; None: nothing.
        files: the names in the repository.
        replace: the configuration's other splits are gone.
    """
    from huggingface_hub import DatasetCard, DatasetCardData

    card = None if text is None else DatasetCard(text, ignore_metadata_errors=False)
    data: Any = DatasetCardData() if card is None else card.data
    infos = _listed_infos(data.get("dataset_info"))
    old_infos = json.loads(legacy) if legacy else {}
    told: DatasetInfo | None = None
    if config_name in infos:
        told = DatasetInfo._from_yaml_dict(infos[config_name])
    elif card is None and old_infos.get(config_name):
        told = DatasetInfo.from_dict(old_infos[config_name])
    info = _updated_info(told if not replace else None, config_name, pushed, features)
    infos[config_name] = info._to_yaml_dict()
    data["dataset_info"] = _infos_to_list(infos)
    data["configs"] = _updated_configs(data.get("configs"), files, config_name, pushed, data_dir, set_default, replace)
    new_legacy = None
    if old_infos.get(config_name):
        new_legacy = json.dumps({**old_infos, config_name: info.to_dict()})
    return (f"---\n{data}\n---\n" if card is None else str(card)), new_legacy


def _listed_infos(listed: Any) -> dict[str, dict[str, Any]]:
    entries = [listed] if isinstance(listed, Mapping) else listed or []
    return {entry.get("config_name", "default"): dict(entry) for entry in entries}


def _infos_to_list(infos: dict[str, dict[str, Any]]) -> Any:
    """One configuration as it is, several as a list in the order of their names."""
    named = [
        {"config_name": name, **{key: value for key, value in infos[name].items() if key != "config_name"}}
        for name in sorted(infos)
    ]
    if len(named) > 1:
        return named
    only = named[0]
    return {key: value for key, value in only.items() if key != "config_name" or value != "default"}


def _updated_info(told: DatasetInfo | None, config_name: str, pushed: list[Pushed], features: Features) -> DatasetInfo:
    names = {one.split.name for one in pushed}
    splits: dict[str, SplitInfo] = {} if told is None else dict(told.splits or {})
    if told is not None and set(splits) - names and told.features != features:
        raise DatasetError(
            f"The features of {sorted(names)} are not those of the splits {sorted(set(splits) - names)} on the hub: "
            f"{features} instead of {told.features}."
        )
    download, size = (told.download_size or 0, told.dataset_size or 0) if told else (0, 0)
    for one in pushed:
        old = splits.pop(one.split.name, None)
        if old is not None:
            download, size = download - one.deleted, size - (old.num_bytes or 0)
        splits[one.split.name] = one.split
        download, size = download + one.uploaded, size + one.split.num_bytes
    info = DatasetInfo(config_name=config_name, features=features) if told is None else told
    info.splits = SplitDict.from_split_dict(list(splits.values()))
    info.download_checksums = None
    info.download_size, info.dataset_size, info.size_in_bytes = download, size, download + size
    return info


def _updated_configs(
    listed: list[dict[str, Any]] | None,
    files: list[str],
    config_name: str,
    pushed: list[Pushed],
    data_dir: str,
    set_default: bool | None,
    replace: bool,
) -> list[dict[str, Any]]:
    configs = {entry["config_name"]: {k: v for k, v in entry.items() if k != "config_name"} for entry in listed or []}
    old = dict.fromkeys(match[1] for name in files if (match := _OLD_SHARD.fullmatch(name)))
    if not configs and old:
        # pushed before cards named configurations
        configs["default"] = {"data_files": [{"split": name, "path": f"data/{name}-*"} for name in old]}
    patterns = {} if replace else dict(_split_patterns(configs.get(config_name, {}).get("data_files")))
    patterns.update({one.split.name: f"{data_dir}/{one.split.name}-*" for one in pushed})
    entry: dict[str, Any] = {"data_files": [{"split": name, "path": path} for name, path in patterns.items()]}
    if set_default and config_name != "default":
        if "default" in configs:
            raise ArgumentError("There is a configuration named 'default': rename it before another one can be set so.")
        for other in configs.values():
            other.pop("default", None)
        entry["default"] = True
    configs[config_name] = entry
    return [{"config_name": name, **configs[name]} for name in sorted(configs)]


def _split_patterns(listed: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(listed, str):
        yield "train", listed
    elif listed and not isinstance(listed[0], Mapping):
        yield "train", listed if len(listed) > 1 else listed[0]
    else:
        for entry in listed or []:
            path = entry["path"]
            yield entry["split"], path[0] if isinstance(path, list) and len(path) == 1 else path

"""Datasets joined: one after the other, side by side, or mixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import numpy as np
import pyarrow as pa

from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets.dataset import Dataset
from enfold.datasets.features import Features, LargeList, List, Value
from enfold.datasets.fingerprint import next_fingerprint
from enfold.datasets.info import DatasetInfo
from enfold.datasets.iterable import IterableDataset
from enfold.datasets.streams.columns import Cast, conformed
from enfold.datasets.streams.mixing import DRAWS, Beside, Interleave, Stopping
from enfold.datasets.streams.node import Node
from enfold.datasets.streams.order import Concat
from enfold.datasets.streams.show import Format

if TYPE_CHECKING:
    Either = TypeVar("Either", Dataset, IterableDataset)


def concatenate_datasets(
    dsets: list[Either], info: DatasetInfo | None = None, split: str | None = None, axis: int = 0
) -> Either:
    """Datasets one after the other (axis 0), or side by side (axis 1).

    Args:
        dsets: datasets of one kind. Columns that one lacks are null there; columns of one name have one type.
        info: what is known of the result; by default what is known of the datasets, merged.
        split: the result's split name.
        axis: 0: rows; 1: columns, of as many rows each.
    """
    _check_kinds(dsets, "concatenate")
    if axis not in (0, 1):
        raise ArgumentError(f"axis={axis}: 0 joins rows, 1 joins columns")
    joined: Any
    if isinstance(dsets[0], IterableDataset):
        joined = _stream(dsets, info, split, axis)
    else:
        joined = _rows(dsets, info, split) if axis == 0 else _columns(dsets, info, split)
    return joined


def interleave_datasets(
    datasets: list[Either],
    probabilities: list[float] | None = None,
    seed: int | None = None,
    info: DatasetInfo | None = None,
    split: str | None = None,
    stopping_strategy: Stopping = "first_exhausted",
) -> Either:
    """Rows of several datasets, mixed: in turns, or drawn.

    Args:
        datasets: datasets of one kind.
        probabilities: of each dataset; None: they take turns.
        seed: gives the draws; the same one gives those of the reference.
        info, split: of the result.
        stopping_strategy: "first_exhausted": at the end of the first; "all_exhausted": when each was read to its end,
            beginning again with those that end before; "all_exhausted_without_replacement": every row once.
    """
    _check_kinds(datasets, "interleave")
    if stopping_strategy not in get_args(Stopping):
        raise ArgumentError(f"stopping_strategy={stopping_strategy!r} is not one of {list(get_args(Stopping))}")
    if probabilities is not None:
        _check_probabilities(probabilities, len(datasets), stopping_strategy)
    mixed: Any
    if isinstance(datasets[0], IterableDataset):
        known, features = _aligned_streams(datasets)
        rng = None if probabilities is None else np.random.default_rng(seed)
        node = Interleave(_cast(known, features), stopping_strategy, rng, probabilities)
        mixed = IterableDataset(node, _info(known, info, features), split, distributed=_one_rank(known))
    else:
        rows: Any = _rows(datasets, info, split)
        lengths = [dataset.num_rows for dataset in datasets]  # pyright: ignore[reportAttributeAccessIssue]
        mixed = rows.select(interleaved(lengths, probabilities, seed, stopping_strategy))
    return mixed


def interleaved(
    lengths: Sequence[int], probabilities: Sequence[float] | None, seed: int | None, stopping: Stopping
) -> np.ndarray:
    """Row numbers of datasets that lie one after the other, mixed.

    Args:
        lengths: rows of each.
        probabilities, seed, stopping: as `interleave_datasets` has them.
    """
    sizes = np.asarray(lengths, np.int64)
    starts = np.cumsum(sizes) - sizes
    once = stopping == "all_exhausted_without_replacement"
    if probabilities is None:
        rounds = int(sizes.min() if stopping == "first_exhausted" else sizes.max())
        turns = np.arange(rounds)[:, None]
        if once:
            return (turns + starts)[turns < sizes]
        _check_rows(sizes, np.ones(len(sizes)), rounds)
        return (turns % np.maximum(sizes, 1) + starts).reshape(-1)
    chances = np.asarray(probabilities, np.float64)
    _check_rows(sizes, chances, not once)
    sources = _drawn(sizes, chances, seed, stopping)
    rows = np.empty(len(sources), np.int64)
    keep = np.ones(len(sources), bool)
    for source, size in enumerate(sizes.tolist()):
        where = np.flatnonzero(sources == source)
        rows[where] = starts[source] + np.arange(len(where)) % max(size, 1)
        if once:
            keep[where[size:]] = False
    return rows[keep]


def _drawn(sizes: np.ndarray, chances: np.ndarray, seed: int | None, stopping: Stopping) -> np.ndarray:
    """The source of each row, up to the row at which it stops."""
    rng = np.random.default_rng(seed)
    seen = np.zeros(len(sizes), np.int64)
    drawn = [np.empty(0, np.int64)]
    # A source that is never drawn can't come to its end.
    possible = chances > 0
    over = np.any if stopping == "first_exhausted" else np.all
    while not over(seen[possible] >= sizes[possible]):
        drawn.append(rng.choice(len(sizes), size=DRAWS, p=chances))
        seen += np.bincount(drawn[-1], minlength=len(sizes))
    sources = np.concatenate(drawn)
    # A source is at its end when its last row comes for the first time.
    ended = np.flatnonzero(possible & (seen >= sizes))
    ends = [np.flatnonzero(sources == source)[sizes[source] - 1] if sizes[source] else -1 for source in ended]
    return sources[: (min(ends) if stopping == "first_exhausted" else max(ends)) + 1]


# Rows with numbers


def _rows(dsets: Sequence[Any], info: DatasetInfo | None, split: str | None) -> Dataset:
    features = aligned([dataset.features for dataset in dsets])
    filled = [dataset for dataset in dsets if dataset.num_rows] or list(dsets[:1])
    table = pa.concat_tables([conformed(dataset.data, features) for dataset in filled])
    indices = None
    if any(dataset._indices is not None for dataset in filled):
        starts = np.cumsum([0, *(dataset.data.num_rows for dataset in filled)])[:-1]
        orders = [np.arange(each.num_rows) if each._indices is None else each._indices for each in filled]
        indices = np.concatenate([start + order for start, order in zip(starts, orders, strict=True)])
    return _dataset(dsets, table, features, info, split, indices, axis=0)


def _columns(dsets: Sequence[Any], info: DatasetInfo | None, split: str | None) -> Dataset:
    lengths = [dataset.num_rows for dataset in dsets]
    if len(set(lengths)) > 1:
        raise DatasetError(f"datasets side by side must have equally many rows; they have {lengths}")
    features = _beside([dataset.features for dataset in dsets])
    tables = [dataset.data if dataset._indices is None else dataset._rows(slice(None)) for dataset in dsets]
    table = pa.table({name: table.column(name) for table in tables for name in table.column_names})
    return _dataset(dsets, table, features, info, split, None, axis=1)


def _dataset(
    dsets: Sequence[Any],
    table: pa.Table,
    features: Features,
    info: DatasetInfo | None,
    split: str | None,
    indices: np.ndarray | None,
    axis: int,
) -> Dataset:
    arguments = {"info": info, "split": split, "axis": axis}
    result = Dataset(
        table,
        _info(dsets, info, features),
        split,
        indices,
        next_fingerprint("".join(dataset._fingerprint for dataset in dsets), "concatenate_datasets", arguments),
        source_files=[file for dataset in dsets for file in dataset._source_files],
    )
    formats = [dataset.format for dataset in dsets]
    shown = formats[0]
    if axis:
        # Each has columns of its own: what is alike is the rest.
        formats = [{**each, "columns": None} for each in formats]
    if shown["type"] is not None and all(each == formats[0] for each in formats):
        columns = None if axis else shown["columns"]
        result.set_format(shown["type"], columns, shown["output_all_columns"], **shown["format_kwargs"])
    return result


# Rows that are streamed


def _stream(dsets: Sequence[Any], info: DatasetInfo | None, split: str | None, axis: int) -> IterableDataset:
    formats = [dataset._format for dataset in dsets]
    shown = formats[0] if all(each == formats[0] for each in formats) else Format()
    node: Node
    if axis == 0:
        known, features = _aligned_streams(dsets)
        node = Concat(_cast(known, features))
    else:
        known = [dataset._resolve_features() for dataset in dsets]
        features = _beside([dataset.features or Features() for dataset in known])
        node = Beside([dataset._node for dataset in known])
    return IterableDataset(node, _info(known, info, features), split, format=shown, distributed=_one_rank(dsets))


def _aligned_streams(dsets: Sequence[Any]) -> tuple[list[IterableDataset], Features]:
    known = [dataset._resolve_features() for dataset in dsets]
    return known, aligned([dataset.features for dataset in known if dataset.features is not None])


def _cast(dsets: Sequence[IterableDataset], features: Features) -> list[Node]:
    """The datasets' rows, all with these features."""
    return [
        dataset._node
        if list((dataset.features or {}).items()) == list(features.items())
        else Cast(dataset._node, features)
        for dataset in dsets
    ]


def _one_rank(dsets: Sequence[Any]) -> Any:
    ranks = {dataset._distributed for dataset in dsets}
    if len(ranks) > 1:
        raise ArgumentError(f"datasets split for different ranks can't be joined: {ranks}. Split the joined one.")
    return ranks.pop()


# What both kinds need


def aligned(features: Sequence[Mapping[str, Any]]) -> Features:
    """The columns of all, each of one type: what is null somewhere has the type that it has elsewhere."""
    merged: dict[str, Any] = {}
    for columns in features:
        for name, kind in columns.items():
            merged[name] = kind if name not in merged else _common(name, merged[name], kind)
    return Features(merged)


def _common(name: str, one: Any, other: Any) -> Any:
    null = Value("null")
    if one == other or other == null:
        return one
    if one == null:
        return other
    if type(one) is type(other):
        if isinstance(one, List) and one.length == other.length:
            return List(_common(f"{name}[]", one.feature, other.feature), length=one.length)
        if isinstance(one, LargeList):
            return LargeList(_common(f"{name}[]", one.feature, other.feature))
        if isinstance(one, dict) and one.keys() == other.keys():
            return {key: _common(f"{name}.{key}", one[key], other[key]) for key in one}
    raise DatasetError(
        f"column {name!r} is {one} in one dataset and {other} in another. Cast one of them: cast_column()"
    )


def _beside(features: Sequence[Mapping[str, Any]]) -> Features:
    names = [name for columns in features for name in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DatasetError(f"datasets side by side have columns of one name: {twice}. Rename or remove them.")
    return Features({name: kind for columns in features for name, kind in columns.items()})


def _info(dsets: Sequence[Any], info: DatasetInfo | None, features: Features) -> DatasetInfo:
    merged = DatasetInfo.from_merge([dataset.info for dataset in dsets]) if info is None else info.copy()
    merged.features = features
    return merged


def _check_rows(sizes: np.ndarray, chances: np.ndarray, needed: Any) -> None:
    empty = np.flatnonzero((sizes == 0) & (chances > 0)).tolist()
    if empty and needed:
        raise DatasetError(f"datasets {empty} have no rows to interleave: leave them out")


def _check_probabilities(probabilities: Sequence[float], number: int, stopping: Stopping) -> None:
    chances = np.asarray(probabilities, np.float64)
    if len(chances) != number or (chances < 0).any() or abs(chances.sum() - 1) > 1e-6:
        raise ArgumentError(f"probabilities={list(probabilities)}: {number} numbers that sum to 1, one a dataset")
    never = np.flatnonzero(chances == 0).tolist()
    if never and stopping != "first_exhausted":
        raise ArgumentError(f"stopping_strategy={stopping!r} would never end: datasets {never} have probability 0")


def _check_kinds(dsets: Sequence[Any], verb: str) -> None:
    if not dsets:
        raise ArgumentError(f"no datasets to {verb}")
    for position, dataset in enumerate(dsets):
        if isinstance(dataset, Mapping):
            raise ArgumentError(f"number {position} is a dictionary of splits, {list(dataset)}; pick one of them")
        if not isinstance(dataset, Dataset | IterableDataset):
            raise ArgumentError(f"number {position} is {type(dataset).__name__}, neither Dataset nor IterableDataset")
        if isinstance(dataset, Dataset) != isinstance(dsets[0], Dataset):
            raise ArgumentError(
                f"can't {verb} a Dataset and an IterableDataset (number 0 and number {position}): convert one with "
                "to_iterable_dataset()"
            )

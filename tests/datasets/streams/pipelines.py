"""Random pipelines: the same steps over streamed rows, and over a list."""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from enfold.datasets.features import Features, Value, to_table
from enfold.datasets.iterable import IterableDataset
from enfold.datasets.sources import GeneratorSource, TableSource
from enfold.datasets.streams.mixing import Interleave
from enfold.datasets.streams.order import Concat


def rows_of(start: int, count: int) -> list[dict[str, Any]]:
    """Rows that differ."""
    return [{"a": index, "t": f"row {index}"} for index in range(start, start + count)]


def numbers(shard: list[tuple[int, int]]):
    """Rows of one shard: what a generator source calls."""
    for start, count in shard:
        yield from rows_of(start, count)


def stream(count: int, shards: int, start: int = 0, kind: str = "tables", rows_per_table: int = 4) -> IterableDataset:
    """`count` rows in shards, as Arrow tables (cut small) or as Python objects."""
    if kind == "objects":
        bounds = [start + count * index // shards for index in range(shards + 1)]
        parts = [(low, high - low) for low, high in itertools.pairwise(bounds)]
        return IterableDataset(GeneratorSource(numbers, {"shard": parts}))
    features = Features({"a": Value("int64"), "t": Value("string")})
    rows = rows_of(start, count)
    table = to_table({name: [row[name] for row in rows] for name in features}, features)
    return IterableDataset(replace(TableSource.of(table, shards, features), rows_per_table=rows_per_table))


def even(row):
    return row["a"] % 2 == 0


def some(batch):
    return [value % 3 != 1 for value in batch["a"]]


def longer(row):
    return {"n": row["a"] * 10 + len(row["t"])}


def with_index(row, index):
    return {"i": index}


def doubled(batch):
    return {name: [value for value in values for _ in range(2)] for name, values in batch.items()}


def fewer(batch):
    return {name: list(values)[::3] for name, values in batch.items()}


async def later(row):
    return {"later": row["a"] + 1}


# name → (the step over a stream, the same over a list; None: it's an order of its own)
Step = tuple[Callable[[IterableDataset], IterableDataset], Callable[[list], list] | None]


def by_batch(function, size, rows):
    out = []
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        columns = function({name: [row[name] for row in part] for name in part[0]})
        names = list(columns)
        out += [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return out


def kept_by_batch(rows, size):
    return [row for row in rows if row["a"] % 3 != 1]


STEPS: dict[str, Step] = {
    "even": (lambda d: d.filter(even), lambda rows: [row for row in rows if even(row)]),
    "some": (lambda d: d.filter(some, batched=True, batch_size=5), lambda rows: kept_by_batch(rows, 5)),
    "longer": (lambda d: d.map(longer), lambda rows: [{**row, **longer(row)} for row in rows]),
    "later": (lambda d: d.map(later), lambda rows: [{**row, "later": row["a"] + 1} for row in rows]),
    "index": (
        lambda d: d.map(with_index, with_indices=True),
        lambda rows: [{**row, "i": i} for i, row in enumerate(rows)],
    ),
    "doubled": (lambda d: d.map(doubled, batched=True, batch_size=3), lambda rows: by_batch(doubled, 3, rows)),
    "fewer": (lambda d: d.map(fewer, batched=True, batch_size=7), lambda rows: by_batch(fewer, 7, rows)),
    "whole": (
        lambda d: d.map(fewer, batched=True, batch_size=None),
        lambda rows: by_batch(fewer, max(len(rows), 1), rows),
    ),
    "take": (lambda d: d.take(17), lambda rows: rows[:17]),
    "skip": (lambda d: d.skip(4), lambda rows: rows[4:]),
    "repeat": (lambda d: d.repeat(2), lambda rows: rows * 2),
    "select": (lambda d: d.select_columns(["a", "t"]), lambda rows: [{"a": row["a"], "t": row["t"]} for row in rows]),
    "rename": (
        lambda d: d.rename_columns({"t": "u"}).rename_column("u", "t"),
        lambda rows: rows,
    ),
    "ahead": (lambda d: d.prefetch(2), lambda rows: rows),
    "more": (
        lambda d: d._with(Concat([d._node, stream(6, 2, 1000)._node])),
        None,
    ),
    "shuffle": (lambda d: d.shuffle(seed=3, buffer_size=6), None),
    "shuffle one shard": (lambda d: d.shuffle(seed=4, buffer_size=9, max_buffer_input_shards=1), None),
    "mixed": (
        lambda d: d._with(
            Interleave([d._node, stream(9, 2, 2000, "objects")._node], "all_exhausted_without_replacement")
        ),
        None,
    ),
    "oversampled": (
        lambda d: d._with(Interleave([d._node, stream(9, 2, 2000)._node], "all_exhausted")),
        None,
    ),
}
ORDERED = [name for name, (_, listed) in STEPS.items() if listed is not None]


@dataclass
class Pipeline:
    """Steps over a stream; `expected` is None where some step has an order of its own."""

    kind: str
    count: int
    shards: int
    steps: list[str] = field(default_factory=list)

    def stream(self) -> IterableDataset:
        dataset = stream(self.count, self.shards, kind=self.kind)
        for name in self.steps:
            dataset = STEPS[name][0](dataset)
        return dataset

    def expected(self) -> list:
        rows = rows_of(0, self.count)
        for name in self.steps:
            step = STEPS[name][1]
            assert step is not None
            rows = step(rows)
        return rows


def pipelines(names: list[str]):
    """Pipelines of up to four of these steps."""
    return st.builds(
        Pipeline,
        st.sampled_from(["tables", "objects"]),
        st.integers(1, 30),
        st.just(1),
        st.lists(st.sampled_from(names), max_size=4),
    ).flatmap(lambda p: st.integers(1, p.count).map(lambda shards: Pipeline(p.kind, p.count, min(shards, 7), p.steps)))


def moments(length: int, number: int, seed: int) -> list[int]:
    """Where to stop: the beginning, the end, and some between."""
    return sorted({0, length, *(random.Random(seed).randrange(length + 1) for _ in range(number))})

"""`map` and `filter`: a function over all rows, once, into Arrow files that are found again."""

import glob
import os
import re
import secrets
import string
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets.cache import build_once, is_caching_enabled, scratch_directory
from enfold.datasets.core import Core, IndexedError
from enfold.datasets.features import Features, cast_table
from enfold.datasets.formats import formatter
from enfold.datasets.rows import Rows
from enfold.datasets.steps import Filter, Map, check_columns
from enfold.datasets.table import open_mapped
from enfold.datasets.workers import run_tasks
from enfold.datasets.writing import DEFAULT_BATCH_ROWS, TableWriter

SUFFIX_TEMPLATE = "_{rank:05d}_of_{num_proc:05d}"


class Mapped(Core):
    """The part of `Dataset` that runs functions over rows."""

    def map(
        self,
        function: Callable[..., Any] | None = None,
        with_indices: bool = False,
        with_rank: bool = False,
        input_columns: str | Sequence[str] | None = None,
        batched: bool = False,
        batch_size: int | None = 1000,
        drop_last_batch: bool = False,
        remove_columns: str | Sequence[str] | None = None,
        keep_in_memory: bool = False,
        load_from_cache_file: bool | None = None,
        cache_file_name: str | None = None,
        writer_batch_size: int | None = 1000,
        features: Features | None = None,
        disable_nullable: bool = False,
        fn_kwargs: dict[str, Any] | None = None,
        num_proc: int | None = None,
        suffix_template: str = SUFFIX_TEMPLATE,
        new_fingerprint: str | None = None,
        desc: str | None = None,
        try_original_type: bool | None = True,
        on_mixed_types: str | None = "use_json",
    ) -> Self:
        """Update every row, or every batch of rows, with what a function returns.

        Args:
            function: takes a row (a mapping; a mapping of lists where `batched`) and returns a mapping of the columns
                to add or change, a table or data frame that stands for all columns, or None to leave the rows as they
                are. A coroutine function runs for up to 1000 rows at once. None: the identity.
            with_indices: call it with the row's number (numbers, where batched) as well.
            with_rank: call it with the rank of its process as well.
            input_columns: call it with these columns' values, instead of the row.
            batched: call it with batches of `batch_size` rows (None or 0: all); it may return another number of rows.
            drop_last_batch: leave out a last batch that is shorter.
            remove_columns: input columns to drop.
            keep_in_memory: keep the result in memory, not in a file.
            load_from_cache_file: use the result of the same function on the same rows if there is one (default: where
                caching is enabled).
            cache_file_name: where to put the result, instead of beside the source's file under its fingerprint.
            writer_batch_size: rows per record batch of the file.
            features: the types of the result; inferred by default.
            disable_nullable: forbid nulls.
            fn_kwargs: keywords for every call.
            num_proc: forked processes that share the work.
            suffix_template: what distinguishes their files; with the fields `rank` and `num_proc`.
            new_fingerprint: the result's fingerprint, instead of one computed from function and arguments.
            desc: text before the progress bar.
            try_original_type: keep the type of a column that exists where its new values allow it.
            on_mixed_types: "use_json": values without a common type become `Json`; None: they are an error.
        """
        batched_all = batched and (batch_size is None or batch_size <= 0)
        num_proc = _checked_processes(num_proc, len(self), suffix_template)
        removed = check_columns(remove_columns, self.column_names, "Column to remove") or ()
        step = Map(
            function=_identity if function is None else function,
            with_indices=with_indices,
            with_rank=with_rank,
            input_columns=check_columns(input_columns, self.column_names, "Input column"),
            batched=batched or function is None,
            fn_kwargs=fn_kwargs or {},
            remove_columns=removed,
        )
        if keep_in_memory and cache_file_name is not None:
            raise ArgumentError("Give keep_in_memory=True or cache_file_name=, not both.")
        if len(self) == 0:
            return self._emptied(removed)
        if self._indexes and batched:
            step = Map(**{**vars(step), "function": partial(_same_length, step.function)})
        options = {
            "batch_size": (len(self) if batched_all else batch_size) if batched else None,
            "drop_last_batch": drop_last_batch,
            "features": features,
            "disable_nullable": disable_nullable,
            "try_original_type": bool(try_original_type),
            "on_mixed_types": on_mixed_types,
        }
        if new_fingerprint is None:
            new_fingerprint = self._next("map", **{**vars(step), "function": function}, **options, shown=self._shown_as)
        check_fingerprint(new_fingerprint)

        def write(rank: int | None, start: int, stop: int, path: Path | None, done: Callable[[int], None]) -> pa.Table:
            writer = TableWriter(
                path,
                features=features,
                like=self.features,
                keep_types=bool(try_original_type),
                fingerprint=new_fingerprint,
                disable_nullable=disable_nullable,
                batch_rows=writer_batch_size,
                on_mixed_types=on_mixed_types,
            )
            with writer:
                for batch in self._mapped(step, options, writer_batch_size, rank, start, stop, done):
                    writer.write(batch)
                writer.close()
            return writer.table() if path is None else pa.table({})

        shards = Shards(self, new_fingerprint, num_proc, suffix_template, cache_file_name, keep_in_memory)
        tables = shards.run(write, load_from_cache_file, desc or "Map", self._total(batched, options))
        if tables is None:
            return self
        return self._joined(tables, new_fingerprint, shards.files)

    def filter(
        self,
        function: Callable[..., Any] | None = None,
        with_indices: bool = False,
        with_rank: bool = False,
        input_columns: str | Sequence[str] | None = None,
        batched: bool = False,
        batch_size: int | None = 1000,
        keep_in_memory: bool = False,
        load_from_cache_file: bool | None = None,
        cache_file_name: str | None = None,
        writer_batch_size: int | None = 1000,
        fn_kwargs: dict[str, Any] | None = None,
        num_proc: int | None = None,
        suffix_template: str = SUFFIX_TEMPLATE,
        new_fingerprint: str | None = None,
        desc: str | None = None,
    ) -> Self:
        """The rows for which a function is true, by their numbers: no row is copied.

        Args:
            function: takes a row and returns a truth value; where `batched`, a batch, and returns one for each row.
            (The others as in `map`.)
        """
        self._no_indexes("filter")
        num_proc = _checked_processes(num_proc, len(self), suffix_template)
        step = Filter(
            function=_always if function is None else function,
            with_indices=with_indices,
            with_rank=with_rank,
            input_columns=check_columns(input_columns, self.column_names, "Input column"),
            batched=batched,
            fn_kwargs=fn_kwargs or {},
        )
        if len(self) == 0:
            return self
        size = (batch_size if batch_size and batch_size > 0 else len(self)) if batched else None
        if new_fingerprint is None:
            told = {**vars(step), "function": function}
            new_fingerprint = self._next("filter", **told, batch_size=size, shown=self._shown_as)
        check_fingerprint(new_fingerprint)

        def write(rank: int | None, start: int, stop: int, path: Path | None, done: Callable[[int], None]) -> pa.Table:
            kept = self._kept(step, size, rank, start, stop, done)
            if self._indices is not None:
                kept = self._indices[kept]
            return write_indices(kept, path)

        shards = Shards(self, new_fingerprint, num_proc, suffix_template, cache_file_name, keep_in_memory)
        tables = shards.run(write, load_from_cache_file, desc or "Filter", len(self))
        assert tables is not None
        order = (
            np.concatenate([read_indices(table) for table in tables]) if len(tables) > 1 else read_indices(tables[0])
        )
        return self._derived(indices=order, fingerprint=new_fingerprint, indices_files=shards.files)

    def flatten_indices(
        self,
        keep_in_memory: bool = False,
        cache_file_name: str | None = None,
        writer_batch_size: int | None = 1000,
        features: Features | None = None,
        disable_nullable: bool = False,
        num_proc: int | None = None,
        new_fingerprint: str | None = None,
    ) -> Self:
        """The rows written in their order, so that reading them is quick again. The arguments are those of `map`."""
        return (
            self.with_format(None)
            .map(
                keep_in_memory=keep_in_memory,
                cache_file_name=cache_file_name,
                writer_batch_size=writer_batch_size,
                features=features,
                disable_nullable=disable_nullable,
                num_proc=num_proc,
                new_fingerprint=new_fingerprint,
                desc="Flattening the indices",
            )
            ._with_format_of(self)
        )

    def _with_format_of(self, other: Core) -> Self:
        self._take_format(other)
        return self

    # One shard's rows

    @property
    def _shown_as(self) -> tuple[str | None, dict[str, Any]]:
        """What decides, beside the rows, what a function is given."""
        return self._format_type, self._format_kwargs

    def _as_rows(self, tables: Iterator[pa.Table]) -> Iterator[Rows]:
        shown = None if self._format_type is None else formatter(self._format_type, **self._format_kwargs)
        decoder, heavy = formatter(None), self._heavy
        for table in tables:
            yield Rows(table, formatter=shown, decoder=decoder, heavy=heavy)

    def _mapped(
        self,
        step: Map,
        options: dict[str, Any],
        block: int | None,
        rank: int | None,
        start: int,
        stop: int,
        done: Callable[[int], None],
    ) -> Iterator[Any]:
        """The batches that `step` makes of rows `start` to `stop`; _UnchangedError where it leaves them as they are."""
        if step.function is _identity:
            for table in self._tables(block or DEFAULT_BATCH_ROWS, start=start, stop=stop):
                yield table.drop_columns(list(step.remove_columns))
                done(table.num_rows)
            return
        size = options["batch_size"] if step.batched else block or DEFAULT_BATCH_ROWS
        drop_last = step.batched and options["drop_last_batch"]
        blocks = self._as_rows(self._tables(size, start=start, stop=stop, drop_last=drop_last))
        calls = step.calls(blocks, first=start, rank=rank)
        changed: bool | None = None
        for _, group in groupby(calls, key=lambda call: id(call.rows)):
            made = list(group)
            batch = step.batch(made[0]) if step.batched else step.gather(made)
            if changed is not None and changed != (batch is not None):
                raise DatasetError(
                    f"map's function returned None for some rows and columns for others (around row {made[0].first}); "
                    f"return an empty dict to leave rows as they are"
                )
            changed = batch is not None
            if changed:
                yield batch
            done(len(made[0].rows))
        if changed is False:
            raise _UnchangedError

    def _kept(
        self, step: Filter, size: int | None, rank: int | None, start: int, stop: int, done: Callable[[int], None]
    ) -> np.ndarray:
        """The numbers, within this data set, of the rows from `start` to `stop` that stay."""
        block = size or DEFAULT_BATCH_ROWS
        kept: list[np.ndarray] = []
        blocks = self._as_rows(self._tables(block, start=start, stop=stop))
        for mask in step.masks(blocks, first=start, rank=rank):
            kept.append(np.flatnonzero(mask) + start)
            start += len(mask)
            done(len(mask))
        return np.concatenate(kept) if kept else np.empty(0, np.int64)

    def _total(self, batched: bool, options: dict[str, Any]) -> int:
        if batched and options["drop_last_batch"]:
            return len(self) // options["batch_size"] * options["batch_size"]
        return len(self)

    def _joined(self, tables: list[pa.Table], fingerprint: str, files: Sequence[str]) -> Self:
        """A data set of the tables that processes wrote, their types brought together."""
        filled = [table for table in tables if table.num_rows] or tables[:1]
        features = _common_features([Features.from_arrow_schema(table.schema) for table in filled])
        schema = features.arrow_schema
        filled = [table if table.schema.equals(schema) else cast_table(table, features) for table in filled]
        return self._derived(
            pa.concat_tables(filled),
            features=features,
            indices=None,
            fingerprint=fingerprint,
            source_files=files,
            indices_files=(),
        )

    def _emptied(self, removed: tuple[str, ...]) -> Self:
        table = self._data.slice(0, 0).drop_columns(list(removed))
        features = Features({name: feature for name, feature in self.features.items() if name not in removed})
        return self._derived(table, features=features, indices=None, indices_files=())


class Shards:
    """A result in one file, or in one a process: where they lie, what exists of them, and how the rest is made.

    Args:
        data: whose rows are shared out.
        fingerprint: the result's.
        num_proc: processes at a time; None: this one.
        suffix_template: of the file names, where there are several.
        cache_file_name: where the result goes; None: beside the source's files, or in memory where it has none.
        keep_in_memory: put it into memory anyway.
    """

    def __init__(
        self,
        data: Core,
        fingerprint: str,
        num_proc: int | None,
        suffix_template: str,
        cache_file_name: str | os.PathLike[str] | None,
        keep_in_memory: bool,
    ):
        self._rows = len(data)
        self._processes = num_proc
        self._suffix = suffix_template
        self._path = None if cache_file_name is None else Path(cache_file_name)
        if self._path is None and not keep_in_memory and data._source_files:
            self._path = cache_path(data, fingerprint)
        if self._path is not None and not self._path.suffix:
            raise ArgumentError(f"cache_file_name needs an extension, like .arrow: {self._path}")
        self._count = (num_proc or 1) if self._path is None else self._matching_count()

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the result."""
        return tuple(str(path) for path in self._paths() if path is not None)

    def run(self, write: Callable[..., pa.Table], load: bool | None, label: str, total: int) -> list[pa.Table] | None:
        """The tables of all shards, those that exist read, the others made; None where the function changed nothing.

        Args:
            write: `write(rank, start, stop, path, done)` writes the rows of one shard to `path`, or returns them as a
                table where that is None.
        """
        if not (is_caching_enabled() if load is None else load):
            self._count = self._processes or 1
            for path in self._paths():
                if path is not None:
                    path.unlink(missing_ok=True)
        paths = self._paths()
        missing = [rank for rank, path in enumerate(paths) if path is None or not path.exists()]
        forked = self._processes is not None and (self._processes > 1 or len(missing) > 1)
        tasks = [partial(self._shard, write, rank, paths[rank], forked) for rank in missing]
        if tasks:
            label = f"{label} (num_proc={self._processes})" if self._processes else label
            total -= sum(
                stop - start
                for rank in range(self._count)
                if rank not in missing
                for start, stop in [self._range(rank)]
            )
            results = run_tasks(tasks, self._processes if forked else None, total=total, label=label)
        else:
            results = []
        made = dict(zip(missing, results, strict=True))
        unchanged = [rank for rank, result in made.items() if result is None]
        if unchanged:
            if len(unchanged) < self._count:
                raise DatasetError(
                    f"map's function returned None for all rows of process {unchanged[0]}, and columns for others; "
                    f"return an empty dict to leave rows as they are"
                )
            return None
        tables = []
        for rank, path in enumerate(paths):
            result = made.get(rank)
            if isinstance(result, pa.Table):
                tables.append(result)
            elif path is not None:
                tables.append(open_mapped(path))
            else:
                tables.append(_read_and_remove(Path(str(result))))
        return tables

    def _shard(
        self, write: Callable[..., pa.Table], rank: int, path: Path | None, forked: bool, done: Callable[[int], None]
    ) -> Any:
        """Make one shard: the table, or the path of its file; None where the function changed nothing."""
        start, stop = self._range(rank)
        number = rank if self._count > 1 else None
        try:
            if path is not None:
                build_once(path, lambda unfinished: write(number, start, stop, unfinished, done) and None)
                return str(path)
            if not forked:
                return write(number, start, stop, None, done)
            # A process hands over its rows in a file.
            path = scratch_directory() / f"shard-{secrets.token_hex(8)}.arrow"
            write(number, start, stop, path, done)
            return str(path)
        except _UnchangedError:
            return None

    def _range(self, rank: int) -> tuple[int, int]:
        size, left = divmod(self._rows, self._count)
        start = size * rank + min(rank, left)
        return start, start + size + (rank < left)

    def _paths(self) -> list[Path | None]:
        if self._path is None:
            return [None] * self._count
        if self._count == 1:
            return [self._path]
        return [self._numbered(rank, self._count) for rank in range(self._count)]

    def _numbered(self, rank: int, count: int) -> Path:
        assert self._path is not None
        return self._path.with_name(
            self._path.stem + self._suffix.format(rank=rank, num_proc=count) + self._path.suffix
        )

    def _matching_count(self) -> int:
        """In how many files the result is to lie: as many as it lies in already, whoever made them."""
        assert self._path is not None
        wanted = self._processes or 1
        found = {1: 1} if self._path.exists() else {}
        pattern = re.compile(
            re.escape(self._path.stem)
            + "".join(
                re.escape(text) + (rf"(?P<{field}>\d+)" if field else "")
                for text, field, _, _ in string.Formatter().parse(self._suffix)
            )
            + re.escape(self._path.suffix)
        )
        for name in glob.glob(glob.escape(str(self._path.with_suffix(""))) + "*" + self._path.suffix):
            match = pattern.fullmatch(Path(name).name)
            if match is not None:
                count = int(match["num_proc"])
                found[count] = found.get(count, 0) + 1
        found = {count: have for count, have in found.items() if count <= self._rows}
        if not found:
            return wanted
        # The most complete, then the nearest to what was asked for, then the fewest.
        return min(found, key=lambda count: ((count - found[count]) / count, abs(count - wanted), count))


class _UnchangedError(Exception):
    """The function returned None for all rows: there is nothing to write."""


def cache_path(data: Core, fingerprint: str) -> Path:
    """Where a result of `data` lies: beside its first file, or in a folder that goes with this process."""
    if is_caching_enabled() and data._source_files:
        return Path(data._source_files[0]).parent / f"cache-{fingerprint}.arrow"
    return scratch_directory() / f"cache-{secrets.token_hex(8)}.arrow"


def write_indices(indices: np.ndarray, path: Path | None) -> pa.Table:
    """An order of rows as an Arrow file of one column and one record batch, so that it is read without a copy."""
    table = pa.table({"indices": pa.array(indices.astype(np.uint64, copy=False))})
    if path is not None:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return table


def read_indices(table: pa.Table) -> np.ndarray:
    """The order in a table that `write_indices` wrote."""
    column = table.column(0)
    if column.num_chunks == 0:
        return np.empty(0, np.int64)
    values = column.chunk(0).to_numpy() if column.num_chunks == 1 else column.to_numpy()
    return values.view(np.int64)


def _common_features(found: list[Features]) -> Features:
    """One set of features for all shards: a column of nulls in one takes its type from another."""
    merged = Features(found[0])
    for features in found[1:]:
        if set(features) != set(merged):
            raise DatasetError(
                f"the function returned columns {sorted(features)} in one process and {sorted(merged)} in another"
            )
        for name, feature in features.items():
            if feature == merged[name]:
                continue
            if getattr(merged[name], "dtype", None) == "null":
                merged[name] = feature
            elif getattr(feature, "dtype", None) != "null":
                raise DatasetError(
                    f"column {name!r} is {feature} in one process and {merged[name]} in another: give features="
                )
    return merged


def check_fingerprint(fingerprint: str) -> None:
    """A fingerprint becomes part of a file's name."""
    if not isinstance(fingerprint, str) or not 0 < len(fingerprint) <= 64 or set(fingerprint) & set("<>:/\\|?*"):
        raise ArgumentError(
            f"a fingerprint is a string of 1 to 64 characters, none of them of <>:/\\|?*, as it names files; "
            f"not {fingerprint!r}"
        )


def _read_and_remove(path: Path) -> pa.Table:
    table = open_mapped(path, in_memory=True)
    path.unlink()
    return table


def _checked_processes(num_proc: int | None, rows: int, suffix_template: str) -> int | None:
    if num_proc is not None and num_proc < 0:
        raise ArgumentError("num_proc must be >= 0 or None.")
    fields = {field for _, field, _, _ in string.Formatter().parse(suffix_template) if field}
    if fields != {"rank", "num_proc"}:
        raise ArgumentError(
            f"suffix_template must have the fields 'rank' and 'num_proc', and no others: it has {fields}"
        )
    return min(num_proc, rows) if num_proc else None


def _same_length(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    output = function(*args, **kwargs)
    if output is not None and len(output):
        before = next(iter(args[0].values())) if hasattr(args[0], "values") else args[0]
        after = next(iter(output.values())) if hasattr(output, "values") else output
        if len(before) != len(after):
            raise IndexedError("map may not add or remove rows while there are search indexes: call drop_index() first")
    return output


def _identity(row: Any) -> Any:
    return row


def _always(row: Any) -> bool:
    return True

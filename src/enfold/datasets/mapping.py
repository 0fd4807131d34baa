"""`map` and `filter`: a function over all rows, once, into Arrow files that are found again."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets.core import Core, IndexedError
from enfold.datasets.features import Features, cast_table
from enfold.datasets.formats import formatter
from enfold.datasets.ray import check_executor
from enfold.datasets.rows import Rows
from enfold.datasets.shards import Part, Shards, UnchangedError, checked_processes, read_indices, write_indices
from enfold.datasets.steps import Filter, Map, check_columns
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
        executor: str | None = None,
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
            executor: "ray": tasks of a Ray cluster share the work (`num_proc` of them; None: one a CPU), not processes
                of this machine. Results, files and fingerprints are the same.
        """
        batched_all = batched and (batch_size is None or batch_size <= 0)
        num_proc = checked_processes(num_proc, len(self), suffix_template, check_executor(executor))
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

        like = self.features

        def write(part: Part, rank: int | None, path: Path | None, done: Callable[[int], None]) -> pa.Table:
            writer = TableWriter(
                path,
                features=features,
                like=like,
                keep_types=bool(try_original_type),
                fingerprint=new_fingerprint,
                disable_nullable=disable_nullable,
                batch_rows=writer_batch_size,
                on_mixed_types=on_mixed_types,
            )
            with writer:
                for batch in part.data._mapped(step, options, writer_batch_size, rank, part, done):
                    writer.write(batch)
                writer.close()
            return writer.table() if path is None else pa.table({})

        shards = Shards(self, new_fingerprint, num_proc, suffix_template, cache_file_name, keep_in_memory, executor)
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
        executor: str | None = None,
    ) -> Self:
        """The rows for which a function is true, by their numbers: no row is copied.

        Args:
            function: takes a row and returns a truth value; where `batched`, a batch, and returns one for each row.
            (The others as in `map`.)
        """
        self._no_indexes("filter")
        num_proc = checked_processes(num_proc, len(self), suffix_template, check_executor(executor))
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

        def write(part: Part, rank: int | None, path: Path | None, done: Callable[[int], None]) -> pa.Table:
            kept = part.data._kept(step, size, rank, part, done)
            return write_indices(kept + part.first if part.order is None else part.order[kept], path)

        shards = Shards(self, new_fingerprint, num_proc, suffix_template, cache_file_name, keep_in_memory, executor)
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
        part: Part,
        done: Callable[[int], None],
    ) -> Iterator[Any]:
        """The batches that `step` makes of a part of these rows; UnchangedError where it leaves them as they are."""
        if step.function is _identity:
            for table in self._tables(block or DEFAULT_BATCH_ROWS, start=part.start, stop=part.stop):
                yield table.drop_columns(list(step.remove_columns))
                done(table.num_rows)
            return
        size = options["batch_size"] if step.batched else block or DEFAULT_BATCH_ROWS
        drop_last = step.batched and options["drop_last_batch"]
        blocks = self._as_rows(self._tables(size, start=part.start, stop=part.stop, drop_last=drop_last))
        calls = step.calls(blocks, first=part.first, rank=rank)
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
            raise UnchangedError

    def _kept(
        self, step: Filter, size: int | None, rank: int | None, part: Part, done: Callable[[int], None]
    ) -> np.ndarray:
        """The numbers, within a part of these rows, of those that stay."""
        block, start = size or DEFAULT_BATCH_ROWS, 0
        kept: list[np.ndarray] = []
        blocks = self._as_rows(self._tables(block, start=part.start, stop=part.stop))
        for mask in step.masks(blocks, first=part.first, rank=rank):
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

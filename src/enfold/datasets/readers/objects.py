"""Datasets of what isn't files: a function that yields rows, a database's query, a Spark or Ray frame."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.datasets.builder import BuilderConfig, DatasetBuilder
from enfold.datasets.cache import scratch_directory
from enfold.datasets.fingerprint import next_fingerprint
from enfold.datasets.readers.ray import RaySource
from enfold.datasets.readers.spark import SparkSource
from enfold.datasets.readers.sql import SqlSource
from enfold.datasets.sources import GeneratorSource, Source


def builder_of(kind: str, options: Mapping[str, Any], *, split: str, features: Any, **common: Any) -> DatasetBuilder:
    """A builder for `load_dataset("generator" | "sql" | "spark" | "ray", …)` and `Dataset.from_…`.

    Args:
        options: for a generator `generator`, `gen_kwargs` and `fingerprint`; for a query the fields of SqlSource; for
            Spark `df`; for Ray `ds` and `fingerprint`.
        split: the name of the one split.
    """
    source, identity = _SOURCES[kind](dict(options), features)
    if identity is None:
        # It can't be found again, so its files go with the process, unless a place for them was named.
        identity = secrets.token_hex(16)
        common["cache_dir"] = common.get("cache_dir") or scratch_directory()
    return DatasetBuilder(
        kind, None, BuilderConfig(), dataset_name=kind, sources={split: source}, identity=[split, identity], **common
    )


def _generator(options: dict[str, Any], features: Any) -> tuple[Source, Any]:
    _check("generator", options, needed=("generator",), known=("generator", "gen_kwargs", "fingerprint"))
    generator, arguments = options["generator"], options.get("gen_kwargs") or {}
    source = GeneratorSource(generator, arguments, features)
    identity = options.get("fingerprint") or next_fingerprint(
        "generator", "from_generator", {"generator": generator, "gen_kwargs": arguments}
    )
    return source, [identity, None if features is None else features.to_dict()]


def _sql(options: dict[str, Any], features: Any) -> tuple[Source, Any]:
    """The build is found again for the same query and address; what changed in the database since is not seen.

    A connection that is an object has no such name: its query is run each time, and its rows go with the process.
    """
    _check(
        "sql",
        options,
        needed=("sql", "con"),
        known=[field.name for field in fields(SqlSource) if field.name != "features"],
    )
    source = SqlSource(**options, features=features)
    if isinstance(source.con, str) and isinstance(source.sql, str):
        return source, [options, None if features is None else features.to_dict()]
    return source, None


def _spark(options: dict[str, Any], features: Any) -> tuple[Source, Any]:
    """A frame is a plan: the same plan on the same data is found again, by Spark's own hash of it."""
    _check("spark", options, needed=("df",), known=("df",))
    source = SparkSource(options["df"], features)
    return source, [source.plan_hash(), None if features is None else features.to_dict()]


def _ray(options: dict[str, Any], features: Any) -> tuple[Source, Any]:
    """Ray gives its plans no name that lasts: rows are found again only under a fingerprint of the caller's."""
    _check("ray", options, needed=("ds",), known=("ds", "fingerprint"))
    source, fingerprint = RaySource(options["ds"], features), options.get("fingerprint")
    return source, None if fingerprint is None else [fingerprint, None if features is None else features.to_dict()]


def _check(kind: str, options: dict[str, Any], *, needed: Any, known: Any) -> None:
    unknown = [name for name in options if name not in known]
    missing = [name for name in needed if options.get(name) is None]
    if unknown or missing:
        raise ArgumentError(
            f"load_dataset({kind!r}): {' and '.join(f'{name}=' for name in needed)} must be given, and may go with "
            f"{', '.join(known)}; got {', '.join(options) or 'nothing'}."
        )


_SOURCES = {"generator": _generator, "sql": _sql, "spark": _spark, "ray": _ray}

"""Data from wherever it comes, as columns."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.base.logging import get_logger

logger = get_logger(__name__)
# Which split is taken of several, the first that there is.
SPLITS = ("test", "testing", "eval", "evaluation", "validation", "val", "valid", "dev", "train", "training")
# What files are called that hold rows → how `load_dataset` calls them.
FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".txt": "text",
    ".xml": "xml",
}


class Data:
    """Rows by their columns.

    Args:
        source: a dataset of `enfold.datasets` (or of the library that it resembles), a list of dictionaries, a
            dictionary of columns, a data frame, or what iterates over dictionaries.

    Raises:
        ArgumentError: anything else, or no rows.
    """

    def __init__(self, source: Any):
        self._features = getattr(source, "features", None)
        if isinstance(source, Mapping):
            self._columns: Any = {name: list(column) for name, column in source.items()}
        elif hasattr(source, "column_names") and hasattr(source, "__len__"):
            self._columns = source
        elif hasattr(source, "columns") and hasattr(source, "__len__"):  # a data frame
            self._columns = {str(name): source[name] for name in source.columns}
        else:
            self._columns = _by_column(source)
        self.column_names: list[str] = list(
            self._columns.column_names if hasattr(self._columns, "column_names") else self._columns
        )
        if not self.column_names or not len(self[self.column_names[0]]):
            raise ArgumentError("data has no rows: there is nothing to evaluate")

    def __getitem__(self, name: str) -> list[Any]:
        column = self._columns[name]
        return column.tolist() if hasattr(column, "tolist") else list(column)

    def check(self, **columns: str | None) -> None:
        """Refuse names of columns that aren't there.

        Args:
            columns: the argument that names a column → the name.
        """
        for argument, name in columns.items():
            if name is not None and name not in self.column_names:
                raise ArgumentError(f"{argument} is {name!r}, and the data has {', '.join(self.column_names)}")

    def names_of(self, column: str) -> list[str] | None:
        """The names of a column's classes, where it holds their numbers."""
        feature = (self._features or {}).get(column)
        feature = getattr(feature, "feature", feature)
        names = getattr(feature, "names", None)
        return list(names) if names else None


def _by_column(source: Any) -> dict[str, list[Any]]:
    rows = source if isinstance(source, (list, tuple)) else None
    if rows is None:
        if isinstance(source, (str, bytes)) or not hasattr(source, "__iter__"):
            raise ArgumentError(
                f"data is a {type(source).__name__}; expected a dataset, a list of dictionaries, a dictionary of "
                "columns, a data frame, a file, or a dataset's name"
            )
        rows = list(source)
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping) or row.keys() != rows[0].keys():
            raise ArgumentError(f"row {place} of data is {row!r:.60}; expected a dictionary with the keys of row 0")
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def load_data(data: Any, subset: str | None = None, split: str | None = None) -> Data:
    """The rows to evaluate on.

    Args:
        data: rows, a file, or a dataset's name.
        subset: the dataset's configuration.
        split: which of its splits; by default the first of test, validation and train that there is, which a warning
            names.
    """
    if isinstance(data, Data):
        return data
    if data is None:
        raise ArgumentError("data is missing: give rows, a file, or a dataset's name")
    if isinstance(data, (str, Path)):
        data = read(data, subset)
    elif subset is not None:
        raise ArgumentError(f"subset={subset!r} says which part of a dataset to load, and data was handed over")
    parts = _splits(data)
    if not parts:
        if split is not None and not isinstance(data, Data) and split != str(getattr(data, "split", None) or "train"):
            raise ArgumentError(f"split={split!r} was asked for, and the data has no splits")
        return Data(data)
    if split is None:
        split = next((name for name in SPLITS if name in parts), next(iter(parts)))
        if len(parts) > 1:
            logger.warning("no split was named: took %r of %s", split, ", ".join(parts))
    if split not in parts:
        raise ArgumentError(f"split is {split!r}, and the data has {', '.join(parts)}")
    return Data(parts[split])


def _splits(data: Any) -> dict[str, Any]:
    """The splits of a dictionary of datasets; nothing of anything else."""
    if not isinstance(data, Mapping) or not data:
        return {}
    return dict(data) if all(hasattr(part, "column_names") for part in data.values()) else {}


def read(data: str | Path, subset: str | None) -> Any:
    """A file by its ending, or a dataset by its name."""
    from enfold.datasets import load_dataset

    path = Path(data)
    if path.suffix in FORMATS and not path.exists():
        raise ArgumentError(f"there is no file {path}")
    if not path.is_file():
        return load_dataset(str(data), subset)
    kind = FORMATS.get(next((suffix for suffix in path.suffixes if suffix in FORMATS), ""))
    if kind is None:
        raise ArgumentError(f"{path} is of no known format; its name ends in one of {', '.join(FORMATS)}")
    options = {"sep": "\t"} if ".tsv" in path.suffixes else {}
    return load_dataset(kind, subset, data_files=str(path), **options)


def rows_of(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Columns as rows."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

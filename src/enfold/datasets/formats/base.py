"""What every format shares: which column is decoded how, and rows out of a table of several."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from enfold.base.errors import EnfoldError
from enfold.datasets.features import Features, FeatureType, decoder
from enfold.datasets.features.casting import type_of
from enfold.datasets.features.decoding import Decoder
from enfold.datasets.features.schema import METADATA_KEY


class Format:
    """How a table is shown.

    Args:
        features: of the columns; None: each table says so itself, in its schema.
        token_per_repo_id: for columns whose files must be fetched.
    """

    def __init__(self, features: Features | None = None, token_per_repo_id: Mapping[str, Any] | None = None):
        self.features, self.tokens = features, token_per_repo_id
        self._decoders: dict[str, Decoder | None] = {}
        self._told: tuple[Any, Features] | None = None

    def row(self, table: pa.Table) -> Any:
        """A table of one row, as a row."""
        raise NotImplementedError

    def column(self, table: pa.Table, name: str) -> Any:
        raise NotImplementedError

    def batch(self, table: pa.Table) -> Any:
        """All rows of a table."""
        raise NotImplementedError

    def rows(self, table: pa.Table) -> Iterator[Any]:
        """Each row of a table, as `row` shows it; quicker than slicing it."""
        for index in range(table.num_rows):
            yield self.row(table.slice(index, 1))

    def feature(self, table: pa.Table, name: str) -> FeatureType:
        if self.features is not None and name in self.features:
            return self.features[name]
        metadata = table.schema.metadata
        key = (metadata and metadata.get(METADATA_KEY), table.column_names)
        if self._told is None or self._told[0] != key:
            self._told = key, Features.from_arrow_schema(table.schema)
            self._decoders.clear()
        return self._told[1][name]

    def decoder(self, table: pa.Table, name: str) -> Decoder | None:
        """What makes a stored value of a column what a user sees; None where they are the same."""
        feature = self.feature(table, name)
        if name not in self._decoders:
            self._decoders[name] = decoder(feature, self.tokens)
        return self._decoders[name]

    def decoded(self, table: pa.Table, name: str, values: Any) -> Any:
        """The values of a column, decoded; an error names the column and the row."""
        decode = self.decoder(table, name)
        if decode is None:
            return values
        out = []
        for index, value in enumerate(values):
            try:
                out.append(decode(value))
            except EnfoldError as error:
                if isinstance(error, ImportError):
                    raise
                where = f"Column {name!r}" + (f", row {index} of {len(values)}" if len(values) > 1 else "")
                raise type_of(error)(f"{where}: {error}") from error
        return out

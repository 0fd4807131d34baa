"""Arrow files, of the stream and of the file format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pyarrow as pa

from enfold.base.errors import DatasetError
from enfold.datasets.files import DataFile
from enfold.datasets.opening import Opened, contents
from enfold.datasets.readers.base import Reader


@dataclass(frozen=True, kw_only=True)
class ArrowReader(Reader):
    """Arrow record batches as they are; their schema (and the features noted in it) are the types."""

    extensions: ClassVar[tuple[str, ...]] = (".arrow",)

    def prepared(self, splits: Mapping[str, Sequence[DataFile]]) -> ArrowReader:
        if self.features is not None:
            return self
        from enfold.datasets.features import Features

        for files in splits.values():
            for file in files:
                for opened in contents(file, self.max_expansion):
                    schema, _ = _batches(opened)
                    return replace(self, features=Features.from_arrow_schema(schema))
        return self

    def read(self, opened: Opened) -> Iterator[pa.Table]:
        try:
            for batch in _batches(opened)[1]:
                batch.validate(full=True)
                if batch.num_rows:
                    yield self.fitted(pa.Table.from_batches([batch]))
        except (pa.ArrowInvalid, OSError) as error:
            raise DatasetError(f"{opened.name} is torn, or no Arrow file: {error}. Get it again.") from error


def _batches(opened: Opened) -> tuple[pa.Schema, Any]:
    source = opened.seekable()
    try:
        stream = pa.ipc.open_stream(source)
        return stream.schema, stream
    except (OSError, pa.ArrowInvalid):
        source.seek(0)
    try:
        file = pa.ipc.open_file(source)
    except (OSError, pa.ArrowInvalid) as error:
        raise DatasetError(f"{opened.name} is torn, or no Arrow file: {error}. Get it again.") from error
    return file.schema, (file.get_batch(index) for index in range(file.num_record_batches))

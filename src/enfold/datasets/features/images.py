"""`Image`: pictures in a column, as Pillow sees them."""

import io
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from enfold.base.errors import DatasetError
from enfold.base.lazy import require
from enfold.datasets.features.media import STORAGE, Media, content_of
from enfold.datasets.features.types import register_feature

# What Pillow makes a picture of without loss; |i1 is read as |u1, so it isn't here.
PICTURE_DTYPES = {np.dtype(name) for name in ("?", "u1", "<u2", ">u2", "<i2", ">i2", "<u4", ">u4", "<i4", ">i4")} | {
    np.dtype(name) for name in ("<f4", ">f4", "<f8", ">f8")
}


@dataclass
class Image(Media):
    """A picture per row: a `PIL.Image.Image`, an array `[height, width(, channels)]`, bytes of a file, or a path.

    Rows come back as `PIL.Image.Image`, turned as their EXIF data says.

    Args:
        mode: convert to this mode of Pillow ("RGB", "L", …); None: as the file is.
        decode: False gives `{"bytes": …, "path": …}` instead.
    """

    mode: str | None = None
    decode: bool = True
    id: str | None = field(default=None, repr=False)
    dtype: ClassVar[str] = "PIL.Image.Image"
    _type: str = field(default="Image", init=False, repr=False)

    def encode_example(self, value: Any) -> dict[str, Any]:
        return super().encode_example(np.array(value) if isinstance(value, list) else value)

    def encode_object(self, value: Any) -> dict[str, Any]:
        if is_picture(value):
            filename = getattr(value, "filename", "")
            return {"bytes": None, "path": filename} if filename else {"bytes": picture_bytes(value), "path": None}
        if hasattr(value, "__array__"):
            return {"bytes": picture_bytes(picture_of(np.asarray(value))), "path": None}
        return super().encode_object(value)

    def decode_example(self, value: Any, tokens: Mapping[str, Any] | None = None) -> Any:
        """Stored row → `PIL.Image.Image`; DatasetError for a torn file, or one that would fill the memory."""
        if not isinstance(value, Mapping):
            return value
        pillow = require("PIL.Image", extra="vision", purpose="Decoding images")
        content = content_of(value, tokens)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", pillow.DecompressionBombWarning)
                image = pillow.open(io.BytesIO(content))
                image.load()
                if image.getexif().get(pillow.ExifTags.Base.Orientation) is not None:
                    image = require("PIL.ImageOps", extra="vision", purpose="Turning images").exif_transpose(image)
                return image.convert(self.mode) if self.mode and self.mode != image.mode else image
        except (pillow.DecompressionBombWarning, pillow.DecompressionBombError) as error:
            raise DatasetError(
                f"the image {value.get('path') or ''} is refused as a decompression bomb ({error}): raise "
                "PIL.Image.MAX_IMAGE_PIXELS if it is meant to be that large"
            ) from error
        except (OSError, SyntaxError, ValueError) as error:
            raise DatasetError(f"the image {value.get('path') or ''} can't be decoded: {error}") from error

    def cast_values(self, array: pa.Array) -> pa.Array:
        if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type)):
            return super().cast_values(array)
        rows = [None if row is None else self.encode_example(row) for row in array.to_pylist()]
        return pa.array(rows, STORAGE)


def is_picture(value: Any) -> bool:
    """Whether this is a Pillow image; loads Pillow for nobody."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def picture_bytes(image: Any) -> bytes:
    """The picture as a file: of its own format where Pillow writes it, else PNG, or TIFF for what PNG can't hold."""
    pillow = require("PIL.Image", extra="vision", purpose="Encoding images")
    pillow.init()
    kind = image.format
    if kind not in pillow.OPEN or kind not in pillow.SAVE:
        kind = "PNG" if image.mode in ("1", "L", "LA", "RGB", "RGBA") else "TIFF"
    file = io.BytesIO()
    image.save(file, format=kind)
    return file.getvalue()


def picture_of(array: np.ndarray) -> Any:
    """An array `[height, width]` or `[height, width, channels]` as a Pillow image.

    Colours are bytes: wider integers are narrowed with a warning, others are refused.
    """
    pillow = require("PIL.Image", extra="vision", purpose="Encoding images")
    kind = array.dtype
    if array.ndim > 2:
        if kind.kind not in "ui":
            raise DatasetError(f"an array of {array.ndim} dimensions is a picture only in uint8, not in {kind}")
        target = np.dtype("u1")
    else:
        target = kind
        size = kind.itemsize
        while target not in PICTURE_DTYPES and size >= 1:
            order = "|" if size == 1 else kind.byteorder
            try:
                target = np.dtype(f"{order}{kind.kind}{size}")
            except TypeError:
                target = kind
            size //= 2
        if target not in PICTURE_DTYPES:
            raise DatasetError(f"an array of {kind} can't be made a picture")
    if target != kind:
        warnings.warn(f"An array of {kind} is narrowed to {target} to be a picture.", stacklevel=2)
    return pillow.fromarray(array.astype(target))


register_feature(Image, "Image")

"""Pictures as callers bring them: Pillow's, arrays, tensors, paths; one by one, in batches, in lists of lists."""

import base64
import binascii
import io
from pathlib import Path
from typing import Any, Literal

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require
from enfold.base.logging import get_logger
from enfold.processing.batch_feature import as_array

logger = get_logger(__name__)
Order = Literal["channels_first", "channels_last"]
ORDERS = ("channels_first", "channels_last")
CHANNELS = (1, 3, 4)


def pillow() -> Any:
    """Pillow's `Image` module."""
    return require("PIL.Image", extra="vision", purpose="Reading images")


def is_pillow(value: Any) -> bool:
    return isinstance(value, pillow().Image)


def flat(images: Any) -> list[Any]:
    """Every picture of a picture, a batch [B, …], or (nested) lists of them: Pillow images, and arrays [H, W(, C)].

    Raises:
        ArgumentError: what is no picture.
    """
    if isinstance(images, (list, tuple)):
        if not images:
            raise ArgumentError("images is empty; expected at least one")
        return [picture for part in images for picture in flat(part)]
    if isinstance(images, (str, Path)):
        return [opened(images)]
    if is_pillow(images):
        return [images]
    if not (hasattr(images, "__array__") or hasattr(images, "detach")):
        raise ArgumentError(
            f"an image is a {type(images).__name__}; expected a PIL image, a numpy array, a torch tensor, a path, or a "
            "list of these"
        )
    array = as_array(images)
    if array.ndim == 4:
        return list(array)
    if array.ndim not in (2, 3):
        raise ArgumentError(
            f"an image has shape {array.shape}; expected [height, width], three dimensions with the channels, or four "
            "with the batch"
        )
    return [array]


def opened(source: str | Path) -> Any:
    """The picture in a file, or in a `data:image/…;base64,…` text; upright, in RGB.

    Raises:
        ArgumentError: a URL, no such file, or one that Pillow can't read.
    """
    text = str(source)
    if text.startswith(("http://", "https://")):
        raise ArgumentError(
            f"the image {text[:200]!r} is a URL: nothing is downloaded here; download it, and pass its path"
        )
    file: Any = source
    if text.startswith("data:image/"):
        try:
            file = io.BytesIO(base64.b64decode(text.partition(",")[2], validate=True))
        except binascii.Error as error:
            raise ArgumentError(f"the image {text[:40]!r}… is no base64: {error}") from error
    elif not Path(text).is_file():
        raise ArgumentError(f"there is no image {text[:200]!r}; expected a path, or data:image/…;base64,…")
    ops = require("PIL.ImageOps", extra="vision", purpose="Turning images")
    try:
        with pillow().open(file) as image:
            return ops.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, pillow().DecompressionBombError) as error:
        raise ArgumentError(f"the image {text[:200]!r} can't be read: {error}") from error


def in_rgb(image: Any) -> Any:
    """A Pillow image in RGB; what shows through is white."""
    if image.mode == "RGB":
        return image
    if "A" in image.getbands() or image.info.get("transparency") is not None:
        image = image.convert("RGBA")
        white = pillow().new("RGBA", image.size, (255, 255, 255, 255))
        image = pillow().alpha_composite(white, image)
    return image.convert("RGB")


def order_of(array: np.ndarray, given: str | None = None) -> Order:
    """Where the channels of [?, ?, ?] stand.

    Raises:
        ArgumentError: neither the first nor the last dimension can be channels.
    """
    if given is not None:
        given = getattr(given, "value", given)
        if given not in ORDERS:
            raise ArgumentError(f"input_data_format={given!r}; expected one of {', '.join(ORDERS)}")
        return given  # type: ignore[return-value]
    first, last = array.shape[0] in CHANNELS, array.shape[-1] in CHANNELS
    if first and last:
        logger.warning(
            "An image has shape %s, and its channels may be first or last: took the first. Pass input_data_format to "
            "say so.",
            array.shape,
        )
    if not first and not last:
        raise ArgumentError(
            f"an image has shape {array.shape}, and neither its first nor its last dimension are {CHANNELS} channels: "
            "pass input_data_format='channels_first' or 'channels_last'"
        )
    return "channels_first" if first else "channels_last"


def as_channels_last(array: np.ndarray, order: str | None) -> np.ndarray:
    """[H, W], [C, H, W] or [H, W, C] → [H, W, C]."""
    if array.ndim == 2:
        return array[..., None]
    return np.moveaxis(array, 0, -1) if order_of(array, order) == "channels_first" else array


def array_in_rgb(array: np.ndarray) -> np.ndarray:
    """[H, W, C] of one, three or four channels → [H, W, 3]; what shows through the fourth is white.

    Raises:
        ArgumentError: another number of channels, or transparency beyond [0, 1].
    """
    if array.shape[-1] == 1:
        return np.repeat(array, 3, axis=-1)
    if array.shape[-1] == 4:
        floating = np.issubdtype(array.dtype, np.floating)
        if floating and (array.min() < 0 or array.max() > 1):
            raise ArgumentError("an image of four floating channels has values beyond [0, 1]; expected bytes, or those")
        if floating:
            alpha = array[..., 3:]
            return (array[..., :3] * alpha + (1 - alpha)).astype(array.dtype)
        return np.asarray(in_rgb(pillow().fromarray(np.ascontiguousarray(array.astype(np.uint8)))))
    if array.shape[-1] != 3:
        raise ArgumentError(f"an image has {array.shape[-1]} channels; expected 1, 3 or 4 to make RGB of")
    return array

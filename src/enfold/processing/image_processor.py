"""Pictures → pixel values: resize, crop, rescale, normalise, pad, each where the settings say so."""

from typing import Any, ClassVar

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.base.logging import get_logger
from enfold.processing.batch_feature import BatchFeature
from enfold.processing.pictures import (
    ORDERS,
    array_in_rgb,
    as_channels_last,
    flat,
    in_rgb,
    is_pillow,
    pillow,
)
from enfold.processing.settings import Settings
from enfold.processing.sizes import size_entries, target

logger = get_logger(__name__)
HALF = [0.5, 0.5, 0.5]
# Accepted because users pass them; pictures are made one by one, on the CPU.
WITHOUT_EFFECT = ("disable_grouping", "device")


class ImageProcessor(Settings):
    """Makes pixel values [B, C, H, W] of pictures, as the settings say; each setting can be another for one call.

    The steps, in their order: `do_convert_rgb`, `do_resize` (`size`, `resample`: Pillow's filters by number),
    `do_center_crop` (`crop_size`), `do_rescale` (`rescale_factor`), `do_normalize` (`image_mean`, `image_std`),
    `do_pad` (`pad_size`, or the largest of the batch).

    Class attributes of a family:
        defaults: its settings.
        square: whether a bare number is both edges, or the shorter one.
    """

    kind = "image_processor_type"
    part = "image_processor"
    model_input_names = ["pixel_values"]
    square: ClassVar[bool] = True
    common: ClassVar[dict[str, Any]] = {
        "do_convert_rgb": None,
        "do_resize": None,
        "size": None,
        "resample": 2,
        "do_center_crop": None,
        "crop_size": None,
        "do_rescale": None,
        "rescale_factor": 1 / 255,
        "do_normalize": None,
        "image_mean": None,
        "image_std": None,
        "do_pad": None,
        "pad_size": None,
        "default_to_square": None,
        "data_format": "channels_first",
        "input_data_format": None,
    }

    def __init__(self, **entries: Any):
        super().__init__(**entries)
        for name in ("size", "crop_size", "pad_size"):  # fresh settings are written as the reference writes them
            if self.entries.get(name) is not None:
                self.entries[name] = size_entries(self.entries[name], square=self._square(name), name=name)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in ImageProcessor.common:
                return ImageProcessor.common[name]
            raise

    def _square(self, name: str) -> bool:
        chosen = self.entries.get("default_to_square")
        return name != "size" or (self.square if chosen is None else bool(chosen))

    def __call__(self, images: Any, **options: Any) -> BatchFeature:
        """`preprocess`."""
        return self.preprocess(images, **options)

    def preprocess(self, images: Any, return_tensors: Any = None, **options: Any) -> BatchFeature:
        """Pixel values of pictures.

        Args:
            images: one, a batch, or lists: PIL images, arrays or tensors (channels first or last), paths. Numbers are
                0 … 255, or, where they are fractions, 0 … 1.
            return_tensors: "pt" or "np"; None: a list of arrays [C, H, W].
            options: settings that differ for this call; `input_data_format`, `data_format`.

        Raises:
            ArgumentError: what is no picture, an unknown option, or settings that contradict each other.
        """
        for name in options.keys() - self.common.keys() - set(WITHOUT_EFFECT):
            raise ArgumentError(f"{type(self).__name__} has no option {name!r}; it has {', '.join(self.common)}")
        chosen = {name: options[name] if options.get(name) is not None else getattr(self, name) for name in self.common}
        for name in ("size", "crop_size", "pad_size"):
            if chosen[name] is not None:
                chosen[name] = size_entries(chosen[name], square=self._square(name), name=name)
        for flag, needed in (
            ("do_resize", "size"),
            ("do_center_crop", "crop_size"),
            ("do_rescale", "rescale_factor"),
            ("do_normalize", "image_mean"),
            ("do_normalize", "image_std"),
        ):
            if chosen[flag] and chosen[needed] is None:
                raise ArgumentError(f"{flag}=True needs {needed}")
        order = getattr(chosen["data_format"], "value", chosen["data_format"])
        if order not in ORDERS:
            raise ArgumentError(f"data_format={order!r}; expected one of {', '.join(ORDERS)}")
        made = [self.one(picture, chosen) for picture in flat(images)]
        if chosen["do_pad"]:
            made = padded(made, chosen["pad_size"])
        if order == "channels_first":
            made = [array.transpose(2, 0, 1) for array in made]
        return BatchFeature({"pixel_values": made}, tensor_type=return_tensors)

    def one(self, picture: Any, chosen: dict[str, Any]) -> np.ndarray:
        """A picture as [H, W, C]; padding comes once all are there."""
        picture = with_channels(picture, chosen)
        if chosen["do_resize"]:
            picture = resized(picture, chosen["size"], chosen["resample"])
        array = np.asarray(picture)
        array = array[..., None] if array.ndim == 2 else array
        if chosen["do_center_crop"]:
            array = center_cropped(array, chosen["crop_size"])
        mean, deviation = (chosen[name] if chosen["do_normalize"] else None for name in ("image_mean", "image_std"))
        return scaled(array, chosen["rescale_factor"] if chosen["do_rescale"] else None, mean, deviation)


def with_channels(picture: Any, chosen: dict[str, Any]) -> Any:
    """A Pillow image, or [H, W, C], in RGB where that is asked for or needed."""
    mean = chosen["image_mean"] if chosen["do_normalize"] else None
    wanted = len(mean) if isinstance(mean, (list, tuple)) else None
    if is_pillow(picture):
        bands = 1 if picture.mode == "P" else len(picture.getbands())
        if chosen["do_convert_rgb"] or (wanted == 3 and picture.mode != "RGB"):
            return in_rgb(picture)
        return picture.convert("L") if wanted == 1 and (bands != 1 or picture.mode == "P") else picture
    array = as_channels_last(picture, chosen["input_data_format"])
    if chosen["do_convert_rgb"] or (wanted == 3 and array.shape[-1] in (1, 4)):
        array = array_in_rgb(array)
    if wanted is not None and array.shape[-1] != wanted:
        raise ArgumentError(
            f"an image has {array.shape[-1]} channels, and image_mean {wanted} numbers: one a channel is expected"
        )
    fractions = array.dtype != np.uint8 and array.size and array.min() >= 0 and array.max() <= 1
    if chosen["do_rescale"] and fractions:
        logger.warning("An image holds numbers between 0 and 1 and is rescaled again: pass do_rescale=False.")
    return array


def resized(picture: Any, size: dict[str, int], resample: Any) -> Any:
    """A Pillow image, or [H, W, C], in another size by Pillow's filters, in bytes: fractions are widened for it.

    Raises:
        ArgumentError: numbers beyond bytes and fractions.
    """
    filters = int(getattr(resample, "value", resample))
    if is_pillow(picture):
        height, width = target(size, picture.height, picture.width)
        return picture.resize((width, height), filters)
    height, width = target(size, *picture.shape[:2])
    fractions = False
    if picture.dtype != np.uint8:
        whole = np.allclose(picture, picture.astype(int))
        low, high = picture.min(), picture.max()
        fractions = not whole
        if low < 0 or high > (255 if whole else 1):
            raise ArgumentError(
                f"an image holds numbers from {low} to {high}; expected 0 … 255, or fractions 0 … 1, to be resized"
            )
        picture = (picture.astype(np.float64) * 255).astype(np.float32) if fractions else picture
        picture = picture.astype(np.uint8)
    image = pillow().fromarray(picture[..., 0] if picture.shape[-1] == 1 else np.ascontiguousarray(picture))
    array = np.asarray(image.resize((width, height), filters))
    array = array[..., None] if array.ndim == 2 else array
    return (array.astype(np.float64) / 255).astype(np.float32) if fractions else array


def center_cropped(array: np.ndarray, size: dict[str, int]) -> np.ndarray:
    """The middle of [H, W, C]; where that is smaller, zeros around it."""
    if "height" not in size:
        raise ArgumentError(f"crop_size={size}; expected height and width")
    for axis, wanted in ((0, size["height"]), (1, size["width"])):
        missing = wanted - array.shape[axis]
        if missing > 0:
            around = [(0, 0)] * array.ndim
            around[axis] = (-(-missing // 2), missing // 2)
            array = np.pad(array, around)
        else:
            array = array.take(range(start := -missing // 2, start + wanted), axis=axis)
    return array


def scaled(array: np.ndarray, factor: float | None, mean: Any, deviation: Any) -> np.ndarray:
    """`(factor · x − mean) / deviation` of [H, W, C] in float32, by channel; None leaves a step out."""
    if factor is None and mean is None:
        return array
    if array.dtype == np.uint8:  # 256 numbers a channel are computed once
        channels = array.shape[-1]
        table = np.repeat(np.arange(256, dtype=np.uint8)[:, None], channels, axis=1)
        table = _scaled(table, factor, mean, deviation)
        return np.stack([table[:, channel][array[..., channel]] for channel in range(channels)], axis=-1)
    return _scaled(array, factor, mean, deviation)


def _scaled(array: np.ndarray, factor: float | None, mean: Any, deviation: Any) -> np.ndarray:
    if factor is not None:
        array = (array.astype(np.float64) * factor).astype(np.float32)
    if mean is None:
        return array
    array = array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float32)
    return (array - np.asarray(mean, dtype=array.dtype)) / np.asarray(deviation, dtype=array.dtype)


def padded(arrays: list[np.ndarray], size: dict[str, int] | None) -> list[np.ndarray]:
    """Zeros below and to the right of [H, W, C], up to a size or the largest of all.

    Raises:
        ArgumentError: a picture is larger than the size.
    """
    height = size["height"] if size else max(len(array) for array in arrays)
    width = size["width"] if size else max(array.shape[1] for array in arrays)
    made = []
    for array in arrays:
        below, right = height - array.shape[0], width - array.shape[1]
        if below < 0 or right < 0:
            raise ArgumentError(f"an image is {array.shape[:2]}, larger than pad_size {(height, width)}")
        made.append(np.pad(array, ((0, below), (0, right), (0, 0))))
    return made

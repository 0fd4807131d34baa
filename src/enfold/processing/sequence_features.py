"""Sounds of unequal lengths → batches: cut, padded, with the mask that says what is there."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.processing.batch_feature import BatchFeature, as_array
from enfold.processing.settings import Settings

STRATEGIES = ("longest", "max_length", "do_not_pad")


class FeatureExtractor(Settings):
    """Makes features of sounds, as the settings say; padding is `padding_value`."""

    kind = "feature_extractor_type"
    part = "feature_extractor"
    model_input_names = ["input_values", "attention_mask"]

    def pad(
        self,
        processed_features: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        truncation: bool = False,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: Any = None,
    ) -> BatchFeature:
        """Rows of features made equally long.

        Args:
            processed_features: rows `{"input_values": [S]}`, or a dictionary of lists of them.
            padding: True or "longest", "max_length" (then `max_length`), False.
            max_length: times a row, for padding and truncation.
            truncation: cut what is longer.
            pad_to_multiple_of: lengths become multiples of it.
            return_attention_mask: also [B, S], 1 where there is something; default: as the settings say.
            return_tensors: "pt" or "np"; None: a list of arrays.

        Raises:
            ArgumentError: rows without features, or lengths that are needed and not given.
        """
        name = self.model_input_names[0]
        strategy = padding_strategy(padding, max_length)
        if isinstance(processed_features, (list, tuple)):
            if not processed_features:
                raise ArgumentError("there are no rows to pad")
            processed_features = {key: [row[key] for row in processed_features] for key in processed_features[0]}
        if not isinstance(processed_features, (Mapping, BatchFeature)) or name not in processed_features:
            held = list(processed_features) if isinstance(processed_features, Mapping) else type(processed_features)
            raise ArgumentError(f"rows to pad need {name!r}; they have {held}")
        rows = [as_float32(row) for row in processed_features[name]]
        given = processed_features.get("attention_mask")
        masks = [np.ones(len(row), dtype=np.int32) for row in rows]
        if given is not None:
            masks = [as_array(mask) for mask in given]
        if truncation:
            if max_length is None:
                raise ArgumentError("truncation=True needs max_length")
            most = multiple(max_length, pad_to_multiple_of)
            rows, masks = ([part[:most] for part in parts] for parts in (rows, masks))
        length = None
        if strategy == "longest":
            length = multiple(max(map(len, rows)), pad_to_multiple_of)
        elif strategy == "max_length":
            assert max_length is not None
            length = multiple(max_length, pad_to_multiple_of)
        if length is not None:
            rows = [self._filled(row, length, self.padding_value) for row in rows]
            masks = [self._filled(mask, length, 0) for mask in masks]
        made: dict[str, Any] = {name: rows}
        wanted = self.return_attention_mask if return_attention_mask is None else return_attention_mask
        if wanted or given is not None:
            made["attention_mask"] = masks
        return BatchFeature(made, tensor_type=return_tensors)

    def _filled(self, row: np.ndarray, length: int, value: float) -> np.ndarray:
        missing = max(length - len(row), 0)
        if self.padding_side not in ("left", "right"):
            raise ArgumentError(f"padding_side={self.padding_side!r}; expected 'left' or 'right'")
        around = [(missing, 0) if self.padding_side == "left" else (0, missing)]
        return np.pad(row, around + [(0, 0)] * (row.ndim - 1), constant_values=value)


def padding_strategy(padding: Any, max_length: int | None) -> str:
    """One of `STRATEGIES`.

    Raises:
        ArgumentError: another, or "max_length" without one.
    """
    padding = getattr(padding, "value", padding)
    chosen = {True: "longest", False: "do_not_pad", None: "do_not_pad"}.get(padding, padding)
    if chosen not in STRATEGIES:
        raise ArgumentError(f"padding={padding!r}; expected True, False or one of {', '.join(STRATEGIES)}")
    if chosen == "max_length" and max_length is None:
        raise ArgumentError("padding='max_length' needs max_length")
    return chosen


def multiple(length: int, of: int | None) -> int:
    """The next multiple."""
    return -(-length // of) * of if of else length


def as_float32(row: Any) -> np.ndarray:
    """A row of numbers; doubles are narrowed."""
    array = as_array(row)
    return array.astype(np.float32) if array.dtype in (np.float64, np.dtype(int)) else array


def waves(sounds: Any, rate: int) -> list[np.ndarray]:
    """Waveforms [S] of one sound or several: arrays, tensors, lists of numbers, or sounds of a data set.

    Raises:
        ArgumentError: another rate, several channels, or what is no sound.
    """
    if isinstance(sounds, (str, bytes)):
        raise ArgumentError(
            "a sound is a path or bytes; expected samples: read it first, for example with soundfile.read"
        )
    if tells_rate(sounds):
        if sounds["sampling_rate"] != rate:
            raise wrong_rate(sounds["sampling_rate"], rate)
        return [np.asarray(sounds["array"])]
    several = isinstance(sounds, (list, tuple)) and len(sounds) and not np.isscalar(sounds[0])
    if several and getattr(sounds[0], "ndim", 1) > 0:
        return [wave for sound in sounds for wave in waves(sound, rate)]
    array = as_array(sounds)
    if array.ndim not in (1, 2) or array.dtype.kind not in "fiu":
        raise ArgumentError(f"a sound is {array.dtype}{array.shape}; expected samples [S] of one channel, or [B, S]")
    return [array] if array.ndim == 1 else list(array)


def tells_rate(sound: Any) -> bool:
    """Whether this is a sound of a data set, which knows its rate."""
    return isinstance(sound, Mapping) or hasattr(sound, "get_all_samples")


def wrong_rate(given: int, wanted: int) -> ArgumentError:
    return ArgumentError(
        f"the sound has {given} samples a second, and the model was trained on {wanted}: resample it first "
        f"(dataset.cast_column('audio', Audio(sampling_rate={wanted})))"
    )

"""Wav2Vec2's feature extractor (waveforms of zero mean and unit variance) and processor."""

from typing import Any

import numpy as np

from enfold.base.logging import get_logger
from enfold.processing.batch_feature import BatchFeature
from enfold.processing.processor import Processor
from enfold.processing.sequence_features import FeatureExtractor, padding_strategy, tells_rate, waves, wrong_rate

logger = get_logger(__name__)


class Wav2Vec2FeatureExtractor(FeatureExtractor):
    """Waveforms as Wav2Vec2 and its kin read them.

    Models of `feat_extract_norm="group"` were trained without `attention_mask`: they read zeros as silence.
    """

    defaults = {
        "feature_size": 1,
        "sampling_rate": 16000,
        "padding_value": 0.0,
        "padding_side": "right",
        "return_attention_mask": False,
        "do_normalize": True,
    }

    def __call__(
        self,
        raw_speech: Any,
        padding: bool | str = False,
        max_length: int | None = None,
        truncation: bool = False,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: Any = None,
        sampling_rate: int | None = None,
    ) -> BatchFeature:
        """`input_values` of sounds.

        Args:
            raw_speech: samples [S], a batch [B, S], a list of sounds, or a sound of a data set (`row["audio"]`).
            sampling_rate: of the sounds, in hertz; another than the model's is refused.
            padding, max_length, truncation, pad_to_multiple_of, return_attention_mask, return_tensors: as of `pad`.

        Raises:
            ArgumentError: another rate, or several channels.
        """
        if sampling_rate is not None and sampling_rate != self.sampling_rate:
            raise wrong_rate(sampling_rate, self.sampling_rate)
        first = raw_speech[0] if isinstance(raw_speech, (list, tuple)) and raw_speech else raw_speech
        if sampling_rate is None and not tells_rate(first):
            logger.warning("sampling_rate was not given: samples are taken to be at %s hertz", self.sampling_rate)
        made = self.pad(
            {"input_values": waves(raw_speech, self.sampling_rate)},
            padding=padding,
            max_length=max_length,
            truncation=truncation,
            pad_to_multiple_of=pad_to_multiple_of,
            return_attention_mask=return_attention_mask,
        )
        if self.do_normalize:
            padded = padding_strategy(padding, max_length) != "do_not_pad"
            masks = made.get("attention_mask") if padded else None
            made["input_values"] = [
                normed(wave, None if masks is None else masks[number], self.padding_value)
                for number, wave in enumerate(made["input_values"])
            ]
        return made.convert_to_tensors(return_tensors)


def normed(wave: np.ndarray, mask: np.ndarray | None, padding: float) -> np.ndarray:
    """Zero mean and unit variance [S]; where a mask says what is there, of that alone."""
    wave = wave if wave.dtype.kind == "f" else wave.astype(np.float32)
    length = len(wave) if mask is None else int(mask.sum())
    real = wave[:length]
    made = (wave - real.mean()) / np.sqrt(real.var() + 1e-7)
    made[length:] = padding
    return made


class Wav2Vec2Processor(Processor):
    """A feature extractor for sounds and a tokenizer for what is said in them."""

"""`Audio`: sounds in a column, read by libsndfile (wav, flac, ogg, mp3, …)."""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from enfold.base.errors import ArgumentError, DatasetError, NotBuiltError
from enfold.base.lazy import require
from enfold.datasets.features.media import STORAGE, Media, content_of
from enfold.datasets.features.types import register_feature

MAX_SAMPLES = 2**29
"""Samples of all channels together that one sound may unpack to: 2 GiB of float32."""


@dataclass(frozen=True)
class AudioSamples:
    """A stretch of sound: `data` is a float32 tensor [channels, samples], times are in seconds."""

    data: Any
    pts_seconds: float
    duration_seconds: float
    sample_rate: int


@dataclass(frozen=True)
class AudioMetadata:
    """What is known of a sound: its own rate and channels, not those it is converted to."""

    sample_rate: int
    num_channels: int
    num_frames: int
    path: str | None

    @property
    def duration_seconds(self) -> float:
        return self.num_frames / self.sample_rate


class AudioDecoder:
    """A sound that is unpacked when somebody asks for samples.

    `sound["array"]` is one float32 channel (the mean where there are several), `sound["sampling_rate"]` and
    `sound["path"]` say what the names say; `get_all_samples()` and `get_samples_played_in_range(start, stop)` give
    tensors of all channels.

    Args:
        content: the bytes of a file.
        path: where it came from, for messages and `["path"]`.
        sampling_rate: resample to this, in hertz.
        num_channels: convert to this many channels.
        stored: what the row holds, so that storing the sound again costs nothing.
    """

    def __init__(
        self,
        content: bytes,
        *,
        path: str | None = None,
        sampling_rate: int | None = None,
        num_channels: int | None = None,
        stored: Mapping[str, Any] | None = None,
    ):
        self._content, self._path, self._rate, self._channels = content, path, sampling_rate, num_channels
        self._stored = stored
        self._samples: np.ndarray | None = None
        soundfile = require("soundfile", extra="audio", purpose="Decoding audio")
        try:
            with soundfile.SoundFile(io.BytesIO(content)) as file:
                self.metadata = AudioMetadata(file.samplerate, file.channels, file.frames, path)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise DatasetError(f"the audio {path or ''} can't be decoded: {error}") from error
        if self.metadata.num_frames * self.metadata.num_channels > MAX_SAMPLES:
            raise DatasetError(
                f"the audio {path or ''} unpacks to {self.metadata.num_frames} samples of {self.metadata.num_channels} "
                f"channels, more than the {MAX_SAMPLES} allowed (features.sounds.MAX_SAMPLES)"
            )

    @property
    def sampling_rate(self) -> int:
        return self._rate or self.metadata.sample_rate

    def samples(self) -> np.ndarray:
        """float32 [channels, samples] at the rate and channels asked for."""
        if self._samples is None:
            soundfile = require("soundfile", extra="audio", purpose="Decoding audio")
            try:
                data, rate = soundfile.read(io.BytesIO(self._content), dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, RuntimeError) as error:
                raise DatasetError(f"the audio {self._path or ''} can't be decoded: {error}") from error
            data = channels_as(np.ascontiguousarray(data.T), self._channels)
            self._samples = resample(data, rate, self.sampling_rate)
        return self._samples

    def get_all_samples(self) -> AudioSamples:
        return self.get_samples_played_in_range(0.0, None)

    def get_samples_played_in_range(
        self, start_seconds: float = 0.0, stop_seconds: float | None = None
    ) -> AudioSamples:
        """The samples whose time lies in [start, stop)."""
        torch = require("torch", extra="torch", purpose="Samples as tensors")
        data, rate = self.samples(), self.sampling_rate
        first = math.ceil(start_seconds * rate)
        last = data.shape[1] if stop_seconds is None else min(data.shape[1], math.ceil(stop_seconds * rate))
        part = data[:, first : max(first, last)]
        return AudioSamples(torch.from_numpy(part.copy()), first / rate, part.shape[1] / rate, rate)

    def __getitem__(self, key: str) -> Any:
        if key == "array":
            data = self.samples()
            return data[0] if len(data) == 1 else data.mean(axis=0)
        if key == "sampling_rate":
            return self.sampling_rate
        if key == "path":
            return self._path
        raise KeyError(f"A sound has 'array', 'sampling_rate' and 'path', not {key!r}.")

    def keys(self) -> list[str]:
        return ["path", "array", "sampling_rate"]

    def encoded(self) -> dict[str, Any]:
        """What a row stores of this sound."""
        if self._stored is not None:
            return dict(self._stored)
        return {"bytes": self._content, "path": self._path}

    def __repr__(self):
        seconds = self.metadata.duration_seconds
        return f"AudioDecoder(path={self._path!r}, sampling_rate={self.sampling_rate}, seconds={seconds:.3f})"


@dataclass
class Audio(Media):
    """A sound per row: `{"array": [samples] or [channels, samples], "sampling_rate": hertz}`, bytes of a file, a path.

    Rows come back as `AudioDecoder`.

    Args:
        sampling_rate: resample to this, in hertz; None: as the file is.
        decode: False gives `{"bytes": …, "path": …}` instead.
        num_channels: convert to this many; None: as the file is.
        stream_index: which stream of a file; libsndfile knows files of one.
    """

    sampling_rate: int | None = None
    decode: bool = True
    num_channels: int | None = None
    stream_index: int | None = None
    id: str | None = field(default=None, repr=False)
    dtype: ClassVar[str] = "dict"
    _type: str = field(default="Audio", init=False, repr=False)

    def encode_example(self, value: Any) -> dict[str, Any]:
        if isinstance(value, Mapping) and value.get("array") is not None:
            rate = value.get("sampling_rate")
            if rate is None:
                raise DatasetError("an audio array needs its 'sampling_rate'")
            return {"bytes": wav_bytes(np.asarray(value["array"]), int(rate)), "path": None}
        if isinstance(value, Mapping) and str(value.get("path") or "").endswith("pcm"):
            return self._encode_pcm(value)
        return super().encode_example(value)

    def _encode_pcm(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Bare 16-bit samples: nothing but the row says how fast they are to be played."""
        rate = value.get("sampling_rate")
        if rate is None:
            raise DatasetError("a .pcm file says nothing of its rate: give 'sampling_rate' beside 'path'")
        samples = np.frombuffer(content_of(value), dtype="<i2").astype(np.float32) / 32767
        return {"bytes": wav_bytes(samples, int(rate)), "path": None}

    def encode_object(self, value: Any) -> dict[str, Any]:
        if isinstance(value, AudioDecoder):
            return value.encoded()
        if hasattr(value, "get_all_samples"):
            samples = value.get_all_samples()
            return {"bytes": wav_bytes(np.asarray(samples.data), int(samples.sample_rate)), "path": None}
        return super().encode_object(value)

    def decode_example(self, value: Any, tokens: Mapping[str, Any] | None = None) -> Any:
        if not isinstance(value, Mapping):
            return value
        if self.stream_index:
            raise NotBuiltError(f"Audio(stream_index={self.stream_index}) is not built: files of one stream are read.")
        return AudioDecoder(
            content_of(value, tokens),
            path=value.get("path"),
            sampling_rate=self.sampling_rate,
            num_channels=self.num_channels,
            stored=value,
        )

    def flatten(self) -> Any:
        if self.decode:
            raise DatasetError("A column of decoded audio can't be flattened: cast it to Audio(decode=False) first.")
        return super().flatten()

    def cast_storage(self, array: pa.Array) -> pa.Array:
        if pa.types.is_struct(array.type) and array.type.get_field_index("array") >= 0:
            rows = [None if row is None else self.encode_example(row) for row in array.to_pylist()]
            return pa.array(rows, STORAGE)
        return super().cast_storage(array)


def wav_bytes(samples: np.ndarray, rate: int) -> bytes:
    """`[samples]` or `[channels, samples]` as a WAV file of float32: what goes in comes out."""
    soundfile = require("soundfile", extra="audio", purpose="Encoding audio")
    if samples.ndim > 2 or samples.dtype.kind not in "fiu":
        raise DatasetError(f"an audio array is [samples] or [channels, samples], not {samples.dtype}{samples.shape}")
    file = io.BytesIO()
    soundfile.write(file, samples.astype(np.float32).T, rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def channels_as(samples: np.ndarray, channels: int | None) -> np.ndarray:
    """[channels, samples] with as many channels as asked for: one is their mean, several are copies of one."""
    if channels is None or channels == len(samples):
        return samples
    if channels == 1:
        return samples.mean(axis=0, keepdims=True)
    if len(samples) == 1:
        return np.repeat(samples, channels, axis=0)
    raise ArgumentError(f"A sound of {len(samples)} channels can be made 1 channel, not {channels}.")


def resample(samples: np.ndarray, rate: int, target: int) -> np.ndarray:
    """[channels, samples] at another rate, by a polyphase filter (Kaiser window) of SciPy."""
    if rate == target:
        return samples
    signal = require("scipy.signal", extra="audio", purpose="Resampling audio")
    common = math.gcd(rate, target)
    return signal.resample_poly(samples, target // common, rate // common, axis=-1).astype(np.float32)


register_feature(Audio, "Audio")

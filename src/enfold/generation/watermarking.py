"""Watermarks of text (Kirchenbauer et al. 2023): a token's predecessors choose a green list, whose scores are raised.

What a key chooses is the same as in the reference library, so that either one's detector reads the other's marks.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.generation.processors import LogitsProcessor
from enfold.generation.synthid import SynthIDTextWatermarkingConfig

TABLE = 1_000_003  # entries of the table that "selfhash" looks tokens up in
CANDIDATES = 40  # likeliest tokens that "selfhash" tries


@dataclass(frozen=True)
class WatermarkingConfig:
    """How text is marked.

    Attributes:
        greenlist_ratio: part of the vocabulary that is green.
        bias: what is added to the scores of green tokens.
        hashing_key: the secret.
        seeding_scheme: "lefthash" (the token before chooses; algorithm 2) or "selfhash" (the token itself and those
            before; algorithm 3).
        context_width: tokens that choose, for "selfhash".
    """

    greenlist_ratio: float = 0.25
    bias: float = 2.0
    hashing_key: int = 15485863
    seeding_scheme: str = "lefthash"
    context_width: int = 1

    def __post_init__(self) -> None:
        self.validate()

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any], **options: Any) -> "WatermarkingConfig":
        """From entries of a file.

        Raises:
            ArgumentError: an unknown one.
        """
        entries = {**entries, **options}
        unknown = entries.keys() - {*cls.__dataclass_fields__, "watermarking_type"}
        if unknown:
            raise ArgumentError(f"watermarking_config has unknown entries {sorted(unknown)}")
        return cls(**{name: value for name, value in entries.items() if name in cls.__dataclass_fields__})

    def to_dict(self) -> dict[str, Any]:
        """Entries for a file."""
        return asdict(self)

    def validate(self) -> None:
        """Check the values.

        Raises:
            ArgumentError: one is out of its range.
        """
        if self.seeding_scheme not in ("lefthash", "selfhash"):
            raise ArgumentError(f"seeding_scheme is {self.seeding_scheme!r}; expected 'lefthash' or 'selfhash'")
        if not 0 < self.greenlist_ratio < 1:
            raise ArgumentError(f"greenlist_ratio is {self.greenlist_ratio}; expected a fraction between 0 and 1")
        if self.context_width < 1:
            raise ArgumentError(f"context_width is {self.context_width}; expected at least 1")

    def construct_processor(self, vocab_size: int, device: Any) -> "WatermarkLogitsProcessor":
        """The step that marks."""
        return WatermarkLogitsProcessor(vocab_size, device, **self.to_dict())


def as_watermarking(given: Any) -> WatermarkingConfig | SynthIDTextWatermarkingConfig:
    """The configuration that was given, or made of its entries: those of SynthID have keys.

    Raises:
        ArgumentError: something else.
    """
    if isinstance(given, Mapping):
        return (SynthIDTextWatermarkingConfig if "keys" in given else WatermarkingConfig).from_dict(given)
    if not isinstance(given, WatermarkingConfig | SynthIDTextWatermarkingConfig):
        raise ArgumentError(
            f"watermarking_config is a {type(given).__name__}; expected a WatermarkingConfig or a "
            "SynthIDTextWatermarkingConfig"
        )
    return given


class WatermarkLogitsProcessor(LogitsProcessor):
    """Raises the scores of green tokens; arguments as of `WatermarkingConfig`."""

    def __init__(
        self,
        vocab_size: int,
        device: Any,
        greenlist_ratio: float = 0.25,
        bias: float = 2.0,
        hashing_key: int = 15485863,
        seeding_scheme: str = "lefthash",
        context_width: int = 1,
    ):
        WatermarkingConfig(greenlist_ratio, bias, hashing_key, seeding_scheme, context_width)  # checks the values
        self.vocabulary, self.size = vocab_size, int(vocab_size * greenlist_ratio)
        self.bias, self.key, self.scheme, self.width = bias, hashing_key, seeding_scheme, context_width
        self.generator = torch.Generator(device).manual_seed(hashing_key)
        self.table = torch.randperm(TABLE, generator=self.generator, device=device) if self._self else None

    @property
    def _self(self) -> bool:
        return self.scheme == "selfhash"

    def green(self, before: Tensor) -> Tensor:
        """Green tokens behind these ones [T]; with "selfhash" the last of them is the one in question."""
        recent = before[-self.width :]
        if self.table is not None:
            hashed = self.table[recent % TABLE] + 1
            seed = int((self.key * hashed * hashed[-1]).min())
        else:
            seed = self.key * int(recent[-1])
        self.generator.manual_seed(seed % (2**64 - 1))
        return torch.randperm(self.vocabulary, generator=self.generator, device=before.device)[: self.size]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if input_ids.shape[1] < self.width:
            return scores
        scores = scores.clone()
        for row, before in enumerate(input_ids):
            green = self._own(before, scores[row]) if self._self else self.green(before)
            green = green[green < scores.shape[1]]
            scores[row, green] += self.bias
        return scores

    def _own(self, before: Tensor, scores: Tensor) -> Tensor:
        """The likeliest tokens that are in the green list they choose themselves."""
        likely = scores.sort(descending=True).indices[:CANDIDATES]
        kept = [token for token in likely if bool((self.green(torch.cat([before, token[None]])) == token).any())]
        return torch.stack(kept) if kept else likely[:0]


@dataclass
class WatermarkDetectorOutput:
    """What a detector says of each text: arrays [B].

    Attributes:
        num_tokens_scored, num_green_tokens, green_fraction: what was counted.
        z_score: how many standard deviations that is above chance; `p_value` of it, `confidence` 1 − p.
        prediction: whether the text is marked.
    """

    num_tokens_scored: np.ndarray
    num_green_tokens: np.ndarray
    green_fraction: np.ndarray
    z_score: np.ndarray
    p_value: np.ndarray
    prediction: np.ndarray
    confidence: np.ndarray


class WatermarkDetector:
    """Tells whether texts carry a watermark (Kirchenbauer et al. 2023, eq. 3).

    Args:
        model_config: of the model that wrote: its vocabulary and its first token.
        watermarking_config: how it marks.
        ignore_repeated_ngrams: count each n-gram once.
    """

    def __init__(
        self,
        model_config: Any,
        device: Any,
        watermarking_config: WatermarkingConfig | Mapping[str, Any],
        ignore_repeated_ngrams: bool = False,
        max_cache_size: int = 128,
    ):
        marking = as_watermarking(watermarking_config)
        if not isinstance(marking, WatermarkingConfig):
            raise ArgumentError(
                "a SynthID watermark is read by SynthIDTextWatermarkDetector; this one counts green lists"
            )
        first = "decoder_start_token_id" if model_config.is_encoder_decoder else "bos_token_id"
        self.first = getattr(model_config, first, None)
        self.marking, self.once, self.device = marking, ignore_repeated_ngrams, device
        self.processor = marking.construct_processor(model_config.vocab_size, device)

    def __call__(
        self, input_ids: Tensor, z_threshold: float = 3.0, return_dict: bool = False
    ) -> WatermarkDetectorOutput | np.ndarray:
        """Whether each text [B, T] is marked, or all that was counted.

        Raises:
            ArgumentError: texts too short, or only some of which begin with the first token.
        """
        begun = input_ids[:, 0] == self.first if self.first is not None else torch.zeros(len(input_ids)).bool()
        if begun.any() != begun.all():
            raise ArgumentError(f"some texts begin with token {self.first} and some don't: tokenize them alike")
        if begun.any():
            input_ids = input_ids[:, 1:]
        if input_ids.shape[1] <= self.marking.context_width:
            raise ArgumentError(
                f"the texts have {input_ids.shape[1]} tokens; expected more than the context_width of "
                f"{self.marking.context_width}"
            )
        counted = [self._count(row) for row in input_ids.tolist()]
        scored, green = (np.array(column, dtype=np.float64) for column in zip(*counted, strict=True))
        ratio = self.marking.greenlist_ratio
        z = (green - ratio * scored) / np.sqrt(scored * ratio * (1 - ratio))
        if not return_dict:
            return z > z_threshold
        p = 0.5 * torch.special.erfc(torch.from_numpy(z / np.sqrt(2))).numpy()
        return WatermarkDetectorOutput(scored, green, green / scored, z, p, z > z_threshold, 1 - p)

    def _count(self, row: list[int]) -> tuple[int, int]:
        """Tokens that were looked at, and those of them that are green."""
        own = self.marking.seeding_scheme == "selfhash"
        size = self.marking.context_width + (not own)
        ngrams = Counter(tuple(row[start : start + size]) for start in range(len(row) - size + 1))
        green = 0
        for ngram, times in ngrams.items():
            before = torch.tensor(ngram if own else ngram[:-1], device=self.device)
            if bool((self.processor.green(before) == ngram[-1]).any()):
                green += 1 if self.once else times
        return (len(ngrams) if self.once else ngrams.total()), green

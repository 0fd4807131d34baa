"""SynthID's watermark of text (Dathathri et al. 2024): a tournament between tokens that keys score, layer by layer.

Each key and the tokens before a candidate give it a value g of 0 or 1; a layer moves probability to those with 1 and
leaves what is expected as it is. What keys choose is the same as in the reference library.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.generation.processors import LogitsProcessor

# A linear congruential generator modulo 2^64 (Knuth's MMIX has the same multiplier) serves as the hash.
MULTIPLIER, INCREMENT = 6364136223846793005, 1
LARGEST_TABLE = 2**24


@dataclass(frozen=True)
class SynthIDTextWatermarkingConfig:
    """How text is marked.

    Attributes:
        ngram_len: a token and those before it that choose, together.
        keys: the secret: one number for each layer of the tournament.
        context_history_size: contexts that are remembered; one met again isn't marked again.
        sampling_table_seed, sampling_table_size: of the table of random bits that hashes are looked up in.
        skip_first_ngram_calls: leave the first `ngram_len − 1` tokens unmarked.
        debug_mode: mark a uniform distribution instead of the model's.
    """

    ngram_len: int
    keys: Sequence[int]
    context_history_size: int = 1024
    sampling_table_seed: int = 0
    sampling_table_size: int = 2**16
    skip_first_ngram_calls: bool = False
    debug_mode: bool = False

    def __post_init__(self) -> None:
        self.validate()

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any], **options: Any) -> "SynthIDTextWatermarkingConfig":
        """From entries of a file.

        Raises:
            ArgumentError: an unknown one, or one missing.
        """
        entries = {**entries, **options}
        unknown = entries.keys() - {*cls.__dataclass_fields__, "watermarking_type"}
        missing = {"ngram_len", "keys"} - entries.keys()
        if unknown or missing:
            raise ArgumentError(
                f"watermarking_config has unknown entries {sorted(unknown)} and lacks {sorted(missing)}; a SynthID "
                f"watermark has {', '.join(cls.__dataclass_fields__)}"
            )
        return cls(**{name: value for name, value in entries.items() if name in cls.__dataclass_fields__})

    def to_dict(self) -> dict[str, Any]:
        """Entries for a file."""
        return asdict(self) | {"keys": list(self.keys)}

    def validate(self) -> None:
        """Check the values.

        Raises:
            ArgumentError: one is out of its range.
        """
        if self.ngram_len < 2:
            raise ArgumentError(f"ngram_len is {self.ngram_len}; expected at least 2: a token and one before it")
        if not self.keys:
            raise ArgumentError("keys is empty; expected one number for each layer of the tournament")
        if not 1 <= self.sampling_table_size <= LARGEST_TABLE:
            raise ArgumentError(
                f"sampling_table_size is {self.sampling_table_size}; expected between 1 and {LARGEST_TABLE}"
            )

    def construct_processor(self, vocab_size: int, device: Any) -> "SynthIDTextWatermarkLogitsProcessor":
        """The step that marks."""
        return SynthIDTextWatermarkLogitsProcessor(**self.to_dict(), device=device)


class SynthIDTextWatermarkLogitsProcessor(LogitsProcessor):
    """Marks the distribution of each next token; arguments as of `SynthIDTextWatermarkingConfig`.

    It remembers nothing but where the answer began, so rows may be reordered and guesses taken back. One serves one
    call of `generate`.
    """

    def __init__(
        self,
        ngram_len: int,
        keys: Sequence[int],
        sampling_table_size: int,
        sampling_table_seed: int,
        context_history_size: int,
        device: Any,
        skip_first_ngram_calls: bool = False,
        debug_mode: bool = False,
    ):
        self.ngram_len, self.context_history_size = ngram_len, context_history_size
        self.keys = torch.tensor(list(keys), device=device)
        generator = torch.Generator(device).manual_seed(sampling_table_seed)
        self.table = torch.randint(0, 2, (sampling_table_size,), generator=generator, device=device)
        self.skip_first, self.debug = skip_first_ngram_calls, debug_mode
        self.begun: int | None = None  # columns of the prompt

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self.debug:
            scores = torch.ones_like(scores)
        if self.begun is None:
            self.begun = input_ids.shape[1]
        written, width = input_ids[:, self.begun :], self.ngram_len - 1
        skipped = width if self.skip_first else 0
        if written.shape[1] < skipped:
            return scores
        # A context may reach before the answer: there stand zeros.
        text = torch.cat([written.new_zeros(len(written), width), written], dim=1)
        contexts = text.unfold(1, width, 1)[:, skipped:]  # [B, n, width], this token's the last
        contexts = contexts[:, -self.context_history_size - 1 :]
        hashes = hashed(torch.ones_like(contexts[..., 0]), contexts)
        now = hashes[:, -1:]
        every = torch.arange(scores.shape[1], device=scores.device)
        with_token = hashed(now, every[None, :, None])  # [B, V]
        chances = scores.softmax(-1)
        for key in self.keys:
            g = self.table[hashed(with_token, key[None]) % len(self.table)]
            chances = chances * (1 + g - (g * chances).sum(-1, keepdim=True))
        marked = chances.log()
        marked = marked.masked_fill(~marked.isfinite(), torch.finfo(marked.dtype).min)
        met = (hashes[:, :-1] == now).any(1, keepdim=True)
        return torch.where(met, scores, marked)

    def compute_g_values(self, input_ids: Tensor) -> Tensor:
        """[B, T − n + 1, layers] of texts [B, T]: what the keys say of each token with n − 1 before it."""
        ngrams = input_ids.unfold(1, self.ngram_len, 1)
        whole = hashed(torch.ones_like(ngrams[..., 0]), ngrams)
        return self.table[hashed(whole[..., None], self.keys[:, None]) % len(self.table)]

    def compute_context_repetition_mask(self, input_ids: Tensor) -> Tensor:
        """[B, T − n + 1] bool: whether what stands before a token stands there for the first time."""
        contexts = input_ids[:, :-1].unfold(1, self.ngram_len - 1, 1)
        hashes = hashed(torch.ones_like(contexts[..., 0]), contexts)
        count = hashes.shape[1]
        back = torch.arange(count)[:, None] - torch.arange(count)
        recent = (back > 0) & (back <= self.context_history_size)
        return ~((hashes[:, :, None] == hashes[:, None, :]) & recent.to(hashes.device)).any(-1)

    def compute_eos_token_mask(self, input_ids: Tensor, eos_token_id: int) -> Tensor:
        """[B, T] int64: ones before the first end of each text."""
        return ((input_ids == eos_token_id).cumsum(1) == 0).long()

    def expected_mean_g_value(self, vocab_size: int, coinflip_prob: float = 0.5) -> float:
        """The mean of g in text that one layer marked, of a model to which all tokens are equally likely."""
        return coinflip_prob + coinflip_prob * (1 - coinflip_prob) * (1 - 1 / vocab_size)


class SynthIDTextWatermarkDetector:
    """Says whether texts are marked.

    Args:
        detector_module: (g values [B, n, layers], mask [B, n]) → what is known of each text: a trained classifier, or
            any function, such as the mean of g where the mask is 1.
        logits_processor: the one that marked, or one of the same settings.
        tokenizer: tells the end-of-text token.
    """

    def __init__(self, detector_module: Any, logits_processor: SynthIDTextWatermarkLogitsProcessor, tokenizer: Any):
        self.detector_module, self.logits_processor, self.tokenizer = detector_module, logits_processor, tokenizer

    def __call__(self, tokenized_outputs: Tensor) -> Any:
        """What the detector says of texts [B, T].

        Raises:
            ArgumentError: texts too short to hold a mark.
        """
        step = self.logits_processor
        if tokenized_outputs.shape[1] < step.ngram_len:
            raise ArgumentError(
                f"the texts have {tokenized_outputs.shape[1]} tokens; expected at least ngram_len={step.ngram_len}"
            )
        before_end = step.compute_eos_token_mask(tokenized_outputs, self.tokenizer.eos_token_id)
        mask = step.compute_context_repetition_mask(tokenized_outputs) * before_end[:, step.ngram_len - 1 :]
        return self.detector_module(step.compute_g_values(tokenized_outputs), mask)


def hashed(begun: Tensor, data: Tensor) -> Tensor:
    """Hashes so far [...] carried on over the last dimension of data [..., n], all modulo 2^64."""
    for column in data.unbind(-1):
        begun = (begun + column) * MULTIPLIER + INCREMENT
    return begun

"""`model.generate`: prompts in, sequences out, for decoders and for encoder–decoders."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError, LengthError, NotBuiltError
from enfold.generation.config import GenerationConfig
from enfold.generation.loop import Prompt, Trail, decode, pad_after_end
from enfold.generation.streaming import IncrementalDecoder
from enfold.models.base import PreTrainedModel, check_ids
from enfold.models.outputs import ModelOutput
from enfold.models.stacks import as_source
from enfold.nn.cache import Cache
from enfold.nn.modules import Context, Source, Stack
from enfold.nn.where import Packing, Where


@dataclass
class GenerateOutput(ModelOutput):
    """What `generate` returns with `return_dict_in_generate`.

    Attributes:
        sequences: [B, T + new] int64.
        scores, logits: a [B, vocab] tensor for each step, after and before processing, where asked for.
        new_lengths: new tokens of each row.
    """

    sequences: Tensor | None = None
    scores: tuple[Tensor, ...] | None = None
    logits: tuple[Tensor, ...] | None = None
    past_key_values: Any = None
    new_lengths: tuple[int, ...] | None = None


class StackSession:
    """Sequences decoded by a stack, with a cache (see `generation/session.py`)."""

    def __init__(self, model: Any, stack: Stack, source: Source | None = None, cache: Cache | None = None):
        self.model, self.stack, self.source = model, stack, source
        self.cache = cache if cache is not None else Cache()
        assert stack.embed is not None
        self.embed = stack.embed

    @property
    def lengths(self) -> tuple[int, ...]:
        return self.cache.lengths

    def feed(self, tokens: Tensor, counts: tuple[int, ...]) -> Tensor:
        past = self.cache.lengths or (0,) * len(counts)
        if len(tokens) == len(counts):
            positions = torch.tensor(past)
        else:
            positions = torch.cat([torch.arange(a, a + n) for a, n in zip(past, counts, strict=True)])
        end = max(a + n for a, n in zip(past, counts, strict=True))
        where = Where(counts, positions.to(tokens.device), end=end, past=self.cache.lengths or None)
        context = Context(where, cache=self.cache, source=self.source, backend=self.model.decoding_backend)
        states = self.stack(self.embed(tokens, where), context)
        self.cache.advance(where, max(counts))
        return self.model.scores(states if where.decoding else states[where.last])

    def select(self, rows: Sequence[int]) -> None:
        self.cache.select(rows)


class UncachedSession:
    """The same without memory: every step recomputes all tokens. Slow, and the proof of the cache."""

    def __init__(self, model: Any, stack: Stack, source: Source | None = None):
        self.model, self.stack, self.source = model, stack, source
        self.held: list[Tensor] = []

    @property
    def lengths(self) -> tuple[int, ...]:
        return tuple(map(len, self.held))

    def feed(self, tokens: Tensor, counts: tuple[int, ...]) -> Tensor:
        parts = tokens.split(list(counts))
        self.held = [torch.cat(pair) for pair in zip(self.held, parts, strict=True)] if self.held else list(parts)
        return StackSession(self.model, self.stack, self.source).feed(torch.cat(self.held), self.lengths)

    def select(self, rows: Sequence[int]) -> None:
        self.held = [self.held[row] for row in rows]
        self.source = self.source and _take(self.source, rows)


class Generative(PreTrainedModel):
    """What decoders and encoder–decoders share of `generate`."""

    generation_entries: dict[str, Any]

    @property
    def generation_config(self) -> GenerationConfig:
        """The repository's settings: `generation_config.json`, or the entries that old files keep in `config.json`."""
        settings = self.__dict__.get("generation_settings")
        if settings is not None:
            return settings
        special = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")
        ids = {name: self.config.get(name) for name in special}
        entries = self.__dict__.get("generation_entries")
        if entries is None:
            entries = {
                n: v for n, v in self.config.entries.items() if n in GenerationConfig.known() and n not in special
            }
        return GenerationConfig.from_entries(ids, entries)

    @generation_config.setter
    def generation_config(self, settings: GenerationConfig) -> None:
        self.__dict__["generation_settings"] = settings

    @property
    def decoding_backend(self) -> str | None:
        raise NotImplementedError

    def begin(self, inputs: dict[str, Any], config: GenerationConfig) -> tuple[Any, Prompt]:
        """A session and its packed prompts, from the arguments of a call."""
        raise NotImplementedError

    def generate(
        self,
        input_ids: Tensor | None = None,
        *,
        generation_config: GenerationConfig | None = None,
        attention_mask: Tensor | None = None,
        streamer: Any = None,
        stopping_criteria: Sequence[Any] = (),
        tokenizer: Any = None,
        inputs: Tensor | None = None,
        **options: Any,
    ) -> Tensor | GenerateOutput:
        """Continue prompts.

        Args:
            input_ids: [B, T] int64, padded on either side where `attention_mask` [B, T] says so.
            generation_config: settings instead of the repository's.
            streamer: gets the prompt, then each token (`TextStreamer`); one sequence only.
            stopping_criteria: callables (ids [B, T], scores) → bool or [B] bool.
            tokenizer: for `stop_strings`.
            inputs: another name of `input_ids`.
            options: settings of `GenerationConfig` (`max_new_tokens=64, do_sample=True, …`), and further inputs of
                the model.

        Returns:
            [B·num_return_sequences, T + new] int64: the prompt as given, then the new tokens, filled with the padding
            token behind each end. With `return_dict_in_generate`, a `GenerateOutput`.

        Raises:
            ArgumentError: unknown or contradictory settings.
            NotBuiltError: a way of decoding that isn't built yet.
            LengthError: prompt and new tokens need more positions than the model has.
        """
        given = {"input_ids": input_ids if input_ids is not None else inputs, "attention_mask": attention_mask}
        config = self._settings(generation_config, options, given)
        with torch.inference_mode():
            session, prompt = self.begin(given, config)
        trail = Trail() if config.return_dict_in_generate and (config.output_scores or config.output_logits) else None
        written: list[list[int]] = [[] for _ in prompt.counts]
        if streamer is not None:
            streamer.put(prompt.columns)
        for answer in decode(
            session, prompt, config, tokenizer=tokenizer, criteria=list(stopping_criteria), trail=trail
        ):
            for row, token in zip(written, answer, strict=True):
                if token is not None:
                    row.append(token)
            if streamer is not None:
                streamer.put(torch.tensor([token for token in answer if token is not None]))
        if streamer is not None:
            streamer.end()
        new = pad_after_end(written, config).to(prompt.columns.device)
        sequences = torch.cat([prompt.columns.clone(), new], dim=1)
        if not config.return_dict_in_generate:
            return sequences
        return GenerateOutput(
            sequences=sequences,
            scores=tuple(trail.scores) if trail is not None and config.output_scores else None,
            logits=tuple(trail.logits) if trail is not None and config.output_logits else None,
            past_key_values=getattr(session, "cache", None),
            new_lengths=tuple(map(len, written)),
        )

    def stream(
        self,
        input_ids: Tensor | None = None,
        *,
        tokenizer: Any,
        attention_mask: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        skip_special_tokens: bool = True,
        **options: Any,
    ) -> Iterator[str]:
        """Yield the text of one answer as it is generated; arguments as `generate`.

        Raises:
            ArgumentError: more than one sequence.
        """
        given = {"input_ids": input_ids, "attention_mask": attention_mask}
        config = self._settings(generation_config, options, given)
        with torch.inference_mode():
            session, prompt = self.begin(given, config)
        if len(prompt.counts) != 1:
            raise ArgumentError(f"stream yields the text of one sequence; there are {len(prompt.counts)}")
        decoder = IncrementalDecoder(tokenizer, skip_special_tokens=skip_special_tokens)
        for answer in decode(session, prompt, config, tokenizer=tokenizer):
            assert answer[0] is not None
            if text := decoder.add(answer[0]):
                yield text
        if text := decoder.end():
            yield text

    def _settings(
        self, generation_config: GenerationConfig | None, options: dict[str, Any], given: dict[str, Any]
    ) -> GenerationConfig:
        for name in MODEL_INPUTS & options.keys():
            given[name] = options.pop(name)
        base = generation_config if generation_config is not None else self.generation_config
        if not isinstance(base, GenerationConfig):
            raise ArgumentError(
                f"generation_config is a {type(base).__name__}; expected enfold.generation.GenerationConfig"
            )
        return base.override(options)

    def prompt(self, ids: Tensor, mask: Tensor | None, config: GenerationConfig, positions: int | None) -> Prompt:
        """Pack prompts [B, T], several times each for several samples."""
        if ids.ndim != 2 or ids.shape[1] == 0:
            raise ArgumentError(
                f"input_ids has shape {tuple(ids.shape)}; expected [batch, length] with a length above 0"
            )
        if mask is None and config.pad_token_id is not None and config.pad_token_id not in config.ends:
            mask = (ids != config.pad_token_id).long()
        if config.num_return_sequences > 1:
            ids = ids.repeat_interleave(config.num_return_sequences, 0)
            mask = None if mask is None else mask.repeat_interleave(config.num_return_sequences, 0)
        packing = Packing.of(tuple(ids.shape), mask)  # type: ignore[arg-type]
        if not all(packing.lengths):
            raise ArgumentError("a row of the prompt is all padding: there is nothing to continue")
        longest, new = max(packing.lengths), config.new_tokens(ids.shape[1], self.config.get("max_position_embeddings"))
        if positions is not None and longest + new - 1 > positions:
            raise LengthError(
                f"the prompt has {longest} tokens and up to {new} may follow, and the model knows {positions} "
                "positions: shorten the prompt (truncation=True in the tokenizer), or lower max_new_tokens"
            )
        tokens = packing.pack(ids)
        starts = [0, *accumulate(packing.lengths)][:-1]
        seen = ids if mask is None else torch.where(mask != 0, ids, tokens[starts][:, None])
        return Prompt(tokens, packing.lengths, ids, seen, new)


MODEL_INPUTS = {"token_type_ids", "encoder_outputs", "decoder_input_ids", "decoder_attention_mask"}


class GenerativeDecoder(Generative):
    """A decoder continues its prompt."""

    base: Any

    @property
    def decoding_backend(self) -> str | None:
        return self.base.attention_backend

    def begin(self, inputs: dict[str, Any], config: GenerationConfig) -> tuple[Any, Prompt]:
        ids = inputs["input_ids"]
        if ids is None:
            if config.bos_token_id is None:
                raise ArgumentError("generate got no input_ids, and there is no bos_token_id to start from")
            ids = torch.full((1, 1), config.bos_token_id, device=self.device)
        types = inputs.get("token_type_ids")
        if types is not None and bool(types.any()):  # tokenizers hand over zeros
            raise NotBuiltError("generation with token_type_ids other than 0 is not built yet: leave them out")
        check_ids(ids, self.base.stack.embed.tokens.num_embeddings)
        prompt = self.prompt(ids.to(self.device), inputs["attention_mask"], config, self.max_positions())
        session = StackSession if config.use_cache else UncachedSession
        return session(self, self.base.stack), prompt


class GenerativeSeq2Seq(Generative):
    """A decoder writes what it reads from an encoder."""

    encoder: Any
    decoder: Any

    @property
    def decoding_backend(self) -> str | None:
        return self.attention_backend

    def begin(self, inputs: dict[str, Any], config: GenerationConfig) -> tuple[Any, Prompt]:
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        if inputs.get("encoder_outputs") is not None:
            states = inputs["encoder_outputs"][0]
            (source, _), rows = as_source(states, mask), states.shape[0]
        elif ids is None:
            raise ArgumentError("generate got no input_ids: an encoder–decoder needs a source")
        else:
            if mask is None and config.pad_token_id is not None and config.pad_token_id not in config.ends:
                mask = (ids != config.pad_token_id).long()
            encoded = self.encode(ids.to(self.device), mask)  # type: ignore[operator]
            source, rows = Source(encoded.packed, encoded.where), ids.shape[0]
        if config.num_return_sequences > 1:
            source = _take(source, [row for row in range(rows) for _ in range(config.num_return_sequences)])
        start = config.decoder_start_token_id
        start = config.bos_token_id if start is None else start
        decoder_ids = inputs.get("decoder_input_ids")
        if decoder_ids is None:
            if start is None:
                raise ArgumentError("generate needs decoder_start_token_id in the configuration or the call")
            decoder_ids = torch.full((rows, 1), start, device=self.device)
        prompt = self.prompt(
            decoder_ids, inputs.get("decoder_attention_mask", torch.ones_like(decoder_ids)), config, None
        )
        session = StackSession if config.use_cache else UncachedSession
        return session(self, self.decoder, source), prompt


def _take(source: Source, rows: Sequence[int]) -> Source:
    """These sequences of a source, in this order."""
    lengths = source.where.lengths
    states, positions = source.states.split(list(lengths)), source.where.positions.split(list(lengths))
    where = Where(tuple(lengths[row] for row in rows), torch.cat([positions[row] for row in rows]))
    return Source(torch.cat([states[row] for row in rows]), where)

"""`generate` and `stream` for decoders and encoder–decoders."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError, LengthError, NotBuiltError
from enfold.generation.beam import beam_search
from enfold.generation.config import OBJECTS, GenerationConfig
from enfold.generation.contrastive import contrastive_search
from enfold.generation.loop import Job, decode, pad_after_end
from enfold.generation.processors import right_aligned
from enfold.generation.session import Prompt
from enfold.generation.speculative import speculate
from enfold.generation.streaming import IncrementalDecoder
from enfold.models.base import PreTrainedModel, check_ids
from enfold.models.generated import GenerateOutput, output_of, remember
from enfold.models.jobs import check_objects, make_job
from enfold.models.sessions import StackSession, UncachedSession, make_cache
from enfold.models.stacks import States, as_cache, as_source
from enfold.nn.cache import Cache
from enfold.nn.modules import Source, Stack
from enfold.nn.where import Packing

MODEL_INPUTS = {"token_type_ids", "inputs_embeds", "encoder_outputs", "decoder_input_ids", "decoder_attention_mask"}


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

    @property
    def decoding_stack(self) -> Stack:
        """The stack that writes."""
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
        tokenizer: Any = None,
        inputs: Tensor | None = None,
        **options: Any,
    ) -> Tensor | GenerateOutput:
        """Continue prompts.

        Args:
            input_ids: [B, T] int64, padded on either side where `attention_mask` [B, T] says so.
            generation_config: settings instead of the repository's.
            streamer: gets the prompt, then each token (`TextStreamer`); one sequence only.
            tokenizer: for `stop_strings`, `constraint` and drafts across tokenizers.
            inputs: another name of `input_ids`.
            options: settings of `GenerationConfig` (`max_new_tokens=64, num_beams=4, …`); further inputs of the model
                (`inputs_embeds` [B, T, D] in place of the ids, or beside ids that are only shown);
                `stopping_criteria` (callables (ids [B, T], scores) → bool or [B] bool), `logits_processor` (callables
                (ids [B, T], scores [B, V]) → scores), `prefix_allowed_tokens_fn` ((prompt's number, ids [T]) →
                tokens), `negative_prompt_ids` and its mask for `guidance_scale`, `assistant_model` and
                `assistant_tokenizer` for drafts, `constraint` or `response_format` for structured output,
                `past_key_values` of an earlier call whose text the prompt goes on from.

        Returns:
            [B·R, T + new] int64, R being `num_return_sequences`: the prompt as given, then the new tokens, filled with
            the padding token behind each end; of `inputs_embeds` alone, the new tokens. With
            `return_dict_in_generate`, a `GenerateOutput`.

        Raises:
            ArgumentError: unknown or contradictory settings.
            NotBuiltError: a way of decoding that isn't built yet.
            LengthError: prompt and new tokens need more positions than the model has.
        """
        given = {"input_ids": input_ids if input_ids is not None else inputs, "attention_mask": attention_mask}
        job, encoded = self._job(given, generation_config, tokenizer, options)
        config, prompt = job.config, job.prompt
        beamed = None
        if config.num_beams > 1:
            if streamer is not None:
                raise ArgumentError(f"streamer and num_beams={config.num_beams} exclude each other: beams change")
            beamed = beam_search(job)
            new, written = beamed.new, None
        else:
            written = [[] for _ in range(len(prompt.counts) * config.num_return_sequences)]
            if streamer is not None:
                streamer.put(prompt.columns.repeat_interleave(config.num_return_sequences, 0))
            for answer in self._decode(job):
                for row, token in zip(written, answer, strict=True):
                    if token is not None:
                        row.append(token)
                if streamer is not None:
                    streamer.put(torch.tensor([token for token in answer if token is not None]))
            if streamer is not None:
                streamer.end()
            new = pad_after_end(written, config).to(prompt.columns.device)
        copies = len(new) // len(prompt.columns)
        sequences = torch.cat([prompt.columns.repeat_interleave(copies, 0), new], dim=1)
        if written is not None:
            remember(job, written)
        if not config.return_dict_in_generate:
            return sequences
        return output_of(job, sequences, beamed, written, encoded)

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
            ArgumentError: more than one sequence, or beams.
        """
        given = {"input_ids": input_ids, "attention_mask": attention_mask}
        job, _ = self._job(given, generation_config, tokenizer, options)
        sequences = len(job.prompt.counts) * job.config.num_return_sequences
        if sequences != 1:
            raise ArgumentError(f"stream yields the text of one sequence; there are {sequences}")
        if job.config.num_beams > 1:
            raise ArgumentError(f"stream and num_beams={job.config.num_beams} exclude each other: beams change")
        decoder = IncrementalDecoder(tokenizer, skip_special_tokens=skip_special_tokens)
        for answer in self._decode(job):
            assert answer[0] is not None
            if text := decoder.add(answer[0]):
                yield text
        if text := decoder.end():
            yield text

    def compute_transition_scores(
        self,
        sequences: Tensor,
        scores: Sequence[Tensor],
        beam_indices: Tensor | None = None,
        normalize_logits: bool = False,
    ) -> Tensor:
        """Scores [B, new] of the tokens that were chosen; 0 behind the end of a beam.

        Args:
            sequences: [B, T + new], as `generate` returned them.
            scores: of each step [B·K, V] (`output_scores=True`).
            beam_indices: [B, new], of a beam search.
            normalize_logits: log-probabilities instead of what was kept.
        """
        rows = torch.arange(len(scores[0]), device=sequences.device)
        indices = rows[:, None].expand(-1, len(scores)) if beam_indices is None else beam_indices.long()
        length = int((indices >= 0).sum(1).max())
        tokens, indices = sequences[:, sequences.shape[1] - length :], indices[:, :length]
        chosen = []
        for step, every in enumerate(scores[:length]):
            every = every.log_softmax(-1) if normalize_logits else every
            chosen.append(every[indices[:, step].clamp(min=0), tokens[:, step]])
        return torch.stack(chosen, 1).masked_fill(indices < 0, 0.0)

    # Steps of a call

    def _decode(self, job: Job) -> Iterator[list[int | None]]:
        """Tokens step by step, in the way that the settings ask for."""
        if job.config.penalty_alpha:
            return contrastive_search(job)
        return decode(job) if job.drafter is None else speculate(job, job.drafter)

    def _job(
        self, given: dict[str, Any], base: GenerationConfig | None, tokenizer: Any, options: dict[str, Any]
    ) -> tuple[Job, States | None]:
        """What is to be done, and what the encoder said if there is one."""
        base = self.generation_config if base is None else base
        if not isinstance(base, GenerationConfig):
            raise ArgumentError(
                f"generation_config is a {type(base).__name__}; expected enfold.generation.GenerationConfig"
            )
        for name in MODEL_INPUTS & options.keys():
            given[name] = options.pop(name)
        objects = {name: options.pop(name) for name in OBJECTS & options.keys()}
        config = base.override(options)
        check_objects(config, objects)
        given["past_key_values"] = objects.get("past_key_values")
        with torch.inference_mode():
            session, prompt = self.begin(given, config)
            job = make_job(self, session, prompt, config, objects, tokenizer, given)
        return job, given.get("encoded")

    def new_session(
        self, config: GenerationConfig, tokens: int, *, source: Source | None = None, cache: Cache | None = None
    ) -> StackSession | UncachedSession:
        """A session with the memory that the settings ask for, of so many tokens at most, or a caller's."""
        if not config.use_cache:
            return UncachedSession(self, self.decoding_stack, source)
        if cache is None:
            cache = make_cache(config, self.decoding_stack, tokens, self.device)
        return StackSession(self, self.decoding_stack, source, cache)

    def prompt(
        self,
        ids: Tensor,
        mask: Tensor | None,
        config: GenerationConfig,
        positions: int | None,
        vectors: Tensor | None = None,
    ) -> Prompt:
        """Pack prompts [B, T], or vectors [B, T, D], which may come without ids [B, 0]."""
        given = ids if vectors is None else vectors
        if given.ndim != (2 if vectors is None else 3) or given.shape[1] == 0:
            name, shape = ("input_ids", "length") if vectors is None else ("inputs_embeds", "length, width")
            raise ArgumentError(
                f"{name} has shape {tuple(given.shape)}; expected [batch, {shape}] with a length above 0"
            )
        packing = Packing.of(tuple(given.shape[:2]), mask)  # type: ignore[arg-type]
        if not all(packing.lengths):
            raise ArgumentError("a row of the prompt is all padding: there is nothing to continue")
        columns = given.shape[1]
        longest, new = max(packing.lengths), config.new_tokens(columns, self.config.get("max_position_embeddings"))
        if positions is not None and longest + new - 1 > positions:
            raise LengthError(
                f"the prompt has {longest} tokens and up to {new} may follow, and the model knows {positions} "
                "positions: shorten the prompt (truncation=True in the tokenizer), or lower max_new_tokens"
            )
        if ids.shape[1] == 0:
            return Prompt(packing.pack(given), packing.lengths, ids, ids, None, new, unseen=columns)
        text, padding = right_aligned(ids, packing.lengths, mask)
        return Prompt(packing.pack(given), packing.lengths, ids, text, padding, new)


def mask_of(ids: Tensor, mask: Tensor | None, config: GenerationConfig) -> Tensor | None:
    """The mask that was given, or what the padding token says."""
    if mask is None and config.pad_token_id is not None and config.pad_token_id not in config.ends:
        return (ids != config.pad_token_id).long()
    return mask


class GenerativeDecoder(Generative):
    """A decoder continues its prompt."""

    base: Any

    @property
    def decoding_backend(self) -> str | None:
        return self.base.attention_backend

    @property
    def decoding_stack(self) -> Stack:
        return self.base.stack

    def begin(self, inputs: dict[str, Any], config: GenerationConfig) -> tuple[Any, Prompt]:
        ids, vectors = inputs["input_ids"], inputs.get("inputs_embeds")
        if vectors is not None:
            vectors, ids = (
                self._vectors(vectors, ids),
                torch.empty(len(vectors), 0, dtype=torch.int64) if ids is None else ids,
            )
        elif ids is None:
            if config.bos_token_id is None:
                raise ArgumentError("generate got no input_ids, and there is no bos_token_id to start from")
            ids = torch.full((1, 1), config.bos_token_id, device=self.device)
        types = inputs.get("token_type_ids")
        if types is not None and bool(types.any()):  # tokenizers hand over zeros
            raise NotBuiltError("generation with token_type_ids other than 0 is not built yet: leave them out")
        check_ids(ids, self.base.stack.embed.tokens.num_embeddings)
        ids = ids.to(self.device)
        mask = inputs["attention_mask"] if vectors is not None else mask_of(ids, inputs["attention_mask"], config)
        inputs["prompt_mask"] = mask
        prompt = self.prompt(ids, mask, config, self.max_positions(), vectors)
        cache = as_cache(inputs.get("past_key_values"))
        if cache is not None and cache.lengths:
            if vectors is not None:
                raise ArgumentError(
                    "inputs_embeds and past_key_values exclude each other: vectors don't say what is held"
                )
            cache = self._resume(cache, prompt, config)
        return self.new_session(config, max(prompt.counts) + prompt.limit, cache=cache), prompt

    def _vectors(self, vectors: Tensor, ids: Tensor | None) -> Tensor:
        """A caller's vectors [B, T, D], checked.

        Raises:
            ArgumentError: of another width, or beside ids of another shape.
        """
        width = self.base.stack.embed.tokens.embedding_dim
        if vectors.ndim != 3 or vectors.shape[2] != width or (ids is not None and ids.shape != vectors.shape[:2]):
            beside = "" if ids is None else f" beside input_ids of shape {tuple(ids.shape)}"
            raise ArgumentError(
                f"inputs_embeds has shape {tuple(vectors.shape)}{beside}; expected [batch, length, {width}], "
                "and as many ids if any"
            )
        return vectors.to(self.device)

    def _resume(self, cache: Cache, prompt: Prompt, config: GenerationConfig) -> Cache:
        """Leave out of the prompt what a cache holds; make the cache forget what the prompt doesn't say.

        Raises:
            ArgumentError: another number of rows, or a cache that holds all that the prompt says and can't be checked.
        """
        if len(cache.lengths) != len(prompt.counts):
            raise ArgumentError(
                f"past_key_values holds {len(cache.lengths)} sequences, and the batch has {len(prompt.counts)} rows"
            )
        if not config.use_cache:
            raise ArgumentError("past_key_values and use_cache=False exclude each other")
        if config.num_beams > 1 or config.num_return_sequences > 1:
            cache = copy.deepcopy(cache)  # the caller's keeps its rows
        rows = [row[pad:] for row, pad in zip(prompt.text.tolist(), prompt.pads, strict=True)]
        known = []
        for row, tokens in enumerate(rows):
            held = cache.lengths[row]
            if cache.tokens is None:
                if held >= len(tokens):
                    raise ArgumentError(
                        f"past_key_values holds {held} tokens and the prompt has {len(tokens)}: pass the whole text, "
                        "of which the cache holds the beginning"
                    )
                known.append(held)
                continue
            said = cache.tokens[row][:held]
            same = next((i for i, pair in enumerate(zip(said, tokens, strict=False)) if pair[0] != pair[1]), len(said))
            known.append(min(same, len(said), len(tokens) - 1))
        cache.crop_rows(known)
        new = [torch.tensor(tokens[start:]) for tokens, start in zip(rows, known, strict=True)]
        prompt.tokens = torch.cat(new).to(prompt.columns.device)
        prompt.counts = tuple(map(len, new))
        return cache


class GenerativeSeq2Seq(Generative):
    """A decoder writes what it reads from an encoder."""

    encoder: Any
    decoder: Any

    @property
    def decoding_backend(self) -> str | None:
        return self.attention_backend

    @property
    def decoding_stack(self) -> Stack:
        return self.decoder

    def for_summaries(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Further arguments of `generate`, with which such a model sums up sources [B, S]."""
        return {}

    def begin(self, inputs: dict[str, Any], config: GenerationConfig) -> tuple[Any, Prompt]:
        if inputs.get("past_key_values") is not None:
            raise ArgumentError("past_key_values of an encoder–decoder is tied to its source: generate takes none")
        ids, mask, vectors = inputs["input_ids"], inputs["attention_mask"], inputs.get("inputs_embeds")
        if inputs.get("encoder_outputs") is not None:
            states = inputs["encoder_outputs"][0]
            (source, _), rows = as_source(states, mask), states.shape[0]
        elif (ids is None) == (vectors is None):
            raise ArgumentError("generate got no source for the encoder, or two: pass input_ids or inputs_embeds")
        else:
            inputs["source_mask"] = mask if ids is None else mask_of(ids, mask, config)
            encoded = self.encode(  # type: ignore[operator]
                None if ids is None else ids.to(self.device),
                inputs["source_mask"],
                None if vectors is None else vectors.to(self.device),
                output_hidden_states=config.output_hidden_states,
                output_attentions=config.output_attentions,
            )
            inputs["encoded"] = encoded
            source, rows = Source(encoded.packed, encoded.where), encoded.packing.shape[0]
        start = config.decoder_start_token_id
        start = config.bos_token_id if start is None else start
        decoder_ids = inputs.get("decoder_input_ids")
        if decoder_ids is None:
            if start is None:
                raise ArgumentError("generate needs decoder_start_token_id in the configuration or the call")
            decoder_ids = torch.full((rows, 1), start, device=self.device)
        mask = inputs["prompt_mask"] = inputs.get("decoder_attention_mask")
        prompt = self.prompt(decoder_ids, mask, config, None)
        prompt.source = ids
        return self.new_session(config, max(prompt.counts) + prompt.limit, source=source), prompt

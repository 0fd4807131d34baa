"""The two shapes of model: one stack (encoder or decoder alone), and encoder with decoder."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError, NotBuiltError
from enfold.models.base import PreTrainedModel, check_ids
from enfold.models.config import PreTrainedConfig
from enfold.models.outputs import BaseModelOutput, ModelOutput, Seq2SeqOutput
from enfold.nn import spec
from enfold.nn.cache import Cache
from enfold.nn.modules import Context, Source, Stack, Trace
from enfold.nn.where import Packing, Where


@dataclass
class States:
    """What a stack computed: packed states [N, D] and how to unpack them.

    Attributes:
        source: how the states that cross-attention read were packed.
    """

    packed: Tensor
    packing: Packing
    where: Where
    cache: Cache | None
    trace: Trace
    source: Packing | None = None

    @property
    def hidden_states(self) -> tuple[Tensor, ...] | None:
        """[B, T, D] before each layer and at the end, when they were asked for."""
        return None if self.trace.hidden is None else tuple(map(self.packing.unpack, self.trace.hidden))

    @property
    def attentions(self) -> tuple[Tensor, ...] | None:
        """[B, heads, T, past + T] of each layer, by columns of the padded batch, when they were asked for."""
        if self.trace.attentions is None:
            return None
        return tuple(map(self._by_column, self.trace.attentions))

    @property
    def router_logits(self) -> tuple[Tensor, ...] | None:
        """[B·T, experts] of each mixture's router, zeros at padding, when they were asked for."""
        if self.trace.routers is None:
            return None
        return tuple(self.packing.unpack(scores).flatten(0, 1) for scores in self.trace.routers)

    @property
    def cross_attentions(self) -> tuple[Tensor, ...] | None:
        """[B, heads, T, S] of each layer."""
        if self.trace.cross_attentions is None:
            return None
        assert self.source is not None
        return tuple(self.source.spread(self.packing.spread(x, 2), 3) for x in self.trace.cross_attentions)

    def _by_column(self, weights: Tensor) -> Tensor:
        past = 0 if self.where.past is None else self.where.past[0]  # rows with a past are equally long here
        weights = self.packing.spread(weights, 2)
        return torch.cat([weights[..., :past], self.packing.spread(weights[..., past:], 3)], dim=-1)

    def unpack(self) -> Tensor:
        """[B, T, D]."""
        return self.packing.unpack(self.packed)


def run_stack(
    stack: Stack,
    *,
    input_ids: Tensor | None,
    attention_mask: Tensor | None = None,
    token_type_ids: Tensor | None = None,
    position_ids: Tensor | None = None,
    sequence_ids: Tensor | None = None,
    inputs_embeds: Tensor | None = None,
    cache: Cache | None = None,
    source: tuple[Source, Packing] | None = None,
    backend: str | None = None,
    trace: Trace | None = None,
) -> States:
    """Pack a padded batch, run it through a stack, and hand back packed states.

    Args:
        input_ids: [B, T] int64, or `inputs_embeds` [B, T, D] instead.
        attention_mask: [B, T], or [B, past + T] with a cache; nonzero marks tokens.
        token_type_ids: [B, T].
        position_ids: [B, T] or [1, T]; default the column in the padded batch, or in its sequence.
        sequence_ids: [B, T]: a row may hold several sequences, which don't see each other; one begins where the number
            changes.
        source: what cross-attention reads, and how it was packed.

    Raises:
        ArgumentError: neither or both of ids and vectors; a shape that doesn't fit; positions where there are none.
        NotBuiltError: attention weights over, or relative biases with gaps in, a cache of padded rows.
        LengthError: more positions than the model has.
    """
    if (input_ids is None) == (inputs_embeds is None):
        raise ArgumentError("pass exactly one of input_ids and inputs_embeds")
    given = input_ids if input_ids is not None else inputs_embeds
    assert given is not None
    if given.ndim != (2 if input_ids is not None else 3):
        raise ArgumentError(
            f"{'input_ids' if input_ids is not None else 'inputs_embeds'} has shape {tuple(given.shape)}; "
            f"expected [batch, length{']' if input_ids is not None else ', width]'}"
        )
    rows, columns = given.shape[:2]
    past = cache.columns if cache is not None else 0
    if cache is not None and cache.lengths and len(cache.lengths) != rows:
        raise ArgumentError(f"past_key_values holds {len(cache.lengths)} sequences, and the batch has {rows} rows")
    if source is not None and source[1].shape[0] != rows:
        raise ArgumentError(f"the source has {source[1].shape[0]} sequences, and the decoder's batch has {rows} rows")
    mask = attention_mask
    if mask is not None and mask.ndim == 2 and mask.shape[1] == past + columns:
        mask = mask[:, past:]
    packing = Packing.of((rows, columns), mask)
    if sequence_ids is not None and (cache is not None or source is not None):
        raise ArgumentError("sequence_ids goes with a whole batch of a single stack: no past_key_values, no encoder")
    lengths = packing.lengths if sequence_ids is None else packing.sequences(sequence_ids)
    end = -1
    if position_ids is None and sequence_ids is not None:
        positions = torch.cat([torch.arange(length, device=given.device) for length in lengths])
    elif position_ids is not None:
        positions = packing.pack(position_ids.expand(rows, -1) if position_ids.shape[0] == 1 else position_ids)
        _check_positions(stack, positions)
    else:
        positions = packing.columns(given.device) + past
        end = past + columns
    held = cache.lengths or None if cache is not None else None
    gaps = stack.biased and packing.gaps
    if held is not None and stack.biased and attention_mask is not None:
        gaps = Packing.of(tuple(attention_mask.shape), attention_mask).gaps  # type: ignore[arg-type]
    trace = trace or Trace()
    if held is not None and (gaps or (trace.attentions is not None and len({*held, past}) > 1)):
        raise NotBuiltError(
            "a cache of padded rows gives no attention weights, and takes no relative biases over a mask with gaps: "
            "call with use_cache=False, or without the padding"
        )
    apart = packing.columns(given.device) if packing.gaps else None
    where = Where(lengths, positions, end=end, past=held, columns=apart)
    ids = None if input_ids is None else packing.pack(input_ids)
    assert stack.embed is not None
    if ids is not None:
        check_ids(ids, stack.embed.tokens.num_embeddings)
    types = None
    if token_type_ids is not None:
        types = packing.pack(
            token_type_ids.expand(rows, *token_type_ids.shape[1:]) if token_type_ids.shape[0] == 1 else token_type_ids
        )
        if stack.embed.types is not None:
            check_ids(types, stack.embed.types.num_embeddings, "token_type_ids")
    vectors = None if inputs_embeds is None else packing.pack(inputs_embeds)
    if stack.sharing is not None:
        packed = _run_shared(stack, where, ids, vectors, types, cache, backend, trace)
    else:
        context = Context(where, cache=cache, source=source and source[0], backend=backend, trace=trace)
        packed = stack(stack.embed(ids, where, vectors=vectors, types=types), context)
    if cache is not None:
        cache.advance(where, columns)
    return States(packed, packing, where, cache, trace, source=source and source[1])


def _run_shared(
    stack: Stack,
    where: Where,
    ids: Tensor | None,
    vectors: Tensor | None,
    types: Tensor | None,
    cache: Cache | None,
    backend: str | None,
    trace: Trace,
) -> Tensor:
    """States [N, D] of texts that several processes share; each runs over its part of them.

    Raises:
        ArgumentError: a cache, something to be traced, distances over a mask with gaps, or texts too short to share.
    """
    asked = {
        "past_key_values": cache,
        "output_hidden_states": trace.hidden,
        "output_attentions": trace.attentions,
        "output_router_logits": trace.routers,
        "a mask with gaps": where.columns if stack.biased else None,
    }
    for name, given in asked.items():
        if given is not None:
            raise ArgumentError(f"{name} can't be had where processes share the texts (cp_size above 1): leave it out")
    share = stack.sharing.share(where)
    if not all(share.sizes):
        raise ArgumentError(
            f"texts of {list(where.lengths)} tokens are too short for {len(share.sizes)} processes to share"
        )
    mine = share.where()
    ids, vectors, types = (None if x is None else share.take(x) for x in (ids, vectors, types))
    assert stack.embed is not None
    with share.drawing(training=stack.training):
        x = stack.embed(ids, mine, vectors=vectors, types=types)
        return share.gathered(stack(x, Context(mine, backend=backend, trace=trace)))


def _check_positions(stack: Stack, positions: Tensor) -> None:
    attention = [layer.attn.op for layer in stack.spec.layers]
    assert stack.embed is not None
    if stack.embed.positions is None and not any(getattr(op, "rope", None) for op in attention):
        raise ArgumentError("position_ids was given, and this model has no absolute positions: leave it out")
    first = -stack.embed.spec.offset
    if positions.numel() and int(positions.min()) < first:
        raise ArgumentError(f"position_ids holds {int(positions.min()) - first}; positions count from 0")


def restarts(positions: Tensor | None) -> Tensor | None:
    """[B, T] numbers of the sequences in rows whose positions start anew here and there; None where they don't.

    The reference library takes such positions, without a mask or a cache, for packed sequences.
    """
    if positions is None or positions.shape[0] != 1:
        return None
    jumps = positions.diff(prepend=positions[:, :1] - 1) != 1
    return jumps.cumsum(1) if bool(jumps.any()) else None


def as_source(states: Tensor, mask: Tensor | None) -> tuple[Source, Packing]:
    """Padded states [B, S, D] of an encoder, packed for cross-attention."""
    packing = Packing.of(tuple(states.shape[:2]), mask)  # type: ignore[arg-type]
    return Source(packing.pack(states), Where(packing.lengths, packing.columns(states.device))), packing


def as_cache(past_key_values: Any) -> Cache | None:
    """A cache that a caller passed.

    Raises:
        ArgumentError: it is something else (tuples and caches of the reference library are not taken over).
    """
    if past_key_values is None or isinstance(past_key_values, Cache):
        return past_key_values
    raise ArgumentError(
        f"past_key_values is a {type(past_key_values).__name__}; expected enfold.nn.cache.Cache, as a model returns it"
    )


class SingleStack(PreTrainedModel):
    """An encoder or a decoder alone."""

    decoder: ClassVar[bool] = False
    stack_class: ClassVar[type[Stack]] = Stack

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.stack = self.stack_class(self.spec(config))

    @classmethod
    def spec(cls, config: PreTrainedConfig) -> spec.Stack:
        """The family's stack, derived from its configuration."""
        raise NotImplementedError

    @property
    def caches(self) -> bool:
        """Whether this model remembers keys and values."""
        return self.decoder or bool(self.config.is_decoder)

    @property
    def width(self) -> int:
        """Of the states that a head reads."""
        return self.stack.spec.width

    def padding_row(self, name: str) -> int | None:
        embed = self.stack.spec.embed
        return embed.padding_id if embed is not None and name.endswith("embed.tokens.weight") else None

    def run(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        sequence_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        output_router_logits: bool | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
    ) -> States:
        """Packed states of the last layer; arguments as in `forward`."""
        config = self.config
        if output_hidden_states is None:
            output_hidden_states = config.output_hidden_states
        if output_attentions is None:
            output_attentions = config.output_attentions
        routed = any(layer.mlp and isinstance(layer.mlp.op, spec.MoE) for layer in self.stack.spec.layers)
        if output_router_logits and not routed:
            raise ArgumentError("output_router_logits was given, and the model has no routers: leave it out")
        if output_router_logits is None:
            output_router_logits = routed and config.output_router_logits
        cache = as_cache(past_key_values)
        remember = self.caches and sequence_ids is None and (config.use_cache if use_cache is None else use_cache)
        remember = remember and self.stack.sharing is None
        if cache is None and remember and not self.training:
            cache = Cache()
        if self.decoder and sequence_ids is None and cache is None and attention_mask is None:
            sequence_ids = restarts(position_ids)
        source = None
        if encoder_hidden_states is not None:
            source = as_source(encoder_hidden_states, encoder_attention_mask)
        return run_stack(
            self.stack,
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            sequence_ids=sequence_ids,
            inputs_embeds=inputs_embeds,
            cache=cache,
            source=source,
            backend=self.attention_backend,
            trace=Trace(
                hidden=[] if output_hidden_states else None,
                attentions=[] if output_attentions else None,
                cross_attentions=[] if output_attentions and source is not None else None,
                routers=[] if output_router_logits else None,
            ),
        )

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> BaseModelOutput | tuple:
        """States of the last layer.

        Args:
            input_ids: [B, T] int64.
            attention_mask: [B, T], nonzero marks tokens; states of padding are zero.
            inputs: `token_type_ids`, `position_ids`, `sequence_ids` [B, T], `inputs_embeds` [B, T, D],
                `past_key_values`, `use_cache`, `output_hidden_states`, `output_attentions`, `output_router_logits`.
        """
        states = self.run(input_ids, attention_mask, **inputs)
        return finish(
            BaseModelOutput(
                last_hidden_state=states.unpack(),
                pooler_output=self.pool(states),
                past_key_values=states.cache,
                hidden_states=states.hidden_states,
                attentions=states.attentions,
                cross_attentions=states.cross_attentions,
                router_logits=states.router_logits,
            ),
            self.config,
            return_dict,
        )

    def pool(self, states: States) -> Tensor | None:
        """One vector a sequence [B, D], for families that have a pooler."""
        return None


def first_tokens(states: States) -> Tensor:
    """[B, D]: the state at each row's first column."""
    if states.packing.index is None:
        return states.unpack()[:, 0]
    # With left padding the first column may be padding; the reference reads it all the same, a user means the token.
    return pick(states, torch.tensor(states.where.offsets[:-1], device=states.packed.device))


def mean_tokens(states: States) -> Tensor:
    """[B, D]: the mean of each row's states, zeros for a row that is all padding."""
    lengths, packed = torch.tensor(states.where.lengths, device=states.packed.device), states.packed
    rows = torch.arange(len(lengths), device=packed.device).repeat_interleave(lengths)
    sums = packed.new_zeros(len(lengths), packed.shape[-1]).index_add(0, rows, packed)
    return sums / lengths.clamp(min=1)[:, None]


def pick(states: States, index: Tensor) -> Tensor:
    """[B, D]: one packed state for each sequence, zeros for a sequence that is all padding."""
    if all(states.where.lengths):
        return states.packed[index]
    kept = torch.tensor(states.where.lengths, device=index.device) > 0
    chosen = states.packed.new_zeros(len(kept), states.packed.shape[-1])
    chosen[kept] = states.packed[index[kept]]
    return chosen


def finish(output: ModelOutput, config: PreTrainedConfig, return_dict: bool | None) -> Any:
    """The output, or its tuple when `return_dict=False`."""
    wanted = config.return_dict if return_dict is None else return_dict
    return output if wanted else output.to_tuple()


class EncoderDecoder(PreTrainedModel):
    """Two stacks over one vocabulary; the decoder attends to the encoder's states."""

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.encoder = Stack(self.encoder_spec(config))
        self.decoder = Stack(self.decoder_spec(config))

    @classmethod
    def encoder_spec(cls, config: PreTrainedConfig) -> spec.Stack:
        """The family's encoder."""
        raise NotImplementedError

    @classmethod
    def decoder_spec(cls, config: PreTrainedConfig) -> spec.Stack:
        """The family's decoder."""
        raise NotImplementedError

    def positions(self, ids: Tensor | None, mask: Tensor | None, cache: Cache | None = None) -> Tensor | None:
        """[B, T] positions of tokens, for families in which they are not the columns."""
        return None

    def encode(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> States:
        """The encoder's packed states."""
        return run_stack(
            self.encoder,
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=self.positions(input_ids, attention_mask),
            inputs_embeds=inputs_embeds,
            backend=self.attention_backend,
            trace=Trace(hidden=[] if output_hidden_states else None, attentions=[] if output_attentions else None),
        )

    def run(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> tuple[States, Seq2SeqOutput]:
        """The decoder's packed states, and an output that holds all but what a head adds."""
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            raise ArgumentError(
                f"{type(self).__name__} got nothing for its decoder: pass decoder_input_ids or decoder_inputs_embeds "
                "(a model that writes text also makes them from labels)"
            )
        config = self.config
        hidden = bool(config.output_hidden_states if output_hidden_states is None else output_hidden_states)
        seen = bool(config.output_attentions if output_attentions is None else output_attentions)
        output = Seq2SeqOutput()
        if encoder_outputs is None:
            encoded = self.encode(
                input_ids, attention_mask, inputs_embeds, output_hidden_states=hidden, output_attentions=seen
            )
            output.encoder_last_hidden_state = encoded.unpack()
            output.encoder_hidden_states, output.encoder_attentions = encoded.hidden_states, encoded.attentions
            source = (Source(encoded.packed, encoded.where), encoded.packing)
        else:
            source = as_source(encoder_outputs[0], attention_mask)
            output.encoder_last_hidden_state = encoder_outputs[0]
        cache = as_cache(past_key_values)
        if cache is None and not self.training and (config.use_cache if use_cache is None else use_cache):
            cache = Cache()
        decoded = run_stack(
            self.decoder,
            input_ids=decoder_input_ids,
            attention_mask=decoder_attention_mask,
            position_ids=self.positions(decoder_input_ids, decoder_attention_mask, cache),
            inputs_embeds=decoder_inputs_embeds,
            cache=cache,
            source=source,
            backend=self.attention_backend,
            trace=Trace(
                hidden=[] if hidden else None,
                attentions=[] if seen else None,
                cross_attentions=[] if seen else None,
            ),
        )
        output.past_key_values = decoded.cache
        output.decoder_hidden_states, output.decoder_attentions = decoded.hidden_states, decoded.attentions
        output.cross_attentions = decoded.cross_attentions
        return decoded, output

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> Seq2SeqOutput | tuple:
        """States of the decoder's last layer.

        Args:
            input_ids: [B, S] int64, the source.
            attention_mask: [B, S].
            inputs: `decoder_input_ids` [B, T], `decoder_attention_mask`, `encoder_outputs`, `past_key_values`,
                `inputs_embeds`, `decoder_inputs_embeds`, `use_cache`, `output_hidden_states`, `output_attentions`.
        """
        decoded, output = self.run(input_ids, attention_mask, **inputs)
        output.last_hidden_state = decoded.unpack()
        return finish(output, self.config, return_dict)

    def shift_right(self, labels: Tensor) -> Tensor:
        """[B, T] decoder inputs that predict `labels`: the start token, then the labels but the last."""
        start, pad = self.config.decoder_start_token_id, self.config.pad_token_id
        if start is None or pad is None:
            raise ArgumentError(
                f"config.decoder_start_token_id is {start} and config.pad_token_id is {pad}: "
                "both are needed to make decoder inputs from labels"
            )
        shifted = labels.new_full(labels.shape, start)
        shifted[:, 1:] = labels[:, :-1]
        return shifted.masked_fill(shifted == -100, pad)

"""LED (Beltagy et al. 2020): BART for long texts. The encoder's tokens see windows; marked ones see all."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from enfold.base.errors import ArgumentError, ConfigError
from enfold.models.bart import (
    APART,
    NAMES,
    NORM,
    SHARED,
    BartConfig,
    BartForConditionalGeneration,
    BartForQuestionAnswering,
    BartModel,
)
from enfold.models.base import check_ids
from enfold.models.config import PreTrainedConfig
from enfold.models.outputs import Seq2SeqOutput
from enfold.models.stacks import States
from enfold.nn import spec
from enfold.nn.cache import Packed
from enfold.nn.linear import Linear
from enfold.nn.modules import Attention, Context, Trace
from enfold.nn.split import Plan
from enfold.nn.where import Packing, Where
from enfold.weights.names import NameTable

# In a merged mask: 0 hides a token, 1 gives it its window, this marks it.
MARKED = 2
# Sequences of up to so many windows are cheaper with all scores at once.
FEW = 4


class LEDConfig(BartConfig):
    """Entries of an LED `config.json`.

    `attention_window` is an even number of neighbours that a token of the encoder sees, half on each side, or one for
    each layer.
    """

    model_type = "led"
    defaults = {
        **{name: value for name, value in BartConfig.defaults.items() if name != "max_position_embeddings"},
        "max_encoder_position_embeddings": 16384,
        "max_decoder_position_embeddings": 1024,
        "attention_window": 512,
        "forced_eos_token_id": None,
    }

    @property
    def windows(self) -> list[int]:
        """Of each layer of the encoder.

        Raises:
            ConfigError: an odd one, or another number of them than of layers.
        """
        given, layers = self.attention_window, self.encoder_layers
        windows = list(given) if isinstance(given, (list, tuple)) else [given] * layers
        if len(windows) != layers or any(window < 2 or window % 2 for window in windows):
            raise ConfigError(
                f"attention_window is {given!r}; expected an even number, 2 or more, or {layers} of them, one a layer"
            )
        return windows


@dataclass(frozen=True)
class Windowed(spec.Attention, spec.Op):
    """Attention within a window, with other projections for the marked tokens, which see everything."""

    def build(self, width: int) -> nn.Module:
        return WindowedAttention(self, width)


@dataclass
class MarkedContext(Context):
    """A pass in which some tokens, [N] bool, see all of their sequence and are seen by all of it."""

    marked: Tensor | None = None


class WindowedAttention(Attention):
    """x [N, D] → [N, D], in blocks of half a window: memory grows with the length, not with its square.

    keys     |  block − 1  |    block    |  block + 1  | marked
    queries                |    block    |
    """

    def __init__(self, given: Windowed, width: int):
        super().__init__(given, width)
        self.q_all, self.k_all, self.v_all = (Linear(width, out, bias=given.bias) for out in self.widths)

    def plan(self, ranks: int) -> Plan | None:
        found = super().plan(ranks)
        return found and replace(found, columns={n + end: c for n, c in found.columns.items() for end in ("", "_all")})

    def forward(self, x: Tensor, context: Context, depth: int) -> Tensor:
        where, seen = context.where, context.trace.attentions
        marked = context.marked if isinstance(context, MarkedContext) else None
        q, k, v = map(self.by_head, self.groups[0].parts(x))
        assert self.spec.window is not None
        few = max(where.lengths, default=0) <= FEW * 2 * self.spec.window
        if marked is None and (few or seen is not None):
            return self.answer(q, Packed(k, v, where.lengths, where.offsets), context, seen)
        mixed, weights = [], []
        for first, end in pairwise(where.offsets):
            marks = None if marked is None else marked[first:end]
            a, b, c = (tensor[first:end].transpose(0, 1) for tensor in (q, k, v))  # [H, L, d] each
            answer, scores = self.within(a, b, c, marks, dense=few or seen is not None)
            if marks is not None and bool(marks.any()):
                over, all_scores = self.over_all(x[first:end], marks)
                answer = answer.index_copy(1, marks.nonzero().squeeze(1), over)
                if scores is not None:
                    scores = scores.index_copy(1, marks.nonzero().squeeze(1), all_scores)
            mixed.append(answer.transpose(0, 1))
            weights.append(scores)
        if seen is not None:
            seen.append(_padded(weights))
        return self.o(torch.cat(mixed).reshape(-1, self.widths[0]))

    def within(
        self, q: Tensor, k: Tensor, v: Tensor, marks: Tensor | None, *, dense: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Attention of one sequence within windows and to marked tokens: [H, L, d], and its weights if it is dense."""
        assert self.spec.window is not None
        half, length = self.spec.window - 1, q.shape[1]
        place = torch.arange(length, device=q.device)
        if dense:
            visible = (place[:, None] - place).abs() <= half
            return self.weigh(q, k, v, visible if marks is None else visible | marks)
        count = -(-length // half)
        behind = (count + 1) * half - length
        blocks = [F.pad(x, (0, 0, half, behind)).unfold(1, 3 * half, half).permute(1, 0, 3, 2) for x in (k, v)]
        queries = F.pad(q, (0, 0, 0, count * half - length)).unflatten(1, (count, half)).transpose(0, 1)
        known = torch.ones(length, dtype=torch.bool, device=q.device) if marks is None else ~marks
        known = F.pad(known, (half, behind)).unfold(0, 3 * half, half)  # [blocks, keys]
        step = torch.arange(3 * half, device=q.device) - torch.arange(half, device=q.device)[:, None]
        visible = known[:, None] & (step >= 0) & (step <= 2 * half)
        visible[-1, length - (count - 1) * half :] = True  # padding sees something, for numbers' sake
        if marks is not None and bool(marks.any()):
            shown = int(marks.sum())
            blocks = [
                torch.cat([b, x[:, marks].expand(count, -1, -1, -1)], 2) for b, x in zip(blocks, (k, v), strict=True)
            ]
            visible = F.pad(visible, (0, shown), value=True)
        rule = self.rules[self.training]
        mixed = F.scaled_dot_product_attention(
            queries, *blocks, attn_mask=visible[:, None], dropout_p=rule.dropout, scale=rule.scale
        )
        return mixed.transpose(0, 1).flatten(1, 2)[:, :length], None

    def over_all(self, x: Tensor, marks: Tensor) -> tuple[Tensor, Tensor]:
        """Attention of the marked tokens of one sequence [L, D] to all of it: [H, marked, d], and its weights."""
        parts = self.q_all(x[marks]), self.k_all(x), self.v_all(x)
        q, k, v = (self.by_head(part).transpose(0, 1) for part in parts)
        return self.weigh(q, k, v, None)

    def weigh(self, q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None) -> tuple[Tensor, Tensor]:
        """The definition: values [H, L, d] weighed by softmax(q·k), and the weights [H, Lq, L]."""
        rule = self.rules[self.training]
        scores = q @ k.transpose(1, 2) * rule.scale
        if visible is not None:
            scores = scores.masked_fill(~visible, float("-inf"))
        weights = scores.softmax(-1, dtype=torch.float32).to(q.dtype)
        return F.dropout(weights, rule.dropout, self.training) @ v, weights


def _padded(weights: list[Tensor]) -> Tensor:
    """Weights [H, L, L] of each sequence → [B, H, longest, longest], zeros elsewhere."""
    longest = max(part.shape[1] for part in weights)
    return torch.stack([F.pad(part, (0, longest - part.shape[1]) * 2) for part in weights])


_SEEN = "encoder.layers.{i}.self_attn"
_LONG = f"{_SEEN}.longformer_self_attn"
LED_NAMES = NAMES.replace("NORM", "out").replace(f"{_SEEN}.out_proj", f"{_SEEN}.output")
for _part, _theirs in (("q", "query"), ("k", "key"), ("v", "value")):
    LED_NAMES = LED_NAMES.replace(f"{_SEEN}.{_part}_proj", f"{_LONG}.{_theirs}")
    LED_NAMES += f"encoder.layers.{{i}}.attn.op.{_part}_all  {_LONG}.{_theirs}_global\n"


def merged(mask: Tensor | None, global_mask: Tensor, ids: Tensor | None, pad: int | None) -> Tensor:
    """A mask of tokens [B, S] and one of marked tokens as one.

    Raises:
        ArgumentError: masks of different shapes.
    """
    if mask is None:
        mask = torch.ones_like(global_mask) if ids is None or pad is None else (ids != pad).long()
    if mask.shape != global_mask.shape:
        raise ArgumentError(
            f"global_attention_mask has shape {tuple(global_mask.shape)} and attention_mask {tuple(mask.shape)}; "
            "expected one entry for each token of the source in both"
        )
    return (mask != 0).long() * ((mask == MARKED) | (global_mask != 0)).long().add(1)


class LEDModel(BartModel):
    """Encoder and decoder.

    `global_attention_mask` [B, S] marks the tokens that see all of the source and are seen by all of it: the first
    one, or those of a question.
    """

    config_class = LEDConfig
    base_model_prefix = "led"
    stored_aliases = {
        alias.replace("model.", "led."): name.replace("model.", "led.")
        for alias, name in BartModel.stored_aliases.items()
    }

    def name_table(self) -> NameTable:
        return NameTable((SHARED if self.ties() else APART) + LED_NAMES)

    @classmethod
    def embed(cls, config: PreTrainedConfig, *, decoder: bool) -> spec.Embed:
        side = "decoder" if decoder else "encoder"
        return spec.Embed(
            vocab=config.vocab_size,
            positions=config.get(f"max_{side}_position_embeddings"),
            norm=NORM,
            dropout=config.dropout,
            padding_id=config.pad_token_id,
        )

    @classmethod
    def encoder_spec(cls, config: PreTrainedConfig) -> spec.Stack:
        given = cls.side(config, decoder=False)
        assert isinstance(config, LEDConfig)
        layers = []
        for layer, window in zip(given.layers, config.windows, strict=True):
            assert isinstance(layer.attn.op, spec.Attention)
            op = spec.extended(replace(layer.attn.op, window=window // 2 + 1), Windowed)
            layers.append(replace(layer, attn=replace(layer.attn, op=op)))
        return replace(given, layers=tuple(layers))

    def max_positions(self) -> int | None:
        """Of the source: long texts are what the model is for."""
        return self.config.max_encoder_position_embeddings

    def encode(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> States:
        """The encoder's packed states; 2 in the mask marks a token."""
        given = inputs_embeds if input_ids is None else input_ids
        if attention_mask is None or given is None or not bool((attention_mask == MARKED).any()):
            return super().encode(
                input_ids,
                attention_mask,
                inputs_embeds,
                output_hidden_states=output_hidden_states,
                output_attentions=output_attentions,
            )
        packing = Packing.of(tuple(given.shape[:2]), attention_mask)  # type: ignore[arg-type]
        where = Where(packing.lengths, packing.columns(given.device), end=given.shape[1])
        trace = Trace(hidden=[] if output_hidden_states else None, attentions=[] if output_attentions else None)
        packed = packing.pack(given)
        assert self.encoder.embed is not None
        if input_ids is None:
            x = self.encoder.embed(None, where, vectors=packed)
        else:
            check_ids(packed, self.encoder.embed.tokens.num_embeddings)
            x = self.encoder.embed(packed, where)
        marked = packing.pack(attention_mask) == MARKED
        context = MarkedContext(where, backend=self.attention_backend, trace=trace, marked=marked)
        return States(self.encoder(x, context), packing, where, None, trace)

    def run(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        global_attention_mask: Tensor | None = None,
        **inputs: Any,
    ) -> tuple[States, Seq2SeqOutput]:
        if global_attention_mask is not None:
            attention_mask = merged(attention_mask, global_attention_mask, None, None)
        return super().run(input_ids, attention_mask, **inputs)


class LEDForConditionalGeneration(BartForConditionalGeneration):
    """Text to text."""

    base_class = LEDModel

    def generate(
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
        **options: Any,
    ) -> Any:
        """As of every model that writes.

        Args:
            global_attention_mask: [B, S], nonzero marks tokens that see everything; by default none does.
        """
        if global_attention_mask is not None:
            pad = self.generation_config.pad_token_id
            source = options.get("inputs") if input_ids is None else input_ids
            attention_mask = merged(attention_mask, global_attention_mask, source, pad)
        return super().generate(input_ids, attention_mask=attention_mask, **options)

    def for_summaries(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """The first token of each text sees, and is seen by, all of it (Beltagy et al. 2020, §5.3)."""
        marked = torch.zeros_like(attention_mask)
        marked[:, 0] = attention_mask[:, 0]
        return {"global_attention_mask": marked}

    def max_positions(self) -> int | None:
        return self.base.max_positions()


class LEDForQuestionAnswering(BartForQuestionAnswering):
    """Start and end of an answer, read off the decoder's states."""

    base_class = LEDModel

    def max_positions(self) -> int | None:
        return self.base.max_positions()

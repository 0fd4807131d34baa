"""Wav2Vec2 (Baevski et al. 2020): convolutions over a waveform, an encoder over their frames."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from enfold.base.errors import ArgumentError, ConfigError, NotBuiltError
from enfold.models.activations import activation
from enfold.models.config import PreTrainedConfig, head_dim
from enfold.models.outputs import SpeechOutput
from enfold.models.speech import CTC, AudioClassification, spans
from enfold.models.stacks import States, finish
from enfold.models.stems import Conv1d, StemModel
from enfold.nn import spec
from enfold.nn.linear import Linear
from enfold.nn.modules import ACTIVATIONS, LayerNorm
from enfold.weights.names import NameTable


class Wav2Vec2Config(PreTrainedConfig):
    """Entries of a Wav2Vec2 `config.json`."""

    model_type = "wav2vec2"
    defaults = {
        "vocab_size": 32,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "hidden_dropout": 0.1,
        "activation_dropout": 0.1,
        "attention_dropout": 0.1,
        "feat_proj_dropout": 0.0,
        "feat_proj_layer_norm": True,
        "final_dropout": 0.1,
        "layerdrop": 0.1,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-5,
        "feat_extract_norm": "group",
        "feat_extract_activation": "gelu",
        "conv_dim": [512, 512, 512, 512, 512, 512, 512],
        "conv_stride": [5, 2, 2, 2, 2, 2, 2],
        "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
        "conv_bias": False,
        "num_conv_pos_embeddings": 128,
        "num_conv_pos_embedding_groups": 16,
        "do_stable_layer_norm": False,
        "apply_spec_augment": True,
        "mask_time_prob": 0.05,
        "mask_time_length": 10,
        "mask_time_min_masks": 2,
        "mask_feature_prob": 0.0,
        "mask_feature_length": 10,
        "mask_feature_min_masks": 0,
        "ctc_loss_reduction": "sum",
        "ctc_zero_infinity": False,
        "use_weighted_layer_sum": False,
        "classifier_proj_size": 256,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "add_adapter": False,
        "adapter_attn_dim": None,
    }

    @property
    def inputs_to_logits_ratio(self) -> int:
        """Samples a frame."""
        return math.prod(self.conv_stride)


class FrameConv(Conv1d):
    """A convolution over the waveform, whose fresh weights keep the variance of what they read (He et al. 2015)."""

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        fan = self.in_channels // self.groups * self.kernel_size[0]
        if name == "bias":
            parameter.uniform_(-(fan**-0.5), fan**-0.5)
        else:
            parameter.normal_(0.0, (2 / fan) ** 0.5)


class Frame(nn.Module):
    """Convolution, norm, activation: [B, C, S] → [B, C', S']."""

    def __init__(self, config: PreTrainedConfig, depth: int):
        super().__init__()
        before, width = (1, *config.conv_dim)[depth], config.conv_dim[depth]
        self.conv = FrameConv(
            before, width, config.conv_kernel[depth], config.conv_stride[depth], bias=bool(config.conv_bias)
        )
        self.norm: nn.Module | None = None
        if config.feat_extract_norm == "layer":
            self.norm = LayerNorm(width, eps=1e-5)
        elif depth == 0:
            self.norm = nn.GroupNorm(width, width)  # each channel over all of time, padding too
        self.act = ACTIVATIONS[activation(config.feat_extract_activation)]

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if isinstance(self.norm, LayerNorm):
            x = self.norm(x.transpose(1, 2).contiguous()).transpose(1, 2)
        elif self.norm is not None:
            x = self.norm(x)
        return self.act(x)


class Places(nn.Module):
    """What a frame learns of where it stands: an activated convolution over its neighbours, [B, T, D] → [B, T, D].

    Its weights are directions [D, D / groups, K] and a length for each of the K places (Salimans & Kingma 2016).
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        width, self.groups = config.hidden_size, config.num_conv_pos_embedding_groups
        self.kernel = config.num_conv_pos_embeddings
        self.direction = nn.Parameter(torch.empty(width, width // self.groups, self.kernel))
        self.gain = nn.Parameter(torch.empty(1, 1, self.kernel))
        self.bias = nn.Parameter(torch.empty(width))
        self.act = ACTIVATIONS[activation(config.feat_extract_activation)]

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        if name == "direction":
            parameter.normal_(0.0, 2 / math.sqrt(self.kernel * len(self.direction)))
        elif name == "gain":
            parameter.copy_(self.direction.norm(dim=(0, 1), keepdim=True))
        else:
            parameter.zero_()

    def forward(self, x: Tensor) -> Tensor:
        weight = self.direction * (self.gain / self.direction.norm(dim=(0, 1), keepdim=True))
        y = F.conv1d(x.transpose(1, 2), weight, self.bias, padding=self.kernel // 2, groups=self.groups)
        return self.act(y[..., : x.shape[1]]).transpose(1, 2)  # an even kernel makes a frame too many


class WaveStem(nn.Module):
    """A waveform [B, S] → frames [B, T, D] that know their places."""

    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        self.frames = nn.ModuleList(Frame(config, depth) for depth in range(len(config.conv_dim)))
        width, norm = config.conv_dim[-1], bool(config.feat_proj_layer_norm)
        self.norm = LayerNorm(width, eps=config.layer_norm_eps) if norm else None
        self.project = Projection(width, config.hidden_size)
        hides = config.mask_time_prob > 0 or config.mask_feature_prob > 0
        self.hidden = nn.Parameter(torch.empty(config.hidden_size)) if hides else None
        self.places = Places(config)
        stable = config.do_stable_layer_norm
        self.out = None if stable else LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropouts = (config.feat_proj_dropout, config.hidden_dropout)

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        """What stands for a hidden frame."""
        parameter.uniform_()

    def features(self, waveform: Tensor) -> Tensor:
        """[B, S] → [B, T, C], normed."""
        x = waveform.to(self.project.weight.dtype).unsqueeze(1)
        for frame in self.frames:
            x = frame(x)
        x = x.transpose(1, 2).contiguous()
        return x if self.norm is None else self.norm(x)

    def features_apart(self, waveform: Tensor, lengths: list[int], frames: Callable[[int], int]) -> Tensor:
        """`features` of rows of so many samples each, zeros behind them; neighbours of one length go together."""
        columns, parts, start = frames(waveform.shape[1]), [], 0
        while start < len(lengths):
            end = next((n for n in range(start, len(lengths)) if lengths[n] != lengths[start]), len(lengths))
            real = max(frames(lengths[start]), 0)
            if real:
                part = self.features(waveform[start:end, : lengths[start]])
            else:
                width = self.project.in_features
                part = torch.zeros(end - start, 0, width, dtype=self.project.weight.dtype, device=waveform.device)
            parts.append(F.pad(part, (0, 0, 0, columns - real)))
            start = end
        return torch.cat(parts)

    def forward(self, features: Tensor, mask: Tensor | None, hide: Callable[[Tensor], Tensor]) -> Tensor:
        """Features [B, T, C] → [B, T, D]; `hide` hides some on the way, `mask` [B, T] says which are there."""
        x = hide(F.dropout(self.project(features), self.dropouts[0], self.training))
        if mask is not None:
            x = x.masked_fill(~mask.unsqueeze(-1), 0.0)
        x = x + self.places(x)
        if self.out is not None:
            x = self.out(x)
        return F.dropout(x, self.dropouts[1], self.training)


class Projection(Linear):
    """From the convolutions' width to the stream's."""

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        parameter.uniform_(-(self.in_features**-0.5), self.in_features**-0.5)


_CONV = "encoder.pos_conv_embed.conv"
NAMES = NameTable(f"""
    stem.hidden                    masked_spec_embed
    stem.frames.{{i}}.conv           feature_extractor.conv_layers.{{i}}.conv
    stem.frames.{{i}}.norm           feature_extractor.conv_layers.{{i}}.layer_norm
    stem.norm                      feature_projection.layer_norm
    stem.project                   feature_projection.projection
    stem.places.gain               {_CONV}.parametrizations.weight.original0
    stem.places.direction          {_CONV}.parametrizations.weight.original1
    stem.places.bias               {_CONV}.bias
    stack.layers.{{i}}.attn.op.q     encoder.layers.{{i}}.attention.q_proj
    stack.layers.{{i}}.attn.op.k     encoder.layers.{{i}}.attention.k_proj
    stack.layers.{{i}}.attn.op.v     encoder.layers.{{i}}.attention.v_proj
    stack.layers.{{i}}.attn.op.o     encoder.layers.{{i}}.attention.out_proj
    stack.layers.{{i}}.mlp.op.up     encoder.layers.{{i}}.feed_forward.intermediate_dense
    stack.layers.{{i}}.mlp.op.down   encoder.layers.{{i}}.feed_forward.output_dense
""")
# The same names in the checkpoint, at other places of the layer.
POST_NORM = NAMES + NameTable("""
    stem.out                       encoder.layer_norm
    stack.layers.{i}.attn.out      encoder.layers.{i}.layer_norm
    stack.layers.{i}.mlp.out       encoder.layers.{i}.final_layer_norm
""")
PRE_NORM = NAMES + NameTable("""
    stack.norm                     encoder.layer_norm
    stack.layers.{i}.attn.pre      encoder.layers.{i}.layer_norm
    stack.layers.{i}.mlp.pre       encoder.layers.{i}.final_layer_norm
""")


def older_names(prefix: str) -> dict[str, str]:
    """How torch named the parts of a weight-normed convolution before 2.1 → how it does now."""
    renamed = {f"{_CONV}.weight_g": f"{_CONV}.parametrizations.weight.original0"}
    renamed |= {f"{_CONV}.weight_v": f"{_CONV}.parametrizations.weight.original1"}
    return renamed | {f"{prefix}.{old}": f"{prefix}.{new}" for old, new in renamed.items()}


class Wav2Vec2Model(StemModel):
    """The encoder over a waveform."""

    config_class = Wav2Vec2Config
    base_model_prefix = "wav2vec2"
    main_input_name = "input_values"
    stored_aliases = older_names("wav2vec2")
    # What the pre-trained models' head leaves in their files.
    ignorable = r"^(quantizer|project_hid|project_q)\."

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.stem = WaveStem(config)

    def name_table(self) -> NameTable:
        return PRE_NORM if self.config.do_stable_layer_norm else POST_NORM

    @classmethod
    def spec(cls, config: PreTrainedConfig) -> spec.Stack:
        check(config)
        norm, drop, stable = spec.Norm(config.layer_norm_eps), config.hidden_dropout, config.do_stable_layer_norm
        attention = spec.Attention(
            heads=config.num_attention_heads,
            head_dim=head_dim(config.hidden_size, config.num_attention_heads),
            kv_heads=config.num_attention_heads,
            dropout=config.attention_dropout,
        )
        mlp = spec.MLP(config.intermediate_size, activation(config.hidden_act), dropout=config.activation_dropout)
        slot: dict[str, Any] = {"pre": norm} if stable else {"out": norm}
        layer = spec.Layer(spec.Step(attention, dropout=drop, **slot), spec.Step(mlp, dropout=drop, **slot))
        return spec.Stack(
            width=config.hidden_size,
            layers=(layer,) * config.num_hidden_layers,
            norm=norm if stable else None,
            layer_drop=config.layerdrop,
        )

    def frames(self, samples: Any) -> Any:
        """Frames of so many samples: a number, or a tensor of numbers."""
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def freeze_feature_encoder(self) -> None:
        """Let the convolutions over the waveform learn no more."""
        self.stem.frames.requires_grad_(False)

    def embed(
        self, input_values: Tensor | None, attention_mask: Tensor | None, mask_time_indices: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Frames [B, T, D], which of them are there [B, T], and the normed convolutions' [B, T, C]."""
        if input_values is None or input_values.ndim != 2:
            given = "nothing" if input_values is None else f"shape {tuple(input_values.shape)}"
            raise ArgumentError(f"input_values: expected a waveform [batch, samples], got {given}")
        samples = input_values.shape[1]
        if self.frames(samples) < 1:
            raise ArgumentError(
                f"input_values hold {samples} samples, too few for one frame: the convolutions need "
                f"{next(n for n in range(samples, 1 << 20) if self.frames(n) >= 1)}"
            )
        mask = None
        if attention_mask is not None:
            mask = self.frame_mask(attention_mask, input_values)
        if attention_mask is None or self.config.feat_extract_norm == "group":
            features = self.stem.features(input_values)
        else:  # frames see their own samples alone, so none of padding need be made
            features = self.stem.features_apart(input_values, (attention_mask != 0).sum(1).tolist(), self.frames)
        x = self.stem(features, mask, lambda x: self.hide(x, mask, mask_time_indices))
        return x, mask, features

    def frame_mask(self, attention_mask: Tensor, waveform: Tensor) -> Tensor:
        """[B, T] bool of a mask [B, S] over samples.

        Raises:
            ArgumentError: a mask of another shape, or padding that isn't on the right.
        """
        if attention_mask.shape != waveform.shape:
            raise ArgumentError(
                f"attention_mask has shape {tuple(attention_mask.shape)}; expected {tuple(waveform.shape)}, one entry "
                "per sample"
            )
        real = attention_mask != 0
        if bool((real[:, 1:] & ~real[:, :-1]).any()):
            raise ArgumentError("attention_mask has padding before samples; sounds are padded on the right")
        lengths = self.frames(real.sum(1))
        return torch.arange(self.frames(waveform.shape[1]), device=lengths.device) < lengths[:, None]

    def hide(self, x: Tensor, mask: Tensor | None, chosen: Tensor | None) -> Tensor:
        """Frames [B, T, D] some of which are hidden: those that a caller chose, or random spans while training."""
        config, (rows, columns) = self.config, x.shape[:2]
        if not config.apply_spec_augment:
            return x
        lengths = [columns] * rows if mask is None else mask.sum(1).tolist()
        if chosen is None and self.training and config.mask_time_prob > 0:
            chosen = spans(
                lengths,
                columns,
                share=config.mask_time_prob,
                length=config.mask_time_length,
                fewest=config.mask_time_min_masks,
            )
        if chosen is not None:
            if self.stem.hidden is None:
                raise ArgumentError(
                    "mask_time_indices was given, and mask_time_prob=0: the model has nothing to put there"
                )
            x = torch.where(chosen.to(x.device).unsqueeze(-1), self.stem.hidden.to(x.dtype), x)
        if self.training and config.mask_feature_prob > 0:
            silent = spans(
                [config.hidden_size] * rows,
                config.hidden_size,
                share=config.mask_feature_prob,
                length=config.mask_feature_length,
                fewest=config.mask_feature_min_masks,
            )
            x = x.masked_fill(silent.to(x.device).unsqueeze(1), 0.0)
        return x

    def run(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        mask_time_indices: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> States:
        """Packed states of the last layer; arguments as in `forward`."""
        x, mask, _ = self.embed(input_values, attention_mask, mask_time_indices)
        return self.through(x, mask, output_hidden_states=output_hidden_states, output_attentions=output_attentions)

    def forward(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        mask_time_indices: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> SpeechOutput | tuple:
        """States of the last layer.

        Args:
            input_values: [B, S], a waveform as the feature extractor makes it.
            attention_mask: [B, S], nonzero marks samples, padding on the right; states of padding are zero.
            mask_time_indices: [B, T] bool, frames to hide; random spans while training.
            inputs: `output_hidden_states`, `output_attentions`.
        """
        x, mask, features = self.embed(input_values, attention_mask, mask_time_indices)
        states = self.through(x, mask, **inputs)
        return finish(self.output(states, features), self.config, return_dict)

    def output(self, states: States, features: Tensor) -> SpeechOutput:
        """What `forward` returns."""
        return SpeechOutput(states.unpack(), features, states.hidden_states, states.attentions)


def check(config: PreTrainedConfig) -> None:
    """Refuse what isn't built, and sizes that contradict each other."""
    for name in ("add_adapter", "adapter_attn_dim", "conv_pos_batch_norm"):
        if config.get(name):
            raise NotBuiltError(f"{config.model_type} with {name}={config.get(name)!r} is not built")
    sizes = {name: len(config.get(name)) for name in ("conv_dim", "conv_kernel", "conv_stride")}
    if len(set(sizes.values())) > 1:
        raise ConfigError(f"the convolutions' entries differ in length: {sizes}; expected one number for each of them")
    if config.feat_extract_norm not in ("group", "layer"):
        raise ConfigError(f"feat_extract_norm={config.feat_extract_norm!r}; expected 'group' or 'layer'")


class Wav2Vec2ForCTC(CTC):
    """A token, or the blank, for each frame."""

    base_class = Wav2Vec2Model


class Wav2Vec2ForSequenceClassification(AudioClassification):
    """A class for a sound."""

    base_class = Wav2Vec2Model

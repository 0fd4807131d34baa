"""What a model returns: dataclasses that also index like the tuple and the dictionary that users know."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree


@dataclass
class ModelOutput:
    """Fields that are None count as absent: `output[0]` is the first that is there, `"logits" in output` works."""

    def __init_subclass__(cls) -> None:
        # So that sharding finds the tensors from which the gradients set out.
        pytree.register_pytree_node(
            cls,
            lambda output: (list(output.values()), tuple(output.keys())),
            lambda values, names: cls(**dict(zip(names, values, strict=True))),
        )

    def _present(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}

    def __getitem__(self, key: str | int | slice) -> Any:
        return self._present()[key] if isinstance(key, str) else self.to_tuple()[key]

    def __contains__(self, key: object) -> bool:
        return key in self._present()

    def __iter__(self) -> Iterator[str]:
        return iter(self._present())

    def __len__(self) -> int:
        return len(self._present())

    def keys(self):
        return self._present().keys()

    def values(self):
        return self._present().values()

    def items(self):
        return self._present().items()

    def get(self, key: str, default: Any = None) -> Any:
        return self._present().get(key, default)

    def to_tuple(self) -> tuple:
        return tuple(self._present().values())


@dataclass
class BaseModelOutput(ModelOutput):
    """`last_hidden_state` [B, T, D]; `hidden_states` one more than there are layers, [B, T, D] each."""

    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    past_key_values: Any = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None
    router_logits: tuple[Tensor, ...] | None = None


@dataclass
class LogitsOutput(ModelOutput):
    """`logits` [B, T, classes] for tokens, [B, classes] for sequences; `loss` scalar when there were labels.

    Mixtures of experts add `router_logits` [B·T, experts] of each layer, and `aux_loss`, how unevenly they choose.
    """

    loss: Tensor | None = None
    aux_loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Any = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None
    router_logits: tuple[Tensor, ...] | None = None


@dataclass
class QuestionAnsweringOutput(ModelOutput):
    """`start_logits` and `end_logits` [B, T]; -inf where there is padding."""

    loss: Tensor | None = None
    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class PreTrainingOutput(ModelOutput):
    """BERT's two heads: `prediction_logits` [B, T, vocab] and `seq_relationship_logits` [B, 2]."""

    loss: Tensor | None = None
    prediction_logits: Tensor | None = None
    seq_relationship_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class DoubleHeadsOutput(ModelOutput):
    """GPT-2's two heads: `logits` [B, choices, T, vocab] and `mc_logits` [B, choices]."""

    loss: Tensor | None = None
    mc_loss: Tensor | None = None
    logits: Tensor | None = None
    mc_logits: Tensor | None = None
    past_key_values: Any = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class Seq2SeqOutput(ModelOutput):
    """Encoder–decoder: the decoder's answer first, the encoder's states after it."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    last_hidden_state: Tensor | None = None
    past_key_values: Any = None
    decoder_hidden_states: tuple[Tensor, ...] | None = None
    decoder_attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: tuple[Tensor, ...] | None = None
    encoder_attentions: tuple[Tensor, ...] | None = None


@dataclass
class MaskedImageOutput(ModelOutput):
    """`reconstruction` [B, C, H, W]: the pixels as the model believes them."""

    loss: Tensor | None = None
    reconstruction: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class TeacherOutput(ModelOutput):
    """DeiT's two heads: `logits` [B, classes] are the mean of `cls_logits` and `distillation_logits`."""

    logits: Tensor | None = None
    cls_logits: Tensor | None = None
    distillation_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class SpeechOutput(ModelOutput):
    """`last_hidden_state` [B, T, D] of T frames; `extract_features` [B, T, C], the normed convolutions below them."""

    last_hidden_state: Tensor | None = None
    extract_features: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None

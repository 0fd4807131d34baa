"""What stands before a stack that reads images or sounds: a stem makes vectors, the stack takes them as embeddings.

pixels [B, C, H, W] ─┐
                     ├─ stem ─ [B, T, D] ─ packed [N, D] ─ stack
waveform [B, S]  ────┘
"""

from typing import Any

from torch import Tensor, nn

from enfold.base.errors import ArgumentError
from enfold.models.stacks import SingleStack, States
from enfold.nn.modules import Context, Stack, Trace
from enfold.nn.where import Packing, Where


class EndBeforeNorm(Stack):
    """A stack whose last hidden state is what its last norm reads, not what that makes of it."""

    def finish(self, x: Tensor, hidden: list[Tensor] | None) -> Tensor:
        if hidden is not None:
            hidden.append(x)
        return super().finish(x, None)


class StemModel(SingleStack):
    """A stack that reads what a stem makes of images or sounds."""

    stack_class = EndBeforeNorm

    def through(
        self,
        vectors: Tensor,
        mask: Tensor | None = None,
        *,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> States:
        """The stack over vectors [B, T, D] of a stem, of which `mask` [B, T] says which are there."""
        config = self.config
        if output_hidden_states is None:
            output_hidden_states = config.output_hidden_states
        if output_attentions is None:
            output_attentions = config.output_attentions
        rows, columns = vectors.shape[:2]
        packing = Packing.of((rows, columns), mask)
        where = Where(packing.lengths, packing.columns(vectors.device), end=columns)
        trace = Trace(hidden=[] if output_hidden_states else None, attentions=[] if output_attentions else None)
        packed = self.stack(packing.pack(vectors), Context(where, backend=self.attention_backend, trace=trace))
        return States(packed, packing, where, None, trace)

    def get_input_embeddings(self) -> nn.Embedding:
        raise no_tokens(self)


def no_tokens(model: Any) -> ArgumentError:
    """The error of asking a model that reads no tokens for their embeddings."""
    return ArgumentError(
        f"{type(model).__name__} reads {model.main_input_name}, no tokens: it has no table of token embeddings"
    )


class Conv1d(nn.Conv1d):
    """torch's convolution without its initialisation: see `Linear.reset_parameters`."""

    def reset_parameters(self) -> None:
        """Nothing: the model fills the weights."""

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        """A fresh weight: normal; a bias: zero."""
        parameter.zero_() if name == "bias" else parameter.normal_(0.0, std)


class Conv2d(nn.Conv2d):
    """As `Conv1d`, in two dimensions."""

    def reset_parameters(self) -> None:
        """Nothing: the model fills the weights."""

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        """A fresh weight: normal; a bias: zero."""
        parameter.zero_() if name == "bias" else parameter.normal_(0.0, std)

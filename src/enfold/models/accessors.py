"""Small questions that users ask every model."""

from typing import Any

import torch
from torch import Tensor, nn

from enfold.base.errors import ArgumentError
from enfold.models.outputs import BaseModelOutput
from enfold.nn.modules import Stack


class Encoder(nn.Module):
    """A model's encoder as a model by itself; what it answers, `encoder_outputs=` takes."""

    def __init__(self, model: Any):
        super().__init__()
        self.stack = model.encoder
        self.__dict__["model"] = model  # not a part of this one

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> BaseModelOutput:
        """States [B, S, D] of a source; arguments as of the whole model."""
        options = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        states = self.__dict__["model"].encode(input_ids, attention_mask, inputs_embeds, **options)
        return BaseModelOutput(
            last_hidden_state=states.unpack(), hidden_states=states.hidden_states, attentions=states.attentions
        )


class Accessors:
    """What models are asked for, beside what they compute."""

    @classmethod
    def can_generate(cls) -> bool:
        """Whether the model writes."""
        return hasattr(cls, "generate")

    def get_encoder(self) -> nn.Module:
        """What reads: of an encoder–decoder its encoder, of an encoder the model without its head.

        Raises:
            ArgumentError: the model is a decoder alone.
        """
        base: Any = self.base_model  # type: ignore[attr-defined]
        for model in (self, base):
            if isinstance(getattr(model, "encoder", None), Stack):
                return Encoder(model)
        if getattr(base, "caches", False):
            raise ArgumentError(f"{type(self).__name__} is a decoder alone: it has no encoder")
        return base

    def get_decoder(self) -> nn.Module:
        """What writes: of a decoder the model without its head, of an encoder–decoder the layers that write.

        Raises:
            ArgumentError: the model is an encoder alone.
        """
        base: Any = self.base_model  # type: ignore[attr-defined]
        for model in (self, base):
            decoder = getattr(model, "decoder", None)
            if isinstance(decoder, Stack):
                return decoder
        if not getattr(base, "caches", False):
            raise ArgumentError(f"{type(self).__name__} is an encoder alone: it has no decoder")
        return base

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """Bytes of the weights, and of buffers."""
        held = [*self.parameters(), *(self.buffers() if return_buffers else ())]  # type: ignore[attr-defined]
        return sum(tensor.numel() * tensor.element_size() for tensor in held)

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether the layers recompute their activations in the backward pass."""
        return any(stack.checkpointing for stack in self.stacks())  # type: ignore[attr-defined]

    def enable_input_require_grads(self) -> None:
        """Let gradients reach the embeddings' output, where the embeddings themselves are frozen."""
        self.disable_input_require_grads()
        hook = self.get_input_embeddings().register_forward_hook(_require)  # type: ignore[attr-defined]
        self.__dict__["input_hook"] = hook

    def disable_input_require_grads(self) -> None:
        """Undo `enable_input_require_grads`."""
        hook = self.__dict__.pop("input_hook", None)
        if hook is not None:
            hook.remove()


def _require(_module: nn.Module, _given: Any, output: Tensor) -> Tensor:
    return output.requires_grad_() if torch.is_grad_enabled() else output

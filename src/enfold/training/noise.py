"""NEFTune: noise on the embeddings while training (Jain et al. 2023, "NEFTune: Noisy Embeddings Improve Instruction
Finetuning", algorithm 1)."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from enfold.base.errors import ArgumentError


@contextmanager
def noisy_embeddings(model: nn.Module, alpha: float | None) -> Iterator[None]:
    """Within the block, embeddings x [.., L, D] of a model in training are x + U(−1, 1) · α/√(L·D).

    Args:
        model: has `get_input_embeddings`.
        alpha: α; None adds nothing.
    """
    if not alpha:
        yield
        return
    embeddings = getattr(model, "get_input_embeddings", lambda: None)()
    if embeddings is None:
        raise ArgumentError("neftune_noise_alpha needs a model with get_input_embeddings()")
    columns = [0]

    def look(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        columns[0] = ids.shape[-1] if isinstance(ids, Tensor) else 0

    def disturb(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        if not module.training:
            return output
        # A packed batch has lost its columns: they are those that the model was given.
        length = columns[0] or output.shape[-2]
        size = alpha / math.sqrt(length * output.shape[-1])
        return output + torch.empty_like(output).uniform_(-size, size)

    hooks = [model.register_forward_pre_hook(look, with_kwargs=True), embeddings.register_forward_hook(disturb)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()

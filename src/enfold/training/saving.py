"""A model's files, for models of the house and for any other module."""

from pathlib import Path
from typing import Any

from torch import nn

from enfold.base.errors import CheckpointError

_WEIGHTS = "model.safetensors"


def save_model(model: nn.Module, processing_class: Any, folder: Path) -> None:
    """Weights (and configuration, and tokenizer, where there are any) into a folder."""
    if hasattr(model, "save_pretrained"):
        model.save_pretrained(folder)  # type: ignore[operator]
    else:
        from safetensors.torch import save_model as save_tensors

        save_tensors(model, str(folder / _WEIGHTS))
    if processing_class is not None and hasattr(processing_class, "save_pretrained"):
        processing_class.save_pretrained(folder)


def load_weights(model: nn.Module, folder: Path) -> None:
    """The weights in a folder into the model as it is.

    Raises:
        CheckpointError: they are missing, or of another model.
    """
    if hasattr(model, "save_pretrained"):
        model.load_state_dict(type(model).from_pretrained(folder, dtype="auto").state_dict())  # type: ignore[attr-defined]
        return
    from safetensors.torch import load_model

    if not (folder / _WEIGHTS).is_file():
        raise CheckpointError(f"{folder} has no {_WEIGHTS}: it holds no weights of this model")
    load_model(model, folder / _WEIGHTS)

"""A model's files, for models of the house and for any other module."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from enfold.accelerate.keeping import load_parts
from enfold.accelerate.processes import PartialState
from enfold.accelerate.state import write_weights
from enfold.base.errors import CheckpointError

_WEIGHTS = "model.safetensors"


def save_model(
    model: nn.Module, processing_class: Any, folder: Path, tensors: Mapping[str, Tensor] | None = None
) -> None:
    """Weights (and configuration, and tokenizer, where there are any) into a folder.

    Args:
        tensors: the model's weights where it holds but parts of them.
    """
    if hasattr(model, "save_pretrained"):
        options = {} if tensors is None else {"state_dict": tensors}
        model.save_pretrained(folder, **options)  # type: ignore[operator]
    elif tensors is not None:
        write_weights(tensors, folder, _WEIGHTS)
    else:
        from safetensors.torch import save_model as save_tensors

        save_tensors(model, str(folder / _WEIGHTS))
    save_processor(processing_class, folder)


def save_processor(processing_class: Any, folder: Path) -> None:
    """The tokenizer, where there is one."""
    if processing_class is not None and hasattr(processing_class, "save_pretrained"):
        processing_class.save_pretrained(folder)


def load_weights(model: nn.Module, folder: Path) -> None:
    """The weights in a folder into the model as it is. All processes call it.

    Raises:
        CheckpointError: they are missing, or of another model.
    """
    if load_parts(model, folder):
        return
    split = model.__dict__.get("splitting")
    if split is not None:
        whole = _whole_weights(type(model), model, folder)
        for name in model.state_dict(keep_vars=True):
            split.load_whole(name, whole[name])
    elif any(hasattr(parameter, "full_tensor") for parameter in model.parameters()):
        from enfold.accelerate.sharding import load_from_first, whole_class

        main = PartialState().is_main_process
        load_from_first(model, _whole_weights(whole_class(model), model, folder) if main else None)
    elif hasattr(model, "save_pretrained"):
        model.load_state_dict(type(model).from_pretrained(folder, dtype="auto").state_dict())  # type: ignore[attr-defined]
    else:
        from safetensors.torch import load_model

        load_model(model, _file(folder))


def _whole_weights(kind: type[nn.Module], model: nn.Module, folder: Path) -> dict[str, Tensor]:
    if hasattr(model, "save_pretrained"):
        return kind.from_pretrained(folder, dtype="auto").state_dict()  # type: ignore[attr-defined]
    from safetensors.torch import load_file

    found = load_file(_file(folder))
    firsts: dict[int, str] = {}  # of tied weights, one name is in the file
    tied = {name: firsts.setdefault(id(t), name) for name, t in model.state_dict(keep_vars=True).items()}
    return found | {name: found[first] for name, first in tied.items() if first in found}


def _file(folder: Path) -> Path:
    if not (folder / _WEIGHTS).is_file():
        raise CheckpointError(f"{folder} has no {_WEIGHTS}: it holds no weights of this model")
    return folder / _WEIGHTS

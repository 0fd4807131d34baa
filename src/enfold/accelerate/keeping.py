"""What a checkpoint keeps of models and optimisers: in parts, or gathered whole; and back from either."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from enfold.accelerate import folders
from enfold.base.errors import NotBuiltError

if TYPE_CHECKING:
    from enfold.accelerate.accelerator import Accelerator


@dataclass
class Kept:
    """Models and optimisers of which the parts are written; what is kept whole is in the main process' memory.

    Attributes:
        weights, states: of each model and optimiser; None where it is kept in parts.
    """

    models: list[nn.Module]
    optimizers: list[Optimizer]
    weights: list[dict[str, Tensor] | None]
    states: list[dict[str, Any] | None]
    names: dict[int, str]

    def describe(self, folder: Path) -> None:
        """Write what belongs to the parts and is no tensor; the main process."""
        from enfold.accelerate import parts

        for number, (model, whole) in enumerate(zip(self.models, self.weights, strict=True)):
            if whole is None:
                parts.describe_model(model, parts.model_folder(folder, number))
        for number, (optimizer, whole) in enumerate(zip(self.optimizers, self.states, strict=True)):
            if whole is None:
                parts.describe_optimizer(optimizer, self.names, parts.optimizer_folder(folder, number))


def write_parts(accelerator: "Accelerator", models: list[nn.Module], optimizers: list[Any], folder: Path) -> Kept:
    """Write the parts of what is kept in parts, and gather what is kept whole. All processes call it.

    Nothing of it can fail in one process alone, in which case the others would wait for it.
    """
    bare = [accelerator.unwrap_model(model, keep_torch_compile=False) for model in models]
    inner = [getattr(optimizer, "optimizer", optimizer) for optimizer in optimizers]
    if not accelerator.shards:
        main = accelerator.is_main_process
        weights: list[Any] = [accelerator.get_state_dict(model) for model in bare]
        if any("splitting" in model.__dict__ for model in bare):
            from enfold.accelerate.split_state import whole_optimizer

            return Kept(bare, inner, weights, [whole_optimizer(o, bare) for o in inner], {})
        return Kept(bare, inner, weights, [o.state_dict() if main else {} for o in inner], {})
    if any("splitting" in model.__dict__ for model in bare):
        raise NotBuiltError(
            "checkpoints of weights in parts (FSDP) beside tp_size are not built: save the model alone, by save_model"
        )
    from enfold.accelerate import parts, sharding

    assert accelerator.fsdp_plugin is not None
    apart = accelerator.fsdp_plugin.state_dict_type == "SHARDED_STATE_DICT"
    kept = Kept(bare, inner, [], [], parts.parameter_names(bare))
    for number, model in enumerate(bare):
        if apart and sharding.is_sharded(model):
            parts.write_model(model, parts.model_folder(folder, number))
            kept.weights.append(None)
        else:
            kept.weights.append(sharding.whole_state(model))
    for number, optimizer in enumerate(inner):
        if apart and sharding.moves_parts(optimizer):
            parts.write_optimizer(optimizer, kept.names, parts.optimizer_folder(folder, number))
            kept.states.append(None)
        else:
            kept.states.append(parts.whole_optimizer(optimizer))
    return kept


def load_optimizers(models: list[nn.Module], optimizers: list[Any], folder: Path, files: list[Path]) -> None:
    """What optimisers remember, from parts or from whole files, into whole ones or ones of parts.

    Weights may move: load the models' behind it.
    """
    for number, (prepared, file) in enumerate(zip(optimizers, files, strict=True)):
        optimizer = getattr(prepared, "optimizer", prepared)
        if (folder / f"optimizer_{number}").is_dir():
            from enfold.accelerate import parts

            parts.load_optimizer(optimizer, parts.parameter_names(models), parts.optimizer_folder(folder, number))
            continue
        state = folders.read(file)
        if any("splitting" in model.__dict__ for model in models):
            from enfold.accelerate.split_state import laid_out_optimizer

            state = laid_out_optimizer(optimizer, state, models)
        if any(hasattr(p, "full_tensor") for group in optimizer.param_groups for p in group["params"]):
            from enfold.accelerate.parts import load_whole_optimizer

            load_whole_optimizer(optimizer, state)
        else:
            optimizer.load_state_dict(state)


def load_parts(model: nn.Module, folder: Path, number: int = 0) -> bool:
    """The weights of a checkpoint that keeps them in parts; False if it doesn't."""
    if not (folder / f"pytorch_model_fsdp_{number}").is_dir():
        return False
    from enfold.accelerate import parts

    parts.load_model(model, parts.model_folder(folder, number))
    return True

"""From the name in `TrainingArguments.optim` to an optimiser over a model's weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from enfold.base.errors import ArgumentError, NotBuiltError
from enfold.base.lazy import require
from enfold.training.arguments import TrainingArguments
from enfold.training.optimizers.adafactor import Adafactor
from enfold.training.optimizers.lion import Lion
from enfold.training.optimizers.muon import Muon, is_hidden_matrix

Groups = list[dict[str, Any]]


def weight_groups(model: nn.Module, weight_decay: float, *, matrices_apart: bool = False) -> Groups:
    """Parameters that learn, in groups: matrices decay; biases, norms and other vectors don't.

    Args:
        matrices_apart: hidden matrices form a group of their own, marked `"matrices": True`.
    """
    hidden: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    output = getattr(model, "get_output_embeddings", lambda: None)()
    ends = {id(p) for module in (output,) if module is not None for p in module.parameters()}
    seen: set[int] = set()
    for name, owner in model.named_modules():
        for short, parameter in owner.named_parameters(recurse=False):
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            whole = f"{name}.{short}"
            if matrices_apart and id(parameter) not in ends and is_hidden_matrix(whole, parameter, owner):
                hidden.append(parameter)
            else:
                (decayed if parameter.ndim >= 2 else others).append(parameter)
    groups: Groups = [
        {"params": hidden, "weight_decay": weight_decay, "matrices": True},
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(model: nn.Module, args: TrainingArguments) -> torch.optim.Optimizer:
    """The optimiser that `args.optim` names, over the model's weights.

    Raises:
        ArgumentError: an unknown name, or an option that it doesn't take.
        NotBuiltError: a name of the reference library that isn't here.
    """
    name = getattr(args.optim, "value", args.optim)
    if name not in OPTIMIZERS:
        if name in _ELSEWHERE:
            raise NotBuiltError(f"optim={name!r} is not built; there are {', '.join(sorted(OPTIMIZERS))}")
        raise ArgumentError(f"no optimiser {name!r}; there are {', '.join(sorted(OPTIMIZERS))}")
    groups = weight_groups(model, args.weight_decay, matrices_apart=name == "muon")
    options: dict[str, Any] = dict(args.optim_args or {})  # type: ignore[arg-type]
    try:
        return OPTIMIZERS[name](groups, args, options)
    except TypeError as error:
        raise ArgumentError(f"optim_args {options} don't fit the optimiser {name!r}: {error}") from None


def _adam(args: TrainingArguments) -> dict[str, Any]:
    return {"lr": args.learning_rate, "betas": (args.adam_beta1, args.adam_beta2), "eps": args.adam_epsilon}


def _adamw(groups: Groups, args: TrainingArguments, options: dict[str, Any]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, **{**_adam(args), **options})


def _fused(groups: Groups, args: TrainingArguments, options: dict[str, Any]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, **{**_adam(args), "fused": True, **options})


def _adafactor(groups: Groups, args: TrainingArguments, options: dict[str, Any]) -> torch.optim.Optimizer:
    fixed = {"lr": args.learning_rate, "scale_parameter": False, "relative_step": False}
    return Adafactor(groups, **{**fixed, **options})


def _lion(groups: Groups, args: TrainingArguments, options: dict[str, Any]) -> torch.optim.Optimizer:
    return Lion(groups, **{"lr": args.learning_rate, "betas": (args.adam_beta1, args.adam_beta2), **options})


def _muon(groups: Groups, args: TrainingArguments, options: dict[str, Any]) -> torch.optim.Optimizer:
    return Muon(groups, **{**_adam(args), **options})


def _torchao(kind: str) -> Callable[..., torch.optim.Optimizer]:
    def make(groups: Groups, args: TrainingArguments, options: dict[str, Any]) -> torch.optim.Optimizer:
        torchao = require("torchao.optim", extra="torchao", purpose=f"optim='{kind}'")
        return getattr(torchao, kind)(groups, **{**_adam(args), **options})

    return make


def _plain(kind: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    def make(groups: Groups, args: TrainingArguments, options: dict[str, Any]) -> torch.optim.Optimizer:
        return kind(groups, **{"lr": args.learning_rate, **options})  # type: ignore[call-arg]

    return make


OPTIMIZERS: dict[str, Callable[[Groups, TrainingArguments, dict[str, Any]], torch.optim.Optimizer]] = {
    "adamw_torch": _adamw,
    "adamw_torch_fused": _fused,
    "adamw_torch_8bit": _torchao("AdamW8bit"),
    "adamw_torch_4bit": _torchao("AdamW4bit"),
    "adafactor": _adafactor,
    "lion_32bit": _lion,
    "muon": _muon,
    "sgd": _plain(torch.optim.SGD),
    "adagrad": _plain(torch.optim.Adagrad),
    "rmsprop": _plain(torch.optim.RMSprop),
}
_ELSEWHERE = (
    "adamw_torch_xla",
    "adamw_torch_npu_fused",
    "adamw_anyprecision",
    "ademamix",
    "adamw_bnb_8bit",
    "adamw_8bit",
    "ademamix_8bit",
    "lion_8bit",
    "paged_adamw_32bit",
    "paged_adamw_8bit",
    "paged_ademamix_32bit",
    "paged_ademamix_8bit",
    "paged_lion_32bit",
    "paged_lion_8bit",
    "rmsprop_bnb",
    "rmsprop_bnb_8bit",
    "rmsprop_bnb_32bit",
    "galore_adamw",
    "galore_adamw_8bit",
    "galore_adafactor",
    "lomo",
    "adalomo",
    "grokadamw",
    "schedule_free_radam",
    "schedule_free_adamw",
    "schedule_free_sgd",
    "apollo_adamw",
    "apollo_adamw_layerwise",
    "stable_adamw",
)

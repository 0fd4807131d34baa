"""How weights are sharded: the options of FSDP2, under the reference library's names."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from enfold.base.errors import ArgumentError, NotBuiltError

if TYPE_CHECKING:
    from torch.distributed.fsdp import MixedPrecisionPolicy

POLICIES = ("TRANSFORMER_BASED_WRAP", "SIZE_BASED_WRAP", "NO_WRAP")
FORMATS = ("SHARDED_STATE_DICT", "FULL_STATE_DICT")
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
# Names of configurations and of the environment → fields.
_ALIASES = {
    "version": "fsdp_version",
    "offload_params": "cpu_offload",
    "transformer_layer_cls_to_wrap": "transformer_cls_names_to_wrap",
    "transformer_cls_to_wrap": "transformer_cls_names_to_wrap",
}
# Entries of FSDP1's configurations, and the values that FSDP2 means anyway.
_IDLE: dict[str, tuple[Any, ...]] = {
    "activation_checkpointing_offload": (False,),
    "backward_prefetch": (None, "NO_PREFETCH", "BACKWARD_PRE"),
    "forward_prefetch": (False,),
    "limit_all_gathers": (True,),
    "sync_module_states": (True,),
    "use_orig_params": (True,),
    "xla": (False,),
    "xla_fsdp_grad_ckpt": (False,),
    "xla_fsdp_v2": (False,),
}
# Variables of the environment that a launcher sets, one for each field.
VARIABLES = {
    "fsdp_version": "FSDP_VERSION",
    "reshard_after_forward": "FSDP_RESHARD_AFTER_FORWARD",
    "cpu_offload": "FSDP_OFFLOAD_PARAMS",
    "auto_wrap_policy": "FSDP_AUTO_WRAP_POLICY",
    "transformer_cls_names_to_wrap": "FSDP_TRANSFORMER_CLS_TO_WRAP",
    "min_num_params": "FSDP_MIN_NUM_PARAMS",
    "state_dict_type": "FSDP_STATE_DICT_TYPE",
    "activation_checkpointing": "FSDP_ACTIVATION_CHECKPOINTING",
    "cpu_ram_efficient_loading": "FSDP_CPU_RAM_EFFICIENT_LOADING",
}


@dataclass
class FullyShardedDataParallelPlugin:
    """Each process keeps its part of all weights, gradients and states of the optimiser (FSDP2).

    Args:
        reshard_after_forward: a layer's weights are given back behind its forward pass and gathered again for its
            backward pass; False keeps them, for more memory and less traffic.
        cpu_offload: parts wait, and the optimiser works, in the CPU's memory.
        mixed_precision_policy: a torch `MixedPrecisionPolicy`, "bf16", "fp16" or "fp32", or a dictionary of its fields;
            by default what the accelerator's `mixed_precision` says, with gradients summed in fp32.
        auto_wrap_policy: what is gathered as one: "transformer_based_wrap" (each layer), "size_based_wrap" (each layer
            with `min_num_params`), "no_wrap" (the whole model), or a function of a module.
        transformer_cls_names_to_wrap: classes instead of the layers of the model's stacks.
        state_dict_type: checkpoints as "SHARDED_STATE_DICT" (each process writes its part) or "FULL_STATE_DICT".
        activation_checkpointing: recompute activations instead of keeping them.
        cpu_ram_efficient_loading: `from_pretrained` reads on the first process alone; the others get their parts.
        fsdp_version: 2.
    """

    reshard_after_forward: bool = True
    cpu_offload: Any = False
    mixed_precision_policy: Any = None
    auto_wrap_policy: str | Callable[[nn.Module], bool] = "TRANSFORMER_BASED_WRAP"
    transformer_cls_names_to_wrap: list[str] | str | None = None
    min_num_params: int = 0
    state_dict_type: str = "SHARDED_STATE_DICT"
    activation_checkpointing: bool = False
    cpu_ram_efficient_loading: bool = False
    fsdp_version: int = 2

    def __post_init__(self) -> None:
        if self.fsdp_version != 2:
            raise NotBuiltError(f"fsdp_version={self.fsdp_version}: FSDP2 is built, say fsdp_version=2 or leave it out")
        for name in ("reshard_after_forward", "activation_checkpointing", "cpu_ram_efficient_loading"):
            if not isinstance(getattr(self, name), bool):
                raise ArgumentError(f"{name}={getattr(self, name)!r}; expected True or False")
        if isinstance(self.auto_wrap_policy, str):
            self.auto_wrap_policy = self.auto_wrap_policy.upper()
            if self.auto_wrap_policy not in POLICIES:
                raise ArgumentError(f"auto_wrap_policy={self.auto_wrap_policy!r}; expected one of {POLICIES}")
        self.state_dict_type = getattr(self.state_dict_type, "name", str(self.state_dict_type)).upper()
        if self.state_dict_type not in FORMATS:
            raise ArgumentError(f"state_dict_type={self.state_dict_type!r}; expected one of {FORMATS}")
        if isinstance(self.transformer_cls_names_to_wrap, str):
            self.transformer_cls_names_to_wrap = self.transformer_cls_names_to_wrap.split(",")
        if self.cpu_ram_efficient_loading:
            os.environ[VARIABLES["cpu_ram_efficient_loading"]] = "true"

    @classmethod
    def from_options(cls, given: Mapping[str, Any]) -> "FullyShardedDataParallelPlugin":
        """From a configuration's entries, with or without `fsdp_` before their names; values may be text.

        Raises:
            ArgumentError: an entry, or its value, is unknown.
            NotBuiltError: an entry of FSDP1 asks for what FSDP2 doesn't do.
        """
        known = {field.name: field for field in fields(cls)}
        options: dict[str, Any] = {}
        for entry, value in given.items():
            short = entry if entry == "fsdp_version" else entry.removeprefix("fsdp_")
            name = _ALIASES.get(short, short)
            value = _parsed(value)
            if name == "sharding_strategy":
                options["reshard_after_forward"] = _of_strategy(value)
            elif name in _IDLE:
                if value not in _IDLE[name]:
                    raise NotBuiltError(f"{entry}={value!r} is not built: leave it out")
            elif name not in known:
                raise ArgumentError(f"FSDP has no option {entry!r}; there are {', '.join(sorted(known))}")
            elif value is not None:
                options[name] = value
        return cls(**options)

    def environment(self) -> dict[str, str]:
        """The variables with which a launcher asks for the same."""
        held = {variable: getattr(self, name) for name, variable in VARIABLES.items()}
        return {"ENFOLD_USE_FSDP": "true"} | {
            name: _as_text(value) for name, value in held.items() if value is not None
        }

    @classmethod
    def from_environment(cls) -> "FullyShardedDataParallelPlugin | None":
        """What a launcher asked for; None if it didn't ask for FSDP."""
        if not asked_for():
            return None
        found = {name: os.environ[variable] for name, variable in VARIABLES.items() if variable in os.environ}
        return cls.from_options(found)

    def precision(self, mixed_precision: torch.dtype | None) -> "MixedPrecisionPolicy":
        """The dtypes in which weights are gathered and gradients summed."""
        from torch.distributed.fsdp import MixedPrecisionPolicy

        asked = self.mixed_precision_policy
        if isinstance(asked, MixedPrecisionPolicy):
            return asked
        if isinstance(asked, Mapping):
            unknown = asked.keys() - {field.name for field in fields(MixedPrecisionPolicy)}
            if unknown:
                raise ArgumentError(f"mixed_precision_policy has no {sorted(unknown)}")
            return MixedPrecisionPolicy(**{name: _dtype(value) for name, value in asked.items()})
        if asked is not None:
            return MixedPrecisionPolicy(param_dtype=_dtype(asked), reduce_dtype=_dtype(asked))
        if mixed_precision is None:
            return MixedPrecisionPolicy()
        return MixedPrecisionPolicy(param_dtype=mixed_precision, reduce_dtype=torch.float32)


def asked_for() -> bool:
    """Whether the launcher asked for FSDP."""
    return any(_parsed(os.environ.get(name)) in (True, 1) for name in ("ENFOLD_USE_FSDP", "ACCELERATE_USE_FSDP"))


def leaves_weights_empty() -> bool:
    """Whether `from_pretrained` should leave the weights to the first process, which is another one."""
    efficient = _parsed(os.environ.get(VARIABLES["cpu_ram_efficient_loading"])) is True
    return efficient and int(os.environ.get("RANK", "0")) > 0


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    low = value.lower()
    if low in ("true", "yes", "1", "false", "no", "0"):
        return low in ("true", "yes", "1")
    return None if low in ("none", "") else int(value) if value.isdigit() else value


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _of_strategy(value: Any) -> bool:
    name = getattr(value, "name", str(value)).upper()
    known = {"FULL_SHARD": True, "1": True, "SHARD_GRAD_OP": False, "2": False}
    if name not in known:
        raise NotBuiltError(f"sharding_strategy={value!r} is not built; there are FULL_SHARD and SHARD_GRAD_OP")
    return known[name]


def _dtype(value: Any) -> Any:
    if isinstance(value, str):
        if value not in _DTYPES:
            raise ArgumentError(f"mixed_precision_policy={value!r}; expected one of {', '.join(_DTYPES)}")
        return _DTYPES[value]
    return value

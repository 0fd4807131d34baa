"""What every model has: configuration, names, loading and saving, embeddings, tying, devices."""

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from enfold.base.errors import ArgumentError, ConfigError
from enfold.models.accessors import Accessors
from enfold.models.config import PreTrainedConfig
from enfold.nn.attention import backend_name
from enfold.nn.linear import Linear
from enfold.nn.modules import RMSNormFromOne, Stack, join_groups
from enfold.weights.names import NameTable


class PreTrainedModel(Accessors, nn.Module):
    """A model of some family.

    Class attributes of a family:
        config_class: its configuration.
        base_model_prefix: the name of the base model inside a task model's checkpoint (`bert`).
        names: module names here ↔ in the checkpoint.
        tied: our parameter → the parameter whose tensor it shares when `tie_word_embeddings` says so.
        stored_aliases: checkpoint name → the one it repeats (older files store tied weights twice).
        ignorable: pattern of checkpoint names that carry nothing (buffers of older versions).
        omissible: pattern of checkpoint names that a file may leave out, since they are computed or zero.
    """

    config_class: ClassVar[type[PreTrainedConfig]]
    base_model_prefix: ClassVar[str] = ""
    main_input_name: ClassVar[str] = "input_ids"
    names: ClassVar[NameTable] = NameTable()
    tied: ClassVar[dict[str, str]] = {}
    stored_aliases: ClassVar[dict[str, str]] = {}
    ignorable: ClassVar[str] = r"$^"
    omissible: ClassVar[str] = r"$^"

    config: PreTrainedConfig

    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        if not isinstance(config, self.config_class):
            raise ConfigError(
                f"{type(self).__name__} is built from {self.config_class.__name__}, not {type(config).__name__}"
            )
        self.config = config
        self.name_or_path = ""
        self.attention_backend: str | None = None
        self.untied: set[str] = set()  # tied by the configuration, but stored with values of their own

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = _finishing(cls.__init__)  # type: ignore[method-assign]

    def _finish(self) -> None:
        """After the outermost constructor: tie, and fill the weights unless they are only planned (meta device)."""
        self.tie_weights()
        if not any(parameter.is_meta for parameter in self.parameters()):
            self.initialise([name for name, _ in self.weights()])
            join_groups(self)
        self.eval()

    # Weights

    def name_table(self) -> NameTable:
        """Module names here ↔ in the checkpoint, for this configuration."""
        return self.names

    def std(self, name: str) -> float:
        """Standard deviation with which a fresh weight of this name is drawn."""
        return self.config.get("initializer_range", 0.02)

    @torch.no_grad()
    def initialise(self, names: list[str]) -> None:
        """Fill these parameters as a fresh model's: normal weights, zero biases, unit norms, zero padding rows."""
        chosen = set(names)
        for prefix, module in self.named_modules():
            for name, parameter in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
                full = f"{prefix}.{name}".lstrip(".")
                if full not in chosen:
                    continue
                draw: Any = getattr(module, "draw", None)  # of an op that knows how its own weights begin
                if draw is not None:
                    draw(name, parameter, self.std(full))
                elif name == "bias":
                    parameter.zero_()
                elif isinstance(module, (nn.Linear, nn.Embedding)):
                    self.normal(parameter, self.std(full))
                    padding = self.padding_row(full)
                    if padding is not None and 0 <= padding < parameter.shape[0]:
                        parameter[padding].zero_()
                else:
                    parameter.fill_(0.0 if isinstance(module, RMSNormFromOne) else 1.0)

    def normal(self, parameter: Tensor, std: float) -> None:
        """Draw a fresh weight."""
        parameter.normal_(0.0, std)

    def padding_row(self, name: str) -> int | None:
        """The row of a fresh embedding that stays zero, if this is one with a padding token."""
        return None

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """What a checkpoint holds, by our names: parameters, and the buffers that are no constants."""
        yield from self.named_parameters()
        kept = self.state_dict(keep_vars=True)
        yield from ((name, buffer) for name, buffer in self.named_buffers() if name in kept)

    def ties(self) -> dict[str, str]:
        """Parameter → the one whose tensor it shares, as the configuration has it."""
        return self.tied if self.config.tie_word_embeddings else {}

    def aliases(self) -> dict[str, str]:
        """Checkpoint name → the one it repeats, for this configuration."""
        return self.stored_aliases

    def tie_weights(self) -> None:
        """Let tied parameters share one tensor, but for those whose checkpoint holds a tensor of their own."""
        for copy, source in self.ties().items():
            if copy not in self.untied:
                self.place(copy, self.get_parameter(source))

    def place(self, name: str, parameter: nn.Parameter) -> None:
        """Put a parameter where `name` says."""
        owner, _, leaf = name.rpartition(".")
        setattr(self.get_submodule(owner), leaf, parameter)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        config: PreTrainedConfig | None = None,
        revision: str | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        device: torch.device | str | int | None = None,
        device_map: Any = None,
        max_memory: Mapping[int | str, int | str] | None = None,
        offload_folder: str | Path | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        subfolder: str = "",
        variant: str | None = None,
        gguf_file: str | None = None,
        use_safetensors: bool | None = None,
        ignore_mismatched_sizes: bool = False,
        attn_implementation: str | None = None,
        output_loading_info: bool = False,
        trust_remote_code: bool = False,
        low_cpu_mem_usage: bool | None = None,
        tp_plan: str | None = None,
        tp_size: int | None = None,
        device_mesh: Any = None,
        **overrides: Any,
    ) -> Self:
        """Load a model from a repository or a folder.

        Args:
            pretrained_model_name_or_path: repository id or local folder.
            config: a configuration to use instead of the repository's.
            revision: branch, tag or commit.
            dtype: a torch dtype or its name, "auto" or None for the checkpoint's own (`torch_dtype` is the older name).
                "int8" rounds the weights of linear maps to bytes and computes the rest in fp32, on the CPU; from a
                repository of such bytes None and "auto" take them as they are.
            device: where to put the weights; default CPU.
            device_map: "cpu", "cuda", "auto" (the GPU; what doesn't fit there on the CPU, then on the disk), or module
                → number of a GPU, "cpu" or "disk", under the checkpoint's names or ours. One GPU at most.
            max_memory: place → bytes or "10GiB", for "auto"; default: what is free.
            offload_folder: where weights go that are on the disk.
            token: access token of the hub.
            cache_dir: cache folder instead of the standard one.
            local_files_only: never ask the network.
            force_download: fetch anew what the cache holds.
            subfolder: folder inside the repository.
            variant: `fp16` reads `model.fp16.safetensors`.
            gguf_file: name of a GGUF file in the repository.
            ignore_mismatched_sizes: draw weights of another shape anew instead of refusing.
            attn_implementation: name of an attention backend (`sdpa`, `eager`).
            output_loading_info: also return what was missing, unexpected and mis-shaped.
            tp_plan: "auto" splits the weights over `tp_size` processes, as the ops' plans say; each reads its part.
            tp_size: default: all processes; with fewer, neighbours in rank hold one model together.
            device_mesh: the processes that do, as a mesh of one dimension or with one named "tp".
            overrides: entries of the configuration (`num_labels=5`).

        Returns:
            The model in eval mode (and a dictionary, when `output_loading_info`).

        Raises:
            HubError: no such repository, revision or file.
            ConfigError: the configuration describes no known model, or another family.
            CheckpointError: no weights, or torn ones.
            WeightsMismatchError: shapes differ, or weights of the base model are missing.
        """
        from enfold.models.load import Request, load_model

        request = Request(
            source=pretrained_model_name_or_path,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            force_download=force_download,
            subfolder=subfolder,
            variant=variant,
            gguf_file=gguf_file,
            use_safetensors=use_safetensors,
            dtype=dtype if dtype is not None else torch_dtype,
            device=device,
            device_map=device_map,
            max_memory=max_memory,
            offload_folder=offload_folder,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            tp_plan=tp_plan,
            tp_size=tp_size,
            device_mesh=device_mesh,
        )
        model, report = load_model(cls, request, config=config, overrides=overrides, attention=attn_implementation)
        return (model, report.as_dict()) if output_loading_info else model  # type: ignore[return-value]

    @classmethod
    def from_config(cls, config: PreTrainedConfig, *, dtype: torch.dtype | str | None = None) -> Self:
        """A fresh model, as `cls(config)`, in another dtype (or its name) if asked."""
        from enfold.models.int8 import is_int8, round_to_int8
        from enfold.models.load import named_dtype

        model = cls(config)
        if is_int8(dtype):
            round_to_int8(model)
            return model
        return model if dtype is None else model.to(named_dtype(dtype))

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        state_dict: Mapping[str, Tensor] | None = None,
        is_main_process: bool = True,
        max_shard_size: str | int = "50GB",
        variant: str | None = None,
        safe_serialization: bool = True,
        push_to_hub: bool = False,
        **push_options: Any,
    ) -> None:
        """Write `config.json` and safetensors files under the names that the reference library reads.

        Weights that are bytes (`dtype="int8"`) are written as bytes with a scale for each output, and
        `quantization_config` says so in the words of compressed-tensors. Of a model that several processes hold
        together, all of them call it, and the first one writes.

        Args:
            state_dict: weights by our names instead of the model's own, as `accelerator.get_state_dict` gathers them.
            is_main_process: False writes nothing.

        Raises:
            ArgumentError: `safe_serialization=False` (pickles are never written).
        """
        from enfold.models.save import save_model

        if not safe_serialization:
            raise ArgumentError("safe_serialization=False would write a pickle; enfold writes safetensors only")
        split = self.__dict__.get("splitting")  # over several processes
        together = split is not None and state_dict is None
        tensors = split.whole_state() if split is not None and together else state_dict
        writes = is_main_process and (split is None or split.is_main_process)
        if writes:
            folder = Path(save_directory)
            save_model(self, folder, max_shard_size=max_shard_size, variant=variant, tensors=tensors)
        if split is not None and together:
            split.wait_for_everyone()
        push_to_hub = push_to_hub and writes
        if push_to_hub:
            repo_id = push_options.pop("repo_id", None) or Path(save_directory).name
            self.push_to_hub(repo_id, **push_options)

    def save_settings(self, folder: str | Path) -> None:
        """Write `config.json` and generation settings: all of a saved model but its weights."""
        from enfold.models.save import save_settings

        save_settings(self, Path(folder))

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:
        """Save into a temporary folder and upload it; see `enfold.hub.files.push_folder` for the options."""
        from enfold.models.publish import push

        return push(self.save_pretrained, repo_id, **kwargs)

    # What users ask a model

    @property
    def base_model(self) -> "PreTrainedModel":
        """The model without its task head."""
        return self._modules.get("base", self)  # type: ignore[return-value]

    def __getattr__(self, name: str) -> Any:
        if name == type(self).base_model_prefix and "base" in self.__dict__.get("_modules", {}):
            return self._modules["base"]
        return super().__getattr__(name)

    @property
    def device(self) -> torch.device:
        """Where inputs go."""
        if "main_device" in self.__dict__:  # weights that come and go are nowhere between
            return self.__dict__["main_device"]
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(p.dtype for p in self.parameters() if p.is_floating_point())

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Number of weights; tied ones count once."""
        excluded = {m.weight for m in self.modules() if isinstance(m, nn.Embedding)} if exclude_embeddings else set()
        counts = [p.numel() for p in self.parameters() if p not in excluded and (p.requires_grad or not only_trainable)]
        if not only_trainable:
            counts += [shape.numel() for name, shape in self.rounded_weights().items() if name not in self.ties()]
        return sum(counts)

    def rounded_weights(self) -> dict[str, torch.Size]:
        """Weights that are bytes (`dtype="int8"`), and the shape of what each stands for."""
        return {
            f"{prefix}.{name}".lstrip("."): shape
            for prefix, module in self.named_modules()
            for name, shape in getattr(module, "rounded", {}).items()
        }

    def stacks(self) -> list[Stack]:
        return [module for module in self.modules() if isinstance(module, Stack)]

    def get_input_embeddings(self) -> nn.Embedding:
        """The table of token embeddings."""
        return next(stack.embed.tokens for stack in self.stacks() if stack.embed is not None)

    def get_output_embeddings(self) -> nn.Module | None:
        """The linear map onto the vocabulary, if there is one."""
        return None

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Embedding:
        """Give the vocabulary another number of tokens; tied weights stay tied, `config.vocab_size` follows.

        Args:
            new_num_tokens: rows of the table from now on; None: as many as there are.
            pad_to_multiple_of: round that up to a multiple.
            mean_resizing: new rows start near the mean of the old ones, not as a fresh model's.

        Returns:
            The table of token embeddings.

        Raises:
            ArgumentError: a number that isn't positive, or a vocabulary that is quantised.
        """
        from enfold.models.resize import resize, rows_wanted

        table = self.get_input_embeddings()
        rows = rows_wanted(table.num_embeddings, new_num_tokens, pad_to_multiple_of)
        if rows != table.num_embeddings:
            resize(self, rows, mean=mean_resizing)
        return self.get_input_embeddings()

    def set_attn_implementation(self, name: str | None) -> None:
        """Use one attention backend (`sdpa`, `eager`), or None for the best that accepts each call."""
        chosen = backend_name(name)
        for module in self.modules():
            if isinstance(module, PreTrainedModel):
                module.attention_backend = chosen

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict | None = None) -> None:
        """Recompute each layer in the backward pass instead of keeping its activations."""
        if (gradient_checkpointing_kwargs or {}).get("use_reentrant"):
            raise ArgumentError("use_reentrant=True is not supported: checkpointing here is always non-reentrant")
        for stack in self.stacks():
            stack.checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        for stack in self.stacks():
            stack.checkpointing = False

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """torch's, with the new tensors laid out for joint products when they were assigned."""
        result = super().load_state_dict(state_dict, strict=strict, assign=assign)
        join_groups(self)
        return result

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        result = super()._apply(fn, recurse)
        join_groups(self)
        return result

    def max_positions(self) -> int | None:
        """The most tokens a sequence may have, or None where positions have no table."""
        tables = [s.embed.spec.positions for s in self.stacks() if s.embed is not None and s.embed.spec.positions]
        return min(tables) if tables else None


_building = threading.local()


def _finishing(build: Callable[..., None]) -> Callable[..., None]:
    """A constructor that finishes the model once, when the outermost constructor is done."""

    @functools.wraps(build)
    def __init__(self: PreTrainedModel, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        outermost = not getattr(_building, "active", False)
        _building.active = True
        try:
            build(self, *args, **kwargs)
        finally:
            _building.active = not outermost
        if outermost:
            self._finish()

    return __init__


def dense(inputs: int, outputs: int, *, bias: bool = True) -> Linear:
    """A linear map of a head."""
    return Linear(inputs, outputs, bias=bias)


def check_ids(ids: Tensor, rows: int, name: str = "input_ids") -> None:
    """Refuse ids that an embedding has no row for, before a kernel crashes on them.

    Raises:
        ArgumentError: an id below 0 or beyond the table; the tokenizer doesn't fit the model.
    """
    if ids.is_floating_point():
        raise ArgumentError(f"{name} have dtype {ids.dtype}; expected integers (pass vectors as inputs_embeds)")
    if ids.numel() and ids.device.type == "cpu":
        low, high = (int(x) for x in torch.aminmax(ids))
        if low < 0 or high >= rows:
            raise ArgumentError(
                f"{name} hold {low if low < 0 else high}, and the model's embedding has rows 0…{rows - 1}: "
                "the tokenizer doesn't fit the model (load both from one repository)"
            )

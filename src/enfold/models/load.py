"""From a repository's files to a model: resolve, build on the meta device, fill in place, tie, report."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from enfold.accelerate.device_map import check_device_map, clean_device_map, infer_auto_device_map, place_of
from enfold.accelerate.fsdp import leaves_weights_empty
from enfold.accelerate.placement import dispatch_model
from enfold.base.errors import ArgumentError, CheckpointError, NotBuiltError, WeightsMismatchError
from enfold.base.logging import get_logger
from enfold.models.base import PreTrainedModel
from enfold.models.config import PreTrainedConfig
from enfold.models.int8 import is_int8, replace, round_to_int8, rounds
from enfold.nn.modules import groups
from enfold.weights.files import Checkpoint, checkpoint_files, index_shards, open_checkpoint, usual_names
from enfold.weights.int8 import METHOD, Int8Checkpoint, check_description
from enfold.weights.names import Piece, as_stored, from_stored

if TYPE_CHECKING:
    from enfold.models.split_load import Parts

logger = get_logger(__name__)
Model = TypeVar("Model", bound=PreTrainedModel)
# Plans that are made by the sizes of a model's parts.
INFERRED = ("auto", "balanced", "balanced_low_0", "sequential")
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}
DTYPES |= {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, "half": torch.float16}


@dataclass
class Request:
    """Where a model comes from and where it goes; fields as in `PreTrainedModel.from_pretrained`."""

    source: str | Path
    revision: str | None = None
    token: str | bool | None = None
    cache_dir: str | Path | None = None
    local_files_only: bool = False
    force_download: bool = False
    subfolder: str = ""
    variant: str | None = None
    gguf_file: str | None = None
    use_safetensors: bool | None = None
    dtype: torch.dtype | str | None = None
    device: torch.device | str | int | None = None
    device_map: Any = None
    max_memory: Mapping[int | str, int | str] | None = None
    offload_folder: str | Path | None = None
    ignore_mismatched_sizes: bool = False
    tp_plan: str | None = None
    tp_size: int | None = None
    device_mesh: Any = None

    @property
    def hub_options(self) -> dict[str, Any]:
        names = ("revision", "token", "cache_dir", "local_files_only", "subfolder")
        return {name: getattr(self, name) for name in names}

    def file(self, name: str, *, required: bool = True) -> Path | None:
        """One of the repository's files on disk, fetched if need be."""
        from enfold.hub.files import resolve_file

        options: dict[str, Any] = self.hub_options | {"force_download": self.force_download}
        return resolve_file(self.source, name, required=required, **options)


@dataclass
class LoadReport:
    """What didn't match between a checkpoint and a model, by the checkpoint's names."""

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Under the names that the reference library gives them."""
        return {
            "missing_keys": self.missing,
            "unexpected_keys": self.unexpected,
            "mismatched_keys": self.mismatched,
            "error_msgs": [],
        }

    def lines(self) -> list[str]:
        """One line per pattern of names."""
        lines = [f"{name} missing, newly initialised" for name in by_pattern(self.missing)]
        lines += [f"{name} unexpected, not used" for name in by_pattern(self.unexpected)]
        shapes: dict[tuple, list[str]] = {}
        for name, stored, wanted in self.mismatched:
            shapes.setdefault((stored, wanted), []).append(name)
        for (stored, wanted), names in shapes.items():
            for name in by_pattern(names):
                lines.append(f"{name} has shape {list(stored)} in the checkpoint and {list(wanted)} in the model")
        return lines


def by_pattern(names: list[str]) -> list[str]:
    """Names that differ only in their numbers, as one: `layers.{0…11}.attn.k`."""
    patterns: dict[str, list[list[int]]] = {}
    for name in names:
        patterns.setdefault(re.sub(r"(?<=\.)\d+(?=\.)", "{}", name), []).append(
            [int(number) for number in re.findall(r"(?<=\.)\d+(?=\.)", name)]
        )
    shown = []
    for pattern, numbers in patterns.items():
        columns = [sorted(set(column)) for column in zip(*numbers, strict=True)]
        shown.append(
            pattern.format(*("{" + _range(column) + "}" if len(column) > 1 else column[0] for column in columns))
        )
    return shown


def _range(numbers: list[int]) -> str:
    whole = numbers == list(range(numbers[0], numbers[-1] + 1))
    return f"{numbers[0]}…{numbers[-1]}" if whole else ",".join(map(str, numbers))


def load_model(
    cls: type[Model],
    request: Request,
    *,
    config: PreTrainedConfig | None,
    overrides: dict[str, Any],
    attention: str | None,
) -> tuple[Model, LoadReport]:
    """Load a model of class `cls`; see `PreTrainedModel.from_pretrained`."""
    mesh = None
    if (request.tp_plan, request.tp_size, request.device_mesh) != (None, None, None):
        from enfold.models.split_load import Parts, mesh_of, own_device

        mesh = mesh_of(request)
        if mesh is not None:
            request = dataclasses.replace(request, device=own_device(request), device_map=None)
    spread = spreads(request)
    device = torch.device("cpu") if spread else target_device(request.device, request.device_map)
    if config is None:
        config = cls.config_class.from_pretrained(request.source, gguf_file=request.gguf_file, **request.hub_options)
    else:
        config = type(config).from_dict(config.entries)
    for name, value in overrides.items():
        if not hasattr(config, name):
            raise ArgumentError(
                f"{cls.__name__}.from_pretrained got {name!r}, which is neither one of its arguments nor an entry of "
                f"{type(config).__name__}"
            )
        setattr(config, name, value)
    with expanded(open_checkpoint(checkpoint_paths(request)), config) as checkpoint:
        stored = isinstance(checkpoint, Int8Checkpoint) and request.dtype in (None, "auto")
        int8 = stored or is_int8(request.dtype)
        whose = "a repository of int8 weights" if stored else 'dtype="int8"'
        if int8 and spread:
            raise ArgumentError(f"{whose} runs on the CPU as a whole: leave out device_map, or name a floating dtype")
        if int8 and device.type != "cpu":
            raise ArgumentError(
                f"{whose} runs on the CPU, and device={str(device)!r} was asked for: name a floating dtype there"
            )
        if int8 and mesh is not None:
            raise ArgumentError(f"{whose} runs in one process: leave out tp_plan, or name a floating dtype")
        dtype = torch.float32 if int8 else target_dtype(request.dtype, config, checkpoint)
        with torch.device("meta"):
            model = cls(config)
        model.set_attn_implementation(attention)
        if leaves_weights_empty() and not spread:
            return model.eval(), LoadReport()
        places = plan(model, request, dtype) if spread else {}
        report = fill(
            model,
            checkpoint,
            dtype,
            mismatched_allowed=request.ignore_mismatched_sizes,
            int8=int8,
            elsewhere=places,
            parts=None if mesh is None else Parts(model, mesh),
        )
    model.name_or_path = str(request.source)
    model.load_report = report  # type: ignore[assignment]
    read_generation_config(model, request)
    if report.lines():
        logger.warning("%s from %s:\n  %s", cls.__name__, request.source, "\n  ".join(report.lines()))
    if spread:
        dispatch_model(model, places, offload_dir=request.offload_folder)
    elif device.type != "cpu":
        model.to(device)
    return model.eval(), report


def spreads(request: Request) -> bool:
    """Whether the model goes to more than one place, or may have to."""
    asked = request.device_map
    if asked is not None and request.device is not None:
        raise ArgumentError(f"device={request.device!r} and device_map={asked!r} were both given; give one")
    if isinstance(asked, dict):
        places = set(map(str, asked.values()))
        return len(places) > 1 or "disk" in places
    if request.max_memory is not None and asked not in INFERRED:
        raise ArgumentError(f"max_memory is for device_map='auto', and device_map={asked!r} was given")
    return request.max_memory is not None or (asked in INFERRED and torch.cuda.is_available())


def plan(model: PreTrainedModel, request: Request, dtype: torch.dtype) -> dict[str, Any]:
    """Where each part of a model goes: as asked, under our names or the checkpoint's, or by sizes.

    Raises:
        NotBuiltError: layers on several accelerators.
    """
    asked = request.device_map
    if not isinstance(asked, dict):
        layers = {type(layer).__name__ for m in model.modules() if isinstance(m, nn.ModuleList) for layer in m}
        asked = infer_auto_device_map(model, request.max_memory, layers, dtype)
    accelerators = {str(place) for place in asked.values()} - {"cpu", "disk"}
    if len(accelerators) > 1:
        raise NotBuiltError(
            f"device_map spreads the model over {sorted(accelerators)}; layers on several accelerators are not built "
            "yet: name one, with 'cpu' and 'disk' beside it"
        )
    known = {"", *(name for name, _ in model.named_modules()), *(name for name, _ in model.named_parameters())}
    if not known.issuperset(asked):
        asked = _translated(model, asked)
    if "disk" in asked.values() and request.offload_folder is None:
        raise ArgumentError("device_map puts parts of the model on the disk: give offload_folder, a folder for them")
    check_device_map(model, asked)
    return dict(asked)


def _translated(model: PreTrainedModel, asked: dict[str, Any]) -> dict[str, Any]:
    """A plan by the checkpoint's names, by ours."""
    table, prefix = model.name_table(), f"{model.base_model_prefix}."
    found: dict[str, Any] = {}
    used: set[str] = set()
    for ours, weight in model.weights():
        for piece in table.pieces(ours, tuple(weight.shape)):
            for name in (piece.theirs, prefix + piece.theirs, piece.theirs.removeprefix(prefix)):
                place = place_of(name, asked)
                if place is not None:
                    found[ours] = place
                    break
    for name in asked:
        rows = [piece.theirs for ours, w in model.weights() for piece in table.pieces(ours, tuple(w.shape))]
        if any(f"{row}.".startswith((f"{name}.", f"{name.removeprefix(prefix)}.")) for row in rows):
            used.add(name)
    if unknown := [name for name in asked if name not in used and name != ""]:
        ours_too = {name for name, _ in model.named_modules()}
        stray = [name for name in unknown if name not in ours_too and not _is_tied_name(model, name)]
        if stray:
            raise ArgumentError(f"device_map names {stray[:5]}, which the checkpoint and the model don't have")
    for copy, source in model.ties().items():
        if source in found:
            found[copy] = found[source]
    check_device_map(model, found)  # before parts are put together that only seem whole
    return clean_device_map(found)


def _is_tied_name(model: PreTrainedModel, name: str) -> bool:
    return any(f"{tied}.".startswith(f"{name}.") for tied in _tied_names(model, model.name_table()))


def expanded(checkpoint: Checkpoint, config: PreTrainedConfig) -> Checkpoint:
    """A checkpoint whose weights are quantised as `config.quantization_config` says, as floating weights.

    Raises:
        NotBuiltError: a method that isn't built.
    """
    given = config.get("quantization_config") or {}
    method = given.get("quant_method")
    if method is None:
        return checkpoint
    if method not in ("mxfp4", "fp8", METHOD):
        checkpoint.close()
        raise NotBuiltError(
            f"{checkpoint.path} is quantised by {method!r}; built are 'mxfp4', 'fp8' and {METHOD!r}. Load a repository "
            "of floating weights"
        )
    from enfold.weights.fp8 import BLOCK, Fp8Checkpoint
    from enfold.weights.mxfp4 import Mxfp4Checkpoint

    del config.entries["quantization_config"]  # of the file, not of this model, which is saved as it is here
    if method == METHOD:
        check_description(checkpoint.path, given)
        return Int8Checkpoint(checkpoint)
    if method == "mxfp4":
        return Mxfp4Checkpoint(checkpoint)
    rows, columns = given.get("weight_block_size") or BLOCK
    return Fp8Checkpoint(checkpoint, (rows, columns))


def checkpoint_paths(request: Request) -> list[Path]:
    """The checkpoint's files on disk, fetched if need be."""
    from enfold.hub.files import list_files

    source = Path(request.source)
    if source.is_file():
        return [source]
    names = [name for name in list_files(request.source, **request.hub_options) if "/" not in name]
    if request.use_safetensors:
        names = [name for name in names if "safetensors" in name]
    chosen = checkpoint_files(names, variant=request.variant, gguf_file=request.gguf_file)
    if not chosen and not source.is_dir():
        usual = [name for name in usual_names(request.variant) if not request.use_safetensors or "safetensors" in name]
        chosen = [name for name in usual if request.file(name, required=False)][:1]
    if not chosen:
        raise CheckpointError(
            f"{request.source} has no weights{f' of variant {request.variant!r}' if request.variant else ''}: looked "
            f"for model.safetensors, pytorch_model.bin, their indices and *.gguf; it holds "
            f"{', '.join(names[:12]) or 'nothing'}"
        )
    first = request.file(chosen[0])
    assert first is not None
    if not first.name.endswith(".json"):
        return [first]
    return [first, *filter(None, map(request.file, index_shards(first)))]


def target_dtype(asked: torch.dtype | str | None, config: PreTrainedConfig, checkpoint: Checkpoint) -> torch.dtype:
    """The dtype that floating weights get.

    Raises:
        ArgumentError: a name that is no floating dtype.
    """
    if asked is not None and asked != "auto":
        return named_dtype(asked)
    named = config.get("dtype") or config.get("torch_dtype")
    if isinstance(named, torch.dtype):
        return named
    if isinstance(named, str) and named.removeprefix("torch.") in DTYPES:
        return DTYPES[named.removeprefix("torch.")]
    for name in checkpoint.names():
        if checkpoint.dtype(name).is_floating_point:
            return checkpoint.dtype(name)
    return torch.float32


def named_dtype(asked: torch.dtype | str) -> torch.dtype:
    """A floating dtype, or the one of this name.

    Raises:
        ArgumentError: it is no floating dtype.
    """
    if isinstance(asked, torch.dtype):
        if not asked.is_floating_point:
            raise ArgumentError(f"dtype={asked} is no floating dtype: weights take one, such as torch.bfloat16")
        return asked
    name = asked.removeprefix("torch.")
    if name not in DTYPES:
        raise ArgumentError(f"dtype={asked!r} is unknown; expected 'auto', 'int8' or one of {', '.join(DTYPES)}")
    return DTYPES[name]


def target_device(device: torch.device | str | int | None, device_map: Any) -> torch.device:
    """The one device of a model.

    Raises:
        ArgumentError: both were given, or the device isn't there.
        NotBuiltError: a plan over several devices.
    """
    if device is not None and device_map is not None:
        raise ArgumentError(f"device={device!r} and device_map={device_map!r} were both given; give one")
    chosen = device if device is not None else device_map
    if isinstance(chosen, dict):
        places = set(map(str, chosen.values()))
        if len(places) != 1:
            raise NotBuiltError(
                f"device_map spreads the model over {sorted(places)}; one model over several devices is not built yet"
            )
        chosen = next(iter(chosen.values()))
    if chosen in INFERRED:
        chosen = "cuda" if torch.cuda.is_available() else "cpu"
    if chosen is None or chosen == -1:
        return torch.device("cpu")
    try:
        wanted = torch.device(f"cuda:{chosen}" if isinstance(chosen, int) else chosen)
    except RuntimeError as error:
        raise ArgumentError(
            f"device {chosen!r} is unknown; expected 'cpu', 'cuda', 'cuda:0', 'mps' or a number"
        ) from error
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise ArgumentError(f"device {chosen!r} was asked for, and torch sees no CUDA device here: use device='cpu'")
    return wanted


@torch.no_grad()
def fill(
    model: PreTrainedModel,
    checkpoint: Checkpoint,
    dtype: torch.dtype,
    *,
    mismatched_allowed: bool = False,
    int8: bool = False,
    elsewhere: Mapping[str, Any] | None = None,
    parts: "Parts | None" = None,
) -> LoadReport:
    """Give a model on the meta device its weights from a checkpoint; with `int8`, round each as soon as it is read.

    `elsewhere` says what will be on the disk: such weights stay in their file where they can. Of a model that
    several processes hold together, `parts` says what each reads.

    Raises:
        WeightsMismatchError: shapes differ, or the checkpoint holds nothing that the model wants.
    """
    report, prefix = LoadReport(), f"{model.base_model_prefix}."
    stored = {_modern(name): name for name in checkpoint.names()}
    for alias, name in model.aliases().items():
        if name not in stored and alias in stored:
            stored[name] = stored[alias]
    _share_stored(model, checkpoint, stored)
    names = {module: name for name, module in model.named_modules()}
    for group in groups(model) if not int8 and parts is None else ():
        if place_of(names[group.owner], elsewhere or {}) != "disk":
            group.allocate(dtype, "cpu")
    table = model.name_table()
    steps = checkpoint.steps() if isinstance(checkpoint, Int8Checkpoint) else None
    used: set[str] = set()
    fresh: list[str] = []
    partly: dict[str, list[tuple[Piece, str]]] = {}  # of fresh weights, what the checkpoint has
    for ours, weight in list(model.weights()):
        held: list[tuple[Piece, str]] = []
        pieces = table.pieces(ours, tuple(weight.shape))
        for piece in pieces:
            candidates = (piece.theirs, piece.theirs.removeprefix(prefix), prefix + piece.theirs)
            name = next((stored[c] for c in candidates if c in stored), None)
            if name is None:
                report.missing.append(piece.theirs)
                continue
            used.add(name)
            if checkpoint.shape(name) == _shape(weight, piece):
                held.append((piece, name))
            else:
                report.mismatched.append((name, checkpoint.shape(name), _shape(weight, piece)))
        if len(held) == len(pieces) and parts is not None and parts.splitting.keeps(ours):
            _place(model, ours, parts.read(ours, tuple(weight.shape), checkpoint, held, dtype))
        elif len(held) == len(pieces):
            rounding = int8 and rounds(model, ours)
            scale = _scale(weight, steps, held) if rounding and steps is not None else None
            _read(model, ours, weight, checkpoint if steps is None or scale is None else steps, held, dtype)
            if rounding:
                replace(model, ours, scale)
        else:
            fresh.append(ours)
            partly[ours] = held
            if weight.is_meta:
                kind = dtype if isinstance(weight, nn.Parameter) else weight.dtype
                _place(model, ours, torch.empty(weight.shape, dtype=kind))
    if not used:
        raise WeightsMismatchError(
            f"{checkpoint.path} holds nothing that {type(model).__name__} wants: it has "
            f"{', '.join(by_pattern(checkpoint.names())[:6])}, and the model has "
            f"{', '.join(by_pattern(report.missing)[:6])}"
        )
    if report.mismatched and not mismatched_allowed:
        raise WeightsMismatchError(
            f"{checkpoint.path} doesn't fit {type(model).__name__}:\n  "
            + "\n  ".join(LoadReport(mismatched=report.mismatched).lines())
            + "\nThe configuration and the weights belong to different models; "
            "ignore_mismatched_sizes=True draws these anew."
        )
    model.tie_weights()
    model.initialise(fresh)
    for ours, held in ((ours, held) for ours, held in partly.items() if held):
        _read(model, ours, dict(model.weights())[ours], checkpoint, held, dtype)
    if int8:
        round_to_int8(model)
    if parts is not None:
        parts.put_together(fresh)
    aliases = {stored.get(alias) for alias in model.aliases()} | _tied_names(model, table)
    report.missing = [name for name in report.missing if not re.match(model.omissible, name)]
    ignorable = re.compile(model.ignorable)
    report.unexpected = [
        name for name in checkpoint.names() if name not in used and name not in aliases and not ignorable.match(name)
    ]
    return report


def _share_stored(model: PreTrainedModel, checkpoint: Checkpoint, stored: dict[str, str]) -> None:
    """Read a tensor that is stored once for both of a tied pair, under either name; keep apart what differs."""
    table, prefix = model.name_table(), f"{model.base_model_prefix}."
    for copy, source in model.ties().items():
        rows = [row[0] for row in (table.theirs(copy), table.theirs(source)) if row is not None]
        names = [
            next((stored[c] for c in (row, row.removeprefix(prefix), prefix + row) if c in stored), None)
            for row in rows
        ]
        if len(names) < 2:
            continue
        if names[0] and not names[1]:
            stored[rows[1]] = names[0]
        elif names[0] and names[1] and names[0] != names[1]:
            if checkpoint.shape(names[0]) == checkpoint.shape(names[1]) and torch.equal(
                checkpoint.read(names[0]), checkpoint.read(names[1])
            ):
                continue
            model.untied.add(copy)
            model.place(copy, nn.Parameter(model.get_parameter(source).detach().clone()))


def _modern(name: str) -> str:
    """LayerNorm's gamma and beta of TensorFlow's days, under today's names."""
    if name.endswith((".gamma", ".beta")):
        return name.removesuffix(".gamma").removesuffix(".beta") + (".weight" if name.endswith(".gamma") else ".bias")
    return name


def _tied_names(model: PreTrainedModel, table: Any) -> set[str]:
    return {translated[0] for name in model.ties() if (translated := table.theirs(name)) is not None}


def _read(
    model: PreTrainedModel,
    ours: str,
    weight: Tensor,
    checkpoint: Checkpoint,
    held: list[tuple[Piece, str]],
    dtype: torch.dtype,
) -> None:
    """Fill a weight from the tensors that hold its pieces; a whole one that is mapped stays in its file."""
    if isinstance(weight, nn.Parameter) and weight.is_meta and len(held) == 1:
        (piece, name) = held[0]
        if not piece.storage and checkpoint.dtype(name) == dtype and checkpoint.is_mappable(name):
            _place(model, ours, checkpoint.read(name))
            return
    kind = dtype if isinstance(weight, nn.Parameter) else checkpoint.dtype(held[0][1])  # buffers keep theirs
    target = torch.empty(weight.shape, dtype=kind) if weight.is_meta else weight.data
    for piece, name in held:
        part = target[piece.index]
        form = as_stored(part, piece.storage)
        checkpoint.read_into(name, form)
        if form.untyped_storage().data_ptr() != part.untyped_storage().data_ptr():  # no view: what was read is a copy
            part.copy_(from_stored(form, piece.storage))
    if weight.is_meta:
        _place(model, ours, target)


def _scale(weight: Tensor, checkpoint: Int8Checkpoint, held: list[tuple[Piece, str]]) -> Tensor | None:
    """What a step is worth […, out, 1] in a weight whose pieces are all stored as bytes."""
    scales = torch.empty(*weight.shape[:-1], 1)
    for piece, name in held:
        scale = checkpoint.scale(name)
        if scale is None or scale.shape != as_stored(scales[piece.index], piece.storage).shape:
            return None
        scales[piece.index] = from_stored(scale, piece.storage)
    return scales


def _shape(weight: Tensor, piece: Piece) -> tuple[int, ...]:
    """Of a piece, as it would be stored."""
    return tuple(as_stored(weight[piece.index], piece.storage).shape)


def _place(model: PreTrainedModel, ours: str, tensor: Tensor) -> None:
    """Put a parameter, or the values of a buffer, where `ours` says."""
    owner, _, leaf = ours.rpartition(".")
    module = model.get_submodule(owner)
    if leaf in module._buffers:
        module._buffers[leaf] = tensor
    else:
        model.place(ours, nn.Parameter(tensor, requires_grad=model.get_parameter(ours).requires_grad))


def read_generation_config(model: PreTrainedModel, request: Request) -> None:
    """Keep the entries of `generation_config.json`, where a model generates and the repository has one."""
    if not hasattr(model, "generate"):
        return
    from enfold.base.entries import read_json

    if Path(request.source).is_file():
        return
    found = request.file("generation_config.json", required=False)
    if found is not None:
        model.generation_entries = read_json(found)  # type: ignore[assignment]

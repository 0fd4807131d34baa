"""How a repository makes one vector of a text: the `modules.json` of sentence-transformers, read and applied."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from enfold.base.entries import read_json
from enfold.base.errors import ArgumentError, ConfigError, NotBuiltError
from enfold.hub.files import resolve_file
from enfold.weights.files import open_checkpoint

# One vector a text from its tokens' states, by the names of sentence-transformers. Several are joined in this order.
POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
_SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "Identity": lambda x: x,
    "Tanh": torch.tanh,
    "ReLU": torch.relu,
    "GELU": F.gelu,
    "Sigmoid": torch.sigmoid,
}
# [B, D] → [B, D′]
Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Recipe:
    """How a repository's sentence vectors are made.

    Attributes:
        pooling: names of `POOLINGS`.
        steps: what follows: maps, norms.
        normalize: whether the last step makes vectors of length 1.
        length: tokens of a text, at most; None leaves it to tokenizer and model.
        lower: texts are lower-cased first.
        prompts: name → what is put before a text.
        prompt: the one that is used unless the call says otherwise.
        pools_prompt: whether the prompt's tokens take part in pooling.
        similarity: how two vectors compare.
    """

    pooling: tuple[str, ...] = ("mean",)
    steps: tuple[Step, ...] = ()
    normalize: bool = False
    length: int | None = None
    lower: bool = False
    prompts: Mapping[str, str] | None = None
    prompt: str | None = None
    pools_prompt: bool = True
    similarity: str = "cosine"


def read_recipe(source: str | Path, **hub: Any) -> Recipe | None:
    """The recipe of a repository or folder, or None where it has no `modules.json`.

    Args:
        hub: `revision`, `token`, `cache_dir`, `local_files_only`, `subfolder`.

    Raises:
        NotBuiltError: a module that isn't known here.
        ConfigError: a file is torn.
    """
    found = resolve_file(source, "modules.json", required=False, **hub)
    if found is None:
        return None
    files = _Files(source, hub)
    entries = _module_list(found)
    made: dict[str, Any] = {"pooling": (), "steps": []}
    for entry in entries:
        kind = str(entry.get("type", "")).rpartition(".")[2]
        if kind not in _MODULES:
            raise NotBuiltError(
                f"{source} makes its vectors with {entry.get('type')}, which is not built yet: pass pooling='none' for "
                "the states of its tokens"
            )
        _MODULES[kind](files, str(entry.get("path", "")), made)
    if not made["pooling"]:
        raise ConfigError(f"the modules.json of {source} has no Pooling: pass pooling=, one of {', '.join(POOLINGS)}")
    settings = files.json("config_sentence_transformers.json")
    similarity = settings.get("similarity_fn_name") or "cosine"
    if similarity not in SIMILARITIES:
        raise ConfigError(f"{source} compares by {similarity!r}; expected one of {', '.join(SIMILARITIES)}")
    prompts = dict(settings.get("prompts") or {})
    return Recipe(
        **{**made, "steps": tuple(made["steps"])},
        prompts=prompts,
        prompt=prompts.get(settings.get("default_prompt_name")),
        similarity=similarity,
    )


class _Files:
    """Files of one repository."""

    def __init__(self, source: str | Path, hub: Mapping[str, Any]):
        self.source, self.hub = source, hub

    def path(self, *names: str) -> Path | None:
        return resolve_file(self.source, "/".join(filter(None, names)), required=False, **self.hub)

    def json(self, *names: str) -> dict[str, Any]:
        """What a JSON file holds; nothing where it isn't there."""
        found = self.path(*names)
        return {} if found is None else read_json(found)

    def weights(self, folder: str) -> dict[str, Tensor]:
        found = self.path(folder, "model.safetensors") or self.path(folder, "pytorch_model.bin")
        if found is None:
            raise ConfigError(f"{self.source} has no weights in {folder}")
        with open_checkpoint(found) as checkpoint:
            return {name: checkpoint.read(name).clone() for name in checkpoint}


def _module_list(path: Path) -> list[dict[str, Any]]:
    import json

    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path} is torn or not JSON ({error}): download it again") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{path} is no list of modules")
    return entries


def _transformer(files: _Files, folder: str, made: dict[str, Any]) -> None:
    settings = files.json(folder, "sentence_bert_config.json")
    made["length"] = settings.get("max_seq_length")
    made["lower"] = bool(settings.get("do_lower_case"))


def _pooling(files: _Files, folder: str, made: dict[str, Any]) -> None:
    settings = files.json(folder, "config.json")
    said = settings.get("pooling_mode")
    chosen = [said] if isinstance(said, str) else list(said or ())
    chosen += [name for switch, name in _SWITCHES.items() if settings.get(switch)]
    made["pooling"] = tuple(name for name in POOLINGS if name in chosen)
    made["pools_prompt"] = settings.get("include_prompt", True)


def _normalize(files: _Files, folder: str, made: dict[str, Any]) -> None:
    made["normalize"] = True


def _dense(files: _Files, folder: str, made: dict[str, Any]) -> None:
    settings, weights = files.json(folder, "config.json"), files.weights(folder)
    name = str(settings.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
    if name not in _ACTIVATIONS:
        raise NotBuiltError(f"{files.source}: the activation {settings['activation_function']} is not built yet")
    act, weight, bias = _ACTIVATIONS[name], weights["linear.weight"].float(), weights.get("linear.bias")
    made["steps"].append(
        lambda x: act(F.linear(x, weight.to(x.device), None if bias is None else bias.float().to(x.device)))
    )


def _layer_norm(files: _Files, folder: str, made: dict[str, Any]) -> None:
    weights = files.weights(folder)
    weight, bias = weights["norm.weight"].float(), weights["norm.bias"].float()
    made["steps"].append(lambda x: F.layer_norm(x, x.shape[-1:], weight.to(x.device), bias.to(x.device)))


_MODULES: dict[str, Callable[[_Files, str, dict[str, Any]], None]] = {
    "Transformer": _transformer,
    "Pooling": _pooling,
    "Normalize": _normalize,
    "Dense": _dense,
    "LayerNorm": _layer_norm,
    "Dropout": lambda files, folder, made: None,
}


def pool(states: Tensor, lengths: Sequence[int], pooling: Sequence[str], skip: int = 0) -> Tensor:
    """States of tokens, one sequence behind another, → one vector a sequence.

    Args:
        states: packed [N, D].
        lengths: tokens of each sequence.
        pooling: names of `POOLINGS`; their vectors are joined.
        skip: tokens at each beginning that take no part (all but "cls").

    Returns:
        [B, D · poolings] in float32.
    """
    rows = [row[min(skip, len(row) - 1) :] for row in states.float().split(list(lengths))]
    whole = list(states.float().split(list(lengths)))
    return torch.cat([_POOLED[name](whole if name == "cls" else rows) for name in pooling], dim=-1)


def _weighted(row: Tensor) -> Tensor:
    """The mean, weighed by position (Muennighoff 2022)."""
    weight = torch.arange(1, len(row) + 1, device=row.device, dtype=row.dtype)
    return (row * weight[:, None]).sum(0) / weight.sum()


_POOLED: dict[str, Callable[[list[Tensor]], Tensor]] = {
    "cls": lambda rows: torch.stack([row[0] for row in rows]),
    "max": lambda rows: torch.stack([row.amax(0) for row in rows]),
    "mean": lambda rows: torch.stack([row.mean(0) for row in rows]),
    "mean_sqrt_len_tokens": lambda rows: torch.stack([row.sum(0) / len(row) ** 0.5 for row in rows]),
    "weightedmean": lambda rows: torch.stack([_weighted(row) for row in rows]),
    "lasttoken": lambda rows: torch.stack([row[-1] for row in rows]),
}


def similarity(one: Tensor, others: Tensor, kind: str) -> Tensor:
    """How alike a vector [D] and others [N, D] are; the more, the higher (distances are negative).

    Raises:
        ArgumentError: an unknown kind.
    """
    if kind == "cosine":
        return F.normalize(others, dim=-1) @ F.normalize(one, dim=-1)
    if kind == "dot":
        return others @ one
    if kind == "euclidean":
        return -(others - one).square().sum(-1).sqrt()
    if kind == "manhattan":
        return -(others - one).abs().sum(-1)
    raise ArgumentError(f"similarity is {kind!r}; expected one of {', '.join(SIMILARITIES)}")

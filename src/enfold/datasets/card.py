"""What a repository says of itself: configurations and information in README.md, and the files that older ones keep."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets.info import DatasetInfo

CARD = "README.md"
YAML = ".huggingface.yaml"
LEGACY_INFOS = "dataset_infos.json"


@dataclass(frozen=True)
class Card:
    """`configs`: name → parameters (`data_files`, `data_dir`, options of the format); `infos`: name → DatasetInfo."""

    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    infos: dict[str, DatasetInfo] = field(default_factory=dict)

    @property
    def default_config(self) -> str | None:
        """The configuration that is meant when none is named: the only one, `default`, or the one marked so."""
        marked = [
            name
            for name, parameters in self.configs.items()
            if len(self.configs) == 1 or name == "default" or parameters.get("default")
        ]
        if len(marked) > 1:
            raise DatasetError(f"{CARD} marks several configurations as the default: {', '.join(marked)}.")
        if not marked and not self.configs and len(self.infos) == 1:
            return next(iter(self.infos))
        return marked[0] if marked else None


def read_card(read: Callable[[str], str | None], where: str) -> Card:
    """The card of a folder or repository.

    Args:
        read: file name → its text, None if there is no such file.
        where: its name, for messages.
    """
    data = {**_front_matter(read(CARD) or "", where), **_yaml(read(YAML) or "", f"{where}/{YAML}")}
    configs = _configs(data.get("configs"), where)
    infos = _infos(data.get("dataset_info"), where)
    legacy = read(LEGACY_INFOS)
    if legacy:
        old = {name: DatasetInfo.from_dict(info) for name, info in json.loads(legacy).items()}
        if len(old) == 1:
            old = {"default": next(iter(old.values()))}
        infos = {**old, **infos}
    return Card(configs, infos)


def _front_matter(text: str, where: str) -> dict[str, Any]:
    lines = text.lstrip("\ufeff").splitlines()
    if not lines or lines[0].strip() != "---":
        return {}
    end = next((at for at, line in enumerate(lines[1:], 1) if line.rstrip() == "---"), None)
    return {} if end is None else _yaml("\n".join(lines[1:end]), f"{where}/{CARD}")


def _yaml(text: str, name: str) -> dict[str, Any]:
    import yaml

    if not text:
        return {}
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DatasetError(f"The YAML of {name} can't be read: {error}") from error
    if data is not None and not isinstance(data, dict):
        raise DatasetError(f"The YAML of {name} is a {type(data).__name__}; expected keys and values.")
    return data or {}


def _configs(listed: Any, where: str) -> dict[str, dict[str, Any]]:
    if listed is None:
        return {}
    if not isinstance(listed, list):
        raise DatasetError(f"configs: in {where}/{CARD} is a {type(listed).__name__}; expected a list.")
    configs: dict[str, dict[str, Any]] = {}
    for entry in listed:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("config_name"), str):
            raise DatasetError(f"configs: in {where}/{CARD} has an entry without a config_name: {entry!r}.")
        parameters = {key: value for key, value in entry.items() if key != "config_name"}
        files = parameters.get("data_files")
        if files is not None and not isinstance(files, str | list):
            raise ArgumentError(
                f"data_files: of {entry['config_name']!r} in {where}/{CARD}: expected a path or a list."
            )
        if parameters.get("features") is not None:
            from enfold.datasets.features import Features

            parameters["features"] = Features.from_yaml(parameters["features"])
        configs[entry["config_name"]] = parameters
    return configs


def _infos(listed: Any, where: str) -> dict[str, DatasetInfo]:
    if listed is None:
        return {}
    entries = listed if isinstance(listed, list) else [listed]
    if not all(isinstance(entry, Mapping) for entry in entries):
        raise DatasetError(f"dataset_info: in {where}/{CARD} is a {type(listed).__name__}; expected keys and values.")
    return {entry.get("config_name", "default"): DatasetInfo._from_yaml_dict(entry) for entry in entries}

"""Configurations: `config.json` kept as the dictionary it is, its gaps filled by the family's defaults."""

import copy
import json
from pathlib import Path
from typing import Any, ClassVar, Self

from enfold.base.entries import read_json
from enfold.base.errors import ArgumentError, ConfigError

# What every family's configuration answers when its file is silent.
COMMON_DEFAULTS: dict[str, Any] = {
    "architectures": None,
    "problem_type": None,
    "output_hidden_states": False,
    "output_attentions": False,
    "return_dict": True,
    "is_encoder_decoder": False,
    "is_decoder": False,
    "add_cross_attention": False,
    "use_cache": True,
    "tie_word_embeddings": True,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
    "sep_token_id": None,
    "decoder_start_token_id": None,
    "classifier_dropout": None,
}


class PreTrainedConfig:
    """A model's configuration.

    `config.x` reads the file's entry, then the family's default. What a file holds beyond that is kept and written.

    Class attributes of a family:
        model_type: the `model_type` of its files.
        defaults: entry → value when a file leaves it out.
        aliases: the common name of an entry → this family's name for it (`hidden_size` → `n_embd`); files have either.
    """

    model_type: ClassVar[str] = ""
    defaults: ClassVar[dict[str, Any]] = {}
    aliases: ClassVar[dict[str, str]] = {}

    entries: dict[str, Any]

    def __init__(self, **entries: Any):
        """A fresh configuration: the family's defaults, overridden by `entries`."""
        self.entries = {}
        self.entries.update(copy.deepcopy(self.defaults))
        self.update(entries)

    @classmethod
    def from_dict(cls, entries: dict[str, Any], **overrides: Any) -> Self:
        """From the dictionary of a `config.json`, kept as it is."""
        config = cls.__new__(cls)
        config.entries = copy.deepcopy(entries)
        config.update(overrides)
        return config

    @classmethod
    def from_json_file(cls, json_file: str | Path) -> Self:
        return cls.from_dict(read_json(Path(json_file)))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Self:
        """Load `config.json` of a repository or folder; keyword arguments override its entries.

        Raises:
            ConfigError: the file describes another family.
        """
        from enfold.models.auto import AutoConfig

        config = AutoConfig.from_pretrained(pretrained_model_name_or_path, **kwargs)
        if not isinstance(config, cls):
            raise ConfigError(
                f"{pretrained_model_name_or_path} holds a {config.model_type!r} configuration and {cls.__name__} "
                f"reads {cls.model_type!r}: use AutoConfig, or {type(config).__name__}"
            )
        return config

    def update(self, entries: dict[str, Any]) -> None:
        """Set several entries at once."""
        for name, value in entries.items():
            setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "entries":
            raise AttributeError(name)
        name = self.aliases.get(name, name)
        for spelling in (name, *(common for common, own in self.aliases.items() if own == name)):
            if spelling in self.entries:
                return self.entries[spelling]
        for source in (self.defaults, COMMON_DEFAULTS):
            if name in source:
                return source[name]
        raise AttributeError(f"{type(self).__name__} has no entry {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "entries" or isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
        else:
            self.entries[self.aliases.get(name, name)] = value

    @property
    def id2label(self) -> dict[int, str]:
        given = self.entries.get("id2label")
        if given is None:
            return {i: f"LABEL_{i}" for i in range(self.entries.get("num_labels", 2))}
        return {int(key): value for key, value in given.items()}

    @id2label.setter
    def id2label(self, labels: dict[int, str] | None) -> None:
        self.entries["id2label"] = labels
        self.entries.pop("num_labels", None)

    @property
    def label2id(self) -> dict[str, int]:
        given = self.entries.get("label2id")
        return given if given is not None else {label: i for i, label in self.id2label.items()}

    @label2id.setter
    def label2id(self, labels: dict[str, int] | None) -> None:
        self.entries["label2id"] = labels

    @property
    def num_labels(self) -> int:
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, count: int) -> None:
        if not isinstance(count, int) or count < 1:
            raise ArgumentError(f"num_labels is {count!r}; expected a positive integer")
        if self.entries.get("id2label") is None or len(self.id2label) != count:
            self.entries["id2label"] = {i: f"LABEL_{i}" for i in range(count)}
            self.entries["label2id"] = {f"LABEL_{i}": i for i in range(count)}

    def get(self, name: str, default: Any = None) -> Any:
        """The entry, or `default` where neither file nor family has one."""
        return getattr(self, name, default)

    def to_dict(self) -> dict[str, Any]:
        """The dictionary that `save_pretrained` writes."""
        return {"model_type": self.model_type, **copy.deepcopy(self.entries)}

    def to_json_string(self) -> str:
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write `config.json` into a folder, which is made if need be."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(self.to_json_string(), encoding="utf-8")

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:
        """Save into a temporary folder and upload it; see `enfold.hub.files.push_folder`."""
        from enfold.models.publish import push

        return push(self.save_pretrained, repo_id, **kwargs)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.to_dict() == other.to_dict()  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"


def head_dim(width: int, heads: int) -> int:
    """The size of one of `heads` heads that share a width equally.

    Raises:
        ConfigError: they can't.
    """
    if width % heads:
        raise ConfigError(f"hidden_size={width} is no multiple of num_attention_heads={heads}: heads need equal sizes")
    return width // heads


PretrainedConfig = PreTrainedConfig  # the older spelling

"""What a processor is set to: the dictionary of its file, kept as it is, over its class's defaults."""

import copy
import json
from pathlib import Path
from typing import Any, ClassVar, Self

from enfold.base.entries import read_json
from enfold.base.errors import ArgumentError, EntryNotFoundError

HUB_OPTIONS = ("revision", "token", "cache_dir", "local_files_only", "subfolder", "force_download")
# Accepted because users pass them: there is one implementation, and no code of repositories is run.
WITHOUT_EFFECT = ("use_fast", "backend", "trust_remote_code")
PREPROCESSOR = "preprocessor_config.json"
PROCESSOR = "processor_config.json"


class Settings:
    """A processor's settings.

    `processor.x` reads the file's entry, then the class's default. What a file holds beyond that is kept and written.

    Class attributes:
        kind: the entry that names the class (`image_processor_type`).
        part: what it is called inside a `processor_config.json`.
        defaults: entry → value where a file is silent.
    """

    kind: ClassVar[str]
    part: ClassVar[str]
    defaults: ClassVar[dict[str, Any]] = {}

    entries: dict[str, Any]

    def __init__(self, **entries: Any):
        """Fresh settings: the defaults, overridden by `entries`."""
        self.entries = {name: copy.deepcopy(value) for name, value in self.defaults.items() if value is not None}
        for name, value in entries.items():
            setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "entries":
            raise AttributeError(name)
        for source in (self.entries, self.defaults):
            if name in source:
                return source[name]
        raise AttributeError(f"{type(self).__name__} has no setting {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "entries":
            object.__setattr__(self, name, value)
        else:
            self.entries[name] = value

    @classmethod
    def from_dict(cls, entries: dict[str, Any], **overrides: Any) -> Self:
        """From the dictionary of a file, kept as it is."""
        made = cls.__new__(cls)
        made.entries = copy.deepcopy(entries)
        for name, value in overrides.items():
            setattr(made, name, value)
        return made

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Self:
        """Load the settings of a repository or folder.

        Args:
            kwargs: `revision`, `token`, `cache_dir`, `local_files_only`, `subfolder`, `force_download`; all others
                override entries.

        Raises:
            EntryNotFoundError: it has none.
            ConfigError: a torn file.
        """
        options = {name: kwargs.pop(name) for name in HUB_OPTIONS if name in kwargs}
        for name in WITHOUT_EFFECT:
            kwargs.pop(name, None)
        return cls.from_dict(read_settings(pretrained_model_name_or_path, cls.part, **options), **kwargs)

    @classmethod
    def from_json_file(cls, json_file: str | Path) -> Self:
        return cls.from_dict(read_json(Path(json_file)))

    def to_dict(self) -> dict[str, Any]:
        """The dictionary that `save_pretrained` writes."""
        return {self.kind: type(self).__name__, **copy.deepcopy(self.entries)}

    def to_json_string(self) -> str:
        return json.dumps(self.to_dict(), indent=2, sort_keys=True, default=_plain) + "\n"

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **options: Any) -> list[str]:
        """Write `preprocessor_config.json` into a folder, which is made if need be; the files written."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PREPROCESSOR).write_text(self.to_json_string(), encoding="utf-8")
        if push_to_hub:
            self.push_to_hub(options.pop("repo_id", None) or folder.name, **options)
        return [str(folder / PREPROCESSOR)]

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:
        """Save into a temporary folder and upload it; see `enfold.hub.files.push_folder`."""
        return push(self.save_pretrained, repo_id, **kwargs)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.to_dict() == other.to_dict()  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"


def _plain(value: Any) -> Any:
    """What JSON doesn't know, in what it does."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise ArgumentError(f"a setting is a {type(value).__name__}, which no settings file can hold")


def read_file(source: str | Path, name: str, **options: Any) -> dict[str, Any] | None:
    """One JSON file of a repository or folder, or None."""
    from enfold.hub.files import resolve_file

    found = resolve_file(source, name, required=False, **options)
    return None if found is None else read_json(found)


def read_settings(source: str | Path, part: str, **options: Any) -> dict[str, Any]:
    """The settings of a repository's image processor or feature extractor.

    Newer files hold them within `processor_config.json`, beside those of the tokenizer.
    """
    path = Path(source)
    if path.is_file():
        return read_json(path)
    whole = read_file(source, PROCESSOR, **options)
    if whole is not None and isinstance(whole.get(part), dict):
        return whole[part]
    found = read_file(source, PREPROCESSOR, **options)
    if found is None:
        raise EntryNotFoundError(
            f"{source} has no {PREPROCESSOR}, and no {PROCESSOR} with {part!r}: nothing says how its inputs are made. "
            "Make a processor with its class, such as ViTImageProcessor(size=224)"
        )
    return found


def push(save: Any, repo_id: str, **kwargs: Any) -> Any:
    """Let `save` fill a temporary folder and upload it."""
    import tempfile

    from enfold.hub.files import push_folder

    with tempfile.TemporaryDirectory() as folder:
        save(folder)
        return push_folder(folder, repo_id, **kwargs)

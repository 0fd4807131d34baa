"""The Auto classes: a configuration's `model_type` picks the class."""

from pathlib import Path
from typing import Any, ClassVar

from enfold.base.entries import read_json
from enfold.base.errors import ConfigError
from enfold.models.config import PreTrainedConfig
from enfold.models.registry import config_class, model_class

HUB_OPTIONS = ("revision", "token", "cache_dir", "local_files_only", "subfolder")
# Accepted because users pass them; they change nothing about reading a configuration.
WITHOUT_EFFECT = ("trust_remote_code",)


class AutoConfig:
    """Makes the configuration class that a repository's `config.json` asks for."""

    def __init__(self) -> None:
        raise TypeError("AutoConfig is not instantiated: use AutoConfig.from_pretrained(…) or AutoConfig.for_model(…)")

    @staticmethod
    def for_model(model_type: str, **entries: Any) -> PreTrainedConfig:
        """A fresh configuration of a family."""
        return config_class(model_type)(**entries)

    @staticmethod
    def from_pretrained(
        pretrained_model_name_or_path: str | Path,
        *,
        gguf_file: str | None = None,
        return_unused_kwargs: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Read `config.json` of a repository or folder (or derive it from a GGUF file's fields).

        Args:
            gguf_file: name of the GGUF file to read instead.
            kwargs: `revision`, `token`, `cache_dir`, `local_files_only`, `subfolder`; all others override entries.

        Raises:
            ConfigError: unknown `model_type` (the nearest known one is named), a torn file, or none at all.
        """
        source = pretrained_model_name_or_path
        options = {name: kwargs.pop(name) for name in (*HUB_OPTIONS, "force_download") if name in kwargs}
        for name in WITHOUT_EFFECT:
            kwargs.pop(name, None)
        config = from_entries(read_entries(source, gguf_file=gguf_file, **options), str(source))
        known = {name: value for name, value in kwargs.items() if not return_unused_kwargs or _has(config, name)}
        config.update(known)
        if return_unused_kwargs:
            return config, {name: value for name, value in kwargs.items() if name not in known}
        return config


def _has(config: PreTrainedConfig, name: str) -> bool:
    return hasattr(config, name)


def read_entries(
    source: str | Path, *, gguf_file: str | None = None, force_download: bool = False, **options: Any
) -> dict[str, Any]:
    """The dictionary of a repository's `config.json`, or one derived from its only GGUF file."""
    from enfold.hub.files import list_files, resolve_file

    path = Path(source)
    if gguf_file is None and path.is_file() and path.suffix == ".json":
        return read_json(path)
    if gguf_file is None:
        found = resolve_file(source, "config.json", required=False, force_download=force_download, **options)
        if found is not None:
            return read_json(found)
        names = list_files(source, **options)
        ggufs = [name for name in names if name.endswith(".gguf") and "/" not in name]
        if len(ggufs) != 1:
            raise ConfigError(
                f"{source} has no config.json"
                + (f" and {len(ggufs)} GGUF files: name one with gguf_file=" if ggufs else "")
                + f"; it holds {', '.join(names[:12]) or 'nothing'}"
            )
        gguf_file = ggufs[0]
    from enfold.weights.gguf_file import GGUFCheckpoint
    from enfold.weights.gguf_names import config_from_gguf

    file = resolve_file(source, gguf_file, force_download=force_download, **options)
    assert file is not None
    with GGUFCheckpoint(file) as checkpoint:
        return config_from_gguf(checkpoint.fields, checkpoint)


def from_entries(entries: dict[str, Any], source: str) -> PreTrainedConfig:
    """The configuration that a dictionary describes.

    Raises:
        ConfigError: no `model_type`, an unknown one, or one that needs code from the repository.
    """
    model_type = entries.get("model_type")
    if model_type is None:
        raise ConfigError(
            f"the config.json of {source} has no model_type, so the family can't be told: add one, "
            'for example "model_type": "bert"'
        )
    try:
        return config_class(model_type).from_dict(entries)
    except ConfigError as error:
        if "auto_map" in entries:
            raise ConfigError(
                f"{source} brings its own code for model_type {model_type!r} (auto_map); enfold runs no code from "
                "repositories, and has no family of that name"
            ) from error
        raise ConfigError(f"{source}: {error}") from None


class _AutoModel:
    """Shared by the Auto classes."""

    task: ClassVar[str]

    def __init__(self) -> None:
        name = type(self).__name__
        raise TypeError(f"{name} is not instantiated: use {name}.from_pretrained(…) or {name}.from_config(…)")

    @classmethod
    def from_config(cls, config: PreTrainedConfig, **kwargs: Any) -> Any:
        """A fresh model of the class that the configuration asks for."""
        return model_class(config.model_type, cls.task).from_config(config, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """Load a model; arguments as `PreTrainedModel.from_pretrained` documents them."""
        config = kwargs.pop("config", None)
        if config is None:
            options = {name: kwargs[name] for name in (*HUB_OPTIONS, "gguf_file", "force_download") if name in kwargs}
            config = AutoConfig.from_pretrained(pretrained_model_name_or_path, **options)
        chosen = model_class(config.model_type, cls.task)
        return chosen.from_pretrained(pretrained_model_name_or_path, config=config, **kwargs)


class AutoModel(_AutoModel):
    """The model without a task head."""

    task = "base"


class AutoModelForCausalLM(_AutoModel):
    """Next token."""

    task = "causal-lm"


class AutoModelForMaskedLM(_AutoModel):
    """Masked token."""

    task = "masked-lm"


class AutoModelForSeq2SeqLM(_AutoModel):
    """Text to text."""

    task = "seq2seq-lm"


class AutoModelForSequenceClassification(_AutoModel):
    """A class for a text."""

    task = "sequence-classification"


class AutoModelForTokenClassification(_AutoModel):
    """A class for every token."""

    task = "token-classification"


class AutoModelForQuestionAnswering(_AutoModel):
    """Start and end of an answer."""

    task = "question-answering"


class AutoModelForTableQuestionAnswering(_AutoModel):
    """The cells of a table that answer a question."""

    task = "table-question-answering"


class AutoModelForMultipleChoice(_AutoModel):
    """A score for each continuation."""

    task = "multiple-choice"


class AutoModelForNextSentencePrediction(_AutoModel):
    """Whether one text follows another."""

    task = "next-sentence"


class AutoModelForPreTraining(_AutoModel):
    """The heads a model was pre-trained with."""

    task = "pre-training"


class AutoModelForImageClassification(_AutoModel):
    """A class for an image."""

    task = "image-classification"


class AutoModelForMaskedImageModeling(_AutoModel):
    """What stood behind hidden patches."""

    task = "masked-image-modeling"


class AutoModelForCTC(_AutoModel):
    """A token, or the blank, for each frame of a sound."""

    task = "ctc"


class AutoModelForAudioClassification(_AutoModel):
    """A class for a sound."""

    task = "audio-classification"

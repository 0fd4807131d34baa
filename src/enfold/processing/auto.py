"""The Auto classes: a repository's files say which class reads its images and sounds."""

import importlib
from pathlib import Path
from typing import Any, ClassVar

from enfold.base.errors import ArgumentError, ConfigError, EntryNotFoundError, NotBuiltError
from enfold.processing.settings import HUB_OPTIONS, PROCESSOR, WITHOUT_EFFECT, read_file, read_settings

# Class (files name it with and without `Fast`) → its module.
IMAGES = {"ViTImageProcessor": "vit", "DeiTImageProcessor": "vit"}
SOUNDS = {"Wav2Vec2FeatureExtractor": "wav2vec2"}
PROCESSORS = {"Wav2Vec2Processor": "wav2vec2"}
# model_type → class, for files that don't name it.
BY_MODEL = {
    "vit": "ViTImageProcessor",
    "deit": "DeiTImageProcessor",
    "wav2vec2": "Wav2Vec2FeatureExtractor",
    "hubert": "Wav2Vec2FeatureExtractor",
}
_REGISTERED: dict[str, Any] = {}


class _Auto:
    """Shared by the Auto classes.

    Class attributes:
        classes: the classes it chooses from.
        part: what `processor_config.json` calls them.
    """

    classes: ClassVar[dict[str, str]]
    part: ClassVar[str]

    def __init__(self) -> None:
        name = type(self).__name__
        raise ArgumentError(f"{name} is not made directly: use {name}.from_pretrained(id or folder)")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """Load what a repository or folder has; arguments as of `Settings.from_pretrained`.

        Raises:
            EntryNotFoundError: it has no settings.
            NotBuiltError: they are for a class that isn't built.
        """
        source = pretrained_model_name_or_path
        for name in WITHOUT_EFFECT:
            kwargs.pop(name, None)
        options = {name: kwargs.pop(name) for name in HUB_OPTIONS if name in kwargs}
        entries = read_settings(source, cls.part, **options)
        return cls._class(source, entries, options).from_dict(entries, **kwargs)

    @classmethod
    def _class(cls, source: str | Path, entries: dict[str, Any], options: dict[str, Any]) -> Any:
        declared = entries.get(f"{cls.part}_type") or entries.get("feature_extractor_type")
        if declared is None and not Path(source).is_file():
            config = read_file(source, "config.json", **options) or {}
            declared = BY_MODEL.get(config.get("model_type", ""))
            if declared is None:
                raise ConfigError(
                    f"{source}: neither its settings nor its config.json (model_type {config.get('model_type')!r}) say "
                    f"which class reads them: add {cls.part}_type, one of {', '.join(cls.classes)}"
                )
        # Files of older versions name image processors feature extractors.
        name = str(declared).removesuffix("Fast").removesuffix("Pil")
        if cls.part == "image_processor":
            name = name.replace("FeatureExtractor", "ImageProcessor")
        return built(name, cls.classes, str(source), entries)

    @classmethod
    def register(cls, name: str, chosen: Any) -> None:
        """Use a class of one's own for files that name it."""
        _REGISTERED[name] = chosen


def built(name: str, classes: dict[str, str], source: str, entries: dict[str, Any]) -> Any:
    """The class of this name."""
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name in classes:
        return getattr(importlib.import_module(f"enfold.processing.{classes[name]}"), name)
    own = " It brings its own code (auto_map), and no code of repositories is run." if "auto_map" in entries else ""
    raise NotBuiltError(f"{source} is for {name}, which is not built; built are {', '.join(classes)}.{own}")


class AutoImageProcessor(_Auto):
    """Makes pixel values of pictures."""

    classes, part = IMAGES, "image_processor"


class AutoFeatureExtractor(_Auto):
    """Makes features of sounds (or pixel values, where the files are an image processor's)."""

    classes, part = SOUNDS | IMAGES, "feature_extractor"

    @classmethod
    def _class(cls, source: str | Path, entries: dict[str, Any], options: dict[str, Any]) -> Any:
        if "image_processor_type" in entries:
            return AutoImageProcessor._class(source, entries, options)
        return super()._class(source, entries, options)


class AutoProcessor:
    """Makes the processor of a repository; where it has only one part (a tokenizer, an image processor), that."""

    def __init__(self) -> None:
        raise ArgumentError("AutoProcessor is not made directly: use AutoProcessor.from_pretrained(id or folder)")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """Load what a repository or folder has.

        Raises:
            EntryNotFoundError: neither a processor nor a part of one.
            NotBuiltError: it is for a class that isn't built.
        """
        source = pretrained_model_name_or_path
        options = {name: kwargs[name] for name in HUB_OPTIONS if name in kwargs}
        files = [
            read_file(source, name, **options) or {}
            for name in (PROCESSOR, "preprocessor_config.json", "tokenizer_config.json")
        ]
        declared = next((entries["processor_class"] for entries in files if entries.get("processor_class")), None)
        tokenizer, settings = bool(files[2]), bool(files[0] or files[1])
        if declared is None and tokenizer and settings:
            config = read_file(source, "config.json", **options) or {}
            if BY_MODEL.get(config.get("model_type", "")) == "Wav2Vec2FeatureExtractor":
                declared = "Wav2Vec2Processor"
        if declared is not None:
            return built(declared, PROCESSORS, str(source), files[0]).from_pretrained(source, **kwargs)
        if settings:
            return AutoFeatureExtractor.from_pretrained(source, **kwargs)
        if tokenizer:
            from enfold.tokenizers.auto import AutoTokenizer

            return AutoTokenizer.from_pretrained(source, **kwargs)
        raise EntryNotFoundError(
            f"{source} has no {PROCESSOR}, no preprocessor_config.json and no tokenizer_config.json: nothing says how "
            "its inputs are made"
        )

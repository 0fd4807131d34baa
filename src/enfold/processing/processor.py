"""A processor of sounds: a feature extractor, and the tokenizer of what is said, as one."""

import copy
import json
from pathlib import Path
from typing import Any, Self

from enfold.base.errors import ArgumentError
from enfold.processing.sequence_features import FeatureExtractor
from enfold.processing.settings import HUB_OPTIONS, PROCESSOR, WITHOUT_EFFECT, push, read_file

# Options of a call that only what reads sounds takes, only the tokenizer takes, and that both do.
SOUND = {"sampling_rate"}
BOTH = {
    "padding",
    "max_length",
    "truncation",
    "pad_to_multiple_of",
    "return_attention_mask",
    "return_tensors",
}


PART = FeatureExtractor.part


class Processor:
    """A feature extractor, and the tokenizer of what is said.

    Attributes:
        entries: what `processor_config.json` held.
    """

    def __init__(self, feature_extractor: Any = None, tokenizer: Any = None):
        if feature_extractor is None or tokenizer is None:
            raise ArgumentError(f"{type(self).__name__} needs a feature_extractor and a tokenizer")
        self.feature_extractor, self.tokenizer = feature_extractor, tokenizer
        self.entries: dict[str, Any] = {}

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Self:
        """Load both parts of a repository or folder; options as of `Settings.from_pretrained`."""
        from enfold.processing.auto import AutoFeatureExtractor
        from enfold.tokenizers.auto import AutoTokenizer

        source = pretrained_model_name_or_path
        options = {name: kwargs.pop(name) for name in HUB_OPTIONS if name in kwargs}
        for name in WITHOUT_EFFECT:
            kwargs.pop(name, None)
        if kwargs:
            raise ArgumentError(f"{cls.__name__}.from_pretrained takes {', '.join(HUB_OPTIONS)}, not {sorted(kwargs)}")
        reader = AutoFeatureExtractor.from_pretrained(source, **options)
        options.pop("force_download", None)
        made = cls(reader, AutoTokenizer.from_pretrained(source, **options))
        made.entries = read_file(source, PROCESSOR, **options) or {}
        return made

    def to_dict(self) -> dict[str, Any]:
        """The dictionary that `save_pretrained` writes."""
        rest = {name: copy.deepcopy(value) for name, value in self.entries.items() if name != PART}
        return {"processor_class": type(self).__name__, **rest, PART: self.feature_extractor.to_dict()}

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **options: Any) -> list[str]:
        """Write `processor_config.json` and the tokenizer's files into a folder, which is made if need be."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        written = list(self.tokenizer.save_pretrained(folder))
        text = json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"
        (folder / PROCESSOR).write_text(text, encoding="utf-8")
        if push_to_hub:
            self.push_to_hub(options.pop("repo_id", None) or folder.name, **options)
        return [*map(str, written), str(folder / PROCESSOR)]

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:
        """Save into a temporary folder and upload it; see `enfold.hub.files.push_folder`."""
        return push(self.save_pretrained, repo_id, **kwargs)

    def __call__(self, audio: Any = None, text: Any = None, **options: Any) -> Any:
        """Features of sounds, ids of texts, or both: then the ids are the `labels`.

        Args:
            audio: as the feature extractor takes it.
            text: as the tokenizer takes it.
            options: of either, or of both; `audio_kwargs` and `text_kwargs` are for one alone.

        Raises:
            ArgumentError: neither was given.
        """
        if audio is None and text is None:
            raise ArgumentError("give audio, text, or both")
        own, theirs = options.pop("audio_kwargs", {}), options.pop("text_kwargs", {})
        common = {name: value for name, value in options.items() if name in BOTH}
        heard = common | {name: value for name, value in options.items() if name in SOUND} | own
        told = common | {n: v for n, v in options.items() if n not in BOTH | SOUND} | theirs
        if text is None:
            extra = sorted(told.keys() - common.keys())
            if extra:
                raise ArgumentError(f"{extra} are options of texts, and there is no text")
            return self.feature_extractor(audio, **heard)
        encoded = self.tokenizer(text, **told)
        if audio is None:
            return encoded
        made = self.feature_extractor(audio, **heard)
        made["labels"] = encoded["input_ids"]
        return made

    def pad(self, input_features: Any = None, labels: Any = None, **options: Any) -> Any:
        """Rows of features, rows of ids (`{"input_ids": …}`), or both, made equally long; as both parts pad."""
        if input_features is None and labels is None:
            raise ArgumentError("give input_features, labels, or both")
        encoded = None if labels is None else self.tokenizer.pad(labels, **options)
        if input_features is None:
            return encoded
        made = self.feature_extractor.pad(input_features, **options)
        if encoded is not None:
            made["labels"] = encoded["input_ids"]
        return made

    def batch_decode(self, *args: Any, **kwargs: Any) -> Any:
        """The tokenizer's."""
        return self.tokenizer.batch_decode(*args, **kwargs)

    def decode(self, *args: Any, **kwargs: Any) -> Any:
        """The tokenizer's."""
        return self.tokenizer.decode(*args, **kwargs)

    @property
    def model_input_names(self) -> list[str]:
        """What a batch holds."""
        return [*self.feature_extractor.model_input_names, "labels"]

    def __repr__(self) -> str:
        return f"{type(self).__name__}:\n- {PART}: {self.feature_extractor!r}\n- tokenizer: {self.tokenizer!r}"

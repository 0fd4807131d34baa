"""`AutoTokenizer`: the right class for a repository."""

import os
from fnmatch import fnmatch
from typing import Any

from enfold.base.errors import ArgumentError, NotBuiltError, TokenizerError
from enfold.base.logging import get_logger
from enfold.tokenizers.families import classes
from enfold.tokenizers.families.registry import (
    ABSENT,
    BUILT_AS,
    GENERIC_CLASSES,
    TAKEN_AS_THEY_ARE,
    TRUSTED_FILES,
    WRONGLY_DECLARED,
)
from enfold.tokenizers.loading import Source, find_source
from enfold.tokenizers.pretrained import PreTrainedTokenizerFast

logger = get_logger(__name__)

# Class name, without `Fast` → class; some classes have several names.
_FAMILIES: dict[str, type[PreTrainedTokenizerFast]] = {
    name: value
    for name, value in vars(classes).items()
    if isinstance(value, type) and name.endswith("Tokenizer") and value is not PreTrainedTokenizerFast
}
# `AutoTokenizer.register`: model type or class name → class.
_REGISTERED: dict[str, type[PreTrainedTokenizerFast]] = {}


class AutoTokenizer:
    """Makes the tokenizer that a repository's files ask for; use `from_pretrained`."""

    def __init__(self) -> None:
        raise ArgumentError("AutoTokenizer is not made directly: use AutoTokenizer.from_pretrained(id or folder).")

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        *,
        config: Any = None,
        tokenizer_type: str | None = None,
        cache_dir: str | os.PathLike | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str | None = None,
        subfolder: str = "",
        gguf_file: str | None = None,
        use_fast: bool | None = None,
        trust_remote_code: bool | None = None,
        **overrides: Any,
    ) -> PreTrainedTokenizerFast:
        """Load the tokenizer of a repository or folder.

        Args:
            pretrained_model_name_or_path: a repository id, a folder, or a tokenizer.json, vocab.txt or GGUF file.
            config: the model's configuration, if it is at hand; only its type and tokenizer class are read.
            tokenizer_type: a model type ("bert", "gpt2", …) whose tokenizer class is to be used.
            cache_dir, local_files_only, token, revision, subfolder: where to look, as everywhere in enfold.
            gguf_file: take the vocabulary and chat template of this GGUF file of the repository.
            use_fast: accepted; there is one engine.
            trust_remote_code: code of a repository is never run. A repository that needs it is refused.
            overrides: options that win over the files': special tokens, `padding_side`, `model_max_length`, …

        Raises:
            HubError and its kin: the repository or a file can't be had.
            TokenizerError: no tokenizer in it, a damaged one, or one that needs code of the repository.
            ArgumentError: an override or `tokenizer_type` that is not known.
        """
        source = find_source(
            pretrained_model_name_or_path,
            gguf_file=gguf_file,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
            revision=revision,
            subfolder=subfolder,
        )
        if tokenizer_type is not None:
            built = _by_type(tokenizer_type)
            if built is None:
                known = sorted({kind for kind, name in BUILT_AS.items() if name in _FAMILIES} | set(_REGISTERED))
                raise ArgumentError(f"tokenizer_type={tokenizer_type!r} is not known. Known: {', '.join(known)}.")
            return built.from_pretrained(source.name, _source=source, **overrides)
        if source.gguf is not None:
            return PreTrainedTokenizerFast.from_pretrained(source.name, _source=source, **overrides)
        name = _class_name(source, config, trust_remote_code)
        chosen = _REGISTERED.get(name or "") or _FAMILIES.get(name or "", PreTrainedTokenizerFast)
        if chosen is not PreTrainedTokenizerFast:
            return chosen.from_pretrained(source.name, _source=source, **overrides)
        if name in ABSENT:
            raise NotBuiltError(
                f"{source.name} is for {name}, which is not built yet."
                + (
                    " PreTrainedTokenizerFast.from_pretrained(...) takes its tokenizer.json as it is."
                    if source.tokenizer_file is not None
                    else ""
                )
            )
        declared = None if name is None or name in GENERIC_CLASSES else name
        return chosen.from_pretrained(source.name, _source=source, _declared_class=declared, **overrides)

    @staticmethod
    def register(
        config_class: Any,
        tokenizer_class: Any = None,
        slow_tokenizer_class: Any = None,
        fast_tokenizer_class: Any = None,
        exist_ok: bool = False,
    ) -> None:
        """Use a class of one's own for a model type.

        Args:
            config_class: a configuration class with a `model_type`, or the model type itself.
            tokenizer_class: a subclass of PreTrainedTokenizerFast (the older two names are accepted).
            exist_ok: replace what was registered.
        """
        chosen = tokenizer_class or fast_tokenizer_class or slow_tokenizer_class
        if chosen is None or not issubclass(chosen, PreTrainedTokenizerFast):
            raise ArgumentError(f"register needs a subclass of PreTrainedTokenizerFast, got {chosen!r}.")
        kind = config_class if isinstance(config_class, str) else getattr(config_class, "model_type", None)
        if not kind:
            raise ArgumentError(f"register needs a configuration class with a model_type, got {config_class!r}.")
        if not exist_ok and (kind in _REGISTERED or kind in BUILT_AS):
            raise ArgumentError(f"Model type {kind!r} has a tokenizer class already; pass exist_ok=True to replace it.")
        _REGISTERED[kind] = _REGISTERED[chosen.__name__] = chosen


def _by_type(model_type: str) -> type[PreTrainedTokenizerFast] | None:
    return _REGISTERED.get(model_type) or _FAMILIES.get(BUILT_AS.get(model_type, ""))


def _class_name(source: Source, config: Any, trust_remote_code: bool | None) -> str | None:
    """The name, without `Fast`, of the class that these files are for; None is the class for any tokenizer.json."""
    if config is None:
        model = source.model_config()
    else:
        model = (
            config if isinstance(config, dict) else vars(config) | {"model_type": getattr(config, "model_type", None)}
        )
    if model.get("model_type") in ("encoder-decoder", "speech-encoder-decoder", "vision-encoder-decoder"):
        # The encoder reads the texts, unless something is declared.
        model = {**(model.get("encoder") or {}), **{key: model[key] for key in ("tokenizer_class",) if key in model}}
    model_type = model.get("model_type") or ""
    declared = source.config.get("tokenizer_class") or model.get("tokenizer_class")
    if declared is not None and not isinstance(declared, str):
        raise TokenizerError(f"{source.name}: tokenizer_class must be a name, found {declared!r:.80}.")
    if declared is not None and declared not in GENERIC_CLASSES:
        declared = declared.removesuffix("Fast")
    _check_code(source, declared, model_type, trust_remote_code)
    if model_type in _REGISTERED:
        return _REGISTERED[model_type].__name__
    if any(fnmatch(source.name.lower(), pattern) for pattern in TRUSTED_FILES):
        return None
    registered = BUILT_AS.get(model_type, "").removesuffix("Fast") or None
    if declared is None:
        return None if model_type in TAKEN_AS_THEY_ARE else registered or _by_files(source)
    wrong = bool({model_type, model.get("model_name")} & WRONGLY_DECLARED)
    if declared == "LlamaTokenizer" and not wrong and _is_byte_level(source):
        logger.info(
            "%s declares LlamaTokenizer, but its tokenizer.json is byte-level; it is taken as it is.", source.name
        )
        return None
    if model_type in TAKEN_AS_THEY_ARE and declared not in GENERIC_CLASSES:
        return None
    return registered if registered is not None and wrong else declared


def _by_files(source: Source) -> str | None:
    """Without any declaration the files themselves tell."""
    if source.tokenizer_file is not None:
        return None
    return "BertTokenizer" if "vocab.txt" in source.paths else "GPT2Tokenizer" if "vocab.json" in source.paths else None


def _is_byte_level(source: Source) -> bool:
    path = source.tokenizer_file
    return path is not None and b'"ByteLevel"' in path.read_bytes()


def _check_code(source: Source, declared: str | None, model_type: str, trust_remote_code: bool | None) -> None:
    """Refuse a repository whose tokenizer is a program of its own."""
    auto_map = source.config.get("auto_map")
    references = auto_map.get("AutoTokenizer") if isinstance(auto_map, dict) else auto_map
    if not references or model_type in WRONGLY_DECLARED:
        return
    names = [str(entry) for entry in (references if isinstance(references, list) else [references]) if entry]
    classes = {name.rpartition(".")[2].removesuffix("Fast") for name in names}
    if declared in _FAMILIES or declared in GENERIC_CLASSES or (model_type in BUILT_AS and declared not in classes):
        if trust_remote_code:
            logger.warning("%s: its own tokenizer code is not run; enfold's %s is used.", source.name, declared)
        return
    raise TokenizerError(
        f"{source.name}: its tokenizer is a program in the repository ({', '.join(names)}), and enfold never runs code "
        "from a repository, trust_remote_code or not. If it has a tokenizer.json, "
        "PreTrainedTokenizerFast.from_pretrained(...) takes that as it is; otherwise ask its authors for one."
    )

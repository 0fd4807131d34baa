"""A name or folder → everything a tokenizer is made from."""

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enfold.base.errors import EntryNotFoundError, TokenizerError
from enfold.tokenizers.families.recipes import Parts
from enfold.tokenizers.formats.document import added_token
from enfold.tokenizers.formats.gguf import first_part
from enfold.tokenizers.formats.reading import (
    checked_merges,
    checked_vocab,
    read_json,
    read_text,
)
from enfold.tokenizers.formats.tekken import is_tekken
from enfold.tokenizers.special_tokens import EXTRA, NAMED

if TYPE_CHECKING:
    from enfold.tokenizers import AddedToken

TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"
SPECIAL_MAP = "special_tokens_map.json"
ADDED = "added_tokens.json"
VOCAB_TXT = "vocab.txt"
VOCAB_JSON = "vocab.json"
MERGES = "merges.txt"
MODEL_CONFIG = "config.json"
TEKKEN = "tekken.json"
TEMPLATE = "chat_template.jinja"
TEMPLATE_JSON = "chat_template.json"
TEMPLATE_FOLDER = "additional_chat_templates"
_SMALL_FILES = (CONFIG, SPECIAL_MAP, ADDED, VOCAB_TXT, VOCAB_JSON, MERGES, MODEL_CONFIG, TEMPLATE, TEMPLATE_JSON)
# The release of transformers whose files are read the way it reads them.
_SPEAKS = (5, 23)


@dataclass(slots=True)
class Source:
    """The files of one tokenizer, on disk, with its small ones already read.

    Args:
        name: what the user asked for.
        paths: file name in the repository → where it is.
        config: tokenizer_config.json.
        templates: chat templates that have files of their own, name → template.
        gguf: a GGUF file that carries the vocabulary.
        listed, fetch: what the repository has, and how to get one of it.
    """

    name: str
    paths: dict[str, Path]
    config: dict[str, Any] = field(default_factory=dict)
    templates: dict[str, str] = field(default_factory=dict)
    gguf: Path | None = None
    listed: frozenset[str] = frozenset()
    fetch: Callable[[str], Path | None] = lambda file: None

    def find(self, file: str) -> Path | None:
        """A file of the repository, if it has it."""
        if file not in self.paths and file in self.listed and (found := self.fetch(file)):
            self.paths[file] = found
        return self.paths.get(file)

    @property
    def tokenizer_file(self) -> Path | None:
        return self.paths.get(TOKENIZER)

    def model_config(self) -> dict[str, Any]:
        """The model's config.json, if there is one."""
        path = self.paths.get(MODEL_CONFIG)
        return read_json(path) if path else {}


def find_source(name: str | os.PathLike, *, gguf_file: str | None = None, **where: Any) -> Source:
    """Fetch the tokenizer's files.

    Args:
        name: a repository id, a folder, or one file: tokenizer.json, vocab.txt, tekken.json, or one that ends with
            .model, .tiktoken or .gguf.
        gguf_file: take the vocabulary of this file of the repository.
        where: `revision`, `token`, `cache_dir`, `local_files_only`, `subfolder`, as `enfold.hub` takes them.

    Raises:
        HubError and its kin: the repository or a file can't be had.
        TokenizerError: there is no tokenizer in it, or one of its files is damaged.
    """
    from enfold.hub.files import list_files, resolve_file

    path = Path(name).expanduser()
    if path.is_file():
        return _single_file(path)

    def fetch(filename: str) -> Path | None:
        return resolve_file(name, filename, required=False, **where)

    listed = set(list_files(name, **where))
    paths = {file: found for file in _SMALL_FILES if file in listed and (found := fetch(file))}
    source = Source(str(name), paths, listed=frozenset(listed), fetch=fetch)
    if CONFIG in paths:
        source.config = read_json(paths[CONFIG])
    if gguf_file:
        gguf = resolve_file(name, first_part(gguf_file), **where)
        assert gguf is not None
        source.gguf = gguf
    else:
        tokenizer = _versioned(source.config.get("fast_tokenizer_files"), listed)
        if tokenizer in listed and (found := fetch(tokenizer)):
            paths[TOKENIZER] = found
        ggufs = {first_part(file) for file in listed if file.endswith(".gguf") and "/" not in file}
        if len(ggufs) == 1 and not paths.keys() & {TOKENIZER, VOCAB_TXT, VOCAB_JSON}:
            source.gguf = fetch(ggufs.pop())  # the repository is one GGUF model, which carries its tokenizer
    templates = sorted(f for f in listed if re.fullmatch(TEMPLATE_FOLDER + r"/[^/]+\.jinja", f))
    for file in ([TEMPLATE] if TEMPLATE in paths else []) + templates:
        found = paths.get(file) or fetch(file)
        if found:
            label = "default" if file == TEMPLATE else Path(file).stem
            source.templates[label] = read_text(found)
    return source


def _single_file(path: Path) -> Source:
    if path.suffix == ".gguf":
        return Source(str(path), {}, gguf=path.with_name(first_part(path.name)))
    for known in (TOKENIZER, VOCAB_TXT):
        if path.name.endswith(known):
            return Source(str(path), {known: path})
    if path.suffix in (".model", ".spm", ".tiktoken"):
        return Source(str(path), {path.name: path}, listed=frozenset([path.name]))
    if is_tekken(path.name):
        return Source(str(path), {TEKKEN: path}, listed=frozenset([TEKKEN]))
    raise EntryNotFoundError(
        f"{path} is a single file of unknown kind: give a folder, a repository id, a tokenizer.json, vocab.txt, "
        "tekken.json, or a .model, .tiktoken or .gguf file."
    )


def _versioned(names: Any, listed: Iterable[str]) -> str:
    """`tokenizer.4.0.json` and the like: the newest that is not newer than what enfold reads."""
    best, chosen = (0,), TOKENIZER
    for name in names if isinstance(names, list) else ():
        match = re.fullmatch(r"tokenizer\.(\d+(?:\.\d+)*)\.json", str(name))
        if match and name in listed:
            version = tuple(int(part) for part in match.group(1).split("."))
            if best < version <= _SPEAKS:
                best, chosen = version, name
    return chosen


def settings(source: Source, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """tokenizer_config.json and the files beside it, with the user's `overrides`, as options of the class."""
    config = dict(source.config)
    for key in ("tokenizer_class", "init_inputs", "auto_map", "fast_tokenizer_files", "name_or_path"):
        config.pop(key, None)
    if source.tokenizer_file is not None:
        # The tokenizer.json's own post-processor says it; a user's override still counts.
        config.pop("add_bos_token", None)
        config.pop("add_eos_token", None)
    if set(source.templates) == {"default"}:
        config["chat_template"] = source.templates["default"]
    elif source.templates:
        config["chat_template"] = source.templates
    elif config.get("chat_template") is None and TEMPLATE_JSON in source.paths:
        config["chat_template"] = read_json(source.paths[TEMPLATE_JSON]).get("chat_template")
    if not overrides.get(EXTRA) and "additional_special_tokens" in overrides:
        overrides = {**overrides, EXTRA: overrides["additional_special_tokens"]}
    config.update(overrides)
    if "additional_special_tokens" in config:
        # Also where it is null: then there are none, not the class's own.
        old_name = config.pop("additional_special_tokens")
        config[EXTRA] = config.get(EXTRA) or old_name
    decoder = config.pop("added_tokens_decoder", None)
    where = source.paths.get(CONFIG, CONFIG)
    added: dict[int, AddedToken] = {}
    if decoder is not None:
        if not isinstance(decoder, dict):
            raise TokenizerError(f"{where}: added_tokens_decoder must be an object of id → token.")
        for index, token in decoder.items():
            added[_index(index, where)] = token if not isinstance(token, dict) else added_token(token, where)
    else:
        _read_special_map(source, config, overrides)
        _read_added_tokens(source, config, added)
    if isinstance(config.get(EXTRA), dict):
        # Named ones stand beside the class's own.
        config["model_specific_special_tokens"] = {
            **(config.get("model_specific_special_tokens") or {}),
            **config.pop(EXTRA),
        }
    config = {key: as_tokens(value, where) for key, value in config.items()}
    by_text = {str(token): token for token in added.values()}
    if source.tokenizer_file is None or decoder is not None:
        for key in NAMED:
            if config.get(key) is not None:
                config[key] = by_text.get(str(config[key]), config[key])
    config["added_tokens_decoder"] = added
    return config


def _index(value: Any, where: Any) -> int:
    try:
        index = int(value)
    except (TypeError, ValueError):
        index = -1
    if not 0 <= index < 2**31:
        raise TokenizerError(f"{where}: {value!r} is no token id.")
    return index


def as_tokens(value: Any, where: Any) -> Any:
    """Added tokens in their JSON form become AddedTokens, also inside lists."""
    if isinstance(value, dict) and "content" in value and (value.get("__type") == "AddedToken" or "lstrip" in value):
        return added_token(value, where)
    return [as_tokens(item, where) for item in value] if isinstance(value, list) else value


def _read_special_map(source: Source, config: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    path = source.paths.get(SPECIAL_MAP)
    for key, value in (read_json(path) if path else {}).items():
        if overrides.get(key):
            continue
        if key == "additional_special_tokens":
            if config.get(EXTRA):
                continue
            key = EXTRA
        if key == EXTRA and isinstance(value, list):
            known = list(config.get(EXTRA) or []) if not isinstance(config.get(EXTRA), dict) else []
            tokens = [added_token(token, path, special=True) if isinstance(token, dict) else token for token in value]
            texts = {str(token) for token in known}
            value = known + [token for token in tokens if str(token) not in texts]
        elif isinstance(value, dict) and key != EXTRA:
            value = added_token(value, path, special=True)
        config[key] = value


def _read_added_tokens(source: Source, config: Mapping[str, Any], added: "dict[int, AddedToken]") -> None:
    path = source.paths.get(ADDED)
    if path is None:
        return
    extra = config.get(EXTRA) or []
    special = {str(config[key]) for key in NAMED if config.get(key)}
    special |= {str(token) for token in (extra if isinstance(extra, list) else extra.values())}
    for text, index in read_json(path).items():
        marks = {"special": text in special, "normalized": text not in special}
        added[_index(index, path)] = added_token({"content": text}, path, **marks)


@dataclass(slots=True)
class FileParts:
    """A tokenizer.json taken apart, for the families that rebuild from its vocabulary."""

    parts: Parts
    post_processor: dict[str, Any] | None = None
    truncation: dict[str, Any] | None = None
    padding: dict[str, Any] | None = None
    added: "list[tuple[int, AddedToken]]" = field(default_factory=list)
    sections: dict[str, Any] = field(default_factory=dict)


def take_apart(path: Path) -> FileParts:
    """Read a tokenizer.json for its vocabulary, merges and post-processor."""
    whole = read_json(path)
    model = whole.get("model")
    if not isinstance(model, dict) or "vocab" not in model:
        raise TokenizerError(f"{path}: it has no model with a vocabulary.")
    vocab = model["vocab"]
    if isinstance(vocab, dict):
        checked_vocab(vocab, path)
    elif not isinstance(vocab, list):
        raise TokenizerError(f"{path}: the vocabulary must be an object or a list, found {type(vocab).__name__}.")
    else:
        vocab = [_scored(entry, path) for entry in vocab]
    parts = Parts(vocab)
    if "merges" in model:
        parts.merges = checked_merges(model["merges"], path)
    normalizer = whole.get("normalizer") or {}
    for step in normalizer.get("normalizers", [normalizer]):
        if isinstance(step, dict) and step.get("type") == "Precompiled":
            parts.charsmap = step.get("precompiled_charsmap")
            break
    added = []
    for token in whole.get("added_tokens") or []:
        if not isinstance(token, dict):
            raise TokenizerError(f"{path}: an added token must be an object, found {token!r:.80}.")
        added.append((_index(token.get("id"), path), added_token(token, path)))
    sections = {name: whole.get(name) for name in ("normalizer", "pre_tokenizer", "decoder")}
    return FileParts(parts, whole.get("post_processor"), whole.get("truncation"), whole.get("padding"), added, sections)


def _scored(entry: Any, path: Path) -> tuple[str, float]:
    if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], str):
        raise TokenizerError(f"{path}: a vocabulary entry must be [token, score], found {entry!r:.80}.")
    try:
        return entry[0], float(entry[1])
    except (TypeError, ValueError):
        raise TokenizerError(f"{path}: the score of {entry[0]!r} is {entry[1]!r}, not a number.") from None


def add_prefix_space(document: str, value: bool, where: Any) -> str:
    """A tokenizer.json whose pre-tokenizer puts a space before the text, or does not.

    Raises:
        TokenizerError: nothing in it decides about that space.
    """
    whole = json.loads(document)
    steps = whole.get("pre_tokenizer") or {}
    found = False
    for step in steps.get("pretokenizers", [steps]):
        if step.get("type") == "ByteLevel":
            step["add_prefix_space"], found = value, True
        elif step.get("type") == "Metaspace":
            step["prepend_scheme"], found = ("always" if value else "never"), True
    if not found:
        raise TokenizerError(f"{where}: add_prefix_space={value} has no meaning for this tokenizer's pre-tokenizer.")
    return json.dumps(whole, ensure_ascii=False)

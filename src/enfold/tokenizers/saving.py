"""Writing a tokenizer so that enfold and transformers read it back alike."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from enfold.base.errors import ArgumentError
from enfold.tokenizers.formats.tekken import is_tekken, read_tekken
from enfold.tokenizers.loading import (
    CONFIG,
    MERGES,
    TEKKEN,
    TEMPLATE,
    TEMPLATE_FOLDER,
    TOKENIZER,
    VOCAB_JSON,
    VOCAB_TXT,
)
from enfold.tokenizers.padding import UNLIMITED
from enfold.tokenizers.special_tokens import EXTRA, EXTRA_NAMES

if TYPE_CHECKING:
    from enfold.tokenizers import Tokenizer
    from enfold.tokenizers.families.recipes import Family

# Kept by other files, or of no meaning elsewhere.
_NOT_SAVED = frozenset({"chat_template", "model_specific_special_tokens", "add_bos_token", "add_eos_token", "max_len"})
# Attributes that may have changed since the tokenizer was made.
_LIVE = (
    "padding_side",
    "truncation_side",
    "model_input_names",
    "clean_up_tokenization_spaces",
    "split_special_tokens",
    "chat_control_tokens",
    "response_template",
)


class Saving:
    """`save_pretrained`, `push_to_hub`, `save_vocabulary`."""

    if TYPE_CHECKING:
        family: ClassVar[Family | None]
        vocab_file: Path | None
        _tokenizer: Tokenizer
        _declared_class: str | None
        _extra_special: list[Any]
        init_kwargs: dict[str, Any]
        chat_template: str | dict[str, str] | None
        model_max_length: int
        extra_special_tokens: list[str]
        special_tokens_map: dict[str, str]

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
        push_to_hub: bool = False,
        save_format: str | None = None,
        *,
        repo_id: str | None = None,
        save_jinja_files: bool = True,
        **push: Any,
    ) -> tuple[str, ...]:
        """Write tokenizer.json, tokenizer_config.json and the chat templates into a folder.

        Args:
            save_directory: the folder; it is made if need be.
            legacy_format: None or False; the old separate files are written by `save_vocabulary`.
            filename_prefix: written before each file name, with a dash.
            push_to_hub: upload the folder's files as well.
            save_format: "mistral" writes the tekken.json that the tokenizer was loaded from, and nothing else.
            repo_id: with `push_to_hub`, where to; the folder's name by default.
            save_jinja_files: False keeps the chat templates inside tokenizer_config.json.
            push: further arguments of `push_to_hub`.

        Returns:
            the paths of the files written.
        """
        if legacy_format:
            raise ArgumentError("legacy_format=True is not written: use save_vocabulary() for the separate files.")
        folder = Path(save_directory)
        if folder.is_file():
            raise ArgumentError(f"{folder} is a file; save_pretrained needs a folder.")
        if save_format not in (None, "hf", "mistral"):
            raise ArgumentError(f"save_format={save_format!r} is not known: expected 'hf' or 'mistral'.")
        if save_format == "mistral" and push_to_hub:
            raise ArgumentError("save_format='mistral' is not pushed: save it, then upload the folder.")
        folder.mkdir(parents=True, exist_ok=True)
        if save_format == "mistral":
            return (str(self._save_tekken(folder)),)
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        config = self._config()
        files = [folder / f"{prefix}{CONFIG}"]
        templates = self.chat_template
        if isinstance(templates, str):
            templates = {"default": templates}
        if templates and save_jinja_files:
            files += _write_templates(templates, folder, prefix)
        elif isinstance(self.chat_template, dict):
            config["chat_template"] = [{"name": name, "template": text} for name, text in self.chat_template.items()]
        elif self.chat_template is not None:
            config["chat_template"] = self.chat_template
        files[0].write_text(json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
        files += self._save_vocabulary(folder, filename_prefix)
        if push_to_hub:
            self.push_to_hub(repo_id or folder.resolve().name, **push)
        elif push or repo_id:
            raise ArgumentError(f"{', '.join([*push, *(['repo_id'] if repo_id else [])])}: only with push_to_hub=True.")
        return tuple(map(str, files))

    def _save_vocabulary(self, folder: Path, filename_prefix: str | None) -> list[Path]:
        """Write what the tokenizer is loaded from again, beside its configuration."""
        path = folder / ((f"{filename_prefix}-" if filename_prefix else "") + TOKENIZER)
        self._tokenizer.save(str(path))
        return [path]

    def _config(self) -> dict[str, Any]:
        config = {
            key: _plain(value)
            for key, value in self.init_kwargs.items()
            if key not in _NOT_SAVED and key not in EXTRA_NAMES and not key.endswith("_token")
        }
        for key in _LIVE:
            value = getattr(self, key)
            if key in config or value != getattr(type(self), key, False):
                config[key] = value
        limit = self.model_max_length
        config["model_max_length"] = UNLIMITED if limit >= UNLIMITED else limit
        config.update(self.special_tokens_map)
        if self._extra_special:
            config[EXTRA] = self.extra_special_tokens
        config["tokenizer_class"] = self._declared_class or type(self).__name__
        config.setdefault("backend", "tokenizers")
        return {key: value for key, value in config.items() if _is_json(value)}

    def save_vocabulary(self, save_directory: str | os.PathLike, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write the bare vocabulary.

        That is a copy of the sentencepiece, tiktoken or tekken file that the tokenizer was loaded from, as it is;
        otherwise vocab.txt (WordPiece), or vocab.json and merges.txt (BPE).

        Raises:
            ArgumentError: not a folder, or a vocabulary that these files can't hold.
        """
        folder = Path(save_directory)
        if not folder.is_dir():
            raise ArgumentError(f"{folder} is not a folder.")
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        if self.vocab_file is not None:
            return (str(_copy(self.vocab_file, folder / f"{prefix}{self._vocabulary_name(self.vocab_file)}")),)
        model = json.loads(self._tokenizer.to_str())["model"]
        vocab = model.get("vocab")
        if model.get("type") == "WordPiece":
            path = folder / f"{prefix}{VOCAB_TXT}"
            ordered = sorted(vocab.items(), key=lambda entry: entry[1])
            if [index for _, index in ordered] != list(range(len(ordered))):
                raise ArgumentError("The vocabulary's ids have gaps; vocab.txt can't hold them. Use save_pretrained().")
            _refuse_breaks((token for token, _ in ordered), "\r\n", VOCAB_TXT)
            path.write_text("".join(f"{token}\n" for token, _ in ordered), encoding="utf-8", newline="\n")
            return (str(path),)
        if model.get("type") == "BPE":
            path, merges = folder / f"{prefix}{VOCAB_JSON}", folder / f"{prefix}{MERGES}"
            path.write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
            pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
            _refuse_breaks((symbol for pair in pairs for symbol in pair), " \r\n", MERGES)
            text = "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in pairs)
            merges.write_text(text, encoding="utf-8", newline="\n")
            return (str(path), str(merges))
        raise ArgumentError(f"A {model.get('type')} vocabulary has no file of its own here; use save_pretrained().")

    def _vocabulary_name(self, kept: Path) -> str:
        """What a file that is kept is called in the folder, so that it is found again."""
        if kept.suffix in (".json", ".tiktoken"):
            return TEKKEN if kept.suffix == ".json" else kept.name
        family = type(self).family
        return "tokenizer.model" if family is None or family.file is None else family.file

    def _save_tekken(self, folder: Path) -> Path:
        """Copy the tekken.json, which must still say what the tokenizer does."""
        kept = self.vocab_file
        if kept is None or not is_tekken(kept.name) or not kept.is_file():
            raise ArgumentError("save_format='mistral' needs a tokenizer that was loaded from a tekken.json.")
        document = read_tekken(kept)
        added = {token.content for token in self._tokenizer.get_added_tokens_decoder().values()}
        size = self._tokenizer.get_vocab_size(with_added_tokens=True)
        if added != set(document.added()) or size != len(document.model["vocab"]):
            raise ArgumentError(
                "The tokenizer has other added tokens than its tekken.json, which can't hold them: save it with "
                "save_format='hf'."
            )
        return _copy(kept, folder / TEKKEN)

    def push_to_hub(self, repo_id: str, **options: Any) -> Any:
        """Save into a temporary folder and upload it; `options` as `enfold.hub` takes them for a folder.

        Args:
            repo_id: `"name"` or `"organisation/name"`.
            options: `private`, `token`, `commit_message`, `revision`, `create_pr`.
        """
        from enfold.hub.push import push_folder

        options.setdefault("commit_message", "Upload tokenizer")
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return push_folder(folder, repo_id, **options)


def _write_templates(templates: dict[str, str], folder: Path, prefix: str) -> list[Path]:
    written = []
    for name, text in templates.items():
        path = folder / f"{prefix}{TEMPLATE}"
        if name != "default":
            home = folder / f"{prefix}{TEMPLATE_FOLDER}"
            path = home / f"{name}.jinja"
            if path.resolve().parent != home.resolve() or not name:
                raise ArgumentError(f"{name!r} can't be the name of a chat template: it would leave its folder.")
            home.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
        written.append(path)
    return written


def _copy(source: Path, target: Path) -> Path:
    if not source.is_file():
        raise ArgumentError(f"{source}, which the tokenizer was loaded from, is gone; use save_pretrained().")
    if not (target.exists() and target.samefile(source)):
        shutil.copyfile(source, target)
    return target


def _refuse_breaks(symbols: Iterable[str], breaks: str, file: str) -> None:
    for symbol in symbols:
        if any(character in symbol for character in breaks):
            raise ArgumentError(f"{file} can't hold {symbol!r:.80}: it is made of lines. Use save_pretrained().")


def _plain(value: Any) -> Any:
    """Added tokens as their text, also inside lists."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if type(value).__name__ == "AddedToken" else value


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True

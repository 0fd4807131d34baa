"""Writing a tokenizer so that enfold and transformers read it back alike."""

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enfold.base.errors import ArgumentError
from enfold.tokenizers.loading import CONFIG, MERGES, TEMPLATE, TEMPLATE_FOLDER, TOKENIZER, VOCAB_JSON, VOCAB_TXT
from enfold.tokenizers.padding import UNLIMITED
from enfold.tokenizers.special_tokens import EXTRA, EXTRA_NAMES

if TYPE_CHECKING:
    from enfold.tokenizers import Tokenizer

# Kept by other files, or of no meaning elsewhere.
_NOT_SAVED = frozenset({"chat_template", "model_specific_special_tokens", "add_bos_token", "add_eos_token", "max_len"})
# Attributes that may have changed since the tokenizer was made.
_LIVE = ("padding_side", "truncation_side", "model_input_names", "clean_up_tokenization_spaces", "split_special_tokens")


class Saving:
    """`save_pretrained`, `push_to_hub`, `save_vocabulary`."""

    if TYPE_CHECKING:
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
        folder.mkdir(parents=True, exist_ok=True)
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
        """Write the bare vocabulary: vocab.txt (WordPiece), or vocab.json and merges.txt (BPE).

        Raises:
            ArgumentError: not a folder, or a vocabulary of another kind.
        """
        folder = Path(save_directory)
        if not folder.is_dir():
            raise ArgumentError(f"{folder} is not a folder.")
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        model = json.loads(self._tokenizer.to_str())["model"]
        vocab = model.get("vocab")
        if model.get("type") == "WordPiece":
            path = folder / f"{prefix}{VOCAB_TXT}"
            ordered = sorted(vocab.items(), key=lambda entry: entry[1])
            if [index for _, index in ordered] != list(range(len(ordered))):
                raise ArgumentError("The vocabulary's ids have gaps; vocab.txt can't hold them. Use save_pretrained().")
            path.write_text("".join(f"{token}\n" for token, _ in ordered), encoding="utf-8", newline="\n")
            return (str(path),)
        if model.get("type") == "BPE":
            path, merges = folder / f"{prefix}{VOCAB_JSON}", folder / f"{prefix}{MERGES}"
            path.write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
            rows = (merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"])
            text = "#version: 0.2\n" + "".join(f"{row}\n" for row in rows)
            merges.write_text(text, encoding="utf-8", newline="\n")
            return (str(path), str(merges))
        raise ArgumentError(f"A {model.get('type')} vocabulary has no file of its own here; use save_pretrained().")

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

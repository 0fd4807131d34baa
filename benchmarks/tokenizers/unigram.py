"""A Unigram vocabulary, as no package is known that carries a large one under a free licence.

It is trained by the sentencepiece library on the first third of the texts, and kept.
"""

import importlib.util

from tools.vocabularies import folder

from benchmarks.tokenizers.texts import documents

SIZE = 8000  # pieces


def provide_unigram() -> None:
    """Train it unless it is there; without sentencepiece there is none."""
    target = folder() / "unigram.json"
    if target.is_file() or importlib.util.find_spec("sentencepiece") is None:
        return
    from sentencepiece import SentencePieceTrainer

    from enfold.tokenizers.formats.sentencepiece import generic_document, read_sentencepiece

    folder().mkdir(parents=True, exist_ok=True)
    sentences = [line for of in documents().values() for text in of[: len(of) // 3] for line in text.splitlines()]
    SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_prefix=str(target.with_suffix("")), vocab_size=SIZE,
        model_type="unigram", character_coverage=0.9995, num_threads=1, minloglevel=2,
    )  # fmt: skip
    model = read_sentencepiece(target.with_suffix(".model"))
    document = generic_document(model)
    # As T5 and XLM-R have it, which is what the library does with such a file.
    steps: list[dict[str, object]] = [{"type": "Strip", "strip_left": True, "strip_right": True}]
    steps.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    steps.insert(0, {"type": "Precompiled", "precompiled_charsmap": model.parts().charsmap})
    document.sections["normalizer"] = {"type": "Sequence", "normalizers": steps}
    codec = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    document.sections["pre_tokenizer"] = document.sections["decoder"] = codec
    target.write_text(document.build().to_str(), encoding="utf-8")

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

    from enfold.tokenizers.formats.sentencepiece import library_document, read_sentencepiece

    folder().mkdir(parents=True, exist_ok=True)
    sentences = [line for of in documents().values() for text in of[: len(of) // 3] for line in text.splitlines()]
    SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_prefix=str(target.with_suffix("")), vocab_size=SIZE,
        model_type="unigram", character_coverage=0.9995, num_threads=1, minloglevel=2,
    )  # fmt: skip
    document = library_document(read_sentencepiece(target.with_suffix(".model")))
    target.write_text(document.build().to_str(), encoding="utf-8")

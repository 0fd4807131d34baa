"""The tokenizer engine beside the `tokenizers` wheel: full encodings on one thread, on documents neither has seen.

Vocabularies are trained on the spot on the first half of each text (Python's documentation, Python's sources), so
that nothing has to be downloaded; further tokenizer.json files can be named in ENFOLD_BENCH_TOKENIZERS (a path list).
The ids, offsets and word ids of every document are verified before a figure counts.
"""

import glob
import os
import pydoc_data.topics
import statistics
import sysconfig
import time
from pathlib import Path

from benchmarks.measure import table

DOCUMENT = 2000  # characters


def texts() -> dict[str, list[str]]:
    prose = "\n".join(pydoc_data.topics.topics[key] for key in sorted(pydoc_data.topics.topics))
    sources = sorted(glob.glob(os.path.join(sysconfig.get_paths()["stdlib"], "*.py")))[:80]
    code = "".join(Path(path).read_text(errors="ignore") for path in sources)
    return {
        name: [text[i : i + DOCUMENT] for i in range(0, min(len(text), 1_200_000), DOCUMENT)]
        for name, text in (("English", prose), ("code", code))
    }


def trained(documents: list[str]) -> dict[str, str]:
    """tokenizer.json of a GPT-2-like and of a BERT-like tokenizer."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    gpt2 = Tokenizer(models.BPE())
    gpt2.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe = trainers.BpeTrainer(vocab_size=8000, initial_alphabet=alphabet, show_progress=False)
    gpt2.train_from_iterator(documents, bpe)
    bert = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    bert.normalizer = normalizers.BertNormalizer()
    bert.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    wordpiece = trainers.WordPieceTrainer(vocab_size=8000, special_tokens=["[UNK]"], show_progress=False)
    bert.train_from_iterator(documents, wordpiece)
    return {"byte-level BPE": gpt2.to_str(), "WordPiece": bert.to_str()}


def timed(call, argument) -> tuple[float, object]:
    start = time.process_time()
    result = call(argument)
    return time.process_time() - start, result


def main() -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # both libraries read it: one thread
    import tokenizers
    from enfold.tokenizers import Tokenizer

    corpus = texts()
    specs = trained([document for documents in corpus.values() for document in documents[: len(documents) // 2]])
    for path in filter(None, os.environ.get("ENFOLD_BENCH_TOKENIZERS", "").split(os.pathsep)):
        specs[Path(path).parent.name] = Path(path).read_text()
    rows: list[list[object]] = []
    for name, spec in specs.items():
        ours, theirs = Tokenizer.from_str(spec), tokenizers.Tokenizer.from_str(spec)
        for tokenizer in (ours, theirs):
            tokenizer.no_truncation()
            tokenizer.no_padding()
        for language, documents in corpus.items():
            unseen = documents[len(documents) // 2 :]
            size, seconds, ratios = 0, 0.0, []
            for start in range(0, len(unseen), 40):
                part = unseen[start : start + 40]
                fast, mine = timed(ours.encode_batch, part)
                slow, reference = timed(theirs.encode_batch, part)
                for x, y in zip(mine, reference, strict=True):
                    assert (x.ids, x.offsets, x.word_ids) == (y.ids, y.offsets, y.word_ids)
                size += sum(len(document.encode()) for document in part)
                seconds += fast
                ratios.append(slow / fast)
            rows.append([name, language, f"{size / seconds / 1e6:.0f} MB/s", f"{statistics.median(ratios):.1f} x"])
        sentence = "The quick brown fox jumps over the lazy dog and runs away!!!"
        mine, reference = ([timed(t.encode, sentence)[0] for _ in range(3000)] for t in (ours, theirs))
        rows.append(
            [name, "60 characters", f"{statistics.mean(mine) * 1e6:.1f} us", f"{sum(reference) / sum(mine):.1f} x"]
        )
        load, reload = timed(Tokenizer.from_str, spec)[0], timed(tokenizers.Tokenizer.from_str, spec)[0]
        rows.append([name, "load", f"{load * 1e3:.0f} ms", f"{reload / load:.1f} x"])
    table(["tokenizer", "text", "enfold", "against the wheel"], rows)


if __name__ == "__main__":
    main()

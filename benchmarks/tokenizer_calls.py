"""`tokenizer(texts, padding=True, return_tensors="pt")` and its kin beside transformers', in several shapes.

The texts are slices of Python's sources. They are the same in every repetition, so both sides' caches are warm; the
least of the alternating runs counts, in processor time.
"""

import gc
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tools.vocabularies import folder
from tools.vocabularies.__main__ import provide_all

from benchmarks.measure import table

MODELS = ("sentence-transformers/all-MiniLM-L6-v2", "HuggingFaceTB/SmolLM2-135M-Instruct")
FILES = {"Llama-3": "llama3.json", "Qwen3": "qwen3.json"}
SENTENCE = "The quick brown fox jumps over the lazy dog and runs away!!!"


def slices(count: int, size: int) -> list[str]:
    """Texts of `size` characters and up to half as many more, from all over Python's library."""
    files = sorted(Path(os.__file__).parent.glob("**/*.py"))
    found: list[str] = []
    while len(found) < count:
        for file in files:
            text = file.read_text(encoding="utf-8", errors="ignore")
            at = 300 + 977 * (len(found) // len(files))
            if len(text) > at + size:
                found.append(text[at : at + size + 97 * len(found) % (size // 2)])
            if len(found) == count:
                break
    return found


def shapes() -> Iterator[tuple[str, Callable[[Any], Any], int]]:
    """(name, the call, repetitions)."""
    few, some, many = slices(8, 60), slices(64, 2000), slices(1000, 60)
    padded = {"padding": True, "return_tensors": "pt"}
    yield "1 × 60 characters, lists", lambda t: t(SENTENCE), 400
    yield "1 × 60 characters, pt", lambda t: t(SENTENCE, return_tensors="pt"), 400
    yield "1 × 60 characters, encode", lambda t: t.encode(SENTENCE), 400
    yield "8 × 60, padded, pt", lambda t: t(few, **padded), 200
    yield "64 × 2 kB, padded, pt", lambda t: t(some, **padded), 8
    yield "64 × 2 kB, cut at 128, padded, pt", lambda t: t(some, truncation=True, max_length=128, **padded), 8
    yield "64 × 2 kB, padded, pt, offsets", lambda t: t(some, return_offsets_mapping=True, **padded), 5
    yield "64 × 2 kB, padded, np", lambda t: t(some, padding=True, return_tensors="np"), 8
    yield "64 × 2 kB, lists", lambda t: t(some), 8
    yield "64 × 2 kB, lists, offsets", lambda t: t(some, return_offsets_mapping=True), 5
    yield "1000 × 60, padded, pt", lambda t: t(many, **padded), 8
    yield "1000 × 60, pairs, padded, pt", lambda t: t(many, many, **padded), 5


def pairs() -> Iterator[tuple[str, Any, Any]]:
    """(name, ours, theirs), the same tokenizer in both libraries."""
    import transformers

    import enfold

    provide_all()
    for name in MODELS:
        ours = enfold.AutoTokenizer.from_pretrained(name)
        settings = {"tokenizer_object": _wheel(ours), **ours.special_tokens_map}
        theirs = transformers.PreTrainedTokenizerFast(**settings, model_input_names=list(ours.model_input_names))
        yield name.rpartition("/")[2], ours, theirs
    for name, file in FILES.items():
        path = folder() / file
        if not path.is_file():
            print(f"The vocabulary of {name} could not be had and is left out.")
            continue
        yield (
            name,
            enfold.PreTrainedTokenizerFast(tokenizer_file=path),
            transformers.PreTrainedTokenizerFast(tokenizer_file=str(path)),
        )


def _wheel(ours: Any) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(ours.backend_tokenizer.to_str())


def least(calls: list[Callable[[], Any]], repeats: int) -> list[float]:
    """The least processor seconds of each call, taking turns."""
    times = [float("inf")] * len(calls)
    gc.collect()
    for _ in range(repeats + 1):
        for i, call in enumerate(calls):
            started = time.process_time()
            call()
            times[i] = min(times[i], time.process_time() - started)
    return times


def same(a: Any, b: Any) -> bool:
    if isinstance(a, list):
        return a == b
    return all((x == y) if isinstance(x, list) else (x == y).all() for x, y in ((a[key], b[key]) for key in b))


def main() -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    rows: dict[str, list[object]] = {name: [name] for name, _, _ in shapes()}
    names = []
    for name, ours, theirs in pairs():
        names.append(name)
        for tokenizer in (ours, theirs):
            tokenizer.model_max_length = 10**30
            tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
        for shape, call, repeats in shapes():
            assert same(call(ours), call(theirs)), (name, shape)
            mine, peer = least([lambda c=call, t=t: c(t) for t in (ours, theirs)], repeats)
            rows[shape].append(f"{mine * 1e6:.4g} µs, {peer / mine:.1f} ×")
    table(["call", *names], list(rows.values()))


if __name__ == "__main__":
    main()

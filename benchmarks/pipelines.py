"""feature-extraction over 256 texts of mixed length on MiniLM, beside transformers' pipeline on the same files.

Two mixes of 5 to 300 tokens: `even`, where every length is as likely as any other (half of all tokens lie in texts of
over 210), and `prose`, where every doubling of the length is (as in sentences, queries and paragraphs).

The peer runs twice: with its defaults (one text at a time), and over the texts sorted by length with the batch size
that serves it best. Both give nested lists. `python -m benchmarks.pipelines --help` for other sizes.

`--tasks all` (or some names) measures every text pipeline over 512 such inputs, on random models of base size (see
`tasks.py`); `--quick` takes 48 inputs and two layers.
"""

import argparse
import math
import random
import sys
import time
from collections.abc import Sequence
from functools import partial
from itertools import product

import torch

from benchmarks.measure import alternate, table

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
# Each is one token.
WORDS = (
    "the of and a to in is was that it for on with as his he be at by not this had are but from or have an they which "
    "one were all we when there can more if no out so said what up its about into than them only other new some could "
    "time these two may then do first any my now such like our over man me even most made after also did many before "
    "capital language model river mountain history science question answer government animal winter music engine paper"
)


def mixed_texts(count: int, mix: str) -> list[str]:
    """Texts of 5 to 300 tokens, [CLS] and [SEP] included; mix: "even" or "prose"."""
    draw, words = random.Random(0), WORDS.split()
    lengths = {
        "even": lambda: draw.randint(5, 300),
        "prose": lambda: round(math.exp(draw.uniform(*map(math.log, (5, 300))))),
    }
    return [" ".join(draw.choices(words, k=lengths[mix]() - 2)) for _ in range(count)]


def minilm_folder() -> str:
    """Where the cache has MiniLM."""
    from enfold.hub.files import resolve_file

    config = resolve_file(MINILM, "config.json")
    assert config is not None
    return str(config.parent)


def measure(
    texts: int | None = None,
    repeats: int = 3,
    dtypes: tuple[str, ...] = ("float32", "bfloat16"),
    threads: int | None = None,
    tasks: tuple[str, ...] = (),
    quick: bool = False,
    layers: int | None = None,
    width: int = 768,
    processor: bool = False,
) -> None:
    import transformers

    import enfold

    transformers.logging.set_verbosity_error()
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    if tasks:
        from benchmarks.tasks import CASES, measure_tasks

        chosen = list(CASES) if "all" in tasks else tasks
        given = mixed_texts(texts or (48 if quick else 512), "prose")
        layers = layers or (2 if quick else 12)
        measure_tasks(chosen, given, layers=layers, width=width, repeats=repeats, processor=processor)
        torch.set_num_threads(before)
        return
    texts = texts or (48 if quick else 256)
    folder = minilm_folder()
    rows: list[list[object]] = []
    for mix, dtype in product(("even", "prose"), dtypes):
        given = mixed_texts(texts, mix)
        ours = enfold.pipeline("feature-extraction", folder, dtype=dtype, device="cpu", pooling="none")
        theirs = transformers.pipeline("feature-extraction", model=folder, dtype=dtype, device="cpu")
        ordered = sorted(given, key=lambda text: len(theirs.tokenizer(text)["input_ids"]))
        best = _best_batch_size(theirs, ordered[:: max(1, texts // 64)])
        runs = partial(ours, given), partial(theirs, given), partial(theirs, ordered, batch_size=best)
        mine, default, batched = alternate(*runs, repeats=repeats)
        tokens = sum(len(text.split()) + 2 for text in given)
        rows.append([mix, tokens, dtype, mine, default, default / mine, f"{batched:.3g} ({best})", batched / mine])
    torch.set_num_threads(before)
    print(f"{texts} texts, {threads or before} threads\n")
    peer = "transformers"
    table(
        [
            "mix",
            "tokens",
            "dtype",
            "enfold s",
            f"{peer} s",
            "times as fast",
            f"{peer} sorted s (batch size)",
            "times as fast",
        ],
        rows,
    )


def _best_batch_size(pipe, texts: list[str]) -> int:
    """The batch size with which the peer is fastest over a sample of the sorted texts."""
    seconds = {}
    for size in (4, 8, 16, 32):
        started = time.perf_counter()
        pipe(texts, batch_size=size)
        seconds[size] = time.perf_counter() - started
    return min(seconds, key=lambda size: seconds[size])


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, help="how many (256; 512 with --tasks)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtypes", nargs="+", default=("float32", "bfloat16"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--tasks", nargs="+", default=(), metavar="TASK", help="pipelines to measure, or 'all'")
    parser.add_argument("--layers", type=int, help="with --tasks (12)")
    parser.add_argument("--width", type=int, default=768, help="with --tasks, a multiple of 64")
    parser.add_argument("--processor", action="store_true", help="with --tasks, count processor seconds")
    parser.add_argument("--quick", action="store_true", help="48 inputs; with --tasks, models of two layers")
    measure(**vars(parser.parse_args(list(arguments))))


if __name__ == "__main__":
    main(sys.argv[1:])

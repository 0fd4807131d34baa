"""Holds the tokenizer engine against the reference library on random texts, and its fast plans against its own literal
path; stops at the first difference and prints how to reproduce it.

    python -m tools.fuzz_tokenizers --strings 5000000 --seed 1

Rounds alternate between whole tokenizers (single texts, pairs, words, truncation, padding, decoding), random pipelines
of components, and random regular expressions.
"""

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.tokenizers.engine.builders import BUILDERS, build
from tests.tokenizers.engine.compare import FIELDS, unless_panicking
from tests.tokenizers.engine.components import random_decoder, random_normalizer, random_pre_tokenizer
from tests.tokenizers.engine.corpus import BLOCKS, NASTY, PROSE, random_text
from tests.tokenizers.engine.patterns import random_pattern, random_subject

import tokenizers
from enfold.tokenizers import Tokenizer
from tokenizers import Regex, models, pre_tokenizers

BATCH = 1000
os.environ.setdefault("RUST_BACKTRACE", "0")  # a panic of the reference is survived, its trace not wanted


class DifferenceError(Exception):
    """Where two tokenizers disagree: the specification, the input and what was compared."""


def first_difference(ours: Any, theirs: Any) -> str | None:
    """The field in which two encodings differ, overflow included; None for none."""
    for field in FIELDS:
        x, y = getattr(ours, field), getattr(theirs, field)
        if x != y:
            return f"{field}: {x} instead of {y}"
    if len(ours.overflowing) != len(theirs.overflowing):
        return f"{len(ours.overflowing)} overflowing rows instead of {len(theirs.overflowing)}"
    for x, y in zip(ours.overflowing, theirs.overflowing, strict=True):
        found = first_difference(x, y)
        if found:
            return f"overflowing {found}"
    return None


def shrunk(text: str, differs: Callable[[str], bool]) -> str:
    """A shorter text that still differs: pieces are left out as long as any can be."""
    size = max(len(text) // 2, 1)
    while size:
        at = 0
        while at < len(text):
            shorter = text[:at] + text[at + size :]
            if differs(shorter):
                text = shorter
            else:
                at += size
        size //= 2
    return text


def compare(spec: str, ours: Tokenizer, theirs: Any, inputs: list, **options: Any) -> None:
    """Encodes the inputs with both. Inputs on which the reference panics only have to be survived."""
    expected = unless_panicking(lambda: theirs.encode_batch(inputs, **options))
    made = ours.encode_batch(inputs, **options)
    if expected is None:
        return
    for given, x, y in zip(inputs, made, expected, strict=True):
        found = first_difference(x, y)
        if not found:
            continue
        if isinstance(given, str):

            def differs(text: str) -> bool:
                reference = unless_panicking(lambda: theirs.encode(text))
                return reference is not None and first_difference(ours.encode(text), reference) is not None

            given = shrunk(given, differs) if differs(given) else given
        raise DifferenceError(f"tokenizer: {spec}\noptions: {options}\ninput: {given!r}\n{found}")


def random_texts(rng: random.Random, count: int) -> list[str]:
    """Texts of every mood, some of them long."""
    texts = [random_text(rng) for _ in range(count - 2)]
    low, high, _ = rng.choice(BLOCKS)
    script = [chr(c) for c in range(low, min(high, low + 5000)) if not 0xD800 <= c < 0xE000] or ["a"]
    texts.append("".join(rng.choices(script, k=rng.randrange(400))))
    texts.append("".join(rng.choices([*NASTY, *PROSE], k=8)))
    return texts


def fuzz_whole(rng: random.Random, count: int) -> None:
    name = rng.choice(sorted(BUILDERS))
    spec = build(name)
    ours, theirs = Tokenizer.from_str(spec), tokenizers.Tokenizer.from_str(spec)
    texts = random_texts(rng, count)
    kind = rng.random()
    if kind < 0.2:
        options = {
            "max_length": rng.randrange(6, 20),
            "stride": rng.randrange(2),
            "strategy": rng.choice(["longest_first", "only_first"]),
            "direction": rng.choice(["left", "right"]),
        }
        for tokenizer in (ours, theirs):
            tokenizer.enable_truncation(**options)
        name += f" with truncation {options}"
    elif kind < 0.3:
        padding = {"direction": rng.choice(["left", "right"]), "length": rng.choice([None, 16])}
        for tokenizer in (ours, theirs):
            tokenizer.enable_padding(**padding)
        name += f" with padding {padding}"
    compare(name, ours, theirs, texts, add_special_tokens=rng.random() < 0.7)
    if kind > 0.5:
        compare(name, ours, theirs, [text.split(" ") for text in texts[: count // 2]], is_pretokenized=True)
    if kind > 0.8:
        compare(name, ours, theirs, list(zip(texts[::2], texts[1::2], strict=False)))
    if ours._has_plan:
        compare(f"{name}, its plan beside the literal path", ours, ours._without_plan(), texts)
    ids = [encoding.ids for encoding in theirs.encode_batch(texts)]
    for skip in (True, False):
        x, y = (t.decode_batch(ids, skip_special_tokens=skip) for t in (ours, theirs))
        if x != y:
            at = next(i for i in range(len(ids)) if x[i] != y[i])
            raise DifferenceError(f"tokenizer: {name}\nids: {ids[at]}\ndecoded: {x[at]!r} instead of {y[at]!r}")


def fuzz_pipeline(rng: random.Random, count: int) -> None:
    texts = random_texts(rng, count)
    alphabet = sorted({c for text in texts[: count // 3] for c in text})
    theirs = tokenizers.Tokenizer(models.BPE({c: i for i, c in enumerate([*alphabet, "<unk>"])}, [], unk_token="<unk>"))
    theirs.normalizer, theirs.pre_tokenizer = random_normalizer(rng), random_pre_tokenizer(rng)
    theirs.decoder = random_decoder(rng)
    if rng.random() < 0.5:
        flags = {flag: rng.random() < 0.3 for flag in ("single_word", "lstrip", "rstrip", "normalized")}
        added = [tokenizers.AddedToken(rng.choice(texts)[:4] or "x", **flags) for _ in range(3)]
        # Of tokens that become one when they are normalised, the reference finds now the one and now the other.
        normalize = theirs.normalizer.normalize_str if theirs.normalizer else str
        forms = [unless_panicking(normalize, token.content) if token.normalized else token.content for token in added]
        if len(set(forms)) < len(added) or unless_panicking(theirs.add_tokens, added) is None:
            return
    spec = theirs.to_str()
    ours = Tokenizer.from_str(spec)
    tree = json.loads(spec)
    short = {key: tree[key] for key in ("normalizer", "pre_tokenizer", "decoder", "added_tokens")}
    compare(f"single characters under {json.dumps(short, ensure_ascii=False)}", ours, theirs, texts)


def fuzz_patterns(rng: random.Random, count: int) -> None:
    empty = json.loads(tokenizers.Tokenizer(models.BPE({"<unk>": 0}, [], unk_token="<unk>", fuse_unk=True)).to_str())
    for _ in range(max(count // 20, 1)):
        pattern = random_pattern(rng)
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": True}
        try:
            theirs = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
            ours = Tokenizer.from_str(json.dumps(empty | {"pre_tokenizer": split}))
        except Exception:
            continue  # one of the two refuses it
        for _ in range(20):
            text = random_subject(rng)
            spans = [span for _, span in theirs.pre_tokenize_str(text)]
            made = ours.encode(text).offsets
            if made != spans:
                raise DifferenceError(f"pattern: {pattern!r}\ninput: {text!r}\nmatches: {made} instead of {spans}")


def fuzz(strings: int, seed: int | str, report: Callable[[int], None] = lambda done: None) -> int:
    """Runs rounds until so many strings are compared; returns their number. Raises DifferenceError."""
    done = 0
    for round_ in range(10**9):
        if done >= strings:
            return done
        rng = random.Random(f"{seed}/{round_}")
        kind = rng.random()
        run, count = (fuzz_whole, BATCH) if kind < 0.6 else (fuzz_pipeline, 400)
        if kind > 0.98:
            run, count = fuzz_patterns, 400
        try:
            run(rng, count)
        except DifferenceError as difference:
            raise DifferenceError(f"round {round_} of seed {seed}\n{difference}") from None
        done += count
        report(done)
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--strings", type=int, default=1_000_000, help="how many strings to compare")
    parser.add_argument("--seed", type=int, default=0, help="the same seed runs the same rounds")
    args = parser.parse_args()
    begun = last = time.monotonic()

    def report(done: int) -> None:
        nonlocal last
        if time.monotonic() - last > 30:
            last = time.monotonic()
            print(f"{done:,} strings, {done / (last - begun):,.0f} a second", flush=True)

    try:
        done = fuzz(args.strings, args.seed, report)
    except DifferenceError as difference:
        print(f"a difference in {difference}", file=sys.stderr)
        return 1
    print(f"{done:,} strings without a difference in {time.monotonic() - begun:,.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

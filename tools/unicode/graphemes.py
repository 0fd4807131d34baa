"""Probes where the reference tokenizer library ends a grapheme and prints the engine's table.

    python -m tools.unicode.graphemes > native/tokenizers/grapheme_tables.inc

Only its `Precompiled` normalizer cuts graphemes, and it shows them in one way only: a grapheme of up to five bytes is
replaced whole by what stands for its shortest prefix. So each class of characters is told by a text in which such a
grapheme comes to be or not. Pairs of regional indicators are never that short, so they have no class.
"""

import itertools
import json
from collections.abc import Callable

from tools.unicode.charsmap import charsmap

import tokenizers
from tokenizers import normalizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CLASSES = [
    "other",
    "cr",
    "lf",
    "control",
    "extend",
    "zwj",
    "spacing",
    "prepend",
    "pictographic",
    "l",
    "v",
    "t",
    "lv",
    "lvt",
]
SYLLABLES = range(0xAC00, 0xD7A4)  # every 28th is an LV, the others are LVT
CONJUNCT = ["none", "consonant", "linker", "extend"]
ACUTE, ZWJ, COPYRIGHT, V, T = "\u0301", "\u200d", "\u00a9", "\u1160", "\u11a8"
KA, VIRAMA = "\u0915", "\u094d"


def replaces(key: str) -> Callable[[str], str]:
    """A normalizer that knows one character only, and replaces it by a mark."""
    spec = json.dumps({"type": "Precompiled", "precompiled_charsmap": charsmap({key: "Z"})})
    whole = {"version": "1.0", "normalizer": json.loads(spec), "model": {"type": "Unigram", "vocab": []}}
    normalizer = tokenizers.Tokenizer.from_str(json.dumps(whole)).normalizer
    assert isinstance(normalizer, normalizers.Precompiled)
    return normalizer.normalize_str


def joins(before: str, last: str) -> Callable[[str], bool]:
    """Whether nothing cuts between `before` (with the character in it) and `last`: an accent then is not swallowed."""
    normalize = replaces(last)
    return lambda c: normalize(before.replace("?", c) + last + ACUTE).endswith(ACUTE)


def classes() -> tuple[list[str], list[str]]:
    with_a, with_acute = replaces("a"), replaces(ACUTE)
    takes_v, takes_t, takes_a = joins("?", V), joins("?", T), joins("?", "a")
    after_zwj, over_mark = joins("?" + ZWJ, COPYRIGHT), joins(COPYRIGHT + "?" + ZWJ, COPYRIGHT)
    zwj_like = joins(COPYRIGHT + "?", COPYRIGHT)
    consonant, linker, conjunct = joins("?" + VIRAMA, KA), joins(KA + "?", KA), joins(KA + "?" + VIRAMA, KA)

    def of(c: str) -> str:
        if c in "\r\n":
            return "cr" if c == "\r" else "lf"
        if c == "a":
            return "other"
        if with_a("a" + c) == "Z":
            return "zwj" if zwj_like(c) else "extend" if over_mark(c) else "spacing"
        if with_acute(c + ACUTE + ACUTE) == c + "Z":
            return "control"
        if takes_a(c):
            return "prepend"
        v, t = takes_v(c), takes_t(c)
        if v and t:
            return "lv" if ord(c) in SYLLABLES else "v"
        if v or t:
            return "l" if v else "lvt" if ord(c) in SYLLABLES else "t"
        return "pictographic" if after_zwj(c) else "other"

    def indic(c: str, kind: str) -> str:
        if consonant(c) and kind != "prepend":
            return "consonant"
        if kind in ("extend", "zwj", "spacing"):
            return "linker" if linker(c) else "extend" if conjunct(c) else "none"
        return "none"

    kinds = [of(chr(c)) for c in CODE_POINTS]
    return kinds, [indic(chr(c), kind) for c, kind in zip(CODE_POINTS, kinds, strict=True)]


def main() -> None:
    kinds, conjuncts = classes()
    for c, kind in zip(CODE_POINTS, kinds, strict=True):
        assert c not in SYLLABLES or kind == ("lvt" if (c - SYLLABLES.start) % 28 else "lv"), hex(c)
    print(f"// Printed by tools/unicode/graphemes.py from tokenizers {tokenizers.__version__}; don't edit.")
    print("// First and last code point, class, part in an Indic conjunct; without the Hangul syllables.")
    print("constexpr GraphemeRange kGraphemeRanges[] = {")
    lines = []
    for value, group in itertools.groupby(zip(CODE_POINTS, kinds, conjuncts, strict=True), lambda row: row[1:]):
        first, *rest = (row[0] for row in group)
        last = rest[-1] if rest else first
        if value == ("other", "none") or first in SYLLABLES:
            continue
        lines.append(f"{{0x{first:X},0x{last:X},{CLASSES.index(value[0])},{CONJUNCT.index(value[1])}}},")
    for i in range(0, len(lines), 4):
        print("".join(lines[i : i + 4]))
    print("};")


if __name__ == "__main__":
    main()

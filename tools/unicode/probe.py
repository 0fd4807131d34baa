"""Probes the reference tokenizer library for its Unicode behaviour and prints the engine's tables.

    python tools/unicode/probe.py > native/tokenizers/unicode_tables.inc

The reference mixes several versions of Unicode (regular expressions, normal forms, BERT's categories), so no Unicode
library reproduces it; its behaviour on every code point is measured and committed instead. Takes about a minute.
"""

import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
# In the order of unicode::Category.
CATEGORIES = [
    "Cn",
    "Lu",
    "Ll",
    "Lt",
    "Lm",
    "Lo",
    "Mn",
    "Mc",
    "Me",
    "Nd",
    "Nl",
    "No",
    "Pc",
    "Pd",
    "Ps",
    "Pe",
    "Pi",
    "Pf",
    "Po",
    "Sm",
    "Sc",
    "Sk",
    "So",
    "Zs",
    "Zl",
    "Zp",
    "Cc",
    "Cf",
    "Co",
]
# Bit names are shared with unicode.hpp.
FLAGS = [
    "space",
    "word",
    "digit",
    "punctuation",
    "control",
    "accent",
    "mark",
    "cjk",
    "lower",
    "nfd",
    "nfkd",
    "nfc_unsafe",
    "nfkc_unsafe",
    "regex_word",
    "regex_space",
    "to_space",
]


def chunks(size: int = 4096) -> Iterator[list[int]]:
    for i in range(0, len(CODE_POINTS), size):
        yield CODE_POINTS[i : i + size]


def removed_by(pattern: str) -> set[int]:
    """Code points that the regular-expression class matches."""
    strip = normalizers.Replace(Regex(pattern), "")
    found: set[int] = set()
    for chunk in chunks():
        left = {ord(c) for c in strip.normalize_str("".join(map(chr, chunk)))}
        found.update(c for c in chunk if c not in left)
    return found


def mapped_by(normalize: Callable[[str], str]) -> dict[int, str]:
    """Code point → its image, for those that change."""
    changed: dict[int, str] = {}
    for chunk in chunks():
        for c in chunk:
            image = normalize("|" + chr(c) + "|")[1:-1]
            if image != chr(c):
                changed[c] = image
    return changed


def pieces_of(pre_tokenizer) -> dict[int, tuple[tuple[int, int], ...]]:
    """Code point → spans of the pieces that `a?a` is cut into."""
    spans = {}
    for c in CODE_POINTS:
        spans[c] = tuple(span for _, span in pre_tokenizer.pre_tokenize_str("a" + chr(c) + "a"))
    return spans


def canonical_class(nfd: Callable[[str], str]) -> dict[int, int]:
    """Combining classes: Python's as the candidate, kept where the reference reorders as that class demands."""
    marks = [c for c in CODE_POINTS if unicodedata.combining(chr(c))]
    low, high = "\u0334", "\u0345"  # classes 1 and 240

    def moves_among_marks(c: int) -> bool:
        # A starter is never reordered; class 1 can't move before itself, class 240 not behind itself.
        return nfd("a" + chr(c) + low) == "a" + low + chr(c) != "a" + chr(c) + low or (
            nfd("a" + high + chr(c)) == "a" + chr(c) + high != "a" + high + chr(c)
        )

    by_class: dict[int, int] = {}
    for c in marks:
        if nfd(chr(c)) == chr(c) and moves_among_marks(c):
            by_class.setdefault(unicodedata.combining(chr(c)), c)
    ordered = sorted(by_class)
    classes: dict[int, int] = {}
    for c in marks:
        k = unicodedata.combining(chr(c))
        text = chr(c)
        moves = nfd(text) == text and moves_among_marks(c)
        if nfd(text) != text or moves:
            classes[c] = k
            at = ordered.index(k)
            if moves and at + 1 < len(ordered):
                above = chr(by_class[ordered[at + 1]])
                assert nfd("a" + above + text) == "a" + text + above, (hex(c), k)
            if moves and at > 0:
                below = chr(by_class[ordered[at - 1]])
                assert nfd("a" + text + below) == "a" + below + text, (hex(c), k)
    return classes


def compositions(nfc: Callable[[str], str], nfd: dict[int, str]) -> dict[tuple[int, int], int]:
    pairs = {}
    for c, image in nfd.items():
        if 0xAC00 <= c < 0xD7A4 or len(image) < 2:
            continue
        first, second = nfc(image[:-1]), image[-1]
        if len(first) == 1 and nfc(first + second) == chr(c):
            pairs[ord(first), ord(second)] = c
    return pairs


def rows(values: Iterable[object], per_line: int = 24) -> str:
    items = [str(v) for v in values]
    return ",\n".join(",".join(items[i : i + per_line]) for i in range(0, len(items), per_line))


def two_stage(values: list[int], block: int = 128) -> tuple[list[int], list[int]]:
    seen: dict[tuple[int, ...], int] = {}
    first = []
    for i in range(0, len(values), block):
        key = tuple(values[i : i + block])
        first.append(seen.setdefault(key, len(seen)))
    return first, [v for key in seen for v in key]


def main() -> None:
    nfd, nfkd = normalizers.NFD().normalize_str, normalizers.NFKD().normalize_str
    nfc, nfkc = normalizers.NFC().normalize_str, normalizers.NFKC().normalize_str
    category = dict.fromkeys(CODE_POINTS, 0)
    for index, name in enumerate(CATEGORIES):
        if index:
            for c in removed_by(rf"\p{{{name}}}"):
                category[c] = index
    flag: dict[str, set[int]] = {name: set() for name in FLAGS}
    flag["regex_word"] = removed_by(r"\w")
    flag["regex_space"] = removed_by(r"\s")
    cuts = pieces_of(pre_tokenizers.Whitespace())
    flag["word"] = {c for c, spans in cuts.items() if spans == ((0, 3),)}
    flag["space"] = {c for c, spans in pieces_of(pre_tokenizers.WhitespaceSplit()).items() if len(spans) == 2}
    flag["digit"] = {c for c, spans in pieces_of(pre_tokenizers.Digits()).items() if len(spans) == 3}
    flag["punctuation"] = {c for c, spans in pieces_of(pre_tokenizers.Punctuation()).items() if len(spans) == 3}
    bert = {c for c, spans in pieces_of(pre_tokenizers.BertPreTokenizer()).items() if len(spans) == 3}
    assert bert == flag["punctuation"]

    def bert_normalizer(**options: bool) -> Callable[[str], str]:
        off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
        return normalizers.BertNormalizer(**(off | options)).normalize_str

    for c, image in mapped_by(bert_normalizer(clean_text=True)).items():
        assert image in ("", " "), hex(c)
        flag["to_space" if image else "control"].add(c)
    flag["cjk"] = set(mapped_by(bert_normalizer(handle_chinese_chars=True)))
    canonical, compatible = mapped_by(nfd), mapped_by(nfkd)
    stripped = mapped_by(bert_normalizer(strip_accents=True))
    flag["accent"] = {c for c in stripped if stripped[c] == "" and c not in canonical}
    flag["mark"] = {c for c, image in mapped_by(normalizers.StripAccents().normalize_str).items() if image == ""}
    lower = mapped_by(normalizers.Lowercase().normalize_str)
    assert lower == mapped_by(bert_normalizer(lowercase=True))
    flag["lower"] = set(lower)
    flag["nfd"], flag["nfkd"] = set(canonical), set(compatible)
    classes = canonical_class(nfd)
    pairs = compositions(nfc, canonical)
    seconds = {b for _, b in pairs} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
    moving = set(classes) | seconds
    flag["nfc_unsafe"] = moving | set(mapped_by(nfc))
    flag["nfkc_unsafe"] = moving | set(mapped_by(nfkc))

    records: dict[tuple[int, int, int], int] = {}
    values = []
    for c in range(0x110000):
        bits = sum(1 << i for i, name in enumerate(FLAGS) if c in flag[name])
        values.append(records.setdefault((bits, category.get(c, 0), classes.get(c, 0)), len(records)))
    first, second = two_stage(values)
    assert len(records) < 65536
    out = sys.stdout
    out.write(f"// Printed by tools/unicode/probe.py from tokenizers {tokenizers.__version__}; don't edit.\n")
    out.write(f"const Properties kProperties[{len(records)}] = {{\n")
    out.write(rows((f"{{{b},{g},{k}}}" for b, g, k in records), 8) + "};\n")
    out.write(f"const std::uint16_t kStage1[{len(first)}] = {{\n{rows(first)}}};\n")
    out.write(f"const std::uint16_t kStage2[{len(second)}] = {{\n{rows(second)}}};\n")
    singles = {c: ord(image) for c, image in lower.items() if len(image) == 1}
    assert {c: image for c, image in lower.items() if len(image) != 1} == {0x130: "i\u0307"}
    out.write(f"static const Pair kLowerPairs[{len(singles)}] = {{\n")
    out.write(rows((f"{{{c},{m}}}" for c, m in sorted(singles.items())), 8) + "};\n")
    pool: list[int] = []
    for name, table in (("kCanonical", canonical), ("kCompatible", compatible)):
        lines = []
        for c, image in sorted(table.items()):
            if 0xAC00 <= c < 0xD7A4:
                continue
            if name == "kCompatible" and canonical.get(c) == image:
                continue
            lines.append(f"{{{c},{len(pool)},{len(image)}}}")
            pool.extend(map(ord, image))
        out.write(f"static const Decomposition {name}[{len(lines)}] = {{\n{rows(lines, 8)}}};\n")
    out.write(f"static const char32_t kPool[{len(pool)}] = {{\n{rows(pool)}}};\n")
    out.write(f"static const Composition kCompositions[{len(pairs)}] = {{\n")
    out.write(rows((f"{{{a},{b},{c}}}" for (a, b), c in sorted(pairs.items())), 6) + "};\n")


if __name__ == "__main__":
    main()

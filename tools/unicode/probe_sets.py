"""Probes the reference tokenizer library for its sets of characters and prints the engine's tables of them.

    python tools/unicode/probe_sets.py > native/tokenizers/unicode_sets.inc

Which characters the properties, scripts, blocks and POSIX brackets of regular expressions hold, what a pattern that
ignores case takes for the same, and what the UnicodeScripts pre-tokenizer takes for one script. Takes some minutes.
"""

import sys
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import tokenizers
from tokenizers import Regex, pre_tokenizers

LAST = 0x10FFFF
BRACKETS = ("alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper")
BRACKETS += ("word", "xdigit")
# What patterns may ask for beside general categories, as Oniguruma's documents list it.
PROPERTIES = Path(__file__).with_name("set_names.txt").read_text().split()


def probed() -> Iterator[int]:
    """Every code point up to plane 3's last and plane 14's tags; of the others the edges."""
    for c in range(LAST + 1):
        plane, low = c >> 16, c & 0xFFFF
        surrogate = 0xD800 <= c < 0xE000
        if not surrogate and (c < 0x32400 or (plane == 14 and low < 0x200) or low in (0, 1, 0xFFFD, 0xFFFE, 0xFFFF)):
            yield c


POINTS = list(probed())
TEXT = "".join(map(chr, POINTS))
Ranges = list[tuple[int, int]]


def matched(pattern: str) -> Ranges:
    """Ranges of code points that the one-character pattern matches; between two probed ones, all or none."""
    cut = pre_tokenizers.Split(Regex(f"(?:{pattern})+"), "removed", invert=True)
    ranges: Ranges = []
    for _, (begin, end) in cut.pre_tokenize_str(TEXT):
        first, last = POINTS[begin], POINTS[end - 1]
        if ranges and (ranges[-1][1] + 1 == first or (begin > 0 and POINTS[begin - 1] == ranges[-1][1])):
            ranges[-1] = (ranges[-1][0], last)
        else:
            ranges.append((first, last))
    return ranges


def folds() -> tuple[dict[int, int], dict[int, tuple[int, ...]]]:
    """Under (?i): character → the smallest one that it equals; character → the several that it equals."""
    candidates = set()
    for c in POINTS:
        images = {chr(c).lower(), chr(c).upper(), chr(c).title(), chr(c).casefold()}
        if images != {chr(c)}:
            candidates.add(c)
            candidates.update(ord(x) for image in images for x in image)
    ordered = sorted(candidates)
    text = "|".join(map(chr, ordered))
    single: dict[int, int] = {}
    for c in ordered:
        if c in single:
            continue
        cut = pre_tokenizers.Split(Regex(f"(?i)\\x{{{c:x}}}"), "removed", invert=True)
        same = [ordered[begin // 2] for _, (begin, _) in cut.pre_tokenize_str(text)]
        for other in same:
            if min(same) != other:
                single[other] = min(same)
    several: dict[int, tuple[int, ...]] = {}
    for c in ordered:
        image = chr(c).casefold()
        if len(image) > 1:
            for form in (image, unicodedata.normalize("NFC", image)):
                cut = pre_tokenizers.Split(Regex(f"(?i)\\A\\x{{{c:x}}}\\z"), "removed", invert=True)
                if len(form) > 1 and cut.pre_tokenize_str(form):
                    several[c] = tuple(single.get(ord(x), ord(x)) for x in image)
    return single, several


def scripts() -> list[tuple[int, int, int]]:
    """(first, last, script) as UnicodeScripts sees it; 0 for characters that go with any script."""
    cutter = pre_tokenizers.UnicodeScripts()

    def parts(text: str) -> set[int]:
        return {begin for _, (begin, _) in cutter.pre_tokenize_str(text)}

    # Each character behind a Latin letter and behind a Han one: one that never starts a piece goes with any script.
    starts: dict[int, bool] = {}
    for i in range(0, len(POINTS), 20_000):
        chunk = POINTS[i : i + 20_000]
        begins = parts("".join(f"a{chr(c)}中{chr(c)}" for c in chunk))
        for k, c in enumerate(chunk):
            starts[c] = 4 * k + 1 in begins or 4 * k + 3 in begins
    own = [c for c in POINTS if starts[c]]
    examples: list[int] = []
    found: dict[int, int] = {}
    begins = parts("".join(map(chr, own)))
    current = 0
    for k, c in enumerate(own):
        if k == 0 or k in begins:
            known = [i for i, e in enumerate(examples) if not parts(chr(e) + chr(c)) - {0}]
            assert len(known) < 2, hex(c)
            current = known[0] if known else len(examples)
            if not known:
                examples.append(c)
        found[c] = current + 1
    runs: list[tuple[int, int, int]] = []
    for c in POINTS:
        script = found.get(c, 0)
        if runs and runs[-1][2] == script:
            runs[-1] = (runs[-1][0], c, script)
        else:
            runs.append((c, c, script))
    return runs


def rows(items: Sequence[str], per_line: int) -> str:
    return ",\n".join(",".join(items[i : i + per_line]) for i in range(0, len(items), per_line))


def packed(ranges: Ranges) -> list[int]:
    """Gap and length of each range, in steps of 16 bits: a gap of 65535 and no length stands for a part of a gap."""
    out: list[int] = []
    at = 0
    for first, last in ranges:
        gap, length = first - at, last + 1 - first
        while gap >= 0xFFFF:
            out += [0xFFFF, 0]
            gap -= 0xFFFF
        while length > 0xFFFF:
            out += [gap, 0xFFFF]
            gap, length = 0, length - 0xFFFF
        out += [gap, length]
        at = last + 1
    return out


def main() -> None:
    pool: list[int] = []
    seen: dict[tuple[int, ...], int] = {}
    named: list[tuple[str, int, int]] = []

    def put(name: str, ranges: Ranges) -> None:
        units = tuple(packed(ranges))
        at = seen.setdefault(units, len(pool))
        if at == len(pool):
            pool.extend(units)
        named.append((name, at, len(units)))

    for name in PROPERTIES:
        key = name.replace("_", "").lower()
        try:
            put(key, matched(rf"\p{{{name}}}"))
        except Exception as error:
            print(name, error, file=sys.stderr)
    for name in BRACKETS:
        put(f"[:{name}:]", matched(f"[[:{name}:]]"))
    for name, pattern in (("\\w", r"\w"), ("[\\w]", r"[\w]"), ("\\s", r"\s"), ("\\d", r"\d")):
        put(name, matched(pattern))
    single, several = folds()
    out = sys.stdout
    out.write(f"// Printed by tools/unicode/probe_sets.py from tokenizers {tokenizers.__version__}; don't edit.\n")
    out.write(f"static const std::uint16_t kSetPool[{len(pool)}] = {{\n{rows([str(u) for u in pool], 30)}}};\n")
    out.write(f"static const NamedSet kNamedSets[{len(named)}] = {{\n")
    escaped = [(name.replace("\\", "\\\\"), at, size) for name, at, size in sorted(named)]
    out.write(rows([f'{{"{name}",{at},{size}}}' for name, at, size in escaped], 5) + "};\n")
    out.write(f"static const Fold kFolds[{len(single)}] = {{\n")
    out.write(rows([f"{{{c},{d}}}" for c, d in sorted(single.items())], 12) + "};\n")
    out.write(f"static const LongFold kLongFolds[{len(several)}] = {{\n")
    padded = [(c, *image, *[0] * (3 - len(image))) for c, image in sorted(several.items())]
    out.write(rows([f"{{{row[0]},{{{row[1]},{row[2]},{row[3]}}}}}" for row in padded], 8) + "};\n")
    runs = scripts()
    out.write(f"static const Script kScripts[{len(runs)}] = {{\n")
    out.write(rows([f"{{{first},{script}}}" for first, _, script in runs], 16) + "};\n")


if __name__ == "__main__":
    main()

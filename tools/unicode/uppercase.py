"""Probes the reference tokenizer library for its upper-case images and prints the engine's table.

python tools/unicode/uppercase.py > native/tokenizers/unicode_upper.inc
"""

import sys

import tokenizers


def images() -> dict[int, str]:
    """Code point → its upper-case image, for those that have another one."""
    found = {}
    for c in range(0x110000):
        if 0xD800 <= c < 0xE000:
            continue
        text = tokenizers.NormalizedString(chr(c))
        text.uppercase()
        if text.normalized != chr(c):
            found[c] = text.normalized
    return found


def runs(singles: dict[int, int]) -> list[tuple[int, int, int, int]]:
    """(first, last, step, distance) of code points whose images lie at the same distance."""
    found: list[tuple[int, int, int, int]] = []
    for c, image in sorted(singles.items()):
        if found:
            first, last, step, distance = found[-1]
            if distance == image - c and (c - last == step or (first == last and c - last == 2)):
                found[-1] = (first, c, c - last if first == last else step, distance)
                continue
        found.append((c, c, 1, image - c))
    return found


def main() -> None:
    upper = images()
    table = runs({c: ord(image) for c, image in upper.items() if len(image) == 1})
    several = {c: image for c, image in sorted(upper.items()) if len(image) > 1}
    out = sys.stdout
    out.write(f"// Printed by tools/unicode/uppercase.py from tokenizers {tokenizers.__version__}; don't edit.\n")
    for name, kind, rows in (
        ("kUpperRuns", "UpperRun", [f"{{{a},{b},{s},{d}}}" for a, b, s, d in table]),
        (
            "kUpperSeveral",
            "UpperSeveral",
            [f"{{{c},{{{','.join(str(ord(x)) for x in i)}}}}}" for c, i in several.items()],
        ),
    ):
        out.write(f"static const {kind} {name}[{len(rows)}] = {{\n")
        for at in range(0, len(rows), 5):
            out.write(",".join(rows[at : at + 5]) + (",\n" if at + 5 < len(rows) else "\n"))
        out.write("};\n")


if __name__ == "__main__":
    main()

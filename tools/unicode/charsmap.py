"""Writes maps of characters as sentencepiece does: a double-array trie of byte strings and the texts for them."""

import base64
import struct
from collections.abc import Mapping

LEAF = 1 << 8


def charsmap(replacements: Mapping[str, str]) -> str:
    """The base64 form that a `Precompiled` normalizer takes.

    Args:
        replacements: what stands for what; keys are not empty and hold no NUL.
    """
    texts = bytearray()
    trie: dict = {}
    for key in sorted(replacements):
        node = trie
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = len(texts)
        texts += replacements[key].encode() + b"\0"
    units = _lay_out(trie)
    packed = struct.pack(f"<I{len(units)}I", 4 * len(units), *units)
    return base64.b64encode(packed + bytes(texts)).decode()


def _lay_out(trie: dict) -> list[int]:
    """One number for each node: its label, the way from its place to its children's, whether a text hangs on it."""
    units, taken, bases = {0: 0}, {0}, {0}
    waiting, first_free = [(0, trie)], 1
    while waiting:
        place, node = waiting.pop()
        while first_free in taken:
            first_free += 1
        labels, free = sorted(node), first_free
        while (base := free ^ labels[0]) in bases or any(base ^ label in taken for label in labels):
            free += 1
        bases.add(base)
        units[place] |= (place ^ base) << 10 | (LEAF if 0 in node else 0)
        for label in labels:
            taken.add(base ^ label)
            units[base ^ label] = 1 << 31 | node[label] if label == 0 else label
            if label:
                waiting.append((base ^ label, node[label]))
    size = (max(units) | 255) + 1
    # A unit that no node took must not look like a child: no byte has this label.
    return [units.get(place, 1 << 31) for place in range(size)]

"""A plain account of byte-pair training, as slow as it is short."""

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise


def byte_pairs(
    words: Mapping[str, int],
    vocab_size: int,
    prefix: str | None = None,
    suffix: str | None = None,
    order: Sequence[str] | None = None,
) -> tuple[list[str], list[tuple[str, str]]]:
    """(tokens, merges); `order` is that of the marked characters, sorted without it."""
    ids: dict[str, int] = {}

    def put(token: str) -> int:
        return ids.setdefault(token, len(ids))

    for character in sorted(set("".join(words))):
        put(character)
    spelt = []
    for word, count in words.items():
        symbols = [(prefix or "") * (i > 0) + character for i, character in enumerate(word)]
        symbols[-1] += suffix or ""
        spelt.append((symbols, count))
    marked = {symbol for symbols, _ in spelt for symbol in symbols} - set(ids)
    for symbol in sorted(marked) if order is None else order:
        if symbol in marked:
            put(symbol)
    rows = [([ids[symbol] for symbol in symbols], count) for symbols, count in spelt]
    counts: defaultdict[tuple[int, int], int] = defaultdict(int)
    where: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for i, (row, count) in enumerate(rows):
        for pair in pairwise(row):
            counts[pair] += count
            where[pair].add(i)
    queue = [(-count, pair, number, where[pair]) for number, (pair, count) in enumerate(counts.items())]
    heapq.heapify(queue)
    number, merges = len(queue), []
    while len(ids) < vocab_size and queue:
        count, pair, entry, places = heapq.heappop(queue)
        if -count != counts[pair]:
            heapq.heappush(queue, (-counts[pair], pair, entry, places))
            continue
        if count >= 0:
            break
        tokens = list(ids)
        left, right = tokens[pair[0]], tokens[pair[1]]
        made = put(left + (right[len(prefix) :] if prefix and right.startswith(prefix) else right))
        merges.append((left, right))
        won: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        for place in places:
            row, weight = rows[place]
            i = 0
            while i + 1 < len(row):
                if (row[i], row[i + 1]) == pair:
                    row[i : i + 2] = [made]
                    changes = []
                    if i > 0:
                        changes.append(((row[i - 1], pair[0]), (row[i - 1], made)))
                    if i + 1 < len(row):
                        changes.append(((pair[1], row[i + 1]), (made, row[i + 1])))
                    for lost, new in changes:
                        counts[lost] -= weight
                        counts[new] += weight
                        won[new].add(place)
                i += 1
        for new, found in won.items():
            if counts[new] > 0:
                heapq.heappush(queue, (-counts[new], new, number, found))
                number += 1
    last = {merge: rank for rank, merge in enumerate(merges)}
    return list(ids), sorted(last, key=last.__getitem__)

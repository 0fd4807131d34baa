"""BPE merges for a vocabulary that came without them."""

from collections.abc import Collection, Mapping


def merges_from_vocab(
    vocab: Mapping[str, int], scores: Mapping[str, float] | None = None, skip: Collection[str] = ()
) -> list[tuple[str, str]]:
    """Every way to join two tokens into a third, best first.

    Args:
        vocab: token → id.
        scores: token → score, the higher the earlier (SentencePiece); without them the lower id comes first.
        skip: tokens that no merge makes or uses.
    """
    skip = set(skip)
    rank: Mapping[str, float] = vocab if scores is None else scores
    found: list[tuple[str, str, float]] = []
    for token, score in rank.items():
        if token in skip:
            continue
        splits = ((token[:cut], token[cut:], score) for cut in range(1, len(token)))
        usable = [s for s in splits if s[0] in vocab and s[1] in vocab and s[0] not in skip and s[1] not in skip]
        found += sorted(usable, key=lambda split: (vocab[split[0]], vocab[split[1]]))
    # A stable sort both ways: equal scores keep the vocabulary's order.
    found.sort(key=lambda split: (split[2], len(split[0]), len(split[1])), reverse=scores is not None)
    return [(left, right) for left, right, _ in found]

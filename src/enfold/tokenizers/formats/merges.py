"""BPE merges for a vocabulary that came without them."""

from collections.abc import Collection, Mapping


def merges_from_vocab(
    vocab: Mapping[str, int], scores: Mapping[str, float] | None = None, skip: Collection[str] = ()
) -> list[tuple[str, str]]:
    """Every way to join two tokens into a third, best first; equal ones by length, then in the vocabulary's order.

    Args:
        vocab: token → id.
        scores: token → score, the higher the earlier (SentencePiece); without them the lower id comes first.
        skip: tokens that no merge makes or uses.
    """
    from enfold.tokenizers._engine import merges_of_vocabulary

    return merges_of_vocabulary(dict(vocab), None if scores is None else dict(scores), set(skip))

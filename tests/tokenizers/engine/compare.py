"""Holds an encoding of ours against the reference's, field by field."""

FIELDS = (
    "ids",
    "tokens",
    "offsets",
    "word_ids",
    "type_ids",
    "attention_mask",
    "special_tokens_mask",
    "sequence_ids",
)


def assert_same(ours, theirs, texts) -> None:
    assert len(ours) == len(theirs)
    for text, x, y in zip(texts, ours, theirs, strict=True):
        for field in FIELDS:
            assert getattr(x, field) == getattr(y, field), (field, text)
        assert len(x.overflowing) == len(y.overflowing), text
        for a, b in zip(x.overflowing, y.overflowing, strict=True):
            for field in FIELDS:
                assert getattr(a, field) == getattr(b, field), ("overflowing", field, text)


def unless_panicking(call, *args):
    """What the reference's function returns, or None where it panics."""
    try:
        return call(*args)
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        return None

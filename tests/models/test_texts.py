"""What every family writes is what the reference writes: 64 tokens, searched greedily and with four beams."""

from dataclasses import replace

import pytest
import torch

from tests.models import bert_kin, seq2seq_kin
from tests.models.pairs import COLUMNS, inputs, pair, right_mask
from tests.models.rows import DECODERS, Row

# The reference's T5 keeps a cache as deep as its encoder.
TOO_DEEP = [row for row in DECODERS if row.entries.get("num_decoder_layers", 0) > row.entries.get("num_layers", 99)]
WRITERS = [row for row in DECODERS if row.task in ("causal-lm", "seq2seq-lm") and row not in TOO_DEEP]
FAMILIES = {row.family: [other for other in WRITERS if other.family == row.family] for row in WRITERS}
STEPS = 64
# Families whose decoders count padding before a prompt, in the reference.
COUNTS_PADDING = ("bert", *bert_kin.CONFIGURATIONS, *seq2seq_kin.CONFIGURATIONS)


def roomy(row: Row) -> Row:
    """The row, with room for a prompt and what is written."""
    room = COLUMNS + STEPS + 7  # the first places of a table may be left out
    known = ("n_positions", "max_position_embeddings", "max_decoder_position_embeddings")
    less = {name: room for name in known if row.entries.get(name, room) < room}
    return replace(row, entries=row.entries | less) if less else row


def check(row: Row, **settings: int) -> None:
    both = pair(roomy(row))
    mask = right_mask() if row.seq2seq else right_mask().flip(1)
    given = inputs(row, None if row.family in COUNTS_PADDING and not row.seq2seq else mask)
    given.pop("decoder_input_ids", None)
    # Large random weights would say the same word again and again.
    options = settings | {"max_new_tokens": STEPS, "do_sample": False, "no_repeat_ngram_size": 2}
    found = both.ours.generate(**given, **options)
    if row.family == "roberta":  # its places begin behind the padding token's, which generation there forgets
        given["position_ids"] = torch.arange(COLUMNS).repeat(len(found), 1) + both.ours.config.pad_token_id + 1
    wanted = both.theirs.generate(**given, **options)
    assert torch.equal(found, wanted)
    assert len(found[:, -STEPS:].unique()) > 8


@pytest.mark.parametrize("row", [rows[0] for rows in FAMILIES.values()], ids=str)
def test_greedy_texts_are_the_reference_s(row: Row):
    check(row, min_new_tokens=STEPS, num_beams=1)


@pytest.mark.parametrize("row", [rows[-1] for rows in FAMILIES.values()], ids=str)
def test_beamed_texts_are_the_reference_s(row: Row):
    check(row, min_new_tokens=STEPS // 2, num_beams=4)

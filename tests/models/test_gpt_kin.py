"""What GPT's kin have for themselves: positions that count tokens, and greedy texts beside the reference's."""

import pytest
import torch

from enfold.base.errors import ArgumentError
from tests.models import gpt_kin
from tests.models.pairs import inputs, pair, right_mask
from tests.models.rows import DECODERS, Row
from tests.models.test_families import MASKS, close

KIN = [row for row in DECODERS if row.family in gpt_kin.CONFIGURATIONS and row.task == "causal-lm"]


@pytest.mark.parametrize("row", [row for row in KIN if row.counts_tokens], ids=str)
@pytest.mark.parametrize("kind", MASKS)
@torch.no_grad()
def test_padding_is_nowhere_counted(row: Row, kind: str):
    model, mask = pair(row).ours, MASKS[kind]
    given = inputs(row, mask)
    together, theirs = model(**given).logits, pair(row).theirs(**given).logits
    for i, keep in enumerate(mask.bool()):
        close(together[i : i + 1, keep], model(input_ids=given["input_ids"][i : i + 1, keep]).logits)
        close(together[i, keep], theirs[i, keep])


@pytest.mark.parametrize("row", [row for row in KIN if row.family == "bloom" or row.entries.get("alibi")], ids=str)
def test_positions_are_refused_where_distances_stand_for_them(row: Row):
    with pytest.raises(ArgumentError, match="no absolute positions"):
        pair(row).ours(**inputs(row), position_ids=torch.arange(9)[None])


@pytest.mark.parametrize("row", KIN, ids=str)
def test_greedy_texts_are_the_reference_s_over_64_steps(row: Row):
    both, given = pair(row), inputs(row)
    steps = min(64, (row.entries.get("max_position_embeddings") or row.entries.get("n_positions") or 99) - 9)
    settings = {"max_new_tokens": steps, "min_new_tokens": steps, "do_sample": False, "num_beams": 1}
    mask = right_mask().flip(1)
    left = inputs(row, mask)
    assert torch.equal(both.ours.generate(**given, **settings), both.theirs.generate(**given, **settings))
    assert torch.equal(both.ours.generate(**left, **settings), both.theirs.generate(**left, **settings))

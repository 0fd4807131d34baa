"""What GPT's kin have for themselves: positions that count tokens."""

import pytest
import torch

from enfold.base.errors import ArgumentError
from tests.models import gpt_kin
from tests.models.pairs import inputs, pair
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

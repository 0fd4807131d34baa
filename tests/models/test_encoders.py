"""What only some encoders have: distances between columns, losses of their own."""

import pytest
import torch

from enfold.base.errors import ConfigError
from enfold.models.deberta_v2 import DebertaV2Config, DebertaV2Model
from tests.models.pairs import at_tokens, fresh, fresh_theirs, inputs, pair, right_mask
from tests.models.rows import ROWS
from tests.models.test_families import MASKS, close

DEBERTAS = [row for row in ROWS if row.head == "DebertaV2ForMaskedLM"]


@pytest.mark.parametrize("row", DEBERTAS, ids=str)
@pytest.mark.parametrize("kind", MASKS)
@torch.no_grad()
def test_distances_and_convolutions_count_the_padding_between_tokens(row, kind):
    both, given = pair(row), inputs(row, MASKS[kind])
    ours, theirs = both.ours(**given).logits, both.theirs(**given).logits
    close(at_tokens("logits", ours, given), at_tokens("logits", theirs, given))


@pytest.mark.parametrize("row", DEBERTAS, ids=str)
@torch.no_grad()
def test_distances_beyond_the_furthest(row):
    both = pair(row)
    given = {"input_ids": torch.randint(8, row.entries["vocab_size"], (2, 40))}
    close(both.ours(**given).logits, both.theirs(**given).logits)


@pytest.mark.parametrize(
    "labels",
    [
        torch.tensor([[0.2, 0.5, 0.3], [1.0, 0, 0], [0, 0.5, 0.5]]),
        torch.tensor([2, -1, 0]),
        torch.tensor([-1, -1, -1]),
    ],
    ids=["shares", "one doesn't count", "none counts"],
)
def test_deberta_s_own_loss(labels):
    row = next(row for row in ROWS if row.head == "DebertaV2ForSequenceClassification")
    given = inputs(row, right_mask())
    ours, theirs = (model(**given, labels=labels) for model in (fresh(row), fresh_theirs(row)))
    close(ours.loss, theirs.loss)


def test_kinds_of_comparison_that_are_unknown():
    with pytest.raises(ConfigError, match=r"names \['p2p'\]; known are c2p, p2c"):
        DebertaV2Model(
            DebertaV2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, pos_att_type="c2p|p2p")
        )

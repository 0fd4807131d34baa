"""More or fewer tokens, in every family."""

import pytest
import torch

from enfold.base.errors import ArgumentError
from tests.models.pairs import fresh, fresh_theirs, inputs, ours_class, right_mask, theirs_class
from tests.models.rows import ONE_EACH, Row
from tests.models.test_families import close

every_family = pytest.mark.parametrize("row", ONE_EACH, ids=str)


@every_family
@pytest.mark.parametrize("change", [-9, 13])
@torch.no_grad()
def test_as_the_reference_resizes(row: Row, change: int, tmp_path):
    model, theirs, given = fresh(row), fresh_theirs(row), inputs(row, right_mask())
    rows = row.entries["vocab_size"] + change
    given |= {name: ids.clamp(max=rows - 1) for name, ids in given.items() if name.endswith("input_ids")}
    before, old = model(**given).logits, model.get_input_embeddings().weight.clone()
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    table = model.resize_token_embeddings(rows)
    theirs.resize_token_embeddings(rows)
    assert table is model.get_input_embeddings()
    assert table.num_embeddings == rows == model.config.vocab_size
    assert (model.get_output_embeddings().weight is table.weight) == tied
    assert model.num_parameters() == theirs.num_parameters()
    kept = min(rows, len(old))
    assert torch.equal(table.weight[:kept], old[:kept])
    if change > 0:
        close(table.weight[kept:], old.mean(0).expand(change, -1), 1e-2)
        assert not torch.equal(table.weight[kept], table.weight[kept + 1])
    after = model(**given).logits
    assert after.shape[-1] == rows
    close(after[..., :kept], before[..., :kept])
    model.save_pretrained(tmp_path)
    loaded = theirs_class(row).from_pretrained(tmp_path, experts_implementation="eager")
    close(after[0], loaded(**given).logits[0])
    close(ours_class(row).from_pretrained(tmp_path)(**given).logits, after, 1e-6)


@every_family
def test_new_rows_learn(row: Row):
    model, given = fresh(row), inputs(row)
    model.resize_token_embeddings(row.entries["vocab_size"] + 3, mean_resizing=False)
    given["input_ids"][..., 0] = row.entries["vocab_size"] + 2
    model(**given).logits.sin().sum().backward()
    assert model.get_input_embeddings().weight.grad[-1].any()
    assert model.get_input_embeddings().weight[-1].abs().max() < 10


def test_multiples_and_numbers_that_are_none():
    model = fresh(ONE_EACH[0])
    rows = model.config.vocab_size
    assert model.resize_token_embeddings().num_embeddings == rows
    assert model.resize_token_embeddings(pad_to_multiple_of=64).num_embeddings == -(-rows // 64) * 64
    assert model.resize_token_embeddings(65, pad_to_multiple_of=8).num_embeddings == 72
    for options in ({"new_num_tokens": 0}, {"pad_to_multiple_of": 2.5}, {"new_num_tokens": "many"}):
        with pytest.raises(ArgumentError, match="expected a positive integer"):
            model.resize_token_embeddings(**options)

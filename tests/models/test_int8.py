"""`dtype="int8"`: every family, with the weights of its linear maps rounded to bytes."""

import pytest
import torch
import torch.nn.functional as F

from enfold.base.errors import ArgumentError
from enfold.nn.int8 import Int8Linear
from enfold.nn.linear import Linear
from tests.models.pairs import ANSWERS, at_tokens, fresh, inputs, ours_class, pair, right_mask
from tests.models.rows import DECODERS, ONE_EACH, Row

every_family = pytest.mark.parametrize("row", ONE_EACH, ids=str)


@every_family
@torch.no_grad()
def test_answers_stay_near(row: Row):
    exact, rounded, given = pair(row).ours, fresh(row, dtype="int8"), inputs(row, right_mask())
    assert any(isinstance(module, Int8Linear) for module in rounded.modules())
    for stack in rounded.stacks():
        left = {name.rpartition(".")[2] for name, module in stack.named_modules() if type(module) is Linear}
        assert left <= {"router", "shared_gate"}
    assert not any("experts" in name and p.dim() > 2 for name, p in rounded.named_parameters())
    routed = any(name.endswith(".router") for name, _ in rounded.named_modules())  # a near tie chooses another expert
    assert rounded.dtype is torch.float32
    assert rounded.num_parameters() == exact.num_parameters()
    ours, wanted = rounded(**given), exact(**given)
    for name in ANSWERS:
        if name in wanted:
            a, b = (at_tokens(name, x[name], given).flatten(1) for x in (ours, wanted))
            assert F.cosine_similarity(a, b).mean() > (0.9 if routed else 0.99), name


@pytest.mark.parametrize("row", [row for row in DECODERS if row in ONE_EACH], ids=str)
def test_generates(row: Row):
    model, given = fresh(row, dtype="int8"), inputs(row, right_mask())
    settings = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    given = {name: given[name] for name in ("input_ids", "attention_mask") if name in given}
    found = model.generate(**given, **settings)
    assert torch.equal(found, model.generate(**given, **settings))
    assert found.shape[1] >= 8


def row_of(head: str) -> Row:
    return next(row for row in ONE_EACH if row.head == head)


def test_a_tied_head_has_bytes_of_its_own_and_the_table_stays():
    row = next(r for r in ONE_EACH if r.head == "GPT2LMHeadModel")
    model = fresh(row, dtype="int8")
    assert isinstance(model.lm_head, Int8Linear)
    assert torch.equal(model.get_input_embeddings().weight, pair(row).ours.get_input_embeddings().weight)


def test_files_of_rounded_weights_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match="load it with dtype"):
        fresh(row_of("GPT2LMHeadModel"), dtype="int8").save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_only_the_cpu_has_kernels_for_it():
    with pytest.raises(ArgumentError, match="runs on the CPU"):
        fresh(row_of("GPT2LMHeadModel"), dtype="int8", device="meta")


def test_a_fresh_model_can_be_rounded():
    row = row_of("GPT2LMHeadModel")
    model = ours_class(row).from_config(pair(row).ours.config, dtype="int8")
    assert isinstance(model.lm_head, Int8Linear)

"""Decoding steps as one native call: the same numbers as module by module, while nothing watches or changes."""

import copy

import pytest
import torch
from torch import nn

from enfold.base.errors import LengthError
from enfold.nn import kernels
from enfold.nn.cache import Cache, FixedCache
from enfold.nn.program import Program, Unwritten
from tests.models.pairs import fresh, inputs, right_mask
from tests.models.rows import DECODERS, ONE_EACH, Row

# Families whose mixtures, or modules of their own, keep them from being one chain of operations.
APART = {"mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss", "deepseek_v2", "deepseek_v3", "mamba", "falcon_h1", "umt5"}
pytestmark = pytest.mark.skipif(kernels.available() in (None, "baseline"), reason="there are no native products here")


def begun(model, row: Row, cache: Cache | None = None):
    """(further arguments, cache) behind a prompt of two rows of different lengths."""
    given = inputs(row, right_mask())
    if row.seq2seq:
        first = {name: given[name] for name in ("input_ids", "attention_mask")}
        output = model(**first, decoder_input_ids=given["decoder_input_ids"][:, :3], use_cache=True)
        return {"encoder_outputs": (output.encoder_last_hidden_state,), "attention_mask": given["attention_mask"]}, (
            output.past_key_values
        )
    cache = model(input_ids=given["input_ids"][:2, :5], past_key_values=cache, use_cache=True).past_key_values
    if not row.recurs:
        cache.crop_rows([5, 3])
    return {}, cache


def steps(model, row: Row, count: int = 4, *, plain: bool = False) -> tuple[list[torch.Tensor], Cache]:
    """Scores of some steps; `plain`: module by module."""
    rest, cache = begun(model, row)
    found, rows = [], len(cache.lengths)
    stack = model.decoding_stack
    for number in range(count):
        if plain:
            cache.program = Unwritten(stack, model.dtype)
        ids = torch.full((rows, 1), 7 + number)
        named = {"decoder_input_ids": ids} if row.seq2seq else {"input_ids": ids}
        found.append(model(**named, **rest, past_key_values=cache, use_cache=True).logits)
    return found, cache


@pytest.mark.parametrize("row", DECODERS, ids=str)
@torch.inference_mode()
def test_the_same_numbers(row: Row):
    for dtype in ("float32", *(("bfloat16", "int8") if row in ONE_EACH else ())):
        model = fresh(row, dtype=dtype)
        found, cache = steps(model, row)
        wanted, _ = steps(model, row, plain=True)
        assert all(map(torch.equal, found, wanted)), dtype
        if row in ONE_EACH and dtype == "float32":
            assert isinstance(cache.program, Program) == (row.family not in APART)


def llama() -> tuple[Row, nn.Module]:
    row = next(row for row in DECODERS if row.head == "LlamaForCausalLM")
    return row, fresh(row)


def score(model, cache: Cache) -> torch.Tensor:
    ids = torch.full((len(cache.lengths), 1), 9)
    return model(input_ids=ids, past_key_values=cache, use_cache=True).logits


@torch.inference_mode()
def test_what_changes_between_steps_is_seen():
    row, model = llama()
    layer, calls = model.decoding_stack.layers[0], []
    _, cache = steps(model, row)
    assert isinstance(cache.program, Program)

    def twice(change) -> None:
        """The next step's scores, beside those without a program, after a change."""
        other = copy.deepcopy(cache)
        assert other.program is None
        other.program = Unwritten(model.decoding_stack, model.dtype)
        before = score(model, copy.deepcopy(cache))
        change()
        found = score(model, cache)
        assert torch.equal(found, score(model, other))
        assert not torch.equal(found, before)

    twice(lambda: layer.mlp.op.down.weight.data.mul_(2))
    twice(lambda: layer.mlp.op.down.weight.__setattr__("data", layer.mlp.op.down.weight.data * 3))
    another = copy.deepcopy(layer.mlp.op.down)
    another.weight.data.neg_()
    twice(lambda: setattr(layer.mlp.op, "down", another))
    assert isinstance(cache.program, Program)
    hook = layer.attn.op.o.register_forward_hook(lambda module, args, out: calls.append(1))
    score(model, cache)
    assert calls
    hook.remove()
    traced = model(torch.full((2, 1), 9), past_key_values=cache, use_cache=True, output_hidden_states=True)
    assert len(traced.hidden_states) == len(model.decoding_stack.layers) + 1


@torch.inference_mode()
def test_rows_come_and_go_and_caches_grow():
    row, model = llama()
    _, cache = steps(model, row)
    for change in (lambda c: c.select([1, 0, 1]), lambda c: c.reorder([2, 1, 2], 0), lambda c: c.crop_rows([3, 4, 5])):
        other = copy.deepcopy(cache)
        change(cache), change(other)
        other.program = Unwritten(model.decoding_stack, model.dtype)
        assert torch.equal(score(model, cache), score(model, other))
    held = cache._own[0][0].shape[2]
    other = copy.deepcopy(cache)
    for _ in range(held):
        other.program = Unwritten(model.decoding_stack, model.dtype)
        assert torch.equal(score(model, cache), score(model, other))
    assert cache._own[0][0].shape[2] > held
    assert isinstance(cache.program, Program)


@torch.inference_mode()
def test_a_fixed_cache_ends():
    row, model = llama()
    _, cache = begun(model, row, FixedCache(7))
    score(model, cache), score(model, cache)
    assert isinstance(cache.program, Program)
    with pytest.raises(LengthError, match="holds 7 tokens"):
        score(model, cache)

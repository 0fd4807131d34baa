"""Rotary tables and relative buckets, beside the reference library's functions."""

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb
from transformers.models.t5.modeling_t5 import T5Attention

from enfold.base.errors import NotBuiltError
from enfold.nn import spec
from enfold.nn.relative import Relative, buckets
from enfold.nn.rope import RopeTable, frequencies, rotate

LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@pytest.mark.parametrize("dim", [8, 64, 128])
@pytest.mark.parametrize("kind", ["default", "linear", "llama3"])
def test_angles(dim: int, kind: str):
    base = 500000.0 if kind == "llama3" else 10000.0
    numbers = {"default": {}, "linear": {"factor": 3.0}, "llama3": LLAMA3}[kind]
    config = transformers.LlamaConfig(
        hidden_size=2 * dim,
        num_attention_heads=2,
        head_dim=dim,
        max_position_embeddings=131072,
        rope_parameters={"rope_type": kind, "rope_theta": base, **numbers},
    )
    theirs = LlamaRotaryEmbedding(config)
    rope = spec.Rope(dim, base, (kind, *numbers.values()))
    torch.testing.assert_close(frequencies(rope), theirs.inv_freq, rtol=1e-6, atol=0)
    positions = torch.tensor([[0, 1, 5, 700, 2047]])
    cos, sin = theirs(torch.zeros(1), positions)
    table = RopeTable(rope)
    ours = table.upto(2048, dtype=torch.float32, device=torch.device("cpu"))
    torch.testing.assert_close(ours[0][positions], cos, rtol=0, atol=2e-4)
    torch.testing.assert_close(ours[1][positions], sin, rtol=0, atol=2e-4)
    q = torch.randn(1, 3, 5, dim)
    wanted, _ = apply_rotary_pos_emb(q, q, cos, sin)
    found = rotate(q[0].transpose(0, 1), cos[0][:, None], sin[0][:, None])
    torch.testing.assert_close(found, wanted[0].transpose(0, 1))


def test_tables_grow_and_follow_the_dtype():
    table, cpu = RopeTable(spec.Rope(4)), torch.device("cpu")
    cos, _ = table.upto(3, dtype=torch.float32, device=cpu)
    assert len(cos) == 512
    assert table.upto(512, dtype=torch.float32, device=cpu)[0] is cos
    longer, _ = table.upto(513, dtype=torch.float32, device=cpu)
    assert len(longer) == 1024
    assert torch.equal(longer[:512], cos)
    assert table.upto(2, dtype=torch.bfloat16, device=cpu)[0].dtype == torch.bfloat16


def test_only_the_rotated_dimensions_turn():
    x = torch.randn(2, 3, 8)
    cos, sin = torch.rand(2, 1, 4), torch.rand(2, 1, 4)
    turned = rotate(x, cos, sin)
    assert torch.equal(turned[..., 4:], x[..., 4:])
    assert torch.equal(turned[..., :4], rotate(x[..., :4], cos, sin))


def test_a_scaling_that_is_not_built():
    with pytest.raises(NotBuiltError, match="'yarn' is not built yet; built are default, linear and llama3"):
        frequencies(spec.Rope(8, scaling=("yarn", 2.0)))


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([8, 16, 32, 64]), st.integers(16, 300), st.booleans())
def test_buckets(count: int, farthest: int, bidirectional: bool):
    farthest = max(farthest, count)
    distance = torch.arange(-600, 600)
    relative = spec.Relative(count, farthest, 1, bidirectional)
    wanted = T5Attention._relative_position_bucket(distance, bidirectional, count, farthest)
    assert torch.equal(buckets(distance, relative), wanted)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_biases_of_the_newest_tokens_are_the_last_rows(bidirectional: bool):
    module = Relative(spec.Relative(8, 20, 3, bidirectional))
    whole = module(9, 9)
    assert whole.shape == (3, 9, 9)
    assert torch.equal(module(2, 9), whole[:, -2:])
    places = torch.arange(9)
    assert torch.equal(module.between(places, places), whole)
    assert torch.equal(module.between(places[[0, 4]], places[[1, 8]]), whole[:, [0, 4]][:, :, [1, 8]])

"""Rotary tables and relative buckets, beside the reference library's functions."""

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.bloom.modeling_bloom import _get_alibi_slopes
from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb as gptj_rotate
from transformers.models.gptj.modeling_gptj import create_sinusoidal_positions
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb
from transformers.models.t5.modeling_t5 import T5Attention

from enfold.base.errors import ConfigError, NotBuiltError
from enfold.models import positions
from enfold.models.llama import LlamaConfig
from enfold.nn import spec
from enfold.nn.relative import Alibi, Relative, buckets
from enfold.nn.rope import RopeTable, frequencies, rotate

LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


SCALINGS = {
    "default": {},
    "linear": {"factor": 3.0},
    "llama3": LLAMA3,
    "dynamic": {"factor": 2.5},
    "yarn": {"factor": 16.0, "original_max_position_embeddings": 512},
    "yarn, all its numbers": {
        "factor": 40.0,
        "original_max_position_embeddings": 100,
        "beta_fast": 20,
        "beta_slow": 2,
        "mscale": 0.8,
        "mscale_all_dim": 1.2,
        "truncate": False,
    },
    "yarn, told its size": {"factor": 2.0, "original_max_position_embeddings": 1024, "attention_factor": 0.7},
    "longrope": {"original_max_position_embeddings": 600},
}


@pytest.mark.parametrize("dim", [8, 64, 128])
@pytest.mark.parametrize("end", [500, 2048])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_angles(dim: int, scaling: str, end: int):
    kind, base = scaling.split(",")[0], 500000.0 if scaling == "llama3" else 10000.0
    entries = {"rope_type": kind, "rope_theta": base, **SCALINGS[scaling]}
    if kind == "longrope":
        entries |= {"short_factor": [1.0 + i / dim for i in range(dim // 2)], "long_factor": [4.0] * (dim // 2)}
    sizes = {"hidden_size": 2 * dim, "num_attention_heads": 2, "head_dim": dim, "max_position_embeddings": 1000}
    theirs = LlamaRotaryEmbedding(transformers.LlamaConfig(**sizes, rope_parameters=dict(entries)))
    rope = positions.rope(LlamaConfig(**sizes, rope_parameters=entries), dim)
    places = torch.tensor([[0, 1, 5, 400, end - 1]])
    cos, sin = theirs(torch.zeros(1), places)
    torch.testing.assert_close(frequencies(rope, end), theirs.inv_freq, rtol=2e-6, atol=0)
    table = RopeTable(rope)
    table.upto(700, dtype=torch.float32, device=torch.device("cpu"))  # what another text left there must not matter
    ours = table.upto(end, dtype=torch.float32, device=torch.device("cpu"))
    torch.testing.assert_close(ours[0][places], cos, rtol=0, atol=2e-4)
    torch.testing.assert_close(ours[1][places], sin, rtol=0, atol=2e-4)
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


def test_neighbours_turn_as_in_the_reference():
    places, x = torch.tensor([3, 0, 511, 40]), torch.randn(4, 3, 16)
    tables = RopeTable(spec.Rope(12, pairs="neighbours")).upto(512, dtype=torch.float32, device=torch.device("cpu"))
    cos, sin = (table[places, None] for table in tables)
    theirs_sin, theirs_cos = create_sinusoidal_positions(512, 12)[places].unsqueeze(0).chunk(2, dim=-1)
    wanted = gptj_rotate(x[None, ..., :12], theirs_sin, theirs_cos)[0]
    torch.testing.assert_close(rotate(x, cos, sin, "neighbours"), torch.cat([wanted, x[..., 12:]], dim=-1))


def test_a_scaling_that_is_not_built():
    with pytest.raises(NotBuiltError, match="'ntk' is not built; built are default, linear, dynamic, llama3, yarn"):
        positions.rope(LlamaConfig(rope_parameters={"rope_type": "ntk", "factor": 2.0}), 8)


def test_a_scaling_without_its_numbers():
    with pytest.raises(ConfigError, match=r"'linear' needs the entry 'factor' in config\.json"):
        positions.rope(LlamaConfig(rope_parameters={"rope_type": "linear"}), 8)


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
    torch.nn.init.normal_(module.table.weight)
    whole = module(9, 9)
    assert whole.shape == (3, 9, 9)
    assert torch.equal(module(2, 9), whole[:, -2:])
    places = torch.arange(9)
    assert torch.equal(module.between(places, places), whole)
    assert torch.equal(module.between(places[[0, 4]], places[[1, 8]]), whole[:, [0, 4]][:, :, [1, 8]])


@pytest.mark.parametrize("heads", [1, 2, 3, 8, 12, 16, 71, 112])
def test_slopes_for_any_number_of_heads(heads: int):
    module, cpu = Alibi(spec.Alibi(heads)), torch.device("cpu")
    torch.testing.assert_close(module.slopes, _get_alibi_slopes(heads, cpu), rtol=3e-6, atol=0)
    bias = module(3, 5)  # theirs are counted from the first key: the softmax of a row doesn't see the difference
    theirs = _get_alibi_slopes(heads, cpu)[:, None, None] * torch.arange(5)
    seen = torch.ones(3, 5, dtype=torch.bool).tril(2)
    torch.testing.assert_close(
        bias.masked_fill(~seen, -torch.inf).softmax(-1), theirs.masked_fill(~seen, -torch.inf).softmax(-1)
    )


def test_slopes_are_known_where_weights_are_only_planned():
    with torch.device("meta"):
        module = Alibi(spec.Alibi(8))
    assert torch.equal(module.slopes, 2.0 ** -torch.arange(1.0, 9))

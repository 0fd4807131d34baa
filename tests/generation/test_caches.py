"""Ways to keep keys and values, and going on from an earlier call."""

import pytest
import torch
import transformers

from enfold.base.errors import ArgumentError, LengthError, NotBuiltError
from enfold.models.registry import class_by_name
from enfold.nn.caches import DynamicCache, OffloadedCache, QuantizedCache, RingCache, StaticCache
from tests.generation.toys import HEADS, both, padded, prompts


def windowed():
    """A model whose layers see 6 tokens, or all."""
    torch.manual_seed(3)
    config = transformers.Gemma3TextConfig(
        vocab_size=97,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=48,
        sliding_window=6,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        pad_token_id=0,
        eos_token_id=None,
        bos_token_id=1,
    )
    theirs = transformers.Gemma3ForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(0, 0.4) if parameter.ndim > 1 else parameter.normal_(0, 0.1)
    import tempfile

    with tempfile.TemporaryDirectory() as path:
        theirs.save_pretrained(path)
        return class_by_name("Gemma3ForCausalLM").from_pretrained(path), theirs


@pytest.fixture(scope="module")
def gemma():
    return windowed()


@pytest.mark.parametrize("backend", [None, "plain", "sdpa"])
@pytest.mark.parametrize("beams", [1, 3])
def test_a_ring_says_what_a_growing_cache_says(gemma, backend, beams):
    ours, theirs = gemma
    ids, mask = padded(prompts(), "left")
    options = {"attention_mask": mask, "max_new_tokens": 20, "num_beams": beams}
    wanted = theirs.generate(ids, **options)
    before = ours.base._attn_implementation if hasattr(ours.base, "_attn_implementation") else None
    if backend is not None:
        ours.base.attention_backend = backend
    try:
        found = ours.generate(ids, **options, cache_implementation="sliding_window", return_dict_in_generate=True)
    finally:
        ours.base.attention_backend = before
    assert torch.equal(found.sequences, wanted)
    own = found.past_key_values._own
    assert [own[depth][0].shape[2] for depth in range(3)] == [6, 64, 6]


def test_a_ring_takes_more_tokens_at_once(gemma):
    """Prompts in pieces, of rows with unequal pasts."""
    ours, _ = gemma
    ids, mask = padded(prompts(columns=9), "right")
    more = prompts(4, 11, seed=2)
    with torch.no_grad():
        for cache in (RingCache([6, None, 6]), DynamicCache()):
            ours(ids, mask, past_key_values=cache)
            logits = ours(more[:, :4], past_key_values=cache).logits
            again = ours(more[:, 4:], past_key_values=cache).logits
            if isinstance(cache, RingCache):
                ring = (logits, again)
    torch.testing.assert_close(ring[0], logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ring[1], again, rtol=1e-4, atol=1e-5)
    held = RingCache([6, None, 6])
    with torch.no_grad():
        ours(more, past_key_values=held)
    with pytest.raises(ArgumentError, match="a ring of 6 places has forgotten"):
        held.crop(7)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", ["dynamic", "static", "hybrid", "offloaded"])
def test_caches_that_change_nothing(head: str, kind: str):
    ours, _ = both(head)
    ids, mask = padded(prompts(), "left")
    for options in ({"max_new_tokens": 12}, {"max_new_tokens": 8, "num_beams": 2}):
        wanted = ours.generate(ids, attention_mask=mask, **options)
        assert torch.equal(ours.generate(ids, attention_mask=mask, **options, cache_implementation=kind), wanted)


def test_what_an_offloaded_cache_does_beside_a_gpu():
    """Its way of writing, with the CPU in the GPU's place."""
    ours, _ = both("LlamaForCausalLM")
    ids, mask = padded(prompts(), "right")
    wanted = ours.generate(ids, attention_mask=mask, max_new_tokens=12)
    cache = OffloadedCache("cuda")
    found = ours.generate(ids, attention_mask=mask, max_new_tokens=12, past_key_values=cache)
    assert torch.equal(found, wanted)
    assert max(cache.lengths) == 9 + 11
    assert cache._own[0][0].device.type == "cpu"


@pytest.mark.parametrize("head", HEADS)
def test_eight_bits(head: str):
    ours, _ = both(head)
    ids, mask = padded(prompts(), "left")
    options = {"attention_mask": mask, "max_new_tokens": 4, "return_dict_in_generate": True, "output_logits": True}
    wanted = ours.generate(ids, **options)
    found = ours.generate(ids, **options, cache_implementation="quantized", cache_config={"nbits": 8})
    assert found.past_key_values._own[0][0].dtype == torch.int8
    for a, b in zip(found.logits[:2], wanted.logits[:2], strict=True):
        assert torch.nn.functional.cosine_similarity(a, b).min() > 0.99
    beams = ours.generate(ids, attention_mask=mask, max_new_tokens=6, num_beams=3, cache_implementation="quantized")
    assert beams.shape[0] == 4
    with pytest.raises(NotBuiltError, match="nbits=4"):
        QuantizedCache(4)


def test_a_static_cache_is_no_larger_than_asked():
    ours, _ = both("LlamaForCausalLM")
    found = ours.generate(
        prompts(), max_new_tokens=5, cache_implementation="static", max_cache_len=20, return_dict_in_generate=True
    )
    assert found.past_key_values._own[0][0].shape[2] == 20
    with pytest.raises(LengthError, match="holds 10 tokens"):
        ours.generate(prompts(), max_new_tokens=5, cache_implementation="static", max_cache_len=10)
    with pytest.raises(ArgumentError, match="max_cache_len=10 needs cache_implementation='static'"):
        ours.generate(prompts(), max_cache_len=10)
    given = StaticCache(max_cache_len=16)
    wanted = ours.generate(prompts(), max_new_tokens=5)
    assert torch.equal(ours.generate(prompts(), max_new_tokens=5, past_key_values=given), wanted)
    assert given.lengths == (13,) * 4


@pytest.mark.parametrize("head", ["LlamaForCausalLM", "GPT2LMHeadModel"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_going_on_from_an_earlier_call(head: str, side: str):
    """Only what is new is fed, and what no longer holds is forgotten."""
    ours, _ = both(head)
    ids, mask = padded(prompts(), side)
    first = ours.generate(ids, attention_mask=mask, max_new_tokens=6, return_dict_in_generate=True)
    cache = first.past_key_values
    more = torch.cat([first.sequences, prompts(4, 3, seed=9)], 1)
    told = torch.cat([mask, torch.ones(4, 9, dtype=torch.int64)], 1)
    wanted = ours.generate(more, attention_mask=told, max_new_tokens=8)
    fed = []
    hook = ours.base.stack.embed.register_forward_hook(lambda _, given, out: fed.append(len(out)))
    try:
        assert torch.equal(ours.generate(more, attention_mask=told, max_new_tokens=8, past_key_values=cache), wanted)
    finally:
        hook.remove()
    assert fed[0] == 4 * 4  # the last token of each answer was not fed before, and three are new
    other = more.clone()
    other[:, -5] = (other[:, -5] + 1) % 90 + 5  # differs within the first answer
    wanted = ours.generate(other, attention_mask=told, max_new_tokens=5)
    assert torch.equal(ours.generate(other, attention_mask=told, max_new_tokens=5, past_key_values=cache), wanted)
    beams = {"max_new_tokens": 5, "num_beams": 2}
    wanted = ours.generate(other, attention_mask=told, **beams)
    assert torch.equal(ours.generate(other, attention_mask=told, **beams, past_key_values=cache), wanted)
    assert len(cache.lengths) == 4
    with pytest.raises(ArgumentError, match="holds 4 sequences, and the batch has 2 rows"):
        ours.generate(other[:2], past_key_values=cache)


def test_a_cache_keeps_its_rows_where_it_is_the_caller_s():
    ours, _ = both("LlamaForCausalLM")
    ids = prompts()
    ends = [int(row[3]) for row in ours.generate(ids, max_new_tokens=6)[:3, 9:]]
    options = {"max_new_tokens": 12, "eos_token_id": ends, "return_dict_in_generate": True}
    left = ours.generate(ids, **options)
    assert "past_key_values" not in left
    cache = DynamicCache()
    kept = ours.generate(ids, **options, past_key_values=cache)
    assert torch.equal(kept.sequences, left.sequences)
    assert kept.past_key_values is cache
    assert len(cache.lengths) == 4


def test_a_cache_of_a_forward_pass():
    ours, _ = both("LlamaForCausalLM")
    ids = prompts()
    with torch.no_grad():
        cache = ours(ids[:, :5]).past_key_values
    wanted = ours.generate(ids, max_new_tokens=5)
    assert torch.equal(ours.generate(ids, max_new_tokens=5, past_key_values=cache), wanted)
    with torch.no_grad():
        cache = ours(ids).past_key_values
    with pytest.raises(ArgumentError, match="holds 9 tokens and the prompt has 9"):
        ours.generate(ids, max_new_tokens=5, past_key_values=cache)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cache_implementation": "static", "use_cache": False}, "use_cache=False and cache_implementation='static'"),
        ({"cache_config": {"nbits": 8}}, "cache_config=.* is for cache_implementation='quantized'"),
        ({"cache_implementation": "quantized", "cache_config": {"bits": 8}}, r"cache_config has \['bits'\]"),
    ],
    ids=str,
)
def test_what_is_refused(options: dict, message: str):
    ours, _ = both("LlamaForCausalLM")
    with pytest.raises(ArgumentError, match=message):
        ours.generate(prompts(1), **options)

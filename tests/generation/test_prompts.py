"""Prompts as vectors and in parts, and a model's own first layers that draft."""

import pytest
import torch

from enfold.base.errors import ArgumentError, NotBuiltError
from enfold.nn.caches import DynamicCache
from tests.generation.toys import HEADS, both, padded, prompts
from tests.models.pairs import inputs, pair, right_mask
from tests.models.rows import DECODERS, ONE_EACH, Row

DECODER_HEADS = [head for head in HEADS if head != "T5ForConditionalGeneration"]


def vectors_of(model, ids: torch.Tensor) -> torch.Tensor:
    return model.get_input_embeddings()(ids).detach()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"do_sample": True}], ids=str)
def test_vectors_in_place_of_ids(head: str, options: dict):
    ours, theirs = both(head)
    ids, mask = padded(prompts(), "left")
    options = {"attention_mask": mask, "max_new_tokens": 12, "min_length": 12, "eos_token_id": 40, **options}
    found = []
    for model in (ours, theirs):
        torch.manual_seed(3)
        found.append(model.generate(inputs_embeds=vectors_of(model, ids), **options))
    assert torch.equal(found[0], found[1])
    torch.manual_seed(3)
    if head in DECODER_HEADS:
        shown = ours.generate(ids, inputs_embeds=vectors_of(ours, ids), **options)
        assert torch.equal(shown, torch.cat([ids, found[0]], 1))


@pytest.mark.parametrize("head", DECODER_HEADS)
def test_vectors_go_every_way(head: str):
    model, _ = both(head)
    ids, mask = padded(prompts(), "right")
    vectors = vectors_of(model, ids)
    ways = (
        {"use_cache": False},
        {"penalty_alpha": 0.5, "top_k": 4},
        {"cache_implementation": "static", "prefill_chunk_size": 4},
    )
    for way in ways:
        options = {"attention_mask": mask, "max_new_tokens": 10} | way
        assert torch.equal(model.generate(inputs_embeds=vectors, **options), model.generate(ids, **options)[:, 9:])
    output = model.generate(inputs_embeds=vectors, return_dict_in_generate=True, output_hidden_states=True)
    assert output.hidden_states[0][0].shape == (4, 9, 32)
    assert output.past_key_values.tokens is None


def test_what_vectors_do_not_say():
    model, _ = both("LlamaForCausalLM")
    vectors = vectors_of(model, prompts(2))
    for options in (
        {"prompt_lookup_num_tokens": 3},
        {"assistant_early_exit": 1},
        {"encoder_repetition_penalty": 1.2},
        {"guidance_scale": 2.0},
    ):
        with pytest.raises(ArgumentError, match=f"{next(iter(options))}.* reads the tokens that vectors stand for"):
            model.generate(inputs_embeds=vectors, **options)
    with pytest.raises(ArgumentError, match=r"expected \[batch, length, 32\]"):
        model.generate(inputs_embeds=vectors[..., :5])
    with pytest.raises(ArgumentError, match=r"beside input_ids of shape \(2, 3\)"):
        model.generate(prompts(2, 3), inputs_embeds=vectors)
    cache = model(prompts(2), use_cache=True).past_key_values
    with pytest.raises(ArgumentError, match="inputs_embeds and past_key_values exclude each other"):
        model.generate(inputs_embeds=vectors, past_key_values=cache)
    writer, _ = both("T5ForConditionalGeneration")
    with pytest.raises(ArgumentError, match="no source for the encoder, or two"):
        writer.generate(prompts(2), inputs_embeds=vectors)
    with pytest.raises(ArgumentError, match="encoder_no_repeat_ngram_size reads the tokens"):
        writer.generate(inputs_embeds=vectors, encoder_no_repeat_ngram_size=2)


# In parts

PARTS = [row for row in ONE_EACH if row in DECODERS and not row.seq2seq]
PARTS += [row for row in DECODERS if row.entries.get("sliding_window") and row.task == "causal-lm"]


@pytest.mark.parametrize("row", dict.fromkeys(PARTS), ids=str)
def test_a_prompt_in_parts_is_answered_as_a_whole_one(row: Row):
    model, given = pair(row).ours, inputs(row, right_mask())
    options = given | {"max_new_tokens": 6, "return_dict_in_generate": True, "output_logits": True}
    whole = model.generate(**options)
    for size, kind in ((1, None), (4, None), (5, "hybrid"), (4, "static")):
        parts = model.generate(**options, prefill_chunk_size=size, cache_implementation=kind)
        assert torch.equal(parts.sequences, whole.sequences)
        for a, b in zip(parts.logits, whole.logits, strict=True):
            assert (a - b).abs().max() <= 1e-4 * b.abs().max()


def test_parts_with_beams_and_a_cache_that_goes_on():
    model, theirs = both("LlamaForCausalLM")
    ids, mask = padded(prompts(), "left")
    options = {"attention_mask": mask, "max_new_tokens": 12, "num_beams": 3}
    wanted = theirs.generate(ids, **options, prefill_chunk_size=4)
    assert torch.equal(model.generate(ids, **options, prefill_chunk_size=4), wanted)
    fed = []
    hook = model.base.stack.layers[0].register_forward_pre_hook(lambda _, given: fed.append(len(given[0])))
    try:
        cache = DynamicCache()
        first = model.generate(prompts(1), max_new_tokens=1, past_key_values=cache, prefill_chunk_size=4)
        model.generate(
            torch.cat([first, prompts(1, 5)], 1), max_new_tokens=1, past_key_values=cache, prefill_chunk_size=4
        )
    finally:
        hook.remove()
    assert fed == [1, 4, 4, 2, 4]
    for other in ({"use_cache": False}, {"penalty_alpha": 0.5}):
        with pytest.raises(ArgumentError, match=r"prefill_chunk_size=4 and .* exclude each other"):
            model.generate(ids, prefill_chunk_size=4, **other)
    with pytest.raises(ArgumentError, match="prefill_chunk_size is 0"):
        model.generate(ids, prefill_chunk_size=0)


# The first layers


@pytest.mark.parametrize("row", [row for row in ONE_EACH if row in DECODERS], ids=str)
def test_first_layers_draft_what_the_whole_model_writes(row: Row):
    model, given = pair(row).ours, inputs(row, right_mask())
    given.pop("decoder_input_ids", None)
    options = given | {"max_new_tokens": 10, "num_beams": 1}
    if row.recurs:
        with pytest.raises(ArgumentError, match="no token can be taken back"):
            model.generate(**options, assistant_early_exit=1)
        return
    early = {"assistant_early_exit": 1, "num_assistant_tokens": 3, "assistant_confidence_threshold": 0.0}
    assert torch.equal(model.generate(**options, **early), model.generate(**options))


def test_first_layers_are_fewer_than_all():
    model, _ = both("LlamaForCausalLM")
    ran = []
    hooks = [
        layer.register_forward_hook(lambda *_, n=n: ran.append(n)) for n, layer in enumerate(model.base.stack.layers)
    ]
    try:
        options = {"assistant_early_exit": 1, "num_assistant_tokens": 4, "assistant_confidence_threshold": 0.0}
        found = model.generate(prompts(1), max_new_tokens=16, **options, do_sample=True, seed=1)
    finally:
        for hook in hooks:
            hook.remove()
    assert found.shape == (1, 25)
    assert ran.count(0) > 2 * ran.count(1)
    with pytest.raises(ArgumentError, match="assistant_early_exit is 2, and the model has 2 layers"):
        model.generate(prompts(1), assistant_early_exit=2)
    with pytest.raises(ArgumentError, match=r"prompt_lookup_num_tokens.* and assistant_early_exit exclude each other"):
        model.generate(prompts(1), assistant_early_exit=1, prompt_lookup_num_tokens=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dola_layers": "high"}, "moved it into a repository of code .* No other option"),
        ({"force_words_ids": [[5]]}, r"moved it into a repository.* constraint=Regex"),
        ({"constraints": ["a phrase"]}, r"moved it into a repository.* constraint=Regex"),
        ({"custom_generate": "someone/loop"}, "runs no code of repositories"),
    ],
    ids=str,
)
def test_what_the_reference_moved_elsewhere(options: dict, message: str):
    with pytest.raises(NotBuiltError, match=message):
        both("LlamaForCausalLM")[0].generate(prompts(1), **options)

"""The tokens that `generate` gives, beside the reference library's."""

import pytest
import torch

from enfold.base.errors import LengthError, NotBuiltError
from tests.generation.toys import HEADS, both, padded, prompts

every_head = pytest.mark.parametrize("head", HEADS)


def their_tokens(model, ids, **options):
    options = {"attention_mask": torch.ones_like(ids)} | options
    return model.generate(ids, **options)


@every_head
@pytest.mark.parametrize("rows", [1, 4])
def test_greedy_tokens(head: str, rows: int):
    ours, theirs = both(head)
    ids = prompts(rows)
    wanted = their_tokens(theirs, ids, max_new_tokens=64)
    assert torch.equal(ours.generate(ids, max_new_tokens=64), wanted)
    assert torch.equal(ours.generate(ids, max_new_tokens=64, use_cache=False), wanted)
    assert len(wanted[:, -64:].unique()) > 8  # the model says something


@every_head
def test_greedy_tokens_with_left_padding(head: str):
    ours, theirs = both(head)
    ids, mask = padded(prompts(), "left")
    wanted = theirs.generate(ids, attention_mask=mask, max_new_tokens=64)
    assert torch.equal(ours.generate(ids, attention_mask=mask, max_new_tokens=64), wanted)
    assert torch.equal(ours.generate(ids, max_new_tokens=64), wanted)  # the padding token tells


@every_head
@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy_tokens_with_right_padding_are_those_of_each_row_alone(head: str, use_cache: bool):
    ours, theirs = both(head)
    ids, mask = padded(prompts(), "right")
    together = ours.generate(ids, attention_mask=mask, max_new_tokens=40, use_cache=use_cache)
    for row in range(len(ids)):
        alone = their_tokens(theirs, ids[row : row + 1, : int(mask[row].sum())], max_new_tokens=40)
        assert torch.equal(together[row, -40:], alone[0, -40:])


def ends_of(tokens: torch.Tensor, count: int) -> list[int]:
    """Tokens that will end rows at different steps."""
    new = tokens[:, -48:]
    return [int(new[row, 3 + 9 * row]) for row in range(count)]


@every_head
@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("side", ["left", None])
def test_ends_and_what_stands_behind_them(head: str, count: int, side: str | None):
    ours, theirs = both(head)
    ids, mask = padded(prompts(), side) if side else (prompts(), torch.ones(4, 9, dtype=torch.int64))
    free = theirs.generate(ids, attention_mask=mask, max_new_tokens=48)
    ends = ends_of(free, count)
    options = {"attention_mask": mask, "max_new_tokens": 48, "eos_token_id": ends if count > 1 else ends[0]}
    wanted = theirs.generate(ids, **options)
    assert (wanted[:, -1] == 0).any()  # some row did end early
    for use_cache in (True, False):
        assert torch.equal(ours.generate(ids, **options, use_cache=use_cache), wanted)
    other = theirs.generate(ids, **options, pad_token_id=96)
    assert torch.equal(ours.generate(ids, **options, pad_token_id=96), other)


@every_head
def test_the_first_end_fills_where_no_padding_token_is_set(head: str):
    ours, theirs = both(head)
    ids = prompts()
    ends = sorted(ends_of(their_tokens(theirs, ids, max_new_tokens=48), 4), reverse=True)
    import copy

    quiet, theirs = copy.deepcopy(ours), copy.deepcopy(theirs)
    quiet.config.pad_token_id = None
    quiet.generation_entries = {}
    if head.startswith("T5"):
        quiet.generation_entries = {"decoder_start_token_id": 0}
    theirs.generation_config.pad_token_id = None
    options = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 48, "eos_token_id": ends}
    assert torch.equal(quiet.generate(ids, **options), theirs.generate(ids, **options))


SAMPLING = [
    {"temperature": 0.7},
    {"temperature": 1.5, "top_k": 5},
    {"top_k": 0, "top_p": 0.6},
    {"top_p": 0.9, "temperature": 0.8},
    {"min_p": 0.1, "top_k": 0},
    {"temperature": 1.2, "top_k": 20, "top_p": 0.95, "min_p": 0.02, "repetition_penalty": 1.3},
    {},
    {"top_k": 1000},
]


@every_head
@pytest.mark.parametrize("options", SAMPLING, ids=str)
def test_sampled_tokens(head: str, options: dict):
    ours, theirs = both(head)
    ids, mask = padded(prompts(), "left")
    if head.startswith("T5") and "repetition_penalty" in options:
        mask = torch.ones_like(ids)  # theirs passes over as many of the decoder's tokens as the source has padding
    options = options | {"do_sample": True, "max_new_tokens": 24, "attention_mask": mask, "eos_token_id": 50}
    torch.manual_seed(123)
    wanted = theirs.generate(ids, **options)
    torch.manual_seed(123)
    assert torch.equal(ours.generate(ids, **options), wanted)


@every_head
def test_several_samples_of_each_prompt(head: str):
    ours, theirs = both(head)
    ids, mask = padded(prompts(), "left")
    options = {"do_sample": True, "max_new_tokens": 12, "attention_mask": mask, "num_return_sequences": 3}
    torch.manual_seed(7)
    wanted = theirs.generate(ids, **options)
    torch.manual_seed(7)
    found = ours.generate(ids, **options)
    assert torch.equal(found, wanted)
    assert len(found) == 12


@every_head
def test_a_seed_is_the_same_draw_whatever_the_global_generator(head: str):
    ours, _ = both(head)
    ids = prompts()
    before = torch.get_rng_state()
    first = ours.generate(ids, do_sample=True, max_new_tokens=12, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(ours.generate(ids, do_sample=True, max_new_tokens=12, seed=5), first)
    assert not torch.equal(ours.generate(ids, do_sample=True, max_new_tokens=12, seed=6), first)


@every_head
@pytest.mark.parametrize(
    "options",
    [
        {"repetition_penalty": 1.8, "max_new_tokens": 32},
        {"repetition_penalty": 0.7, "max_new_tokens": 16},
        {"min_new_tokens": 10, "max_new_tokens": 32},
        {"min_length": 20, "max_new_tokens": 32},
        {"min_length": 30, "min_new_tokens": 2, "max_new_tokens": 32},
        {"max_length": 25},
        {"max_length": 20},
        {"max_length": 12, "max_new_tokens": 30},
        {"max_new_tokens": 1},
        {},
    ],
    ids=str,
)
def test_limits_and_penalties(head: str, options: dict):
    ours, theirs = both(head)
    ids = prompts()
    ends = ends_of(their_tokens(theirs, ids, max_new_tokens=48), 4)
    options = options | {"eos_token_id": ends, "attention_mask": torch.ones_like(ids)}
    assert torch.equal(ours.generate(ids, **options), theirs.generate(ids, **options))


@every_head
def test_scores_and_logits_of_each_step(head: str):
    ours, theirs = both(head)
    ids, mask = padded(prompts(), "left")
    if head.startswith("T5"):  # as above
        ids, mask = prompts(), torch.ones(4, 9, dtype=torch.int64)
    options = {
        "attention_mask": mask,
        "max_new_tokens": 6,
        "repetition_penalty": 1.4,
        "return_dict_in_generate": True,
        "output_scores": True,
        "output_logits": True,
    }
    found, wanted = ours.generate(ids, **options), theirs.generate(ids, **options)
    assert torch.equal(found.sequences, wanted.sequences)
    for name in ("scores", "logits"):
        assert len(found[name]) == len(wanted[name]) == 6
        for a, b in zip(found[name], wanted[name], strict=True):
            torch.testing.assert_close(a.clone(), b, rtol=1e-4, atol=1e-4)
    plain = ours.generate(ids, attention_mask=mask, max_new_tokens=6, return_dict_in_generate=True)
    assert "scores" not in plain
    assert plain.sequences.shape == (4, 15 if not head.startswith("T5") else 7)


@pytest.mark.parametrize("head", ["LlamaForCausalLM", "GPT2LMHeadModel"])
def test_without_a_prompt_it_starts_from_the_first_token(head: str):
    ours, theirs = both(head)
    assert torch.equal(ours.generate(max_new_tokens=8), theirs.generate(max_new_tokens=8))


def test_bert_as_a_decoder():
    ours, theirs = both("BertLMHeadModel")
    ids, mask = padded(prompts(), "left")
    for options in ({"max_new_tokens": 20}, {"max_new_tokens": 20, "do_sample": True, "temperature": 2.0}):
        torch.manual_seed(3)
        wanted = theirs.generate(ids, attention_mask=mask, **options)
        torch.manual_seed(3)
        assert torch.equal(ours.generate(ids, attention_mask=mask, **options), wanted)
    with pytest.raises(NotBuiltError, match="token_type_ids"):
        ours.generate(ids, attention_mask=mask, token_type_ids=torch.ones_like(ids))


def test_a_source_that_was_encoded_before():
    ours, _ = both("T5ForConditionalGeneration")
    ids, mask = padded(prompts(), "right")
    wanted = ours.generate(ids, attention_mask=mask, max_new_tokens=10)
    with torch.no_grad():
        states = ours.encode(ids, mask).unpack()
    found = ours.generate(attention_mask=mask, encoder_outputs=(states,), max_new_tokens=10)
    assert torch.equal(found, wanted)
    begun = ours.generate(ids, attention_mask=mask, decoder_input_ids=wanted[:, :4], max_new_tokens=7)
    assert torch.equal(begun, wanted)


def test_rows_that_end_early_leave_the_computation():
    """Compaction of rows (greedy) must not change what the others say."""
    ours, _ = both("LlamaForCausalLM")
    ids, mask = padded(prompts(), "right")
    free = ours.generate(ids, attention_mask=mask, max_new_tokens=48)[:, -48:]
    for early in ([0], [1, 2], [3, 0, 1], [2]):
        ends = [int(free[row, 5]) for row in early]
        together = ours.generate(ids, attention_mask=mask, max_new_tokens=48, eos_token_id=ends)[:, 9:]
        for row in range(4):
            alone = ours.generate(ids[row : row + 1, : int(mask[row].sum())], max_new_tokens=48, eos_token_id=ends)[
                0, int(mask[row].sum()) :
            ]
            assert torch.equal(together[row, : len(alone)], alone)
            assert not together[row, len(alone) :].any()


def test_too_long_for_the_positions_is_told_before_anything_runs():
    ours, theirs = both("GPT2LMHeadModel")
    ids = prompts(1, 60)
    ran = []
    hook = ours.base.stack.layers[0].register_forward_hook(lambda *args: ran.append(1))
    try:
        with pytest.raises(LengthError, match=r"60 tokens and up to 50 may follow.*100 positions.*truncation=True"):
            ours.generate(ids, max_new_tokens=50)
        assert not ran
    finally:
        hook.remove()
    assert ours.generate(ids, max_new_tokens=41).shape == (1, 101)  # the last token needs no position
    ids = prompts(1, 90)
    assert torch.equal(ours.generate(ids), their_tokens(theirs, ids))  # nobody asked for 20


def test_padding_does_not_count_against_the_positions():
    ours, _ = both("GPT2LMHeadModel")
    ids = torch.cat([torch.zeros(1, 80, dtype=torch.int64), prompts(1, 10)], dim=1)
    mask = (ids != 0).long()
    wanted = ours.generate(ids[:, 80:], max_new_tokens=50)
    assert torch.equal(ours.generate(ids, attention_mask=mask, max_new_tokens=50)[:, 80:], wanted)


def test_half_precision_decodes_alike_cached_and_uncached():
    import copy

    for head in HEADS:
        model = copy.deepcopy(both(head)[0])
        for dtype in (torch.bfloat16, torch.float16):
            model.to(dtype)
            ids, mask = padded(prompts(), "left")
            tokens = model.generate(ids, attention_mask=mask, max_new_tokens=5)
            assert tokens.dtype == torch.int64

"""Steps from logits to what is drawn from, beside the reference library's."""

import pytest
import torch
import transformers

from enfold.base.errors import ArgumentError
from enfold.generation import penalties, warpers
from enfold.generation.processors import LogitsProcessorList
from tests.generation.toys import HEADS, both, padded, prompts

every_head = pytest.mark.parametrize("head", HEADS)


def given(rows: int = 3, columns: int = 12, vocabulary: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(0, 8, (rows, columns), generator=generator)  # few different tokens: n-grams repeat
    scores = 4 * torch.randn(rows, vocabulary, generator=generator)
    scores[:, 50] = float("-inf")
    return ids, scores


SOURCE = torch.randint(0, 8, (3, 9), generator=torch.Generator().manual_seed(5))
NAMED = [
    ("RepetitionPenaltyLogitsProcessor", (1.7,)),
    ("RepetitionPenaltyLogitsProcessor", (0.6, 7)),
    ("RepetitionPenaltyLogitsProcessor", (1.7, torch.tensor([0, 8, 3]))),
    ("EncoderRepetitionPenaltyLogitsProcessor", (1.5, SOURCE)),
    ("NoRepeatNGramLogitsProcessor", (1,)),
    ("NoRepeatNGramLogitsProcessor", (2,)),
    ("NoRepeatNGramLogitsProcessor", (3,)),
    ("NoRepeatNGramLogitsProcessor", (20,)),
    ("EncoderNoRepeatNGramLogitsProcessor", (2, SOURCE)),
    ("SequenceBiasLogitsProcessor", ({(3,): 2.0, (4, 5): -7.0, (1, 2, 3): 9.0, (9,): float("-inf")},)),
    ("SequenceBiasLogitsProcessor", ([[[3], 2.0], [[6, 5], -7.0]],)),
    ("NoBadWordsLogitsProcessor", ([[3], [4, 5], [7]], 7)),
    ("MinLengthLogitsProcessor", (13, [3, 4])),
    ("MinLengthLogitsProcessor", (12, 3)),
    ("MinNewTokensLengthLogitsProcessor", (10, 3, [3, 4])),
    ("ForcedEOSTokenLogitsProcessor", (13, [3])),
    ("ForcedEOSTokenLogitsProcessor", (14, 3)),
    ("ForcedBOSTokenLogitsProcessor", (3,)),
    ("InfNanRemoveLogitsProcessor", ()),
    ("ExponentialDecayLengthPenalty", ((2, 1.3), [3, 50], 7)),
    ("SuppressTokensLogitsProcessor", ([3, 9],)),
    ("SuppressTokensAtBeginLogitsProcessor", ([3, 9], 12)),
    ("SuppressTokensAtBeginLogitsProcessor", ([3, 9], 11)),
    ("TemperatureLogitsWarper", (0.3,)),
    ("TopKLogitsWarper", (5,)),
    ("TopPLogitsWarper", (0.7,)),
    ("TopHLogitsWarper", (0.4,)),
    ("MinPLogitsWarper", (0.05,)),
    ("TypicalLogitsWarper", (0.6,)),
    ("EpsilonLogitsWarper", (0.02,)),
    ("EtaLogitsWarper", (0.3,)),
    ("LogitNormalization", ()),
]


@pytest.mark.parametrize(("name", "arguments"), NAMED, ids=lambda v: v if isinstance(v, str) else "")
def test_each_step_beside_the_reference(name: str, arguments: tuple):
    ids, scores = given()
    if name == "InfNanRemoveLogitsProcessor":
        scores[0, 3], scores[1, 4] = float("nan"), float("inf")
    ours = getattr(penalties, name, None) or getattr(warpers, name)
    before = scores.clone()
    theirs = getattr(transformers, name)(*arguments)
    for columns in (12, 1):
        found = ours(*arguments)(ids[:, :columns], scores) if columns == 12 else None
        if columns == 1 and name != "RepetitionPenaltyLogitsProcessor":
            found = ours(*arguments)(ids[:, :1], scores)
        if found is not None:
            torch.testing.assert_close(found, theirs(ids[:, :columns], scores.clone()), rtol=1e-5, atol=1e-5)
    assert torch.equal(scores.nan_to_num(), before.nan_to_num())  # what came in is left as it was


@pytest.mark.parametrize("name", ["TopPLogitsWarper", "MinPLogitsWarper", "TypicalLogitsWarper", "EpsilonLogitsWarper"])
def test_the_likeliest_tokens_are_kept(name: str):
    ids, scores = given()
    value = {"MinPLogitsWarper": 0.999, "EpsilonLogitsWarper": 0.999}.get(name, 0.001)
    found = getattr(warpers, name)(value, min_tokens_to_keep=4)(ids, scores)
    assert torch.equal(found, getattr(transformers, name)(value, min_tokens_to_keep=4)(ids, scores.clone()))
    assert (found.isfinite().sum(1) == 4).all()


def test_steps_of_the_reference_and_of_a_user_run_in_a_list():
    ids, scores = given()
    steps = LogitsProcessorList([lambda ids, scores: scores + 1, warpers.TopKLogitsWarper(3)])
    assert (steps(ids, scores).isfinite().sum(1) == 3).all()


OPTIONS = [
    {"no_repeat_ngram_size": 2, "repetition_penalty": 1.2},
    {"encoder_repetition_penalty": 1.6},
    {"encoder_no_repeat_ngram_size": 2},
    {"bad_words_ids": [[5], [6, 7], [20, 21]], "eos_token_id": 5},
    {"sequence_bias": {(30,): 6.0, (30, 31): -4.0}},
    {"sequence_bias": [[[30], 6.0], [[31], 5.0]]},
    {"forced_bos_token_id": 9},
    {"forced_eos_token_id": 3},
    {"exponential_decay_length_penalty": (4, 1.15), "eos_token_id": [8, 9]},
    {"suppress_tokens": [11, 12, 13], "begin_suppress_tokens": [40, 41]},
    {"min_new_tokens": 12, "eos_token_id": [8, 9, 10, 11, 12, 13, 14, 15]},
    {"renormalize_logits": True, "remove_invalid_values": True},
    {"prefix_allowed_tokens_fn": lambda row, ids: [5 + row, 20, 21, 22, 5 + len(ids)]},
    {"do_sample": True, "top_k": 0, "typical_p": 0.7},
    {"do_sample": True, "top_k": 0, "epsilon_cutoff": 0.01},
    {"do_sample": True, "top_k": 0, "eta_cutoff": 0.02},
    {"do_sample": True, "top_h": 0.4, "temperature": 1.3},
    {"do_sample": True, "typical_p": 0.9, "epsilon_cutoff": 0.001, "min_p": 0.01, "top_p": 0.95, "temperature": 1.4},
    {"logits_processor": [lambda ids, scores: scores.index_fill(1, (ids[0, -1:] + 1).clamp(max=96), 20.0)]},
]


@every_head
@pytest.mark.parametrize("options", OPTIONS, ids="-".join)
def test_tokens_and_scores_with_each_option(head: str, options: dict):
    ours, theirs = both(head)
    ids, mask = padded(prompts(), "left")
    if head.startswith("T5"):  # theirs lets the source's padding count among its tokens
        ids, mask = prompts(), torch.ones(4, 9, dtype=torch.int64)
    options = options | {"attention_mask": mask, "max_new_tokens": 14}
    options |= {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
    if "logits_processor" in options:
        wanted = options | {"logits_processor": transformers.LogitsProcessorList(options["logits_processor"])}
    else:
        wanted = options
    torch.manual_seed(11)
    theirs_out = theirs.generate(ids, **wanted)
    torch.manual_seed(11)
    ours_out = ours.generate(ids, **options)
    assert torch.equal(ours_out.sequences, theirs_out.sequences)
    for a, b in zip(ours_out.scores, theirs_out.scores, strict=True):
        kept = a.isfinite() & b.isfinite()  # a token at the very edge of a cut-off may fall on either side
        assert (a.isfinite() ^ b.isfinite()).float().mean() < 0.01
        torch.testing.assert_close(a[kept], b[kept], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("head", ["LlamaForCausalLM", "GPT2LMHeadModel"])
@pytest.mark.parametrize("negative", [False, True])
def test_classifier_free_guidance(head: str, negative: bool):
    ours, theirs = both(head)
    ids, mask = padded(prompts(), "left")
    options = {"attention_mask": mask, "guidance_scale": 1.7, "max_new_tokens": 16}
    if negative:
        options["negative_prompt_ids"] = prompts(seed=3)[:, :4]
    wanted = theirs.generate(ids, **options)
    assert torch.equal(ours.generate(ids, **options), wanted)
    assert torch.equal(ours.generate(ids, **options, use_cache=False), wanted)
    if negative:  # one for all
        options["negative_prompt_ids"] = options["negative_prompt_ids"][:1].expand(4, -1)
        wanted = theirs.generate(ids, **options)
        options["negative_prompt_ids"] = options["negative_prompt_ids"][:1]
        assert torch.equal(ours.generate(ids, **options), wanted)


@every_head
def test_rows_that_leave_take_what_steps_remember_with_them(head: str):
    """Compaction (greedy) beside steps that know rows: each row says what it says alone."""
    ours, _ = both(head)
    ids, mask = padded(prompts(), "right")
    free = ours.generate(ids, attention_mask=mask, max_new_tokens=24)[:, -24:]
    ends = [int(free[0, 2]), int(free[2, 3])]
    options = {
        "max_new_tokens": 24,
        "eos_token_id": ends,
        "repetition_penalty": 1.3,
        "encoder_repetition_penalty": 1.2,
        "encoder_no_repeat_ngram_size": 3,
        "prefix_allowed_tokens_fn": lambda row, ids: [*range(3, 90 + row)],
    }
    if not head.startswith("T5"):
        options["guidance_scale"] = 1.2
    together = ours.generate(ids, attention_mask=mask, **options)
    start = together.shape[1] - 24 if together.shape[1] > 24 else 0
    for row in range(4):
        length = int(mask[row].sum())
        allowed = {"prefix_allowed_tokens_fn": lambda _, ids, row=row: [*range(3, 90 + row)]}
        alone = ours.generate(ids[row : row + 1, :length], **(options | allowed))
        prompt = 1 if head.startswith("T5") else length
        begin = 1 if head.startswith("T5") else 9
        said = alone[0, prompt:]
        assert torch.equal(together[row, begin : begin + len(said)], said), (row, start)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.5}, "temperature=0.5 has no effect without do_sample=True"),
        ({"top_p": 0.5}, "top_p=0.5 has no effect"),
        ({"length_penalty": 2.0}, "length_penalty=2.0 has no effect without num_beams"),
        ({"output_scores": True}, "output_scores=True has no effect without return_dict_in_generate"),
        ({"negative_prompt_ids": torch.ones(1, 2)}, "negative_prompt_ids has no effect"),
        ({"sequence_bias": {}}, "sequence_bias is {}"),
        ({"sequence_bias": {(99,): 1.0}}, r"names tokens \[99\]; the model has 97"),
        ({"bad_words_ids": []}, r"bad_words_ids is \[\]"),
        ({"do_sample": True, "typical_p": 0.0}, "typical_p is 0.0"),
        ({"prefix_allowed_tokens_fn": lambda row, ids: []}, "allows nothing behind prompt 0"),
        ({"exponential_decay_length_penalty": 3}, "exponential_decay_length_penalty is 3"),
        ({"cache_implementation": "sttic"}, "cache_implementation is 'sttic'; known are 'dynamic'"),
        ({"logit_processor": []}, "did you mean 'logits_processor'"),
    ],
    ids=lambda v: "" if isinstance(v, dict) else v[:30],
)
def test_what_is_refused(options: dict, message: str):
    ours, _ = both("LlamaForCausalLM")
    with pytest.raises(ArgumentError, match=message):
        ours.generate(prompts(1), **options)


def test_guidance_of_an_encoder_decoder_is_refused():
    ours, _ = both("T5ForConditionalGeneration")
    with pytest.raises(ArgumentError, match="guidance_scale=2\\.0 is for decoders"):
        ours.generate(prompts(1), guidance_scale=2.0)

"""SynthID's watermark: the same scores, texts and detections as the reference library's."""

import pytest
import torch
import transformers

from enfold.base.errors import ArgumentError
from enfold.generation import (
    SynthIDTextWatermarkDetector,
    SynthIDTextWatermarkingConfig,
    SynthIDTextWatermarkLogitsProcessor,
)
from tests.generation.toys import Bytes, both, padded, prompts

KEYS = [654, 400, 836, 123, 340, 443, 597, 160, 57, 29]
CONFIGS = [
    {"ngram_len": 5, "keys": KEYS},
    {"ngram_len": 2, "keys": KEYS[:3], "context_history_size": 3, "sampling_table_size": 257, "sampling_table_seed": 4},
    {"ngram_len": 4, "keys": KEYS[:6], "skip_first_ngram_calls": True},
    {"ngram_len": 3, "keys": KEYS[:1], "debug_mode": True},
]
every_config = pytest.mark.parametrize("entries", CONFIGS, ids=lambda e: str(e["ngram_len"]))


def makers(entries: dict):
    ours = SynthIDTextWatermarkingConfig(**entries).construct_processor(97, "cpu")
    return ours, transformers.SynthIDTextWatermarkingConfig(**entries).construct_processor(97, "cpu")


@every_config
@pytest.mark.parametrize("half", [False, True])
def test_scores_along_a_text(entries: dict, half: bool):
    ours, theirs = makers(entries)
    torch.manual_seed(0)
    text = torch.randint(0, 3, (2, 40))  # few words: contexts return
    for end in range(6, 40):
        scores = 3 * torch.randn(2, 97)
        scores = scores.masked_fill(scores < 0, float("-inf")) if half else scores
        assert torch.equal(ours(text[:, :end], scores), theirs(text[:, :end], scores))


@every_config
def test_marked_text_and_its_detection(entries: dict):
    model, reference = both("LlamaForCausalLM")
    ids, mask = padded(prompts(2), "left")
    options = {"attention_mask": mask, "max_new_tokens": 30}
    marking = transformers.SynthIDTextWatermarkingConfig(**entries)
    wanted = reference.generate(ids, **options, watermarking_config=marking, do_sample=False)
    assert torch.equal(model.generate(ids, **options, watermarking_config=entries), wanted)
    marking = SynthIDTextWatermarkingConfig.from_dict(SynthIDTextWatermarkingConfig(**entries).to_dict())
    assert torch.equal(model.generate(ids, **options, watermarking_config=marking), wanted)
    lookup = model.generate(ids, **options, watermarking_config=marking, prompt_lookup_num_tokens=3)
    assert torch.equal(lookup, wanted)

    ours, theirs = makers(entries)
    tokenizer = Bytes()
    tokenizer.eos_token_id = int(wanted[0, 25])  # type: ignore[attr-defined]
    found = SynthIDTextWatermarkDetector(lambda *given: given, ours, tokenizer)(wanted)
    told = transformers.SynthIDTextWatermarkDetector(lambda *given: given, theirs, tokenizer)(wanted)
    assert all(map(torch.equal, found, told))
    assert ours.expected_mean_g_value(97) == theirs.expected_mean_g_value(97)


def test_marks_are_seen_in_drawn_text_and_only_there():
    model, _ = both("LlamaForCausalLM")
    marking = SynthIDTextWatermarkingConfig(ngram_len=3, keys=KEYS)
    options = {"do_sample": True, "temperature": 3.0, "top_k": 0, "seed": 1, "max_new_tokens": 60}
    tokenizer = Bytes()
    tokenizer.eos_token_id = -1  # type: ignore[attr-defined]
    mean = SynthIDTextWatermarkDetector(
        lambda g, mask: (g.float().mean(-1) * mask).sum(1) / mask.sum(1),
        marking.construct_processor(97, "cpu"),
        tokenizer,
    )
    plain = mean(model.generate(prompts(4), **options)[:, 9:])
    marked = mean(model.generate(prompts(4), **options, watermarking_config=marking)[:, 9:])
    assert plain.max() < 0.55 < marked.min()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"ngram_len": 1, "keys": [1]}, "ngram_len is 1"),
        ({"ngram_len": 3, "keys": []}, "keys is empty"),
        ({"ngram_len": 3, "keys": [1], "sampling_table_size": 2**25}, "sampling_table_size is 33554432"),
        ({"keys": [1], "colour": 2}, r"unknown entries \['colour'\] and lacks \['ngram_len'\]"),
    ],
    ids=str,
)
def test_what_is_refused(entries: dict, message: str):
    with pytest.raises(ArgumentError, match=message):
        both("LlamaForCausalLM")[0].generate(prompts(1), watermarking_config=entries)
    step = SynthIDTextWatermarkLogitsProcessor(5, [1], 16, 0, 4, "cpu")
    with pytest.raises(ArgumentError, match="have 4 tokens; expected at least ngram_len=5"):
        SynthIDTextWatermarkDetector(None, step, Bytes())(torch.zeros(1, 4, dtype=torch.int64))

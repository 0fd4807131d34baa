"""Watermarks: the same green lists as the reference library's, and detectors that read either one's."""

import asyncio
import threading

import pytest
import torch
import transformers

from enfold.base.errors import ArgumentError
from enfold.generation import AsyncTextIteratorStreamer, WatermarkDetector, WatermarkingConfig
from tests.generation.toys import Bytes, both, padded, prompts

CONFIGS = [
    {"bias": 2.5},
    {"greenlist_ratio": 0.5, "bias": 1.0, "hashing_key": 77},
    {"seeding_scheme": "selfhash", "context_width": 3, "bias": 3.0},
]


@pytest.mark.parametrize("entries", CONFIGS, ids=str)
def test_marked_text(entries: dict):
    ours, theirs = both("LlamaForCausalLM")
    ids, mask = padded(prompts(2), "left")
    options = {"attention_mask": mask, "max_new_tokens": 20}
    wanted = theirs.generate(ids, **options, watermarking_config=transformers.WatermarkingConfig(**entries))
    found = ours.generate(ids, **options, watermarking_config=WatermarkingConfig(**entries))
    assert torch.equal(found, wanted)
    assert torch.equal(ours.generate(ids, **options, watermarking_config=entries), wanted)
    plain = ours.generate(ids, **options)
    for once in (False, True):
        reference = transformers.WatermarkDetector(theirs.config, "cpu", entries | missing(entries), once)
        detector = WatermarkDetector(ours.config, "cpu", entries, once)
        for text in (found[:, 9:], plain[:, 9:]):
            said, told = detector(text, return_dict=True), reference(text, return_dict=True)
            for name in ("num_tokens_scored", "num_green_tokens", "z_score", "p_value", "prediction", "confidence"):
                assert getattr(said, name) == pytest.approx(getattr(told, name))
        assert detector(found[:, 9:]).tolist() == reference(found[:, 9:]).tolist()


def missing(entries: dict) -> dict:
    return {name: value for name, value in WatermarkingConfig().to_dict().items() if name not in entries}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"seeding_scheme": "both"}, "seeding_scheme is 'both'"),
        ({"greenlist_ratio": 1.0}, "greenlist_ratio is 1.0"),
        ({"colour": "green"}, r"unknown entries \['colour'\]"),
    ],
    ids=str,
)
def test_what_is_refused(entries: dict, message: str):
    with pytest.raises(ArgumentError, match=message):
        both("LlamaForCausalLM")[0].generate(prompts(1), watermarking_config=entries)


def test_texts_that_tell_nothing():
    detector = WatermarkDetector(both("LlamaForCausalLM")[0].config, "cpu", WatermarkingConfig())
    with pytest.raises(ArgumentError, match="have 1 tokens; expected more"):
        detector(torch.tensor([[5]]))
    with pytest.raises(ArgumentError, match="some texts begin with token 1"):
        detector(torch.tensor([[1, 5, 6], [5, 6, 7]]))


def test_an_asynchronous_streamer():
    ours, _ = both("LlamaForCausalLM")
    tokenizer, result = Bytes(), []

    async def read() -> str:
        streamer = AsyncTextIteratorStreamer(tokenizer, skip_prompt=True, timeout=20)
        options = {"max_new_tokens": 12, "streamer": streamer, "prompt_lookup_num_tokens": 3}
        thread = threading.Thread(target=lambda: result.append(ours.generate(prompts(1), **options)))
        thread.start()
        text = "".join([piece async for piece in streamer])
        thread.join()
        return text

    assert asyncio.run(read()) == tokenizer.decode(result[0][0, 9:])

    async def wait() -> None:
        async for _ in AsyncTextIteratorStreamer(tokenizer, timeout=0.01):
            pass

    with pytest.raises(TimeoutError):
        asyncio.run(wait())

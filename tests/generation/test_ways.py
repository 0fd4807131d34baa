"""Stopping, streaming, settings, and what is refused."""

import json
import shutil
import threading
import time

import pytest
import torch

from enfold.base.errors import ArgumentError, NotBuiltError
from enfold.generation import GenerationConfig, IncrementalDecoder, TextIteratorStreamer, TextStreamer
from enfold.generation.stopping import StopStrings
from enfold.models.registry import class_by_name
from tests.generation.toys import HEADS, Bytes, both, folder, padded, prompts

LLAMA = "LlamaForCausalLM"


@pytest.fixture
def model():
    return both(LLAMA)[0]


# Stopping


def test_stop_strings_end_each_row_where_they_appear(model):
    ids, tokenizer = prompts(), Bytes()
    free = model.generate(ids, max_new_tokens=30)[:, 9:]
    stops = ["".join(map(chr, free[0, 4:7].tolist())), chr(int(free[1, 10]))]
    found = model.generate(ids, max_new_tokens=30, stop_strings=stops, tokenizer=tokenizer)[:, 9:]
    for row in range(4):
        text = "".join(map(chr, free[row].tolist()))
        ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
        length = min(ends, default=30)
        assert torch.equal(found[row, :length], free[row, :length])
        assert not found[row, length:].any()
    alone = model.generate(ids[:1], max_new_tokens=30, stop_strings=stops[0], tokenizer=tokenizer)
    assert alone.shape[1] <= 9 + 7


def test_stop_strings_need_a_tokenizer_and_a_text(model):
    with pytest.raises(ArgumentError, match=r"stop_strings=.*needs tokenizer="):
        model.generate(prompts(1), stop_strings="x")
    with pytest.raises(ArgumentError, match="empty text"):
        model.generate(prompts(1), stop_strings=["x", ""], tokenizer=Bytes())


def test_a_stop_string_may_span_tokens_and_overlap_itself():
    stop = StopStrings.of(["aba", "é"], Bytes())
    assert stop is not None
    written: list[int] = []
    hits = []
    for token in b"ab aba" + "xé".encode():
        written.append(token)
        hits.append(stop.met(written))
    assert hits == [False] * 5 + [True, False, False, True]
    overlapping = StopStrings.of("aa", Bytes())
    assert overlapping is not None
    assert [overlapping.met(list(b"aaaa"[:n])) for n in (1, 2, 3, 4)] == [False, True, True, True]


def test_stopping_criteria_for_all_and_for_each_row(model):
    ids = prompts()
    free = model.generate(ids, max_new_tokens=20)
    seen = []

    def after_five(tokens, scores):
        seen.append((tokens.shape, scores))
        return tokens.shape[1] >= 9 + 5

    found = model.generate(ids, max_new_tokens=20, stopping_criteria=[after_five])
    assert torch.equal(found, free[:, :14])
    assert [shape[1] for shape, _ in seen] == [10, 11, 12, 13, 14]

    def odd_rows(tokens, scores):
        return torch.tensor([False, True, False, True]) & (tokens.shape[1] >= 12)

    found = model.generate(ids, max_new_tokens=20, stopping_criteria=[odd_rows])
    assert torch.equal(found[::2], free[::2])
    assert torch.equal(found[1::2, :12], free[1::2, :12])
    assert not found[1::2, 12:].any()


def test_max_time(model):
    started = time.monotonic()
    found = model.generate(prompts(1), max_new_tokens=100_000, max_time=0.3)
    assert time.monotonic() - started < 5
    assert 9 < found.shape[1] < 100_000


# Streaming

TEXT = "naïve – 日本語 🙂🙃 end"


def pieces_of(tokens: list[int], tokenizer: Bytes, **options) -> list[str]:
    decoder = IncrementalDecoder(tokenizer, **options)
    pieces = [decoder.add(token) for token in tokens]
    return [*pieces, decoder.end()]


def test_text_comes_in_whole_characters():
    tokenizer = Bytes()
    pieces = pieces_of(tokenizer.encode(TEXT), tokenizer)
    assert "".join(pieces) == TEXT
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(pieces)
    assert [p for p in pieces if p] == list(TEXT)


def test_half_a_character_at_the_end_is_given_out_last():
    tokenizer = Bytes()
    pieces = pieces_of(tokenizer.encode("ab🙂")[:-1], tokenizer)
    assert "".join(pieces[:-1]) == "ab"
    assert pieces[-1].startswith("\N{REPLACEMENT CHARACTER}")


def test_bytes_that_are_no_text_do_not_hold_back_what_follows_for_ever():
    tokenizer = Bytes()
    pieces = pieces_of([0xFF, *b"abc"], tokenizer)
    assert "".join(pieces) == "\N{REPLACEMENT CHARACTER}abc"
    assert pieces[1].endswith("a")


@pytest.mark.parametrize(
    "tokens", [b"word " * 400, [300] * 2000, [*b"a", *[300] * 2000]], ids=["text", "special", "both"]
)
def test_incremental_decoding_is_linear(tokens):
    tokenizer = Bytes()
    pieces = pieces_of(list(tokens), tokenizer)
    assert "".join(pieces) == tokenizer.decode(tokens, skip_special_tokens=True)
    assert tokenizer.decoded < 12 * len(tokens)


def test_special_tokens_shown_or_skipped():
    tokenizer = Bytes()
    tokens = [*b"hi", 300, *b"yo"]
    assert "".join(pieces_of(tokens, tokenizer, skip_special_tokens=False)) == "hi<end>yo"
    assert "".join(pieces_of(tokens, tokenizer)) == "hiyo"


def test_a_streamer_prints_what_is_generated(model, capsys):
    ids, tokenizer = prompts(1), Bytes()
    tokens = model.generate(ids, max_new_tokens=12, streamer=TextStreamer(tokenizer, skip_prompt=True))
    assert capsys.readouterr().out == tokenizer.decode(tokens[0, 9:]) + "\n"
    model.generate(ids, max_new_tokens=12, streamer=TextStreamer(tokenizer))
    assert capsys.readouterr().out == tokenizer.decode(tokens[0]) + "\n"
    with pytest.raises(ArgumentError, match="the batch has 4"):
        model.generate(prompts(4), max_new_tokens=2, streamer=TextStreamer(tokenizer))


def test_an_iterator_streamer_in_a_thread(model):
    ids, tokenizer = prompts(1), Bytes()
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, timeout=20)
    result = []
    thread = threading.Thread(target=lambda: result.append(model.generate(ids, max_new_tokens=12, streamer=streamer)))
    thread.start()
    text = "".join(streamer)
    thread.join()
    assert text == tokenizer.decode(result[0][0, 9:])


@pytest.mark.parametrize("head", HEADS)
def test_stream(head: str):
    model, tokenizer = both(head)[0], Bytes()
    ids = prompts(1)
    tokens = model.generate(ids, max_new_tokens=12)
    start = 1 if head.startswith("T5") else 9
    pieces = model.stream(ids, tokenizer=tokenizer, max_new_tokens=12)
    first = next(pieces)
    assert len(first) == 1
    assert first + "".join(pieces) == tokenizer.decode(tokens[0, start:])
    with pytest.raises(ArgumentError, match="one sequence; there are 4"):
        next(model.stream(prompts(4), tokenizer=tokenizer))
    end = int(tokens[0, start + 3])
    ended = "".join(model.stream(ids, tokenizer=tokenizer, max_new_tokens=12, eos_token_id=end))
    place = tokens[0, start:].tolist().index(end)
    assert ended == tokenizer.decode(tokens[0, start : start + place + 1])


# Settings


def with_files(tmp_path, *, generation: dict | None = None, config: dict | None = None):
    shutil.copytree(folder(LLAMA), tmp_path, dirs_exist_ok=True)
    file = tmp_path / "generation_config.json"
    file.unlink(missing_ok=True)
    if generation is not None:
        file.write_text(json.dumps(generation))
    if config:
        entries = json.loads((tmp_path / "config.json").read_text()) | config
        (tmp_path / "config.json").write_text(json.dumps(entries))
    return class_by_name(LLAMA).from_pretrained(tmp_path)


def test_settings_of_the_repository_and_of_the_call(tmp_path):
    model = with_files(tmp_path, generation={"max_new_tokens": 7, "eos_token_id": [3, 4], "temperature": 0.5})
    settings = model.generation_config
    assert (settings.max_new_tokens, settings.temperature) == (7, 0.5)
    assert settings.ends == {3, 4}
    assert settings.pad_token_id == 0  # from config.json
    assert model.generate(prompts(1)).shape[1] == 16
    assert model.generate(prompts(1), max_new_tokens=2).shape[1] == 11
    given = GenerationConfig(max_new_tokens=5)
    assert model.generate(prompts(1), generation_config=given).shape[1] == 14
    assert model.generate(prompts(1), generation_config=given, max_new_tokens=1).shape[1] == 10
    model.generation_config = GenerationConfig(max_new_tokens=3)
    assert model.generate(prompts(1)).shape[1] == 12


def test_a_call_s_length_rules_over_the_file_s(tmp_path):
    model = with_files(tmp_path, generation={"max_new_tokens": 7})
    assert model.generate(prompts(1), max_length=11).shape[1] == 11
    model = with_files(tmp_path, generation={"max_length": 15})
    assert model.generate(prompts(1)).shape[1] == 15
    assert model.generate(prompts(1), max_new_tokens=9).shape[1] == 18


def test_old_files_keep_their_settings_in_the_configuration(tmp_path):
    model = with_files(tmp_path, config={"max_length": 13, "do_sample": False, "repetition_penalty": 1.2})
    assert model.generation_config.repetition_penalty == 1.2
    assert model.generate(prompts(1)).shape[1] == 13
    model = with_files(tmp_path, config={"max_length": 20})  # what old files say without meaning it
    assert model.generate(prompts(1)).shape[1] == 29


def test_files_that_ask_for_what_is_not_built(tmp_path):
    model = with_files(tmp_path, generation={"dola_layers": "low", "max_new_tokens": 3})
    with pytest.raises(NotBuiltError, match=r"dola_layers='low'.*pass dola_layers=None"):
        model.generate(prompts(1))
    assert model.generate(prompts(1), dola_layers=None).shape[1] == 12
    model = with_files(tmp_path, generation={"num_beams": 4, "max_new_tokens": 3, "early_stopping": True})
    assert torch.equal(model.generate(prompts(1)), model.generate(prompts(1), num_beams=4, early_stopping=True))
    assert model.generate(prompts(1), num_beams=1).shape[1] == 12


def test_settings_saved_with_the_model_are_read_again(tmp_path):
    model = with_files(tmp_path / "a", generation={"max_new_tokens": 7, "of_later_versions": 1})
    model.save_pretrained(tmp_path / "b")
    again = class_by_name(LLAMA).from_pretrained(tmp_path / "b")
    assert again.generation_config == model.generation_config
    assert json.loads((tmp_path / "b" / "generation_config.json").read_text())["of_later_versions"] == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_new_token": 5}, ArgumentError, "did you mean 'max_new_tokens'"),
        ({"wholly_unknown": 5}, ArgumentError, "wholly_unknown"),
        ({"dola_layers": "high"}, NotBuiltError, "dola_layers='high' is not built"),
        ({"force_words_ids": [[3]]}, NotBuiltError, "force_words_ids"),
        ({"token_healing": True}, NotBuiltError, "token_healing=True is not built yet"),
        ({"do_sample": True, "temperature": 0.0}, ArgumentError, "temperature is 0.0.*do_sample=False"),
        ({"do_sample": True, "top_p": 1.5}, ArgumentError, "top_p is 1.5"),
        ({"do_sample": True, "top_k": -1}, ArgumentError, "top_k is -1"),
        ({"min_p": 2.0}, ArgumentError, "min_p is 2.0"),
        ({"repetition_penalty": 0.0}, ArgumentError, "repetition_penalty is 0.0"),
        ({"max_new_tokens": -1}, ArgumentError, "max_new_tokens is -1"),
        ({"max_new_tokens": 2.5}, ArgumentError, "max_new_tokens is 2.5"),
        ({"num_return_sequences": 2}, ArgumentError, "do_sample=True"),
        ({"max_length": 9}, ArgumentError, "the prompt has 9 tokens and max_length=9"),
        ({"generation_config": {"max_new_tokens": 3}}, ArgumentError, "generation_config is a dict"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_what_is_refused(model, options: dict, error: type, message: str):
    with pytest.raises(error, match=message):
        model.generate(prompts(1), **options)


def test_options_of_the_reference_that_ask_for_nothing_are_fine(model):
    wanted = model.generate(prompts(1), max_new_tokens=4)
    options = {
        "num_beams": 1,
        "no_repeat_ngram_size": 0,
        "bad_words_ids": None,
        "typical_p": 1.0,
        "guidance_scale": None,
    }
    assert torch.equal(model.generate(prompts(1), max_new_tokens=4, **options, temperature=None), wanted)


@pytest.mark.parametrize(
    ("ids", "options", "message"),
    [
        (torch.zeros(1, 0, dtype=torch.int64), {}, "length above 0"),
        (torch.tensor([5, 6]), {}, r"expected \[batch, length\]"),
        (torch.tensor([[5, 97]]), {}, "97.*tokenizer doesn't fit"),
        (torch.tensor([[5, 6]]), {"attention_mask": torch.tensor([[0, 0]])}, "all padding"),
        (torch.tensor([[5, 6]]), {"attention_mask": torch.ones(1, 3)}, r"attention_mask has shape \(1, 3\)"),
    ],
)
def test_prompts_that_cannot_be_continued(model, ids, options, message):
    with pytest.raises(ArgumentError, match=message):
        model.generate(ids, **options)


def test_generating_leaves_the_model_as_it_was(model):
    ids, mask = padded(prompts(), "left")
    with torch.no_grad():
        before = model(ids, mask).logits
    model.generate(ids, attention_mask=mask, max_new_tokens=5)
    with torch.no_grad():
        assert torch.equal(model(ids, mask).logits, before)
    assert not model.training

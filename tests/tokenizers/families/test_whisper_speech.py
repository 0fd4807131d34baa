"""Whisper's pieces of a recording put together, beside transformers'."""

import random

import numpy as np
import pytest
import transformers

import enfold

LANGUAGES = ["<|en|>", "<|zh|>", "<|ja|>", "<|th|>"]
SPECIAL = ["<|startoftranscript|>", *LANGUAGES, "<|translate|>", "<|transcribe|>", "<|startofprev|>"]
SPECIAL.append("<|notimestamps|>")  # the timestamps follow


@pytest.fixture(scope="module")
def pair():
    alphabet = enfold.tokenizers.pre_tokenizers.ByteLevel.alphabet()
    words = ["Ġthe", "Ġcat", "Ġsat", "ing", 'Ġ"', ".", "Ġ(", "Ġon", "s", ",", "Ġ-", "!", "èĬ", "Ġ¿"]
    vocab = {token: index for index, token in enumerate(dict.fromkeys([*sorted(alphabet), *words]))}
    vocab["<|endoftext|>"] = len(vocab)
    made = []
    for package in (enfold, transformers):
        tokenizer = package.WhisperTokenizer(vocab=dict(vocab), merges=[])
        tokenizer.add_special_tokens(
            {"additional_special_tokens" if package is enfold else "extra_special_tokens": SPECIAL}
        )
        made.append(tokenizer)
    assert made[0].convert_tokens_to_ids(SPECIAL) == made[1].convert_tokens_to_ids(SPECIAL)
    return made


def spoken(rng, tokenizer, *, timed):
    """A piece as the model might write it: mostly orderly, now and then not."""
    special = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    first_time = special["<|notimestamps|>"] + 1
    text = [*range(first_time - len(SPECIAL) - 15, first_time - len(SPECIAL) - 1), *rng.sample(range(256), 6)]
    tokens = [rng.randrange(200)] if rng.random() < 0.1 else []
    if rng.random() < 0.2:
        tokens = [special["<|startofprev|>"], *rng.choices(text, k=3)]
    if rng.random() < 0.8:
        tokens += [special["<|startoftranscript|>"], special[rng.choice(LANGUAGES)], special["<|transcribe|>"]]
    now = rng.randrange(0, 60)
    for _ in range(rng.randrange(5)):
        if timed and rng.random() < 0.95:
            tokens.append(first_time + now)
        tokens += rng.choices(text, k=rng.randrange(1, 7))
        now = min(1500, now + rng.randrange(0, 400)) if rng.random() < 0.9 else rng.randrange(1500)
        if timed and rng.random() < 0.9:
            tokens.append(first_time + now)
        if rng.random() < 0.1:
            tokens.append(special[rng.choice(LANGUAGES)])
    return tokens


def recording(rng, tokenizer, *, timed, words):
    """Pieces, each of which often begins with the end of the one before."""
    outputs, last = [], []
    for _ in range(rng.randrange(1, 5)):
        tokens = spoken(rng, tokenizer, timed=timed)
        if last and rng.random() < 0.5:
            tokens = [*last[-rng.randrange(1, 9) :], *tokens]
        last = tokens
        output = {"tokens": np.array([tokens], dtype=np.int64)}
        if words:
            times = np.cumsum([rng.random() for _ in tokens]).round(2)
            output["token_timestamps"] = np.array([times], dtype=np.float64)
        if rng.random() < 0.7:
            output["stride"] = (30.0, rng.choice([0.0, 5.0]), rng.choice([0.0, 5.0]))
        outputs.append(output)
    return outputs


@pytest.mark.parametrize("timestamps", [None, True, "word"])
def test_recordings(pair, timestamps):
    rng = random.Random(7)
    ours, theirs = pair
    pieces = phrases = 0
    for round_ in range(150):
        outputs = recording(rng, ours, timed=rng.random() < 0.8, words=timestamps == "word")
        options = {"return_timestamps": timestamps, "return_language": rng.random() < 0.5, "time_precision": 0.02}
        try:
            expected = theirs._decode_asr(outputs, **options)
        except (IndexError, KeyError):  # words of nothing
            continue
        assert ours._decode_asr(outputs, **options) == expected, (round_, outputs, options)
        pieces += len(outputs)
        phrases += len(expected[1].get("chunks", ()))
    assert pieces > 200
    assert phrases > (100 if timestamps else 20)


def test_an_overlap_is_said_once(pair):
    ours, _ = pair
    cat, sat, on, the = ours.convert_tokens_to_ids(["Ġcat", "Ġsat", "Ġon", "Ġthe"])
    pieces = [[the, cat, sat, on], [cat, sat, on, the, cat]]
    outputs = [
        {"tokens": [piece], "stride": (10.0, 0.0 if place == 0 else 4.0, 0.0 if place else 4.0)}
        for place, piece in enumerate(pieces)
    ]
    assert ours._decode_asr(outputs) == (" the cat sat on the cat", {})

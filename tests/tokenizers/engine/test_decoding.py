"""Decoding by table beside the reference, for every decoder; ids from lists and arrays."""

import json
import random

import numpy as np
import pytest

import tokenizers
from enfold.tokenizers import Tokenizer
from tests.tokenizers.engine.builders import BUILDERS, build
from tests.tokenizers.engine.compare import unless_panicking
from tests.tokenizers.engine.components import random_decoder
from tokenizers import decoders, models

BYTES = [f"<0x{byte:02X}>" for byte in (0xE6, 0x97, 0xA5, 0x41, 0xFF, 0x20)]
TOKENS = ["▁the", "▁", "cat", "##s", "s</w>", " ", "Ġa", "æĹ¥", "ðŁĻ", "Ĥ", "|", "<pad>", "", "é", "do not", " ."]
TOKENS += ["n't", *BYTES]
CHAINS = [
    None,
    decoders.ByteLevel(),
    decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    ),
    decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()]),
    decoders.Sequence([decoders.Metaspace(prepend_scheme="first"), decoders.ByteFallback(), decoders.Fuse()]),
    decoders.Sequence([decoders.WordPiece(), decoders.ByteLevel()]),
    decoders.Sequence([decoders.BPEDecoder(), decoders.Fuse(), decoders.Strip("s", 0, 1), decoders.Replace("a", "bb")]),
    decoders.Sequence([decoders.Strip("▁", 1, 1), decoders.ByteLevel(), decoders.Metaspace()]),
    decoders.CTC(),
]


def pair_of(decoder):
    """The same vocabulary of tokens under a decoder, here and in the reference."""
    theirs = tokenizers.Tokenizer(models.WordLevel({token: index for index, token in enumerate(TOKENS)}, "cat"))
    if decoder is not None:
        theirs.decoder = decoder
    theirs.add_tokens(["new one"])
    theirs.add_special_tokens(["[X]", "<0x0A>"])
    return Tokenizer.from_str(theirs.to_str()), theirs


def compare(ours, theirs, rng, rounds=60):
    size = theirs.get_vocab_size() + 3  # some ids that there are not
    for _ in range(rounds):
        ids = [rng.randrange(size) for _ in range(rng.choice([0, 1, 2, 3, 8, 40]))]
        for skip in (True, False):
            expected = unless_panicking(lambda ids=ids, skip=skip: theirs.decode(ids, skip_special_tokens=skip))
            if expected is not None:
                assert ours.decode(ids, skip_special_tokens=skip) == expected, (ids, skip)


@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_chains(chain):
    compare(*pair_of(chain), random.Random(3), rounds=150)


def test_random_decoders():
    rng = random.Random(11)
    for _ in range(60):
        compare(*pair_of(random_decoder(rng)), rng, rounds=12)


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_whole_tokenizers(name):
    spec = build(name)
    ours, theirs = Tokenizer.from_str(spec), tokenizers.Tokenizer.from_str(spec)
    compare(ours, theirs, random.Random(5), rounds=120)


def test_ids_in_many_forms():
    ours, theirs = pair_of(CHAINS[2])
    rows = [[0, 2, 17, 18, 19], [1, 4, 4, 20, 0]]
    expected = theirs.decode_batch(rows)
    for kind in (np.int64, np.int32, np.uint8):
        array = np.array(rows, dtype=kind)
        assert ours.decode_batch(array) == expected
        assert ours.decode_batch(array[:, ::-1]) == theirs.decode_batch([row[::-1] for row in rows])
        assert ours.decode(array[1]) == expected[1]
        assert ours.decode_batch(list(array)) == expected
    assert ours.decode_batch(tuple(map(tuple, rows))) == expected
    assert ours.decode(iter(rows[0])) == ours.decode([np.int64(index) for index in rows[0]]) == expected[0]
    assert ours.decode(np.zeros(0, dtype=np.int64)) == ours.decode_batch([[]])[0] == ""
    for bad, error in (([-1], ValueError), ([2**32], ValueError), ([2**80], ValueError), ("ab", TypeError)):
        with pytest.raises(error):
            ours.decode(bad)
    for bad in ([1.5], ["a"], [None], 3, np.zeros((2, 2))):
        with pytest.raises(TypeError):
            ours.decode(bad)
    with pytest.raises(ValueError, match="between 0 and"):
        ours.decode_batch(np.array([[-5]]))


def test_tokens_added_later_are_decoded():
    ours, theirs = pair_of(CHAINS[2])
    many = list(range(len(TOKENS))) * 5
    for number in range(3):
        for one in (ours, theirs):
            one.decode(many)
            one.add_tokens([f"later {number}"])
        last = theirs.get_vocab_size() - 1
        assert ours.decode([0, last, 2]) == theirs.decode([0, last, 2])
    ours.decoder = None
    assert ours.decode([2, 0]) == "cat ▁the"


def test_ids_far_apart():
    spec = json.loads(pair_of(None)[1].to_str())
    spec["model"]["vocab"]["far"] = 3_000_000
    ours = Tokenizer.from_str(json.dumps(spec))
    ours.decode([2] * 400_000)
    assert ours.decode([2, 3_000_000, 2_999_999, 1]) == "cat far ▁"

"""A small run of the nightly fuzzer (tools/fuzz_tokenizers.py)."""

import pytest
from tools.fuzz_tokenizers import fuzz, shrunk


@pytest.mark.parametrize("seed", ["first", "second"])
def test_no_difference(seed):
    assert fuzz(4000, seed) >= 4000


def test_a_difference_is_shown_by_a_short_text():
    assert shrunk("the quick brown fox", lambda text: "q" in text and "x" in text) == "qx"

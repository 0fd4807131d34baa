"""NormalizedString and PreTokenizedString, method by method, against the reference library."""

import pytest

from enfold.base.errors import TokenizerError
from enfold.tokenizers import NormalizedString, PreTokenizedString, Regex, Token
from tests.tokenizers.api.both import fields, same
from tests.tokenizers.engine.corpus import NASTY, fuzz

TEXTS = ["", "Ab Cdé f", "  ab ", "ßﬁaǆİ x", "Straße 日本 é", *NASTY[:20], *fuzz(40, seed=5)]
EDITS = {
    "nfc": lambda k, s: s.nfc(),
    "nfd": lambda k, s: s.nfd(),
    "nfkc": lambda k, s: s.nfkc(),
    "nfkd": lambda k, s: s.nfkd(),
    "lowercase": lambda k, s: s.lowercase(),
    "uppercase": lambda k, s: s.uppercase(),
    "prepend": lambda k, s: s.prepend("zy"),
    "append": lambda k, s: s.append("éx"),
    "lstrip": lambda k, s: s.lstrip(),
    "rstrip": lambda k, s: s.rstrip(),
    "strip": lambda k, s: s.strip(),
    "clear": lambda k, s: s.clear(),
    "clear, append": lambda k, s: (s.clear(), s.append("xy")),
    "nfd, filter": lambda k, s: (s.nfd(), s.filter(lambda c: c < "\u0300")),
    "map": lambda k, s: s.map(lambda c: "日" if c == "b" else c),
    "replace": lambda k, s: s.replace("b", "<->"),
    "replace nothing": lambda k, s: s.replace("", "-"),
    "replace regex": lambda k, s: s.replace(k.Regex("[a-c]+| "), ""),
}


def pieces(text) -> list:
    """What the text and each of its characters say."""
    parts = [text[i] for i in range(len(text.normalized))]
    return [text.normalized, text.original, str(text), repr(text), [(p.original, p.normalized) for p in parts]]


@pytest.mark.parametrize("name", EDITS)
def test_edits(name):
    def script(k):
        out = []
        for source in TEXTS:
            text = k.NormalizedString(source)
            EDITS[name](k, text)
            out.append(pieces(text))
        return out

    same(script)


def test_every_upper_case():
    def script(k):
        text = k.NormalizedString("".join(chr(c) for c in range(0x20000) if not 0xD800 <= c < 0xE000))
        text.uppercase()
        return text.normalized

    same(script)


@pytest.mark.parametrize("behavior", ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"])
def test_split(behavior):
    def script(k):
        out = []
        for source in TEXTS:
            for pattern in (" ", "b", k.Regex(r"[a-z]+"), k.Regex(r"\s")):
                text = k.NormalizedString(source)
                text.lowercase()
                out.append([(p.original, p.normalized) for p in text.split(pattern, behavior)])
        return out

    same(script)


def test_slices():
    ranges = [0, 3, 20, (0, 2), (1, 4), (3, 30), (0, 0), slice(1, 3), slice(None, 3), slice(2, None), slice(0, 4, 2)]

    def script(k):
        text = k.NormalizedString("abcdef")
        text.prepend("zz")
        text.append("YY")
        cut = [(text[r], text.slice(r)) for r in ranges]
        inner = text[2:6]
        inner.uppercase()
        return [[p and (p.original, p.normalized) for p in pair] for pair in cut], pieces(inner), pieces(text)

    same(script)
    text = NormalizedString("aé日")
    assert [text[-1].normalized, text[-3].normalized, text[-2:].normalized] == ["日", "a", "é日"]
    assert text[7] is None
    with pytest.raises(ValueError, match="before the start"):
        text[-4]
    with pytest.raises(TypeError, match="a range should be"):
        text["a"]


def halves(index, piece) -> list:
    size = len(piece.normalized)
    return [piece] if index % 3 or size < 2 else [piece[0:1], piece[1:size]]


def at(text: str, character: int) -> int:
    return len(text[:character].encode())


def test_pre_tokenized():
    def script(k):
        out = []
        for source in TEXTS:
            text = k.PreTokenizedString(source)
            text.normalize(lambda piece: piece.nfd())
            text.split(lambda i, piece: piece.split(" ", "isolated"))
            text.split(halves)
            text.tokenize(lambda s: [k.Token(i, c, (at(s, i), at(s, i + 1))) for i, c in enumerate(s)])
            for referential in ("original", "normalized"):
                for unit in ("char", "byte"):
                    splits = text.get_splits(referential, unit)
                    out.append([(s, o, [t.as_tuple() for t in tokens]) for s, o, tokens in splits])
            if source:
                out += [fields(text.to_encoding()), fields(text.to_encoding(3, 7))]
        return out

    same(script)


def test_pre_tokenizers_cut_what_is_not_done():
    def script(k):
        text = k.PreTokenizedString("a b1 c")
        k.pre_tokenizers.Whitespace().pre_tokenize(text)
        before = text.get_splits()
        k.pre_tokenizers.Digits().pre_tokenize(text)
        normalized = k.NormalizedString("HÉ")
        k.normalizers.Sequence([k.normalizers.NFD(), k.normalizers.StripAccents()]).normalize(normalized)
        return before, text.get_splits(), pieces(normalized)

    same(script)


def test_what_functions_may_not_do():
    text = PreTokenizedString("ab cd")
    with pytest.raises(ZeroDivisionError):
        text.split(lambda i, piece: 1 / 0)
    with pytest.raises(TypeError, match="returns a list of NormalizedString"):
        text.split(lambda i, piece: ["ab"])
    with pytest.raises(TypeError, match="should be Token"):
        text.tokenize(lambda s: [1])
    assert text.get_splits() == [("ab cd", (0, 5), None)]
    with pytest.raises(TokenizerError, match="no tokens yet"):
        text.to_encoding()
    text.split(lambda i, piece: piece)
    assert text.get_splits() == [("ab cd", (0, 5), None)]
    normalized = NormalizedString("abc")
    normalized.for_each(lambda c: normalized.clear())
    assert normalized.normalized == ""
    with pytest.raises(ValueError, match="one character"):
        NormalizedString("abc").map(lambda c: "xy")
    with pytest.raises(TypeError, match="returns a bool"):
        NormalizedString("abc").filter(lambda c: 3)
    with pytest.raises(TokenizerError, match="malformed"):
        Regex("(")
    with pytest.raises(OverflowError):
        Token(-1, "a", (0, 1))


def test_a_lent_text_is_taken_back():
    kept = []
    text = PreTokenizedString("ab")
    text.normalize(kept.append)
    with pytest.raises(TokenizerError, match="that call is over"):
        _ = kept[0].normalized

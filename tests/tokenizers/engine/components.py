"""Every component of the format, and random pipelines of them, as the reference library builds them."""

import random

from tests.tokenizers.engine.builders import CL100K, CLIP, O200K
from tokenizers import Regex, decoders, normalizers, pre_tokenizers

NORMALIZERS = {
    "nfc": normalizers.NFC(),
    "nfd": normalizers.NFD(),
    "nfkc": normalizers.NFKC(),
    "nfkd": normalizers.NFKD(),
    "nmt": normalizers.Nmt(),
    "lowercase": normalizers.Lowercase(),
    "strip": normalizers.Strip(),
    "lstrip": normalizers.Strip(left=True, right=False),
    "rstrip": normalizers.Strip(left=False, right=True),
    "strip-nothing": normalizers.Strip(left=False, right=False),
    "strip_accents": normalizers.StripAccents(),
    "nfd+strip_accents": normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]),
    "bert": normalizers.BertNormalizer(),
    "bert-cased": normalizers.BertNormalizer(lowercase=False),
    "bert-accents": normalizers.BertNormalizer(lowercase=True, strip_accents=False),
    "bert-clean": normalizers.BertNormalizer(handle_chinese_chars=False, strip_accents=False, lowercase=False),
    "bert-chinese": normalizers.BertNormalizer(clean_text=False, strip_accents=True, lowercase=False),
    "byte_level": normalizers.ByteLevel(),
    "prepend": normalizers.Prepend("▁"),
    "prepend-long": normalizers.Prepend("»é "),
    "prepend-nothing": normalizers.Prepend(""),
    "replace": normalizers.Replace(" ", "▁▁"),
    "replace-away": normalizers.Replace("e", ""),
    "replace-longer": normalizers.Replace("the", "日本語 text"),
    "replace-regex": normalizers.Replace(Regex(r"\s+"), " "),
    "replace-regex-away": normalizers.Replace(Regex(r"\p{M}+|[^\p{Latin}\s]"), ""),
    "replace-empty-match": normalizers.Replace(Regex(r"x*"), "-"),
    "replace-empty-string": normalizers.Replace("", "é"),
    "replace-place": normalizers.Replace(Regex(r"(?<=\d)(?=\p{L})"), "_"),
    "nothing": normalizers.Sequence([]),
}
# A transform after an insertion at the very start meets a panic of the reference's.
INSERTING = {"replace-empty-match", "replace-empty-string", "replace-place"}

BEHAVIORS = ("isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous")

PRE_TOKENIZERS = {
    "bert": pre_tokenizers.BertPreTokenizer(),
    "whitespace": pre_tokenizers.Whitespace(),
    "whitespace_split": pre_tokenizers.WhitespaceSplit(),
    "unicode_scripts": pre_tokenizers.UnicodeScripts(),
    "digits": pre_tokenizers.Digits(),
    "digits-each": pre_tokenizers.Digits(individual_digits=True),
    "fixed_length": pre_tokenizers.FixedLength(length=3),
    "fixed_length-one": pre_tokenizers.FixedLength(length=1),
    "char_delimiter": pre_tokenizers.CharDelimiterSplit("e"),
    "char_delimiter-wide": pre_tokenizers.CharDelimiterSplit("中"),
    "metaspace": pre_tokenizers.Metaspace(),
    "metaspace-first": pre_tokenizers.Metaspace(prepend_scheme="first"),
    "metaspace-never": pre_tokenizers.Metaspace(prepend_scheme="never", replacement="_"),
    "metaspace-whole": pre_tokenizers.Metaspace(split=False),
    "metaspace-first-whole": pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
    "metaspace-never-whole": pre_tokenizers.Metaspace(prepend_scheme="never", split=False),
    "byte_level": pre_tokenizers.ByteLevel(),
    "byte_level-unprefixed": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "byte_level-plain": pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    "byte_level-whole": pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
    "split-empty": pre_tokenizers.Split("", "isolated"),
    "split-clip": pre_tokenizers.Split(Regex(CLIP), "removed", invert=True),
    "split-cl100k": pre_tokenizers.Split(Regex(CL100K), "removed", invert=True),
    "split-o200k": pre_tokenizers.Split(Regex(O200K), "isolated"),
    "nothing": pre_tokenizers.Sequence([]),
}
PRE_TOKENIZERS |= {f"punctuation-{b}": pre_tokenizers.Punctuation(b) for b in BEHAVIORS}
PRE_TOKENIZERS |= {
    f"split-{kind}-{b}{'-inverted' * invert}": pre_tokenizers.Split(pattern, b, invert)
    for kind, pattern in (("string", "e"), ("spaces", Regex(r"\s+")), ("repeated", Regex(r"(\w)\1")))
    for b in BEHAVIORS
    for invert in (False, True)
}

DECODERS = {
    "byte_level": decoders.ByteLevel(),
    "wordpiece": decoders.WordPiece(),
    "wordpiece-plain": decoders.WordPiece(prefix="@@", cleanup=False),
    "wordpiece-unprefixed": decoders.WordPiece(prefix="", cleanup=True),
    "metaspace": decoders.Metaspace(),
    "metaspace-first": decoders.Metaspace(prepend_scheme="first"),
    "metaspace-never": decoders.Metaspace(prepend_scheme="never"),
    "bpe": decoders.BPEDecoder(),
    "bpe-bare": decoders.BPEDecoder(suffix=""),
    "ctc": decoders.CTC(),
    "ctc-plain": decoders.CTC(pad_token="[UNK]", word_delimiter_token="▁", cleanup=False),
    "ctc-bare": decoders.CTC(pad_token="", word_delimiter_token=""),
    "fuse": decoders.Fuse(),
    "strip": decoders.Sequence([decoders.Fuse(), decoders.Strip("▁", 1, 0)]),
    "strip-both": decoders.Strip("▁", 2, 1),
    "replace": decoders.Replace("▁", " "),
    "replace-regex": decoders.Replace(Regex(r"[0-9]+"), "#"),
    "replace-empty": decoders.Replace("", "-"),
    "byte_fallback": decoders.ByteFallback(),
    "byte_fallback+fuse": decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()]),
    "llama": decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    ),
    "nothing": decoders.Sequence([]),
}


def random_normalizer(rng: random.Random):
    """Up to three normalizers, one after the other; those that insert come last."""
    names = rng.sample(sorted(set(NORMALIZERS) - INSERTING), rng.randrange(4))
    if rng.random() < 0.15:
        names.append(rng.choice(sorted(INSERTING)))
    return normalizers.Sequence([NORMALIZERS[name] for name in names])


def random_pre_tokenizer(rng: random.Random):
    """Up to three pre-tokenizers, one after the other."""
    names = rng.sample(sorted(PRE_TOKENIZERS), rng.randrange(4))
    return pre_tokenizers.Sequence([PRE_TOKENIZERS[name] for name in names])


def random_decoder(rng: random.Random):
    """Up to three decoders, one after the other."""
    names = rng.sample(sorted(DECODERS), rng.randrange(4))
    return decoders.Sequence([DECODERS[name] for name in names])

"""Tokenizers for the differential tests, built with the reference library and handed over as tokenizer.json."""

import functools
import json
import pydoc_data.topics
import re

from tests.tokenizers.engine.corpus import PROSE
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = CL100K.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = O200K.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace(r"\p{N}{1,3}", r"\p{N}")
QWEN35 = QWEN2.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]")
DEEPSEEK = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"""
    " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
)
BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"
CLIP = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@functools.cache
def training_text() -> list[str]:
    topics = "\n".join(pydoc_data.topics.topics[key] for key in sorted(pydoc_data.topics.topics)[:30])
    return re.findall(r".{1,200}", topics, re.S) + PROSE * 5


def byte_level(pre_tokenizer, normalizer=None, vocab_size: int = 2000, **model) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(training_text(), trainer)
    return tokenizer


def split_then_bytes(*patterns: str):
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    return pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def bert(lowercase: bool = True) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        training_text(), trainers.WordPieceTrainer(vocab_size=1500, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def gpt2() -> Tokenizer:
    tokenizer = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", normalized=True)])
    return tokenizer


def roberta() -> Tokenizer:
    tokenizer = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True))
    tokenizer.add_special_tokens(["<s>", "</s>", AddedToken("<mask>", lstrip=True)])
    ids = [(t, tokenizer.token_to_id(t)) for t in ("</s>", "<s>")]
    tokenizer.post_processor = processors.RobertaProcessing(*ids, trim_offsets=True, add_prefix_space=True)
    return tokenizer


def llama3() -> Tokenizer:
    tokenizer = byte_level(split_then_bytes(CL100K), ignore_merges=True)
    # Words that no merge reaches, which ignore_merges finds all the same.
    spec = tokenizer.to_str()
    vocab = tokenizer.get_vocab()
    size = len(vocab)
    extra = [w for w in ("Ġquickbrown", "sooooo", "ĠжÐµ", "Ġä»ĬæĹ¥ãģ¯", "\u0120xyzzy") if w not in vocab]
    spec = spec.replace('"vocab":{', '"vocab":{' + "".join(f'"{w}":{size + i},' for i, w in enumerate(extra)), 1)
    tokenizer = Tokenizer.from_str(spec)
    tokenizer.add_special_tokens(["<|begin_of_text|>", "<|eot_id|>"])
    begin = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(
                single="<|begin_of_text|> $A",
                pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
                special_tokens=[("<|begin_of_text|>", begin)],
            ),
        ]
    )
    return tokenizer


def qwen2() -> Tokenizer:
    tokenizer = byte_level(split_then_bytes(QWEN2), normalizers.NFC())
    tokenizer.add_tokens([AddedToken("<x>", normalized=True, single_word=True)])
    tokenizer.add_special_tokens(["<|im_start|>"])
    return tokenizer


def gapped(unk_token: str | None = None) -> Tokenizer:
    """Byte-level without tokens for some bytes, as vocabularies are whose trainer never saw them."""
    spec = json.loads(gpt2().to_str())
    model = spec["model"]
    gone = {"ð", "Ŀ", "ĉ", "Q", "ï"}
    model["merges"] = [m for m in model["merges"] if not gone & {*"".join(m)}]
    kept = [t for t in model["vocab"] if not gone & {*t} and t != "<|endoftext|>"]
    if unk_token:
        kept.append(unk_token)
    model["vocab"] = {token: i for i, token in enumerate(kept)}
    model["unk_token"] = unk_token
    spec["added_tokens"] = []
    return Tokenizer.from_str(json.dumps(spec))


def smollm() -> Tokenizer:
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer = byte_level(pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]))
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def o200k() -> Tokenizer:
    return byte_level(split_then_bytes(O200K), vocab_size=1000)


def tekken() -> Tokenizer:
    return byte_level(split_then_bytes(TEKKEN), vocab_size=1000, ignore_merges=True)


def deepseek() -> Tokenizer:
    return byte_level(split_then_bytes(r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", DEEPSEEK), vocab_size=1000)


def starcoder_with_punctuation() -> Tokenizer:
    steps = [
        pre_tokenizers.Punctuation("contiguous"),
        pre_tokenizers.Digits(individual_digits=False),
        pre_tokenizers.WhitespaceSplit(),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ]
    return byte_level(pre_tokenizers.Sequence(steps), vocab_size=1000)


def clip() -> Tokenizer:
    collapse = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), collapse, normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(training_text(), trainer)
    return tokenizer


def llama2(pre_tokenizer=None, fuse_unk: bool = True) -> Tokenizer:
    """Sentencepiece-style BPE: ▁ for spaces by the normaliser, bytes for what the vocabulary lacks."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.train_from_iterator(training_text(), trainers.BpeTrainer(vocab_size=1500, show_progress=False))
    spec = trained.to_str()
    vocab = trained.get_vocab()
    names = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    extra = "".join(f'"{name}":{len(vocab) + i},' for i, name in enumerate(names))
    spec = spec.replace('"vocab":{', '"vocab":{' + extra, 1).replace('"byte_fallback":false', '"byte_fallback":true')
    spec = spec.replace('"unk_token":null', '"unk_token":"<unk>"')
    spec = spec.replace('"fuse_unk":false', f'"fuse_unk":{"true" if fuse_unk else "false"}')
    tokenizer = Tokenizer.from_str(spec)
    if pre_tokenizer:
        tokenizer.normalizer = None  # type: ignore[assignment]
        tokenizer.pre_tokenizer = pre_tokenizer
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken("<s>", normalized=False), AddedToken("</s>", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return tokenizer


def unknowns(fuse_unk: bool, byte_fallback: bool) -> Tokenizer:
    """A small alphabet, prefixes on later symbols, and only some of the bytes to fall back on."""
    letters = "abcdefghijklmnopqrstuvwxyz "
    tokens = [
        "<unk>",
        *letters,
        *("@" + c for c in letters),
        "th",
        "@he",
        "in",
        "@ng",
        *(f"<0x{b:02X}>" for b in range(200)),
    ]
    vocab = {t: i for i, t in enumerate(dict.fromkeys(tokens))}
    merges = [("t", "@h"), ("@h", "@e"), ("i", "@n"), ("@n", "@g")]
    return Tokenizer(
        models.BPE(
            vocab | {"@th": len(vocab)},
            [*merges, ("@t", "@h")],
            unk_token="<unk>",
            continuing_subword_prefix="@",
            fuse_unk=fuse_unk,
            byte_fallback=byte_fallback,
        )
    )


BUILDERS = {
    "bert": bert,
    "bert-cased": lambda: bert(lowercase=False),
    "gpt2": gpt2,
    "roberta": roberta,
    "llama3": llama3,
    "qwen2": qwen2,
    "smollm": smollm,
    "gapped": gapped,
    "gapped-unknown": lambda: gapped("<unk>"),
    "o200k": o200k,
    "tekken": tekken,
    "qwen35": lambda: byte_level(split_then_bytes(QWEN35), normalizers.NFC(), vocab_size=1000),
    "deepseek": deepseek,
    "bloom": lambda: byte_level(split_then_bytes(BLOOM), vocab_size=1000),
    "punctuation": starcoder_with_punctuation,
    "clip": clip,
    "llama2": llama2,
    "llama2-metaspace": lambda: llama2(pre_tokenizers.Metaspace(prepend_scheme="first", split=False), fuse_unk=False),
    "unknown": lambda: unknowns(False, False),
    "unknown-fused-bytes": lambda: unknowns(True, True),
}
PLANNED = {"bert", "bert-cased", "gpt2", "roberta", "llama3", "qwen2", "smollm", "o200k"} | {
    "llama2",
    "llama2-metaspace",
    "tekken",
    "qwen35",
    "deepseek",
    "bloom",
    "punctuation",
    "gapped",
    "gapped-unknown",
}


@functools.cache
def build(name: str) -> str:
    """The tokenizer.json of one of the configurations."""
    return BUILDERS[name]().to_str()

"""The regular expressions that byte-level vocabularies cut text with before BPE, and the names that go for them."""

from collections.abc import Sequence
from typing import Any

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_BREAKS = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def _words(letters: str, numbers: str, marks: str = r"| ?[^\s\p{L}\p{N}]+[\r\n]*", breaks: str = _BREAKS) -> str:
    return rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?{letters}+|{numbers}{marks}{breaks}"


def _cased(upper: str, lower: str, suffix: str, numbers: str, marks: str) -> str:
    lead = r"[^\r\n\p{L}\p{N}]?"
    words = rf"{lead}{upper}*{lower}+{suffix}|{lead}{upper}+{lower}*{suffix}"
    return rf"{words}|{numbers}| ?[^\s\p{{L}}\p{{N}}]+{marks}{_BREAKS}"


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = CL100K = _words(r"\p{L}", r"\p{N}{1,3}")
QWEN2 = _words(r"\p{L}", r"\p{N}")
QWEN35 = _words(r"[\p{L}\p{M}]", r"\p{N}", r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*")
O200K = _cased(_UPPER, _LOWER, _CONTRACTIONS + "?", r"\p{N}{1,3}", r"[\r\n/]*")
TEKKEN = _cased(_UPPER, _LOWER, "", r"\p{N}", r"[\r\n/]*")
_NO_HAN = (_UPPER[:-1] + r"&&[^\p{Han}]]", _LOWER[:-1] + r"&&[^\p{Han}]]")
KIMI_K2 = r"[\p{Han}]+|" + _cased(*_NO_HAN, _CONTRACTIONS + "?", r"\p{N}{1,3}", r"[\r\n]*")

_DIGIT = r"\p{N}"
_KANA_HAN = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
_DEEPSEEK_WORDS = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*" + _BREAKS
)
# Cased letters beyond ASCII, as DeepSeek LLM's pattern spells them out.
_CASED = """
    b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376 377 37b-37d 37f 386 388-38a 38c 38e-3a1 3a3-3f5 3f7-481
    48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba 1cbd-1cbf 1d00-1d2b 1d6b-1d77 1d79-1d9a 1e00-1f15 1f18-1f1d
    1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d 1f5f-1f7d 1f80-1fb4 1fb6-1fbc 1fbe 1fc2-1fc4 1fc6-1fcc 1fd0-1fd3
    1fd6-1fdb 1fe0-1fec 1ff2-1ff4 1ff6-1ffc 2102 2107 210a-2113 2115 2119-211d 2124 2126 2128 212a-212d 212f-2134 2139
    213c-213f 2145-2149 214e 2183 2184 2c00-2c7b 2c7e-2ce4 2ceb-2cee 2cf2 2cf3 a640-a66d a680-a69b a722-a76f a771-a787
    a78b-a78e ab70-abbf fb00-fb06 fb13-fb17 ff21-ff3a ff41-ff5a 10400-1044f 104b0-104d3 104d8-104fb 10c80-10cb2
    10cc0-10cf2 118a0-118df 1e900-1e943
    """
_CASED_LETTERS = "A-Za-z" + "".join("-".join(chr(int(end, 16)) for end in span.split("-")) for span in _CASED.split())
_ASIAN = (
    "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0e7f"
    "\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+"
)
_HAN_HANGUL = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
_NO_STOPS = r" ?[^(\s|.,!?" + "\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"
_LONG_SPACES = "".join(rf"|\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4)) + r"|\s{1,2}(?!\S)|\s{1}"


def _all(names: str, patterns: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(names.split(), patterns)


# `tokenizer.ggml.pre` of GGUF files → patterns, each of which cuts what the one before it left. Names and patterns are
# those of llama.cpp (src/llama-vocab.cpp), the patterns in the form of the models' own tokenizer.json.
GGUF: dict[str, tuple[str, ...]] = {
    **_all(
        "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano dbrx smaug-bpe glm4 "
        "chatglm-bpe",
        (LLAMA3,),
    ),
    **_all("qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2", (QWEN2,)),
    **_all("gpt-4o llama4 kanana2 talkie minimax-m2 granite-embed-multi-97m", (O200K,)),
    "qwen35": (QWEN35,),
    "tekken": (TEKKEN,),
    "kimi-k2": (KIMI_K2,),
    "jais-2": (_words(r"\p{L}", r"\p{N}{1,3}", breaks=r"|\s*[\r\n]+" + _LONG_SPACES),),
    "deepseek-llm": (
        "[\r\n]",
        rf"\s?[{_CASED_LETTERS}]+",
        r"\s?[!-/:-~" + "\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
        r"\s+$",
        _HAN_HANGUL,
        r"\p{N}+",
    ),
    "deepseek-coder": ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _HAN_HANGUL, _DIGIT),
    **_all("deepseek-v3 hunyuan-dense joyai-llm hy_v4", (r"\p{N}{1,3}", _KANA_HAN, _DEEPSEEK_WORDS)),
    "youtu": (
        "[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+"
        "|[\u3105-\u312f]+|" + _KANA_HAN,
        _cased(_UPPER, _LOWER, _CONTRACTIONS + "?", r"\p{N}", r"[\r\n/]*"),
    ),
    "falcon": (r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"),
    **_all("exaone minerva-7b mellum2", (_DIGIT, GPT2)),
    **_all("poro-chat bloom gpt3-finnish", (_NO_STOPS,)),
    "viking": (_NO_STOPS, _DIGIT),
    "chameleon": (
        "<sentinel:[0-9]+>",
        "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
        r"([\t\n]|    |  )",
        _DIGIT,
        r"[\p{P}!-/:-@\[-`{-~]",
        GPT2,
    ),
    **dict.fromkeys(("tiny_aya", "cohere2moe"), (r"\d{1,3}(?=(?:\d{3})*\b)", O200K)),
    "superbpe": (r"\p{N}+", r"(?=(\d{3})+(?!\d))"),
    **_all(
        "bailingmoe bailingmoe2 llada-moe",
        (_words(r"\p{L}", r"\p{N}", breaks=r"|\s*[\r\n]|\s+(?!\S)|\s+"),),
    ),
    "seed-coder": (_words(r"\p{L}", r"\p{N}", r"| ?[^\s\p{L}\p{N}\r\n]+"),),
    "ufakzeka": (QWEN2.removeprefix(_CONTRACTIONS + "|"),),
    "afmoe": (r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))", _ASIAN, _DEEPSEEK_WORDS),
    "laguna": (r"[^\n]+|[\n]+", QWEN2),
    "exaone-moe": (
        _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
    ),
    "minicpm5": (r"\p{N}{1,3}", _words(r"\p{L}", r"\p{N}+")),
}
# Kinds that are cut as GPT-2 does. The last five set digits apart first; their vocabularies merge no two digits, so
# only numerals like ½ and Ⅷ could tell, and transformers reads these files without it.
_PLAIN = """
    default gpt-2 gpt2 mpt olmo jais trillion granite-docling phi-2 jina-es jina-de jina-v2-es jina-v2-de jina-v1-en
    jina-v2-code roberta-bpe gigachat a.x-4.0 mellum modern-bert exaone4 smollm starcoder refact command-r codeshell
    """
GGUF_PLAIN = frozenset(_PLAIN.split())


def splitting(patterns: Sequence[str], *, add_prefix_space: bool = False) -> dict[str, Any]:
    """The pre-tokenizer that cuts by each pattern in turn, then spells the pieces in GPT-2's characters for bytes."""
    steps: list[dict[str, Any]] = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        for pattern in patterns
    ]
    steps.append({"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": True, "use_regex": False})
    return {"type": "Sequence", "pretokenizers": steps}

"""Regular expressions for the differential tests: written ones, and random ones from a small grammar."""

import random

from tests.tokenizers.engine.builders import CL100K, CLIP, O200K, QWEN2

WRITTEN = (
    r"\s+",
    r"[^\s]+",
    r"\w+|[^\w\s]+",
    r"(?<=\p{L})\d",
    r"(?<!a|bc)x?",
    r"\p{Lu}\p{Ll}*",
    r"[a-z&&[^aeiou]]+",
    r"(?i:the|K)+",
    r"a*",
    r"(a|b)*c?",
    r"^\s|\s$",
    r"\bto",
    r"x{2,3}",
    r"(?>a+)b|.",
    r"[\p{P}\p{S}]+",
    r"[一-龥぀-ゟ]+",
    r"(?=[A-Z])",
    r"\d{1,3}(?=(?:\d{3})*\b)",
    r".{3}",
    r"(?:..)*?e",
    r"(?i)[a-f]+k",
    r"\h+",
    r"[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+|.",
    r"(?:a|ab)(?:c|bcd)?",
    r"[\w\-]+",
    r"\W+",
    r"(?:a|)+",
    r"\A\p{L}|\p{L}\z",
    r"[^[a-m]n]",
    r"[[:space:]x]",
    r"a{,2}b{1,}",
    r"\x{4e2d}|\u65e5|\x41",
    r"(?m:.)+",
    # Scripts, blocks and properties by any spelling.
    r"\p{Han}+|\p{Hiragana}+|\p{katakana}+|\p{Hang}+",
    r"[\p{Latin}\p{Greek}]+|[^\p{Latin}\p{Greek}]",
    r"\p{^Cyrillic}+",
    r"\P{Arab}",
    r"\p{Emoji}\p{Emoji_Modifier}?|\p{ExtPict}",
    r"\p{In_CJK_Unified_Ideographs}+",
    r"[[:alpha:]]+|[[:^alpha:]&&[:punct:]]|[[:digit:]]",
    r"[[:upper:]][[:lower:]]*|[[:cntrl:][:blank:]]",
    r"\p{Alnum}+|\p{Graph}",
    r"\p{ l }\p{Mark}*|\p{Other_Symbol}",
    # References.
    r"(.)\1+",
    r"(?<c>\p{L})\k<c>|(?'d'\d)\k'd'",
    r"(?i:(\w)\1)",
    r"(a)|(b)\k<-1>",
    r"(?<x>a)|(?<x>b)\k<x>",
    # Case.
    r"(?i)ss|st|ﬁ",
    r"(?i)[ßﬃ]|straße",
    r"(?i)[^ß]",
    r"(?i)i\u0307|σ|ǆ",
    r"(?i)\p{Lu}|[\p{Lu}]",
    r"a(?i)b|c",
    r"(?i:e(?-i:E))",
    # Look-behind of any length, \K, \G, line breaks.
    r"(?<=a+)\w",
    r"(?<!\w{2,3})\w",
    r"(?<=^|\s).",
    r"\w\K\w",
    r"\G\w",
    r"\R|\N|\O",
    r"(?<=\s*)\S+$",
    # Quantifiers.
    r"\w{3,2}\w|\w{2}?",
    r"(?:\w\s?){2,5}?\W",
    r"(?:(?:ab?)*)+|(?:a?){1,3}",
    r"(?:\p{L}{1,2}\s){20,30}|(?:.{2}){17}",
    r"(?:a|e|i|o|u){3,40}|\w",
    # Written apart, in octal, in bytes.
    r"(?x) \w + # a word" + "\n | \\s ",
    r"a(?#comment)+\141*",
    r"\xe4\xb8\xad|[\xc3\xa9]|\o{145}|\cA",
    r"[a\-z]+|[\]^-]|[&&a]|[]x]",
    CLIP,
    CL100K,
    QWEN2,
    O200K,
    # DeepSeek-V3's three.
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    # Kimi's, with an intersection.
    r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    # BLOOM's.
    r" ?[^(\s|[.,!?…。，、।۔،])]+",
)

# Malformed, or of the dialect but not built: no library accepts the former.
MALFORMED = (
    "(",
    ")",
    "a)",
    "(?:a",
    "[",
    "[]",
    "[a",
    "[[a]",
    "[z-a]",
    r"[a-\d]",
    r"[\d-a]",
    r"[\p{L}-z]",
    "*",
    "a|*",
    "{2}",
    "^*",
    r"\b+",
    "(?=a)*",
    "(?i)*",
    "a\\",
    r"\p{Nope}",
    r"\p{}",
    r"\p{L",
    r"\p{Script=Han}",
    r"\u12",
    r"(a)\2",
    r"\8",
    r"(?<n>a)\1",
    r"(?<1>a)",
    "(?<>a)",
    r"\k<none>",
    "(?s).",
    "(?P<n>a)",
    "(?z)",
    "(?",
    "(?i",
    "(?<!(a))b",
    "(?<=(?=a)b)c",
    "[[:nope:]]",
    r"\xe4",
    "a{100001}",
)
NOT_BUILT = (
    r"\X",
    r"\y",
    r"(a)\g<1>",
    "(?~ab)",
    "(a)?(?(1)b|c)",
    "(?W)a",
    "(*FAIL)",
    r"\M-a",
    r"(a)\k<1+0>",
    r"\x{41 42}",
)

ATOMS = (
    *("a", "b", "ab", "s", "ss", "k", "é", "ß", "中", "1", " ", "."),
    *(r"\d", r"\w", r"\s", r"\h", r"\R", r"\p{L}", r"\p{Lu}", r"\p{Han}", r"\P{N}"),
    *("[ab]", "[^a]", "[a-z&&[^b]]", "[[:alpha:]]", r"[^\s\p{L}]", "[ßa]", r"[\w-]"),
)
PLACES = ("^", "$", r"\b", r"\B", r"\A", r"\z", r"\Z", r"\G")
QUANTIFIERS = ("*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{1,2}", "{,2}", "{2,}", "{1,3}?", "{2}?")


def random_pattern(rng: random.Random, depth: int = 5) -> str:
    """A pattern that the dialect allows, most of the time."""
    kind = rng.random()
    if depth <= 0 or kind < 0.35:
        return rng.choice(ATOMS)
    inner = random_pattern(rng, depth - 1)
    if kind < 0.42:
        return rng.choice(PLACES) + inner
    if kind < 0.6:
        return inner + random_pattern(rng, depth - 1)
    if kind < 0.75:
        return f"(?:{rng.choice(ATOMS)}{inner}){rng.choice(QUANTIFIERS)}"
    if kind < 0.83:
        return f"(?:{inner}|{random_pattern(rng, depth - 1)})"
    if kind < 0.88:
        return f"(?:{rng.choice(ATOMS)}){rng.choice(QUANTIFIERS)}{inner}"
    if kind < 0.9:
        return f"(?<g{depth}{rng.randrange(10**6)}>{inner})"
    if kind < 0.93:
        return rng.choice(("(?=", "(?!", "(?<=", "(?<!")) + random_pattern(rng, min(depth - 2, 1)) + ")"
    if kind < 0.95:
        return f"(?>{inner})"
    return rng.choice(("(?i:", "(?m:", "(?-i:")) + inner + ")"


def random_subject(rng: random.Random) -> str:
    """A short text of the characters that random patterns ask for."""
    return "".join(rng.choices("aabbABsSßẞſkK\u212aé中文1 2\n\r .-_xX", k=rng.randrange(1, 14)))

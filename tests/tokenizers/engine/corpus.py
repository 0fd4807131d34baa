"""Texts for the differential tests: prose, code and what a fuzzer makes of Unicode."""

import random

NASTY = [
    "",
    " ",
    "  ",
    "\n",
    "\t\t ",
    "a",
    "A b",
    " a",
    "a ",
    "≠",
    "a≠b = c",
    "İstanbul İİ",
    "ẞ straße STRASSE",
    "ﬁne ﬂow ﬃ",
    "ŉ ǰ ΐ",
    "한국어 텍스트",
    "각",
    "Việt Nam",
    "が",
    "ガギグ",
    "ﾊﾟ",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
    "a\u0085b",
    "a\u180eb",
    "a\u200bb",
    "\ufeffBOM",
    "a\x00b",
    "\ufffd",
    "x\ufffdy\u0301",
    "'ſ it'ſ IT'S We'LL they're 'twas d'accord",
    "trailing   ",
    "\r\n\r\n",
    "a\r\n\r\n  b\r\n",
    "x  \n \n y",
    "０１２３ ١٢٣ 12345 ½ ⅷ ²",
    "a" * 101,
    "a" * 99 + "é",
    "ab" * 60,
    "中文字符漢字",
    "日本語のテキスト、カタカナ。",
    "中a文b",
    "Hello, y'all! How are you 😁 ?",
    "don't   stop--now...",
    "e\u0301e\u0300\u0323x",
    "\u0301start",
    "!\u0338",
    "a\u0315\u0300\u05ae\u0062",
    "\u1100\u1161\u11a8 \uac00\u11a8",
    "[CLS] x [SEP]",
    "<|endoftext|>",
    "a<|endoftext|>b",
    " <mask> ",
    "x<mask> <mask>y",
    "[MASK]",
    "the [MASK] .",
    "\u2126 \u212b \u2f00 \uf900",
    "\u3000wide\u3000",
    "\u00a0nbsp\u00a0",
    "\u2028line\u2029para",
    "foo_bar __init__ snake_case",
    "if (x == 0) {\n\treturn;\n}",
    "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋",
    "́",
    "á́́",
    "ᾴ",
    "à֮̀̕b",
    "\u0344",
    "ͅ",
    "๑๒๓ ไทย",
    "हिन्दी में",
    "العَرَبِيَّة",
    "עברית",
    "ქართული ᲥᲐᲠᲗᲣᲚᲘ",
    "Ꭰꭰ",
    "ǅ ǈ",
    "\U00010400\U0001e900",
    "\U0002b820\U0002ceaf\U0002a6dd",
    "ﷺ",
    "㍿ ㎏ ①",
    "½¼",
    "x\u034fy",
    "\ue000\U000f0000",
    "\u0378\U0003ffff\U0010ffff",
    "  leading two",
    "a  b   c    d",
    "1,234.56",
    "3.14e-10",
    "’s “q”",
]

PROSE = [
    "The quick brown fox jumps over the lazy dog. It's what they've done, isn't it? We'll see; I'd say so.",
    "Der schnelle braune Fuchs springt über den faulen Hund; Äpfel, Öl und Übermut für 3,50 €.",
    "Le cœur déçu mais l'âme plutôt naïve, Louÿs rêva de crapaüter en canoë au-delà des îles.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Ёлка, объём, подъезд.",
    "Ο καλύμνιος σφουγγαράς ψιθύρισε πως θα βουτήξει χωρίς να διστάζει.",
    "今日はとても良い天気ですね。東京タワーに行きました。カタカナとひらがな。",
    "自然语言处理是人工智能领域中的一个重要方向，研究人与计算机之间的通信。",
    "다람쥐 헌 쳇바퀴에 타고파. 키스의 고유조건은 입술끼리 만나야 하고.",
    "नमस्ते दुनिया, यह एक परीक्षण वाक्य है। ऋषियों को सताने वाले दुष्ट राक्षसों के राजा।",
    "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر.",
    "Trời xanh biếc, đường phố Hà Nội rộn ràng tiếng nói cười.",
    "def f(x: int) -> list[int]:\n    return [i ** 2 for i in range(x) if i % 2 == 0]  # squares\n\n\nprint(f(10))\n",
    'for (int i = 0; i < n; ++i) { sum += a[i] * b[i]; }\r\n\tprintf("%d\\n", sum);',
    "2024-01-15T10:30:00Z http://example.com/path?query=1&x=%20y user@example.org #tag @name 50% $9.99",
    "lol 😂😂😂 that's sooo goooood!!! 👍🏽 ❤️ ¯\\_(ツ)_/¯ 🇫🇷🏳️‍🌈",
]

BLOCKS = [
    (0x20, 0x7F, 30),
    (0x0, 0x20, 4),
    (0x80, 0x100, 6),
    (0x100, 0x250, 6),
    (0x250, 0x370, 4),
    (0x300, 0x370, 6),
    (0x370, 0x530, 5),
    (0x530, 0x900, 5),
    (0x900, 0xE80, 4),
    (0xE80, 0x1100, 3),
    (0x1100, 0x1200, 3),
    (0x1200, 0x1E00, 4),
    (0x1E00, 0x2000, 4),
    (0x2000, 0x2070, 5),
    (0x2070, 0x2800, 4),
    (0x2800, 0x3000, 2),
    (0x3000, 0x3100, 5),
    (0x3100, 0x3400, 3),
    (0x3400, 0x4E00, 1),
    (0x4E00, 0xA000, 5),
    (0xA000, 0xAC00, 3),
    (0xAC00, 0xD7A4, 4),
    (0xF900, 0xFB00, 2),
    (0xFB00, 0xFE00, 3),
    (0xFE00, 0x10000, 5),
    (0x10000, 0x11000, 3),
    (0x11000, 0x16000, 2),
    (0x16000, 0x1B000, 1),
    (0x1D000, 0x1E000, 2),
    (0x1E000, 0x1F000, 2),
    (0x1F000, 0x1FB00, 4),
    (0x20000, 0x31350, 2),
    (0xE0000, 0xE01F0, 1),
    (0x0, 0x110000, 2),
]
FRAGMENTS = [
    " ",
    "  ",
    "\n",
    "\r\n",
    "'s",
    "'LL",
    "'ſ",
    "the",
    "ing",
    " un",
    "##",
    "12",
    "3",
    "0",
    "é",
    "e\u0301",
    "ß",
    "İ",
    "中",
    "、",
    "が",
    "か\u3099",
    "\u200d",
    "\u00a0",
    "\u3000",
    ".",
    "...",
    "!?",
    "_",
    "-",
    "<mask>",
    "[MASK]",
    "[SEP]",
    "<|endoftext|>",
    "</s>",
    "▁",
    "Ġ",
    "\ufe0f",
    "👍🏽",
    "≠",
    "\u0338",
    "\t",
    "[new]",
    "[yep]",
    "<x>",
    "[YEP]",
    "token",
]


def random_text(rng: random.Random) -> str:
    """A text of up to ~40 characters from one of several moods: one script, all of Unicode, real prose cut up."""
    mood = rng.random()
    if mood < 0.25:
        line = rng.choice(PROSE)
        start = rng.randrange(len(line))
        text = line[start : start + rng.randrange(1, 50)]
        if rng.random() < 0.5:
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(FRAGMENTS) + text[at:]
        return text
    if mood < 0.5:
        return "".join(rng.choice(FRAGMENTS) for _ in range(rng.randrange(1, 10)))
    low, high, _ = rng.choices(BLOCKS, [b[2] for b in BLOCKS])[0]
    parts = []
    for _ in range(rng.randrange(1, 16)):
        kind = rng.random()
        if kind < 0.2:
            parts.append(rng.choice(FRAGMENTS))
            continue
        if kind < 0.35:
            low, high, _ = rng.choices(BLOCKS, [b[2] for b in BLOCKS])[0]
        code = rng.randrange(low, high)
        parts.append(chr(code) if not 0xD800 <= code < 0xE000 else " ")
        if rng.random() < 0.15:
            parts.append(rng.choice("\u0301\u0300\u0323\u0338\u0327\u05b0\u3099\u1161\u11a8"))
    return "".join(parts)


def fuzz(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [random_text(rng) for _ in range(count)]

"""Small tokenizers, trained by the reference library on text that every Python has, as folders of files."""

import json
import random
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

FOREIGN = [
    "Où est la bibliothèque ? L'été, à Genève, il fait très chaud.",
    "Straße, Größe, Übermut und ein bißchen Äpfel für 3,50 €.",
    "今天天气很好，我们去公园散步吧。東京タワーは高いです。カタカナとひらがな。",
    "Привет, как дела? Сегодня хорошая погода.",
    "مرحبا بالعالم، كيف حالك اليوم؟",
    "नमस्ते दुनिया, आप कैसे हैं?",
    "emoji 👩‍👩‍👧‍👦 and 🇫🇷 flags, ½ ﬁ Ⅷ ＡＢＣ １２３",
    "café vs. cafe\u0301, İstanbul, ẞ, ≠ and \u200b zero width",
]


def corpus() -> list[str]:
    """Lines of the standard library's sources, and some in other scripts."""
    import argparse
    import difflib
    import inspect
    import textwrap

    lines = [line for module in (argparse, difflib, textwrap) for line in inspect.getsource(module).splitlines()]
    return lines + FOREIGN * 20


def sample_texts() -> list[str]:
    """Texts of all kinds of lengths, deterministic."""
    words = " ".join(corpus()).split()
    chance = random.Random(7)
    texts = [" ".join(chance.sample(words, n)) for n in (1, 2, 3, 5, 9, 17, 30)]
    return [
        "",
        " ",
        "Hello, world!",
        "I don't know.  It's 2024 and 12345 things cost $99.99\n\n\ttabs",
        *FOREIGN,
        *texts,
    ]


def train_wordpiece() -> list[str]:
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    text = corpus()
    text += [line.lower() for line in text]
    tokenizer.train_from_iterator(
        text, trainers.WordPieceTrainer(vocab_size=1500, special_tokens=special, show_progress=False)
    )
    return [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])]


def train_byte_level(special: list[str], *, split: str | None = None, add_prefix_space: bool = False, size: int = 1200):
    tokenizer = tokenizers.Tokenizer(models.BPE())
    if split:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(tokenizers.Regex(split), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def bert_vocab_folder(folder: Path, vocab: list[str], model_type: str = "bert", **config: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in vocab), encoding="utf-8")
    write_json(folder / "config.json", {"model_type": model_type})
    name = {"bert": "BertTokenizer", "distilbert": "DistilBertTokenizer"}[model_type]
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": name, "model_max_length": 64, **config})
    return folder


def bert_json_folder(folder: Path, vocab: list[str]) -> Path:
    """As today's repositories are: tokenizer.json with truncation and padding left in it."""
    import transformers

    made = transformers.BertTokenizer(vocab={token: index for index, token in enumerate(vocab)}, model_max_length=48)
    made.save_pretrained(folder)
    whole = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    whole["truncation"] = {"direction": "Right", "max_length": 32, "strategy": "LongestFirst", "stride": 0}
    whole["padding"] = {
        "strategy": {"Fixed": 32},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    write_json(folder / "tokenizer.json", whole)
    write_json(folder / "config.json", {"model_type": "bert"})
    return folder


def gpt2_folder(folder: Path) -> Path:
    """vocab.json and merges.txt, and no padding token."""
    tokenizer = train_byte_level(["<|endoftext|>"])
    folder.mkdir(parents=True)
    model = json.loads(tokenizer.to_str())["model"]
    write_json(folder / "vocab.json", model["vocab"])
    rows = "".join(" ".join(pair) + "\n" for pair in model["merges"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + rows, encoding="utf-8")
    write_json(folder / "config.json", {"model_type": "gpt2"})
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 40})
    return folder


def llama_folder(folder: Path) -> Path:
    """BPE over `▁`-marked text with bytes for what is missing, as the first LLaMAs have it."""
    import transformers

    tokenizer = tokenizers.Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        max_token_length=12,
        show_progress=False,
    )
    tokenizer.train_from_iterator([line for line in corpus() if line not in FOREIGN], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    made = transformers.LlamaTokenizer(
        vocab=model["vocab"],
        merges=[tuple(pair) for pair in model["merges"]],
        add_bos_token=True,
        pad_token="</s>",
        model_max_length=60,
    )
    made.save_pretrained(folder)
    write_json(folder / "config.json", {"model_type": "llama"})
    return folder


LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def chat_folder(folder: Path) -> Path:
    """Byte-level BPE as in Llama 3, a begin token, control tokens, any class."""
    control = ["<|begin|>", "<|end|>", "<|im_start|>", "<|im_end|>", "<pad>"]
    tokenizer = train_byte_level(control, split=LLAMA3_SPLIT)
    tokenizer.add_tokens(
        [tokenizers.AddedToken("<tool>", lstrip=True), tokenizers.AddedToken("naïve", single_word=True)]
    )
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<|begin|> $A", pair="<|begin|> $A <|begin|>:1 $B:1", special_tokens=[("<|begin|>", 0)]
            ),
        ]
    )
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "config.json", {"model_type": "llama"})
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|begin|>",
            "eos_token": {"__type": "AddedToken", "content": "<|end|>", "lstrip": False, "normalized": False},
            "pad_token": "<pad>",
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
            "model_max_length": 56,
            "padding_side": "left",
            "clean_up_tokenization_spaces": True,
            "image_token": "<tool>",
            "chat_template": "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
            "{{ m['content'] }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        },
    )
    return folder

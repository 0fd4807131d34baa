"""Every family: its class, the kind of vocabulary, and options worth proving. A new family is a new row."""

from dataclasses import dataclass, field
from typing import Any

from enfold.tokenizers.families.languages import MBART, MBART50, NLLB


@dataclass
class Row:
    """One family.

    Args:
        name: the class, here and in transformers.
        kind: of the vocabulary, by which `vocabularies` makes it.
        special: tokens at the beginning of the vocabulary, in this order.
        variants: options of the class, each a case of its own.
        model_type: the model that it belongs to, for config.json.
        last: tokens at the end of the vocabulary.
    """

    name: str
    kind: str
    special: str
    model_type: str = ""
    variants: list[dict[str, Any]] = field(default_factory=list)
    last: tuple[str, ...] = ()


BERT = "[PAD] [UNK] [CLS] [SEP] [MASK]"
FAIRSEQ = "<s> <pad> </s> <unk>"
TEXT = [
    {"do_lower_case": False, "strip_accents": True},
    {"tokenize_chinese_chars": False, "strip_accents": False},
]
SPACE = [{"add_prefix_space": True}, {"add_prefix_space": False}]
EOT = "<|endoftext|>"
WHISPER = (
    f"{EOT} <|startoftranscript|> <|en|> <|zh|> <|de|> <|translate|> <|transcribe|> <|startofprev|> <|notimestamps|>"
)

ROWS = [
    Row("BertTokenizer", "wordpiece", BERT, "bert", TEXT),
    Row("DistilBertTokenizer", "wordpiece", BERT, "distilbert", [{"do_lower_case": False}]),
    Row("ElectraTokenizer", "wordpiece", BERT, "electra"),
    Row("MobileBertTokenizer", "wordpiece", BERT, "mobilebert"),
    Row("ConvBertTokenizer", "wordpiece", BERT, "convbert"),
    Row("DPRQuestionEncoderTokenizer", "wordpiece", BERT, "dpr", [{"do_lower_case": True}]),
    Row("MPNetTokenizer", "wordpiece", f"{FAIRSEQ} [UNK] <mask>", "mpnet", TEXT),
    Row(
        "FunnelTokenizer",
        "wordpiece",
        "<pad> <unk> <cls> <sep> <mask> <s> </s>",
        "funnel",
        [*TEXT, {"clean_text": False}],
    ),
    Row("SplinterTokenizer", "wordpiece", f"{BERT} [QUESTION] .", "splinter", [*TEXT, {"padding_side": "left"}]),
    Row("GPT2Tokenizer", "bytes", EOT, "gpt2", [*SPACE, {"add_bos_token": True}]),
    Row("RobertaTokenizer", "bytes", f"{FAIRSEQ} <mask>", "roberta", [*SPACE, {"trim_offsets": False}]),
    Row("BartTokenizer", "bytes", f"{FAIRSEQ} <mask>", "bart"),
    Row("LongformerTokenizer", "bytes", f"{FAIRSEQ} <mask>", "longformer"),
    Row("LEDTokenizer", "bytes", f"{FAIRSEQ} <mask>", "led"),
    Row("BlenderbotTokenizer", "bytes", f"{FAIRSEQ} <mask>", "blenderbot", SPACE),
    Row("DebertaTokenizer", "bytes", "[PAD] [CLS] [SEP] [UNK] [MASK]", "deberta", SPACE),
    Row("CodeGenTokenizer", "bytes", EOT, "codegen", SPACE),
    Row(
        "GPTNeoXTokenizer",
        "bytes",
        f"{EOT} <|padding|>",
        "gpt_neox",
        [*SPACE, {"add_bos_token": True, "add_eos_token": True}],
    ),
    Row(
        "CohereTokenizer",
        "bytes",
        "<PAD> <UNK> <CLS> <SEP> <MASK_TOKEN> <BOS_TOKEN> <|END_OF_TURN_TOKEN|>",
        "cohere",
        SPACE,
    ),
    Row("Qwen2Tokenizer", "bytes", EOT, "qwen2", [*SPACE, {"bos_token": "<s>"}]),
    Row("Qwen3_5Tokenizer", "bytes", EOT, "qwen3_5"),
    Row("NougatTokenizer", "bytes", FAIRSEQ, "nougat"),
    Row(
        "WhisperTokenizer",
        "bytes",
        "",
        "whisper",
        [
            {"language": "german", "task": "transcribe"},
            {"predict_timestamps": True},
            {"language": "en", "task": "translate"},
        ],
        last=tuple(WHISPER.split()),
    ),
    Row("CLIPTokenizer", "words", f"<|startoftext|> {EOT}", "clip", [{"pad_token": "!"}]),
    Row("HerbertTokenizer", "words", "<s> <pad> </s> <unk> <mask>", "herbert"),
    Row("OpenAIGPTTokenizer", "words", "<unk>", "openai-gpt"),
    Row(
        "LlamaTokenizer",
        "marked",
        "<unk> <s> </s>",
        "llama",
        [
            {"legacy": True},
            {"add_prefix_space": False},
            {"add_bos_token": True, "add_eos_token": True},
            {"legacy": True, "add_prefix_space": False},
        ],
    ),
    Row(
        "CodeLlamaTokenizer",
        "marked",
        "<unk> <s> </s> ▁<PRE> ▁<MID> ▁<SUF> ▁<EOT>",
        "code_llama",
        [{"add_prefix_space": False}, {"add_bos_token": False}, {"add_eos_token": True}, {"fill_token": None}],
    ),
    Row("GemmaTokenizer", "marked", "<pad> <eos> <bos> <unk> <mask>", "gemma", [{"add_bos_token": True}]),
    Row("Siglip2Tokenizer", "marked", "<pad> <eos> <bos> <unk> <mask>", "siglip2"),
    Row("ReformerTokenizer", "marked", "<unk> </s>", "reformer"),
    Row(
        "NllbTokenizer",
        "marked",
        FAIRSEQ,
        "nllb",
        [{"src_lang": "fra_Latn", "tgt_lang": "deu_Latn"}, {"legacy_behaviour": True}],
        last=(*NLLB[:70], "<mask>"),
    ),
    Row(
        "SeamlessM4TTokenizer",
        "marked",
        "<pad> <unk> <s> </s> __eng__ __fra__ __deu__",
        "seamless_m4t",
        [{"src_lang": "deu", "tgt_lang": "eng"}],
    ),
    Row(
        "T5Tokenizer",
        "unigram",
        "<pad> </s> <unk>",
        "t5",
        [{"extra_ids": 3}, {"extra_ids": 0}],
        last=tuple(f"<extra_id_{n}>" for n in range(99, -1, -1)),
    ),
    Row(
        "AlbertTokenizer",
        "unigram",
        "<pad> <unk> [CLS] [SEP] [MASK]",
        "albert",
        [{"do_lower_case": False}, {"keep_accents": True}, {"add_prefix_space": False}],
    ),
    Row(
        "RemBertTokenizer",
        "unigram",
        "<pad> [CLS] <unk> [SEP] [MASK]",
        "rembert",
        [{"do_lower_case": True}, {"keep_accents": False}],
    ),
    Row(
        "XLNetTokenizer",
        "unigram",
        "<unk> <s> </s> <cls> <sep> <pad> <mask> <eod> <eop>",
        "xlnet",
        [{"do_lower_case": True}],
    ),
    Row("XLMRobertaTokenizer", "unigram", FAIRSEQ, "xlm-roberta", [{"add_prefix_space": False}], last=("<mask>",)),
    Row("MBartTokenizer", "unigram", FAIRSEQ, "mbart", [{"src_lang": "ro_RO"}], last=(*MBART, "<mask>")),
    Row(
        "MBart50Tokenizer",
        "unigram",
        FAIRSEQ,
        "mbart50",
        [{"src_lang": "fr_XX", "tgt_lang": "af_ZA"}],
        last=(*MBART50, "<mask>"),
    ),
    Row("BarthezTokenizer", "unigram", "<s> <pad> </s> <unk>", "barthez", last=("<mask>",)),
    Row(
        "CamembertTokenizer",
        "unigram",
        "<s>NOTUSED <pad> </s>NOTUSED <unk> <unk>NOTUSED",
        "camembert",
        last=("<mask>",),
    ),
    Row("BigBirdTokenizer", "unigram", "<pad> </s> <s> <unk> [CLS] [SEP] [MASK]", "big_bird"),
    Row(
        "PegasusTokenizer",
        "unigram",
        "<pad> </s> <mask_1> <mask_2> <unk_2> <unk>",
        "pegasus",
        [{"offset": 3}, {"offset": 5, "mask_token_sent": None}],
    ),
    Row(
        "DebertaV2Tokenizer",
        "unigram",
        "[PAD] [UNK] [CLS] [SEP]",
        "deberta-v2",
        [{"do_lower_case": True}, {"split_by_punct": True}, {"add_prefix_space": False}],
        last=("[MASK]",),
    ),
    Row("XGLMTokenizer", "unigram", FAIRSEQ, "xglm"),
]

"""Small random checkpoints as the reference library writes them, each with a tokenizer trained on a few sentences."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

SENTENCES = [
    "Marie Curie lived in Paris and worked at the Sorbonne with Pierre.",
    "The quick brown fox jumps over the lazy dog; the dog doesn't mind.",
    "Tokenization splits unusual words, like electroencephalography, into pieces!",
    "Ångström and naïve façades cost 3.50 € in München.",
    "What is the capital of France? The capital of France is Paris.",
    "She sells sea shells by the sea shore, said Peter Piper to John Smith.",
]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC"]
# Larger than usual, so that random models are sure of something.
SPREAD = {"initializer_range": 0.4}
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48} | SPREAD


def word_piece(folder: Path, **options) -> None:
    """BERT's tokenizer."""
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(SENTENCES, trainers.WordPieceTrainer(vocab_size=180, special_tokens=special))
    cls, sep = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", sep), ("[CLS]", cls))
    tokenizer.decoder = decoders.WordPiece()
    transformers.BertTokenizerFast(tokenizer_object=tokenizer, **options).save_pretrained(folder)


def byte_level(folder: Path, *, chat: bool = False, pad: str | None = None, **options) -> None:
    """GPT-2's tokenizer, or one for chat."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", *(["<|start|>", "<|end|>"] if chat else []), *([pad] if pad else [])]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokens = {"eos_token": "<|end|>" if chat else "<|endoftext|>", "bos_token": "<|endoftext|>"}
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad, **tokens, **options)
    if chat:
        wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(folder)


def unigram(folder: Path, **options) -> None:
    """T5's tokenizer."""
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(
        SENTENCES, trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>")
    )
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", 1)])
    tokens = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **tokens, **options).save_pretrained(folder)


def save(model: torch.nn.Module, folder: Path) -> None:
    with torch.no_grad():  # biases and norms that aren't what a fresh model has
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.3)
    model.save_pretrained(folder)


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory):
    """`zoo(name)` → the folder of a checkpoint, made once."""
    root, made = tmp_path_factory.mktemp("zoo"), {}

    def folder(name: str) -> str:
        if name not in made:
            made[name] = root / name
            made[name].mkdir()
            torch.manual_seed(len(name))
            MAKERS[name](made[name])
        return str(made[name])

    return folder


def _bert(folder: Path, cls: str, **entries) -> None:
    word_piece(folder, model_max_length=64)
    size = len(transformers.AutoTokenizer.from_pretrained(folder))
    config = transformers.BertConfig(vocab_size=size, max_position_embeddings=64, **SMALL, **entries)
    save(getattr(transformers, cls)(config), folder)


def _distilbert(folder: Path, cls: str, **entries) -> None:
    word_piece(folder)  # without model_max_length, as many repositories leave it
    size = len(transformers.AutoTokenizer.from_pretrained(folder))
    config = transformers.DistilBertConfig(
        vocab_size=size, max_position_embeddings=48, dim=32, n_layers=2, n_heads=4, hidden_dim=48, **SPREAD, **entries
    )
    save(getattr(transformers, cls)(config), folder)


def _gpt2(folder: Path, cls: str, *, pad: str | None = None, **entries) -> None:
    byte_level(folder, pad=pad)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=96,
        n_embd=32,
        n_layer=2,
        n_head=4,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=tokenizer.pad_token_id,
        **SPREAD,
        **entries,
    )
    save(getattr(transformers, cls)(config), folder)


def _llama(folder: Path, cls: str = "LlamaForCausalLM", **entries) -> None:
    byte_level(folder, chat=True, pad="<|pad|>", model_max_length=128)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer) + 3,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **SMALL,
        **entries,
    )
    model = getattr(transformers, cls)(config)
    if cls == "LlamaForCausalLM":
        model.generation_config = transformers.GenerationConfig(
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            do_sample=False,
            max_new_tokens=12,
        )
    save(model, folder)


def _t5(folder: Path, **entries) -> None:
    unigram(folder)
    size = len(transformers.AutoTokenizer.from_pretrained(folder))
    config = transformers.T5Config(
        vocab_size=size,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
        tie_word_embeddings=False,
        initializer_factor=0.6,
        **entries,
    )
    save(transformers.T5ForConditionalGeneration(config), folder)


def _tapas(folder: Path, shift: float, **entries) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = {word for sentence in SENTENCES for word in sentence.lower().split() if word.isascii() and word.isalpha()}
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[EMPTY]"]
    tokens = dict.fromkeys([*special, *"?!.,-", *sorted(words), *letters, *(f"##{letter}" for letter in letters)])
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens))
    transformers.TapasTokenizer(folder / "vocab.txt", model_max_length=64).save_pretrained(folder)
    config = transformers.TapasConfig(vocab_size=len(tokens), max_position_embeddings=64, **SMALL, **entries)
    model = transformers.TapasForQuestionAnswering(config)
    save(model, folder)
    with torch.no_grad():  # about half of the cells are chosen
        model.output_bias += shift
    model.save_pretrained(folder)


_AGGREGATIONS = {
    "num_aggregation_labels": 4,
    "aggregation_labels": {0: "NONE", 1: "SUM", 2: "AVERAGE", 3: "COUNT"},
    "no_aggregation_label_index": 0,
}
_TAGS = {"id2label": dict(enumerate(LABELS)), "label2id": {label: i for i, label in enumerate(LABELS)}}
_KINDS = {"id2label": {0: "bad", 1: "so-so", 2: "good"}, "label2id": {"bad": 0, "so-so": 1, "good": 2}}
_ENTAILMENT = {"contradiction": 0, "neutral": 1, "entailment": 2}
_NLI = {"id2label": {i: label for label, i in _ENTAILMENT.items()}, "label2id": _ENTAILMENT}
_TURNED = {"id2label": {0: "Entailment", 1: "Refuted"}, "label2id": {"Entailment": 0, "Refuted": 1}}
MAKERS = {
    "bert": lambda f: _bert(f, "BertModel"),
    "bert-mlm": lambda f: _bert(f, "BertForMaskedLM"),
    "bert-class": lambda f: _bert(f, "BertForSequenceClassification", **_KINDS),
    "bert-multi": lambda f: _bert(
        f, "BertForSequenceClassification", problem_type="multi_label_classification", **_KINDS
    ),
    "bert-regression": lambda f: _bert(f, "BertForSequenceClassification", num_labels=1, problem_type="regression"),
    "bert-one": lambda f: _bert(f, "BertForSequenceClassification", num_labels=1),
    "bert-tags": lambda f: _bert(f, "BertForTokenClassification", **_TAGS),
    "bert-qa": lambda f: _bert(f, "BertForQuestionAnswering"),
    "bert-nli": lambda f: _bert(f, "BertForSequenceClassification", **_NLI),
    "bert-turned": lambda f: _bert(f, "BertForSequenceClassification", **_TURNED),
    "distilbert": lambda f: _distilbert(f, "DistilBertModel"),
    "distilbert-qa": lambda f: _distilbert(f, "DistilBertForQuestionAnswering"),
    "distilbert-mlm": lambda f: _distilbert(f, "DistilBertForMaskedLM"),
    "distilbert-class": lambda f: _distilbert(f, "DistilBertForSequenceClassification", **_KINDS),
    "distilbert-tags": lambda f: _distilbert(f, "DistilBertForTokenClassification", **_TAGS),
    "gpt2": lambda f: _gpt2(f, "GPT2LMHeadModel"),
    "gpt2-base": lambda f: _gpt2(f, "GPT2Model"),
    "gpt2-class": lambda f: _gpt2(f, "GPT2ForSequenceClassification", **_KINDS),
    "gpt2-class-pad": lambda f: _gpt2(f, "GPT2ForSequenceClassification", pad="<|pad|>", **_KINDS),
    "gpt2-qa": lambda f: _gpt2(f, "GPT2ForQuestionAnswering", pad="<|pad|>"),
    "gpt2-tags": lambda f: _gpt2(f, "GPT2ForTokenClassification", **_TAGS),
    "llama": _llama,
    "t5": _t5,
    "tapas-wtq": lambda f: _tapas(f, 1.7, temperature=0.5, **_AGGREGATIONS),
    "tapas-sqa": lambda f: _tapas(f, 2.2, reset_position_index_per_cell=False),
    "tapas-plain": lambda f: _tapas(f, 0.2, num_aggregation_labels=2),
    "t5-tasks": lambda f: _t5(
        f,
        task_specific_params={
            "summarization": {"prefix": "the fox: ", "num_beams": 3, "length_penalty": 2.0, "early_stopping": True},
            "translation_en_to_de": {"prefix": "What is ", "max_length": 9, "num_beams": 2},
        },
    ),
}


@pytest.fixture(scope="session")
def peer():
    """`peer(task, folder)` → the reference library's pipeline."""
    made: dict = {}

    def pipe(task: str, folder: str, **options):
        key = (task, folder, repr(options))
        if key not in made:
            made[key] = transformers.pipeline(task, model=folder, device=-1, **options)
        return made[key]

    return pipe


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Forty texts of 1 to about 40 tokens, in no order, with a few that are alike."""
    words = " ".join(SENTENCES).split()
    draw = random.Random(7)
    made = [" ".join(draw.choices(words, k=draw.randint(1, 11))) for _ in range(37)]
    return [*made, made[3], "Paris", "a"]


def same(ours, theirs, tolerance: float = 2e-5) -> None:
    """Assert equal structure, equal words and numbers, floats within a tolerance; ours are plain Python."""
    if isinstance(theirs, dict):
        assert isinstance(ours, dict)
        assert list(ours) == list(theirs)
        for key in theirs:
            same(ours[key], theirs[key], tolerance)
    elif isinstance(theirs, (list, tuple)):
        assert isinstance(ours, list)
        assert len(ours) == len(theirs)
        if theirs and type(theirs[0]) is float:
            assert all(type(number) is float for number in ours)
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
            return
        for a, b in zip(ours, theirs, strict=True):
            same(a, b, tolerance)
    elif isinstance(theirs, bool) or theirs is None or isinstance(theirs, (str, int)):
        assert ours == theirs
        assert type(ours) is type(theirs)
    else:
        assert type(ours) is float
        assert ours == pytest.approx(float(theirs), abs=tolerance, rel=tolerance)

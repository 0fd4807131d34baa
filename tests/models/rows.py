"""The families under test: one row for each model class and configuration. Adding a family adds rows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from enfold.models.families import FAMILIES
from enfold.models.registry import config_class
from tests.models import bert_kin, gpt_kin, llama_kin, moe_kin, recurrent_kin, seq2seq_kin


@dataclass(frozen=True)
class Row:
    """A class of one name in both libraries, built from one random configuration.

    Attributes:
        family: `model_type`.
        head: the class's name, here and in the reference library.
        task: what it answers, which decides the inputs it gets (`tests/models/inputs.py`).
        variant: which of the family's configurations.
        entries: the configuration.
        edit: changes the saved `config.json`, to write it as older or newer versions do.
    """

    family: str
    head: str
    task: str
    variant: str
    entries: dict[str, Any] = field(hash=False)
    edit: Callable[[dict[str, Any]], None] | None = None

    def __str__(self) -> str:
        return f"{self.head}-{self.variant}"

    @property
    def counts_tokens(self) -> bool:
        """Whether positions, or distances, of one of GPT's kin count tokens and not columns."""
        return self.family in gpt_kin.COUNTS_TOKENS or bool(self.entries.get("alibi"))

    @property
    def config_name(self) -> str:
        return config_class(self.family).__name__

    @property
    def seq2seq(self) -> bool:
        """Whether an encoder reads and a decoder writes."""
        return self.task.startswith("seq2seq")

    @property
    def recurs(self) -> bool:
        """Whether it remembers a state, from which nothing can be taken back."""
        return self.family in recurrent_kin.CONFIGURATIONS

    @property
    def windowed(self) -> bool:
        """Whether tokens see only those near to them in some layer."""
        return any(self.entries.get(name) for name in ("sliding_window", "local_attention", "attention_window"))

    @property
    def placed(self) -> bool:
        """Whether a caller may say where tokens stand."""
        return not self.seq2seq and self.family not in recurrent_kin.NO_POSITIONS

    @property
    def decodes(self) -> bool:
        """Whether the class remembers keys and values between calls."""
        encodes = self.family in ("bert", "distilbert", *bert_kin.CONFIGURATIONS)
        return not encodes or bool(self.entries.get("is_decoder"))


def old_rope(entries: dict[str, Any]) -> None:
    """Rotary positions as files before `rope_parameters` wrote them."""
    rope = entries.pop("rope_parameters")
    entries["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    entries["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}


def silent_defaults(entries: dict[str, Any]) -> None:
    """Old LLaMA files leave out what later became an entry."""
    for name in ("head_dim", "attention_bias", "mlp_bias", "num_key_value_heads", "rope_parameters"):
        entries.pop(name, None)


def not_tied(entries: dict[str, Any]) -> None:
    """T5 v1.1 files say that nothing is tied."""
    entries["tie_word_embeddings"] = False
    entries.pop("scale_decoder_outputs", None)


COMMON = {"num_labels": 3}
BERT = {
    "plain": {
        "vocab_size": 99,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 40,
    },
    "odd": {
        "vocab_size": 101,
        "hidden_size": 33,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "intermediate_size": 29,
        "max_position_embeddings": 23,
        "type_vocab_size": 1,
        "hidden_act": "relu",
        "layer_norm_eps": 1e-5,
        "classifier_dropout": 0.3,
    },
    "new_gelu": {
        "vocab_size": 64,
        "hidden_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 96,
        "max_position_embeddings": 64,
        "type_vocab_size": 3,
        "hidden_act": "gelu_new",
        "pad_token_id": 7,
    },
}
DISTILBERT = {
    "plain": {
        "vocab_size": 99,
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 48,
        "max_position_embeddings": 40,
    },
    "odd": {
        "vocab_size": 77,
        "dim": 35,
        "n_layers": 3,
        "n_heads": 5,
        "hidden_dim": 31,
        "max_position_embeddings": 25,
        "activation": "relu",
        "sinusoidal_pos_embds": True,
    },
    "single": {
        "vocab_size": 64,
        "dim": 16,
        "n_layers": 1,
        "n_heads": 1,
        "hidden_dim": 64,
        "max_position_embeddings": 64,
    },
}
LLAMA = {
    "plain": {
        "vocab_size": 99,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 48,
        "pad_token_id": 0,
    },
    "biased": {
        "vocab_size": 83,
        "hidden_size": 36,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 1,
        "head_dim": 10,
        "intermediate_size": 39,
        "attention_bias": True,
        "mlp_bias": True,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5000.0},
        "pad_token_id": 3,
    },
    "llama3": {
        "vocab_size": 67,
        "hidden_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "intermediate_size": 64,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
            "rope_theta": 500000.0,
        },
        "pad_token_id": 0,
    },
    "old_scaling": {
        "vocab_size": 50,
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "intermediate_size": 40,
        "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1000.0},
        "hidden_act": "gelu",
        "pad_token_id": 0,
    },
    "old_silent": {
        "vocab_size": 50,
        "hidden_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 3,
        "intermediate_size": 40,
        "pad_token_id": 0,
    },
}
GPT2 = {
    "plain": {"vocab_size": 99, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 40},
    "scaled": {
        "vocab_size": 61,
        "n_embd": 30,
        "n_layer": 3,
        "n_head": 5,
        "n_positions": 33,
        "n_inner": 47,
        "scale_attn_by_inverse_layer_idx": True,
        "activation_function": "gelu",
        "tie_word_embeddings": False,
    },
    "unscaled": {
        "vocab_size": 80,
        "n_embd": 16,
        "n_layer": 2,
        "n_head": 1,
        "n_positions": 64,
        "scale_attn_weights": False,
        "activation_function": "relu",
        "layer_norm_epsilon": 1e-4,
    },
}
for entries in GPT2.values():
    entries |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
T5 = {
    "plain": {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4},
    "uneven": {
        "vocab_size": 71,
        "d_model": 26,
        "d_kv": 6,
        "d_ff": 35,
        "num_layers": 3,
        "num_decoder_layers": 1,
        "num_heads": 3,
        "feed_forward_proj": "gated-gelu",
        "relative_attention_num_buckets": 8,
        "relative_attention_max_distance": 12,
    },
    "untied": {
        "vocab_size": 60,
        "d_model": 24,
        "d_kv": 8,
        "d_ff": 32,
        "num_layers": 1,
        "num_decoder_layers": 2,
        "num_heads": 2,
        "feed_forward_proj": "gated-silu",
        "tie_word_embeddings": False,
    },
}
for entries in T5.values():
    entries |= {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}

HEADS = {
    "bert": {
        "BertModel": "base",
        "BertForMaskedLM": "masked-lm",
        "BertForPreTraining": "pre-training",
        "BertForNextSentencePrediction": "next-sentence",
        "BertForSequenceClassification": "sequence",
        "BertForTokenClassification": "token",
        "BertForQuestionAnswering": "span",
        "BertForMultipleChoice": "choice",
    },
    "distilbert": {
        "DistilBertModel": "base",
        "DistilBertForMaskedLM": "masked-lm",
        "DistilBertForSequenceClassification": "sequence",
        "DistilBertForTokenClassification": "token",
        "DistilBertForQuestionAnswering": "span",
        "DistilBertForMultipleChoice": "choice",
    },
    "llama": {
        "LlamaModel": "base",
        "LlamaForCausalLM": "causal-lm",
        "LlamaForSequenceClassification": "sequence",
        "LlamaForTokenClassification": "token",
        "LlamaForQuestionAnswering": "span",
    },
    "gpt2": {
        "GPT2Model": "base",
        "GPT2LMHeadModel": "causal-lm",
        "GPT2DoubleHeadsModel": "double-heads",
        "GPT2ForSequenceClassification": "sequence",
        "GPT2ForTokenClassification": "token",
        "GPT2ForQuestionAnswering": "span",
    },
    "t5": {
        "T5Model": "seq2seq",
        "T5ForConditionalGeneration": "seq2seq-lm",
        "T5EncoderModel": "base",
        "T5ForSequenceClassification": "seq2seq-sequence",
        "T5ForTokenClassification": "token",
        "T5ForQuestionAnswering": "seq2seq-span",
    },
}
TASKS = {
    "base": "base",
    "causal-lm": "causal-lm",
    "sequence-classification": "sequence",
    "token-classification": "token",
    "question-answering": "span",
    "masked-lm": "masked-lm",
    "multiple-choice": "choice",
}
DECODER_KIN = llama_kin.CONFIGURATIONS | gpt_kin.CONFIGURATIONS | moe_kin.CONFIGURATIONS
DECODER_KIN |= recurrent_kin.CONFIGURATIONS
KIN = DECODER_KIN | bert_kin.CONFIGURATIONS
for name in KIN:
    encodes = name in bert_kin.CONFIGURATIONS
    known = {task: head for task, head in FAMILIES[name][2].items() if not (encodes and task == "causal-lm")}
    HEADS[name] = {head: TASKS[task] for task, head in known.items() if task in TASKS}
    if name in bert_kin.PRE_TRAINING:
        HEADS[name][known["pre-training"]] = bert_kin.PRE_TRAINING[name]
for name in seq2seq_kin.CONFIGURATIONS:
    known = FAMILIES[name][2]
    HEADS[name] = {known[task]: asked for task, asked in seq2seq_kin.TASKS.items() if task in known}
CONFIGURATIONS = (
    KIN
    | seq2seq_kin.CONFIGURATIONS
    | {
        "bert": BERT,
        "distilbert": DISTILBERT,
        "llama": LLAMA,
        "gpt2": GPT2,
        "t5": T5,
    }
)
EDITS = {
    ("llama", "old_scaling"): old_rope,
    ("llama", "old_silent"): silent_defaults,
    ("t5", "untied"): not_tied,
    **gpt_kin.EDITS,
}
# Every configuration is tried with these, and they stand for their family; the other heads take turns.
MAIN_HEADS = ["BertForMaskedLM", "DistilBertForMaskedLM", "LlamaForCausalLM", "GPT2LMHeadModel"]
MAIN_HEADS.append("T5ForConditionalGeneration")
MAIN_HEADS += [FAMILIES[name][2]["causal-lm"] for name in DECODER_KIN]
MAIN_HEADS += [FAMILIES[name][2]["masked-lm"] for name in bert_kin.CONFIGURATIONS]
MAIN_HEADS += [FAMILIES[name][2]["seq2seq-lm"] for name in seq2seq_kin.CONFIGURATIONS]


def _rows() -> list[Row]:
    rows = []
    for family, heads in HEADS.items():
        variants = list(CONFIGURATIONS[family])
        for turn, (head, task) in enumerate(heads.items()):
            chosen = variants if head in MAIN_HEADS else [variants[turn % len(variants)]]
            for variant in chosen:
                entries = COMMON | CONFIGURATIONS[family][variant]
                if "span" in task or task == "sentence-order":
                    entries["num_labels"] = 2
                rows.append(Row(family, head, task, variant, entries, EDITS.get((family, variant))))
    decoder = COMMON | BERT["plain"] | {"is_decoder": True}
    rows.append(Row("bert", "BertModel", "base", "decoder", decoder))
    rows.append(Row("bert", "BertLMHeadModel", "causal-lm", "decoder", decoder))
    crossed = decoder | {"add_cross_attention": True}
    rows.append(Row("bert", "BertModel", "crossed", "crossed", crossed))
    rows.append(Row("bert", "BertLMHeadModel", "crossed-lm", "crossed", crossed))
    for family, head in (("roberta", "RobertaForCausalLM"), ("electra", "ElectraForCausalLM")):
        decoder = COMMON | bert_kin.CONFIGURATIONS[family]["plain"] | {"is_decoder": True}
        rows.append(Row(family, head, "causal-lm", "decoder", decoder))
    regression = COMMON | BERT["plain"] | {"num_labels": 1, "problem_type": "regression"}
    rows.append(Row("bert", "BertForSequenceClassification", "regression", "regression", regression))
    several = COMMON | LLAMA["plain"] | {"problem_type": "multi_label_classification"}
    rows.append(Row("llama", "LlamaForSequenceClassification", "several-labels", "several", several))
    return rows


ROWS = _rows()
DECODERS = [row for row in ROWS if row.decodes and row.task in ("causal-lm", "seq2seq-lm", "crossed-lm")]
# One row a family, for what doesn't depend on the head.
ONE_EACH = [next(row for row in ROWS if row.head == head) for head in MAIN_HEADS]

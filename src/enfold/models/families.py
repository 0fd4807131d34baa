"""Every family: its module, its configuration's class, and the class that serves each task."""

from typing import NamedTuple

# Task → what its class is called behind the family's prefix.
SUFFIXES = {
    "base": "Model",
    "encoder": "EncoderModel",
    "double-heads": "DoubleHeadsModel",
    "masked-lm": "ForMaskedLM",
    "causal-lm": "ForCausalLM",
    "seq2seq-lm": "ForConditionalGeneration",
    "sequence-classification": "ForSequenceClassification",
    "token-classification": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
    "table-question-answering": "ForQuestionAnswering",
    "multiple-choice": "ForMultipleChoice",
    "next-sentence": "ForNextSentencePrediction",
    "pre-training": "ForPreTraining",
    "image-classification": "ForImageClassification",
    "image-classification-with-teacher": "ForImageClassificationWithTeacher",
    "masked-image-modeling": "ForMaskedImageModeling",
    "ctc": "ForCTC",
    "audio-classification": "ForSequenceClassification",
}


class Family(NamedTuple):
    """Names alone; the module loads on first use.

    Attributes:
        module: where the family lives.
        config: its configuration's class.
        classes: task → class.
    """

    module: str
    config: str
    classes: dict[str, str]


def _family(
    prefix: str, tasks: str, *, module: str = "", pre_training: str = "", named: dict[str, str] | None = None
) -> Family:
    """A family whose classes are called as usual.

    Args:
        prefix: how the names of its classes begin.
        tasks: what it has heads for.
        module: where it isn't the `model_type`.
        pre_training: the task whose class is also that of pre-training.
        named: task → class, where the name is an unusual one.
    """
    classes = {task: prefix + SUFFIXES[task] for task in tasks.split()} | (named or {})
    if pre_training:
        classes["pre-training"] = classes[pre_training]
    return Family(module, f"{prefix}Config", classes)


_HEADS = "sequence-classification token-classification question-answering"
_ENCODER = f"base masked-lm {_HEADS} multiple-choice"
_DECODER = f"base causal-lm {_HEADS}"

_IMAGES = "base image-classification masked-image-modeling"
_SOUNDS = "base ctc audio-classification"

_ROWS = {
    "albert": _family("Albert", f"base masked-lm {_HEADS} multiple-choice pre-training"),
    "bart": _family(
        "Bart",
        "base seq2seq-lm masked-lm causal-lm sequence-classification question-answering",
        pre_training="seq2seq-lm",
        named={"masked-lm": "BartForConditionalGeneration"},
    ),
    "bert": _family(
        "Bert",
        f"base masked-lm causal-lm {_HEADS} multiple-choice next-sentence pre-training",
        named={"causal-lm": "BertLMHeadModel"},
    ),
    "blenderbot": _family("Blenderbot", "base seq2seq-lm causal-lm"),
    "blenderbot-small": _family("BlenderbotSmall", "base seq2seq-lm causal-lm"),
    "bloom": _family("Bloom", _DECODER, pre_training="causal-lm"),
    "deberta-v2": _family("DebertaV2", _ENCODER, pre_training="masked-lm"),
    "deepseek_v2": _family("DeepseekV2", "base causal-lm sequence-classification"),
    "deepseek_v3": _family("DeepseekV3", "base causal-lm sequence-classification token-classification"),
    "deit": _family("DeiT", f"{_IMAGES} image-classification-with-teacher"),
    "distilbert": _family("DistilBert", _ENCODER, pre_training="masked-lm"),
    "electra": _family("Electra", f"base masked-lm causal-lm {_HEADS} multiple-choice pre-training"),
    "falcon": _family("Falcon", _DECODER, pre_training="causal-lm"),
    "falcon_h1": _family("FalconH1", "base causal-lm"),
    "gemma": _family("Gemma", "base causal-lm sequence-classification token-classification", pre_training="causal-lm"),
    "gemma2": _family(
        "Gemma2", "base causal-lm sequence-classification token-classification", pre_training="causal-lm"
    ),
    "gemma3_text": _family(
        "Gemma3Text",
        "base causal-lm sequence-classification",
        pre_training="causal-lm",
        module="gemma3",
        named={"causal-lm": "Gemma3ForCausalLM"},
    ),
    "gpt2": _family(
        "GPT2", f"{_DECODER} double-heads", pre_training="causal-lm", named={"causal-lm": "GPT2LMHeadModel"}
    ),
    "gpt_neo": _family("GPTNeo", _DECODER, pre_training="causal-lm"),
    "gpt_neox": _family("GPTNeoX", _DECODER, pre_training="causal-lm"),
    "gpt_oss": _family(
        "GptOss", "base causal-lm sequence-classification token-classification", pre_training="causal-lm"
    ),
    "gptj": _family("GPTJ", "base causal-lm sequence-classification question-answering", pre_training="causal-lm"),
    "granite": _family("Granite", "base causal-lm", pre_training="causal-lm"),
    "hubert": _family("Hubert", _SOUNDS),
    "led": _family("LED", "base seq2seq-lm question-answering", pre_training="seq2seq-lm"),
    "llama": _family("Llama", _DECODER, pre_training="causal-lm"),
    "m2m_100": _family("M2M100", "base seq2seq-lm"),
    "mamba": _family("Mamba", "base causal-lm", pre_training="causal-lm"),
    "marian": _family("Marian", "base seq2seq-lm causal-lm", named={"seq2seq-lm": "MarianMTModel"}),
    "mbart": _family(
        "MBart",
        "base seq2seq-lm masked-lm causal-lm sequence-classification question-answering",
        named={"masked-lm": "MBartForConditionalGeneration"},
    ),
    "mistral": _family("Mistral", _DECODER, pre_training="causal-lm"),
    "mixtral": _family("Mixtral", _DECODER, pre_training="causal-lm"),
    "modernbert": _family("ModernBert", _ENCODER),
    "mpnet": _family("MPNet", _ENCODER, pre_training="masked-lm"),
    "mt5": _family("MT5", f"base seq2seq-lm {_HEADS} encoder"),
    "olmo2": _family("Olmo2", "base causal-lm sequence-classification", pre_training="causal-lm"),
    "opt": _family("OPT", "base causal-lm sequence-classification question-answering", pre_training="causal-lm"),
    "pegasus": _family("Pegasus", "base seq2seq-lm causal-lm"),
    "phi": _family("Phi", "base causal-lm sequence-classification token-classification", pre_training="causal-lm"),
    "phi3": _family("Phi3", "base causal-lm sequence-classification token-classification", pre_training="causal-lm"),
    "qwen2": _family("Qwen2", _DECODER, pre_training="causal-lm"),
    "qwen2_moe": _family("Qwen2Moe", _DECODER, pre_training="causal-lm"),
    "qwen3": _family("Qwen3", _DECODER, pre_training="causal-lm"),
    "qwen3_moe": _family("Qwen3Moe", _DECODER, pre_training="causal-lm"),
    "roberta": _family("Roberta", f"base masked-lm causal-lm {_HEADS} multiple-choice", pre_training="masked-lm"),
    "smollm3": _family("SmolLM3", _DECODER, pre_training="causal-lm"),
    "stablelm": _family(
        "StableLm", "base causal-lm sequence-classification token-classification", pre_training="causal-lm"
    ),
    "t5": _family("T5", f"base seq2seq-lm {_HEADS} encoder", pre_training="seq2seq-lm"),
    "tapas": _family(
        "Tapas", "base masked-lm sequence-classification table-question-answering", pre_training="masked-lm"
    ),
    "umt5": _family("UMT5", f"base seq2seq-lm {_HEADS} encoder"),
    "vit": _family("ViT", _IMAGES),
    "wav2vec2": _family("Wav2Vec2", _SOUNDS),
    "xlm-roberta": _family(
        "XLMRoberta", f"base masked-lm causal-lm {_HEADS} multiple-choice", pre_training="masked-lm"
    ),
}

# model_type → its family.
FAMILIES = {
    kind: row._replace(module=f"enfold.models.{row.module or kind.replace('-', '_')}") for kind, row in _ROWS.items()
}

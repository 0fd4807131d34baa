"""Which families there are, and which class serves which task. Names only: a family's module loads on first use."""

import difflib
import importlib
from typing import Any

from enfold.base.errors import ConfigError

# model_type → (module, configuration class, {task: class}).
FAMILIES: dict[str, tuple[str, str, dict[str, str]]] = {
    "albert": (
        "enfold.models.albert",
        "AlbertConfig",
        {
            "base": "AlbertModel",
            "masked-lm": "AlbertForMaskedLM",
            "sequence-classification": "AlbertForSequenceClassification",
            "token-classification": "AlbertForTokenClassification",
            "question-answering": "AlbertForQuestionAnswering",
            "multiple-choice": "AlbertForMultipleChoice",
            "pre-training": "AlbertForPreTraining",
        },
    ),
    "bart": (
        "enfold.models.bart",
        "BartConfig",
        {
            "base": "BartModel",
            "seq2seq-lm": "BartForConditionalGeneration",
            "masked-lm": "BartForConditionalGeneration",
            "causal-lm": "BartForCausalLM",
            "sequence-classification": "BartForSequenceClassification",
            "question-answering": "BartForQuestionAnswering",
            "pre-training": "BartForConditionalGeneration",
        },
    ),
    "bert": (
        "enfold.models.bert",
        "BertConfig",
        {
            "base": "BertModel",
            "masked-lm": "BertForMaskedLM",
            "causal-lm": "BertLMHeadModel",
            "sequence-classification": "BertForSequenceClassification",
            "token-classification": "BertForTokenClassification",
            "question-answering": "BertForQuestionAnswering",
            "multiple-choice": "BertForMultipleChoice",
            "next-sentence": "BertForNextSentencePrediction",
            "pre-training": "BertForPreTraining",
        },
    ),
    "blenderbot": (
        "enfold.models.blenderbot",
        "BlenderbotConfig",
        {
            "base": "BlenderbotModel",
            "seq2seq-lm": "BlenderbotForConditionalGeneration",
            "causal-lm": "BlenderbotForCausalLM",
        },
    ),
    "blenderbot-small": (
        "enfold.models.blenderbot_small",
        "BlenderbotSmallConfig",
        {
            "base": "BlenderbotSmallModel",
            "seq2seq-lm": "BlenderbotSmallForConditionalGeneration",
            "causal-lm": "BlenderbotSmallForCausalLM",
        },
    ),
    "bloom": (
        "enfold.models.bloom",
        "BloomConfig",
        {
            "base": "BloomModel",
            "causal-lm": "BloomForCausalLM",
            "sequence-classification": "BloomForSequenceClassification",
            "token-classification": "BloomForTokenClassification",
            "question-answering": "BloomForQuestionAnswering",
            "pre-training": "BloomForCausalLM",
        },
    ),
    "deberta-v2": (
        "enfold.models.deberta_v2",
        "DebertaV2Config",
        {
            "base": "DebertaV2Model",
            "masked-lm": "DebertaV2ForMaskedLM",
            "sequence-classification": "DebertaV2ForSequenceClassification",
            "token-classification": "DebertaV2ForTokenClassification",
            "question-answering": "DebertaV2ForQuestionAnswering",
            "multiple-choice": "DebertaV2ForMultipleChoice",
            "pre-training": "DebertaV2ForMaskedLM",
        },
    ),
    "deepseek_v2": (
        "enfold.models.deepseek_v2",
        "DeepseekV2Config",
        {
            "base": "DeepseekV2Model",
            "causal-lm": "DeepseekV2ForCausalLM",
            "sequence-classification": "DeepseekV2ForSequenceClassification",
        },
    ),
    "deepseek_v3": (
        "enfold.models.deepseek_v3",
        "DeepseekV3Config",
        {
            "base": "DeepseekV3Model",
            "causal-lm": "DeepseekV3ForCausalLM",
            "sequence-classification": "DeepseekV3ForSequenceClassification",
            "token-classification": "DeepseekV3ForTokenClassification",
        },
    ),
    "distilbert": (
        "enfold.models.distilbert",
        "DistilBertConfig",
        {
            "base": "DistilBertModel",
            "masked-lm": "DistilBertForMaskedLM",
            "sequence-classification": "DistilBertForSequenceClassification",
            "token-classification": "DistilBertForTokenClassification",
            "question-answering": "DistilBertForQuestionAnswering",
            "multiple-choice": "DistilBertForMultipleChoice",
            "pre-training": "DistilBertForMaskedLM",
        },
    ),
    "electra": (
        "enfold.models.electra",
        "ElectraConfig",
        {
            "base": "ElectraModel",
            "masked-lm": "ElectraForMaskedLM",
            "causal-lm": "ElectraForCausalLM",
            "sequence-classification": "ElectraForSequenceClassification",
            "token-classification": "ElectraForTokenClassification",
            "question-answering": "ElectraForQuestionAnswering",
            "multiple-choice": "ElectraForMultipleChoice",
            "pre-training": "ElectraForPreTraining",
        },
    ),
    "falcon_h1": (
        "enfold.models.falcon_h1",
        "FalconH1Config",
        {
            "base": "FalconH1Model",
            "causal-lm": "FalconH1ForCausalLM",
        },
    ),
    "gemma": (
        "enfold.models.gemma",
        "GemmaConfig",
        {
            "base": "GemmaModel",
            "causal-lm": "GemmaForCausalLM",
            "sequence-classification": "GemmaForSequenceClassification",
            "token-classification": "GemmaForTokenClassification",
            "pre-training": "GemmaForCausalLM",
        },
    ),
    "gemma2": (
        "enfold.models.gemma2",
        "Gemma2Config",
        {
            "base": "Gemma2Model",
            "causal-lm": "Gemma2ForCausalLM",
            "sequence-classification": "Gemma2ForSequenceClassification",
            "token-classification": "Gemma2ForTokenClassification",
            "pre-training": "Gemma2ForCausalLM",
        },
    ),
    "gemma3_text": (
        "enfold.models.gemma3",
        "Gemma3TextConfig",
        {
            "base": "Gemma3TextModel",
            "causal-lm": "Gemma3ForCausalLM",
            "sequence-classification": "Gemma3TextForSequenceClassification",
            "pre-training": "Gemma3ForCausalLM",
        },
    ),
    "falcon": (
        "enfold.models.falcon",
        "FalconConfig",
        {
            "base": "FalconModel",
            "causal-lm": "FalconForCausalLM",
            "sequence-classification": "FalconForSequenceClassification",
            "token-classification": "FalconForTokenClassification",
            "question-answering": "FalconForQuestionAnswering",
            "pre-training": "FalconForCausalLM",
        },
    ),
    "gpt_neo": (
        "enfold.models.gpt_neo",
        "GPTNeoConfig",
        {
            "base": "GPTNeoModel",
            "causal-lm": "GPTNeoForCausalLM",
            "sequence-classification": "GPTNeoForSequenceClassification",
            "token-classification": "GPTNeoForTokenClassification",
            "question-answering": "GPTNeoForQuestionAnswering",
            "pre-training": "GPTNeoForCausalLM",
        },
    ),
    "gpt_neox": (
        "enfold.models.gpt_neox",
        "GPTNeoXConfig",
        {
            "base": "GPTNeoXModel",
            "causal-lm": "GPTNeoXForCausalLM",
            "sequence-classification": "GPTNeoXForSequenceClassification",
            "token-classification": "GPTNeoXForTokenClassification",
            "question-answering": "GPTNeoXForQuestionAnswering",
            "pre-training": "GPTNeoXForCausalLM",
        },
    ),
    "gpt_oss": (
        "enfold.models.gpt_oss",
        "GptOssConfig",
        {
            "base": "GptOssModel",
            "causal-lm": "GptOssForCausalLM",
            "sequence-classification": "GptOssForSequenceClassification",
            "token-classification": "GptOssForTokenClassification",
            "pre-training": "GptOssForCausalLM",
        },
    ),
    "gptj": (
        "enfold.models.gptj",
        "GPTJConfig",
        {
            "base": "GPTJModel",
            "causal-lm": "GPTJForCausalLM",
            "sequence-classification": "GPTJForSequenceClassification",
            "question-answering": "GPTJForQuestionAnswering",
            "pre-training": "GPTJForCausalLM",
        },
    ),
    "granite": (
        "enfold.models.granite",
        "GraniteConfig",
        {
            "base": "GraniteModel",
            "causal-lm": "GraniteForCausalLM",
            "pre-training": "GraniteForCausalLM",
        },
    ),
    "gpt2": (
        "enfold.models.gpt2",
        "GPT2Config",
        {
            "base": "GPT2Model",
            "causal-lm": "GPT2LMHeadModel",
            "sequence-classification": "GPT2ForSequenceClassification",
            "token-classification": "GPT2ForTokenClassification",
            "question-answering": "GPT2ForQuestionAnswering",
            "pre-training": "GPT2LMHeadModel",
            "double-heads": "GPT2DoubleHeadsModel",
        },
    ),
    "led": (
        "enfold.models.led",
        "LEDConfig",
        {
            "base": "LEDModel",
            "seq2seq-lm": "LEDForConditionalGeneration",
            "question-answering": "LEDForQuestionAnswering",
            "pre-training": "LEDForConditionalGeneration",
        },
    ),
    "llama": (
        "enfold.models.llama",
        "LlamaConfig",
        {
            "base": "LlamaModel",
            "causal-lm": "LlamaForCausalLM",
            "sequence-classification": "LlamaForSequenceClassification",
            "token-classification": "LlamaForTokenClassification",
            "question-answering": "LlamaForQuestionAnswering",
            "pre-training": "LlamaForCausalLM",
        },
    ),
    "m2m_100": (
        "enfold.models.m2m_100",
        "M2M100Config",
        {
            "base": "M2M100Model",
            "seq2seq-lm": "M2M100ForConditionalGeneration",
        },
    ),
    "marian": (
        "enfold.models.marian",
        "MarianConfig",
        {
            "base": "MarianModel",
            "seq2seq-lm": "MarianMTModel",
            "causal-lm": "MarianForCausalLM",
        },
    ),
    "mbart": (
        "enfold.models.mbart",
        "MBartConfig",
        {
            "base": "MBartModel",
            "seq2seq-lm": "MBartForConditionalGeneration",
            "masked-lm": "MBartForConditionalGeneration",
            "causal-lm": "MBartForCausalLM",
            "sequence-classification": "MBartForSequenceClassification",
            "question-answering": "MBartForQuestionAnswering",
        },
    ),
    "mamba": (
        "enfold.models.mamba",
        "MambaConfig",
        {
            "base": "MambaModel",
            "causal-lm": "MambaForCausalLM",
            "pre-training": "MambaForCausalLM",
        },
    ),
    "mistral": (
        "enfold.models.mistral",
        "MistralConfig",
        {
            "base": "MistralModel",
            "causal-lm": "MistralForCausalLM",
            "sequence-classification": "MistralForSequenceClassification",
            "token-classification": "MistralForTokenClassification",
            "question-answering": "MistralForQuestionAnswering",
            "pre-training": "MistralForCausalLM",
        },
    ),
    "mixtral": (
        "enfold.models.mixtral",
        "MixtralConfig",
        {
            "base": "MixtralModel",
            "causal-lm": "MixtralForCausalLM",
            "sequence-classification": "MixtralForSequenceClassification",
            "token-classification": "MixtralForTokenClassification",
            "question-answering": "MixtralForQuestionAnswering",
            "pre-training": "MixtralForCausalLM",
        },
    ),
    "modernbert": (
        "enfold.models.modernbert",
        "ModernBertConfig",
        {
            "base": "ModernBertModel",
            "masked-lm": "ModernBertForMaskedLM",
            "sequence-classification": "ModernBertForSequenceClassification",
            "token-classification": "ModernBertForTokenClassification",
            "question-answering": "ModernBertForQuestionAnswering",
            "multiple-choice": "ModernBertForMultipleChoice",
        },
    ),
    "mpnet": (
        "enfold.models.mpnet",
        "MPNetConfig",
        {
            "base": "MPNetModel",
            "masked-lm": "MPNetForMaskedLM",
            "sequence-classification": "MPNetForSequenceClassification",
            "token-classification": "MPNetForTokenClassification",
            "question-answering": "MPNetForQuestionAnswering",
            "multiple-choice": "MPNetForMultipleChoice",
            "pre-training": "MPNetForMaskedLM",
        },
    ),
    "mt5": (
        "enfold.models.mt5",
        "MT5Config",
        {
            "base": "MT5Model",
            "seq2seq-lm": "MT5ForConditionalGeneration",
            "sequence-classification": "MT5ForSequenceClassification",
            "token-classification": "MT5ForTokenClassification",
            "question-answering": "MT5ForQuestionAnswering",
            "encoder": "MT5EncoderModel",
        },
    ),
    "olmo2": (
        "enfold.models.olmo2",
        "Olmo2Config",
        {
            "base": "Olmo2Model",
            "causal-lm": "Olmo2ForCausalLM",
            "sequence-classification": "Olmo2ForSequenceClassification",
            "pre-training": "Olmo2ForCausalLM",
        },
    ),
    "opt": (
        "enfold.models.opt",
        "OPTConfig",
        {
            "base": "OPTModel",
            "causal-lm": "OPTForCausalLM",
            "sequence-classification": "OPTForSequenceClassification",
            "question-answering": "OPTForQuestionAnswering",
            "pre-training": "OPTForCausalLM",
        },
    ),
    "pegasus": (
        "enfold.models.pegasus",
        "PegasusConfig",
        {
            "base": "PegasusModel",
            "seq2seq-lm": "PegasusForConditionalGeneration",
            "causal-lm": "PegasusForCausalLM",
        },
    ),
    "phi": (
        "enfold.models.phi",
        "PhiConfig",
        {
            "base": "PhiModel",
            "causal-lm": "PhiForCausalLM",
            "sequence-classification": "PhiForSequenceClassification",
            "token-classification": "PhiForTokenClassification",
            "pre-training": "PhiForCausalLM",
        },
    ),
    "phi3": (
        "enfold.models.phi3",
        "Phi3Config",
        {
            "base": "Phi3Model",
            "causal-lm": "Phi3ForCausalLM",
            "sequence-classification": "Phi3ForSequenceClassification",
            "token-classification": "Phi3ForTokenClassification",
            "pre-training": "Phi3ForCausalLM",
        },
    ),
    "qwen2": (
        "enfold.models.qwen2",
        "Qwen2Config",
        {
            "base": "Qwen2Model",
            "causal-lm": "Qwen2ForCausalLM",
            "sequence-classification": "Qwen2ForSequenceClassification",
            "token-classification": "Qwen2ForTokenClassification",
            "question-answering": "Qwen2ForQuestionAnswering",
            "pre-training": "Qwen2ForCausalLM",
        },
    ),
    "qwen2_moe": (
        "enfold.models.qwen2_moe",
        "Qwen2MoeConfig",
        {
            "base": "Qwen2MoeModel",
            "causal-lm": "Qwen2MoeForCausalLM",
            "sequence-classification": "Qwen2MoeForSequenceClassification",
            "token-classification": "Qwen2MoeForTokenClassification",
            "question-answering": "Qwen2MoeForQuestionAnswering",
            "pre-training": "Qwen2MoeForCausalLM",
        },
    ),
    "qwen3": (
        "enfold.models.qwen3",
        "Qwen3Config",
        {
            "base": "Qwen3Model",
            "causal-lm": "Qwen3ForCausalLM",
            "sequence-classification": "Qwen3ForSequenceClassification",
            "token-classification": "Qwen3ForTokenClassification",
            "question-answering": "Qwen3ForQuestionAnswering",
            "pre-training": "Qwen3ForCausalLM",
        },
    ),
    "qwen3_moe": (
        "enfold.models.qwen3_moe",
        "Qwen3MoeConfig",
        {
            "base": "Qwen3MoeModel",
            "causal-lm": "Qwen3MoeForCausalLM",
            "sequence-classification": "Qwen3MoeForSequenceClassification",
            "token-classification": "Qwen3MoeForTokenClassification",
            "question-answering": "Qwen3MoeForQuestionAnswering",
            "pre-training": "Qwen3MoeForCausalLM",
        },
    ),
    "roberta": (
        "enfold.models.roberta",
        "RobertaConfig",
        {
            "base": "RobertaModel",
            "masked-lm": "RobertaForMaskedLM",
            "causal-lm": "RobertaForCausalLM",
            "sequence-classification": "RobertaForSequenceClassification",
            "token-classification": "RobertaForTokenClassification",
            "question-answering": "RobertaForQuestionAnswering",
            "multiple-choice": "RobertaForMultipleChoice",
            "pre-training": "RobertaForMaskedLM",
        },
    ),
    "smollm3": (
        "enfold.models.smollm3",
        "SmolLM3Config",
        {
            "base": "SmolLM3Model",
            "causal-lm": "SmolLM3ForCausalLM",
            "sequence-classification": "SmolLM3ForSequenceClassification",
            "token-classification": "SmolLM3ForTokenClassification",
            "question-answering": "SmolLM3ForQuestionAnswering",
            "pre-training": "SmolLM3ForCausalLM",
        },
    ),
    "stablelm": (
        "enfold.models.stablelm",
        "StableLmConfig",
        {
            "base": "StableLmModel",
            "causal-lm": "StableLmForCausalLM",
            "sequence-classification": "StableLmForSequenceClassification",
            "token-classification": "StableLmForTokenClassification",
            "pre-training": "StableLmForCausalLM",
        },
    ),
    "t5": (
        "enfold.models.t5",
        "T5Config",
        {
            "base": "T5Model",
            "seq2seq-lm": "T5ForConditionalGeneration",
            "sequence-classification": "T5ForSequenceClassification",
            "token-classification": "T5ForTokenClassification",
            "question-answering": "T5ForQuestionAnswering",
            "pre-training": "T5ForConditionalGeneration",
            "encoder": "T5EncoderModel",
        },
    ),
    "umt5": (
        "enfold.models.umt5",
        "UMT5Config",
        {
            "base": "UMT5Model",
            "seq2seq-lm": "UMT5ForConditionalGeneration",
            "sequence-classification": "UMT5ForSequenceClassification",
            "token-classification": "UMT5ForTokenClassification",
            "question-answering": "UMT5ForQuestionAnswering",
            "encoder": "UMT5EncoderModel",
        },
    ),
    "tapas": (
        "enfold.models.tapas",
        "TapasConfig",
        {
            "base": "TapasModel",
            "masked-lm": "TapasForMaskedLM",
            "sequence-classification": "TapasForSequenceClassification",
            "table-question-answering": "TapasForQuestionAnswering",
            "pre-training": "TapasForMaskedLM",
        },
    ),
    "xlm-roberta": (
        "enfold.models.xlm_roberta",
        "XLMRobertaConfig",
        {
            "base": "XLMRobertaModel",
            "masked-lm": "XLMRobertaForMaskedLM",
            "causal-lm": "XLMRobertaForCausalLM",
            "sequence-classification": "XLMRobertaForSequenceClassification",
            "token-classification": "XLMRobertaForTokenClassification",
            "question-answering": "XLMRobertaForQuestionAnswering",
            "multiple-choice": "XLMRobertaForMultipleChoice",
            "pre-training": "XLMRobertaForMaskedLM",
        },
    ),
}

# Auto class → the task it serves.
AUTO_TASKS = {
    "AutoModel": "base",
    "AutoModelForCausalLM": "causal-lm",
    "AutoModelForMaskedLM": "masked-lm",
    "AutoModelForSeq2SeqLM": "seq2seq-lm",
    "AutoModelForSequenceClassification": "sequence-classification",
    "AutoModelForTokenClassification": "token-classification",
    "AutoModelForQuestionAnswering": "question-answering",
    "AutoModelForTableQuestionAnswering": "table-question-answering",
    "AutoModelForMultipleChoice": "multiple-choice",
    "AutoModelForNextSentencePrediction": "next-sentence",
    "AutoModelForPreTraining": "pre-training",
}


def public_names() -> dict[str, str]:
    """Every class name a user can import from `enfold` → the module that defines it."""
    names = dict.fromkeys([*AUTO_TASKS, "AutoConfig"], "enfold.models.auto")
    for module, config, classes in FAMILIES.values():
        names |= dict.fromkeys([config, *classes.values()], module)
    return names


def family(model_type: str) -> tuple[str, str, dict[str, str]]:
    """The family of a `model_type`.

    Raises:
        ConfigError: none of that name; the message names the nearest.
    """
    if model_type in FAMILIES:
        return FAMILIES[model_type]
    near = difflib.get_close_matches(str(model_type).lower(), FAMILIES, n=1, cutoff=0.4)
    hint = f"the nearest that is known is {near[0]!r}; " if near else ""
    raise ConfigError(f"model_type {model_type!r} is unknown: {hint}known are {', '.join(sorted(FAMILIES))}")


def config_class(model_type: str) -> Any:
    module, name, _ = family(model_type)
    return getattr(importlib.import_module(module), name)


def model_class(model_type: str, task: str) -> Any:
    """The class of a family that serves a task.

    Raises:
        ConfigError: the family has no such head; the message names those that do and those it has.
    """
    module, _, classes = family(model_type)
    if task not in classes:
        able = sorted(name for name, (_, _, theirs) in FAMILIES.items() if task in theirs)
        raise ConfigError(
            f"model_type {model_type!r} has no head for {task!r}; it has {', '.join(classes)}. "
            f"Families with that head: {', '.join(able) or 'none yet'}"
        )
    return getattr(importlib.import_module(module), classes[task])


def class_by_name(name: str) -> Any:
    """The class that a checkpoint's `architectures` entry names, or None."""
    for module, _, classes in FAMILIES.values():
        if name in classes.values():
            return getattr(importlib.import_module(module), name)
    return None

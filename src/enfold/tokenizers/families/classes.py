"""The families' tokenizer classes, under the names that users know: each is little more than its row."""

from typing import Any

from enfold.tokenizers.families import byte_level, marked, unigram, wordpiece
from enfold.tokenizers.families.blenderbot_small import BlenderbotSmallTokenizer as BlenderbotSmallTokenizer
from enfold.tokenizers.families.byt5 import ByT5Tokenizer as ByT5Tokenizer
from enfold.tokenizers.families.canine import CanineTokenizer as CanineTokenizer
from enfold.tokenizers.families.code_llama import CodeLlamaTokenizer as CodeLlamaTokenizer
from enfold.tokenizers.families.codegen import CodeGenTokenizer as CodeGenTokenizer
from enfold.tokenizers.families.language import MBart50Tokenizer as MBart50Tokenizer
from enfold.tokenizers.families.language import MBartTokenizer as MBartTokenizer
from enfold.tokenizers.families.language import NllbTokenizer as NllbTokenizer
from enfold.tokenizers.families.language import SeamlessM4TTokenizer as SeamlessM4TTokenizer
from enfold.tokenizers.families.listed import CTRLTokenizer as CTRLTokenizer
from enfold.tokenizers.families.listed import EsmTokenizer as EsmTokenizer
from enfold.tokenizers.families.listed import MgpstrTokenizer as MgpstrTokenizer
from enfold.tokenizers.families.listed import ProphetNetTokenizer as ProphetNetTokenizer
from enfold.tokenizers.families.m2m100 import M2M100Tokenizer as M2M100Tokenizer
from enfold.tokenizers.families.marian import MarianTokenizer as MarianTokenizer
from enfold.tokenizers.families.perceiver import PerceiverTokenizer as PerceiverTokenizer
from enfold.tokenizers.families.pieces_files import BertGenerationTokenizer as BertGenerationTokenizer
from enfold.tokenizers.families.pieces_files import SiglipTokenizer as SiglipTokenizer
from enfold.tokenizers.families.recipes import Options, Section
from enfold.tokenizers.families.speecht5 import SpeechT5Tokenizer as SpeechT5Tokenizer
from enfold.tokenizers.families.tapas import TapasTokenizer as TapasTokenizer
from enfold.tokenizers.families.tapex import TapexTokenizer as TapexTokenizer
from enfold.tokenizers.families.wav2vec2 import Wav2Vec2CTCTokenizer as Wav2Vec2CTCTokenizer
from enfold.tokenizers.families.whisper import WhisperTokenizer as WhisperTokenizer
from enfold.tokenizers.formats.document import Document
from enfold.tokenizers.pretrained import PreTrainedTokenizerFast

_TYPED = ["input_ids", "token_type_ids", "attention_mask"]
_TYPED_LAST = ["input_ids", "attention_mask", "token_type_ids"]


class BertTokenizer(PreTrainedTokenizerFast):
    """BERT's WordPiece: `[CLS] A [SEP] B [SEP]`, with token types."""

    family = wordpiece.BERT
    model_input_names = _TYPED


class DistilBertTokenizer(BertTokenizer):
    """BERT's WordPiece for a model without token types."""

    model_input_names = ["input_ids", "attention_mask"]


class ConvBertTokenizer(BertTokenizer):
    """ConvBERT's WordPiece; a tokenizer.json is taken as it is."""

    family = wordpiece.CONVBERT


class DPRContextEncoderTokenizer(BertTokenizer):
    """DPR's WordPiece for passages."""

    family = wordpiece.DPR


class DPRQuestionEncoderTokenizer(BertTokenizer):
    """DPR's WordPiece for questions."""

    family = wordpiece.DPR


class MPNetTokenizer(PreTrainedTokenizerFast):
    """MPNet's WordPiece: `<s> A </s></s> B </s>`."""

    family = wordpiece.MPNET


class FunnelTokenizer(PreTrainedTokenizerFast):
    """Funnel's WordPiece: `<cls> A <sep> B <sep>`, with a token type of its own for `<cls>`."""

    family = wordpiece.FUNNEL


class SplinterTokenizer(PreTrainedTokenizerFast):
    """Splinter's WordPiece: a question token stands in for the answer."""

    family = wordpiece.SPLINTER


class GPT2Tokenizer(PreTrainedTokenizerFast):
    """GPT-2's byte-level BPE."""

    family = byte_level.GPT2


class RobertaTokenizer(PreTrainedTokenizerFast):
    """RoBERTa's byte-level BPE: `<s> A </s></s> B </s>`."""

    family = byte_level.ROBERTA


class BlenderbotTokenizer(PreTrainedTokenizerFast):
    """Blenderbot's byte-level BPE."""

    family = byte_level.BLENDERBOT


class DebertaTokenizer(PreTrainedTokenizerFast):
    """DeBERTa's byte-level BPE: `[CLS] A [SEP][SEP] B [SEP]`."""

    family = byte_level.DEBERTA
    model_input_names = _TYPED_LAST


class GPTNeoXTokenizer(PreTrainedTokenizerFast):
    """GPT-NeoX's byte-level BPE over NFC text."""

    family = byte_level.GPT_NEOX


class CohereTokenizer(PreTrainedTokenizerFast):
    """Cohere's byte-level BPE with single digits; pads on the left."""

    family = byte_level.COHERE
    padding_side = "left"


class Qwen2Tokenizer(PreTrainedTokenizerFast):
    """Qwen 2's and 3's byte-level BPE."""

    family = byte_level.QWEN2


class Qwen3_5Tokenizer(PreTrainedTokenizerFast):  # noqa: N801 (its users' name for it)
    """Qwen 3.5's byte-level BPE, which keeps marks with their letters."""

    family = byte_level.QWEN3_5


class NougatTokenizer(PreTrainedTokenizerFast):
    """Nougat's byte-level BPE over single digits, punctuation and lines."""

    family = byte_level.NOUGAT


class CLIPTokenizer(PreTrainedTokenizerFast):
    """CLIP's BPE over lower-cased words with an end mark."""

    family = byte_level.CLIP

    def decode(self, *args: Any, **kwargs: Any) -> Any:
        """Ids → text; a batch of rows gives a list. See `PreTrainedTokenizerFast.decode`."""
        text = super().decode(*args, **kwargs)
        return [_words(one) for one in text] if isinstance(text, list) else _words(text)


class HerbertTokenizer(PreTrainedTokenizerFast):
    """HerBERT's BPE over words with an end mark."""

    family = byte_level.HERBERT


class OpenAIGPTTokenizer(PreTrainedTokenizerFast):
    """The first GPT's BPE over lower-cased words with an end mark."""

    family = byte_level.OPENAI_GPT


class LlamaTokenizer(PreTrainedTokenizerFast):
    """LLaMA's BPE with byte fallback; pads on the left."""

    family = marked.LLAMA
    padding_side = "left"


class GemmaTokenizer(PreTrainedTokenizerFast):
    """Gemma's BPE with byte fallback; pads on the left."""

    family = marked.GEMMA
    padding_side = "left"


class Siglip2Tokenizer(PreTrainedTokenizerFast):
    """SigLIP 2's: Gemma's over lower-cased text."""

    family = marked.SIGLIP2
    padding_side = "left"


class ReformerTokenizer(PreTrainedTokenizerFast):
    """Reformer's BPE over marked spaces."""

    family = marked.REFORMER


class T5Tokenizer(PreTrainedTokenizerFast):
    """T5's Unigram with a hundred sentinel tokens; texts end with `</s>`."""

    family = unigram.T5


class AlbertTokenizer(PreTrainedTokenizerFast):
    """ALBERT's Unigram: `[CLS] A [SEP] B [SEP]`."""

    family = unigram.ALBERT


class FNetTokenizer(AlbertTokenizer):
    """FNet's: ALBERT's with token types; a tokenizer.json is taken as it is."""

    family = unigram.FNET
    model_input_names = ["input_ids", "token_type_ids"]


class RemBertTokenizer(PreTrainedTokenizerFast):
    """RemBERT's Unigram: `[CLS] A [SEP] B [SEP]`."""

    family = unigram.REMBERT

    def _finish(self, document: Document, options: Options) -> Section | None:
        # Only where a tokenizer.json has a template, and nobody asks for another.
        asked = "add_bos_token" in options or "add_eos_token" in options
        return super()._finish(document, options) if self._file_has_template and not asked else None


class XLNetTokenizer(PreTrainedTokenizerFast):
    """XLNet's Unigram: `A <sep> B <sep> <cls>`; pads on the left."""

    family = unigram.XLNET
    padding_side = "left"


class XLMRobertaTokenizer(PreTrainedTokenizerFast):
    """XLM-RoBERTa's Unigram: `<s> A </s></s> B </s>`."""

    family = unigram.XLM_ROBERTA


class BarthezTokenizer(PreTrainedTokenizerFast):
    """BARThez' Unigram."""

    family = unigram.BARTHEZ


class CamembertTokenizer(PreTrainedTokenizerFast):
    """CamemBERT's Unigram: `<s> A </s></s> B </s>`."""

    family = unigram.CAMEMBERT


class BigBirdTokenizer(PreTrainedTokenizerFast):
    """BigBird's Unigram: `[CLS] A [SEP] B [SEP]`."""

    family = unigram.BIG_BIRD


class PegasusTokenizer(PreTrainedTokenizerFast):
    """PEGASUS' Unigram with masks for words and sentences; texts end with `</s>`."""

    family = unigram.PEGASUS


class DebertaV2Tokenizer(PreTrainedTokenizerFast):
    """DeBERTa 2's and 3's Unigram: `[CLS] A [SEP] B [SEP]`."""

    family = unigram.DEBERTA_V2
    model_input_names = _TYPED_LAST


class XGLMTokenizer(PreTrainedTokenizerFast):
    """XGLM's Unigram: texts begin with `</s>`."""

    family = unigram.XGLM


def _words(text: str) -> str:
    return text.replace("</w>", " ").strip()


# Other names for the same classes.
Phi3Tokenizer = LlamaTokenizer
ElectraTokenizer = LayoutLMTokenizer = LxmertTokenizer = MobileBertTokenizer = SqueezeBertTokenizer = BertTokenizer
BartTokenizer = LEDTokenizer = LongformerTokenizer = MvpTokenizer = RobertaTokenizer


def __getattr__(name: str) -> type[PreTrainedTokenizerFast]:
    # `BertTokenizerFast` is `BertTokenizer`: there is one engine.
    found = globals().get(name.removesuffix("Fast"))
    if found is None or not name.endswith("TokenizerFast"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found

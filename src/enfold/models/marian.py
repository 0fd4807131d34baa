"""Marian (Junczys-Dowmunt et al. 2018): translation with computed positions, sometimes of two vocabularies."""

from enfold.models.bart import (
    BartConfig,
    BartDecoder,
    BartForCausalLM,
    BartForConditionalGeneration,
    BartStacks,
    embed_scale,
)
from enfold.models.config import PreTrainedConfig
from enfold.models.sinusoids import TabledEmbed
from enfold.nn import spec


class MarianConfig(BartConfig):
    """Entries of a Marian `config.json`."""

    model_type = "marian"
    defaults = {
        **BartConfig.defaults,
        "vocab_size": 58101,
        "decoder_vocab_size": None,
        "share_encoder_decoder_embeddings": True,
        "pad_token_id": 58100,
        "bos_token_id": None,
        "eos_token_id": 0,
        "decoder_start_token_id": 58100,
        "forced_eos_token_id": 0,
        "num_labels": 2,
    }


class MarianModel(BartStacks):
    """Encoder and decoder. Its factor on tokens also falls on vectors that a caller brings to the decoder."""

    config_class = MarianConfig
    omissible = BartStacks.omissible + r"|(.*\.)?(encoder|decoder)\.embed_positions\.weight$"

    @property
    def one_vocabulary(self) -> bool:
        return self.config.get("share_encoder_decoder_embeddings", True)

    @classmethod
    def embed(cls, config: PreTrainedConfig, *, decoder: bool) -> spec.Embed:
        scale = embed_scale(config)
        return TabledEmbed(
            vocab=(config.get("decoder_vocab_size") if decoder else None) or config.vocab_size,
            positions=config.max_position_embeddings,
            token_scale=1.0 if decoder else scale,
            scale=scale if decoder else 1.0,
            dropout=config.dropout,
            padding_id=config.pad_token_id,
        )


class MarianMTModel(BartForConditionalGeneration):
    """Translation."""

    base_class = MarianModel


class MarianDecoder(BartDecoder):
    """The decoder alone."""

    whole = MarianModel


class MarianForCausalLM(BartForCausalLM):
    """The decoder alone, as a model of text."""

    base_class = MarianDecoder

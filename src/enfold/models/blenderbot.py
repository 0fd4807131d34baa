"""Blenderbot (Roller et al. 2021): replies, with learned positions and norms before each step."""

from dataclasses import replace

from enfold.models.bart import BartConfig, BartDecoder, BartForCausalLM, BartForConditionalGeneration, BartStacks
from enfold.models.config import PreTrainedConfig
from enfold.nn import spec


class BlenderbotConfig(BartConfig):
    """Entries of a Blenderbot `config.json`."""

    model_type = "blenderbot"
    defaults = {
        **BartConfig.defaults,
        "vocab_size": 8008,
        "max_position_embeddings": 128,
        "encoder_layers": 2,
        "encoder_ffn_dim": 10240,
        "encoder_attention_heads": 32,
        "decoder_layers": 24,
        "decoder_ffn_dim": 10240,
        "decoder_attention_heads": 32,
        "d_model": 2560,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "decoder_start_token_id": 1,
        "encoder_no_repeat_ngram_size": 3,
        "num_labels": 2,
    }


class BlenderbotModel(BartStacks):
    """Encoder and decoder."""

    config_class = BlenderbotConfig
    normed = "pre"

    @classmethod
    def embed(cls, config: PreTrainedConfig, *, decoder: bool) -> spec.Embed:
        return replace(super().embed(config, decoder=decoder), offset=0, norm=None)


class BlenderbotForConditionalGeneration(BartForConditionalGeneration):
    """The next turn of a conversation."""

    base_class = BlenderbotModel


class BlenderbotDecoder(BartDecoder):
    """The decoder alone."""

    whole = BlenderbotModel


class BlenderbotForCausalLM(BartForCausalLM):
    """The decoder alone, as a model of text."""

    base_class = BlenderbotDecoder

"""Pegasus (Zhang et al. 2020): summaries, with computed positions and norms before each step."""

from enfold.models.bart import BartConfig, BartDecoder, BartForCausalLM, BartForConditionalGeneration
from enfold.models.marian import MarianModel


class PegasusConfig(BartConfig):
    """Entries of a Pegasus `config.json`."""

    model_type = "pegasus"
    defaults = {
        **BartConfig.defaults,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
        "forced_eos_token_id": 1,
        "num_labels": 2,
    }


class PegasusModel(MarianModel):
    """Encoder and decoder."""

    config_class = PegasusConfig
    normed = "pre"


class PegasusForConditionalGeneration(BartForConditionalGeneration):
    """Text to summary."""

    base_class = PegasusModel


class PegasusDecoder(BartDecoder):
    """The decoder alone."""

    whole = PegasusModel


class PegasusForCausalLM(BartForCausalLM):
    """The decoder alone, as a model of text."""

    base_class = PegasusDecoder

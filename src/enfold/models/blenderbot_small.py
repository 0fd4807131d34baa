"""Blenderbot-small (Roller et al. 2021): BART whose decoder norms its tokens before their positions are added."""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from enfold.models.bart import (
    BartConfig,
    BartDecoder,
    BartForCausalLM,
    BartForConditionalGeneration,
    BartStacks,
)
from enfold.models.config import PreTrainedConfig
from enfold.nn import spec
from enfold.nn.modules import Embed
from enfold.nn.where import Where


class BlenderbotSmallConfig(BartConfig):
    """Entries of a Blenderbot-small `config.json`."""

    model_type = "blenderbot-small"
    defaults = {
        **BartConfig.defaults,
        "max_position_embeddings": 512,
        "encoder_layers": 8,
        "encoder_ffn_dim": 2048,
        "decoder_layers": 8,
        "decoder_ffn_dim": 2048,
        "d_model": 512,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "decoder_start_token_id": 1,
        "num_labels": 2,
    }


class NormedTokens(Embed):
    """Embeddings whose norm sees the tokens alone."""

    def placed(self, x: Tensor, where: Where) -> Tensor:
        assert self.norm is not None
        return super().placed(self.norm(x), where)

    def finish(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.spec.dropout, self.training) if self.training else x


@dataclass(frozen=True)
class NormedEmbed(spec.Embed):
    """Embeddings whose norm sees the tokens alone."""

    def build(self, width: int) -> Any:
        return NormedTokens(self, width)


class BlenderbotSmallModel(BartStacks):
    """Encoder and decoder."""

    config_class = BlenderbotSmallConfig

    @classmethod
    def embed(cls, config: PreTrainedConfig, *, decoder: bool) -> spec.Embed:
        given = replace(super().embed(config, decoder=decoder), offset=0)
        if not decoder:
            return given
        return spec.extended(given, NormedEmbed, token_scale=1.0)


class BlenderbotSmallForConditionalGeneration(BartForConditionalGeneration):
    """The next turn of a conversation."""

    base_class = BlenderbotSmallModel


class BlenderbotSmallDecoder(BartDecoder):
    """The decoder alone."""

    whole = BlenderbotSmallModel


class BlenderbotSmallForCausalLM(BartForCausalLM):
    """The decoder alone, as a model of text."""

    base_class = BlenderbotSmallDecoder

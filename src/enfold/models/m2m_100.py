"""M2M100 (Fan et al. 2021) and NLLB (NLLB team 2022): translation among many languages, with computed positions."""

from torch import Tensor

from enfold.models.bart import BartConfig, BartStacks, embed_scale
from enfold.models.config import PreTrainedConfig
from enfold.models.seq2seq import ConditionalGeneration
from enfold.models.sinusoids import EndlessEmbed
from enfold.nn import spec
from enfold.nn.cache import Cache


class M2M100Config(BartConfig):
    """Entries of an M2M100 or NLLB `config.json`."""

    model_type = "m2m_100"
    defaults = {
        **BartConfig.defaults,
        "vocab_size": 128112,
        "encoder_layerdrop": 0.05,
        "decoder_layerdrop": 0.05,
        "activation_function": "relu",
        "attention_dropout": 0.1,
        "scale_embedding": True,
        "forced_eos_token_id": None,
        "num_labels": 2,
    }


class M2M100Model(BartStacks):
    """Encoder and decoder. Positions count tokens: padding stands outside of them, wherever it is."""

    config_class = M2M100Config
    normed = "pre"

    @classmethod
    def embed(cls, config: PreTrainedConfig, *, decoder: bool) -> spec.Embed:
        return EndlessEmbed(
            vocab=config.vocab_size,
            offset=config.pad_token_id + 1,
            token_scale=embed_scale(config),
            dropout=config.dropout,
            padding_id=config.pad_token_id,
        )

    def positions(self, ids: Tensor | None, mask: Tensor | None, cache: Cache | None = None) -> Tensor | None:
        if ids is None or ids.ndim != 2:
            return None
        real = (ids != self.config.pad_token_id).long()
        if mask is not None and mask.ndim == 2:
            real = real * (mask[:, -ids.shape[1] :] != 0)
        seen = ids.new_tensor(cache.lengths)[:, None] if cache is not None and cache.lengths else 0
        return (real.cumsum(1) + seen) * real - 1


class M2M100ForConditionalGeneration(ConditionalGeneration):
    """Translation."""

    base_class = M2M100Model

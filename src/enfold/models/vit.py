"""ViT (Dosovitskiy et al. 2021): images as rows of patches, an encoder with pre-norm steps."""

from torch import Tensor

from enfold.models.activations import activation
from enfold.models.base import dense
from enfold.models.config import PreTrainedConfig, head_dim
from enfold.models.stacks import States, first_tokens
from enfold.models.vision import ImageClassification, MaskedImageModeling, VisionModel
from enfold.nn import spec
from enfold.nn.modules import ACTIVATIONS
from enfold.weights.names import NameTable


class ViTConfig(PreTrainedConfig):
    """Entries of a ViT `config.json`; `image_size` and `patch_size` may be [height, width]."""

    model_type = "vit"
    defaults = {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "image_size": 224,
        "patch_size": 16,
        "num_channels": 3,
        "qkv_bias": True,
        "encoder_stride": 16,
        "pooler_output_size": None,
        "pooler_act": "tanh",
    }


class ViTModel(VisionModel):
    """The encoder, with the pooler over its first token."""

    config_class = ViTConfig
    base_model_prefix = "vit"
    names = NameTable("""
        stem.cls                       embeddings.cls_token
        stem.mask                      embeddings.mask_token
        stem.positions                 embeddings.position_embeddings
        stem.project                   embeddings.patch_embeddings.projection
        stack.layers.{i}.attn.pre      encoder.layer.{i}.layernorm_before
        stack.layers.{i}.attn.op.q     encoder.layer.{i}.attention.attention.query
        stack.layers.{i}.attn.op.k     encoder.layer.{i}.attention.attention.key
        stack.layers.{i}.attn.op.v     encoder.layer.{i}.attention.attention.value
        stack.layers.{i}.attn.op.o     encoder.layer.{i}.attention.output.dense
        stack.layers.{i}.mlp.pre       encoder.layer.{i}.layernorm_after
        stack.layers.{i}.mlp.op.up     encoder.layer.{i}.intermediate.dense
        stack.layers.{i}.mlp.op.down   encoder.layer.{i}.output.dense
        stack.norm                     layernorm
        pooler                         pooler.dense
    """)

    def __init__(self, config: PreTrainedConfig, add_pooling_layer: bool = True, use_mask_token: bool = False):
        super().__init__(config, masked=use_mask_token)
        self.pooler = None
        if add_pooling_layer:
            self.pooler = dense(config.hidden_size, config.pooler_output_size or config.hidden_size)

    @classmethod
    def spec(cls, config: PreTrainedConfig) -> spec.Stack:
        norm, drop, heads = spec.Norm(config.layer_norm_eps), config.hidden_dropout_prob, config.num_attention_heads
        attention = spec.Attention(
            heads=heads,
            head_dim=head_dim(config.hidden_size, heads),
            kv_heads=heads,
            bias=config.qkv_bias,
            dropout=config.attention_probs_dropout_prob,
        )
        mlp = spec.MLP(config.intermediate_size, activation(config.hidden_act))
        layer = spec.Layer(spec.Step(attention, pre=norm, dropout=drop), spec.Step(mlp, pre=norm, dropout=drop))
        return spec.Stack(width=config.hidden_size, layers=(layer,) * config.num_hidden_layers, norm=norm)

    def pool(self, states: States) -> Tensor | None:
        if self.pooler is None:
            return None
        return ACTIVATIONS[activation(self.config.pooler_act)](self.pooler(first_tokens(states)))


class ViTForImageClassification(ImageClassification):
    """A class for an image."""

    base_class = ViTModel


class ViTForMaskedImageModeling(MaskedImageModeling):
    """What stood behind hidden patches."""

    base_class = ViTModel

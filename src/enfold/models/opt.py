"""OPT (Zhang et al. 2022), and so Galactica: learned positions counted by tokens, sometimes a narrower vocabulary."""

from typing import Any

import torch
from torch import Tensor, nn

from enfold.base.errors import NotBuiltError
from enfold.models.activations import activation
from enfold.models.base import dense
from enfold.models.config import PreTrainedConfig, head_dim
from enfold.models.llama import LlamaForCausalLM
from enfold.models.stacks import SingleStack, States
from enfold.models.tasks import LastTokenClassification, QuestionAnswering
from enfold.nn import spec
from enfold.nn.linear import Embedding, Linear
from enfold.nn.modules import Embed, LayerNorm
from enfold.nn.where import Where
from enfold.weights.names import NameTable


class OPTConfig(PreTrainedConfig):
    """Entries of an OPT `config.json`."""

    model_type = "opt"
    defaults = {
        "vocab_size": 50272,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "ffn_dim": 3072,
        "max_position_embeddings": 2048,
        "do_layer_norm_before": True,
        "_remove_final_layer_norm": False,
        "word_embed_proj_dim": None,
        "dropout": 0.1,
        "attention_dropout": 0.0,
        "num_attention_heads": 12,
        "activation_function": "relu",
        "layerdrop": 0.0,
        "init_std": 0.02,
        "pad_token_id": 1,
        "bos_token_id": 2,
        "eos_token_id": 2,
        "enable_bias": True,
        "layer_norm_elementwise_affine": True,
    }

    @property
    def narrow(self) -> int | None:
        """The width of token vectors, where it is another than the stream's."""
        width = self.word_embed_proj_dim
        return None if width in (None, self.hidden_size) else width


class OPTEmbed(Embed):
    """Tokens, widened to the stream, and then positions."""

    def __init__(self, given: spec.Embed, width: int):
        super().__init__(given, width)
        self.widen = self.project = None
        if given.width:
            self.positions = Embedding(given.offset + given.positions, width)
            self.project = Linear(given.width, width, bias=False)

    def forward(self, ids: Tensor | None, where: Where, *, vectors: Tensor | None = None, types: Tensor | None = None):
        x = self.tokens(ids) if vectors is None else vectors
        return super().forward(None, where, vectors=x if self.project is None else self.project(x), types=types)


class OPTOut(nn.Module):
    """The last norm, and the way back to the width of the tokens' vectors."""

    def __init__(self, norm: nn.Module | None, project: nn.Module | None):
        super().__init__()
        self.norm, self.project = norm, project

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.norm is None else self.norm(x)
        return x if self.project is None else self.project(x)


def by_token(mask: Tensor, columns: int, cache: Any = None) -> Tensor | None:
    """[B, columns] int64: how many tokens stand before each, those of a cache included; anything at padding.

    Args:
        mask: [B, columns], or [B, past + columns]; None is returned for one of other dimensions.
        columns: of the new tokens.
    """
    if mask.ndim != 2:
        return None
    held = getattr(cache, "lengths", ())
    before = torch.tensor(held, device=mask.device)[:, None] if held else 0
    return ((mask[:, -columns:] != 0).long().cumsum(1) - 1 + before).clamp(min=0)


class OPTModel(SingleStack):
    """The decoder."""

    config_class = OPTConfig
    base_model_prefix = "model"
    decoder = True
    ignorable = r"(.*\.)?decoder\.version$"
    names = NameTable("""
        stack.embed.tokens              decoder.embed_tokens
        stack.embed.positions           decoder.embed_positions
        stack.embed.project             decoder.project_in
        stack.layers.{i}.attn.pre       decoder.layers.{i}.self_attn_layer_norm
        stack.layers.{i}.attn.op.q      decoder.layers.{i}.self_attn.q_proj
        stack.layers.{i}.attn.op.k      decoder.layers.{i}.self_attn.k_proj
        stack.layers.{i}.attn.op.v      decoder.layers.{i}.self_attn.v_proj
        stack.layers.{i}.attn.op.o      decoder.layers.{i}.self_attn.out_proj
        stack.layers.{i}.mlp.pre        decoder.layers.{i}.final_layer_norm
        stack.layers.{i}.mlp.op.up      decoder.layers.{i}.fc1
        stack.layers.{i}.mlp.op.down    decoder.layers.{i}.fc2
        stack.norm.norm                 decoder.final_layer_norm
        stack.norm.project              decoder.project_out
    """)

    def __init__(self, config: OPTConfig):
        super().__init__(config)
        stack, narrow = self.stack, config.narrow
        assert stack.spec.embed is not None
        stack.embed = OPTEmbed(stack.spec.embed, config.hidden_size)
        stack.norm = OPTOut(stack.norm, Linear(config.hidden_size, narrow, bias=False) if narrow else None)
        if not config.layer_norm_elementwise_affine:
            for module in stack.modules():
                if isinstance(module, LayerNorm):
                    module.weight = module.bias = None  # type: ignore[assignment]

    def name_table(self) -> NameTable:
        if self.config.do_layer_norm_before:
            return self.names
        rows = "\n".join(f"{row.ours.replace('.pre', '.out')}  {row.theirs}" for row in self.names.rows)
        return NameTable(rows)

    @classmethod
    def spec(cls, config: OPTConfig) -> spec.Stack:
        width, heads, norm, drop = config.hidden_size, config.num_attention_heads, spec.Norm(1e-5), config.dropout
        before = config.do_layer_norm_before
        place: dict[str, Any] = {"pre" if before else "out": norm, "dropout": drop}
        attention = spec.Attention(
            heads=heads,
            head_dim=head_dim(width, heads),
            kv_heads=heads,
            bias=config.enable_bias,
            out_bias=config.enable_bias,
            causal=True,
            dropout=config.attention_dropout,
        )
        mlp = spec.MLP(config.ffn_dim, activation(config.activation_function), bias=config.enable_bias)
        layer = spec.Layer(attn=spec.Step(attention, **place), mlp=spec.Step(mlp, **place))
        return spec.Stack(
            width=width,
            layers=(layer,) * config.num_hidden_layers,
            embed=spec.Embed(
                vocab=config.vocab_size,
                positions=config.max_position_embeddings,
                offset=2,
                padding_id=config.pad_token_id,
                width=config.narrow,
            ),
            norm=norm if before and not config._remove_final_layer_norm else None,
        )

    @property
    def width(self) -> int:
        return self.config.narrow or self.config.hidden_size

    def std(self, name: str) -> float:
        return self.config.init_std

    def run(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        **inputs: Any,
    ) -> States:
        """As every stack's; positions count the tokens that the mask shows.

        Raises:
            NotBuiltError: training with `layerdrop`.
        """
        if self.training and self.config.layerdrop:
            raise NotBuiltError(f"layerdrop={self.config.layerdrop} is not built: set config.layerdrop = 0.0 to train")
        if position_ids is None and attention_mask is not None:
            given = input_ids if input_ids is not None else inputs.get("inputs_embeds")
            if given is not None:
                position_ids = by_token(attention_mask, given.shape[1], inputs.get("past_key_values"))
        return super().run(input_ids, attention_mask, token_type_ids, position_ids, **inputs)


class OPTForCausalLM(LlamaForCausalLM):
    """The next token."""

    base_class = OPTModel

    def __init__(self, config: OPTConfig):
        super().__init__(config)
        self.lm_head = dense(self.width, config.vocab_size, bias=False)


class OPTForSequenceClassification(LastTokenClassification):
    """A class for the whole text, read off its last token."""

    base_class = OPTModel


class OPTForQuestionAnswering(QuestionAnswering):
    """Start and end of an answer."""

    base_class = OPTModel

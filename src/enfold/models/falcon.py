"""Falcon (TII 2023): attention and MLP side by side, queries that share keys; by rotary positions or by ALiBi."""

import math

import torch
from torch import Tensor

from enfold.models.activations import activation
from enfold.models.config import PreTrainedConfig, head_dim
from enfold.models.gpt2 import GPT2ForTokenClassification
from enfold.models.llama import LlamaForCausalLM
from enfold.models.positions import rope
from enfold.models.stacks import SingleStack
from enfold.models.tasks import LastTokenClassification, QuestionAnswering
from enfold.nn import spec
from enfold.nn.relative import Alibi
from enfold.weights.names import NameTable


class FalconConfig(PreTrainedConfig):
    """Entries of a Falcon `config.json`."""

    model_type = "falcon"
    aliases = {"n_embed": "hidden_size"}
    defaults = {
        "vocab_size": 65024,
        "hidden_size": 4544,
        "num_hidden_layers": 32,
        "num_attention_heads": 71,
        "num_ln_in_parallel_attn": None,
        "layer_norm_epsilon": 1e-5,
        "initializer_range": 0.02,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "num_kv_heads": None,
        "alibi": False,
        "new_decoder_architecture": False,
        "multi_query": True,
        "parallel_attn": True,
        "bias": False,
        "max_position_embeddings": 2048,
        "bos_token_id": 11,
        "eos_token_id": 11,
        "ffn_hidden_size": None,
        "activation": "gelu",
    }

    @property
    def key_heads(self) -> int:
        """Heads of keys: as listed in the new architecture, one where all queries share it, else one a query head."""
        if self.new_decoder_architecture:
            return self.num_kv_heads or self.num_attention_heads
        return 1 if self.multi_query else self.num_attention_heads

    @property
    def norms(self) -> str:
        """Of the two steps: "one" for both side by side, "two" side by side, or "sequential"."""
        if self.new_decoder_architecture:
            return "one" if self.num_ln_in_parallel_attn == 1 else "two"
        return "one" if self.parallel_attn else "sequential"


class CoarseAlibi(Alibi):
    """ALiBi by the places of keys, in the bf16 steps and under the score's scale that Falcon was trained with."""

    def __init__(self, given: spec.Alibi, size: int):
        super().__init__(given)
        self.size = size

    def forward(self, new: int, every: int) -> Tensor:
        biases = self.slopes[:, None].bfloat16() * torch.arange(every)
        return (biases.float() / math.sqrt(self.size)).unsqueeze(1).expand(-1, new, -1)

    def along(self, distances: Tensor) -> Tensor | None:
        return None  # what bf16 rounds away depends on the key's place


class FalconModel(SingleStack):
    """The decoder."""

    config_class = FalconConfig
    base_model_prefix = "transformer"
    decoder = True
    ignorable = r".*rotary(_emb)?\.inv_freq$"
    names = NameTable("""
        stack.embed.tokens              word_embeddings
        stack.layers.{i}.attn.op.qkv    h.{i}.self_attention.query_key_value   by_head
        stack.layers.{i}.attn.op.o      h.{i}.self_attention.dense
        stack.layers.{i}.mlp.op.up      h.{i}.mlp.dense_h_to_4h
        stack.layers.{i}.mlp.op.down    h.{i}.mlp.dense_4h_to_h
        stack.norm                      ln_f
    """)
    norm_names = {
        "one": "stack.layers.{i}.attn.pre  h.{i}.input_layernorm",
        "two": """
            stack.layers.{i}.attn.pre   h.{i}.ln_attn
            stack.layers.{i}.mlp.pre    h.{i}.ln_mlp
        """,
        "sequential": """
            stack.layers.{i}.attn.pre   h.{i}.input_layernorm
            stack.layers.{i}.mlp.pre    h.{i}.post_attention_layernorm
        """,
    }

    def __init__(self, config: FalconConfig):
        super().__init__(config)
        if config.alibi:
            heads = config.num_attention_heads
            self.stack.relative = CoarseAlibi(spec.Alibi(heads), head_dim(config.hidden_size, heads))

    def name_table(self) -> NameTable:
        table = self.names + NameTable(self.norm_names[self.config.norms])
        return table.sized("by_head", self.config.num_attention_heads, self.config.key_heads)

    @classmethod
    def spec(cls, config: FalconConfig) -> spec.Stack:
        width, heads = config.hidden_size, config.num_attention_heads
        norm, drop, size = spec.Norm(config.layer_norm_epsilon), config.hidden_dropout, head_dim(width, heads)
        attention = spec.Attention(
            heads=heads,
            head_dim=size,
            kv_heads=config.key_heads,
            bias=config.bias,
            out_bias=config.bias,
            causal=True,
            rope=None if config.alibi else rope(config, size),
            together=True,
            biased=config.alibi,
            dropout=config.attention_dropout,
        )
        mlp = spec.MLP(config.ffn_hidden_size or 4 * width, activation(config.activation), bias=config.bias)
        beside = config.norms != "sequential"
        layer = spec.Layer(
            attn=spec.Step(attention, pre=norm, dropout=drop if beside else config.attention_dropout),
            mlp=spec.Step(mlp, pre=None if config.norms == "one" else norm, dropout=drop, beside=beside),
        )
        return spec.Stack(
            width=width,
            layers=(layer,) * config.num_hidden_layers,
            embed=spec.Embed(vocab=config.vocab_size),
            norm=norm,
        )


class FalconForCausalLM(LlamaForCausalLM):
    """The next token."""

    base_class = FalconModel


class FalconForSequenceClassification(LastTokenClassification):
    """A class for the whole text, read off its last token."""

    base_class = FalconModel


class FalconForTokenClassification(GPT2ForTokenClassification):
    """A class for every token."""

    base_class = FalconModel


class FalconForQuestionAnswering(QuestionAnswering):
    """Start and end of an answer."""

    base_class = FalconModel

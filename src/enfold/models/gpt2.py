"""GPT-2 (Radford et al. 2019): pre-norm decoder with learned positions; weights are stored transposed."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from enfold.base.errors import NotBuiltError
from enfold.models.activations import activation
from enfold.models.base import check_ids, dense
from enfold.models.config import PreTrainedConfig
from enfold.models.generative import GenerativeDecoder
from enfold.models.losses import next_token_labels, token_loss
from enfold.models.outputs import DoubleHeadsOutput
from enfold.models.stacks import SingleStack, States, finish
from enfold.models.tasks import CausalLM, LastTokenClassification, QuestionAnswering, TokenClassification
from enfold.nn import spec
from enfold.nn.modules import ACTIVATIONS
from enfold.weights.names import NameTable


class GPT2Config(PreTrainedConfig):
    """Entries of a GPT-2 `config.json`."""

    model_type = "gpt2"
    aliases = {
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }
    defaults = {
        "vocab_size": 50257,
        "n_positions": 1024,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "n_inner": None,
        "activation_function": "gelu_new",
        "resid_pdrop": 0.1,
        "embd_pdrop": 0.1,
        "attn_pdrop": 0.1,
        "layer_norm_epsilon": 1e-5,
        "initializer_range": 0.02,
        "summary_type": "cls_index",
        "summary_use_proj": True,
        "summary_activation": None,
        "summary_proj_to_labels": True,
        "summary_first_dropout": 0.1,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "bos_token_id": 50256,
        "eos_token_id": 50256,
    }


class GPT2Model(SingleStack):
    """The decoder."""

    config_class = GPT2Config
    base_model_prefix = "transformer"
    decoder = True
    ignorable = r"(.*\.)?h\.\d+\.attn\.(bias|masked_bias)$"
    names = NameTable("""
        stack.embed.tokens              wte
        stack.embed.positions           wpe
        stack.layers.{i}.attn.pre       h.{i}.ln_1
        stack.layers.{i}.attn.op.qkv    h.{i}.attn.c_attn   transposed
        stack.layers.{i}.attn.op.o      h.{i}.attn.c_proj   transposed
        stack.layers.{i}.mlp.pre        h.{i}.ln_2
        stack.layers.{i}.mlp.op.up      h.{i}.mlp.c_fc      transposed
        stack.layers.{i}.mlp.op.down    h.{i}.mlp.c_proj    transposed
        stack.norm                      ln_f
    """)

    @classmethod
    def spec(cls, config: PreTrainedConfig) -> spec.Stack:
        if config.add_cross_attention:
            raise NotBuiltError("GPT-2 with add_cross_attention=True is not built yet")
        width, heads = config.n_embd, config.n_head
        norm, drop = spec.Norm(config.layer_norm_epsilon), config.resid_pdrop
        mlp = spec.MLP(config.n_inner or 4 * width, activation(config.activation_function))

        def layer(depth: int) -> spec.Layer:
            scale = (width // heads) ** -0.5 if config.scale_attn_weights else 1.0
            attention = spec.Attention(
                heads=heads,
                head_dim=width // heads,
                kv_heads=heads,
                causal=True,
                together=True,
                scale=scale / (depth + 1) if config.scale_attn_by_inverse_layer_idx else scale,
                dropout=config.attn_pdrop,
            )
            return spec.Layer(
                attn=spec.Step(attention, pre=norm, dropout=drop), mlp=spec.Step(mlp, pre=norm, dropout=drop)
            )

        return spec.Stack(
            width=width,
            layers=tuple(map(layer, range(config.n_layer))),
            embed=spec.Embed(vocab=config.vocab_size, positions=config.n_positions, dropout=config.embd_pdrop),
            norm=norm,
        )

    def run(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
        **inputs: Any,
    ) -> States:
        """As every stack's; types are looked up among the tokens, and their vectors added."""
        if token_type_ids is not None and (input_ids is None) != (inputs_embeds is None):
            tokens = self.get_input_embeddings()
            if input_ids is not None:
                check_ids(input_ids, tokens.num_embeddings)
            check_ids(token_type_ids, tokens.num_embeddings, "token_type_ids")
            vectors = tokens(input_ids) if inputs_embeds is None else inputs_embeds
            input_ids, inputs_embeds = None, vectors + tokens(token_type_ids)
        return super().run(input_ids, attention_mask, inputs_embeds=inputs_embeds, **inputs)

    def std(self, name: str) -> float:
        # Weights onto the residual stream are smaller by the root of their number (GPT-2 paper, §2.3).
        residual = name.endswith(("attn.op.o.weight", "mlp.op.down.weight"))
        return self.config.initializer_range / (math.sqrt(2 * self.config.n_layer) if residual else 1.0)


class GPT2LMHeadModel(GenerativeDecoder, CausalLM):
    """The next token."""

    base_class = GPT2Model
    head_names = "lm_head  lm_head"
    tied = {"lm_head.weight": "base.stack.embed.tokens.weight"}

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.lm_head = dense(config.n_embd, config.vocab_size, bias=False)

    def scores(self, states: Tensor) -> Tensor:
        return self.lm_head(states)

    def get_output_embeddings(self):
        return self.lm_head


class GPT2DoubleHeadsModel(GPT2LMHeadModel):
    """The next token, and which of several continuations is right."""

    head_names = """
        lm_head   lm_head
        choice    multiple_choice_head.summary
    """

    def __init__(self, config: PreTrainedConfig):
        config.num_labels = 1  # one score for each choice
        super().__init__(config)
        if config.summary_type not in ("last", "first", "mean", "cls_index"):
            raise NotBuiltError(
                f"summary_type={config.summary_type!r} is not built; use last, first, mean or cls_index"
            )
        outputs = config.num_labels if config.summary_proj_to_labels and config.num_labels > 0 else config.n_embd
        self.choice: nn.Module = dense(config.n_embd, outputs) if config.summary_use_proj else nn.Identity()

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        mc_token_ids: Tensor | None = None,
        labels: Tensor | None = None,
        mc_labels: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> DoubleHeadsOutput | tuple:
        """Token logits [B, choices, T, vocab] and choice logits [B, choices].

        Args:
            input_ids: [B, choices, T] int64.
            mc_token_ids: [B, choices], the column that a choice is read from; default the last.
            labels: [B, choices, T], not shifted.
            mc_labels: [B].
        """
        given = input_ids if input_ids is not None else inputs["inputs_embeds"]
        outer = given.shape[: 2 if (input_ids is not None and given.ndim == 3) or given.ndim == 4 else 1]
        flatten = (lambda x: x.flatten(0, 1)) if len(outer) == 2 else (lambda x: x)
        flat = {name: flatten(value) if isinstance(value, Tensor) else value for name, value in inputs.items()}
        mask = None if attention_mask is None else flatten(attention_mask)
        states = self.base.run(None if input_ids is None else flatten(input_ids), mask, **flat)
        scores = self.lm_head(states.packed)
        chosen = self._summary(states.unpack(), None if mc_token_ids is None else mc_token_ids.reshape(-1))
        chosen = chosen.unflatten(0, outer).squeeze(-1)
        loss = mc_loss = None
        if labels is not None:
            loss = token_loss(scores, states.packing.pack(next_token_labels(flatten(labels), mask)))
        if mc_labels is not None:
            mc_loss = F.cross_entropy(chosen.view(-1, chosen.shape[-1]), mc_labels.view(-1))
        logits = states.packing.unpack(scores).unflatten(0, outer)
        return finish(
            DoubleHeadsOutput(loss, mc_loss, logits, chosen, states.cache, states.hidden_states, states.attentions),
            self.config,
            return_dict,
        )

    def _summary(self, states: Tensor, columns: Tensor | None) -> Tensor:
        """[B, T, D] → [B, choice outputs]."""
        match self.config.summary_type:
            case "first":
                x = states[:, 0]
            case "mean":
                x = states.mean(1)
            case "cls_index" if columns is not None:
                x = states[torch.arange(len(states), device=states.device), columns]
            case _:
                x = states[:, -1]
        x = self.choice(self.drop(x, self.config.summary_first_dropout))
        return ACTIVATIONS[activation(self.config.summary_activation)](x) if self.config.summary_activation else x


class GPT2ForSequenceClassification(LastTokenClassification):
    """A class for the whole text, read off its last token."""

    base_class = GPT2Model


class GPT2ForTokenClassification(TokenClassification):
    """A class for every token."""

    base_class = GPT2Model

    def head_dropout(self) -> float:
        for name in ("classifier_dropout", "hidden_dropout"):
            if self.config.get(name) is not None:
                return self.config.get(name)
        return 0.1


class GPT2ForQuestionAnswering(QuestionAnswering):
    """Start and end of an answer."""

    base_class = GPT2Model

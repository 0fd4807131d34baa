"""Task models over a single stack: a base model and a head. A family names its base and its heads' weights."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from enfold.base.errors import ArgumentError
from enfold.models.base import PreTrainedModel, dense
from enfold.models.config import PreTrainedConfig
from enfold.models.losses import chunked_token_loss, next_token_labels, sequence_loss, span_loss, token_loss
from enfold.models.outputs import LogitsOutput, QuestionAnsweringOutput
from enfold.models.stacks import SingleStack, States, finish, pick
from enfold.nn import spec
from enfold.nn.modules import ACTIVATIONS, norm
from enfold.weights.names import NameTable


class TaskModel(PreTrainedModel):
    """A base model under a head.

    Class attributes of a family:
        base_class: the base model.
        base_options: what its constructor gets beside the configuration.
        head_names: rows of the name table for the head.
        prefix: how the base's names begin in the checkpoint; None: with `base_model_prefix`.
    """

    base_class: ClassVar[type[SingleStack]]
    base_options: ClassVar[dict[str, Any]] = {}
    head_names: ClassVar[str] = ""
    prefix: ClassVar[str | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        base = getattr(cls, "base_class", None)
        if base is None:
            return
        cls.config_class, cls.ignorable, cls.omissible = base.config_class, base.ignorable, base.omissible
        prefix = cls.__dict__.get("base_model_prefix", base.base_model_prefix)
        cls.base_model_prefix = prefix

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.base = self.base_class(config, **self.base_options)

    def name_table(self) -> NameTable:
        prefix = self.base_model_prefix and f"{self.base_model_prefix}." if self.prefix is None else self.prefix
        return self.base.name_table().under("base.", prefix) + NameTable(self.head_names)

    def std(self, name: str) -> float:
        return self.base.std(name.removeprefix("base."))

    def normal(self, parameter: Tensor, std: float) -> None:
        self.base.normal(parameter, std)

    def padding_row(self, name: str) -> int | None:
        return self.base.padding_row(name)

    @property
    def width(self) -> int:
        return self.base.width

    def result(self, states: States, **fields: Any) -> LogitsOutput:
        """An output with what every task returns."""
        return LogitsOutput(
            past_key_values=states.cache,
            hidden_states=states.hidden_states,
            attentions=states.attentions,
            cross_attentions=states.cross_attentions,
            router_logits=states.router_logits,
            **fields,
        )

    def drop(self, x: Tensor, probability: float | None) -> Tensor:
        """Dropout of a head, while training."""
        return F.dropout(x, probability or 0.0, self.training) if self.training else x


class LanguageModel(TaskModel):
    """A head onto the vocabulary."""

    def scores(self, states: Tensor) -> Tensor:
        """[N, D] → [N, vocab]."""
        raise NotImplementedError


def vocabulary_loss(model: TaskModel, scores: Callable[[Tensor], Tensor], states: Tensor, labels: Tensor) -> Tensor:
    """`token_loss(scores(states), labels)` without holding all the scores: states [N, D], labels [N]."""
    head = [p for n, p in model.named_parameters(remove_duplicate=False) if not n.startswith("base.")]
    return chunked_token_loss(scores, head, states, labels, model.config.vocab_size)


class MaskedLM(LanguageModel):
    """Scores of every token of the vocabulary at every place: what stood behind a mask."""

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        output_logits: bool = True,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> LogitsOutput | tuple:
        """Logits [B, T, vocab]; `labels` [B, T] with -100 where nothing is asked.

        With labels and `output_logits=False` only the loss is made, in a fraction of the memory.
        """
        states = self.base.run(input_ids, attention_mask, **inputs)
        if labels is not None and not output_logits:
            loss = vocabulary_loss(self, self.scores, states.packed, states.packing.pack(labels))
            return finish(self.result(states, loss=loss), self.config, return_dict)
        scores = self.scores(states.packed)
        loss = None if labels is None else token_loss(scores, states.packing.pack(labels))
        return finish(self.result(states, loss=loss, logits=states.packing.unpack(scores)), self.config, return_dict)


class CausalLM(LanguageModel):
    """Scores of the next token."""

    def targets(self, labels: Tensor, mask: Tensor | None, sequence_ids: Tensor | None = None) -> Tensor:
        """[B, T] what each column is to predict; -100 where nothing counts."""
        return next_token_labels(labels, mask, sequence_ids)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        logits_to_keep: int = 0,
        output_logits: bool = True,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> LogitsOutput | tuple:
        """Logits [B, T, vocab].

        Args:
            labels: [B, T], not shifted; -100 doesn't count, nor does padding.
            logits_to_keep: only the last so many columns (0: all).
            output_logits: False, with labels: only the loss is made, in a fraction of the memory.
            inputs: as of the base model.
        """
        states = self.base.run(input_ids, attention_mask, **inputs)
        if labels is not None and not output_logits:
            targets = self.targets(labels, attention_mask, inputs.get("sequence_ids"))
            loss = vocabulary_loss(self, self.scores, states.packed, states.packing.pack(targets))
            return finish(self.result(states, loss=loss), self.config, return_dict)
        if logits_to_keep and labels is None:
            packing, kept = states.packing.last_columns(logits_to_keep)
            logits = packing.unpack(self.scores(states.packed[kept.to(states.packed.device)]))
            return finish(self.result(states, logits=logits), self.config, return_dict)
        scores = self.scores(states.packed)
        loss = None
        if labels is not None:
            targets = self.targets(labels, attention_mask, inputs.get("sequence_ids"))
            loss = token_loss(scores, states.packing.pack(targets))
        logits = states.packing.unpack(scores)[:, -logits_to_keep:]
        return finish(self.result(states, loss=loss, logits=logits), self.config, return_dict)


class SequenceClassification(TaskModel):
    """One answer a sequence."""

    def classify(self, states: States, input_ids: Tensor | None) -> Tensor:
        """[B, classes]."""
        raise NotImplementedError

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Of logits [B, classes]."""
        return sequence_loss(logits, labels, self.config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> LogitsOutput | tuple:
        """Logits [B, classes]; the loss follows `config.problem_type`."""
        states = self.base.run(input_ids, attention_mask, **inputs)
        logits = self.classify(states, input_ids)
        loss = None if labels is None else self.loss(logits, labels)
        return finish(self.result(states, loss=loss, logits=logits), self.config, return_dict)


class LastTokenClassification(SequenceClassification):
    """A decoder's answer: a linear map of the state at each row's last token that isn't padding."""

    head_names = "score  score"

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.score = dense(self.width, config.num_labels, bias=False)

    def classify(self, states: States, input_ids: Tensor | None) -> Tensor:
        rows, columns = states.packing.shape
        pad = self.config.pad_token_id
        if pad is None and rows != 1 and not states.packing.told:
            raise ArgumentError(
                f"config.pad_token_id is None and the batch has {rows} rows: set it (model.config.pad_token_id = "
                "tokenizer.pad_token_id) or pass attention_mask, so that the last real token of each row can be found"
            )
        if pad is None or input_ids is None:
            return self.score(pick(states, states.where.last))
        kept = torch.arange(columns, device=input_ids.device) * (input_ids != pad)
        return self.score(states.unpack()[torch.arange(rows, device=input_ids.device), kept.argmax(-1)])


class TokenClassification(TaskModel):
    """One answer a token."""

    head_names = "classifier  classifier"
    head: ClassVar[str] = "classifier"

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        setattr(self, self.head, dense(self.width, config.num_labels))

    def head_dropout(self) -> float:
        """Dropout before the classifier."""
        return 0.1 if self.config.classifier_dropout is None else self.config.classifier_dropout

    def features(self, states: Tensor) -> Tensor:
        """What the head maps, of states [N, D]."""
        return self.drop(states, self.head_dropout())

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> LogitsOutput | tuple:
        """Logits [B, T, classes]; `labels` [B, T] with -100 where nothing counts."""
        states = self.base.run(input_ids, attention_mask, **inputs)
        scores = getattr(self, self.head)(self.features(states.packed))
        loss = None if labels is None else token_loss(scores, states.packing.pack(labels))
        return finish(self.result(states, loss=loss, logits=states.packing.unpack(scores)), self.config, return_dict)


class QuestionAnswering(TaskModel):
    """Where an answer starts and ends."""

    head_names = "qa_outputs  qa_outputs"

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.qa_outputs = dense(self.width, 2)

    def head_dropout(self) -> float:
        """Dropout before the head."""
        return 0.0

    def features(self, states: Tensor) -> Tensor:
        """What the head maps, of states [N, D]."""
        return self.drop(states, self.head_dropout())

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> QuestionAnsweringOutput | tuple:
        """Start and end logits [B, T]; -inf at padding."""
        states = self.base.run(input_ids, attention_mask, **inputs)
        start, end = spans(self.qa_outputs(self.features(states.packed)), states)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = span_loss(start, end, start_positions, end_positions)
        return finish(
            QuestionAnsweringOutput(loss, start, end, states.hidden_states, states.attentions), self.config, return_dict
        )


def spans(scores: Tensor, states: States) -> tuple[Tensor, Tensor]:
    """Packed scores [N, 2] → start and end logits [B, T], -inf at padding."""
    logits = states.packing.unpack(scores)
    if states.packing.index is not None:
        kept = states.packing.unpack(torch.ones(len(scores), dtype=torch.bool, device=scores.device))
        logits = logits.masked_fill(~kept.unsqueeze(-1), float("-inf"))
    start, end = logits.unbind(-1)
    return start, end


class MultipleChoice(SequenceClassification):
    """One score for each of several continuations: inputs [B, choices, T], logits [B, choices]."""

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> LogitsOutput | tuple:
        """Logits [B, choices]; `labels` [B] is the right choice."""
        given = input_ids if input_ids is not None else inputs.get("inputs_embeds")
        if given is None or given.ndim < 3:
            raise ArgumentError("multiple choice takes input_ids of shape [batch, choices, length]")
        choices = given.shape[1]
        flat: dict[str, Any] = {n: x.flatten(0, 1) if isinstance(x, Tensor) else x for n, x in inputs.items()}
        ids = None if input_ids is None else input_ids.flatten(0, 1)
        mask = None if attention_mask is None else attention_mask.flatten(0, 1)
        states = self.base.run(ids, mask, **flat)
        logits = self.classify(states, ids).view(-1, choices)
        loss = None if labels is None else F.cross_entropy(logits, labels.to(logits.device))
        return finish(self.result(states, loss=loss, logits=logits), self.config, return_dict)


class Transform(nn.Module):
    """Dense, activation, norm: x [N, D] → [N, E]."""

    def __init__(self, width: int, narrow: int, act: spec.Activation, given: spec.Norm | None, *, bias: bool = True):
        super().__init__()
        self.dense = dense(width, narrow, bias=bias)
        self.act = ACTIVATIONS[act]
        self.norm = norm(given, narrow)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.dense(x))
        return x if self.norm is None else self.norm(x)


class Vocabulary(Transform):
    """A transform to the width of the stack's embeddings, and the map onto their vocabulary: x [N, D] → [N, vocab]."""

    def __init__(self, given: spec.Stack, act: spec.Activation, *, bias: bool = True, decoder_bias: bool = True):
        assert given.embed is not None
        narrow = given.embed.width or given.width
        super().__init__(given.width, narrow, act, given.embed.norm, bias=bias)
        self.decoder = dense(narrow, given.embed.vocab, bias=decoder_bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(super().forward(x))


class VocabularyModel(LanguageModel):
    """BERT's masked-language head, whose last map is tied to the embeddings.

    Class attributes of a family:
        head_act: the activation in it; None: that of the layers.
        stored_aliases: other names of its bias. A checkpoint may hold one bias twice; the alias is the one that counts
            where nothing is tied.
    """

    tied = {"head.decoder.weight": "base.stack.embed.tokens.weight"}
    head_act: ClassVar[spec.Activation | None] = None

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.head = self.vocabulary(config)

    def vocabulary(self, config: PreTrainedConfig) -> nn.Module:
        """The head; its kin's differ."""
        stack = self.base.stack.spec
        step = stack.layers[0].mlp
        assert step is not None
        op = step.op
        assert isinstance(op, spec.MLP)
        return Vocabulary(stack, self.head_act or op.act)

    def aliases(self) -> dict[str, str]:
        if self.config.tie_word_embeddings:
            return self.stored_aliases
        return {name: alias for alias, name in self.stored_aliases.items()}

    def name_table(self) -> NameTable:
        names = super().name_table()
        if self.config.tie_word_embeddings:
            return names
        renamed = self.aliases()
        return NameTable(rows=[replace(row, theirs=renamed.get(row.theirs, row.theirs)) for row in names.rows])

    def scores(self, states: Tensor) -> Tensor:
        return self.head(states)

    def get_output_embeddings(self):
        return self.head.decoder

"""Task models over an encoder and a decoder: base model and head. A family names its base and the heads' weights."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.models.base import dense
from enfold.models.config import PreTrainedConfig
from enfold.models.generative import GenerativeSeq2Seq
from enfold.models.losses import sequence_loss, span_loss, token_loss
from enfold.models.outputs import Seq2SeqOutput
from enfold.models.stacks import EncoderDecoder, States, finish
from enfold.models.tasks import TaskModel, spans, vocabulary_loss
from enfold.nn.modules import Stack


class Seq2SeqTask(TaskModel):
    """An encoder and a decoder under a head."""

    base_class: ClassVar[type[EncoderDecoder]]  # type: ignore[assignment]
    base: EncoderDecoder  # type: ignore[assignment]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "base_class"):
            cls.stored_aliases = cls.base_class.stored_aliases

    def ties(self) -> dict[str, str]:
        own = self.tied if self.config.tie_word_embeddings else {}
        return {f"base.{copy}": f"base.{source}" for copy, source in self.base.ties().items()} | own

    @property
    def width(self) -> int:
        return self.base.decoder.spec.width

    @property
    def encoder(self) -> Stack:
        return self.base.encoder

    @property
    def decoder(self) -> Stack:
        return self.base.decoder

    def encode(self, *args: Any, **inputs: Any) -> States:
        """The encoder's packed states; arguments as `EncoderDecoder.encode`."""
        return self.base.encode(*args, **inputs)

    def shift_right(self, labels: Tensor) -> Tensor:
        """Decoder inputs that predict `labels`; see `EncoderDecoder.shift_right`."""
        return self.base.shift_right(labels)

    def run(
        self, input_ids: Tensor | None, attention_mask: Tensor | None, wanted: Tensor | None, inputs: dict[str, Any]
    ) -> tuple[States, Seq2SeqOutput]:
        """The base's answer; without decoder inputs, the decoder reads `wanted` shifted right."""
        fed = inputs.get("decoder_input_ids"), inputs.get("decoder_inputs_embeds")
        if wanted is not None and fed == (None, None):
            inputs = inputs | {"decoder_input_ids": self.shift_right(wanted)}
        return self.base.run(input_ids, attention_mask, **inputs)


class ConditionalGeneration(GenerativeSeq2Seq, Seq2SeqTask):
    """Text to text."""

    head_names = "lm_head  lm_head"
    tied = {"lm_head.weight": "base.decoder.embed.tokens.weight"}

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        embed = self.decoder.spec.embed
        assert embed is not None
        self.lm_head = dense(self.width, embed.vocab, bias=False)

    def scores(self, states: Tensor) -> Tensor:
        """[N, D] → [N, vocab]."""
        return self.lm_head(states)

    def get_output_embeddings(self):
        return self.lm_head

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """What data collators call: `shift_right`."""
        return self.shift_right(labels)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        output_logits: bool = True,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> Seq2SeqOutput | tuple:
        """Logits [B, T, vocab]; with `labels` [B, T] and no decoder inputs, these are the labels shifted right.

        With labels and `output_logits=False` only the loss is made, in a fraction of the memory.
        """
        decoded, output = self.run(input_ids, attention_mask, labels, inputs)
        if labels is not None and not output_logits:
            output.loss = vocabulary_loss(self, self.scores, decoded.packed, decoded.packing.pack(labels))
            return finish(output, self.config, return_dict)
        scores = self.scores(decoded.packed)
        if labels is not None:
            output.loss = token_loss(scores, decoded.packing.pack(labels))
        output.logits = decoded.packing.unpack(scores)
        return finish(output, self.config, return_dict)


class Seq2SeqSequenceClassification(Seq2SeqTask):
    """A class for the whole text, read off the decoder's state at its last end-of-text token."""

    head_names = """
        dense   classification_head.dense
        out     classification_head.out_proj
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.dense = dense(self.width, self.width)
        self.out = dense(self.width, config.num_labels)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> Seq2SeqOutput | tuple:
        """Logits [B, classes]; the decoder reads the source shifted right unless given its own input."""
        if input_ids is None:
            raise ArgumentError(
                f"{type(self).__name__} reads input_ids: it looks for the end-of-text token in them, which "
                "inputs_embeds doesn't tell"
            )
        decoded, output = self.run(input_ids, attention_mask, input_ids, inputs)
        ends = input_ids == self.config.eos_token_id
        if not bool(ends.any(1).all()):
            raise ArgumentError(f"each row of input_ids must hold the end-of-text token {self.config.eos_token_id}")
        last = input_ids.shape[1] - 1 - ends.flip(1).long().argmax(1)
        x = decoded.unpack()[torch.arange(len(input_ids), device=input_ids.device), last]
        drop = self.config.classifier_dropout
        x = torch.tanh(self.dense(self.drop(x, drop)))
        output.logits = logits = self.out(self.drop(x, drop))
        output.loss = None if labels is None else sequence_loss(logits, labels, self.config)
        return finish(output, self.config, return_dict)


class Seq2SeqQuestionAnswering(Seq2SeqTask):
    """Start and end of an answer, read off the decoder's states."""

    head_names = "qa_outputs  qa_outputs"

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.qa_outputs = dense(self.width, 2)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> Seq2SeqOutput | tuple:
        """Start and end logits [B, T]; the decoder reads the source shifted right unless given its own input."""
        decoded, output = self.run(input_ids, attention_mask, input_ids, inputs)
        output.start_logits, output.end_logits = spans(self.qa_outputs(decoded.packed), decoded)
        if start_positions is not None and end_positions is not None:
            output.loss = span_loss(output.start_logits, output.end_logits, start_positions, end_positions)
        return finish(output, self.config, return_dict)

"""Models that read sounds: what is hidden of them while training, and the tasks over frames."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from enfold.base.errors import ArgumentError
from enfold.models.base import dense
from enfold.models.config import PreTrainedConfig
from enfold.models.losses import IGNORED
from enfold.models.outputs import LogitsOutput
from enfold.models.stacks import States, finish, mean_tokens
from enfold.models.stems import no_tokens
from enfold.models.tasks import TaskModel


def spans(lengths: Sequence[int], columns: int, *, share: float, length: int, fewest: int) -> Tensor:
    """[rows, columns] bool: random spans to hide (Park et al. 2019, "SpecAugment"), by torch's generator.

    Args:
        lengths: how many columns of each row are there.
        share: of a row's columns, if spans didn't overlap.
        length: columns of a span.
        fewest: spans of a row, where they fit.
    """
    chosen = torch.zeros(len(lengths), columns, dtype=torch.bool)
    luck = float(torch.rand(()))  # rounds shares of spans up or down
    for row, real in zip(chosen, lengths, strict=True):
        places = real - length + 1
        count = min(max(int(share * real / length + luck), fewest), columns // length, max(places, 0))
        for start in torch.randperm(max(places, 0))[:count].tolist():
            row[start : start + length] = True
    return chosen


def ctc_loss(logits: Tensor, labels: Tensor, lengths: Tensor, config: PreTrainedConfig) -> Tensor:
    """Connectionist temporal classification (Graves et al. 2006); the padding token is the blank.

    Args:
        logits: [B, T, vocab].
        labels: [B, L]; -100 and the blank don't count.
        lengths: [B] frames of each row.
    """
    if labels.numel() and int(labels.max()) >= config.vocab_size:
        raise ArgumentError(
            f"labels hold {int(labels.max())}, and the model has {config.vocab_size} classes: the tokenizer doesn't "
            "fit the model"
        )
    labels = labels.to(logits.device)
    counted = (labels != IGNORED) & (labels != config.pad_token_id)
    scores = logits.log_softmax(-1, dtype=torch.float32).transpose(0, 1)
    with torch.backends.cudnn.flags(enabled=False):  # its own takes no lengths but its own
        return F.ctc_loss(
            scores,
            labels[counted],
            lengths.to(logits.device),
            counted.sum(-1),
            blank=config.pad_token_id,
            reduction=config.ctc_loss_reduction,
            zero_infinity=bool(config.ctc_zero_infinity),
        )


class SpeechTask(TaskModel):
    """A base model that reads sounds, under a head."""

    main_input_name = "input_values"

    def aliases(self) -> dict[str, str]:
        return self.base.aliases()

    def freeze_feature_encoder(self) -> None:
        """Let the convolutions over the waveform learn no more."""
        self.base.freeze_feature_encoder()

    def freeze_base_model(self) -> None:
        """Let nothing learn but the head."""
        self.base.requires_grad_(False)

    def get_input_embeddings(self) -> nn.Embedding:
        raise no_tokens(self)


class CTC(SpeechTask):
    """A token, or the blank, for each frame."""

    head_names = "head  lm_head"
    loss_over = "rows"

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        if config.vocab_size is None:
            raise ArgumentError(
                f"{type(self).__name__} needs to know how many tokens there are: pass vocab_size=len(tokenizer)"
            )
        self.head = dense(config.hidden_size, config.vocab_size)

    def forward(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> LogitsOutput | tuple:
        """Logits [B, T, vocab] of T frames, zeros at padding; `labels` [B, L] token ids, -100 doesn't count."""
        states = self.base.run(input_values, attention_mask, **inputs)
        logits = states.packing.unpack(self.head(self.drop(states.packed, self.config.final_dropout)))
        loss = None
        if labels is not None:
            loss = ctc_loss(logits, labels, torch.tensor(states.packing.lengths), self.config)
        return finish(self.result(states, loss=loss, logits=logits), self.config, return_dict)


class AudioClassification(SpeechTask):
    """A class for a sound: the mean of its frames, or of a learnt mixture of all layers' (`use_weighted_layer_sum`)."""

    head_names = """
        mixture      layer_weights
        projector    projector
        classifier   classifier
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.mixture = nn.Parameter(torch.empty(config.num_hidden_layers + 1)) if self.mixes else None
        self.projector = dense(config.hidden_size, config.classifier_proj_size)
        self.classifier = dense(config.classifier_proj_size, config.num_labels)

    @property
    def mixes(self) -> bool:
        """Whether all layers are read."""
        return bool(self.config.use_weighted_layer_sum)

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        """A fresh mixture: all layers alike."""
        parameter.fill_(1 / len(parameter))

    def forward(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> LogitsOutput | tuple:
        """Logits [B, classes]; `labels` [B]."""
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        states = self.base.run(input_values, attention_mask, output_hidden_states=wanted or self.mixes, **inputs)
        logits = self.classifier(self.pooled(states))
        loss = None if labels is None else F.cross_entropy(logits, labels.view(-1).to(logits.device))
        if not wanted:
            states.trace.hidden = None
        return finish(self.result(states, loss=loss, logits=logits), self.config, return_dict)

    def pooled(self, states: States) -> Tensor:
        """[B, projected]: the mean over the frames of each row."""
        if self.mixture is not None:
            assert states.trace.hidden is not None
            weights = self.mixture.softmax(-1)
            states.packed = (torch.stack(states.trace.hidden) * weights[:, None, None]).sum(0)
        states.packed = self.projector(states.packed)
        return mean_tokens(states)

"""A small model learns what a large one says."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from enfold.accelerate import operations
from enfold.base.errors import ArgumentError
from enfold.models.losses import IGNORED
from enfold.training.arguments import TrainingArguments
from enfold.training.seq2seq import Seq2SeqTrainer
from enfold.training.trainer import Trainer


class DistillationTrainer(Trainer):
    """`Trainer` whose model also learns a teacher's probabilities (Hinton et al. 2015) and states (Sanh et al. 2019).

    The loss is `(1 - logits_weight) · own + logits_weight · T² · KL(teacher ‖ model) + hidden_weight · (1 - cos)`,
    each a mean over what counts: the tokens or rows with a label, and for states all tokens but padding. Evaluation
    takes the model's own loss.

    >>> DistillationTrainer(small, args, teacher=large, train_dataset=rows, hidden_layers={2: 6, 4: 12}, …)

    Args:
        teacher: a model of the same task and classes (or vocabulary); it doesn't learn.
        temperature: T, by which both logits are divided.
        logits_weight: the share of the teacher's probabilities in the loss, 0 to 1.
        hidden_layers: {layer of the model: layer of the teacher} whose outputs are to point the same way; 0 is the
            embeddings. Both models need the same width.
        hidden_weight: of these.
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        args: TrainingArguments | None = None,
        *,
        teacher: nn.Module,
        temperature: float = 2.0,
        logits_weight: float = 0.5,
        hidden_layers: dict[int, int] | None = None,
        hidden_weight: float = 1.0,
        **given: Any,
    ):
        super().__init__(model, args, **given)
        if not 0 <= logits_weight <= 1:
            raise ArgumentError(f"logits_weight={logits_weight}; expected 0 to 1")
        if temperature <= 0:
            raise ArgumentError(f"temperature={temperature}; expected more than 0")
        if self.label_smoother is not None or self.compute_loss_func is not None:
            raise ArgumentError("distillation has a loss of its own: no label smoothing, no compute_loss_func")
        self.teacher = teacher.eval().requires_grad_(False).to(self.accelerator.device)
        self.temperature, self.logits_weight = temperature, logits_weight
        self.hidden_layers, self.hidden_weight = hidden_layers or {}, hidden_weight

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        """The mixed loss while training, the model's own otherwise."""
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs.get("labels")
        if labels is None:
            raise ArgumentError(f"distillation needs labels; the batch has {sorted(inputs)}")
        asked = {**inputs, "output_hidden_states": True} if self.hidden_layers else inputs
        outputs = model(**asked)
        with torch.no_grad():
            wanted = self.teacher(**operations.send_to_device(asked, self.accelerator.device))
        counted = self._counted(inputs, labels)
        loss = (1 - self.logits_weight) * outputs.loss + self.logits_weight * self._surprise(outputs, wanted, counted)
        if self.hidden_layers:
            loss = loss + self.hidden_weight * self._apart(outputs, wanted, inputs)
        return (loss, outputs) if return_outputs else loss

    def _counted(self, inputs: dict[str, Any], labels: Tensor) -> Tensor:
        """Which logits have a label."""
        targets = getattr(self._bare(), "targets", None)
        if targets is not None and labels.ndim == 2:
            labels = targets(labels, inputs.get("attention_mask"), inputs.get("sequence_ids"))
        return labels != IGNORED

    def _surprise(self, outputs: Any, wanted: Any, counted: Tensor) -> Tensor:
        """T² · KL, mean over what counts."""
        ours, theirs = outputs.get("logits"), wanted.get("logits")
        if ours is None or ours.ndim != counted.ndim + 1 or ours.shape[-1] == 1:
            raise ArgumentError("distillation is for models that give one class, of several, to each text or token")
        if ours.shape != theirs.shape:
            raise ArgumentError(
                f"the model's logits have the shape {tuple(ours.shape)}, the teacher's {tuple(theirs.shape)}: both "
                "need the same classes or the same vocabulary"
            )
        ours, theirs = (torch.log_softmax(logits[counted].float() / self.temperature, -1) for logits in (ours, theirs))
        return F.kl_div(ours, theirs, reduction="batchmean", log_target=True) * self.temperature**2

    def _apart(self, outputs: Any, wanted: Any, inputs: dict[str, Any]) -> Tensor:
        """1 - cos of the states, mean over layers and tokens."""
        states, truth, mask = outputs.get("hidden_states"), wanted.get("hidden_states"), inputs.get("attention_mask")
        if states is None:  # of an encoder and a decoder
            states, truth = outputs.get("encoder_hidden_states"), wanted.get("encoder_hidden_states")
        total = states[0].new_zeros(())
        for own, other in self.hidden_layers.items():
            if not (own < len(states) and other < len(truth)):
                raise ArgumentError(
                    f"hidden_layers has {{{own}: {other}}}; the model has layers 0 to {len(states) - 1}, the teacher 0 "
                    f"to {len(truth) - 1}"
                )
            if states[own].shape != truth[other].shape:
                raise ArgumentError(
                    f"the model's states are {states[own].shape[-1]} wide, the teacher's {truth[other].shape[-1]}: "
                    "hidden_layers needs models of the same width"
                )
            apart = 1 - F.cosine_similarity(states[own].float(), truth[other].float(), dim=-1)
            total = total + (apart.mean() if mask is None else apart[mask.bool()].mean())
        return total / len(self.hidden_layers)


class Seq2SeqDistillationTrainer(DistillationTrainer, Seq2SeqTrainer):
    """The same for models that are evaluated by what they write."""

"""Classifier-free guidance of text (Sanchez et al. 2023): away from what the model says without the prompt."""

from collections.abc import Callable, Sequence

from torch import Tensor

from enfold.generation.processors import LogitsProcessor
from enfold.generation.session import Session


class UnbatchedClassifierFreeGuidanceLogitsProcessor(LogitsProcessor):
    """`u + scale · (c − u)`, where c and u are log-probabilities with and without the prompt.

    Args:
        guidance_scale: 1 changes nothing; above it, the prompt counts for more.
        begin: makes the session of what is said without the prompt, and its first scores [B, V], from the prompt's last
            tokens [B].
    """

    def __init__(self, guidance_scale: float, begin: Callable[[Tensor], tuple[Session, Tensor]]):
        self.scale, self.begin = guidance_scale, begin
        self.session: Session | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        last = input_ids[:, -1]
        if self.session is None:
            self.session, logits = self.begin(last)
        else:
            logits = self.session.feed(last, (1,) * len(last))
        without = logits.float().log_softmax(-1)
        return without + self.scale * (scores.log_softmax(-1) - without)

    def select(self, rows: Sequence[int]) -> None:
        if self.session is not None:
            self.session.select(rows)

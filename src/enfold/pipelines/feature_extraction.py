"""feature-extraction: the states of a text's tokens."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from enfold.base.errors import ArgumentError
from enfold.models.stacks import EncoderDecoder, SingleStack
from enfold.pipelines.base import Item, Options, Pipeline
from enfold.pipelines.encoding import Row, usual_length


@dataclass(frozen=True, kw_only=True)
class FeatureExtractionOptions(Options):
    """Options of feature-extraction.

    Attributes:
        return_tensors: give tensors [1, T, D] in the model's dtype instead of nested lists of floats.
    """

    return_tensors: bool = False


class FeatureExtractionPipeline(Pipeline[FeatureExtractionOptions]):
    """Texts → the states of their tokens [1, T, D], special tokens included.

    A model with a head gives what the head says instead. States of padding are never shown, unless
    `padding="max_length"` asks for rows of one length: then they are zeros.
    """

    task = "feature-extraction"
    heads = ("base",)
    options_class = FeatureExtractionOptions
    unread = r"(^|\.)pooler\."

    def __init__(self, model: Any, tokenizer: Any, **options: Any):
        if isinstance(model, EncoderDecoder):
            raise ArgumentError(
                f"feature-extraction reads one stack, and {type(model).__name__} has two: take its encoder "
                "(T5EncoderModel.from_pretrained)"
            )
        super().__init__(model, tokenizer, **options)

    def forward(self, rows: list[Row], options: FeatureExtractionOptions) -> list[Tensor]:
        """[T, D] each."""
        if isinstance(self.model, SingleStack):
            lengths = [len(row.ids) for row in rows]
            return list(self.model.run(**self.tensors(rows)).packed.split(lengths))
        found = self.model(**self.tensors(rows))[0]
        if found.ndim == 3:  # one answer a token
            return [answer[: len(row.ids)] for answer, row in zip(found, rows, strict=True)]
        return list(found)

    def postprocess(self, item: Item, outputs: list[Tensor], options: FeatureExtractionOptions) -> Any:
        states = self._padded(outputs[0].cpu(), options)
        if options.return_tensors:
            return states.unsqueeze(0).clone()  # a view would keep its whole batch alive
        return [states.float().numpy().tolist()]

    def _padded(self, states: Tensor, options: FeatureExtractionOptions) -> Tensor:
        padding = options.tokenizer_kwargs.get("padding")
        if getattr(padding, "value", padding) != "max_length" or states.ndim < 2:
            return states
        length = options.tokenizer_kwargs.get("max_length") or usual_length(self.tokenizer, self.limit)
        missing = max((length or 0) - len(states), 0)
        left = (options.tokenizer_kwargs.get("padding_side") or self.tokenizer.padding_side) == "left"
        return F.pad(states, (0, 0, missing, 0) if left else (0, 0, 0, missing))

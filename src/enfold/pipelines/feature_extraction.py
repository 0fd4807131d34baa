"""feature-extraction: a vector for a text, or the states of its tokens."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from enfold.base.errors import ArgumentError
from enfold.models.stacks import EncoderDecoder, SingleStack
from enfold.pipelines.base import Item, Options, Pipeline
from enfold.pipelines.encoding import Row, usual_length
from enfold.pipelines.sentences import POOLINGS, Recipe, pool, read_recipe


@dataclass(frozen=True, kw_only=True)
class FeatureExtractionOptions(Options):
    """Options of feature-extraction.

    Attributes:
        return_tensors: give tensors in the model's dtype instead of lists of floats.
        pooling: "none" gives the states of the tokens; "mean", "cls", "max", "lasttoken", "weightedmean" or
            "mean_sqrt_len_tokens" make one vector of them. By default what the repository's `modules.json` says, and
            states where there is none.
        normalize: make vectors of length 1; by default what the repository says.
        prompt: put before each text; `prompt_name` takes one of the repository's.
    """

    return_tensors: bool = False
    pooling: str | None = None
    normalize: bool | None = None
    prompt: str | None = None
    prompt_name: str | None = None


class FeatureExtractionPipeline(Pipeline[FeatureExtractionOptions]):
    """Texts → a vector [D] each where the repository says how (sentence-transformers), else the states of their tokens
    [1, T, D], special tokens included.

    A model with a head gives what the head says instead. States of padding are never shown, unless
    `padding="max_length"` asks for rows of one length: then they are zeros.

    Args:
        recipe: how vectors are made; `pipeline` reads it from the repository.
    """

    task = "feature-extraction"
    heads = ("encoder", "base")
    options_class = FeatureExtractionOptions
    unread = r"(^|\.)pooler\."

    def __init__(self, model: Any, tokenizer: Any, *, recipe: Recipe | None = None, **options: Any):
        if isinstance(model, EncoderDecoder):
            raise ArgumentError(
                f"feature-extraction reads one stack, and {type(model).__name__} has two: take its encoder "
                "(T5EncoderModel.from_pretrained)"
            )
        self.recipe = recipe
        super().__init__(model, tokenizer, **options)

    @classmethod
    def extras(cls, source: str | Path, hub: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        return {} if options.get("pooling") == "none" else {"recipe": read_recipe(source, **hub)}

    def settings(self, options: dict[str, Any]) -> FeatureExtractionOptions:
        chosen = super().settings(options)
        if chosen.pooling not in (None, "none", *POOLINGS):
            raise ArgumentError(f"pooling is {chosen.pooling!r}; expected 'none' or one of {', '.join(POOLINGS)}")
        if chosen.prompt_name is not None:
            prompts = (self.recipe and self.recipe.prompts) or {}
            if chosen.prompt is not None:
                raise ArgumentError("prompt and prompt_name both say what stands before a text: give one")
            if chosen.prompt_name not in prompts:
                raise ArgumentError(
                    f"prompt_name is {chosen.prompt_name!r}; the repository has {', '.join(prompts) or 'no prompts'}"
                )
            chosen = replace(chosen, prompt=prompts[chosen.prompt_name], prompt_name=None)
        return chosen

    def pooling(self, options: FeatureExtractionOptions) -> tuple[str, ...]:
        """How tokens become a vector; none where they stay."""
        if options.pooling is not None:
            return () if options.pooling == "none" else (options.pooling,)
        return self.recipe.pooling if self.recipe is not None else ()

    def length(self, options: FeatureExtractionOptions) -> int | None:
        known = [self.limit, self.recipe.length if self.recipe is not None and self.pooling(options) else None]
        return min((n for n in known if n is not None), default=None)

    def preprocess(self, inputs: list[Any], options: FeatureExtractionOptions, first: int = 0) -> list[Item]:
        recipe = self.recipe if self.recipe is not None and self.pooling(options) else Recipe()
        prompt = recipe.prompt if options.prompt is None else options.prompt
        if (prompt or recipe.lower) and all(isinstance(text, str) for text in inputs):
            inputs = [(prompt or "") + text for text in inputs]
            inputs = [text.lower() for text in inputs] if recipe.lower else inputs
        return super().preprocess(inputs, options, first)

    def forward(self, rows: list[Row], options: FeatureExtractionOptions) -> list[Tensor]:
        """[D] each where tokens are pooled, else [T, D]."""
        lengths, pooling = [len(row.ids) for row in rows], self.pooling(options)
        if isinstance(self.model, SingleStack):
            states = self.model.run(**self.tensors(rows)).packed
            return list(self._vectors(states, lengths, options) if pooling else states.split(lengths))
        if pooling:
            raise ArgumentError(f"pooling needs the states of tokens, and {type(self.model).__name__} has a head")
        found = self.model(**self.tensors(rows))[0]
        if found.ndim == 3:  # one answer a token
            return [answer[: len(row.ids)] for answer, row in zip(found, rows, strict=True)]
        return list(found)

    def _vectors(self, states: Tensor, lengths: list[int], options: FeatureExtractionOptions) -> Tensor:
        """[N, D] → [B, D]."""
        recipe = self.recipe or Recipe()
        vectors = pool(
            states, lengths, self.pooling(options), 0 if recipe.pools_prompt else self._prompt_tokens(options)
        )
        for step in recipe.steps if options.pooling is None else ():
            vectors = step(vectors)
        if recipe.normalize if options.normalize is None else options.normalize:
            vectors = F.normalize(vectors, dim=-1)
        return vectors.to(states.dtype)

    def _prompt_tokens(self, options: FeatureExtractionOptions) -> int:
        """Tokens of the prompt, with those that the tokenizer puts before it."""
        prompt = options.prompt if options.prompt is not None else self.recipe and self.recipe.prompt
        if not prompt:
            return 0
        special = self.tokenizer(prompt, return_special_tokens_mask=True)["special_tokens_mask"]
        return max((i + 1 for i, mark in enumerate(special) if not mark), default=0)

    def postprocess(self, item: Item, outputs: list[Tensor], options: FeatureExtractionOptions) -> Any:
        states = outputs[0].cpu()
        if self.pooling(options):
            return states.clone() if options.return_tensors else states.float().tolist()
        states = self._padded(states, options)
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

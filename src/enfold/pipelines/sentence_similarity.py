"""sentence-similarity: how much sentences say the same as another one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.base.logging import get_logger
from enfold.pipelines.base import Item
from enfold.pipelines.encoding import preview
from enfold.pipelines.feature_extraction import FeatureExtractionOptions, FeatureExtractionPipeline
from enfold.pipelines.sentences import SIMILARITIES, Recipe, similarity

logger = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class SentenceSimilarityOptions(FeatureExtractionOptions):
    """Options of sentence-similarity, beside how vectors are made.

    Attributes:
        similarity: "cosine", "dot", "euclidean" or "manhattan"; by default the repository's, or the cosine.
    """

    similarity: str | None = None


class SentenceSimilarityPipeline(FeatureExtractionPipeline):
    """A sentence and others, `{"source_sentence", "sentences"}` → a score for each of the others, in their order."""

    task = "sentence-similarity"
    options_class = SentenceSimilarityOptions
    structured = True

    def __init__(self, model: Any, tokenizer: Any, *, recipe: Recipe | None = None, **options: Any):
        if recipe is None and options.get("pooling") is None:
            logger.warning("%s: the repository doesn't say how it makes vectors; tokens are averaged.", self.task)
            recipe = Recipe()
        super().__init__(model, tokenizer, recipe=recipe, **options)

    def settings(self, options: dict[str, Any]) -> SentenceSimilarityOptions:
        chosen = super().settings(options)
        assert isinstance(chosen, SentenceSimilarityOptions)
        if chosen.similarity not in (None, *SIMILARITIES):
            raise ArgumentError(f"similarity is {chosen.similarity!r}; expected one of {', '.join(SIMILARITIES)}")
        if chosen.pooling == "none" or chosen.return_tensors:
            raise ArgumentError(
                f"{self.task} compares one vector a sentence: pooling='none' and return_tensors don't fit"
            )
        return chosen

    def __call__(
        self, inputs: Any = None, sentences: Any = None, *, source_sentence: Any = None, **options: Any
    ) -> Any:
        """Compare sentences.

        Args:
            inputs: a dictionary `{"source_sentence", "sentences"}`, a list or a stream of them; or the sentence that
                the others are compared with.
            sentences, source_sentence: instead, by their names.
        """
        if sentences is not None or source_sentence is not None:
            source = source_sentence if inputs is None else inputs
            if sentences is None or source is None or (inputs is not None and source_sentence is not None):
                raise ArgumentError("give source_sentence and sentences, or dictionaries of the two")
            inputs = {"source_sentence": source, "sentences": sentences}
        return super().__call__(inputs, **options)

    def preprocess(self, inputs: list[Any], options: FeatureExtractionOptions, first: int = 0) -> list[Item]:
        asked = [self._parts(item, first + index) for index, item in enumerate(inputs)]
        items, found = iter(super().preprocess([text for texts in asked for text in texts], options, first)), []
        for texts in asked:
            found.append(Item([row for _ in texts for row in next(items).rows]))
        return found

    def _parts(self, item: Any, number: int) -> list[str]:
        """The sentence, and those it is compared with."""
        if not isinstance(item, Mapping) or not {"source_sentence", "sentences"} <= item.keys():
            raise ArgumentError(
                f"{self.task} takes dictionaries {{'source_sentence': …, 'sentences': […]}}; input {number} is "
                f"{preview(item)}"
            )
        others = item["sentences"]
        if not isinstance(others, (list, tuple)) or not others:
            raise ArgumentError(f"the sentences of input {number} are {preview(others)}; expected a list of texts")
        for text in (item["source_sentence"], *others):
            if not isinstance(text, str):
                raise ArgumentError(f"{self.task} compares texts; input {number} holds {preview(text)}")
        return [item["source_sentence"], *others]

    def postprocess(self, item: Item, outputs: list[Tensor], options: FeatureExtractionOptions) -> list[float]:
        assert isinstance(options, SentenceSimilarityOptions)
        vectors = torch.stack(outputs).float()
        return similarity(vectors[0], vectors[1:], options.similarity or self.recipe_similarity).tolist()

    @property
    def recipe_similarity(self) -> str:
        return self.recipe.similarity if self.recipe is not None else "cosine"

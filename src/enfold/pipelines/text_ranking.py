"""text-ranking: a query and documents → the documents, the most fitting first, by a cross-encoder."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.pipelines.base import Item, Options, Pipeline
from enfold.pipelines.encoding import Row, preview
from enfold.pipelines.text_classification import apply

FUNCTIONS = ("sigmoid", "none")


@dataclass(frozen=True, kw_only=True)
class TextRankingOptions(Options):
    """Options of text-ranking.

    Attributes:
        top_k: only the best documents, so many; by default all.
        return_documents: give the texts too, beside their numbers.
        function_to_apply: "sigmoid" or "none" on the model's score; by default what the repository says, or the
            sigmoid.
    """

    top_k: int | None = None
    return_documents: bool = True
    function_to_apply: str | None = None


class TextRankingPipeline(Pipeline[TextRankingOptions]):
    """A query with documents → `[{"index", "score", "text"}]`, best first; `index` counts the documents as given."""

    task = "text-ranking"
    heads = ("sequence-classification",)
    options_class = TextRankingOptions
    structured = True

    def __init__(self, model: Any, tokenizer: Any, **options: Any):
        super().__init__(model, tokenizer, **options)
        if (labels := self.model.config.num_labels) != 1:
            raise ArgumentError(
                f"{self.task} needs a cross-encoder, whose one score says how well two texts fit; this model has "
                f"{labels} labels"
            )

    def settings(self, options: dict[str, Any]) -> TextRankingOptions:
        chosen = super().settings(options)
        top_k, function = chosen.top_k, chosen.function_to_apply
        if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
            raise ArgumentError(f"top_k is {top_k!r}; expected a number of documents, or None for all")
        if function is not None:
            name = str(getattr(function, "value", function)).lower()
            if name not in FUNCTIONS:
                raise ArgumentError(f"function_to_apply is {function!r}; expected one of {', '.join(FUNCTIONS)}")
            return replace(chosen, function_to_apply=name)
        return replace(chosen, function_to_apply=_trained_function(self.model.config))

    def __call__(self, inputs: Any = None, documents: Any = None, *, query: Any = None, **options: Any) -> Any:
        """Rank documents.

        Args:
            inputs: a dictionary `{"query", "documents"}` (`texts` is another name of the latter), a list or a stream
                of them; or a query, with `documents`.
            documents: a list of texts.
            query: the query by its name.

        Raises:
            ArgumentError: no query or no documents, or both ways of giving them.
        """
        if documents is not None or query is not None:
            asked = query if inputs is None else inputs
            if documents is None or asked is None or (inputs is not None and query is not None):
                raise ArgumentError("give a query and documents, or dictionaries {'query': …, 'documents': […]}")
            inputs = {"query": asked, "documents": documents}
        return super().__call__(inputs, **options)

    def preprocess(self, inputs: list[Any], options: TextRankingOptions, first: int = 0) -> list[Item]:
        asked = [self._parts(item, first + index) for index, item in enumerate(inputs)]
        queries = [query for query, documents in asked for _ in documents]
        texts = [text for _, documents in asked for text in documents]
        rows = self.encode(queries, texts, options) if texts else []
        items, at = [], 0
        for index, (_, documents) in enumerate(asked):
            own = rows[at : at + len(documents)]
            at += len(documents)
            for row, text in zip(own, documents, strict=True):
                self.check_length(row, text, first + index)
            items.append(Item(own, documents))
        return items

    def _parts(self, item: Any, number: int) -> tuple[str, list[str]]:
        documents = item.get("documents", item.get("texts")) if isinstance(item, Mapping) else None
        if documents is None or "query" not in item:
            raise ArgumentError(
                f"{self.task} takes dictionaries {{'query': …, 'documents': […]}}; input {number} is {preview(item)}"
            )
        if not isinstance(documents, (list, tuple)) or not documents:
            raise ArgumentError(f"the documents of input {number} are {preview(documents)}; expected a list of texts")
        for text in (item["query"], *documents):
            if not isinstance(text, str):
                raise ArgumentError(f"{self.task} compares texts; input {number} holds {preview(text)}")
        return item["query"], list(documents)

    def forward(self, rows: list[Row], options: TextRankingOptions) -> list[float]:
        """One score each."""
        logits = self.model(**self.tensors(rows)).logits[:, 0].float().cpu().numpy()
        assert options.function_to_apply is not None
        return apply(options.function_to_apply, logits).tolist()

    def postprocess(self, item: Item, outputs: list[float], options: TextRankingOptions) -> list[dict[str, Any]]:
        order = np.argsort([-score for score in outputs], kind="stable")[: options.top_k].tolist()
        found = [{"index": i, "score": outputs[i]} for i in order]
        return [{**one, "text": item.kept[one["index"]]} for one in found] if options.return_documents else found


def _trained_function(config: Any) -> str:
    """What sentence-transformers applies to this model's score, by its configuration.

    Raises:
        ArgumentError: something that isn't known here.
    """
    said = (config.get("sentence_transformers") or {}).get("activation_fn")
    said = config.get("sbert_ce_default_activation_function") if said is None else said
    if said is None:
        return "sigmoid"
    name = str(said).rpartition(".")[2].lower()
    if name not in ("identity", "sigmoid"):
        raise ArgumentError(f"the repository applies {said} to its scores; pass function_to_apply='sigmoid' or 'none'")
    return "none" if name == "identity" else "sigmoid"

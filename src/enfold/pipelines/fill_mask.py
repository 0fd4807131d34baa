"""fill-mask: what may stand where a text has the mask token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.base.logging import get_logger
from enfold.models.tasks import MaskedLM
from enfold.pipelines.base import Item, Options, Pipeline
from enfold.pipelines.encoding import Row, preview

logger = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class FillMaskOptions(Options):
    """Options of fill-mask.

    Attributes:
        top_k: how many tokens for each mask, best first.
        targets: only these words are considered; of a word that is no token, the first token is.
    """

    top_k: int = 5
    targets: str | Sequence[str] | None = None


class FillMaskPipeline(Pipeline[FillMaskOptions]):
    """Texts with masks → `{"score", "token", "token_str", "sequence"}` for the best tokens; one list for each mask
    where there are several.

    Only the states at the masks go through the head.
    """

    task = "fill-mask"
    heads = ("masked-lm",)
    options_class = FillMaskOptions

    def settings(self, options: dict[str, Any]) -> FillMaskOptions:
        chosen = super().settings({n: v for n, v in options.items() if not (n == "top_k" and v is None)})
        if isinstance(chosen.top_k, bool) or not isinstance(chosen.top_k, int) or chosen.top_k < 1:
            raise ArgumentError(f"top_k is {chosen.top_k!r}; expected a number of tokens, 1 or more")
        if self.tokenizer.mask_token_id is None:
            raise ArgumentError(
                f"the tokenizer {self.tokenizer.name_or_path} has no mask token, so fill-mask has nothing to fill: "
                "load the tokenizer of a masked-language model"
            )
        return chosen

    def present(self, inputs: Any, answers: Any, options: FillMaskOptions, given: dict[str, Any]) -> Any:
        return answers[0] if isinstance(inputs, list) and len(inputs) == 1 else answers

    def preprocess(self, inputs: list[Any], options: FillMaskOptions, first: int = 0) -> list[Item]:
        items = super().preprocess(inputs, options, first)
        targets = None if options.targets is None else self.target_ids(options.targets)
        mask = self.tokenizer.mask_token_id
        for index, item in enumerate(items):
            if mask not in item.rows[0].ids:
                raise ArgumentError(
                    f"fill-mask: input {first + index} ({preview(inputs[index])}) has no mask: write "
                    f"{self.tokenizer.mask_token} where a word is to be found"
                )
            item.kept = targets
        return items

    def target_ids(self, targets: str | Sequence[str]) -> list[int]:
        """The tokens that the targets stand for.

        Raises:
            ArgumentError: none is left.
        """
        vocabulary = self.tokenizer.get_vocab()
        found = set()
        for target in [targets] if isinstance(targets, str) else targets:
            if target in vocabulary:
                found.add(vocabulary[target])
                continue
            ids = self.tokenizer(target, add_special_tokens=False)["input_ids"]
            if not ids:
                logger.warning("fill-mask: the target %r gives no token; it is left out", target)
                continue
            token = self.tokenizer.convert_ids_to_tokens(ids[0])
            logger.warning("fill-mask: the target %r is no token; its first one, %r, stands for it", target, token)
            found.add(ids[0])
        if not found:
            raise ArgumentError(f"fill-mask: targets={targets!r} names no token; give one word at least")
        return sorted(found)

    def forward(self, rows: list[Row], options: FillMaskOptions) -> list[Tensor]:
        """Logits at the masks, [M, V] each."""
        mask = self.tokenizer.mask_token_id
        places = [[i for i, token in enumerate(row.ids) if token == mask] for row in rows]
        tensors = self.tensors(rows)
        if not isinstance(self.model, MaskedLM):
            logits = self.model(**tensors).logits
            return [answer[at].float().cpu() for answer, at in zip(logits, places, strict=True)]
        states = self.model.base.run(**tensors)
        starts = states.where.offsets
        packed = [start + i for start, at in zip(starts, places, strict=False) for i in at]
        scores = self.model.scores(states.packed[torch.tensor(packed, device=self.device)])
        return list(scores.float().cpu().split([len(at) for at in places]))

    def postprocess(self, item: Item, outputs: list[Tensor], options: FillMaskOptions) -> Any:
        probabilities = outputs[0].softmax(-1)  # [M, V]
        targets: list[int] | None = item.kept
        if targets is not None:
            probabilities = probabilities[:, targets]
        best = probabilities.topk(min(options.top_k, probabilities.shape[-1]))
        ids, mask, pad = item.rows[0].ids, self.tokenizer.mask_token_id, self.tokenizer.pad_token_id
        places = [i for i, token in enumerate(ids) if token == mask]
        answers = []
        for place, scores, tokens in zip(places, best.values.tolist(), best.indices.tolist(), strict=True):
            tokens = tokens if targets is None else [targets[token] for token in tokens]
            filled = [[t for t in (*ids[:place], token, *ids[place + 1 :]) if t != pad] for token in tokens]
            # The other masks are special tokens and must stay where a reader expects them.
            sequences = self.tokenizer.batch_decode(filled, skip_special_tokens=len(places) == 1)
            words = self.tokenizer.batch_decode([[token] for token in tokens])
            answers.append(
                [
                    {"score": score, "token": token, "token_str": word, "sequence": sequence}
                    for score, token, word, sequence in zip(scores, tokens, words, sequences, strict=True)
                ]
            )
        return answers[0] if len(places) == 1 else answers

"""Language modelling: what is to be predicted, and what is hidden for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.training.collators.padding import IGNORED


@dataclass
class DataCollatorForLanguageModeling:
    """Rows of tokens, with labels: the tokens themselves (`mlm=False`), or some that are hidden (Devlin et al. 2018).

    Of the tokens chosen, `mask_replace_prob` become the mask, `random_replace_prob` any token, the others stay.

    Args:
        tokenizer: pads, and knows the mask and the special tokens, which are never chosen.
        mlm: hide tokens; False: every token is to be predicted from those before it.
        whole_word_mask: choose whole words: by the rows' `word_ids`, or by how tokens are spelled (`##ing`, `▁in`).
        mlm_probability: the share of tokens chosen.
        seed: of the choice; None: torch's generator.
    """

    tokenizer: Any
    mlm: bool = True
    whole_word_mask: bool = False
    mlm_probability: float | None = 0.15
    mask_replace_prob: float = 0.8
    random_replace_prob: float = 0.1
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"
    seed: int | None = None

    def __post_init__(self) -> None:
        self._generator = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        if not self.mlm:
            return
        if self.tokenizer.mask_token_id is None:
            raise ArgumentError("this tokenizer has no mask token: pass mlm=False for causal language modelling")
        if self.mlm_probability is None or not 0 < self.mlm_probability <= 1:
            raise ArgumentError(f"mlm_probability={self.mlm_probability}; expected more than 0 and at most 1")
        if self.mask_replace_prob + self.random_replace_prob > 1:
            raise ArgumentError(
                f"mask_replace_prob + random_replace_prob = {self.mask_replace_prob + self.random_replace_prob}; "
                "expected at most 1"
            )

    def __call__(self, features: list[Any]) -> dict[str, Any]:
        rows = [row if isinstance(row, Mapping) else {"input_ids": row} for row in features]
        words = [row.get("word_ids") for row in rows]
        bare = [{k: v for k, v in row.items() if k not in ("word_ids", "labels")} for row in rows]
        batch = dict(self.tokenizer.pad(bare, return_tensors="pt", pad_to_multiple_of=self.pad_to_multiple_of))
        special = batch.pop("special_tokens_mask", None)
        ids = batch["input_ids"]
        if self.mlm:
            if special is None:
                special = self._special(ids)
            batch["input_ids"], batch["labels"] = self._hidden(ids, special.bool(), words)
        else:
            labels = ids.clone()
            mask = batch.get("attention_mask")
            # By the mask where there is one: the padding token may be the end-of-text token, which is to be learnt.
            if mask is not None:
                labels[mask == 0] = IGNORED
            elif self.tokenizer.pad_token_id is not None:
                labels[labels == self.tokenizer.pad_token_id] = IGNORED
            batch["labels"] = labels
        if self.return_tensors == "np":
            return {name: value.numpy() for name, value in batch.items()}
        return batch

    def _special(self, ids: Tensor) -> Tensor:
        special = torch.zeros_like(ids, dtype=torch.bool)
        for token in self.tokenizer.all_special_ids:
            special |= ids == token
        return special

    def _hidden(self, ids: Tensor, special: Tensor, words: list[Any]) -> tuple[Tensor, Tensor]:
        """The ids with some hidden, and labels that tell them."""
        draws = torch.rand(ids.shape, generator=self._generator)
        if self.whole_word_mask:
            draws = self._by_word(draws, ids, special, words)
        chosen = (draws < (self.mlm_probability or 0.0)) & ~special
        labels = ids.masked_fill(~chosen, IGNORED)
        fate = torch.rand(ids.shape, generator=self._generator)
        hidden = ids.masked_fill(chosen & (fate < self.mask_replace_prob), self.tokenizer.mask_token_id)
        swapped = chosen & (fate >= self.mask_replace_prob) & (fate < self.mask_replace_prob + self.random_replace_prob)
        random = torch.randint(len(self.tokenizer), ids.shape, generator=self._generator)
        return torch.where(swapped, random, hidden), labels

    def _by_word(self, draws: Tensor, ids: Tensor, special: Tensor, words: list[Any]) -> Tensor:
        """One draw for all tokens of a word: that of its first token."""
        for row in range(len(ids)):
            starts = self._starts(ids[row], words[row])
            first = 0
            for column in range(ids.shape[1]):
                if starts[column] or bool(special[row, column]):
                    first = column
                draws[row, column] = draws[row, first]
        return draws

    def _starts(self, ids: Tensor, words: Any) -> list[bool]:
        """Whether a word starts at each token."""
        if words is not None:
            padded = [*words, *[None] * (len(ids) - len(words))]
            if self.tokenizer.padding_side == "left":
                padded = [*[None] * (len(ids) - len(words)), *words]
            return [column == 0 or word is None or word != padded[column - 1] for column, word in enumerate(padded)]
        tokens = self.tokenizer.convert_ids_to_tokens(ids.tolist())
        if any(token.startswith("##") for token in self.tokenizer.get_vocab()):
            return [not token.startswith("##") for token in tokens]
        return [column == 0 or token[:1] in "▁Ġ" for column, token in enumerate(tokens)]


@dataclass
class DataCollatorForWholeWordMask(DataCollatorForLanguageModeling):
    """`DataCollatorForLanguageModeling` that hides whole words."""

    whole_word_mask: bool = True

"""Blenderbot's small sister: lower-cased BPE whose tokens say with `@@` that the word goes on."""

import heapq
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from enfold.tokenizers.families.plain import PlainTokenizer
from enfold.tokenizers.formats.reading import read_merges, read_vocab_json
from enfold.tokenizers.loading import MERGES, VOCAB_JSON

_END = "</w>"


class BlenderbotSmallTokenizer(PlainTokenizer):
    """BPE over lower-cased words cut at white space and punctuation; `th@@ ere` is "there".

    Args:
        vocab_file, merges_file: vocab.json and merges.txt.
    """

    defaults = {"bos_token": "__start__", "eos_token": "__end__", "unk_token": "__unk__", "pad_token": "__null__"}
    files = {"vocab_file": VOCAB_JSON, "merges_file": MERGES}

    def __init__(self, vocab_file: str | os.PathLike, merges_file: str | os.PathLike, **options: Any):
        self.encoder = read_vocab_json(Path(vocab_file))
        self.decoder = {index: token for token, index in self.encoder.items()}
        self._merges = read_merges(Path(merges_file))
        self._ranks = {pair: rank for rank, pair in enumerate(self._merges)}
        super().__init__(**options)

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary without added ones."""
        return len(self.encoder)

    def _base_vocab(self) -> dict[str, int]:
        return self.encoder

    def _known(self, token: str) -> int | None:
        return self.encoder.get(token)

    def _id(self, token: str) -> int | None:
        return self.encoder.get(token.lower(), self.encoder.get(str(self.unk_token)))

    def _token(self, index: int) -> str | None:
        return self.decoder.get(index, self.unk_token)

    def _tokens(self, text: str) -> list[str]:
        return [token for chunk in re.findall(r"\S+\n?", text) for token in self._chunk(chunk)]

    def _chunk(self, chunk: str) -> list[str]:
        chunk = re.sub(r"([.,!?()])", r" \1", chunk)
        chunk = re.sub(r"\s{2,}", " ", chunk.replace("'", " ' ")).replace("\n", " __newln__")
        words = [word.lower() for word in chunk.split(" ") if word]
        return [token for word in words for token in self._word(word)] or [""]

    def _word(self, word: str) -> list[str]:
        if len(word) == 1:
            return [word]
        symbols = merged([*word[:-1], word[-1] + _END], self._ranks)
        return [f"{symbol}@@" for symbol in symbols[:-1]] + [symbols[-1].removesuffix(_END)]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Tokens → text."""
        return " ".join(tokens).replace("@@ ", "").strip()

    def save_vocabulary(self, save_directory: str | os.PathLike, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write vocab.json and merges.txt."""
        folder = Path(save_directory)
        vocab = self._write_json(folder, VOCAB_JSON, self.encoder, filename_prefix)
        merges = folder / ((f"{filename_prefix}-" if filename_prefix else "") + MERGES)
        rows = "".join(f"{left} {right}\n" for left, right in self._merges)
        merges.write_text("#version: 0.2\n" + rows, encoding="utf-8", newline="\n")
        return str(vocab), str(merges)


def merged(symbols: list[str], ranks: Mapping[tuple[str, str], int]) -> list[str]:
    """BPE: the best pair is joined wherever it stands, from the left, then the next best; O(n log n)."""
    before = list(range(-1, len(symbols) - 1))
    after = list(range(1, len(symbols) + 1))
    alive = [True] * len(symbols)
    queue: list[tuple[int, int, str, str]] = []

    def offer(left: int, found: list[tuple[int, int, str, str]]) -> None:
        right = after[left] if left >= 0 else len(symbols)
        if left >= 0 and right < len(symbols):
            rank = ranks.get((symbols[left], symbols[right]))
            if rank is not None:
                found.append((rank, left, symbols[left], symbols[right]))

    for place in range(len(symbols) - 1):
        offer(place, queue)
    heapq.heapify(queue)
    while queue:
        rank, fresh = queue[0][0], []
        # All places of one pair before any that they make.
        while queue and queue[0][0] == rank:
            _, left, first, second = heapq.heappop(queue)
            right = after[left]
            stale = not alive[left] or right >= len(symbols) or symbols[left] != first or symbols[right] != second
            if stale:
                continue
            symbols[left] += symbols[right]
            alive[right] = False
            after[left] = after[right]
            if after[right] < len(symbols):
                before[after[right]] = left
            offer(before[left], fresh)
            offer(left, fresh)
        for entry in fresh:
            heapq.heappush(queue, entry)
    return [symbol for symbol, lives in zip(symbols, alive, strict=True) if lives]

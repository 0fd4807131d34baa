"""Text as it is generated: never half a character, linear in its length."""

import asyncio
import queue
from collections.abc import AsyncIterator, Iterator
from typing import Any

from torch import Tensor

from enfold.base.errors import ArgumentError

REPLACEMENT = "�"


class IncrementalDecoder:
    """Turns tokens into text piece by piece.

    Only the tokens since the last certain boundary are decoded again, so a long answer costs no more per token than a
    short one. A piece is held back while it ends in half a character.

    Args:
        tokenizer: anything with `decode(ids, skip_special_tokens=…)`.
    """

    def __init__(self, tokenizer: Any, *, skip_special_tokens: bool = True):
        self.tokenizer = tokenizer
        self.skip = skip_special_tokens
        self.tokens: list[int] = []
        self.start = 0  # tokens before it are settled
        self.shown = 0  # tokens before it have been given out

    def _text(self, first: int, end: int | None = None) -> str:
        return self.tokenizer.decode(self.tokens[first:end], skip_special_tokens=self.skip)

    def add(self, token: int) -> str:
        """The text that this token completes; empty while a character is unfinished."""
        self.tokens.append(token)
        before, after = self._text(self.start, self.shown), self._text(self.start)
        if after == before and self.shown == len(self.tokens) - 1:
            self.tokens.pop()  # it writes nothing (a special token that is skipped), and is not looked at again
            return ""
        if len(after) <= len(before) or after.endswith(REPLACEMENT):
            return ""
        self.start, self.shown = self.shown, len(self.tokens)
        return after[len(before) :]

    def end(self) -> str:
        """What was held back."""
        before, after = self._text(self.start, self.shown), self._text(self.start)
        self.start = self.shown = len(self.tokens)
        return after[len(before) :]


class TextStreamer:
    """Prints one sequence's text as it is generated; pass it as `streamer=` to `generate`.

    Args:
        tokenizer: decodes the tokens.
        skip_prompt: leave the prompt out.
        decode_kwargs: `skip_special_tokens`.
    """

    def __init__(self, tokenizer: Any, skip_prompt: bool = False, *, skip_special_tokens: bool = False):
        self.decoder = IncrementalDecoder(tokenizer, skip_special_tokens=skip_special_tokens)
        self.skip_prompt = skip_prompt
        self.prompt_seen = False

    def put(self, value: Tensor) -> None:
        """Take the prompt [1, T], then one token [1] at a time.

        Raises:
            ArgumentError: more than one sequence.
        """
        if value.ndim > 1 and value.shape[0] > 1:
            raise ArgumentError(f"a streamer prints one sequence; the batch has {value.shape[0]}")
        first, self.prompt_seen = not self.prompt_seen, True
        if first and self.skip_prompt:
            return
        for token in value.reshape(-1).tolist():
            text = self.decoder.add(token)
            if text:
                self.on_finalized_text(text)

    def end(self) -> None:
        """Give out what was held back."""
        self.prompt_seen = False
        self.on_finalized_text(self.decoder.end(), stream_end=True)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Called with each piece of text; override to do something else than print it."""
        print(text, flush=True, end="\n" if stream_end else "")


class TextIteratorStreamer(TextStreamer):
    """An iterator over the pieces of text, for a consumer in another thread than `generate`.

    Args:
        timeout: seconds to wait for a piece before `queue.Empty` is raised.
    """

    def __init__(
        self,
        tokenizer: Any,
        skip_prompt: bool = False,
        timeout: float | None = None,
        *,
        skip_special_tokens: bool = False,
    ):
        super().__init__(tokenizer, skip_prompt, skip_special_tokens=skip_special_tokens)
        self.pieces: queue.Queue[str | None] = queue.Queue()
        self.timeout = timeout

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self.pieces.put(text)
        if stream_end:
            self.pieces.put(None)

    def __iter__(self) -> Iterator[str]:
        while (piece := self.pieces.get(timeout=self.timeout)) is not None:
            yield piece


class AsyncTextIteratorStreamer(TextStreamer):
    """The same for a coroutine: make it inside one, run `generate` in a thread, and read it by `async for`.

    Args:
        timeout: seconds to wait for a piece before `TimeoutError` is raised.
    """

    def __init__(
        self,
        tokenizer: Any,
        skip_prompt: bool = False,
        timeout: float | None = None,
        *,
        skip_special_tokens: bool = False,
    ):
        super().__init__(tokenizer, skip_prompt, skip_special_tokens=skip_special_tokens)
        self.pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self.loop = asyncio.get_running_loop()
        self.timeout = timeout

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self.loop.call_soon_threadsafe(self.pieces.put_nowait, text)
        if stream_end:
            self.loop.call_soon_threadsafe(self.pieces.put_nowait, None)

    async def __aiter__(self) -> AsyncIterator[str]:
        while True:
            async with asyncio.timeout(self.timeout):
                piece = await self.pieces.get()
            if piece is None:
                return
            yield piece

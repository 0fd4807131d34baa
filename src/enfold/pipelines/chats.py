"""Conversations as lists of messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.pipelines.encoding import preview
from enfold.pipelines.inputs import Whole

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Chat(Whole):
    """A conversation, so that a list of messages isn't taken for a list of inputs."""

    messages: tuple[Message, ...]

    def prefilled(self, asked: bool | None) -> bool:
        """Whether the last message is to be continued rather than answered.

        Args:
            asked: what the options say; None leaves it to who wrote the last message.
        """
        return self.messages[-1]["role"] == "assistant" if asked is None else asked


def is_message(item: Any) -> bool:
    return isinstance(item, Mapping) and "role" in item and "content" in item


def messages_of(given: Sequence[Any]) -> tuple[Message, ...]:
    """The messages of a chat.

    Raises:
        ArgumentError: one of them has no role or no content.
    """
    for number, message in enumerate(given):
        if not is_message(message):
            raise ArgumentError(
                f"message {number} of the chat is {preview(message)}; expected a dictionary with 'role' and 'content'"
            )
    return tuple(given)

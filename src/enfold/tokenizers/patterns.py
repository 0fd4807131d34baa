"""What Split and Replace look for."""

from typing import Any

from enfold.tokenizers._engine import Regex
from enfold.tokenizers.components import Option

Pattern = str | Regex


def pattern_spec(pattern: Any, name: str = "pattern") -> dict[str, str]:
    """The specification of a pattern."""
    if isinstance(pattern, Regex):
        return {"Regex": pattern.pattern}
    if isinstance(pattern, str):
        return {"String": pattern}
    raise TypeError(f"{name} should be a str or a Regex, got {type(pattern).__name__}")


class PatternOption(Option[Pattern]):
    """A pattern."""

    def read(self, value: Any) -> Pattern:
        if isinstance(value, str):
            return value
        return Regex(value["Regex"]) if "Regex" in value else value["String"]

    def check(self, name: str, value: Any) -> dict[str, str]:
        return pattern_spec(value, name)

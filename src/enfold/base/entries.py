"""Entries of the JSON files that describe a model."""

import json
from pathlib import Path
from typing import Any

from enfold.base.errors import ConfigError


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ConfigError: not UTF-8, not JSON, or not an object.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is torn or not JSON ({error}): download it again") from error
    if not isinstance(entries, dict):
        raise ConfigError(f"{path} holds a JSON {type(entries).__name__}; expected an object")
    return entries

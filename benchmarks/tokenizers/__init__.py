"""The tokenizer engine beside the `tokenizers` wheel and the fastest libraries of PyPI, on vocabularies in use.

    python -m benchmarks tokenizers                              everything, about five minutes
    python -m benchmarks.tokenizers --vocabularies gpt2 bert     some of it

Vocabularies and texts are fetched by `tools.vocabularies`; those that can't be had are left out with a line that says
so, and so are libraries that are not installed (`pip install tiktoken sentencepiece gigatoken fastokens tokie
splintr-rs kitoken`). The ids of every document are held against the wheel's, full encodings down to offsets and word
ids, before a figure counts. See `cell` for how the time is taken.
"""

from benchmarks.tokenizers.report import main

__all__ = ["main"]

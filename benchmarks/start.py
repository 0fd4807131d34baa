"""Imports, time to the first answer, and memory while loading, each in fresh processes beside transformers."""

from benchmarks.measure import alternate_processes, table

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
CASES = {
    "import": ("import enfold", "import transformers"),
    "import a tokenizer and tokenise": (
        f"from enfold import AutoTokenizer; AutoTokenizer.from_pretrained('{MINILM}')('hello')",
        f"from transformers import AutoTokenizer; AutoTokenizer.from_pretrained('{MINILM}')('hello')",
    ),
    "first answer of feature-extraction": tuple(
        f"from {library} import pipeline; pipeline('feature-extraction', model='{MINILM}')('hello world')"
        for library in ("enfold", "transformers")
    ),
}


def main() -> None:
    rows: list[list[object]] = []
    for name, programs in CASES.items():
        (ours, our_mb), (theirs, their_mb) = alternate_processes(*programs)
        rows.append([name, ours, theirs, theirs / ours, our_mb, their_mb])
    table(["process start to …", "enfold s", "transformers s", "times as fast", "enfold MB", "transformers MB"], rows)


if __name__ == "__main__":
    main()

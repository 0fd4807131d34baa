"""The tokenizer families by name: what each builds from a vocabulary, and its defaults."""

"""The files that hold a vocabulary, each read into plain Python values or into a tokenizer.json document."""

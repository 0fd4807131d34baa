"""Repositories that have a sentencepiece model and no tokenizer.json, loaded by both libraries."""

import functools

import pytest

import enfold
from tests.tokenizers.families.rows import ROWS
from tests.tokenizers.families.same import same_attributes, same_calls
from tests.tokenizers.families.test_folders import both
from tests.tokenizers.folders import write_json
from tests.tokenizers.formats import spm

# In which order a family's own training put the control pieces, where it isn't sentencepiece's.
KINDS = {
    "T5Tokenizer": "t5",
    "LlamaTokenizer": "llama",
    "CodeLlamaTokenizer": "llama",
    "GemmaTokenizer": "llama",
    "Siglip2Tokenizer": "llama",
}
CASES = [
    row for row in ROWS if (file := getattr(enfold, row.name).family.file) is not None and not file.endswith(".json")
]
# transformers can't find an unknown token without a score in such a file, or a file under these names.
CASES = [row for row in CASES if row.name not in ("BigBirdTokenizer", "PegasusTokenizer")]


@functools.cache
def trained(kind):
    return spm.train(kind)


def bracketed(content):
    """A model whose control pieces are BERT's."""
    model = spm.proto(content)
    model.pieces[1].piece, model.pieces[2].piece = "[CLS]", "[SEP]"
    return model.SerializeToString()


@pytest.mark.parametrize("row", CASES, ids=lambda row: row.name)
def test_model_files(row, tmp_path):
    family = getattr(enfold, row.name).family
    kind = KINDS.get(row.name, "unigram" if family.model == "Unigram" else "bpe")
    content = trained(kind)
    spm.write(tmp_path, family.file, bracketed(content) if row.name == "AlbertTokenizer" else content)
    write_json(tmp_path / "config.json", {"model_type": row.model_type})
    options = row.variants[0] if row.variants else {}
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": row.name, **options})
    ours, theirs = both(tmp_path)
    same_attributes(ours, theirs)
    same_calls(ours, theirs)

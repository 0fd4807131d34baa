"""The pattern of old Mistral files, mended as transformers mends it."""

import json

import pytest
import transformers

import enfold
from tests.tokenizers.folders import write_json
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

TEXT = "helloWorld 1234 it's\n\n FOOBar, naïveTEST"
KINDS = {
    "sequence": pre_tokenizers.Sequence(
        [pre_tokenizers.Split("e", "removed"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    ),
    "byte-level": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "metaspace": pre_tokenizers.Metaspace(split=False),
}


@pytest.fixture(scope="module", params=sorted(KINDS))
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("h", "e"), ("l", "l"), ("o", "W"), ("F", "O"), ("O", "B"), ("1", "2"), ("T", "E"), ("e", "T")]
    tokens = [*alphabet, *(a + b for a, b in merges), *(f"<unused{number}>" for number in range(100_001))]
    made = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    made.pre_tokenizer, made.decoder = KINDS[request.param], decoders.ByteLevel()
    made.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    return folder


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ({"model_type": "mistral", "transformers_version": "4.50.0"}, {"fix_mistral_regex": True}),
        ({"model_type": "mistral3"}, {"fix_mistral_regex": True}),
        ({"model_type": "mistral", "transformers_version": "4.50.0"}, {"fix_mistral_regex": False}),
        ({"model_type": "mistral", "transformers_version": "5.1.0"}, {"fix_mistral_regex": True}),
        ({"model_type": "llama", "transformers_version": "4.50.0"}, {"fix_mistral_regex": True}),
    ],
)
def test_beside_transformers(folder, config, options):
    write_json(folder / "config.json", config)
    ours, theirs = (
        library.PreTrainedTokenizerFast.from_pretrained(folder, **options) for library in (enfold, transformers)
    )
    assert ours(TEXT)["input_ids"] == theirs(TEXT)["input_ids"]
    pieces = [json.loads(one.backend_tokenizer.to_str())["pre_tokenizer"] for one in (ours, theirs)]
    assert pieces[0] == pieces[1]


def test_unasked_it_warns_and_keeps_the_file(folder, caplog):
    write_json(folder / "config.json", {"model_type": "mistral"})
    kept = enfold.PreTrainedTokenizerFast.from_pretrained(folder)
    assert "fix_mistral_regex=True" in caplog.text
    assert kept.fix_mistral_regex is False
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert kept(TEXT)["input_ids"] == plain.encode(TEXT).ids

"""The steps of a training as lines of JSON."""

import json

import enfold.tokenizers
import tokenizers

TEXT = ["low lower lowest new newer wide"] * 300


def trained(package, **options):
    tokenizer = package.Tokenizer(package.models.BPE())
    tokenizer.pre_tokenizer = package.pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(TEXT, package.trainers.BpeTrainer(vocab_size=60, **options))


def test_the_same_steps_as_the_reference(capfd):
    lines = []
    for package in (enfold.tokenizers, tokenizers):
        trained(package, progress_format="json")
        lines.append([json.loads(line) for line in capfd.readouterr().err.splitlines()])
    assert lines[0] == lines[1]
    assert lines[0][-1]["stage"] == "Compute merges"


def test_none_without_progress(capfd):
    trained(enfold.tokenizers, progress_format="json", show_progress=False)
    trained(enfold.tokenizers, progress_format="silent")
    assert not capfd.readouterr().err

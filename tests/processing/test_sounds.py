"""Feature extractors and processors of sounds beside the reference's."""

import json

import numpy as np
import pytest
import torch
import transformers

import enfold
from enfold import (
    AutoFeatureExtractor,
    AutoProcessor,
    ViTImageProcessor,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Processor,
)
from enfold.base.errors import ArgumentError, EntryNotFoundError, NotBuiltError

WAVES = [np.random.default_rng(n).normal(0.1, 0.5, 40 + 13 * n).astype(np.float32) for n in range(3)]
LETTERS = {letter: number for number, letter in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDE"])}


def same(ours, theirs) -> None:
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        assert len(ours[name]) == len(value)
        for a, b in zip(ours[name], value, strict=True):
            assert np.asarray(a).dtype == np.asarray(b).dtype
            assert np.array_equal(np.asarray(a), np.asarray(b)), name


CALLS = {
    "alone": {},
    "padded": {"padding": True},
    "to a length": {"padding": "max_length", "max_length": 90},
    "cut": {"padding": True, "max_length": 50, "truncation": True},
    "to a multiple": {"padding": "longest", "pad_to_multiple_of": 16},
    "cut to a multiple": {"padding": "max_length", "max_length": 50, "truncation": True, "pad_to_multiple_of": 16},
}
SETTINGS = {
    "plain": {},
    "masked": {"return_attention_mask": True},
    "as it is": {"do_normalize": False},
    "left": {"padding_side": "left", "padding_value": 0.5, "do_normalize": False, "return_attention_mask": True},
    "other padding": {"padding_value": -1.0, "return_attention_mask": True},
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_values_are_the_reference_s(call, settings):
    ours, theirs = (library.Wav2Vec2FeatureExtractor(**settings) for library in (enfold, transformers))
    for given in (WAVES, [wave.astype(np.float64) for wave in WAVES], [wave.tolist() for wave in WAVES], WAVES[0]):
        found = ours(given, sampling_rate=16000, **call)
        same(found, theirs(given, sampling_rate=16000, **call))
    batch = np.stack([wave[:40] for wave in WAVES])
    same(ours(batch, sampling_rate=16000, **call), theirs(batch, sampling_rate=16000, **call))
    if call.get("padding"):
        for kind in ("pt", "np"):
            found = ours(WAVES, sampling_rate=16000, return_tensors=kind, **call)
            same(found, theirs(WAVES, sampling_rate=16000, return_tensors=kind, **call))
            assert isinstance(found.input_values, torch.Tensor if kind == "pt" else np.ndarray)
    rows = [{"input_values": wave} for wave in WAVES]
    options = {"padding": True, **call}
    same(ours.pad(rows, **options), theirs.pad(rows, return_tensors="np", **options))


def test_tensors_and_sounds_of_data_sets():
    from enfold.datasets import Audio, Dataset

    extractor = Wav2Vec2FeatureExtractor()
    wanted = extractor(WAVES, sampling_rate=16000)["input_values"]
    for given in ([torch.from_numpy(wave) for wave in WAVES], tuple(WAVES)):
        for a, b in zip(extractor(given, sampling_rate=16000)["input_values"], wanted, strict=True):
            assert np.array_equal(a, b)
    rows = Dataset.from_dict({"audio": [{"array": wave, "sampling_rate": 16000} for wave in WAVES]})
    rows = rows.cast_column("audio", Audio())
    assert np.array_equal(extractor(rows[1]["audio"])["input_values"][0], wanted[1])
    assert len(extractor([row["audio"] for row in rows])["input_values"]) == 3
    other = rows.cast_column("audio", Audio(sampling_rate=8000))
    with pytest.raises(ArgumentError, match="resample it first"):
        extractor(other[0]["audio"])


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (WAVES[0], {"sampling_rate": 8000}, "8000 samples a second"),
        (np.zeros((2, 3, 4)), {}, "one channel"),
        ("speech.wav", {}, "soundfile"),
        (WAVES, {"padding": "most"}, "padding='most'"),
        (WAVES, {"padding": "max_length"}, "needs max_length"),
        (WAVES, {"truncation": True}, "needs max_length"),
        (WAVES, {"return_tensors": "pt"}, "pad them"),
    ],
)
def test_what_is_refused(given, options, message):
    with pytest.raises(ArgumentError, match=message):
        Wav2Vec2FeatureExtractor()(given, **{"sampling_rate": 16000, **options})


def test_a_warning_where_no_rate_is_given(caplog):
    Wav2Vec2FeatureExtractor()(WAVES[0])
    assert "sampling_rate was not given" in caplog.text


@pytest.fixture
def both(tmp_path):
    """A processor here and the reference's, over one vocabulary."""
    (tmp_path / "vocab.json").write_text(json.dumps(LETTERS))
    made = []
    for library, kind in ((enfold, Wav2Vec2CTCTokenizer), (transformers, transformers.Wav2Vec2CTCTokenizer)):
        extractor = library.Wav2Vec2FeatureExtractor(return_attention_mask=True)
        made.append(library.Wav2Vec2Processor(extractor, kind(str(tmp_path / "vocab.json"))))
    return made


def test_a_processor(both):
    ours, theirs = both
    heard = {"sampling_rate": 16000, "padding": True, "return_tensors": "np"}
    same(ours(WAVES, **heard), theirs(WAVES, **heard))
    assert ours(text=["AB C", "DEE"])["input_ids"] == theirs(text=["AB C", "DEE"])["input_ids"]
    together = {"audio": WAVES, "text": ["AB C", "D", "EE"], "sampling_rate": 16000, "padding": True}
    found, wanted = ours(**together), theirs(**together)
    assert list(map(list, found["labels"])) == list(map(list, wanted["labels"]))
    assert ours.batch_decode([[5, 5, 0, 6, 4, 7]]) == theirs.batch_decode([[5, 5, 0, 6, 4, 7]]) == ["AB C"]
    assert ours.decode([5, 0, 5]) == "AA"
    rows = [{"input_values": wave} for wave in WAVES]
    labels = [{"input_ids": [5, 6]}, {"input_ids": [7]}, {"input_ids": [5]}]
    found, wanted = (p.pad(rows, labels=labels, return_tensors="pt") for p in both)
    same(found, wanted)
    assert ours.model_input_names == theirs.model_input_names
    with pytest.raises(ArgumentError, match="audio, text, or both"):
        ours()
    with pytest.raises(ArgumentError, match="options of texts"):
        ours(WAVES, sampling_rate=16000, add_special_tokens=True)


def test_files_of_processors(both, tmp_path):
    theirs = both[1]
    theirs.save_pretrained(tmp_path / "theirs")
    loaded = AutoProcessor.from_pretrained(tmp_path / "theirs")
    assert type(loaded) is Wav2Vec2Processor
    loaded.save_pretrained(tmp_path / "ours")
    assert {file.name for file in (tmp_path / "ours").iterdir()} >= {"processor_config.json", "vocab.json"}
    texts = [(tmp_path / side / "processor_config.json").read_text() for side in ("ours", "theirs")]
    assert texts[0] == texts[1]
    again = transformers.AutoProcessor.from_pretrained(tmp_path / "ours")
    assert again(text="ABC")["input_ids"] == theirs(text="ABC")["input_ids"]
    assert again.feature_extractor.to_dict() == theirs.feature_extractor.to_dict()
    # Unknown entries stay, outside and inside.
    file = tmp_path / "ours" / "processor_config.json"
    entries = json.loads(file.read_text())
    entries["note"], entries["feature_extractor"]["hop"] = [1], 7
    file.write_text(json.dumps(entries))
    Wav2Vec2Processor.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "ours")
    assert json.loads(file.read_text()) == entries


def test_older_folders(both, tmp_path):
    """A file for each part, as they were before processor_config.json."""
    ours, _ = both
    ours.feature_extractor.save_pretrained(tmp_path)
    ours.tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "wav2vec2"}))
    assert type(AutoProcessor.from_pretrained(tmp_path)) is Wav2Vec2Processor
    assert AutoFeatureExtractor.from_pretrained(tmp_path) == ours.feature_extractor
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "processor_class": "Wav2Vec2ProcessorWithLM"}))
    with pytest.raises(NotBuiltError, match="Wav2Vec2ProcessorWithLM"):
        AutoProcessor.from_pretrained(tmp_path)


def test_a_processor_of_one_part(tmp_path, both):
    ViTImageProcessor(size=9).save_pretrained(tmp_path / "images")
    assert type(AutoProcessor.from_pretrained(tmp_path / "images")) is ViTImageProcessor
    assert type(AutoFeatureExtractor.from_pretrained(tmp_path / "images")) is ViTImageProcessor
    both[0].tokenizer.save_pretrained(tmp_path / "texts")
    assert AutoProcessor.from_pretrained(tmp_path / "texts").get_vocab() == LETTERS
    (tmp_path / "none").mkdir()
    with pytest.raises(EntryNotFoundError, match="nothing says how its inputs are made"):
        AutoProcessor.from_pretrained(tmp_path / "none")

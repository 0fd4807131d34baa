"""Images and sounds from their files to a model that knows them, and the collators between."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import transformers
from PIL import Image
from sklearn.datasets import load_digits

import enfold
from enfold.base.errors import ArgumentError, NotBuiltError
from enfold.cli.main import main
from enfold.training.items import count_items
from enfold.training.tasks import Teaching, prepare_task
from enfold.training.tasks.fresh import letters
from tests.training import little

QUIET = {"report_to": "none", "use_cpu": True, "save_strategy": "no"}
CARDS = Path(__file__).parent / "cards"  # five clips of somebody reading cards aloud
VIT = {
    "model_type": "vit",
    "image_size": 8,
    "patch_size": 2,
    "num_channels": 1,
    "hidden_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "initializer_range": 0.1,
}
WAV2VEC2 = {
    "model_type": "wav2vec2",
    "hidden_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "conv_dim": [48, 64],
    "conv_kernel": [40, 8],
    "conv_stride": [40, 8],
    "conv_bias": True,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "initializer_range": 0.1,
    "mask_time_prob": 0.0,
    "layerdrop": 0.0,
    **dict.fromkeys(["hidden_dropout", "attention_dropout", "activation_dropout", "final_dropout"], 0.0),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))


def digits(folder: Path, **splits: Iterable[int]) -> Path:
    """Handwritten digits, 8 × 8 pixels, a folder for each."""
    given = load_digits()
    for split, chosen in splits.items():
        for number in chosen:
            place = folder / split / str(given.target[number])
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray((given.images[number] * 255 / 16).astype(np.uint8)).save(place / f"{number}.png")
    return folder


def test_digits_of_a_folder(tmp_path, capsys):
    chosen = [number for number in range(600) if number % 6]
    data, output = digits(tmp_path / "digits", train=chosen, validation=range(0, 600, 6)), tmp_path / "out"
    command = ["train", "image-classification", "--data", str(data), "--config", json.dumps(VIT), "--json", "--use-cpu"]
    command += ["--output-dir", str(output), "--report-to", "none", "--save-strategy", "no", "--seed", "1"]
    command += ["--learning-rate", "3e-3", "--num-train-epochs", "10", "--per-device-train-batch-size", "16"]
    assert (
        main(
            [
                *command,
                "--warmup-steps",
                "80",
                "--lr-scheduler-type",
                "cosine",
                "--per-device-eval-batch-size",
                "50",
                "--disable-tqdm",
            ]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["eval_accuracy"] >= 0.85
    # What was saved reads a picture, and the reference reads it too.
    processor = enfold.AutoImageProcessor.from_pretrained(output)
    picture = Image.open(next((data / "validation" / "7").iterdir()))
    ours = enfold.AutoModelForImageClassification.from_pretrained(output)
    theirs = transformers.ViTForImageClassification.from_pretrained(output).eval()
    given = processor(picture, return_tensors="pt")
    with torch.no_grad():
        assert torch.allclose(ours(**given).logits, theirs(**given).logits, atol=1e-5)
    assert ours.config.id2label == {number: str(number) for number in range(10)}
    # Other classes, from rows that hold paths.
    files = sorted((data / "train").glob("[34]/*"))[::10]
    rows = [{"file": str(file), "what": {"3": "three", "4": "four"}[file.parent.name]} for file in files]
    columns = {"image_column": "file", "label_column": "what"}
    again = tmp_path / "again"
    run = prepare_task(
        "image-classification",
        model=str(output),
        data=rows,
        columns=columns,
        output_dir=str(again),
        max_steps=2,
        **QUIET,
    )
    run.train()
    assert run.trainer.model.config.id2label == {0: "four", 1: "three"}
    run.trainer.create_model_card()
    assert "pipeline_tag: image-classification" in (again / "README.md").read_text()
    with pytest.raises(ArgumentError, match="which the training data don't have"):
        prepare_task(
            "image-classification",
            model=str(output),
            data=rows,
            eval_data=[{"file": str(files[0]), "what": "five"}],
            columns=columns,
            output_dir=str(again),
        )


def test_cards_read_aloud(tmp_path):
    output = tmp_path / "out"
    given = {"data": str(CARDS), "eval_data": str(CARDS), "limit": 4, **QUIET, "per_device_train_batch_size": 4}
    run = prepare_task(
        "automatic-speech-recognition",
        config=WAV2VEC2,
        output_dir=str(output),
        learning_rate=5e-3,
        max_steps=130,
        lr_scheduler_type="cosine",
        warmup_steps=35,
        disable_tqdm=True,
        **given,
    )
    metrics = run.train()
    assert metrics["eval_wer"] <= 0.1
    assert metrics["eval_cer"] <= 0.1
    run.trainer.create_model_card()
    assert "pipeline_tag: automatic-speech-recognition" in (output / "README.md").read_text()
    # What was saved transcribes, here and in the reference.
    samples, rate = soundfile.read(CARDS / "002.flac", dtype="float32")
    heard = []
    for library in (enfold, transformers):
        processor = library.AutoProcessor.from_pretrained(output)
        model = library.AutoModelForCTC.from_pretrained(output).eval()
        with torch.no_grad():
            logits = model(**processor(samples, sampling_rate=rate, return_tensors="pt")).logits
        heard += processor.batch_decode(logits.argmax(-1))
    assert heard[0] == heard[1] == "four queen of clubs"
    # Gone on from, it keeps its letters, and its convolutions.
    before = enfold.AutoModelForCTC.from_pretrained(output).state_dict()
    again = prepare_task(
        "automatic-speech-recognition", model=str(output), output_dir=str(tmp_path / "again"), max_steps=1, **given
    )
    assert again.train()["eval_wer"] <= 0.2
    after = again.trainer.model.state_dict()
    assert torch.equal(after["base.stem.frames.0.conv.weight"], before["base.stem.frames.0.conv.weight"])
    assert not torch.equal(after["head.weight"], before["head.weight"])
    assert again.task.tokenizer.tokenizer.get_vocab() == run.task.tokenizer.tokenizer.get_vocab()


def test_a_model_without_letters_gets_those_of_the_data(tmp_path):
    config = enfold.Wav2Vec2Config(**WAV2VEC2)
    enfold.Wav2Vec2Model(config).save_pretrained(tmp_path / "base")
    enfold.Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(tmp_path / "base")
    rows = [{"sound": str(CARDS / f"{name}.flac"), "said": said} for name, said in (("001", "bad"), ("004", "a cab"))]
    run = prepare_task(
        "automatic-speech-recognition",
        model=str(tmp_path / "base"),
        data=rows,
        columns={"audio_column": "sound", "label_column": "said"},
        options={"freeze_feature_encoder": False},
        output_dir=str(tmp_path / "out"),
        **QUIET,
    )
    assert list(run.task.tokenizer.tokenizer.get_vocab()) == ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcd"]
    assert run.trainer.model.config.vocab_size == 9
    assert all(parameter.requires_grad for parameter in run.trainer.model.parameters())
    batch = run.trainer.data_collator([run.trainer.train_dataset[n] for n in range(2)])
    assert batch["labels"].tolist() == [[6, 5, 8, -100, -100], [5, 4, 7, 5, 6]]
    assert batch["input_values"].shape == batch["attention_mask"].shape


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_length": 9}, ArgumentError, "max_length counts tokens"),
        ({"tokenizer_vocab_size": 99}, ArgumentError, "is for language models"),
        ({"teaching": Teaching("large")}, NotBuiltError, "with a teacher is not built"),
        ({"columns": {"audio_column": "wave"}}, ArgumentError, "no column 'wave'"),
        ({"data": [{"audio": str(CARDS / "001.flac"), "text": " "}]}, ArgumentError, "expected the words"),
        ({"data": [{"audio": str(CARDS / "001.flac"), "text": "a|b"}]}, ArgumentError, "hold '|'"),
        ({"options": {"beams": 3}}, ArgumentError, "no option 'beams'"),
        ({"model": "some/model"}, ArgumentError, "give a model to go on from, or the config"),
    ],
)
def test_what_is_refused(tmp_path, options, error, message):
    rows = [{"audio": str(CARDS / "001.flac"), "text": "ten of clubs"}]
    given = {"data": rows, "config": WAV2VEC2, "output_dir": str(tmp_path), **QUIET, **options}
    with pytest.raises(error, match=message.replace("|", r"\|")):
        prepare_task("automatic-speech-recognition", **given)


# Collators


@pytest.fixture(scope="module")
def processor():
    return enfold.Wav2Vec2Processor(enfold.Wav2Vec2FeatureExtractor(return_attention_mask=True), letters(["abc d"]))


def test_sounds_and_labels_are_padded_apart(processor):
    waves = [np.random.default_rng(n).normal(size=30 + 7 * n).astype(np.float32) for n in range(3)]
    labels = [[5, 6], [7], [5, 5, 8, 6]]
    values = [processor(wave, sampling_rate=16000)["input_values"][0] for wave in waves]
    ready = [{"input_values": value, "labels": label} for value, label in zip(values, labels, strict=True)]
    raw = [{"audio": wave, "labels": label} for wave, label in zip(waves, labels, strict=True)]
    collate = enfold.DataCollatorCTCWithPadding(processor)
    for rows in (ready, raw):
        batch = collate(rows)
        assert batch["input_values"].shape == (3, 44)
        assert batch["attention_mask"].sum(1).tolist() == [30, 37, 44]
        assert batch["labels"].tolist() == [[5, 6, -100, -100], [7, -100, -100, -100], [5, 5, 8, 6]]
        for row, value in zip(batch["input_values"], values, strict=True):
            assert np.allclose(row[: len(value)], value, atol=1e-6)
    wide = enfold.DataCollatorCTCWithPadding(processor, pad_to_multiple_of=32, pad_to_multiple_of_labels=8)(ready)
    assert wide["input_values"].shape == (3, 64)
    assert wide["labels"].shape == (3, 8)
    arrays = enfold.DataCollatorCTCWithPadding(processor, return_tensors="np", max_length_labels=5)(ready)
    assert isinstance(arrays["labels"], np.ndarray)
    assert arrays["labels"].shape == (3, 5)
    with pytest.raises(ArgumentError, match="max_length_labels"):
        enfold.DataCollatorCTCWithPadding(processor, max_length_labels=3)(ready)
    with pytest.raises(ArgumentError, match="remove_unused_columns=False"):
        collate([{"labels": [5]}])


def test_a_trainer_pads_for_a_processor(processor, tmp_path):
    torch.manual_seed(0)
    config = enfold.Wav2Vec2Config(**WAV2VEC2, vocab_size=9, ctc_loss_reduction="mean")
    model = enfold.Wav2Vec2ForCTC(config)
    rows = [
        {"input_values": [0.1 * (n % 7) for n in range(900 + 320 * k)], "labels": [5, 6][: k % 2 + 1]} for k in range(6)
    ]
    trainer = little.trainer(model, tmp_path, rows, processing_class=processor, max_steps=2, eval_dataset=rows)
    assert trainer.train().global_step == 2
    trainer.save_model()
    assert (tmp_path / "processor_config.json").is_file()
    # The loss is the mean over rows: of any batches the same.
    losses = []
    for size in (2, 4):
        trainer.args.per_device_eval_batch_size = size
        losses.append(trainer.evaluate()["eval_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert int(count_items(model, {"labels": torch.tensor([[5, 6], [5, -100]])}, ["labels"], 2)) == 2


def test_images_of_a_batch():
    processor = enfold.ViTImageProcessor(size=6)
    pictures = [Image.linear_gradient("L").resize((9 + n, 7)) for n in range(3)]
    rows = [{"image": picture, "label": n} for n, picture in enumerate(pictures)]
    batch = enfold.DataCollatorForImages(processor)(rows)
    assert batch["labels"].tolist() == [0, 1, 2]
    wanted = processor(pictures, return_tensors="pt").pixel_values
    assert torch.equal(batch["pixel_values"], wanted)
    ready = [{"pixel_values": pixels.numpy(), "labels": n} for n, pixels in enumerate(wanted)]
    for collate in (enfold.DataCollatorForImages(), enfold.DefaultDataCollator()):
        made = collate(ready)
        assert torch.equal(made["pixel_values"], wanted)
        assert made["labels"].tolist() == [0, 1, 2]
    assert isinstance(enfold.DataCollatorForImages(processor)(rows, "np")["pixel_values"], np.ndarray)
    with pytest.raises(ArgumentError, match="give the collator the image processor"):
        enfold.DataCollatorForImages()(rows)
    with pytest.raises(ArgumentError, match="remove_unused_columns=False"):
        enfold.DataCollatorForImages(processor)([{"label": 1}])

"""What can't be done is refused with the reason and the way out."""

import json
import logging
import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import enfold
from enfold.base.errors import (
    ArgumentError,
    CheckpointError,
    ConfigError,
    EnfoldError,
    HubError,
    LengthError,
    NotBuiltError,
    WeightsMismatchError,
)
from enfold.nn import kernels
from tests.models.pairs import inputs, pair, right_mask
from tests.models.rows import ROWS, Row

LLAMA = next(row for row in ROWS if str(row) == "LlamaForCausalLM-plain")
BERT = next(row for row in ROWS if str(row) == "BertForMaskedLM-plain")
GPT2 = next(row for row in ROWS if str(row) == "GPT2LMHeadModel-plain")
T5 = next(row for row in ROWS if str(row) == "T5ForConditionalGeneration-plain")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of LLaMA's checkpoint, to be damaged."""
    shutil.copytree(pair(LLAMA).folder, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def entries_of(folder: Path, **changes) -> None:
    entries = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({name: value for name, value in entries.items() if value != "drop"}))


def load(folder: Path, **options):
    return enfold.AutoModelForCausalLM.from_pretrained(folder, **options)


# Files


@pytest.mark.parametrize("name", ["./no/such/folder", "no such folder", "a/b/c", "/absent"])
def test_neither_a_folder_nor_an_id(name: str):
    with pytest.raises((HubError, ArgumentError)) as caught:
        enfold.AutoModel.from_pretrained(name)
    assert isinstance(caught.value, EnfoldError)
    assert name.strip("./") in str(caught.value)


def test_a_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"has no weights: looked for model\.safetensors.*it holds .*config\.json"
    ):
        load(folder)


def test_a_folder_without_a_configuration(folder):
    (folder / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"has no config\.json.*model\.safetensors"):
        load(folder)


@pytest.mark.parametrize("torn", ['{"model_type": "llama", ', "", "[1, 2]", "\x00\x01", '"llama"'])
def test_a_torn_configuration(folder, torn: str):
    (folder / "config.json").write_text(torn)
    with pytest.raises((ConfigError, HubError), match=r"config\.json"):
        load(folder)


def header(length: int, text: bytes) -> bytes:
    return struct.pack("<Q", length) + text


def entry(shape, start: int, end: int) -> bytes:
    text = json.dumps({"lm_head.weight": {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}}).encode()
    return header(len(text), text)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08",
        header(100 * 2**30, b"{}"),
        header(2**63 - 1, b"{}"),
        header(50, b"{}"),
        header(4, b"{]]]"),
        entry([4], 0, 16) + b"\0" * 8,
        entry([4], -16, 0) + b"\0" * 16,
        entry([4], 16, 0) + b"\0" * 16,
        entry([2**40, 2**40], 0, 16) + b"\0" * 16,
        entry([5], 0, 16) + b"\0" * 16,
    ],
    ids=["empty", "one byte", "100 GB header", "header beyond all", "header cut", "not JSON", "data cut", "negative",
         "backwards", "overflowing shape", "shape and range differ"],
)  # fmt: skip
def test_torn_and_hostile_weights(folder, content: bytes):
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises((CheckpointError, HubError), match=r"model\.safetensors"):
        load(folder)


def test_a_file_cut_in_the_middle(folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load(folder)


def test_a_shard_that_is_not_there(folder):
    (folder / "model.safetensors").unlink()
    pair(LLAMA).ours.save_pretrained(folder, max_shard_size="8KB")
    gone = sorted(folder.glob("model-*.safetensors"))[1]
    gone.unlink()
    with pytest.raises((CheckpointError, HubError), match=gone.name):
        load(folder)


# Configurations


def test_an_unknown_family_names_the_nearest(folder):
    entries_of(folder, model_type="lama")
    with pytest.raises(ConfigError, match=r"'lama' is unknown: the nearest that is known is 'llama'; known are albert"):
        load(folder)


def test_a_configuration_without_a_family(folder):
    entries_of(folder, model_type="drop")
    with pytest.raises(ConfigError, match="has no model_type"):
        load(folder)


def test_code_in_a_repository_is_never_run(folder):
    (folder / "modeling_mine.py").write_text("raise SystemExit('it ran')")
    entries_of(folder, model_type="mine", auto_map={"AutoModelForCausalLM": "modeling_mine.Mine"})
    for options in ({}, {"trust_remote_code": True}):
        with pytest.raises(ConfigError, match=r"its own code for model_type 'mine' \(auto_map\); enfold runs no code"):
            load(folder, **options)


def test_another_family_s_class(folder):
    with pytest.raises(ConfigError, match=r"holds a 'llama' configuration and BertConfig reads 'bert'"):
        enfold.BertModel.from_pretrained(folder)
    with pytest.raises(ConfigError, match="BertModel is built from BertConfig, not LlamaConfig"):
        enfold.BertModel(enfold.LlamaConfig())


def test_a_head_that_the_family_does_not_have(folder):
    with pytest.raises(ConfigError, match=r"'llama' has no head for 'masked-lm'.*Families with that head: albert"):
        enfold.AutoModelForMaskedLM.from_pretrained(folder)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"num_key_value_heads": 3}, ConfigError, "4 is no multiple of num_key_value_heads=3"),
        ({"hidden_act": "gelou"}, ConfigError, "activation 'gelou' is unknown"),
        ({"rope_parameters": {"rope_type": "ntk", "factor": 2.0}}, NotBuiltError, "'ntk' is not built"),
        ({"rope_parameters": {"rope_type": "linear"}}, ConfigError, "'linear' needs the entry 'factor'"),
    ],
)
def test_configurations_that_describe_no_model(folder, changes: dict, error: type, message: str):
    entries_of(folder, **changes)
    with pytest.raises(error, match=message):
        load(folder)


def test_auto_classes_are_not_instantiated():
    for name in ("AutoModel", "AutoConfig", "AutoModelForCausalLM"):
        with pytest.raises(TypeError, match=rf"use {name}\.from_pretrained"):
            getattr(enfold, name)()


# Weights that don't fit


def test_shapes_that_differ_are_listed_by_pattern(folder):
    entries_of(folder, intermediate_size=64)
    with pytest.raises(WeightsMismatchError) as caught:
        load(folder)
    message = str(caught.value)
    assert (
        "model.layers.{0…1}.mlp.up_proj.weight has shape [48, 32] in the checkpoint and [64, 32] in the model"
        in message
    )
    assert message.count("mlp.up_proj") == 1
    assert "ignore_mismatched_sizes=True" in message
    model, report = load(folder, ignore_mismatched_sizes=True, output_loading_info=True)
    assert len(report["mismatched_keys"]) == 6
    assert model.base.stack.layers[0].mlp.op.up.weight.shape == (64, 32)


def test_missing_weights_are_drawn_and_named_in_one_warning(folder, caplog):
    with caplog.at_level(logging.WARNING, "enfold"):
        model = enfold.AutoModelForSequenceClassification.from_pretrained(folder)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "score.weight missing, newly initialised" in caplog.text
    assert model.load_report.missing == ["score.weight"]
    assert model.score.weight.isfinite().all()


def test_missing_and_unexpected_weights_are_grouped(folder, caplog):
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "k_proj" not in name}
    extra = {f"model.layers.{i}.self_attn.gate": torch.zeros(2) for i in range(12)}
    save_file(kept | extra, folder / "model.safetensors", metadata={"format": "pt"})
    with caplog.at_level(logging.WARNING, "enfold"):
        load(folder)
    assert len(caplog.records) == 1
    assert "model.layers.{0…1}.self_attn.k_proj.weight missing, newly initialised" in caplog.text
    assert "model.layers.{0…11}.self_attn.gate unexpected, not used" in caplog.text


def test_weights_of_another_family(folder):
    shutil.copy(pair(BERT).folder / "model.safetensors", folder)
    with pytest.raises(WeightsMismatchError, match=r"holds nothing that LlamaForCausalLM wants: it has bert\."):
        load(folder)


# Arguments of from_pretrained


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float23"}, r"dtype='float23' is unknown; expected 'auto', 'int8' or one of float32"),
        ({"torch_dtype": "int4"}, "dtype='int4' is unknown"),
        ({"dtype": torch.int64}, r"dtype=torch\.int64.*floating"),
        ({"device": "cuda"}, "sees no CUDA device here: use device='cpu'"),
        ({"device": "toaster"}, "'toaster' is unknown; expected 'cpu'"),
        ({"device": "cpu", "device_map": "auto"}, "were both given"),
        ({"attn_implementation": "flash"}, "attn_implementation='flash' is unknown; known are native"),
        (
            {"no_such_option": 3},
            "got 'no_such_option', which is neither one of its arguments nor an entry of LlamaConfig",
        ),
        ({"variant": "fp16"}, "no weights of variant 'fp16'"),
        ({"gguf_file": "x.gguf"}, r"x\.gguf"),
    ],
    ids=str,
)
def test_arguments_that_cannot_be_honoured(folder, options: dict, message: str):
    if options.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises((ArgumentError, CheckpointError, HubError), match=message):
        load(folder, **options)


def test_a_plan_over_several_devices(folder):
    with pytest.raises(NotBuiltError, match="spreads the model over"):
        load(folder, device_map={"model.layers.0": 1, "lm_head": 0})
    assert load(folder, device_map={"": "cpu"}).device == torch.device("cpu")
    assert load(folder, device_map="cpu").device == torch.device("cpu")


def test_pickles_are_never_written(tmp_path):
    with pytest.raises(ArgumentError, match="safetensors only"):
        pair(LLAMA).ours.save_pretrained(tmp_path, safe_serialization=False)


# Calls


def call(row: Row, **options):
    with torch.no_grad():
        return pair(row).ours(**options)


IDS = torch.tensor([[5, 6, 7], [8, 9, 10]])


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        (BERT, {}, "exactly one of input_ids and inputs_embeds"),
        (BERT, {"input_ids": IDS, "inputs_embeds": torch.zeros(2, 3, 32)}, "exactly one"),
        (BERT, {"input_ids": IDS[0]}, r"input_ids has shape \(3,\); expected \[batch, length\]"),
        (
            BERT,
            {"inputs_embeds": torch.zeros(2, 3)},
            r"inputs_embeds has shape \(2, 3\); expected \[batch, length, width\]",
        ),
        (
            BERT,
            {"input_ids": IDS * 100},
            r"input_ids hold 1000, and the model's embedding has rows 0…98: the tokenizer",
        ),
        (BERT, {"input_ids": IDS - 9}, "input_ids hold -4"),
        (BERT, {"input_ids": IDS.float()}, r"dtype torch\.float32; expected integers"),
        (
            BERT,
            {"input_ids": IDS, "attention_mask": torch.ones(2, 4)},
            r"attention_mask has shape \(2, 4\); expected \(2, 3\)",
        ),
        (BERT, {"input_ids": IDS, "attention_mask": torch.ones(2, 1, 3, 3)}, "Masks over pairs of tokens"),
        (BERT, {"input_ids": IDS, "token_type_ids": torch.full((2, 3), 2)}, "token_type_ids hold 2.*rows 0…1"),
        (BERT, {"input_ids": IDS, "token_type_ids": torch.zeros(2, 4, dtype=torch.int64)}, r"\(2, 4\)"),
        (BERT, {"input_ids": IDS, "position_ids": torch.zeros(3, 3, dtype=torch.int64)}, r"\(3, 3\)"),
        (BERT, {"input_ids": IDS, "position_ids": torch.full((2, 3), -1)}, "position_ids holds -1"),
        (BERT, {"input_ids": IDS, "labels": torch.zeros(2, 5, dtype=torch.int64)}, r"\(2, 5\)"),
        (BERT, {"input_ids": IDS, "output_attentions": True, "attention_mask": torch.ones(3, 3)}, "attention_mask"),
        (LLAMA, {"input_ids": IDS, "token_type_ids": torch.ones(2, 3, dtype=torch.int64)}, "knows no types"),
        (
            LLAMA,
            {"input_ids": IDS, "past_key_values": ((1, 2),)},
            r"past_key_values is a tuple; expected enfold\.nn\.cache\.Cache",
        ),
        (GPT2, {"input_ids": IDS, "token_type_ids": torch.full((2, 3), 99)}, "hold 99"),
        (T5, {"input_ids": IDS}, "pass decoder_input_ids"),
        (T5, {"input_ids": IDS, "decoder_input_ids": IDS[:1]}, "2 sequences.*1 rows"),
    ],
    ids=lambda value: "" if isinstance(value, (dict, str)) else None,
)
def test_inputs_that_cannot_be_read(row: Row, options: dict, message: str):
    with pytest.raises(ArgumentError, match=message):
        call(row, **options)


@pytest.mark.parametrize("row", [BERT, GPT2], ids=str)
def test_text_beyond_the_positions(row: Row):
    ids = torch.randint(8, 90, (1, 41))
    with pytest.raises(
        LengthError, match=r"reaches position 40.*the 40 positions 0…39.*truncation=True, max_length=40"
    ):
        call(row, input_ids=ids)
    call(row, input_ids=ids[:, :40])
    with pytest.raises(LengthError, match="reaches position 40"):
        call(row, input_ids=ids[:, :3], position_ids=torch.tensor([[0, 1, 40]]))


def test_a_cache_of_another_batch():
    cache = call(LLAMA, input_ids=IDS).past_key_values
    with pytest.raises(ArgumentError, match="holds 2 sequences, and the batch has 1 rows"):
        call(LLAMA, input_ids=IDS[:1], past_key_values=cache)


def test_a_cache_of_the_reference_library():
    import transformers

    with pytest.raises(ArgumentError, match="is a DynamicCache; expected"):
        call(LLAMA, input_ids=IDS, past_key_values=transformers.DynamicCache())


@pytest.mark.parametrize("row", [BERT, LLAMA, T5], ids=str)
def test_arguments_that_a_model_does_not_know(row: Row):
    given = inputs(row, right_mask())
    with pytest.raises(TypeError, match="no_such_input"):
        call(row, **given, no_such_input=1)


@pytest.mark.skipif(kernels.available() is None, reason="the native kernels are turned off")
def test_a_backend_that_cannot_serve(folder):
    model = load(folder, attn_implementation="native")
    with pytest.raises(ArgumentError, match=r"'native' refuses: it has no gradient.*Accepting: sdpa, plain"):
        model(IDS)
    with pytest.raises(ArgumentError, match="unknown; known are"):
        model.set_attn_implementation("paged")


def test_classifying_a_batch_needs_its_padding_token(folder):
    model = enfold.AutoModelForSequenceClassification.from_pretrained(folder)
    model.config.pad_token_id = None
    with pytest.raises(ArgumentError, match=r"pad_token_id is None and the batch has 2 rows"):
        model(IDS)
    assert model(IDS, torch.tensor([[1, 1, 1], [1, 1, 0]])).logits.shape == (2, 3)  # the mask tells


def test_labels_beyond_the_classes(folder):
    model = enfold.BertForSequenceClassification.from_pretrained(pair(BERT).folder, problem_type="ranking")
    with pytest.raises(ArgumentError, match="problem_type is 'ranking'; expected 'regression'"):
        model(IDS, labels=torch.tensor([0, 1]))


def test_reentrant_checkpointing():
    with pytest.raises(ArgumentError, match="use_reentrant=True"):
        pair(LLAMA).ours.gradient_checkpointing_enable({"use_reentrant": True})

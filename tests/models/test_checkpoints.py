"""The forms that checkpoints come in: shards, older names, prefixes, tied weights stored twice or once."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.core_model_loading import revert_weight_conversion

import enfold
from enfold.models.config import COMMON_DEFAULTS
from enfold.models.load import by_pattern
from tests.models import seq2seq_kin
from tests.models.pairs import fresh, inputs, ours_class, pair, right_mask, theirs_class
from tests.models.rows import ONE_EACH, ROWS, Row
from tests.models.test_families import close

every_family = pytest.mark.parametrize("row", ONE_EACH, ids=str)


def row_of(head: str, variant: str = "plain") -> Row:
    return next(row for row in ROWS if row.head == head and row.variant == variant)


def rewritten(row: Row, folder: Path, change) -> Path:
    """A copy of the row's checkpoint with `change(tensors)` applied."""
    shutil.copytree(pair(row).folder, folder, dirs_exist_ok=True)
    tensors = load_file(folder / "model.safetensors")
    changed = change(dict(tensors))
    save_file({name: tensor.contiguous().clone() for name, tensor in changed.items()}, folder / "model.safetensors")
    return folder


def assert_same_weights(model, row: Row) -> None:
    wanted = dict(pair(row).ours.named_parameters())
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, wanted[name]), name


def load(row: Row, folder: Path):
    model, report = ours_class(row).from_pretrained(folder, output_loading_info=True)
    return model, {key: value for key, value in report.items() if value}


@every_family
def test_shards_written_by_them(row: Row, tmp_path):
    pair(row).theirs.save_pretrained(tmp_path, max_shard_size="4KB")
    if row.edit:
        shutil.copy(pair(row).folder / "config.json", tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    model, report = load(row, tmp_path)
    assert not report
    assert_same_weights(model, row)


@every_family
def test_shards_written_by_us(row: Row, tmp_path):
    pair(row).ours.save_pretrained(tmp_path, max_shard_size="4KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    stored = {tensor.data_ptr(): tensor for tensor in pair(row).theirs.state_dict().values()}  # tied ones once
    assert index["metadata"]["total_size"] == 4 * sum(tensor.numel() for tensor in stored.values())
    theirs, report = theirs_class(row).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    for name, tensor in pair(row).theirs.state_dict().items():
        assert torch.equal(theirs.state_dict()[name], tensor)
    model, report = load(row, tmp_path)
    assert not report
    assert_same_weights(model, row)


@every_family
def test_a_legacy_torch_file(row: Row, tmp_path):
    shutil.copy(pair(row).folder / "config.json", tmp_path)
    theirs = pair(row).theirs
    torch.save(revert_weight_conversion(theirs, theirs.state_dict()), tmp_path / "pytorch_model.bin")
    model, report = load(row, tmp_path)
    assert not report  # tied weights stand in it twice
    assert_same_weights(model, row)


def test_the_head_of_gpt_neox_under_its_later_name(tmp_path):
    row = row_of("GPTNeoXForCausalLM")

    def later(tensors):
        return {name.replace("embed_out", "lm_head"): tensor for name, tensor in tensors.items()}

    model, report = load(row, rewritten(row, tmp_path, later))
    assert not report
    assert_same_weights(model, row)


def test_gamma_and_beta_of_the_first_berts(tmp_path):
    row = row_of("BertForMaskedLM")

    def older(tensors):
        return {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
            for name, tensor in tensors.items()
        }

    model, report = load(row, rewritten(row, tmp_path, older))
    assert not report
    assert_same_weights(model, row)


def test_buffers_of_older_versions_are_passed_over(tmp_path):
    for head, buffers in {
        "BertForMaskedLM": ["bert.embeddings.position_ids"],
        "DistilBertForMaskedLM": ["distilbert.embeddings.position_ids"],
        "LlamaForCausalLM": ["model.layers.0.self_attn.rotary_emb.inv_freq"],
        "GPT2LMHeadModel": ["transformer.h.0.attn.bias", "transformer.h.1.attn.masked_bias"],
        "GPTNeoForCausalLM": ["transformer.h.0.attn.attention.bias", "transformer.h.1.attn.attention.masked_bias"],
        "GPTJForCausalLM": ["transformer.h.0.attn.bias", "transformer.h.1.attn.embed_positions"],
        "GPTNeoXForCausalLM": [
            "gpt_neox.layers.0.attention.bias",
            "gpt_neox.layers.1.attention.masked_bias",
            "gpt_neox.layers.0.attention.rotary_emb.inv_freq",
        ],
        "FalconForCausalLM": ["transformer.h.1.self_attention.rotary_emb.inv_freq"],
        "OPTForCausalLM": ["model.decoder.version"],
        "T5ForConditionalGeneration": [
            "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
        ],
    }.items():
        row = row_of(head)
        extra = {name: torch.ones(2, 2) for name in buffers}
        model, report = load(row, rewritten(row, tmp_path / head, lambda tensors, extra=extra: tensors | extra))
        assert not report
        assert_same_weights(model, row)


@pytest.mark.parametrize(
    ("base", "task", "prefix"),
    [
        ("BertModel", "BertForMaskedLM", "bert."),
        ("DistilBertModel", "DistilBertForMaskedLM", "distilbert."),
        ("LlamaModel", "LlamaForCausalLM", "model."),
        ("GPT2Model", "GPT2LMHeadModel", "transformer."),
    ],
)
def test_a_base_model_reads_a_task_checkpoint_and_the_other_way(base: str, task: str, prefix: str, tmp_path, caplog):
    row = row_of(task)
    base_class = getattr(enfold, base)
    options = {"add_pooling_layer": False} if base == "BertModel" else {}
    theirs = getattr(transformers, base).from_pretrained(pair(row).folder, **options)
    ours, report = base_class.from_pretrained(pair(row).folder, output_loading_info=True)
    assert {name.split(".")[0] for name in report["missing_keys"]} <= {"pooler"}
    given = inputs(row)
    with torch.no_grad():
        close(ours(**given).last_hidden_state, theirs(**given).last_hidden_state)
    theirs.save_pretrained(tmp_path / "base")
    assert not any(name.startswith(prefix) for name in load_file(tmp_path / "base" / "model.safetensors"))
    caplog.clear()
    with caplog.at_level(logging.WARNING, "enfold"):
        model, report = getattr(enfold, task).from_pretrained(tmp_path / "base", output_loading_info=True)
    assert not report["unexpected_keys"]
    assert not any(name.startswith(prefix) for name in report["missing_keys"])
    wanted = dict(pair(row).ours.named_parameters())
    for name, parameter in model.named_parameters():
        if name.startswith("base."):
            assert torch.equal(parameter, wanted[name])
    if report["missing_keys"]:
        assert len(caplog.records) == 1
        assert all(name in caplog.text for name in by_pattern(report["missing_keys"]))


def test_task_checkpoints_without_the_prefix(tmp_path):
    """GPT-2's first files hold the base model's names bare."""
    row = row_of("GPT2LMHeadModel")
    folder = rewritten(row, tmp_path, lambda t: {name.removeprefix("transformer."): x for name, x in t.items()})
    model, report = load(row, folder)
    assert not report
    assert_same_weights(model, row)


COPIES = {
    "BertForMaskedLM": ("bert.embeddings.word_embeddings.weight", ["cls.predictions.decoder.weight"]),
    "DistilBertForMaskedLM": ("distilbert.embeddings.word_embeddings.weight", ["vocab_projector.weight"]),
    "GPT2LMHeadModel": ("transformer.wte.weight", ["lm_head.weight"]),
    "T5ForConditionalGeneration": (
        "shared.weight",
        ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"],
    ),
}


@pytest.mark.parametrize("head", COPIES)
def test_tied_weights_stored_twice(head: str, tmp_path):
    row, (source, copies) = row_of(head), COPIES[head]
    extra = {"cls.predictions.decoder.bias": "cls.predictions.bias"} if head == "BertForMaskedLM" else {}
    folder = rewritten(
        row, tmp_path, lambda t: t | dict.fromkeys(copies, t[source]) | {a: t[b] for a, b in extra.items()}
    )
    model, report = load(row, folder)
    assert not report
    assert_same_weights(model, row)
    assert model.num_parameters() == pair(row).theirs.num_parameters()


@pytest.mark.parametrize("head", COPIES)
def test_tied_weights_stored_once_under_the_other_name(head: str, tmp_path):
    row, (source, copies) = row_of(head), COPIES[head]

    def moved(tensors):
        tensors[copies[0]] = tensors.pop(source)
        return tensors

    model, report = load(row, rewritten(row, tmp_path, moved))
    assert not report
    assert_same_weights(model, row)


@pytest.mark.parametrize("head", ["GPT2LMHeadModel", "T5ForConditionalGeneration"])
def test_a_head_with_values_of_its_own_is_kept_apart(head: str, tmp_path):
    """T5 v1.1 says that nothing is tied; some other files say that all is, and store another head."""
    row = row_of(head, "untied" if head.startswith("T5") else "plain")
    other = torch.randn(row.entries["vocab_size"], row.entries.get("d_model") or row.entries["n_embd"])
    folder = rewritten(row, tmp_path, lambda tensors: tensors | {"lm_head.weight": other})
    model, report = load(row, folder)
    assert not report
    assert torch.equal(model.get_output_embeddings().weight, other)
    theirs = theirs_class(row).from_pretrained(folder)
    given = inputs(row)
    with torch.no_grad():
        close(model(**given).logits, theirs(**given).logits)
    model.save_pretrained(tmp_path / "again")
    again = ours_class(row).from_pretrained(tmp_path / "again")
    assert torch.equal(again.get_output_embeddings().weight, other)
    assert torch.equal(again.get_input_embeddings().weight, model.get_input_embeddings().weight)
    model.bfloat16()
    model.tie_weights()
    assert model.get_output_embeddings().weight is not model.get_input_embeddings().weight


@pytest.mark.parametrize("head", ["BertForMaskedLM", "RobertaForMaskedLM", "AlbertForMaskedLM", "MPNetForMaskedLM"])
@torch.no_grad()
def test_of_two_biases_an_untied_head_takes_the_one_that_counts(head: str, tmp_path):
    row = next(row for row in ONE_EACH if row.head == head)
    theirs = theirs_class(row)(
        getattr(transformers, row.config_name)(**row.entries | {"tie_word_embeddings": False})
    ).eval()
    for parameter in theirs.parameters():
        parameter.normal_()
    theirs.save_pretrained(tmp_path / "theirs")
    given = inputs(row, right_mask())
    ours, report = ours_class(row).from_pretrained(tmp_path / "theirs", output_loading_info=True)
    assert not any(report.values())
    close(ours(**given).logits[0], theirs(**given).logits[0])
    ours.save_pretrained(tmp_path / "ours")
    close(theirs_class(row).from_pretrained(tmp_path / "ours")(**given).logits[0], theirs(**given).logits[0])


@every_family
def test_configurations_keep_what_they_do_not_know(row: Row, tmp_path):
    shutil.copytree(pair(row).folder, tmp_path, dirs_exist_ok=True)
    entries = json.loads((tmp_path / "config.json").read_text())
    entries["of_some_later_version"] = {"deep": [1, None, "x"]}
    (tmp_path / "config.json").write_text(json.dumps(entries))
    config = enfold.AutoConfig.from_pretrained(tmp_path)
    assert config.of_some_later_version == {"deep": [1, None, "x"]}
    assert type(config).__name__ == row.config_name
    ours_class(row).from_pretrained(tmp_path).save_pretrained(tmp_path / "again")
    written = json.loads((tmp_path / "again" / "config.json").read_text())
    assert written == entries | {"architectures": [row.head], "dtype": "float32"}
    assert config == type(config).from_pretrained(tmp_path)


@every_family
def test_configurations_answer_as_the_reference_s(row: Row):
    theirs = getattr(transformers, row.config_name)
    rarely_asked = transformers.PreTrainedConfig().to_dict().keys() - COMMON_DEFAULTS.keys()
    for entries in ({}, row.entries):
        ours, wanted = type(pair(row).ours.config)(**entries), theirs(**entries)
        for name, value in wanted.to_dict().items():
            if name in rarely_asked or name in ("rope_parameters", "pretraining_tp"):
                continue
            derived = ("dense_act_fn", "is_gated_act", "scale_decoder_outputs")
            if row.family in seq2seq_kin.NO_COLUMNS and name in derived:
                continue  # derived from other entries
            assert hasattr(ours, name), name
            if name == "sliding_window" and not value and not ours.sliding_window:
                continue  # one of them writes no window as 0
            if value != getattr(ours, name):
                other = {"num_key_value_heads", "head_dim", "num_decoder_layers", "tie_word_embeddings"}
                other |= {"decoder_vocab_size", "num_kv_heads", "ffn_hidden_size", "word_embed_proj_dim"}
                assert name in other, (name, value, getattr(ours, name))


def test_common_names_of_entries_reach_the_family_s_own():
    config = enfold.GPT2Config(n_embd=48, n_layer=3)
    assert (config.hidden_size, config.num_hidden_layers) == (48, 3)
    config.hidden_size = 64
    assert config.n_embd == 64
    assert "hidden_size" not in config.to_dict()


def test_labels_follow_their_number_and_their_names():
    config = enfold.BertConfig(num_labels=4)
    assert config.id2label == {i: f"LABEL_{i}" for i in range(4)}
    config = enfold.BertConfig(id2label={"0": "no", "1": "yes"}, label2id={"no": 0, "yes": 1})
    assert (config.num_labels, config.id2label[1]) == (2, "yes")
    config.num_labels = 3
    assert config.num_labels == 3


def test_overriding_the_configuration_while_loading(caplog):
    row = row_of("BertForMaskedLM")
    with caplog.at_level(logging.WARNING, "enfold"):
        model = enfold.BertForSequenceClassification.from_pretrained(pair(row).folder, num_labels=7)
    assert model.classifier.out_features == 7
    assert len(caplog.records) == 1
    assert "classifier.weight missing, newly initialised" in caplog.text
    assert "cls.predictions" in caplog.text  # the head that was there, and isn't used
    assert torch.equal(model.classifier.bias, torch.zeros(7))
    assert 0.005 < model.classifier.weight.std() < 0.05
    assert pair(row).ours.config.num_labels == 3


@pytest.mark.parametrize("dtype", [torch.bfloat16, "bfloat16", "float16", "torch.float64", "fp32"])
def test_dtypes_by_object_and_by_name(dtype):
    row = row_of("LlamaForCausalLM")
    model = fresh(row, dtype=dtype)
    wanted = {"fp32": torch.float32, "float16": torch.float16, "torch.float64": torch.float64}
    assert model.dtype == wanted.get(dtype, torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {model.dtype}


def test_the_checkpoint_s_own_dtype_is_kept(tmp_path):
    row = row_of("LlamaForCausalLM")
    fresh(row, dtype="bfloat16").save_pretrained(tmp_path)
    for options in ({}, {"dtype": "auto"}, {"torch_dtype": "auto"}):
        assert ours_class(row).from_pretrained(tmp_path, **options).dtype == torch.bfloat16
    theirs = theirs_class(row).from_pretrained(tmp_path, dtype="auto")
    assert theirs.dtype == torch.bfloat16
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["dtype"] == "bfloat16"


@pytest.mark.parametrize("row", [row for row in ROWS if row.variant == "plain"], ids=str)
def test_auto_classes_choose_the_class(row: Row):
    from enfold.models.families import FAMILIES
    from enfold.models.registry import AUTO_TASKS

    tasks = FAMILIES[row.family][2]
    for auto, task in AUTO_TASKS.items():
        if tasks.get(task) == row.head:
            model = getattr(enfold, auto).from_pretrained(pair(row).folder)
            assert type(model).__name__ == row.head
            assert_same_weights(model, row)
            config = enfold.AutoConfig.from_pretrained(pair(row).folder)
            assert type(getattr(enfold, auto).from_config(config)) is type(model)


def test_loading_leaves_the_files_as_they_are(tmp_path):
    """Weights are mapped from the file: training must not write into it."""
    row = row_of("LlamaForCausalLM")
    shutil.copytree(pair(row).folder, tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "model.safetensors").read_bytes()
    model = ours_class(row).from_pretrained(tmp_path)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    model.save_pretrained(tmp_path)  # over the very file that is mapped
    again = ours_class(row).from_pretrained(tmp_path)
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_saving_a_variant(tmp_path):
    row = row_of("BertForMaskedLM")
    fresh(row, dtype="float16").save_pretrained(tmp_path, variant="fp16")
    assert (tmp_path / "model.fp16.safetensors").exists()
    model = ours_class(row).from_pretrained(tmp_path, variant="fp16")
    assert model.dtype == torch.float16
    with torch.no_grad():
        assert model(**inputs(row, right_mask())).logits.isfinite().all()

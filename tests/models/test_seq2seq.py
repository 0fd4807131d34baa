"""Encoder–decoders beside the reference: what they write, and what the shared tests by rows don't reach."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.models.m2m_100.modeling_m2m_100 import M2M100SinusoidalPositionalEmbedding
from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding
from transformers.models.mbart.modeling_mbart import shift_tokens_right

import enfold
from enfold.base.errors import ArgumentError, LengthError
from enfold.models.sinusoids import EndlessTable, FrozenTable
from tests.models.pairs import Pair, error, inputs, pair, right_mask
from tests.models.rows import ROWS, Row
from tests.models.test_families import close

WRITERS = [row for row in ROWS if row.task == "seq2seq-lm" and row.variant != "plain mlp"]
# The reference's mT5 keeps a cache as deep as its encoder.
KIN = [row for row in WRITERS if row.variant in ("plain", "uneven", "two vocabularies")]


def row_of(head: str, variant: str = "plain") -> Row:
    return next(row for row in ROWS if row.head == head and row.variant == variant)


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    """A row's models, with a bias on the scores."""

    def build(row: Row) -> Pair:
        config = getattr(transformers, row.config_name)(**row.entries)
        torch.manual_seed(len(str(row)))
        theirs = getattr(transformers, row.head)(config).eval()
        with torch.no_grad():
            for parameter in theirs.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.2)
            if hasattr(theirs, "final_logits_bias"):
                theirs.final_logits_bias.normal_()
        folder = tmp_path_factory.mktemp("longer")
        theirs.save_pretrained(folder)
        return Pair(row, folder, theirs, enfold.AutoModelForSeq2SeqLM.from_pretrained(folder))

    return build


@pytest.mark.parametrize("row", KIN, ids=str)
def test_forced_and_beamed_texts(row: Row, longer):
    both, given = longer(row), inputs(row, right_mask())
    del given["decoder_input_ids"]
    for options in (
        {"max_new_tokens": 9, "forced_bos_token_id": 5, "forced_eos_token_id": row.entries["eos_token_id"]},
        {"max_new_tokens": 16, "num_beams": 4},
    ):
        options |= {"do_sample": False}
        assert torch.equal(both.ours.generate(**given, **options), both.theirs.generate(**given, **options)), options


@pytest.mark.parametrize("head", ["BartForConditionalGeneration", "MarianMTModel"])
@torch.no_grad()
def test_a_bias_on_the_scores_is_read_written_and_not_trained(head: str, longer, tmp_path):
    both = longer(row_of(head))
    given = inputs(both.row)
    close(both.ours(**given).logits, both.theirs(**given).logits)
    both.ours.save_pretrained(tmp_path)
    again = getattr(transformers, head).from_pretrained(tmp_path)
    assert torch.equal(again.final_logits_bias, both.theirs.final_logits_bias)
    assert both.ours.num_parameters() == both.theirs.num_parameters()
    tensors = load_file(both.folder / "model.safetensors")
    del tensors["final_logits_bias"]
    save_file(tensors, both.folder / "model.safetensors")
    without, report = type(both.ours).from_pretrained(both.folder, output_loading_info=True)
    assert not any(report.values())
    bias = both.theirs.final_logits_bias
    close(without(**given).logits + bias, both.theirs(**given).logits)


@pytest.mark.parametrize("labels", [[[9, 8, 7, 2, 50], [9, 8, 2, 51, 1]], [[9, 2, 50, -100, -100], [9, 8, 7, 2, 51]]])
def test_mbart_starts_with_the_language_that_labels_end_with(labels: list[list[int]]):
    model = pair(row_of("MBartForConditionalGeneration")).ours
    given = torch.tensor(labels)
    assert torch.equal(model.prepare_decoder_input_ids_from_labels(given), shift_tokens_right(given, 1))


@pytest.mark.parametrize("width", [6, 32, 33])
def test_computed_positions(width: int):
    theirs = MarianSinusoidalPositionalEmbedding(700, width)
    frozen = FrozenTable(700, width)
    with torch.no_grad():
        frozen.draw("weight", frozen.weight, 0.02)
        assert torch.equal(frozen.weight, theirs.create_weight())
    assert not frozen.weight.requires_grad
    table = M2M100SinusoidalPositionalEmbedding.get_embedding(1500, width, 4)
    endless = EndlessTable(width, 4)
    for end in (3, 700, 1500):
        assert torch.equal(endless(torch.arange(end), end, torch.empty(0)), table[:end])


@torch.no_grad()
def test_positions_beyond_the_length_of_training():
    """M2M100 computes what it needs; a table ends where it ends."""
    both = pair(row_of("M2M100ForConditionalGeneration"))
    ids = torch.randint(8, 99, (1, 60))
    given = {"input_ids": ids, "decoder_input_ids": ids}
    close(both.ours(**given).logits, both.theirs(**given).logits)
    for head in ("BartForConditionalGeneration", "MarianMTModel"):
        model = pair(row_of(head)).ours
        with pytest.raises(LengthError, match="reaches position 59"):
            model(**given)
        with pytest.raises(LengthError, match="40 positions"):
            model.generate(ids[:, :9], max_new_tokens=50)


@torch.no_grad()
def test_positions_that_a_file_holds(tmp_path):
    both = pair(row_of("MarianMTModel"))
    tensors = load_file(both.folder / "model.safetensors")
    tensors["model.encoder.embed_positions.weight"] = torch.randn(40, 32)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((both.folder / "config.json").read_text())
    given = inputs(both.row, right_mask())
    ours, theirs = (c.from_pretrained(tmp_path) for c in (type(both.ours), type(both.theirs)))
    close(ours(**given).logits, theirs(**given).logits)
    assert error(ours(**given).logits, both.ours(**given).logits) > 1e-3
    assert not ours.base.encoder.embed.positions.weight.requires_grad


@pytest.mark.parametrize("head", ["BartForConditionalGeneration", "MBartForConditionalGeneration", "MarianMTModel"])
@torch.no_grad()
def test_tables_stored_thrice_or_once(head: str, tmp_path):
    both = pair(row_of(head))
    tensors = load_file(both.folder / "model.safetensors")
    given = inputs(both.row, right_mask())
    for name in ("encoder.embed_tokens", "decoder.embed_tokens"):
        tensors[f"model.{name}.weight"] = tensors["model.shared.weight"].clone()
    tensors["lm_head.weight"] = tensors["model.shared.weight"].clone()
    tensors["model.encoder.version"] = torch.tensor([3.0])
    save_file(tensors, tmp_path / "model.safetensors")
    entries = json.loads((both.folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(entries))
    model, report = type(both.ours).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert torch.equal(model(**given).logits, both.ours(**given).logits)
    assert model.num_parameters() == both.theirs.num_parameters()
    # Older versions shared the tables of both sides even where the head was its own.
    del tensors["model.encoder.embed_tokens.weight"], tensors["model.decoder.embed_tokens.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(entries | {"tie_word_embeddings": False}))
    model, report = type(both.ours).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    close(model(**given).logits, both.ours(**given).logits)


@pytest.mark.parametrize("family", ["Bart", "MBart", "Marian", "Pegasus", "Blenderbot", "BlenderbotSmall"])
@torch.no_grad()
def test_the_decoder_of_a_whole_model(family: str):
    """A model of text from an encoder–decoder's file, with or without a source."""
    row = next(
        row for row in WRITERS if row.head.removesuffix("MTModel") in (family, f"{family}ForConditionalGeneration")
    )
    both, given = pair(row), inputs(row, right_mask())
    model, report = getattr(enfold, f"{family}ForCausalLM").from_pretrained(both.folder, output_loading_info=True)
    assert not any(report.values())
    whole = both.ours(**given)
    wanted = whole.logits  # the bias on the scores is zero here
    states = {"encoder_hidden_states": whole.encoder_last_hidden_state}
    found = model(given["decoder_input_ids"], **states, encoder_attention_mask=given["attention_mask"]).logits
    close(found, wanted)
    assert error(model(given["decoder_input_ids"]).logits, wanted) > 1e-3
    assert model.config.is_decoder
    assert not model.config.is_encoder_decoder


def test_layers_are_left_out_in_training_only():
    row = row_of("BartForConditionalGeneration")
    model = enfold.BartForConditionalGeneration.from_pretrained(
        pair(row).folder, encoder_layerdrop=1.0, decoder_layerdrop=1.0, dropout=0.0
    )
    given = inputs(row)
    close(model(**given).logits, pair(row).ours(**given).logits)
    model.train()
    output = model(**given, output_hidden_states=True)
    assert len(output.encoder_hidden_states) == 3
    assert torch.equal(output.encoder_hidden_states[0], output.encoder_hidden_states[-1])
    output.logits.sum().backward()
    assert model.base.encoder.layers[0].mlp.op.up.weight.grad is None


def test_a_decoder_without_input():
    given = inputs(row_of("MarianMTModel"))
    del given["decoder_input_ids"]
    with pytest.raises(ArgumentError, match="MarianModel got nothing for its decoder: pass decoder_input_ids"):
        pair(row_of("MarianMTModel")).ours(**given)
    both = pair(row_of("BartForConditionalGeneration"))  # which was trained to repeat what it reads
    close(both.ours(**given).logits, both.theirs(**given).logits)


@torch.no_grad()
def test_positions_of_m2m100_count_tokens():
    both = pair(row_of("M2M100ForConditionalGeneration"))
    mask = right_mask().flip(1)
    given = inputs(both.row, mask)
    given["decoder_input_ids"] = given["decoder_input_ids"].index_fill(1, torch.tensor([0]), 1)
    close(both.ours(**given).logits[:, 1:], both.theirs(**given).logits[:, 1:])
    vectors = torch.randn(3, 9, 32)
    given |= {"inputs_embeds": vectors, "input_ids": None}
    close(both.ours(**given).logits, both.theirs(**given).logits)

"""Name tables: read both ways, checked when they are made."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from enfold.base.errors import ConfigError
from enfold.models.families import FAMILIES
from enfold.models.registry import class_by_name, config_class
from enfold.weights.names import NameTable, Piece, as_stored, from_stored

TABLE = NameTable("""
    stack.layers.{i}.attn.op.q     encoder.layer.{i}.attention.self.query
    stack.layers.{i}.mlp.op.up     encoder.layer.{i}.mlp.c_fc             transposed
    stack.norm                     norm
    head.decoder.weight            cls.decoder.weight
    head.decoder.bias              cls.bias
    experts.{i}.{j}                e.{j}.of.{i}
""")


@pytest.mark.parametrize(
    ("ours", "theirs", "storage"),
    [
        ("stack.layers.0.attn.op.q.weight", "encoder.layer.0.attention.self.query.weight", ""),
        ("stack.layers.117.attn.op.q.bias", "encoder.layer.117.attention.self.query.bias", ""),
        ("stack.layers.3.attn.op.q.lora_A.weight", "encoder.layer.3.attention.self.query.lora_A.weight", ""),
        ("stack.layers.3.mlp.op.up.weight", "encoder.layer.3.mlp.c_fc.weight", "transposed"),
        ("stack.norm.weight", "norm.weight", ""),
        ("stack.norm", "norm", ""),
        ("head.decoder.weight", "cls.decoder.weight", ""),
        ("head.decoder.bias", "cls.bias", ""),
        ("experts.2.7.up", "e.7.of.2.up", ""),
    ],
)
def test_both_directions(ours: str, theirs: str, storage: str):
    assert TABLE.theirs(ours) == (theirs, storage)
    assert TABLE.ours(theirs) == (ours, storage)


@pytest.mark.parametrize("name", ["stack.normal.weight", "stack.layers.x.attn.op.q", "stack", "", "other.stack.norm"])
def test_names_without_a_row(name: str):
    assert TABLE.theirs(name) is None


@given(st.integers(0, 10**6), st.sampled_from(["", ".weight", ".a.b.c", ".{i}", ".0"]))
def test_round_trips(index: int, suffix: str):
    name = f"stack.layers.{index}.attn.op.q{suffix}"
    translated = TABLE.theirs(name)
    assert translated is not None
    assert TABLE.ours(translated[0]) == (name, "")


def test_the_longest_row_wins_whatever_the_order():
    rows = ["shared  model", "shared.norm  model.last", "shared.norm.weight  gain"]
    for order in (rows, rows[::-1]):
        table = NameTable("\n".join(order))
        assert table.theirs("shared.x") == ("model.x", "")
        assert table.theirs("shared.norm.bias") == ("model.last.bias", "")
        assert table.theirs("shared.norm.weight") == ("gain", "")
        assert table.ours("model.last.bias") == ("shared.norm.bias", "")


def test_prefixes_and_sums():
    table = TABLE.under("base.", "bert.") + NameTable("classifier  classifier")
    assert table.theirs("base.stack.norm.bias") == ("bert.norm.bias", "")
    assert table.ours("classifier.weight") == ("classifier.weight", "")
    assert table.theirs("stack.norm.bias") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a  x\na  y", "'a'.*stand twice in the column 'ours'"),
        ("a  x\nb  x", "'x'.*stand twice in the column 'theirs'"),
        ("a.{i}  x", "the indices of 'a.{i}' and 'x' differ"),
        ("a.{i}  x.{j}", "indices"),
        ("a.{i}  x.{i}.{i}", "indices"),
        ("a.{i}.{i}  x.{i}.{i}", "an index of .* repeats"),
        ("a  x  upside_down", "storage 'upside_down' is none of"),
        ("a", "a row has two or three columns"),
        ("a  b  transposed  c", "a row has two or three columns"),
    ],
)
def test_tables_that_contradict_themselves(text: str, message: str):
    with pytest.raises(ConfigError, match=message):
        NameTable(text)


def test_a_dot_is_a_dot():
    table = NameTable("a.b  x+y.z")
    assert table.theirs("aXb") is None
    assert table.ours("x+y.z.w") == ("a.b.w", "")
    assert table.ours("xxy.z.w") is None


@pytest.mark.parametrize("storage", ["", "transposed", "by_head:6:6", "by_head:6:3", "by_head:16:1", "by_head:1:1"])
@pytest.mark.parametrize("shape", [(36, 5), (36,), (144, 3)])
def test_storages_are_undone(storage: str, shape: tuple[int, ...]):
    tensor = torch.randn(shape)
    assert torch.equal(from_stored(as_stored(tensor, storage), storage), tensor)
    assert torch.equal(as_stored(from_stored(tensor, storage), storage), tensor)


def test_each_key_stands_behind_its_queries_and_before_its_value():
    rows = torch.tensor([10, 11, 12, 13, 20, 21, 30, 31])  # four queries, two keys, two values of one dimension
    assert as_stored(rows, "by_head:4:2").tolist() == [10, 11, 20, 30, 12, 13, 21, 31]
    equal = torch.arange(2 * 3 * 4).view(2, 3, 4)  # [heads, three, head_dim], as GPT-NeoX and BLOOM store them
    assert torch.equal(as_stored(equal.transpose(0, 1).flatten(), "by_head:2:2"), equal.flatten())


def test_sizes_come_from_the_configuration():
    table = NameTable("a  x  by_head\nb  y  transposed").sized("by_head", 8, 2)
    assert table.theirs("a.weight") == ("x.weight", "by_head:8:2")
    assert table.theirs("b.weight") == ("y.weight", "transposed")


@pytest.mark.parametrize("head", sorted({head for _, _, classes in FAMILIES.values() for head in classes.values()}))
def test_every_weight_of_every_class_has_a_name_that_leads_back(head: str):
    cls = class_by_name(head)
    family = next(family for family, (_, _, classes) in FAMILIES.items() if head in classes.values())
    with torch.device("meta"):
        config = config_class(family)(
            vocab_size=8,
            hidden_size=16,
            num_hidden_layers=12,
            num_attention_heads=2,
            num_key_value_heads=2,
            num_experts=3,
            decoder_attention_heads=2,
            attention_types=[[["global", "local"], 6]],
            rotary_dim=4,
            decoder_start_token_id=0,
            pad_token_id=0,
        )
        model = cls(config)
    table = model.name_table()
    names = {}
    for name, weight in model.weights():
        for piece in table.pieces(name, tuple(weight.shape)):
            assert table.ours(piece.theirs) == (".".join([name, *map(str, piece.index)]), piece.storage)
            assert names.setdefault(piece.theirs, name) is name


def test_stacked_rows_name_the_pieces_of_a_parameter():
    table = NameTable("""
        op.{i}.gate_up.{e}.0   mlp.{i}.experts.{e}.gate.weight   stacked
        op.{i}.gate_up.{e}.1   mlp.{i}.experts.{e}.up.weight     stacked
        op.{i}.down.{e}        mlp.{i}.experts.{e}.down.weight   stacked
        op.{i}.up              mlp.{i}.up                        transposed
    """).under("base.", "model.")
    pieces = table.pieces("base.op.3.gate_up", (2, 2, 5, 4))
    assert [(p.theirs, p.index) for p in pieces] == [
        ("model.mlp.3.experts.0.gate.weight", (0, 0)),
        ("model.mlp.3.experts.0.up.weight", (0, 1)),
        ("model.mlp.3.experts.1.gate.weight", (1, 0)),
        ("model.mlp.3.experts.1.up.weight", (1, 1)),
    ]
    assert [p.index for p in table.pieces("base.op.0.down", (3, 4, 5))] == [(0,), (1,), (2,)]
    assert table.pieces("base.op.0.up.weight", (4, 5)) == [Piece("model.mlp.0.up.weight", (), "transposed")]
    with pytest.raises(ConfigError, match=r"no row for base\.op\.3\.gate_up"):
        table.pieces("base.op.3.gate_up", (2, 3, 5, 4))
    with pytest.raises(ConfigError, match="no row for other"):
        table.pieces("other", (1,))

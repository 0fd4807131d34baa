"""Features and their forms, beside the reference's: JSON, YAML, Arrow's schema, flattened, printed."""

import io
import json
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import datasets as reference
from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets.features import (
    Array2D,
    ClassLabel,
    Features,
    LargeList,
    List,
    Sequence,
    Value,
    plain_table,
    register_feature,
)
from enfold.datasets.features.dtypes import arrow_dtype, dtype_name
from tests.datasets.described import MORE_DTYPES, SCALARS, columns


def written(schema: pa.Schema) -> bytes:
    file = io.BytesIO()
    pa.ipc.new_stream(file, schema).close()
    return file.getvalue()


@pytest.mark.parametrize("name", [*SCALARS, *MORE_DTYPES, "float", "double", "utf8"])
def test_dtype_strings_are_the_references(name):
    theirs = reference.Value(name)
    ours = Value(name)
    assert ours.pa_type == theirs.pa_type
    assert ours.dtype == theirs.dtype
    assert repr(ours) == repr(theirs)
    if name not in ("utf8", "month_day_nano_interval"):
        assert arrow_dtype(dtype_name(ours.pa_type)) == theirs.pa_type


@pytest.mark.parametrize(
    "name", ["int7", "time32[us]", "decimal(3, 1)", "timestamp[m]", "json", "fixed_size_binary[x]"]
)
def test_no_dtype(name):
    with pytest.raises(ArgumentError):
        Value(name)


@settings(max_examples=150, deadline=None)
@given(columns())
def test_forms_are_the_references(plain):
    theirs = reference.Features.from_dict(json.loads(json.dumps(plain)))
    ours = Features.from_dict(json.loads(json.dumps(plain)))
    assert json.dumps(ours.to_dict()) == json.dumps(theirs.to_dict())
    assert repr(ours) == repr(theirs)
    assert json.dumps(ours.to_yaml()) == json.dumps(theirs._to_yaml_list())
    assert Features.from_yaml(theirs._to_yaml_list()) == Features.from_dict(
        reference.Features._from_yaml_list(ours.to_yaml()).to_dict()
    )
    assert Features.from_dict(ours.to_dict()) == ours
    assert pickle.loads(pickle.dumps(ours)) == ours == ours.copy()
    assert Features.from_arrow_schema(ours.arrow_schema) == ours
    assert Features.from_arrow_schema(theirs.arrow_schema) == ours
    # what is written to a file is the same, extension types included, so that the reference reads its own
    read = pa.ipc.open_stream(written(ours.arrow_schema)).schema
    assert read.equals(theirs.arrow_schema, check_metadata=True)
    assert reference.Features.from_arrow_schema(read) == theirs
    assert Features.from_arrow_schema(read) == ours


@settings(max_examples=60, deadline=None)
@given(columns(extras=False))
def test_flattening_is_the_references(plain):
    theirs = reference.Features.from_dict(plain).flatten()
    ours = Features.from_dict(plain).flatten()
    assert json.dumps(ours.to_dict(), sort_keys=True) == json.dumps(theirs.to_dict(), sort_keys=True)


@settings(max_examples=60, deadline=None)
@given(columns(extras=False), st.randoms(use_true_random=False))
def test_reordering_is_the_references(plain, random):
    def shuffled(feature):
        if isinstance(feature, dict) and "_type" in feature and isinstance(feature["_type"], str):
            return {**feature, "feature": shuffled(feature["feature"])} if "feature" in feature else feature
        names = sorted(feature)
        random.shuffle(names)
        return {name: shuffled(feature[name]) for name in names}

    other = shuffled(plain)
    theirs = reference.Features.from_dict(plain).reorder_fields_as(reference.Features.from_dict(other))
    ours = Features.from_dict(plain).reorder_fields_as(Features.from_dict(other))
    assert json.dumps(ours.to_dict()) == json.dumps(theirs.to_dict())


def test_types_without_metadata():
    kinds = {
        "a": pa.dictionary(pa.int8(), pa.string()),
        "b": pa.list_(pa.float32(), 3),
        "c": pa.large_list(pa.struct({"x": pa.int8(), "y": pa.list_(pa.date32())})),
        "d": pa.json_(),
        "e": pa.decimal128(5, 2),
    }
    schema = pa.schema(kinds)
    assert Features.from_arrow_schema(schema).to_dict() == reference.Features.from_arrow_schema(schema).to_dict()


def test_metadata_that_fits_no_longer_gives_way_to_the_types():
    schema = Features({"a": ClassLabel(names=["x"]), "b": Value("int8")}).arrow_schema
    schema = schema.set(1, pa.field("b", pa.string()))
    assert Features.from_arrow_schema(schema) == {"a": ClassLabel(names=["x"]), "b": Value("string")}


@pytest.mark.parametrize(
    "metadata",
    [
        b"{",
        b"[]",
        b'{"info": 3}',
        b'{"info": {"features": {"a": 1}}}',
        b'{"info": {"features": {"a": {"_type": "Evil"}}}}',
    ],
)
def test_metadata_that_is_torn(metadata):
    with pytest.raises(DatasetError, match="metadata of an Arrow schema"):
        Features.from_arrow_schema(pa.schema({"a": pa.int8()}, metadata={"huggingface": metadata}))


@pytest.mark.parametrize("data", ["", "{}", "[[1], 3]", '[[1, 2, 3], "int8"]', '[[1, 2], "int7"]'])
def test_extension_types_that_are_torn(data):
    marks = {
        "ARROW:extension:name": "datasets.features.features.Array2DExtensionType",
        "ARROW:extension:metadata": data,
    }
    with pytest.raises(DatasetError, match="can't be read"):
        Features.from_arrow_schema(pa.schema([pa.field("a", pa.list_(pa.list_(pa.int8())), metadata=marks)]))


def test_sequences():
    assert Sequence(Value("int8"), length=2) == List(Value("int8"), length=2)
    assert Sequence({"a": Value("int8")}) == {"a": List(Value("int8"))}
    assert isinstance(Sequence(Value("int8")), Sequence)
    assert Features({"a": [Value("int8")], "b": {"c": [{"d": Value("bool")}]}}) == {
        "a": List(Value("int8")),
        "b": {"c": List({"d": Value("bool")})},
    }
    old = {"a": {"feature": {"x": {"dtype": "int32", "_type": "Value"}}, "length": 3, "_type": "Sequence"}}
    assert Features.from_dict(old).to_dict() == reference.Features.from_dict(old).to_dict()


@pytest.mark.parametrize(
    "listed",
    [
        [{"name": "a", "sequence": "int32"}],
        [{"name": "a", "sequence": [{"name": "x", "dtype": "string"}, {"name": "y", "sequence": "int8"}]}],
        [{"name": "a", "list": [{"name": "x", "dtype": "image"}]}],
        [{"name": "a", "dtype": {"class_label": {"names": {"0": "no", "1": "yes"}}}}],
        [{"name": "a", "dtype": {"array2_d": {"shape": [1, 2], "dtype": "int8"}}}],
        [{"name": "a", "sequence": {"class_label": {"names": {"0": "no"}}}}],
        [{"name": "a", "struct": [{"name": "b", "dtype": "audio"}]}],
    ],
)
def test_yaml_of_cards(listed):
    theirs = reference.Features._from_yaml_list(listed)
    assert Features.from_yaml(listed).to_dict() == theirs.to_dict()


def test_yaml_labels_with_a_gap():
    with pytest.raises(DatasetError, match="without gaps"):
        Features.from_yaml([{"name": "a", "dtype": {"class_label": {"names": {"0": "no", "2": "yes"}}}}])


def test_what_is_no_feature():
    for wrong in ("int32", pa.int32(), Value, None, 3):
        with pytest.raises(ArgumentError, match="'a'"):
            Features({"a": wrong})
    with pytest.raises(DatasetError, match="'Nothing' is unknown"):
        Features.from_dict({"a": {"_type": "Nothing"}})


def test_a_feature_of_ones_own():
    class Percent(Value):
        pass

    register_feature(Percent, "Percent")
    assert isinstance(Features.from_dict({"a": {"dtype": "int8", "_type": "Percent"}})["a"], Percent)


def test_reordering_refuses_other_fields():
    with pytest.raises(DatasetError, match=r"\['b'\]"):
        Features({"r": {"a": Value("int8"), "b": Value("int8")}}).reorder_fields_as(
            Features({"r": {"a": Value("int8")}})
        )


@pytest.mark.parametrize("form", ["stream", "parquet"])
def test_tables_with_extension_types_become_plain(form):
    theirs = reference.Dataset.from_dict(
        {"x": [[[1, 2]], [[3, 4]]], "y": [[[[1, 2]]], None], "z": [{"a": [[1, 2]]}, None]},
        features=reference.Features(
            {
                "x": reference.Array2D((1, 2), "int32"),
                "y": reference.LargeList(reference.Array2D((1, 2), "int32")),
                "z": {"a": reference.Array2D((None, 2), "int32")},
            }
        ),
    ).data.table
    file = io.BytesIO()
    if form == "parquet":
        pq.write_table(theirs, file)
        read = pq.read_table(io.BytesIO(file.getvalue()))
    else:
        with pa.ipc.new_stream(file, theirs.schema) as stream:
            stream.write_table(theirs)
        read = pa.ipc.open_stream(file.getvalue()).read_all()
    plain = plain_table(read)
    wanted = Features(
        {
            "x": Array2D((1, 2), "int32"),
            "y": LargeList(Array2D((1, 2), "int32")),
            "z": {"a": Array2D((None, 2), "int32")},
        }
    )
    assert plain.schema.types == wanted.arrow_schema.types
    assert Features.from_arrow_schema(plain.schema) == wanted
    assert plain.to_pylist() == theirs.to_pylist()
    plain.validate(full=True)
    back = io.BytesIO()
    with pa.ipc.new_stream(back, plain.schema) as stream:
        stream.write_table(plain)
    assert pa.ipc.open_stream(back.getvalue()).schema.types == read.schema.types

"""Split names and expressions, beside the reference."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import datasets as reference
from enfold.base.errors import ArgumentError
from enfold.datasets import NamedSplit, ReadInstruction, Split, SplitDict, SplitInfo

SIZES = {"train": 1234, "test": 99, "my.split": 7, "none": 0}
bounds = st.one_of(st.none(), st.integers(-130, 130), st.integers(-2000, 2000))
parts = st.tuples(
    st.sampled_from([*SIZES, "absent"]),
    st.booleans(),
    bounds,
    bounds,
    st.sampled_from(["", "%"]),
    st.sampled_from(["", "(closest)", "(pct1_dropremainder)", "(up)"]),
)


def written(part) -> str:
    name, whole, start, stop, unit, rounding = part
    if whole:
        return name + rounding
    ends = ("" if bound is None else f"{bound}{unit}" for bound in (start, stop))
    return f"{name}[{':'.join(ends)}]{rounding}"


def outcome(library, spec: str):
    try:
        instruction = library.ReadInstruction.from_spec(spec)
        return instruction.to_spec(), [
            (
                getattr(rows, "split", None) or rows.splitname,
                getattr(rows, "start", getattr(rows, "from_", None)),
                getattr(rows, "stop", getattr(rows, "to", None)),
            )
            for rows in instruction.to_absolute(SIZES)
        ]
    except ValueError:
        return "refused"


@given(st.lists(parts, min_size=1, max_size=3), st.sampled_from(["+", " + "]))
@settings(max_examples=400, deadline=None)
def test_expressions_mean_what_they_mean_to_the_reference(terms, plus):
    import enfold.datasets

    spec = plus.join(map(written, terms))
    assert outcome(enfold.datasets, spec) == outcome(reference, spec)


@pytest.mark.parametrize(
    "spec", ["", "train[", "train[1:2:3]", "train[1.5:]", "train[%:]", "a b", "train-x", "+", "train+"]
)
def test_what_is_no_expression_is_refused(spec):
    with pytest.raises(ArgumentError):
        ReadInstruction.from_spec(spec)
    with pytest.raises(ValueError):
        reference.ReadInstruction.from_spec(spec)


def test_folds_are_disjoint_and_whole():
    rows = []
    for k in range(0, 100, 10):
        (held,) = ReadInstruction("train", from_=k, to=k + 10, unit="%").to_absolute(SIZES)
        rest = ReadInstruction("train", to=k, unit="%") + ReadInstruction("train", from_=k + 10, unit="%")
        assert len(held) + sum(map(len, rest.to_absolute(SIZES))) == SIZES["train"]
        rows += range(held.start, held.stop)
    assert rows == list(range(SIZES["train"]))


@pytest.mark.parametrize(
    "arguments",
    [
        {"unit": "percent"},
        {"unit": "abs", "rounding": "closest"},
        {"unit": "%", "from_": 101},
        {"unit": "%", "rounding": "up"},
    ],
)
def test_contradictory_instructions_are_refused(arguments):
    with pytest.raises(ArgumentError):
        ReadInstruction("train", **arguments)
    with pytest.raises(ValueError):
        reference.ReadInstruction("train", **arguments)


def test_different_roundings_do_not_add():
    with pytest.raises(ArgumentError, match="round differently"):
        ReadInstruction.from_spec("train[:10%]+train[:20%](pct1_dropremainder)")


def test_a_named_split_is_its_string():
    assert Split.TRAIN == "train"
    assert {Split.TEST: 1}["test"] == 1
    assert repr(Split("mine")) == "NamedSplit('mine')"
    assert repr(NamedSplit("train[:10%]")) == repr(reference.NamedSplit("train[:10%]"))
    with pytest.raises(ArgumentError):
        NamedSplit("no-dashes")


def test_split_infos_print_and_travel_as_the_reference_s():
    ours, theirs = SplitDict(dataset_name="d"), reference.SplitDict(dataset_name="d")
    for library, splits in ((SplitInfo, ours), (reference.SplitInfo, theirs)):
        splits.add(library("train", num_bytes=3, num_examples=2, shard_lengths=[1, 1]))
        splits.add(library("test"))
    assert repr(ours) == repr(theirs)
    assert ours._to_yaml_list() == theirs._to_yaml_list()
    assert ours.total_num_examples == theirs.total_num_examples
    with pytest.raises(ArgumentError, match="already"):
        ours.add(SplitInfo("train"))

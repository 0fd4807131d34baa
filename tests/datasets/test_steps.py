"""Functions over rows: what a call sees, what is kept as Arrow, and the reference's results."""

import asyncio
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import datasets as reference
from enfold.base.errors import DatasetError
from enfold.datasets.rows import Rows
from enfold.datasets.steps import Filter, Map

TABLE = pa.table({"n": [1, 2, 3], "text": ["a", "b", None], "list": [[1], [2, 3], []]})


def columns(step: Map, table=TABLE):
    calls = list(step.calls([Rows(table)]))
    out = step.batch(calls[0]) if step.batched else step.gather(calls)
    if isinstance(out, dict):
        return {k: v.to_pylist() if isinstance(v, pa.ChunkedArray) else list(v) for k, v in out.items()}
    return out


def set_and_return(x):
    x["n"] = x["n"]
    x["new"] = x["text"]
    return x


def delete(x):
    del x["text"]
    return x


def delete_in_copy(x):
    y = x.copy()
    del y["text"]
    y["n2"] = y["n"]
    return y


FUNCTIONS = {
    "identity": lambda x: x,
    "update": lambda x: {"n": x["n"], "new": x["text"]},
    "empty": lambda x: {},
    "joined": lambda x: x | {"new": x["text"]},
    "joined right": lambda x: {"new": x["text"]} | x,
    "set": set_and_return,
    "deleted": delete,
    "deleted in a copy": delete_in_copy,
    "unpacked": lambda x: {**x, "new": x["n"]},
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("remove", [(), ("n",), ("text", "list")])
def test_a_function_updates_rows_as_in_the_reference(name, batched, remove):
    step = Map(FUNCTIONS[name], batched=batched, remove_columns=remove)
    expected = reference.Dataset(TABLE).map(FUNCTIONS[name], batched=batched, remove_columns=list(remove))
    assert columns(step) == expected.to_dict()


def test_a_value_altered_in_place_is_written_though_it_was_not_returned():
    step = Map(lambda x: x["list"].append(9))
    assert columns(step) is None
    step = Map(lambda x: {"seen": x["list"].append(9)})
    expected = reference.Dataset(TABLE).map(step.function)
    assert columns(step) == expected.to_dict()
    assert columns(step)["list"] == [[1, 9], [2, 3, 9], [9]]


def test_columns_nobody_changed_stay_arrow():
    step = Map(lambda x: {"new": [len(t or "") for t in x["text"]]}, batched=True)
    (call,) = step.calls([Rows(TABLE)])
    out = step.batch(call)
    assert all(isinstance(out[name], pa.ChunkedArray) for name in ("n", "text", "list"))
    step = Map(lambda x: {"new": len(x["text"] or "")})
    out = step.gather(list(step.calls([Rows(TABLE)])))
    assert all(isinstance(out[name], pa.ChunkedArray) for name in ("n", "text", "list"))


def test_a_batch_whose_list_was_altered_is_not_taken_for_untouched():
    def function(batch):
        batch["text"][0] = "altered"
        return {}

    assert columns(Map(function, batched=True))["text"] == ["altered", "b", None]


def test_only_columns_looked_at_are_decoded():
    rows = Rows(TABLE)
    step = Map(lambda x: {"new": x["n"]}, batched=True)
    list(step.calls([rows]))
    assert set(rows._columns) == {"n"}


@pytest.mark.parametrize("batched", [False, True])
def test_indices_ranks_columns_and_keywords_come_in_the_reference_s_order(batched):
    seen = []
    step = Map(
        lambda *args, **kwargs: seen.append((args, kwargs)),
        with_indices=True,
        with_rank=True,
        input_columns=("n", "text"),
        batched=batched,
        fn_kwargs={"k": 1},
    )
    list(step.calls([Rows(TABLE.slice(0, 1)), Rows(TABLE.slice(1))], first=10, rank=3))
    if batched:
        assert seen == [(([1], ["a"], [10], 3), {"k": 1}), (([2, 3], ["b", None], [11, 12], 3), {"k": 1})]
    else:
        assert [args for args, _ in seen] == [(1, "a", 10, 3), (2, "b", 11, 3), (3, None, 12, 3)]


def test_python_columns_are_rows_too():
    step = Map(lambda x: {"m": x["n"] + 1}, remove_columns=("t",))
    calls = list(step.calls([Rows({"n": [1, 2], "t": ["a", "b"], "u": [None, 0]})]))
    assert [step.row(call) for call in calls] == [{"n": 1, "u": None, "m": 2}, {"n": 2, "u": 0, "m": 3}]
    batch = Map(lambda x: {"m": [v + 1 for v in x["n"]]}, batched=True)
    (call,) = batch.calls([Rows({"n": [1, 2], "t": ["a", "b"]})])
    assert batch.batch(call) == {"n": [1, 2], "t": ["a", "b"], "m": [2, 3]}


def test_row_wise_calls_are_made_one_by_one():
    seen = []
    step = Map(lambda x: seen.append(x["n"]) or {"m": 1})
    calls = step.calls([Rows(TABLE)])
    next(calls)
    assert seen == [1]


def test_coroutines_run_together_and_come_out_in_order():
    running, most = 0, 0

    async def function(x, index):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02 if index == 0 else 0.001)
        running -= 1
        return {"m": x["n"] * 2}

    step = Map(function, with_indices=True)
    assert columns(step)["m"] == [2, 4, 6]
    assert most == 3
    assert Filter(partial(function)).is_async

    async def in_a_loop():
        return columns(step)["m"]

    assert asyncio.run(in_a_loop()) == [2, 4, 6]


def test_a_coroutine_that_fails_ends_the_others():
    cancelled = []

    async def function(x):
        if x["n"] == 1:
            await asyncio.sleep(0.05)
            raise KeyError("mine")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(x["n"])
            raise

    with pytest.raises(KeyError, match="mine") as caught:
        list(Map(function).calls([Rows(TABLE)]))
    assert caught.value.__notes__ == ["row 0"]
    assert sorted(cancelled) == [2, 3]


def test_errors_name_the_rows():
    with pytest.raises(ZeroDivisionError) as caught:
        list(Map(lambda x: 1 // (x["n"] - 2)).calls([Rows(TABLE)], first=5))
    assert caught.value.__notes__ == ["row 6"]
    for function, batched, match in [
        (lambda x: 5, False, "returned int .row 0"),
        (lambda x: {"a": 1}, True, "column 'a' is int .rows 0 to 2"),
        (lambda x: {"a": "one"}, True, "column 'a' is str"),
        (lambda x: {str(x["n"]): 1}, False, "every row must have the same columns"),
        (lambda x: None if x["n"] == 2 else {"a": 1}, False, "same kind for every row"),
    ]:
        with pytest.raises(DatasetError, match=match):
            columns(Map(function, batched=batched))
    with pytest.raises(TypeError):
        columns(Map(lambda x: 5))


def test_tables_and_frames_stand_for_all_columns():
    out = columns(Map(lambda x: pd.DataFrame({"a": [1, 2]}), batched=True))
    assert isinstance(out, pa.Table)
    assert out.column("a").to_pylist() == [1, 2]
    out = columns(Map(lambda x: pa.table({"a": [x["n"]]})))
    assert out.to_pydict() == {"a": [1, 2, 3]}
    with pytest.raises(DatasetError, match="tables of 1 row"):
        columns(Map(lambda x: pa.table({"a": [1, 2]})))


def test_objects_that_have_arrow_columns_are_asked_for_them():
    class Encoded(dict):
        def arrow_columns(self):
            return {"ids": pa.array([[1], [2], [3]])}

    step = Map(lambda x: Encoded(ids=None), batched=True)
    (call,) = step.calls([Rows(TABLE)])
    assert isinstance(step.batch(call)["ids"], pa.Array)


@pytest.mark.parametrize(
    "mask", [[1, 0, None], np.array([True, False, False]), pa.array([True, None, False]), pa.chunked_array([[1, 0, 0]])]
)
def test_masks_of_every_kind(mask):
    step = Filter(lambda x: mask, batched=True)
    (call,) = step.calls([Rows(TABLE)])
    assert step.mask(call).tolist() == [True, False, False]


def test_masks_of_single_rows_and_of_the_wrong_length():
    step = Filter(lambda x: x["text"])
    assert [bool(step.mask(call)[0]) for call in step.calls([Rows(TABLE)])] == [True, True, False]
    step = Filter(lambda x: [True], batched=True)
    (call,) = step.calls([Rows(TABLE)])
    with pytest.raises(DatasetError, match="truth values for 3 rows"):
        step.mask(call)

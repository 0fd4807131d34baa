"""Tables as TAPEX reads them. The reference library has no such tokenizer since its version 5: what its 4.57 makes of
tables is written out here, and BART's tokenizer says what tokens that is.
"""

import pytest
import transformers

from enfold import AutoTokenizer, TapexTokenizer
from enfold.base.errors import ArgumentError, LengthError
from tests.tokenizers.families.rows import ROWS
from tests.tokenizers.families.vocabularies import vocabulary

TABLE = {"Parser": ["add the first argument", "Return it", ""], "Count": ["12", "3.5", "N/A"]}
WRITTEN = (
    "which parser? col : parser | count row 1 : add the first argument | 12 row 2 : return it | 3.5 row 3 :  | n/a"
)


@pytest.fixture(scope="module")
def made():
    (row,) = [row for row in ROWS if row.name == "BartTokenizer"]
    given = vocabulary(row)
    return TapexTokenizer(**given, model_max_length=128), transformers.BartTokenizer(**given)


def test_a_table_in_a_line(made):
    ours, bart = made
    wanted = bart(WRITTEN)["input_ids"]
    assert ours(TABLE, "Which parser?")["input_ids"] == wanted
    assert ours.decode(wanted, skip_special_tokens=True) == WRITTEN
    assert ours(table=TABLE, query=["Which parser?", "Count"])["input_ids"][0] == wanted
    several = ours([TABLE, TABLE], "Which parser?", padding=True, return_tensors="pt")
    assert several["input_ids"].tolist() == [wanted, wanted]
    pandas = pytest.importorskip("pandas")
    assert ours(pandas.DataFrame(TABLE), "Which parser?")["input_ids"] == wanted
    assert ours(TABLE)["input_ids"] == bart(WRITTEN.removeprefix("which parser? "))["input_ids"]
    assert ours({"a": []}, "Which?")["input_ids"] == bart("which?")["input_ids"]
    assert ours(answer=["Some Answer", "12"])["input_ids"] == bart(["some answer", "12"])["input_ids"]
    assert ours(TABLE, "Which parser?", truncation=True, max_length=9)["input_ids"] == [*wanted[:8], wanted[-1]]


def test_long_cells_are_cut_at_their_end(made):
    ours, bart = made
    cell = "return the first argument of the parser " * 4
    tokens = bart.tokenize(cell)[:15]
    line = f"col : a row 1 : {bart.convert_tokens_to_string(tokens)}"
    assert ours({"a": [cell]})["input_ids"] == bart(line)["input_ids"]
    assert ours.max_cell_length == 15


def test_rows_are_left_out(made):
    ours, _ = made
    table = {"name": [f"word{n}" for n in range(40)], "value": [str(n) for n in range(40)]}
    for room in (60, 100, 128):
        ids = ours(table, "what is word33 ?", truncation="drop_rows_to_fit", max_length=room)["input_ids"]
        text = ours.decode(ids, skip_special_tokens=True)
        assert len(ids) <= room
        assert text.startswith("what is word33 ? col : name | value row 1 : word")
        assert ids == ours(table, "what is word33 ?", truncation="drop_rows_to_fit", max_length=room)["input_ids"]
    small = {"name": ["a", "b"]}
    assert ours(small, "b ?", truncation="drop_rows_to_fit") == ours(small, "b ?")
    with pytest.raises(LengthError, match="leave no room for a row in 10 tokens"):
        ours(table, "what is word33 ?", truncation="drop_rows_to_fit", max_length=10)


def test_saved_and_loaded(made, tmp_path):
    ours, _ = made
    row = next(row for row in ROWS if row.name == "BartTokenizer")
    TapexTokenizer(**vocabulary(row), max_cell_length=3).save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(loaded, TapexTokenizer)
    assert loaded.max_cell_length == 3
    assert loaded(TABLE, "Which?")["input_ids"] != ours(TABLE, "Which?")["input_ids"]
    assert loaded.tokenize("Return IT") == ours.tokenize("return it")


def test_refused(made):
    ours, _ = made
    with pytest.raises(ArgumentError, match="neither a table nor an answer"):
        ours(query="What?")
    with pytest.raises(ArgumentError, match="2 tables and 3 queries"):
        ours([TABLE, TABLE], ["a", "b", "c"])
    with pytest.raises(ArgumentError, match="must be a pandas DataFrame or a mapping"):
        ours("text", "What?")
    with pytest.raises(ArgumentError, match="must be texts"):
        ours({"a": [1]}, "What?")

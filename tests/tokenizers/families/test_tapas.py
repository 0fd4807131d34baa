"""Questions about tables, beside transformers' own where pandas is installed."""

import random

import pytest

from enfold import TapasTokenizer
from enfold.base.errors import ArgumentError, LengthError
from enfold.tokenizers.families.tapas_numbers import column_values, ranks, relations, values_in

WORDS = """the of a first may june september number actor age brad born movies total is how many in what un ##able ##ing
1st 2010 1980s 12 3 45 one two , . - / ( ) ' % $ é 中"""
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_ATOMS = (
    "56|45.5|-3|1,234,567|may 2010|3 may 1999|first|3rd|n/a|?||nan|  |Brad Pitt|born 10 June 1996|June 10, 1996|_|"
    "1996-06-10|10.06.1996|1980s|1700|2017|2016-13|5- 5-2010|5-5-2010|unable|中文 text|Éa|one hundred|12th|"
    "EMPTY|friday, may 3|two|-.5|.5|1e5|$ 45|45%|[SEP]|[CLS] x|a[MASK]b|12 30|feb 29|29 feb 2000|infinity"
)
ATOMS = _ATOMS.split("|")
ATOMS.append("x" * 120)
ACTORS = {
    "Actors": ["Brad Pitt", "Leo", "George"],
    "Age": ["56", "45", "59"],
    "Born": ["18 december 1963", "11 november 1974", "6 may 1961"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tapas")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[EMPTY]"]
    tokens = dict.fromkeys([*special, *WORDS.split(), *LETTERS, *(f"##{letter}" for letter in LETTERS)])
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens))
    return folder


def column(rng, size):
    kind = rng.random()
    if kind < 0.3:
        return [str(rng.choice([1, 2, 3.5, 40, -7, 1000])) for _ in range(size)]
    if kind < 0.5:
        return [f"{rng.randrange(1, 28)} may {rng.randrange(1690, 2020)}" for _ in range(size)]
    return [" ".join(rng.choices(ATOMS, k=rng.randrange(1, 3))) for _ in range(size)]


def plain(encoded):
    return {key: value.tolist() if hasattr(value, "tolist") else value for key, value in encoded.items()}


@pytest.mark.parametrize("seed", range(12))
def test_tables_beside_transformers(folder, seed):
    import pandas
    import transformers

    rng = random.Random(seed)
    choices = {
        "cell_trim_length": [1, 2, 5],
        "strip_column_names": [True],
        "do_lower_case": [False],
        "max_row_id": [3, 4],
        "max_question_length": [6],
        "min_question_length": [2],
        "do_basic_tokenize": [False],
        "padding_side": ["left"],
    }
    options = {key: rng.choice(values) for key, values in choices.items() if rng.random() < 0.2}
    theirs = transformers.TapasTokenizer.from_pretrained(folder, **options)
    ours = TapasTokenizer.from_pretrained(folder, **options)
    assert ours.get_vocab() == theirs.get_vocab()
    compared = 0
    for _ in range(12):
        rows, width = rng.randrange(6), rng.randrange(1, 5)
        table = {rng.choice(ATOMS) + str(place): column(rng, rows) for place in range(width)}
        frame = pandas.DataFrame.from_dict(table).astype(object)
        questions = [
            " ".join(rng.choices([*ATOMS, "how many"], k=rng.randrange(1, 4))) for _ in range(rng.randrange(1, 4))
        ]
        call = {
            "truncation": rng.choice([True, "drop_rows_to_fit", False]),
            "max_length": rng.choice([None, 12, 30, 100]),
            "padding": rng.choice([True, "max_length", False]),
            "pad_to_multiple_of": rng.choice([None, None, 8]),
            "return_special_tokens_mask": rng.random() < 0.5,
            "return_length": rng.random() < 0.5,
        }
        asked = questions[0] if rng.random() < 0.4 else questions
        if rng.random() < 0.5 and rows:
            cells = [[(rng.randrange(rows), rng.randrange(width))] for _ in questions]
            texts = [[frame.iloc[place] for place in places] for places in cells]
            one = isinstance(asked, str)
            call |= {"answer_coordinates": cells[0] if one else cells, "answer_text": texts[0] if one else texts}
        try:
            expected = theirs(frame, asked if isinstance(asked, str) else list(asked), **call)
        except ValueError:
            with pytest.raises((ArgumentError, LengthError)):
                ours(table, asked, **call)
            continue
        compared += 1
        made = ours(rng.choice([frame, table]), asked, **call)
        assert repr(dict(sorted(plain(made).items()))) == repr(dict(sorted(plain(expected).items())))
    assert compared > 2


def test_types_of_a_table(folder):
    tokenizer = TapasTokenizer.from_pretrained(folder)
    made = tokenizer(ACTORS, "is the age 45 or 56 ?")
    tokens = tokenizer.convert_ids_to_tokens(made["input_ids"])
    first = tokens.index("[SEP]") + 1
    assert all(kinds == [0] * 7 for kinds in made["token_type_ids"][:first])
    ages = {kinds[2]: kinds for kinds in made["token_type_ids"][first:] if kinds[1] == 2}
    # segment, column, row, last answer, rank, rank from the end, relations (equal 1, less 2, greater 4)
    assert ages[0] == [1, 2, 0, 0, 0, 0, 0]
    assert ages[1] == [1, 2, 1, 0, 2, 2, 1 | 2]
    assert ages[2] == [1, 2, 2, 0, 1, 3, 1 | 4]
    assert ages[3] == [1, 2, 3, 0, 3, 1, 2]
    assert {kinds[2]: kinds[4] for kinds in made["token_type_ids"] if kinds[1] == 3 and kinds[2]} == {1: 2, 2: 3, 3: 1}


def test_the_last_answer_is_marked(folder):
    tokenizer = TapasTokenizer.from_pretrained(folder)
    cells, texts = [[(0, 1)], [(1, 0)]], [["56"], ["Leo"]]
    made = tokenizer(ACTORS, ["how many", "is"], answer_coordinates=cells, answer_text=texts, padding=True)
    for row, (place, marked) in enumerate(zip(cells, (None, cells[0]), strict=True)):
        of = [(kinds[2] - 1, kinds[1] - 1) for kinds in made["token_type_ids"][row]]
        assert made["labels"][row] == [int(cell == place[0]) for cell in of]
        assert [kinds[3] for kinds in made["token_type_ids"][row]] == [int(marked == [cell]) for cell in of]
    found = TapasTokenizer.from_pretrained(folder, update_answer_coordinates=True)
    by_text = found(ACTORS, ["how many", "is"], answer_coordinates=cells, answer_text=texts, padding=True)
    assert by_text["labels"] == made["labels"]


def test_logits_choose_cells(folder):
    import torch

    tokenizer = TapasTokenizer.from_pretrained(folder)
    data = tokenizer(ACTORS, ["is", "how many"], padding=True, return_tensors="pt")
    kinds = data["token_type_ids"]
    chosen = (kinds[..., 1] == 2) & (kinds[..., 2] == 3) | (kinds[..., 1] == 1) & (kinds[..., 2] == 1)
    logits = torch.where(chosen, 3.0, -200.0)
    cells, kinds = tokenizer.convert_logits_to_predictions(data, logits, torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
    assert cells == [[(0, 0), (2, 1)]] * 2
    assert kinds == [1, 0]


def test_refusals(folder):
    tokenizer = TapasTokenizer.from_pretrained(folder, max_row_id=3)
    with pytest.raises(LengthError, match="3 rows"):
        tokenizer(ACTORS, "is")
    assert max(kinds[2] for kinds in tokenizer(ACTORS, "is", truncation=True)["token_type_ids"]) == 2
    with pytest.raises(LengthError, match="max_length=5"):
        tokenizer(ACTORS, "is", truncation=True, max_length=5)
    for table, message in (({"a": [1]}, "astype"), ({"a": ["1"], "b": []}, "one length"), ([["a"]], "DataFrame")):
        with pytest.raises(ArgumentError, match=message):
            tokenizer(table, "is")
    with pytest.raises(ArgumentError, match="both"):
        tokenizer(ACTORS, "is", answer_text=["x"])


def test_saved_and_loaded(folder, tmp_path):
    tokenizer = TapasTokenizer.from_pretrained(folder, cell_trim_length=2)
    tokenizer.save_pretrained(tmp_path)
    again = TapasTokenizer.from_pretrained(tmp_path)
    assert again.cell_trim_length == 2
    assert dict(again(ACTORS, "how many")) == dict(tokenizer(ACTORS, "how many"))


def test_numbers():
    assert values_in("The 3rd of 1,000.5 and two, -4 apples in May 2010") == [
        3.0,
        1000.5,
        2.0,
        -4.0,
        (2010.0, 5.0, None),
    ]
    assert values_in("1996-06-10") == [(1996.0, 6.0, 10.0)]
    assert column_values(["5", "", "7", "8"]) == {0: 5.0, 2: 7.0, 3: 8.0}
    assert column_values(["5", "", "x", "8"]) == {}
    assert ranks({0: 2.0, 4: 9.0, 5: 2.0}) == {0: (1, 2), 4: (2, 1), 5: (1, 2)}
    assert relations([3.0, (2000.0, None, None)], {0: 3.0, 1: 5.0}) == {0: 1, 1: 2}

import json

import pytest

from enfold.cli.show import as_json, as_text
from enfold.pipelines import Conversation


class Array:
    def __init__(self, values):
        self.values = values

    def tolist(self):
        return self.values


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"label": "POSITIVE", "score": 0.99987}, "POSITIVE\t0.9999"),
        ([{"label": "A", "score": 0.75}, {"label": "B", "score": 0.25}], "A\t0.7500\nB\t0.2500"),
        ([{"generated_text": "two\nlines"}], "two\nlines"),
        ({"generated_text": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}, "a"),
        (
            [{"entity": "$REPLACE_have", "score": 0.998, "index": 2, "word": "has", "start": 2, "end": 5}],
            "$REPLACE_have\t0.9980\thas\tindex=2\tstart=2\tend=5",
        ),
        (
            {"score": 0.25, "token": 7, "token_str": "city", "sequence": "a city."},
            "city\t0.2500\ta city.\ttoken=7",
        ),
        ({"answer": "Paris", "score": 0.5}, "Paris\t0.5000"),
        (
            {"sequence": "It rains.", "labels": ["weather", "sport"], "scores": [0.75, 0.25]},
            "weather\t0.7500\nsport\t0.2500",
        ),
        ({"score": 0.5, "start": 3, "end": 8, "answer": "Paris"}, "Paris\t0.5000\tstart=3\tend=8"),
        (Conversation("q", past_user_inputs=["p"], generated_responses=["a"]), "q"),
        ([[0.1, 0.25], [1, 2]], "[0.1000, 0.2500, …]  shape 2 × 2"),
        (Array([0.5] * 9), "[0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000, …]  shape 9"),
        ("plain", "plain"),
        ([], ""),
        ([[0.1], [0.1, 0.2]], "[0.1000]  shape 1\n[0.1000, 0.2000]  shape 2"),
    ],
)
def test_text(result, text):
    assert as_text(result) == text


def test_json_is_one_line_of_plain_values():
    result = [{"word": "é\n", "score": Array(0.5), "vector": Array([[1.0, float("nan")]]), "at": (1, 2), "x": None}]
    line = as_json(result)
    assert "\n" not in line
    assert json.loads(line) == [{"word": "é\n", "score": 0.5, "vector": [[1.0, None]], "at": [1, 2], "x": None}]

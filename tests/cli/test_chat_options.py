import pytest

from enfold.cli.chat import DEFAULT_MODEL, generation_options
from enfold.cli.main import build_parser


def options(*arguments):
    return generation_options(build_parser().parse_args(["chat", *arguments]))


def test_defaults_leave_the_choice_to_the_model():
    assert options() == {"max_new_tokens": 512}
    assert build_parser().parse_args(["chat"]).model == DEFAULT_MODEL


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--temperature", "0.7"], {"do_sample": True, "temperature": 0.7}),
        (["--top-k", "5", "--seed", "1"], {"do_sample": True, "top_k": 5, "seed": 1}),
        (["--top-p", "0.9"], {"do_sample": True, "top_p": 0.9}),
        (["--temperature", "0"], {"do_sample": False}),
        (["--seed", "3"], {"seed": 3}),
    ],
)
def test_a_knob_turned_means_sampling(arguments, expected):
    assert options(*arguments, "--max-new-tokens", "9") == {"max_new_tokens": 9} | expected


def test_knobs_that_would_do_nothing_are_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        options("--temperature", "0", "--top-p", "0.5")
    assert "would do nothing" in capsys.readouterr().err

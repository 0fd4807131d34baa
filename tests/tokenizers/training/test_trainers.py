"""The trainers' options, and what the smaller ones learn."""

import pickle
import signal
import threading
import time

import pytest

import enfold.tokenizers as ours
from enfold.base.errors import ArgumentError
from enfold.tokenizers import AddedToken, models, trainers

from .texts import both, lines, reference, tokenizer, trained

SPACES = {"pre_tokenizer": lambda p: p.WhitespaceSplit()}
BERT = {"pre_tokenizer": lambda p: p.BertPreTokenizer(), "normalizer": lambda n: n.BertNormalizer()}


def test_word_level_like_the_reference():
    for options in (
        {"vocab_size": 300, "special_tokens": ["<unk>", "the"], "min_frequency": 2},
        {"vocab_size": 1, "special_tokens": ["x", "y"]},
        {"special_tokens": []},
    ):
        made, expected = both("WordLevel", lines(), setting=SPACES, **options)
        assert made == expected


def test_word_pieces_close_to_the_reference():
    options = {"vocab_size": 2500, "special_tokens": ["[UNK]", "[PAD]"], "setting": BERT, "min_frequency": 2}
    made, expected = both("WordPiece", lines(), **options)
    mine, theirs = made["model"].pop("vocab"), expected["model"].pop("vocab")
    assert made == expected
    assert len(mine) == len(theirs)
    assert len(set(mine) & set(theirs)) > 0.97 * len(theirs)
    text = " ".join(lines()[::5])
    counts = [len(trained(library, "WordPiece", lines(), **options).encode(text).ids) for library in (ours, reference)]
    assert counts[0] == pytest.approx(counts[1], rel=0.01)


def test_word_pieces_are_the_same_every_time():
    options = {"vocab_size": 1500, "setting": BERT, "end_of_word_suffix": "$"}
    first = trained(ours, "WordPiece", lines(), **options).to_str()
    assert trained(ours, "WordPiece", [lines()[::-1]], **options).to_str() == first


def test_the_trainer_that_suits_the_model():
    for model, kind in (
        ("BPE", trainers.BpeTrainer),
        ("WordPiece", trainers.WordPieceTrainer),
        ("Unigram", trainers.UnigramTrainer),
        ("WordLevel", trainers.WordLevelTrainer),
    ):
        assert isinstance(getattr(models, model)().get_trainer(), kind)
        made = tokenizer(ours, model)
        made.train_from_iterator(["ab ab"])
        assert made.get_vocab_size() > 0
    with pytest.raises(ArgumentError, match=r"BpeTrainer can only train a BPE.*WordPieceTrainer"):
        tokenizer(ours, "WordPiece").train_from_iterator(["a"], trainers.BpeTrainer())
    with pytest.raises(TypeError, match="trainer"):
        tokenizer(ours, "WordPiece").train_from_iterator(["a"], 5)


def test_the_model_object_learns():
    model = models.BPE(unk_token="<unk>")
    made = ours.Tokenizer(model)
    trainer = trainers.BpeTrainer(vocab_size=10)
    made.train_from_iterator(["abc abc"], trainer)
    assert model.token_to_id("abc") is not None
    assert model.unk_token == "<unk>"
    assert trainer.get_word_count() == 1


@pytest.mark.parametrize("name", ["BpeTrainer", "WordPieceTrainer", "UnigramTrainer", "WordLevelTrainer"])
def test_options(name):
    mine, theirs = getattr(trainers, name)(), getattr(reference.trainers, name)()
    for option in [option for option in dir(theirs) if not option.startswith("_") and option != "get_word_count"]:
        assert getattr(mine, option) == getattr(theirs, option), option
    mine.vocab_size = 17
    mine.special_tokens = ["<s>", AddedToken("x", lstrip=True), AddedToken("y", normalized=True)]
    theirs.special_tokens = [
        "<s>",
        *(reference.AddedToken(**k) for k in ({"content": "x", "lstrip": True}, {"content": "y", "normalized": True})),
    ]
    assert list(map(repr, mine.special_tokens)) == list(map(repr, theirs.special_tokens))
    again = pickle.loads(pickle.dumps(mine))
    assert again.vocab_size == 17
    assert again.special_tokens == mine.special_tokens
    assert "vocab_size=17" in repr(mine)


def test_initial_alphabet():
    trainer = trainers.BpeTrainer(initial_alphabet=["é", "ab", ""])
    assert sorted(trainer.initial_alphabet) == ["a", "é"]
    trainer.initial_alphabet = ["x"]
    with pytest.raises(ValueError, match="one character"):
        trainer.initial_alphabet = ["xy"]
    assert trainer.initial_alphabet == ["x"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"vocab_size": -1}, OverflowError),
        ({"vocab_size": "a"}, TypeError),
        ({"vocab_size": None}, TypeError),
        ({"min_frequency": -1}, OverflowError),
        ({"limit_alphabet": 1.5}, TypeError),
        ({"special_tokens": "ab"}, TypeError),
        ({"special_tokens": [5]}, TypeError),
        ({"initial_alphabet": [5]}, TypeError),
        ({"progress_format": "loud"}, ArgumentError),
        ({"show_progress": "yes"}, TypeError),
        ({"shrinking_factor": 0.5}, TypeError),
    ],
)
def test_bad_options(options, error):
    with pytest.raises(error):
        trainers.BpeTrainer(**options)
    with pytest.raises(TypeError):
        trainers.Trainer()


def test_too_small_a_vocabulary_is_told(caplog):
    import logging

    caplog.set_level("WARNING")
    logger = logging.getLogger("enfold")
    logger.addHandler(caplog.handler)
    try:
        trained(ours, "BPE", ["abc"], vocab_size=2)
        trained(ours, "BPE", [])
    finally:
        logger.removeHandler(caplog.handler)
    assert "vocab_size=2 is less than the 3" in caplog.text
    assert "no text" in caplog.text


def test_an_interrupt_ends_it():
    def texts():
        # An hour's worth would hang a whole run if the signal were lost.
        until = time.monotonic() + 60
        while time.monotonic() < until:
            yield "some text that never ends " * 50

    # Whatever started this process, or ran in it before, may have turned the signal off.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    main = threading.get_ident()

    def interrupt():
        time.sleep(0.3)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    made = tokenizer(ours, "BPE")
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            made.train_from_iterator(texts())
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
    assert made.get_vocab() == {}


def test_progress_is_shown_on_demand(monkeypatch, capsys):
    from enfold.base import progress

    monkeypatch.setattr(progress, "DELAY_SECONDS", -1.0)
    seen = list(progress.advance(iter([3, 4]), total=7, label="Counting", shown=True))
    assert seen == [3, 4]
    assert "7/7" in capsys.readouterr().err

"""Texts against texts: the same as sacrebleu, rouge-score, NLTK, jiwer and seqeval on drawn inputs."""

import warnings

import jiwer
import nltk.translate.gleu_score
import numpy as np
import pytest
import sacrebleu
import seqeval.metrics
import seqeval.scheme
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer
from rouge_score import rouge_scorer, scoring

from enfold.base.errors import ArgumentError, MissingDependencyError
from enfold.evaluate import metrics
from enfold.evaluate.metrics import alignment, wordnet

FEW = settings(max_examples=40, deadline=None)
WORDS = st.sampled_from(
    ["the", "a", "cats", "cat", "running", "runs", "mat.", "sat,", "on", "3.5", "I'd-say", "Élan", "don't", "&", "(x)"]
)
SPACED = st.text(alphabet="ab \n\té", max_size=12)
TEXT = st.lists(WORDS, max_size=9).map(" ".join)
FULL = st.lists(WORDS, min_size=1, max_size=9).map(" ".join)
LINES = st.lists(TEXT, max_size=4).map("\n".join)


def pairs(text, references=2):
    row = st.tuples(text, st.lists(text, min_size=references, max_size=references))
    return st.lists(row, min_size=1, max_size=4).map(lambda rows: ([a for a, _ in rows], [b for _, b in rows]))


@FEW
@given(pairs(TEXT), st.integers(1, 4))
def test_bleu_is_that_of_the_corpus_in_sacrebleu(data, order):
    ours, truths = data
    found = metrics.bleu(ours, truths, max_order=order)
    scorer = sacrebleu.metrics.BLEU(max_ngram_order=order, smooth_method="none", force=True)
    expected = scorer.corpus_score(ours, [list(column) for column in zip(*truths, strict=True)])
    np.testing.assert_allclose(np.array(found["precisions"]) * 100, expected.precisions, atol=1e-9)
    assert found["translation_length"] == expected.sys_len
    # The reference length of the evaluate library's script is the shortest one's, not the closest one's.
    split = sacrebleu.tokenizers.tokenizer_13a.Tokenizer13a()
    assert found["reference_length"] == sum(min(len(split(text).split()) for text in row) for row in truths)


def test_bleu_by_hand():
    found = metrics.bleu(["the cat sat"], ["the cat sat on"], max_order=2)
    assert found["bleu"] == pytest.approx(np.exp(1 - 4 / 3))
    assert found["brevity_penalty"] == pytest.approx(np.exp(1 - 4 / 3))
    smooth = metrics.bleu(["the cat sat"], ["the dog sat"], max_order=2, smooth=True)
    assert smooth["precisions"] == pytest.approx([3 / 4, 1 / 3])
    assert metrics.bleu(["ab"], ["ab"], tokenizer=list, max_order=2)["translation_length"] == 2
    assert metrics.bleu([""], ["a"])["bleu"] == 0


@FEW
@given(pairs(TEXT), st.integers(1, 2), st.integers(2, 4))
def test_google_bleu(data, least, most):
    ours, truths = data
    expected = nltk.translate.gleu_score.corpus_gleu(
        [[text.split() for text in row] for row in truths], [text.split() for text in ours], least, most
    )
    found = metrics.google_bleu(ours, truths, tokenizer=str.split, min_len=least, max_len=most)
    assert found == {"google_bleu": pytest.approx(expected)}


@FEW
@given(pairs(TEXT), st.booleans(), st.sampled_from([None, "intl", "char"]), st.booleans())
def test_sacrebleu_chrf_ter(data, flag, tokenize, other):
    ours, truths = data
    columns = [list(column) for column in zip(*truths, strict=True)]
    extra = {"tokenize": tokenize} if tokenize else {}
    expected = sacrebleu.corpus_bleu(ours, columns, lowercase=flag, use_effective_order=other, force=True, **extra)
    found = metrics.sacrebleu(ours, truths, lowercase=flag, use_effective_order=other, force=True, tokenize=tokenize)
    assert list(found) == ["score", "counts", "totals", "precisions", "bp", "sys_len", "ref_len"]
    assert found["score"] == expected.score
    assert (found["counts"], found["ref_len"]) == (expected.counts, expected.ref_len)
    chrf = metrics.chrf(ours, truths, word_order=2, lowercase=flag, whitespace=other)
    scorer = sacrebleu.metrics.CHRF(word_order=2, lowercase=flag, whitespace=other)
    assert chrf["score"] == scorer.corpus_score(ours, columns).score
    ter = metrics.ter(ours, truths, normalized=flag, case_sensitive=other)
    expected = sacrebleu.metrics.TER(normalized=flag, case_sensitive=other).corpus_score(ours, columns)
    assert ter == {"score": expected.score, "num_edits": expected.num_edits, "ref_length": expected.ref_length}


def test_references_must_be_equally_many():
    with pytest.raises(ArgumentError, match="between 1 and 2"):
        metrics.sacrebleu(["a", "b"], [["a"], ["b", "c"]])
    with pytest.raises(ArgumentError, match="row 1 of references"):
        metrics.bleu(["a", "b"], [["a"], "b"])
    with pytest.raises(ArgumentError, match="row 0 of predictions is a int"):
        metrics.rouge([1], ["a"])


@FEW
@given(pairs(LINES), st.booleans())
def test_rouge(data, stem):
    ours, truths = data
    types = ["rouge1", "rouge2", "rouge3", "rougeL", "rougeLsum"]
    scorer = rouge_scorer.RougeScorer(types, use_stemmer=stem)
    single = metrics.rouge(ours, [row[0] for row in truths], rouge_types=types, use_stemmer=stem, use_aggregator=False)
    many = metrics.rouge(ours, truths, rouge_types=types, use_stemmer=stem, use_aggregator=False)
    for place, (text, row) in enumerate(zip(ours, truths, strict=True)):
        one, several = scorer.score(row[0], text), scorer.score_multi(row, text)
        for kind in types:
            assert single[kind][place] == pytest.approx(one[kind].fmeasure, abs=1e-12)
            assert many[kind][place] == pytest.approx(several[kind].fmeasure, abs=1e-12)


def test_rouge_draws_the_samples_of_the_reference():
    ours = [f"the cat sat on mat {i % 7} and {i % 3}" for i in range(40)]
    truth = [f"a cat sat on the mat {i % 5} or {i % 2}" for i in range(40)]
    scorer, aggregator = rouge_scorer.RougeScorer(["rouge1", "rougeL"]), scoring.BootstrapAggregator(n_samples=200)
    for text, reference in zip(ours, truth, strict=True):
        aggregator.add_scores(scorer.score(reference, text))
    np.random.seed(3)
    expected = {kind: score.mid.fmeasure for kind, score in aggregator.aggregate().items()}
    found = metrics.rouge(ours, truth, rouge_types=["rouge1", "rougeL"], n_samples=200, seed=3)
    assert found == pytest.approx(expected, abs=1e-12)
    np.random.seed(3)
    assert metrics.rouge(ours, truth, rouge_types=["rouge1", "rougeL"], n_samples=200) == found
    with pytest.raises(ArgumentError, match="rouge type 'rougeX'"):
        metrics.rouge(["a"], ["a"], rouge_types=["rougeX"])


SYNSETS = {
    "noun": [["party", "political_party"], ["dog", "hound"], ["command", "order"], ["ox"]],
    "verb": [["obey", "heed"], ["order", "command"]],
    "adj": [["quick", "fast(p)", "Rapid"]],
    "adv": [["always", "forever"]],
}


@pytest.fixture
def little_wordnet(tmp_path):
    """A few synsets in the files of wndb(5WN)."""
    for part, synsets in SYNSETS.items():
        data, places = "  1 licence\n", {}
        for words in synsets:
            for word in words:
                places.setdefault(word.partition("(")[0].lower(), []).append(len(data.encode()))
            listed = " ".join(f"{word} 0" for word in words)
            data += f"{len(data.encode()):08d} 03 {part[0]} {len(words):02x} {listed} 000 | what it means\n"
        index = "  1 licence\n"
        for word, offsets in sorted(places.items()):
            numbers = " ".join(f"{offset:08d}" for offset in offsets)
            index += f"{word} {part[0]} {len(offsets)} 1 @ {len(offsets)} 0 {numbers}\n"
        (tmp_path / f"data.{part}").write_text(data)
        (tmp_path / f"index.{part}").write_text(index)
        (tmp_path / f"{part}.exc").write_text("oxen ox\n" if part == "noun" else "")
    return tmp_path


def test_synonyms(little_wordnet):
    found = wordnet.WordNet(little_wordnet)
    assert found.synonyms("parties") == {"parties", "party"}  # political_party is two words
    assert found.synonyms("Dogs") == {"Dogs", "dog", "hound"}
    assert found.synonyms("ordering") == {"ordering", "order", "command"}
    assert found.synonyms("oxen") == {"oxen", "ox"}
    assert found.synonyms("faster") == {"faster", "fast", "quick", "Rapid"}
    assert found.synonyms("nothing") == {"nothing"}
    with pytest.raises(ArgumentError, match="no WordNet"):
        wordnet.WordNet(little_wordnet.parent)


class Synset:
    """What NLTK's code asks of a synset."""

    def __init__(self, words):
        self.words = words

    def lemmas(self):
        return [type("Lemma", (), {"name": lambda _, word=word: word})() for word in self.words]


class Corpus:
    """What NLTK's code asks of a WordNet."""

    def __init__(self, ours):
        self.ours = ours

    def synsets(self, word):
        return [Synset(sorted(self.ours.synonyms(word)))]


@settings(max_examples=60, deadline=None)
@given(
    *(
        st.lists(
            st.sampled_from(["the", "dogs", "hound", "obeys", "heed", "orders", "command", "party", "quick", "a"]),
            min_size=1,
            max_size=10,
        ),
    )
    * 2
)
def test_meteor_is_nltks(ours, truth):
    from nltk.translate.meteor_score import single_meteor_score

    synonyms = {"hound": {"dog"}, "dog": {"hound"}, "heed": {"obey"}, "obey": {"heed"}, "order": {"command"}}
    known = type("Known", (), {"synonyms": lambda _, word: frozenset({word} | synonyms.get(word, set()))})()
    expected = single_meteor_score(truth, ours, stemmer=PorterStemmer(), wordnet=Corpus(known))
    found = alignment.score_words(ours, truth, known.synonyms, 0.9, 3, 0.5)
    assert found == pytest.approx(expected, abs=1e-12)


def test_meteor(little_wordnet, monkeypatch):
    ours = "It is a guide to action which ensures that the military always obeys the commands of the party"
    truth = "It is a guide to action that ensures that the military will forever heed Party commands"
    expected = {"meteor": pytest.approx(0.6944, abs=5e-5)}  # as documented by NLTK
    assert metrics.meteor([ours], [truth], wordnet=False) == expected
    assert metrics.meteor([ours], [["nothing", truth]], wordnet=False) == expected
    assert metrics.meteor([ours], [truth], wordnet=little_wordnet)["meteor"] > 0.73  # one obeys, the other heeds
    assert metrics.meteor(["x"], ["y"], wordnet=False) == {"meteor": 0.0}
    monkeypatch.setattr(wordnet, "places", lambda: iter(()))
    wordnet.find_wordnet.cache_clear()
    with pytest.raises(MissingDependencyError, match="wordnet-base"):
        metrics.meteor([ours], [truth])


@FEW
@given(st.lists(st.tuples(TEXT, FULL) | st.tuples(SPACED, SPACED.filter(str.strip)), min_size=1, max_size=5))
def test_error_rates(rows):
    ours, truth = map(list, zip(*rows, strict=True))
    words = [jiwer.process_words(reference, text) for text, reference in rows]
    wrong = sum(found.substitutions + found.deletions + found.insertions for found in words)
    total = sum(found.substitutions + found.deletions + found.hits for found in words)
    assert metrics.wer(ours, truth) == {"wer": pytest.approx(wrong / total)}
    letters = [jiwer.process_characters(reference, text) for text, reference in rows]
    wrong = sum(found.substitutions + found.deletions + found.insertions for found in letters)
    total = sum(found.substitutions + found.deletions + found.hits for found in letters)
    assert metrics.cer(ours, truth, concatenate_texts=True) == {"cer": pytest.approx(wrong / total)}


def test_an_error_rate_needs_references():
    with pytest.raises(ArgumentError, match="row 1 of references is empty"):
        metrics.wer(["a", "b"], ["a", " "])


TAGS = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "E-LOC", "S-PER"])


@st.composite
def tagged(draw):
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    sides = [[draw(st.lists(TAGS, min_size=n, max_size=n)) for n in lengths] for _ in range(2)]
    sides[1][0][0] = "B-PER"  # something to find
    return sides


@FEW
@given(tagged(), st.sampled_from([(None, None), ("strict", "IOB2"), ("strict", "IOBES")]))
def test_seqeval(sides, how):
    ours, truth = sides
    mode, scheme = how
    options = {"mode": mode, "scheme": getattr(seqeval.scheme, scheme) if scheme else None, "zero_division": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            report = seqeval.metrics.classification_report(truth, ours, output_dict=True, **options)
        except ValueError:
            return  # tags that the scheme doesn't know
        found = metrics.seqeval(ours, truth, mode=mode, scheme=scheme, zero_division=0)
    assert found["overall_f1"] == pytest.approx(report["micro avg"]["f1-score"])
    assert found["overall_accuracy"] == pytest.approx(seqeval.metrics.accuracy_score(truth, ours))
    numbers = {name: of["number"] for name, of in found.items() if not name.startswith("overall")}
    assert numbers == {name: of["support"] for name, of in report.items() if " " not in name}


def test_documented_values_of_seqeval():
    ours = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    truth = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    found = metrics.seqeval(ours, truth)
    overall = ["overall_precision", "overall_recall", "overall_f1", "overall_accuracy"]
    assert list(found) == ["MISC", "PER", *overall]
    assert (found["overall_f1"], found["PER"]["f1"], found["overall_accuracy"]) == (0.5, 1.0, 0.8)
    with pytest.raises(ArgumentError, match="row 1 has 2 predictions and 3 references"):
        metrics.seqeval([["O"], ["O", "O"]], [["O"], ["O", "O", "O"]])
    with pytest.raises(ArgumentError, match="scheme is 'BIO'"):
        metrics.seqeval(ours, truth, scheme="BIO", mode="strict")
    parts = [["INTJ", "ADP", "PROPN", "NOUN"]], [["INTJ", "ADP", "PROPN", "PROPN"]]
    found = metrics.poseval(*parts, zero_division=0)
    assert found["accuracy"] == 0.75
    assert found["PROPN"]["recall"] == 0.5

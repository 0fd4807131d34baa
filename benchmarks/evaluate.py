"""Metrics beside the libraries that the evaluate library's scripts call, or that library itself."""

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.measure import alternate, table

ROWS = 1_000
TAGS = ["O", "O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def sentences(seed: int) -> list[str]:
    """Texts of 5 to 40 words of a vocabulary with frequent and rare ones, in one to three lines."""
    draw = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(3000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    made = []
    for _ in range(ROWS):
        chosen = draw.choices(words, weights, k=draw.randint(5, 40))
        for place in range(12, len(chosen), 13):
            chosen[place] += "\n"
        made.append(" ".join(chosen))
    return made


def altered(texts: list[str], seed: int) -> list[str]:
    """The same texts with a fifth of their words replaced."""
    draw = random.Random(seed)
    return [" ".join(word if draw.random() < 0.8 else "other" for word in text.split(" ")) for text in texts]


def cases() -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """What is measured → ours, and the peer."""
    import jiwer
    import seqeval.metrics
    from rouge_score import rouge_scorer, scoring

    import datasets
    import evaluate as reference
    from enfold import evaluate
    from enfold.evaluate import metrics

    truth = sentences(0)
    ours = altered(truth, 1)
    draw = random.Random(2)
    tags = [[draw.choice(TAGS) for _ in range(draw.randint(5, 40))] for _ in range(ROWS)]
    guessed = [[tag if draw.random() < 0.9 else draw.choice(TAGS) for tag in row] for row in tags]
    labels = [draw.randint(0, 4) for _ in range(ROWS)]
    answers = [label if draw.random() < 0.8 else 0 for label in labels]

    def rouge(stem: bool) -> Callable[[], Any]:
        def run() -> Any:
            types = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
            scorer, aggregator = rouge_scorer.RougeScorer(types, use_stemmer=stem), scoring.BootstrapAggregator()
            for text, gold in zip(ours, truth, strict=True):
                aggregator.add_scores(scorer.score(gold, text))
            return aggregator.aggregate()

        return run

    def error_rate() -> float:
        wrong = total = 0
        for text, gold in zip(ours, truth, strict=True):
            found = jiwer.process_words(gold, text)
            wrong += found.substitutions + found.deletions + found.insertions
            total += found.substitutions + found.deletions + found.hits
        return wrong / total

    class Accuracy(reference.Metric):
        def _info(self):
            kind = datasets.Value("int32")
            features = datasets.Features(predictions=kind, references=kind)
            return reference.MetricInfo(description="", citation="", inputs_description="", features=features)

        def _compute(self, predictions, references):
            return {"accuracy": float(np.mean(np.array(predictions) == np.array(references)))}

    def one_by_one(metric: Any) -> Any:
        for answer, label in zip(answers, labels, strict=True):
            metric.add(prediction=answer, reference=label)
        return metric.compute()

    def intervals() -> Any:
        judge = type(reference.evaluator("text-classification"))
        columns = {"predictions": answers[:100], "references": labels[:100]}
        return judge._compute_confidence_interval(Accuracy(), columns, ["accuracy"], n_resamples=20, random_state=0)

    drawn = {"predictions": np.array(answers[:100]), "references": np.array(labels[:100])}
    return {
        "rouge": (lambda: metrics.rouge(ours, truth), rouge(False)),
        "rouge, stems": (lambda: metrics.rouge(ours, truth, use_stemmer=True), rouge(True)),
        "wer": (lambda: metrics.wer(ours, truth), error_rate),
        "seqeval": (
            lambda: metrics.seqeval(guessed, tags),
            lambda: (
                seqeval.metrics.classification_report(tags, guessed, output_dict=True),
                seqeval.metrics.accuracy_score(tags, guessed),
            ),
        ),
        "accuracy, whole columns": (
            lambda: evaluate.load("accuracy").compute(predictions=answers, references=labels),
            lambda: Accuracy().compute(predictions=answers, references=labels),
        ),
        "accuracy, row by row": (lambda: one_by_one(evaluate.load("accuracy")), lambda: one_by_one(Accuracy())),
        "intervals of 100 rows, 20 samples": (
            lambda: metrics.confidence_interval(metrics.accuracy, n_resamples=20, random_state=0, **drawn),
            intervals,
        ),
    }


def main() -> None:
    warnings.simplefilter("ignore")
    rows: list[list[object]] = []
    for name, (mine, peer) in cases().items():
        seconds, theirs = alternate(mine, peer, repeats=3)
        rows.append([name, seconds, theirs, theirs / seconds])
    table([f"{ROWS:,} rows", "enfold s", "peer s", "times as fast"], rows)


if __name__ == "__main__":
    main()

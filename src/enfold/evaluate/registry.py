"""Which modules there are. Names only: a metric's function loads when it is first computed."""

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.evaluate.metrics.benchmarks import GLUE, SUPER_GLUE

KINDS = ("metric", "comparison", "measurement")


@dataclass(frozen=True)
class Row:
    """A module that is built in.

    Attributes:
        where: the module below `enfold.evaluate.metrics`, and the function if it is called otherwise.
        features: columns and what their rows hold; several if there are other forms.
        citation: the paper that defines it.
        configs: names of configurations beside "default"; a function with the argument `config_name` needs one.
    """

    name: str
    where: str
    features: tuple[Mapping[str, Any], ...]
    citation: str = ""
    kind: str = "metric"
    configs: tuple[str, ...] = ()

    @cached_property
    def function(self) -> Callable[..., dict[str, Any]]:
        """What computes it."""
        module, _, name = self.where.partition(":")
        return getattr(importlib.import_module(f"enfold.evaluate.metrics.{module}"), name or self.name)

    @property
    def description(self) -> str:
        """The first sentences of the function's documentation."""
        return inspect.cleandoc(self.function.__doc__ or "").partition("\n\n")[0]

    @property
    def inputs_description(self) -> str:
        """All of it."""
        return inspect.cleandoc(self.function.__doc__ or "")

    @property
    def options(self) -> dict[str, Any]:
        """The function's options and their defaults."""
        found = inspect.signature(self.function).parameters.values()
        return {one.name: one.default for one in found if one.name not in self.features[0]}


def _pair(ours: Any, truth: Any = None, name: str = "predictions") -> dict[str, Any]:
    return {name: ours, "references": ours if truth is None else truth}


LABELS = (_pair("label"), _pair(["label"]))
NUMBERS = (_pair("float"), _pair(["float"]))
TEXTS = (_pair("string", ["string"]), _pair("string"))
TAGS = (_pair(["string"]),)
RANKS = (_pair(["float"]),)
DATA = ({"data": "string"},)
ANSWERS = {"id": "string", "answers": "any"}
MULTI = ("multilabel",)
BOTH = {"predictions1": "label", "predictions2": "label", "references": "label"}
SCORES = tuple(
    _pair(scores, truth, "prediction_scores")
    for scores, truth in (("float", "label"), (["float"], "label"), (["float"], ["int"]))
)

_ROWS = (
    Row("accuracy", "classification", LABELS, configs=MULTI),
    Row("f1", "classification", LABELS, "van Rijsbergen, Information Retrieval, 1979", configs=MULTI),
    Row("precision", "classification", LABELS, configs=MULTI),
    Row("recall", "classification", LABELS, configs=MULTI),
    Row(
        "matthews_correlation",
        "classification",
        LABELS,
        "Matthews, Comparison of the predicted and observed secondary structure of T4 phage lysozyme, 1975",
        configs=MULTI,
    ),
    Row("confusion_matrix", "classification", (_pair("label"),)),
    Row(
        "roc_auc",
        "classification",
        SCORES,
        "Fawcett, An introduction to ROC analysis, 2006",
        configs=("multiclass", *MULTI),
    ),
    Row("pr_auc", "classification", SCORES, "Davis and Goadrich, ICML 2006", configs=("multiclass", *MULTI)),
    Row(
        "brier_score",
        "classification",
        (_pair("float", "label"),),
        "Brier, Verification of forecasts expressed in terms of probability, 1950",
    ),
    Row(
        "calibration",
        "classification",
        (_pair("float", "label"), _pair(["float"], "label")),
        "Guo et al., On calibration of modern neural networks, ICML 2017",
    ),
    Row("mse", "regression", NUMBERS, configs=("multilist",)),
    Row("mae", "regression", NUMBERS, configs=("multilist",)),
    Row("mape", "regression", NUMBERS, configs=("multilist",)),
    Row(
        "smape",
        "regression",
        NUMBERS,
        "Chen and Yang, Assessing forecast accuracy measures, 2004",
        configs=("multilist",),
    ),
    Row(
        "mase",
        "regression",
        NUMBERS,
        "Hyndman and Koehler, Another look at measures of forecast accuracy, 2006",
        configs=("multilist",),
    ),
    Row("r_squared", "regression", NUMBERS),
    Row("pearsonr", "regression", (_pair("float"),), "Pearson, 1895"),
    Row("spearmanr", "regression", (_pair("float"),), "Spearman, 1904"),
    Row("exact_match", "matching", (_pair("string"),)),
    Row(
        "squad",
        "matching",
        (_pair({"id": "string", "prediction_text": "string"}, ANSWERS),),
        "Rajpurkar et al., SQuAD: 100,000+ questions for machine comprehension of text, EMNLP 2016",
        configs=("plain_text",),
    ),
    Row(
        "squad_v2",
        "matching",
        (_pair({"id": "string", "prediction_text": "string", "no_answer_probability": "float"}, ANSWERS),),
        "Rajpurkar et al., Know what you don't know: unanswerable questions for SQuAD, ACL 2018",
    ),
    Row(
        "seqeval",
        "labelling",
        TAGS,
        "Ramshaw and Marcus, Text chunking using transformation-based learning, 1995; Nakayama, seqeval, 2018",
    ),
    Row("poseval", "labelling", TAGS),
    Row(
        "bleu",
        "overlap",
        TEXTS,
        "Papineni et al., BLEU: a method for automatic evaluation of machine translation, ACL 2002",
    ),
    Row("google_bleu", "overlap", TEXTS, "Wu et al., Google's neural machine translation system, 2016"),
    Row("sacrebleu", "overlap", TEXTS, "Post, A call for clarity in reporting BLEU scores, WMT 2018"),
    Row("chrf", "overlap", TEXTS, "Popović, chrF: character n-gram F-score for automatic MT evaluation, WMT 2015"),
    Row("ter", "overlap", TEXTS, "Snover et al., A study of translation edit rate, AMTA 2006"),
    Row("rouge", "summaries", TEXTS, "Lin, ROUGE: a package for automatic evaluation of summaries, 2004"),
    Row("meteor", "alignment", TEXTS, "Banerjee and Lavie, METEOR: an automatic metric for MT evaluation, 2005"),
    Row("wer", "speech", (_pair("string"),), "Morris et al., From WER and RIL to MER and WIL, 2004"),
    Row("cer", "speech", (_pair("string"),), "Morris et al., From WER and RIL to MER and WIL, 2004"),
    Row(
        "mean_iou",
        "segmentation",
        (_pair("map"),),
        "Everingham et al., The PASCAL visual object classes challenge, 2010",
    ),
    Row(
        "mean_average_precision",
        "detection",
        (_pair("any"),),
        "Lin et al., Microsoft COCO: common objects in context, ECCV 2014",
    ),
    Row("bertscore", "neural", TEXTS, "Zhang et al., BERTScore: evaluating text generation with BERT, ICLR 2020"),
    Row("perplexity", "neural", ({"predictions": "string"},), "Jelinek et al., Perplexity, 1977"),
    Row(
        "mauve",
        "neural",
        (_pair("string"),),
        "Pillutla et al., MAUVE: measuring the gap between neural text and human text, NeurIPS 2021",
    ),
    Row("ndcg", "ranking", RANKS, "Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, 2002"),
    Row("mrr", "ranking", RANKS, "Voorhees, The TREC-8 question answering track report, 1999"),
    Row(
        "map",
        "ranking:mean_average_rank_precision",
        RANKS,
        "Manning et al., Introduction to Information Retrieval, 2008",
    ),
    Row("recall_at_k", "ranking", RANKS),
    Row("precision_at_k", "ranking", RANKS),
    Row("glue", "benchmarks", (_pair("float"),), "Wang et al., GLUE, ICLR 2019", configs=GLUE),
    Row("super_glue", "benchmarks", (_pair("any"),), "Wang et al., SuperGLUE, NeurIPS 2019", configs=SUPER_GLUE),
    Row("mcnemar", "comparisons", (BOTH,), "McNemar, Note on the sampling error of the difference, 1947", "comparison"),
    Row("exact_match", "comparisons:same_predictions", (BOTH,), kind="comparison"),
    Row(
        "wilcoxon",
        "comparisons",
        ({"predictions1": "float", "predictions2": "float"},),
        "Wilcoxon, Individual comparisons by ranking methods, 1945",
        "comparison",
    ),
    Row("perplexity", "neural:data_perplexity", DATA, kind="measurement"),
    Row("word_length", "measurements", DATA, kind="measurement"),
    Row("word_count", "measurements", DATA, kind="measurement"),
    Row("text_lengths", "measurements", DATA, kind="measurement"),
    Row("text_duplicates", "measurements", DATA, kind="measurement"),
    Row("label_distribution", "measurements", ({"data": "label"},), kind="measurement"),
)
ROWS: dict[tuple[str, str], Row] = {(row.kind, row.name): row for row in _ROWS}


def find(name: str, kind: str | None = None) -> Row:
    """The module of a name; where several kinds have it, the metric.

    Raises:
        ArgumentError: there is none; the message names the nearest.
    """
    if kind is not None and kind not in KINDS:
        raise ArgumentError(f"module_type is {kind!r}; expected one of {', '.join(KINDS)}")
    for one in KINDS if kind is None else (kind,):
        if (one, name) in ROWS:
            return ROWS[one, name]
    known = sorted({row.name for row in _ROWS if kind in (None, row.kind)})
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}? " if near else ""
    raise ArgumentError(f"no {kind or 'metric'} is called {name!r}; {hint}There are {', '.join(known)}")

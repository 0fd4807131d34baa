"""Metrics as pure functions: `metrics.accuracy(predictions, references)`."""

from enfold.base.lazy import lazy_names

_NAMES = {
    "classification": (
        "accuracy brier_score calibration confusion_matrix f1 matthews_correlation pr_auc precision recall roc_auc"
    ),
    "regression": "mae mape mase mse pearsonr r_squared smape spearmanr",
    "matching": "exact_match squad squad_v2",
    "labelling": "poseval seqeval",
    "overlap": "bleu chrf google_bleu sacrebleu ter",
    "summaries": "rouge",
    "alignment": "meteor",
    "speech": "cer wer",
    "segmentation": "mean_iou",
    "detection": "mean_average_precision",
    "neural": "bertscore data_perplexity mauve perplexity",
    "ranking": "mean_average_rank_precision mrr ndcg precision_at_k recall_at_k",
    "benchmarks": "glue super_glue",
    "measurements": "label_distribution text_duplicates text_lengths word_count word_length",
    "comparisons": "confidence_interval mcnemar paired_bootstrap same_predictions wilcoxon",
}
_WHERE = {name: f"{__name__}.{module}" for module, names in _NAMES.items() for name in names.split()}
__getattr__, __dir__ = lazy_names(__name__, _WHERE)

"""Scores: `load("accuracy").compute(predictions=…, references=…)`, `metrics.accuracy(…)`, `evaluator(task).compute(…)`.

Every metric is part of the package: nothing is downloaded, no script is run. Importing this loads no numeric library.
"""

from enfold.base.lazy import lazy_names

_LOADING = "CombinedEvaluations combine list_evaluation_modules load"
_MODULE = "Comparison EvaluationModule Measurement Metric"
_INFO = "ComparisonInfo EvaluationModuleInfo MeasurementInfo MetricInfo"
_WHERE = {
    **dict.fromkeys(_LOADING.split(), "enfold.evaluate.loading"),
    **dict.fromkeys(_MODULE.split(), "enfold.evaluate.module"),
    **dict.fromkeys(_INFO.split(), "enfold.evaluate.info"),
    "save": "enfold.evaluate.saving",
    "push_to_hub": "enfold.evaluate.saving",
    "metrics": "enfold.evaluate.metrics",
    "visualization": "enfold.evaluate.visualization",
    "evaluator": "enfold.evaluate.evaluators.factory",
    "Evaluator": "enfold.evaluate.evaluators.base",
    "TextClassificationEvaluator": "enfold.evaluate.evaluators.texts",
    "Text2TextGenerationEvaluator": "enfold.evaluate.evaluators.texts",
    "SummarizationEvaluator": "enfold.evaluate.evaluators.texts",
    "TranslationEvaluator": "enfold.evaluate.evaluators.texts",
    "TextGenerationEvaluator": "enfold.evaluate.evaluators.texts",
    "TokenClassificationEvaluator": "enfold.evaluate.evaluators.tokens",
    "QuestionAnsweringEvaluator": "enfold.evaluate.evaluators.questions",
    "EvaluationSuite": "enfold.evaluate.suite",
    "SubTask": "enfold.evaluate.suite",
}
__getattr__, __dir__ = lazy_names(__name__, _WHERE)

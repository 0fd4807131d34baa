"""What is known of a module: names, inputs, where it comes from."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class EvaluationModuleInfo:
    """What a module says of itself.

    Attributes:
        description: what it measures.
        citation: the paper that defines it.
        features: input column → what a row of it holds, or a list of such dictionaries that are all taken.
        inputs_description: arguments and results, in words.
    """

    description: str = ""
    citation: str = ""
    features: Any = field(default_factory=dict)
    inputs_description: str = ""
    homepage: str = ""
    license: str = ""
    codebase_urls: list[str] = field(default_factory=list)
    reference_urls: list[str] = field(default_factory=list)
    streamable: bool = False
    format: str | None = None
    module_type: str = "metric"
    module_name: str | None = None
    config_name: str | None = None
    experiment_id: str | None = None


@dataclass
class MetricInfo(EvaluationModuleInfo):
    """Of predictions against references."""

    module_type: str = "metric"


@dataclass
class ComparisonInfo(EvaluationModuleInfo):
    """Of two models' predictions."""

    module_type: str = "comparison"


@dataclass
class MeasurementInfo(EvaluationModuleInfo):
    """Of data alone."""

    module_type: str = "measurement"

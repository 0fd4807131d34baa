"""Decoding: settings, loops, steps over scores, structured output, watermarks, streaming."""

from enfold.base.lazy import lazy_names

_OF = {
    "config": ("GenerationConfig",),
    "streaming": ("TextStreamer", "TextIteratorStreamer", "AsyncTextIteratorStreamer", "IncrementalDecoder"),
    "structured": ("JsonSchema", "Regex", "Grammar"),
    "watermarking": (
        "WatermarkingConfig",
        "SynthIDTextWatermarkingConfig",
        "WatermarkDetector",
        "WatermarkDetectorOutput",
        "WatermarkLogitsProcessor",
    ),
    "processors": ("LogitsProcessor", "LogitsProcessorList"),
    "penalties": (
        "EncoderNoRepeatNGramLogitsProcessor",
        "EncoderRepetitionPenaltyLogitsProcessor",
        "ExponentialDecayLengthPenalty",
        "ForcedBOSTokenLogitsProcessor",
        "ForcedEOSTokenLogitsProcessor",
        "InfNanRemoveLogitsProcessor",
        "MinLengthLogitsProcessor",
        "MinNewTokensLengthLogitsProcessor",
        "NoBadWordsLogitsProcessor",
        "NoRepeatNGramLogitsProcessor",
        "PrefixConstrainedLogitsProcessor",
        "RepetitionPenaltyLogitsProcessor",
        "SequenceBiasLogitsProcessor",
        "SuppressTokensAtBeginLogitsProcessor",
        "SuppressTokensLogitsProcessor",
    ),
    "warpers": (
        "EpsilonLogitsWarper",
        "EtaLogitsWarper",
        "LogitNormalization",
        "MinPLogitsWarper",
        "TemperatureLogitsWarper",
        "TopHLogitsWarper",
        "TopKLogitsWarper",
        "TopPLogitsWarper",
        "TypicalLogitsWarper",
    ),
    "stopping": (
        "EosTokenCriteria",
        "MaxLengthCriteria",
        "MaxTimeCriteria",
        "StopStringCriteria",
        "StoppingCriteria",
        "StoppingCriteriaList",
    ),
}
WHERE = {name: f"enfold.generation.{module}" for module, names in _OF.items() for name in names}
CACHES = {
    "DynamicCache": "enfold.nn.caches",
    "StaticCache": "enfold.nn.caches",
    "QuantizedCache": "enfold.nn.caches",
    "RingCache": "enfold.nn.caches",
    "OffloadedCache": "enfold.nn.caches",
}
# Names of the reference library whose work is done by an option, or not at all.
NOT_BUILT = dict.fromkeys(
    (
        "AlternatingCodebooksLogitsProcessor",
        "BayesianDetectorConfig",
        "BayesianDetectorModel",
        "ClassifierFreeGuidanceLogitsProcessor",
        "ConfidenceCriteria",
        "PhrasalConstraint",
        "DisjunctiveConstraint",
        "SynthIDTextWatermarkDetector",
        "SynthIDTextWatermarkLogitsProcessor",
        "TextDiffusionStreamer",
        "WhisperTimeStampLogitsProcessor",
    ),
    "enfold.generation",
)
__getattr__, __dir__ = lazy_names(__name__, WHERE | CACHES, not_built=NOT_BUILT)

"""Task in, answer out: `pipeline("text-classification")("This makes NLP easy!")`."""

from enfold.base.lazy import lazy_names

_WHERE = {
    "pipeline": "enfold.pipelines.factory",
    "Pipeline": "enfold.pipelines.base",
    "PIPELINES": "enfold.pipelines.registry",
    "Conversation": "enfold.pipelines.conversational",
    "ConversationalPipeline": "enfold.pipelines.conversational",
    "FeatureExtractionPipeline": "enfold.pipelines.feature_extraction",
    "FillMaskPipeline": "enfold.pipelines.fill_mask",
    "NerPipeline": "enfold.pipelines.token_classification",
    "QuestionAnsweringPipeline": "enfold.pipelines.question_answering",
    "SentenceSimilarityPipeline": "enfold.pipelines.sentence_similarity",
    "SummarizationPipeline": "enfold.pipelines.text2text_generation",
    "TableQuestionAnsweringPipeline": "enfold.pipelines.table_question_answering",
    "Text2TextGenerationPipeline": "enfold.pipelines.text2text_generation",
    "TextClassificationPipeline": "enfold.pipelines.text_classification",
    "TextGenerationPipeline": "enfold.pipelines.text_generation",
    "TextRankingPipeline": "enfold.pipelines.text_ranking",
    "TokenClassificationPipeline": "enfold.pipelines.token_classification",
    "TranslationPipeline": "enfold.pipelines.text2text_generation",
    "ZeroShotClassificationPipeline": "enfold.pipelines.zero_shot_classification",
}
__getattr__, __dir__ = lazy_names(__name__, _WHERE)

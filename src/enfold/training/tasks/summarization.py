"""A shorter text."""

from enfold.training.tasks.writing import Writing


class Summarization(Writing):
    """Columns of texts and summaries."""

    columns = {"text_column": "text", "label_column": "summary"}
    score, numbers = "rouge", ("rouge1", "rouge2", "rougeL", "rougeLsum")

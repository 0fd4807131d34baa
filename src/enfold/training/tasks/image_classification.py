"""A class for an image."""

from typing import Any

from enfold.datasets import Image
from enfold.models.vision import pair
from enfold.processing.auto import AutoImageProcessor
from enfold.processing.vit import ViTImageProcessor
from enfold.training.collators import DataCollatorForImages
from enfold.training.tasks.labels import Classes, class_scores, known_names, names_in
from enfold.training.tasks.senses import Sensing


class ImageClassification(Sensing):
    """Images with labels, which are names or numbers; a folder with a folder for each class is such data."""

    auto = "AutoModelForImageClassification"
    columns = {"image_column": "image", "label_column": "label"}
    classes: Classes

    def reader(self, source: str, rows: Any, revision: Any) -> Any:
        return AutoImageProcessor.from_pretrained(source, revision=revision)

    def new_reader(self, config: Any, rows: Any) -> Any:
        middle = [0.5] * config.num_channels
        return ViTImageProcessor(size=pair(config.image_size), image_mean=middle, image_std=middle)

    def learn(self, rows: Any, eval_rows: Any, config: Any) -> dict[str, Any]:
        column = self.named["label_column"]
        assert column is not None
        self.classes = Classes(rows[column], names_in(rows, column), known_names(config), column)
        if eval_rows is not None:
            self.classes.check(eval_rows[column])
        return {**self.classes.entries, "problem_type": "single_label_classification"}

    def encoded(self, rows: Any, which: str) -> Any:
        labels = [self.classes.numbers[label] for label in rows[self.named["label_column"]]]
        return self.media(rows, "image_column", "image", Image(), labels)

    def collator(self, model: Any) -> Any:
        return DataCollatorForImages(self.tokenizer)

    @property
    def metric(self):
        return class_scores

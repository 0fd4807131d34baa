"""DeiT (Touvron et al. 2021): ViT with a second token, which learns from a teacher."""

from typing import Any

from torch import Tensor

from enfold.models.base import dense
from enfold.models.config import PreTrainedConfig
from enfold.models.outputs import TeacherOutput
from enfold.models.stacks import finish
from enfold.models.vision import ImageClassification, MaskedImageModeling, VisionTask
from enfold.models.vit import ViTConfig, ViTModel
from enfold.weights.names import NameTable


class DeiTConfig(ViTConfig):
    """Entries of a DeiT `config.json`."""

    model_type = "deit"


class DeiTModel(ViTModel):
    """The encoder, with the pooler over its first token."""

    config_class = DeiTConfig
    base_model_prefix = "deit"
    special = ("cls", "distillation")
    fresh_zero = True
    names = ViTModel.names + NameTable("stem.distillation  embeddings.distillation_token")


class DeiTForImageClassification(ImageClassification):
    """A class for an image."""

    base_class = DeiTModel


class DeiTForMaskedImageModeling(MaskedImageModeling):
    """What stood behind hidden patches."""

    base_class = DeiTModel


class DeiTForImageClassificationWithTeacher(VisionTask):
    """The mean of what both tokens say; for inference."""

    base_class = DeiTModel
    base_options = {"add_pooling_layer": False}
    head_names = """
        classifier     cls_classifier
        distillation   distillation_classifier
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.classifier = dense(config.hidden_size, config.num_labels)
        self.distillation = dense(config.hidden_size, config.num_labels)

    def forward(
        self, pixel_values: Tensor | None = None, *, return_dict: bool | None = None, **inputs: Any
    ) -> TeacherOutput | tuple:
        """Logits [B, classes], and those of each token."""
        states = self.base.run(pixel_values, **inputs)
        tokens = states.unpack()
        own, taught = self.classifier(tokens[:, 0]), self.distillation(tokens[:, 1])
        output = TeacherOutput((own + taught) / 2, own, taught, states.hidden_states, states.attentions)
        return finish(output, self.config, return_dict)

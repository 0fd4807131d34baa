"""Models that read images: patches as tokens, and the tasks over them."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from enfold.base.errors import ArgumentError
from enfold.models.base import dense
from enfold.models.config import PreTrainedConfig
from enfold.models.losses import sequence_loss
from enfold.models.outputs import BaseModelOutput, LogitsOutput, MaskedImageOutput
from enfold.models.stacks import States, finish
from enfold.models.stems import Conv2d, StemModel, no_tokens
from enfold.models.tasks import TaskModel


def pair(size: Any) -> tuple[int, int]:
    """(height, width) of an entry that is a number or a list of two."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


class Patches(nn.Module):
    """Images as a row of vectors: one for each special token, one for each patch (Dosovitskiy et al. 2021, eq. 1).

    Args:
        special: names of the tokens before the patches.
        fresh_zero: special tokens and positions begin at zero; otherwise they are drawn.
        masked: there is a vector that stands for a hidden patch.
    """

    def __init__(self, config: PreTrainedConfig, special: tuple[str, ...], *, fresh_zero: bool, masked: bool):
        super().__init__()
        self.image, self.patch, self.special = pair(config.image_size), pair(config.patch_size), special
        self.channels, self.dropout, self.fresh_zero = config.num_channels, config.hidden_dropout_prob, fresh_zero
        self.grid = (self.image[0] // self.patch[0], self.image[1] // self.patch[1])
        width, count = config.hidden_size, self.grid[0] * self.grid[1]
        self.project = Conv2d(config.num_channels, width, kernel_size=self.patch, stride=self.patch)
        for name in special:
            setattr(self, name, nn.Parameter(torch.empty(1, 1, width)))
        self.mask = nn.Parameter(torch.empty(1, 1, width)) if masked else None
        self.positions = nn.Parameter(torch.empty(1, len(special) + count, width))

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        """A fresh token or table."""
        if self.fresh_zero or name == "mask":
            parameter.zero_()
        else:
            nn.init.trunc_normal_(parameter, 0.0, std)

    def forward(self, pixels: Tensor, hidden: Tensor | None = None, *, interpolate: bool = False) -> Tensor:
        """[B, C, H, W] → [B, special + patches, D].

        Args:
            hidden: [B, patches] bool, the patches to hide.
            interpolate: images may have any size; the table of positions is stretched over them.

        Raises:
            ArgumentError: images of another shape than the model was made for.
        """
        if pixels.ndim != 4 or pixels.shape[1] != self.channels:
            raise ArgumentError(
                f"pixel_values have shape {tuple(pixels.shape)}; expected [batch, {self.channels}, height, width], as "
                "the image processor makes them"
            )
        size = (pixels.shape[2], pixels.shape[3])
        if not interpolate and size != self.image:
            raise ArgumentError(
                f"the images are {size[0]} × {size[1]}, and the model was made for {self.image[0]} × {self.image[1]}: "
                "let its image processor resize them, or pass interpolate_pos_encoding=True"
            )
        x = self.project(pixels.to(self.project.weight.dtype)).flatten(2).transpose(1, 2)
        if hidden is not None:
            if self.mask is None:
                raise ArgumentError("bool_masked_pos was given, and this model has no vector for hidden patches")
            x = torch.where(hidden.bool().unsqueeze(-1), self.mask, x)
        tokens = [getattr(self, name).expand(len(x), -1, -1) for name in self.special]
        x = torch.cat([*tokens, x], dim=1) + (self.stretched(size) if interpolate else self.positions)
        return F.dropout(x, self.dropout, self.training)

    def stretched(self, size: tuple[int, int]) -> Tensor:
        """The table of positions for images of another size, by bicubic interpolation: [1, special + patches, D]."""
        if size == self.image:
            return self.positions
        special, patches = self.positions.tensor_split([len(self.special)], dim=1)
        grid = (size[0] // self.patch[0], size[1] // self.patch[1])
        table = patches.reshape(1, *self.grid, -1).permute(0, 3, 1, 2)
        table = F.interpolate(table, size=grid, mode="bicubic", align_corners=False)
        return torch.cat([special, table.flatten(2).transpose(1, 2)], dim=1)


class VisionModel(StemModel):
    """A stack over patches.

    Class attributes of a family:
        special: the tokens before the patches.
        fresh_zero: whether they begin at zero.
    """

    main_input_name = "pixel_values"
    special: ClassVar[tuple[str, ...]] = ("cls",)
    fresh_zero: ClassVar[bool] = False

    def __init__(self, config: PreTrainedConfig, *, masked: bool = False):
        super().__init__(config)
        self.stem = Patches(config, self.special, fresh_zero=self.fresh_zero, masked=masked)

    def run(
        self,
        pixel_values: Tensor | None = None,
        bool_masked_pos: Tensor | None = None,
        interpolate_pos_encoding: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> States:
        """Packed states of the last layer; arguments as in `forward`."""
        if pixel_values is None:
            raise ArgumentError(f"{type(self).__name__} needs pixel_values, as the image processor makes them")
        x = self.stem(pixel_values, bool_masked_pos, interpolate=bool(interpolate_pos_encoding))
        return self.through(x, output_hidden_states=output_hidden_states, output_attentions=output_attentions)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        bool_masked_pos: Tensor | None = None,
        interpolate_pos_encoding: bool | None = None,
        *,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> BaseModelOutput | tuple:
        """States of the last layer, special tokens first.

        Args:
            pixel_values: [B, C, H, W].
            bool_masked_pos: [B, patches] bool: hidden patches (`use_mask_token=True`).
            interpolate_pos_encoding: take images of another size than the model was made for.
            inputs: `output_hidden_states`, `output_attentions`.
        """
        states = self.run(pixel_values, bool_masked_pos, interpolate_pos_encoding, **inputs)
        output = BaseModelOutput(
            last_hidden_state=states.unpack(),
            pooler_output=self.pool(states),
            hidden_states=states.hidden_states,
            attentions=states.attentions,
        )
        return finish(output, self.config, return_dict)


class VisionTask(TaskModel):
    """A base model that reads images, under a head."""

    main_input_name = "pixel_values"

    def get_input_embeddings(self) -> nn.Embedding:
        raise no_tokens(self)


class ImageClassification(VisionTask):
    """A class for an image: a linear map of the first token."""

    base_options = {"add_pooling_layer": False}
    head_names = "classifier  classifier"

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.classifier = dense(config.hidden_size, config.num_labels)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> LogitsOutput | tuple:
        """Logits [B, classes]; the loss follows `config.problem_type`."""
        states = self.base.run(pixel_values, **inputs)
        logits = self.classifier(states.unpack()[:, 0])
        loss = None if labels is None else sequence_loss(logits, labels, self.config)
        return finish(self.result(states, loss=loss, logits=logits), self.config, return_dict)


class MaskedImageModeling(VisionTask):
    """The pixels of hidden patches (Xie et al. 2022, "SimMIM")."""

    base_options = {"add_pooling_layer": False, "use_mask_token": True}
    head_names = "decoder  decoder.0"

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.decoder = Conv2d(config.hidden_size, config.encoder_stride**2 * config.num_channels, kernel_size=1)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        bool_masked_pos: Tensor | None = None,
        *,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> MaskedImageOutput | tuple:
        """All pixels [B, C, H, W] as the model believes them; with `bool_masked_pos`, the mean L1 of the hidden ones.

        Raises:
            ArgumentError: patches are hidden, and `encoder_stride` isn't their size.
        """
        config, stem = self.config, self.base.stem
        if bool_masked_pos is not None and stem.patch != pair(config.encoder_stride):
            raise ArgumentError(
                f"encoder_stride={config.encoder_stride} and patch_size={config.patch_size}: to say what stood behind "
                "hidden patches, both must be the same"
            )
        if bool_masked_pos is not None and any(n % p for n, p in zip(stem.image, stem.patch, strict=True)):
            raise ArgumentError(f"patches of {stem.patch} don't fill images of {stem.image}: no pixels to compare with")
        states = self.base.run(pixel_values, bool_masked_pos, **inputs)
        assert pixel_values is not None
        grid = (pixel_values.shape[2] // stem.patch[0], pixel_values.shape[3] // stem.patch[1])
        patches = states.unpack()[:, len(stem.special) :].transpose(1, 2).unflatten(2, grid)
        pixels = F.pixel_shuffle(self.decoder(patches), config.encoder_stride)
        loss = None
        if bool_masked_pos is not None:
            mask = bool_masked_pos.unflatten(1, grid).repeat_interleave(stem.patch[0], 1)
            mask = mask.repeat_interleave(stem.patch[1], 2).unsqueeze(1)
            wrong = F.l1_loss(pixel_values.to(pixels.dtype), pixels, reduction="none")
            loss = (wrong * mask).sum() / (mask.sum() + 1e-5) / config.num_channels
        output = MaskedImageOutput(loss, pixels, states.hidden_states, states.attentions)
        return finish(output, self.config, return_dict)

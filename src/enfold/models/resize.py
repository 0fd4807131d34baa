"""More or fewer tokens: the table of embeddings and the map onto the vocabulary get other numbers of rows."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from enfold.base.errors import ArgumentError, NotBuiltError

if TYPE_CHECKING:
    from enfold.models.base import PreTrainedModel

SPREAD = 1e-9  # share of the old rows' covariance that new rows are drawn with (Hewitt 2021)


def rows_wanted(present: int, wanted: int | None, multiple: int | None) -> int:
    """The number of rows that somebody asks for.

    Raises:
        ArgumentError: not a positive number, or not a multiple of a positive one.
    """
    rows = present if wanted is None else wanted
    for name, value in (("new_num_tokens", rows), ("pad_to_multiple_of", 1 if multiple is None else multiple)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ArgumentError(f"{name} is {value!r}; expected a positive integer")
    return rows if multiple is None else -(-rows // multiple) * multiple


@torch.no_grad()
def resize(model: "PreTrainedModel", rows: int, *, mean: bool) -> None:
    """Give every table of token embeddings, and the map onto the vocabulary, `rows` rows.

    Args:
        mean: new rows are drawn near the mean of the old ones; otherwise as a fresh model's.

    Raises:
        ArgumentError: the vocabulary is quantised or wrapped.
        NotBuiltError: encoder and decoder have vocabularies of their own.
    """
    if model.config.get("share_encoder_decoder_embeddings") is False:
        raise NotBuiltError("resizing one of two vocabularies (share_encoder_decoder_embeddings=False) is not built")
    tables: list[nn.Module] = [stack.embed.tokens for stack in model.stacks() if stack.embed is not None]
    output = model.get_output_embeddings()
    resized: dict[nn.Parameter, nn.Parameter] = {}  # tied modules share what they get
    for module in [*tables, *([output] if output is not None else [])]:
        if not isinstance(module, (nn.Embedding, nn.Linear)):
            raise ArgumentError(
                f"the vocabulary's {type(module).__name__} can't be resized: resize before it is quantised or wrapped"
            )
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter not in resized:
                std = model.std("embed.tokens.weight" if isinstance(module, nn.Embedding) else "head.decoder.weight")
                grown = _resized(parameter.detach(), rows, mean=mean, std=0.0 if name == "bias" else std)
                resized[parameter] = nn.Parameter(grown, requires_grad=parameter.requires_grad)
            setattr(module, name, resized[parameter])
        if isinstance(module, nn.Embedding):
            module.num_embeddings = rows
            if module.padding_idx is not None and module.padding_idx >= rows:
                module.padding_idx = None
        else:
            module.out_features = rows
    for module in model.modules():
        if callable(follow := getattr(module, "resize", None)):  # what a family keeps for each token
            follow(rows)
    for name in ("vocab_size", "decoder_vocab_size"):
        if model.config.get(name) is not None:
            setattr(model.config, name, rows)


def _resized(old: Tensor, rows: int, *, mean: bool, std: float) -> Tensor:
    new = old.new_empty(rows, *old.shape[1:])
    kept, added = min(rows, len(old)), max(rows - len(old), 0)
    new[:kept] = old[:kept]
    if not mean:
        new[kept:].normal_(0.0, std) if std else new[kept:].zero_()
        return new
    middle = old.float().mean(0)
    apart = (old.float() - middle) * (SPREAD / max(len(old), 1)) ** 0.5
    for start in range(0, added, 64):  # a sum of the old rows' distances from their mean, with normal factors
        count = min(64, added - start)
        factors = torch.randn(count, len(old), device=old.device)
        new[kept + start : kept + start + count] = (middle + factors @ apart).to(old.dtype)
    return new

"""Trainer for models that write: evaluation by what they generate."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from enfold.accelerate import operations
from enfold.base.entries import read_json
from enfold.base.errors import ArgumentError
from enfold.generation.config import GenerationConfig
from enfold.training.arguments import TrainingArguments, arguments
from enfold.training.evaluation import PredictionOutput
from enfold.training.trainer import Trainer


@arguments
class Seq2SeqTrainingArguments(TrainingArguments):
    """`TrainingArguments` with settings of generation.

    Args:
        predict_with_generate: predictions are what the model writes, not its logits.
        generation_max_length: tokens at most, the decoder's start among them.
        generation_num_beams: beams.
        generation_config: settings instead of the model's: a `GenerationConfig`, a folder or repository that holds
            `generation_config.json`, or such a file.
    """

    predict_with_generate: bool = False
    generation_max_length: int | None = None
    generation_num_beams: int | None = None
    generation_config: GenerationConfig | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.generation_config, Path):
            self.generation_config = str(self.generation_config)
        for name in ("generation_max_length", "generation_num_beams"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ArgumentError(f"{name}={value!r}; expected a whole number of at least 1")


class Seq2SeqTrainer(Trainer):
    """`Trainer` whose `evaluate` and `predict` can generate (`predict_with_generate`), with options of `generate`.

    >>> trainer = Seq2SeqTrainer(model, Seq2SeqTrainingArguments("out", predict_with_generate=True), …)
    >>> trainer.predict(rows, num_beams=4, max_new_tokens=60).predictions

    Predictions are tokens [rows, limit], filled with the padding token up to the limit of the generation, as labels
    are, whose own padding by the collator stays (-100).
    """

    args: Seq2SeqTrainingArguments

    def __init__(self, model: nn.Module | None = None, args: Seq2SeqTrainingArguments | None = None, **given: Any):
        if args is not None and not isinstance(args, Seq2SeqTrainingArguments):
            raise ArgumentError(f"Seq2SeqTrainer takes Seq2SeqTrainingArguments, not {type(args).__name__}")
        super().__init__(model, args or Seq2SeqTrainingArguments(), **given)
        self._options: dict[str, Any] = {}
        if self.args.generation_config is not None:
            bare: Any = self._bare()
            bare.generation_config = generation_settings(self.args.generation_config, bare.generation_config)

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
        **options: Any,
    ) -> dict[str, float]:
        """`Trainer.evaluate`; `options` are those of `generate`."""
        with self._generating(options):
            return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)

    def predict(
        self,
        test_dataset: Any,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "test",
        **options: Any,
    ) -> PredictionOutput:
        """`Trainer.predict`; `options` are those of `generate`."""
        with self._generating(options):
            return super().predict(test_dataset, ignore_keys, metric_key_prefix)

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[Tensor | None, Any, Any]:
        """(loss, what the model wrote, labels) of one batch."""
        if not self.args.predict_with_generate or prediction_loss_only:
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        inputs = operations.send_to_device(inputs, self.accelerator.device)
        labels = inputs.get("labels")
        loss = None if labels is None else super().prediction_step(model, inputs, True)[0]
        fed = {name: value for name, value in inputs.items() if name != "labels"}
        # Decoder inputs made of the labels would give the answer away.
        if labels is not None and "decoder_input_ids" in fed and fed["decoder_input_ids"].shape == labels.shape:
            fed = {name: value for name, value in fed.items() if not name.startswith("decoder_")}
        written, limit = self._written(fed)
        filler = self._filler()
        written = F.pad(written, (0, max(limit - written.shape[1], 0)), value=filler)
        if labels is not None:
            labels = F.pad(labels, (0, max(limit - labels.shape[1], 0)), value=filler)
        return loss, written, labels

    def _written(self, inputs: dict[str, Any]) -> tuple[Tensor, int]:
        """What the model writes, and how many columns that can be."""
        model: Any = self._bare()
        asked = self._options or self._defaults({})
        config = model.generation_config.override(asked)
        if config.num_return_sequences != 1:
            raise ArgumentError(f"num_return_sequences={config.num_return_sequences}: a row has one prediction")
        with self.accelerator.gathered(self.model):  # the processes write texts of different lengths
            written = model.generate(**inputs, **asked, return_dict_in_generate=False)
        start = 1 if hasattr(model, "prepare_decoder_input_ids_from_labels") else inputs["input_ids"].shape[1]
        # A tensor of inference mode can't be gathered in place.
        return written.clone(), start + config.new_tokens(start, model.config.get("max_position_embeddings"))

    def _defaults(self, options: dict[str, Any]) -> dict[str, Any]:
        """Options of a call, and what the arguments say where it says nothing."""
        asked = {name: value for name, value in options.items() if value is not None}
        if self.args.generation_max_length is not None and not {"max_length", "max_new_tokens"} & asked.keys():
            asked["max_length"] = self.args.generation_max_length
        if self.args.generation_num_beams is not None:
            asked.setdefault("num_beams", self.args.generation_num_beams)
        return asked

    @contextlib.contextmanager
    def _generating(self, options: dict[str, Any]) -> Iterator[None]:
        if options and not self.args.predict_with_generate:
            raise ArgumentError(f"{', '.join(options)}: options of generate need predict_with_generate=True")
        before = self._options
        # Several data sets are evaluated one by one, within the call that brought the options.
        self._options = before if before and not options else self._defaults(options)
        try:
            yield
        finally:
            self._options = before

    def _filler(self) -> int:
        for source in (self.processing_class, self._bare().config):
            for name in ("pad_token_id", "eos_token_id"):
                token = getattr(source, name, None)
                token = token[0] if isinstance(token, list) else token
                if isinstance(token, int):
                    return token
        raise ArgumentError("predictions of unequal length need a padding token: set model.config.pad_token_id")


def generation_settings(source: GenerationConfig | str, model: GenerationConfig) -> GenerationConfig:
    """Settings from themselves, a file, a folder or a repository; special tokens that they don't name are the model's.

    Args:
        model: the model's own settings.
    """
    if isinstance(source, str):
        from enfold.hub.files import resolve_file

        path = Path(source)
        file = path if path.is_file() else resolve_file(source, "generation_config.json")
        assert file is not None
        source = GenerationConfig.from_entries(read_json(file))
    special = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")
    return replace(source, **{name: getattr(model, name) for name in special if getattr(source, name) is None})

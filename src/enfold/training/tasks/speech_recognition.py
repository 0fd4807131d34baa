"""What is said in a sound, letter by letter (connectionist temporal classification)."""

from typing import Any

import numpy as np
from torch import Tensor

from enfold import evaluate
from enfold.base.errors import ArgumentError, EntryNotFoundError, TokenizerError
from enfold.base.logging import get_logger
from enfold.datasets import Audio
from enfold.processing.auto import AutoFeatureExtractor, AutoProcessor
from enfold.processing.wav2vec2 import Wav2Vec2FeatureExtractor, Wav2Vec2Processor
from enfold.training.collators import DataCollatorCTCWithPadding
from enfold.training.tasks.fresh import letters
from enfold.training.tasks.senses import Sensing

logger = get_logger(__name__)


class SpeechRecognition(Sensing):
    """Sounds with what is said in them; sounds of another rate are resampled.

    A model that was never taught letters gets those of the training data. The loss is the mean over rows, each divided
    by its letters; a row with more letters than frames teaches nothing.
    """

    auto = "AutoModelForCTC"
    columns = {"audio_column": "audio", "label_column": "text"}
    options = ("freeze_feature_encoder",)

    def check(self, rows: Any, which: str) -> None:
        super().check(rows, which)
        for place, text in enumerate(rows[self.named["label_column"]]):
            if not isinstance(text, str) or not text.strip():
                raise ArgumentError(f"row {place} of the {which} data says {text!r}; expected the words of the sound")

    def reader(self, source: str, rows: Any, revision: Any) -> Any:
        try:
            found = AutoProcessor.from_pretrained(source, revision=revision)
        except (TokenizerError, EntryNotFoundError):
            found = AutoFeatureExtractor.from_pretrained(source, revision=revision)
        return found if hasattr(found, "tokenizer") else self._lettered(found, rows)

    def new_reader(self, config: Any, rows: Any) -> Any:
        return self._lettered(Wav2Vec2FeatureExtractor(return_attention_mask=config.feat_extract_norm == "layer"), rows)

    def _lettered(self, extractor: Any, rows: Any) -> Any:
        tokenizer = letters(rows[self.named["label_column"]])
        logger.warning("The model gets the %d letters of the training data.", len(tokenizer) - 5)
        return Wav2Vec2Processor(extractor, tokenizer)

    def learn(self, rows: Any, eval_rows: Any, config: Any) -> dict[str, Any]:
        tokenizer = self.tokenizer.tokenizer
        entries = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
        return {**entries, "ctc_loss_reduction": "mean", "ctc_zero_infinity": True}

    def settle(self, model: Any) -> None:
        if self.chosen.get("freeze_feature_encoder", bool(model.name_or_path)):
            model.freeze_feature_encoder()

    def encoded(self, rows: Any, which: str) -> Any:
        feature = Audio(sampling_rate=self.tokenizer.feature_extractor.sampling_rate)
        labels = self.tokenizer.tokenizer(list(rows[self.named["label_column"]]))["input_ids"]
        return self.media(rows, "audio_column", "audio", feature, labels)

    def collator(self, model: Any) -> Any:
        return DataCollatorCTCWithPadding(self.tokenizer)

    def shrink(self, logits: Tensor, labels: Any) -> Tensor:  # type: ignore[override]
        """The likeliest token of each frame, the blank at padding: [B, T, vocab] → [B, T]."""
        blank = self.tokenizer.tokenizer.pad_token_id
        return logits.argmax(-1).masked_fill((logits == 0).all(-1), blank)

    @property
    def metric(self):
        return self._scores

    def _scores(self, prediction: Any) -> dict[str, float]:
        tokenizer = self.tokenizer.tokenizer
        ids, labels = (np.where(part < 0, tokenizer.pad_token_id, part) for part in prediction)
        said, truth = tokenizer.batch_decode(ids), tokenizer.batch_decode(labels, group_tokens=False)
        return evaluate.combine(["wer", "cer"]).compute(predictions=said, references=truth)

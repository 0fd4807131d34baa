"""Where in a text the answer to a question stands."""

from typing import Any

import numpy as np

from enfold import evaluate
from enfold.base.errors import ArgumentError
from enfold.training.tasks.base import Task

LONGEST_ANSWER = 30


class QuestionAnswering(Task):
    """Rows as SQuAD has them; long contexts become windows, of which those without the answer point at the start.

    Scores are of windows: the words that a window's best span holds, beside those that it should.
    """

    auto = "AutoModelForQuestionAnswering"
    columns = {"question_column": "question", "text_column": "context", "label_column": "answers"}
    defaults = {"include_for_metrics": ["inputs"]}
    cuts = False

    def learn(self, rows: Any, eval_rows: Any, config: Any) -> dict[str, Any]:
        for which, part in (("training", rows), ("evaluation", eval_rows)):
            if part is not None:
                self._check(which, part[self.named["text_column"]], part[self.named["label_column"]])
        return {}

    def _check(self, which: str, contexts: Any, answers: Any) -> None:
        for place, (context, answer) in enumerate(zip(contexts, answers, strict=True)):
            try:
                spans = list(zip(answer["answer_start"], answer["text"], strict=True))
            except (TypeError, KeyError, ValueError):
                raise ArgumentError(
                    f'row {place} of the {which} data: expected {{"text": […], "answer_start": […]}} '
                    f"in {self.named['label_column']!r}, got {answer!r:.80}"
                ) from None
            for start, text in spans:
                if context[start : start + len(text)] != text:
                    raise ArgumentError(
                        f"row {place} of the {which} data: the answer {text!r:.40} doesn't stand at {start} of its "
                        f"context, where {context[start : start + len(text)]!r:.40} stands"
                    )

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        assert self.max_length is not None
        questions, contexts = rows[self.named["question_column"] or ""], rows[self.named["text_column"] or ""]
        made = self.tokenizer(
            questions,
            contexts,
            truncation="only_second",
            max_length=self.max_length,
            stride=self.max_length // 4,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        answers = rows[self.named["label_column"] or ""]
        places = [
            self._place(made, window, answers[sample])
            for window, sample in enumerate(made["overflow_to_sample_mapping"])
        ]
        kept = {name: made[name] for name in self.tokenizer.model_input_names if name in made}
        starts, ends = zip(*places, strict=True)
        return {**kept, "start_positions": list(starts), "end_positions": list(ends)}

    def _place(self, made: Any, window: int, answer: dict[str, list[Any]]) -> tuple[int, int]:
        """First and last token of the answer in a window; the start of the text twice where it isn't there."""
        ids = made["input_ids"][window]
        nothing = ids.index(self.tokenizer.cls_token_id) if self.tokenizer.cls_token_id in ids else 0
        if not answer["text"]:
            return nothing, nothing
        first, last = answer["answer_start"][0], answer["answer_start"][0] + len(answer["text"][0])
        offsets = made["offset_mapping"][window]
        inside = [at for at, text in enumerate(made.sequence_ids(window)) if text == 1]
        if not inside or offsets[inside[0]][0] > first or offsets[inside[-1]][1] < last:
            return nothing, nothing
        start = max((at for at in inside if offsets[at][0] <= first), default=inside[0])
        end = min((at for at in inside if offsets[at][1] >= last), default=inside[-1])
        return start, max(start, end)

    @property
    def metric(self):
        return self._scores

    def _scores(self, prediction: Any) -> dict[str, float]:
        (starts, ends), truth = prediction.predictions, prediction.label_ids
        ours, right = [], []
        for number, ids in enumerate(prediction.inputs):
            ours.append({"id": str(number), "prediction_text": self._text(ids, *_best(starts[number], ends[number]))})
            text = self._text(ids, truth[0][number], truth[1][number])
            right.append({"id": str(number), "answers": {"text": [text], "answer_start": [0]}})
        return evaluate.load("squad").compute(predictions=ours, references=right)

    def _text(self, ids: np.ndarray, start: int, end: int) -> str:
        kept = [int(token) for token in ids[start : end + 1] if token >= 0]
        return self.tokenizer.decode(kept, skip_special_tokens=True).strip()


def _best(starts: np.ndarray, ends: np.ndarray) -> tuple[int, int]:
    """The likeliest span that doesn't end before it starts."""
    both = starts[:, None] + ends[None, :]
    allowed = np.triu(np.ones_like(both, dtype=bool)) & ~np.triu(np.ones_like(both, dtype=bool), LONGEST_ANSWER)
    start, end = np.unravel_index(np.where(allowed, both, -np.inf).argmax(), both.shape)
    return int(start), int(end)

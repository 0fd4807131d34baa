"""question-answering: where in a text the answer to a question stands."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from enfold.base.errors import ArgumentError, LengthError
from enfold.pipelines.base import Item, Options, Pipeline
from enfold.pipelines.encoding import Row, preview, tokenizer_options, usual_length
from enfold.pipelines.overlaps import Window, read_in_windows
from enfold.pipelines.spans import Span, best_spans, merge_answers

# What windows are like unless the call says otherwise: as for SQuAD.
LENGTH, STRIDE = 384, 128
# Options of the tokenizer that windows leave no room for.
_NOT_HERE = frozenset({"truncation", "max_length", "add_special_tokens"})


@dataclass(frozen=True, kw_only=True)
class QuestionAnsweringOptions(Options):
    """Options of question-answering.

    Attributes:
        top_k: how many answers, best first; with more than one, a list is given. (`topk` is the older name.)
        doc_stride: tokens that neighbouring windows over a long context share; 128 or half a window by default.
        max_answer_len: tokens of an answer, at most.
        max_seq_len: tokens of a window, question included; 384 by default, or what tokenizer and model take.
        max_question_len: cut longer questions to so many tokens. By default none is cut.
        handle_impossible_answer: an answer may be that there is none: `""`.
        align_to_words: an answer is made of whole words.
    """

    top_k: int = 1
    doc_stride: int | None = None
    max_answer_len: int = 15
    max_seq_len: int | None = None
    max_question_len: int | None = None
    handle_impossible_answer: bool = False
    align_to_words: bool = True


class QuestionAnsweringPipeline(Pipeline[QuestionAnsweringOptions]):
    """Questions with contexts → `{"score", "start", "end", "answer"}` each, or a list of them where several are asked
    for. `start` and `end` count characters of the context: `context[start:end] == answer`.

    Each window's scores are a distribution of their own; answers of the same words, upper case aside, are one answer
    whose score is their sum.
    """

    task = "question-answering"
    heads = ("question-answering",)
    options_class = QuestionAnsweringOptions
    structured = True

    # Options

    def settings(self, options: dict[str, Any]) -> QuestionAnsweringOptions:
        if "topk" in options:
            options = {"top_k": options["topk"], **{n: v for n, v in options.items() if n != "topk"}}
        nothing = {n for n in ("top_k", "max_answer_len", "align_to_words") if options.get(n, "") is None}
        chosen = super().settings({n: v for n, v in options.items() if n not in nothing})
        for name, low in (("top_k", 1), ("max_answer_len", 1), ("max_seq_len", 1), ("max_question_len", 1)):
            self._check_number(name, getattr(chosen, name), low)
        self._check_number("doc_stride", chosen.doc_stride, 0)
        length = self._length(chosen)
        if self.limit is not None and length > self.limit:
            raise ArgumentError(f"max_seq_len={length}, and the model knows {self.limit} positions: lower it")
        if chosen.doc_stride is not None and chosen.doc_stride >= length:
            raise ArgumentError(f"doc_stride={chosen.doc_stride} leaves no step forward in windows of {length} tokens")
        return chosen

    @staticmethod
    def _check_number(name: str, value: Any, low: int) -> None:
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < low):
            raise ArgumentError(f"{name} is {value!r}; expected a number, {low} or more")

    def absorb(self, chosen: QuestionAnsweringOptions, others: dict[str, Any]) -> QuestionAnsweringOptions:
        if refused := sorted(_NOT_HERE & others.keys()):
            raise ArgumentError(
                f"{self.task} reads long contexts in windows and takes no {', '.join(refused)}: max_seq_len is the "
                "length of a window, doc_stride what two of them share"
            )
        return super().absorb(chosen, others)

    def option_names(self) -> set[str]:
        return super().option_names() - _NOT_HERE

    def _length(self, options: QuestionAnsweringOptions) -> int:
        """Tokens of a window."""
        if options.max_seq_len is not None:
            return options.max_seq_len
        usual = usual_length(self.tokenizer, self.limit)
        return LENGTH if usual is None else min(usual, LENGTH)

    # Calls

    def __call__(self, *inputs: Any, question: Any = None, context: Any = None, **options: Any) -> Any:
        """Answer questions.

        Args:
            inputs: a dictionary `{"question", "context"}`, a list or a stream of them, or a question and its context.
            question, context: instead: a text each, or lists; one text goes with every item of the other's list.
            options: as of every pipeline, and the task's.

        Raises:
            ArgumentError: neither or both ways of saying what is asked, an empty question or context, unknown options.
            LengthError: a question that leaves no room for its context.
        """
        if question is not None or context is not None:
            if inputs or question is None or context is None:
                raise ArgumentError("give question= and context= together, and no other input")
            return super().__call__(_paired(question, context), **options)
        if len(inputs) == 2 and all(isinstance(text, str) for text in inputs):
            return super().__call__({"question": inputs[0], "context": inputs[1]}, **options)
        return super().__call__(inputs[0] if len(inputs) == 1 else list(inputs) or None, **options)

    def present(self, inputs: Any, answers: Any, options: QuestionAnsweringOptions, given: dict[str, Any]) -> Any:
        return answers[0] if isinstance(inputs, (list, tuple)) and len(inputs) == 1 else answers

    # Steps

    def preprocess(self, inputs: list[Any], options: QuestionAnsweringOptions, first: int = 0) -> list[Item]:
        both = [self._texts(item, first + index) for index, item in enumerate(inputs)]
        items = [Item([], (context, [])) for _, context in both]
        asked = self._questions([question for question, _ in both], options)
        length = self._length(options)
        special = self.tokenizer.num_special_tokens_to_add(True)
        strides = defaultdict(list)  # the stride → the inputs it serves: a long question leaves less room
        for index, (_, tokens) in enumerate(asked):
            room = length - special - tokens
            if room < 1:
                raise LengthError(
                    f"the question of input {first + index} ({preview(both[index][0])}) has {tokens} tokens and leaves "
                    f"no room for its context in windows of {length}: pass max_question_len=… to cut it"
                )
            usual = min(length // 2, STRIDE) if options.doc_stride is None else options.doc_stride
            strides[min(usual, room - 1)].append(index)
        for stride, members in strides.items():
            for window in self._windows([(asked[i][0], both[i][1]) for i in members], length, stride, options):
                owner = members[window.owner]
                items[owner].rows.append(window.row)
                items[owner].kept[1].append(window)
                if len(items[owner].rows) > 1 and stride < (options.doc_stride or 0):
                    raise ArgumentError(
                        f"doc_stride={options.doc_stride} leaves no step forward beside the {asked[owner][1]} tokens "
                        f"of the question of input {first + owner} in windows of {length}: lower it"
                    )
        return items

    def _texts(self, item: Any, number: int) -> tuple[str, str]:
        if not isinstance(item, Mapping) or not {"question", "context"} <= item.keys():
            raise ArgumentError(
                f"{self.task} takes dictionaries {{'question': …, 'context': …}}; input {number} is {preview(item)}"
            )
        for name in ("question", "context"):
            if not isinstance(item[name], str) or not item[name]:
                raise ArgumentError(f"the {name} of input {number} is {item[name]!r}; expected a text")
        return item["question"], item["context"]

    def _questions(self, questions: list[str], options: QuestionAnsweringOptions) -> list[tuple[str, int]]:
        """Each question, cut if that was asked for, and its number of tokens."""
        most = options.max_question_len
        encoded = self.tokenizer(questions, add_special_tokens=False, return_offsets_mapping=most is not None)
        found = []
        for number, (question, ids) in enumerate(zip(questions, encoded["input_ids"], strict=True)):
            if most is not None and len(ids) > most:
                question, ids = question[: encoded["offset_mapping"][number][most - 1][1]], ids[:most]
            found.append((question, len(ids)))
        return found

    def _windows(
        self, both: list[tuple[str, str]], length: int, stride: int, options: QuestionAnsweringOptions
    ) -> Iterator[Window]:
        questions, contexts = [question for question, _ in both], [context for _, context in both]
        call = tokenizer_options(options.tokenizer_kwargs, self.tokenizer, self.limit)
        if self._context_last:
            given, cut = (questions, contexts), "only_second"
        else:
            given, cut = (contexts, questions), "only_first"
        return read_in_windows(self.tokenizer, *given, length=length, stride=stride, cut=cut, options=call)

    @property
    def _context_last(self) -> bool:
        """Whether the question comes first: a tokenizer that pads on the left was trained the other way round."""
        return self.tokenizer.padding_side == "right"

    def forward(self, rows: list[Row], options: QuestionAnsweringOptions) -> list[np.ndarray]:
        """Start and end logits [2, T] each."""
        output = self.model(**self.tensors(rows))
        both = [x.float().cpu().numpy() for x in (output.start_logits, output.end_logits)]
        return [np.stack([x[i, : len(row.ids)] for x in both]) for i, row in enumerate(rows)]

    def postprocess(self, item: Item, outputs: list[np.ndarray], options: QuestionAnsweringOptions) -> Any:
        context, windows = item.kept
        found, none = [], 1.0
        for window, logits in zip(windows, outputs, strict=True):
            spans, empty = self._spans(window, logits, options)
            none = min(none, empty)
            found += [(span.score, *self._characters(window, span, options)) for span in spans]
        answers = merge_answers(context, found)
        if options.handle_impossible_answer:
            answers.append({"score": none, "start": 0, "end": 0, "answer": ""})
        answers = sorted(answers, key=lambda answer: answer["score"], reverse=True)[: options.top_k]
        return answers[0] if len(answers) == 1 else answers

    def _spans(self, window: Window, logits: np.ndarray, options: QuestionAnsweringOptions) -> tuple[list[Span], float]:
        """The best spans of a window, and how probable it is that none holds the answer."""
        allowed = window.belongs(1 if self._context_last else 0)
        # Models trained on unanswerable questions point to [CLS].
        ids, cls = window.row.ids, self.tokenizer.cls_token_id
        nothing = ids.index(cls) if cls is not None and cls in ids else None
        # Whole words merge spans that begin or end inside of one, so more candidates are needed.
        count = 2 * options.top_k + 10 if options.align_to_words else options.top_k
        return best_spans(logits, allowed, nothing=nothing, count=count, longest=options.max_answer_len)

    def _characters(self, window: Window, span: Span, options: QuestionAnsweringOptions) -> tuple[int, int]:
        start, end = span.start, span.end
        if options.align_to_words:
            start, end = window.whole_words(start, end)
        return window.offsets[start][0], window.offsets[end][1]


def _paired(question: Any, context: Any) -> Any:
    """Questions and contexts, given apart, as inputs.

    Raises:
        ArgumentError: lists of different lengths.
    """
    if isinstance(question, str) and isinstance(context, str):
        return {"question": question, "context": context}
    lengths = {len(x) for x in (question, context) if isinstance(x, (list, tuple))}
    if len(lengths) != 1 or not all(isinstance(x, (str, list, tuple)) for x in (question, context)):
        raise ArgumentError(
            "question and context are texts, or lists of one length; got "
            + " and ".join(
                f"{len(x)} of them" if isinstance(x, (list, tuple)) else preview(x) for x in (question, context)
            )
        )
    (count,) = lengths
    questions = [question] * count if isinstance(question, str) else question
    contexts = [context] * count if isinstance(context, str) else context
    return [{"question": q, "context": c} for q, c in zip(questions, contexts, strict=True)]

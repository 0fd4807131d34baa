"""question-answering beside what its documentation says, computed with the reference's tokenizer and model.

The reference library's own pipeline is gone since its version 5.
"""

import random

import numpy as np
import pytest
import torch
import transformers

from enfold.base.errors import ArgumentError, LengthError
from enfold.pipelines import pipeline

from .conftest import SENTENCES, same


@pytest.fixture(scope="module")
def asked():
    words, draw = " ".join(SENTENCES).split(), random.Random(3)
    lengths = (1, 2, 9, 30, 90)
    return [
        {
            "question": " ".join(draw.choices(words, k=draw.randint(2, 6))),
            "context": " ".join(draw.choices(words, k=draw.choice(lengths))),
        }
        for _ in range(14)
    ]


class LongWay:
    """Every span of every window, one after another."""

    def __init__(self, folder: str, length: int):
        self.tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
        self.model = transformers.AutoModelForQuestionAnswering.from_pretrained(folder).eval()
        self.types = self.model.config.model_type == "bert"
        self.length = length

    def __call__(self, question, context, top_k=1, align_to_words=True, handle_impossible_answer=False, **options):
        length = options.get("max_seq_len", self.length)
        stride = options.get("doc_stride", min(length // 2, 128))
        room = length - self.tokenizer.num_special_tokens_to_add(True)
        room -= len(self.tokenizer(question, add_special_tokens=False)["input_ids"])
        encoded = self.tokenizer(
            question,
            context,
            truncation="only_second",
            max_length=length,
            stride=min(stride, room - 1),
            return_overflowing_tokens=True,
        )
        found, none = {}, 1.0
        for number in range(len(encoded["input_ids"])):
            inner = encoded[number]
            kinds = {"token_type_ids": torch.tensor([inner.type_ids])} if self.types else {}
            with torch.no_grad():
                output = self.model(input_ids=torch.tensor([inner.ids]), **kinds)
            mine = [i for i, part in enumerate(inner.sequence_ids) if part == 1]
            points = [i for i, token in enumerate(inner.ids) if token == self.tokenizer.cls_token_id][:1]
            chosen = points + mine
            start, end = (
                dict(zip(chosen, x[0, chosen].softmax(0).tolist(), strict=True))
                for x in (output.start_logits, output.end_logits)
            )
            none = min(none, start[points[0]] * end[points[0]] if points else 0.0)
            spans = [
                (start[i] * end[j], i, j) for i in mine for j in mine if 0 <= j - i < options.get("max_answer_len", 15)
            ]
            for score, i, j in sorted(spans, reverse=True)[: 2 * top_k + 10 if align_to_words else top_k]:
                first, last = inner.offsets[i][0], inner.offsets[j][1]
                if align_to_words:
                    first = inner.word_to_chars(inner.token_to_word(i), 1)[0]
                    last = inner.word_to_chars(inner.token_to_word(j), 1)[1]
                text = context[first:last]
                known = found.setdefault(text.lower(), {"score": 0.0, "start": first, "end": last, "answer": text})
                known["score"] += score
        answers = list(found.values())
        if handle_impossible_answer:
            answers.append({"score": none, "start": 0, "end": 0, "answer": ""})
        answers = sorted(answers, key=lambda answer: -answer["score"])[:top_k]
        return answers[0] if len(answers) == 1 else answers


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 3},
        {"top_k": 6, "max_answer_len": 4},
        {"handle_impossible_answer": True, "top_k": 2},
        {"align_to_words": False, "top_k": 3},
        {"doc_stride": 5, "max_seq_len": 34, "top_k": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["bert-qa", "distilbert-qa", "gpt2-qa"])
def test_the_same_as_the_long_way(zoo, asked, name, options):
    lengths = {"bert-qa": 64, "distilbert-qa": 48, "gpt2-qa": 96}
    ours, wanted = pipeline("question-answering", zoo(name)), LongWay(zoo(name), lengths[name])
    short = [item for item in asked if len(item["question"].split()) < 5]
    found = ours(short, **options)
    same(found, [wanted(**item, **options) for item in short], 1e-5)
    same(ours(short, batch_size=1, **options), found)
    for item, answers in zip(short, found, strict=True):
        for answer in [answers] if isinstance(answers, dict) else answers:
            assert item["context"][answer["start"] : answer["end"]] == answer["answer"]


def test_forms_of_input(zoo, asked):
    ours = pipeline("question-answering", zoo("bert-qa"))
    several = ours(asked)
    assert [type(answer) for answer in several] == [dict] * len(asked)
    one = asked[0]
    for found in (
        ours(one),
        ours([one]),
        ours(**one),
        ours(one["question"], one["context"]),
        ours(question=[one["question"]], context=[one["context"]]),
    ):
        same(found, several[0])
    questions, contexts = [item["question"] for item in asked], [item["context"] for item in asked]
    same(ours(question=questions, context=contexts), several)
    same(list(ours(item for item in asked)), several)
    crossed = ours(question=questions[:3], context=contexts[0])
    same(crossed, [ours(question, contexts[0]) for question in questions[:3]])
    same(ours(question=questions[0], context=contexts[:2]), [ours(questions[0], context) for context in contexts[:2]])
    same(ours(one, topk=2), ours(one, top_k=2))


def test_no_part_of_a_long_context_is_lost(zoo):
    """Wherever the sentence stands in the context, the span over it scores as high as its window says."""
    ours = pipeline("question-answering", zoo("bert-qa"), max_answer_len=3, align_to_words=False)
    seen = np.zeros(2000, dtype=bool)
    context = " ".join(SENTENCES * 4)
    for window in ours.preprocess([{"question": "the fox?", "context": context}], ours.options)[0].kept[1]:
        for start, end in np.array(window.offsets)[window.belongs(1)]:
            seen[start:end] = True
    missing = [context[i] for i in range(len(context)) if not seen[i] and context[i] != " "]
    assert not missing


def test_long_questions(zoo, asked):
    ours = pipeline("question-answering", zoo("bert-qa"))
    long = " ".join(SENTENCES)
    with pytest.raises(LengthError, match=r"question of input 1 .* no room .*pass max_question_len=… to cut it"):
        ours([asked[0], {"question": long, "context": "Paris"}])
    cut = ours(question=long, context="Paris is in France", max_question_len=9)
    ids = ours.tokenizer(long, add_special_tokens=False, return_offsets_mapping=True)
    shorter = long[: ids["offset_mapping"][8][1]]
    same(cut, ours(question=shorter, context="Paris is in France"))


def test_what_is_refused(zoo):
    ours = pipeline("question-answering", zoo("bert-qa"))
    both = {"question": "Who?", "context": "Paris"}
    for options, message in (
        ({"top_k": 0}, "top_k is 0; expected a number, 1 or more"),
        ({"max_answer_len": 0}, "max_answer_len is 0"),
        ({"max_seq_len": 65}, "max_seq_len=65, and the model knows 64 positions"),
        ({"doc_stride": 64}, "doc_stride=64 leaves no step forward in windows of 64"),
        ({"truncation": True}, "takes no truncation: max_seq_len is the length of a window"),
        ({"max_answer_length": 3}, r"no option 'max_answer_length' .did you mean 'max_answer_len'"),
    ):
        with pytest.raises(ArgumentError, match=message):
            ours(both, **options)
    with pytest.raises(ArgumentError, match="beside the 3 tokens of the question of input 0"):
        ours(question="Who?", context=" ".join(SENTENCES), doc_stride=60)
    with pytest.raises(ArgumentError, match=r"takes dictionaries .* input 0 is 'Who"):
        ours(["Who?"])
    with pytest.raises(ArgumentError, match="the context of input 1 is ''; expected a text"):
        ours([both, {"question": "Who?", "context": ""}])
    with pytest.raises(ArgumentError, match="question= and context= together"):
        ours(question="Who?")
    with pytest.raises(ArgumentError, match="lists of one length; got 2 of them and 1 of them"):
        ours(question=["Who?", "Where?"], context=["Paris"])

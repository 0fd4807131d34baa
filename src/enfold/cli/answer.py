"""A model and its tokenizer → something that answers a conversation piece by piece."""

from collections.abc import Iterator
from typing import Any

from enfold.cli.conversation import Answer, Message


def model_answer(
    model_id: str, *, revision: str | None = None, device: str | None = None, dtype: str | None = None, **options: Any
) -> Answer:
    """Load a model and its tokenizer.

    Args:
        options: generation options for every answer, such as `max_new_tokens`.
    """
    from enfold.models.auto import AutoModelForCausalLM
    from enfold.tokenizers.auto import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_id, revision=revision)
    loading = {"device": device, "dtype": dtype}
    model = AutoModelForCausalLM.from_pretrained(
        model_id, revision=revision, **{key: value for key, value in loading.items() if value is not None}
    )

    def answer(messages: list[Message]) -> Iterator[str]:
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        yield from model.stream(**inputs, tokenizer=tokenizer, **options)

    return answer

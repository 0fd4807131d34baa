import uuid

import pytest

from enfold.base.errors import ArgumentError, LengthError
from enfold.pipelines import Conversation, pipeline

ASK = "What is the capital of France?"
GREEDY = {"do_sample": False, "max_new_tokens": 6}


def test_the_answer_is_what_text_generation_says(zoo):
    """By the chat template; for a decoder without one, each message with the end of text behind it."""
    talk, write = pipeline("conversational", zoo("llama")), pipeline("text-generation", zoo("llama"))
    conversation = talk(Conversation(ASK), **GREEDY)
    wanted = write([{"role": "user", "content": ASK}], **GREEDY)[0]["generated_text"]
    assert conversation.messages == wanted
    conversation.add_user_input("And of Spain?")
    assert conversation.new_user_input == "And of Spain?"
    asked = list(conversation.messages)
    assert talk(conversation, **GREEDY) is conversation
    assert conversation.messages == write(asked, **GREEDY)[0]["generated_text"]
    talk, write = pipeline("conversational", zoo("gpt2")), pipeline("text-generation", zoo("gpt2"))
    prompt = "".join(text + "<|endoftext|>" for text in ("Hello", "Paris", ASK))
    begun = Conversation(ASK, past_user_inputs=["Hello"], generated_responses=["Paris"])
    wanted = write(prompt, return_full_text=False, **GREEDY)[0]["generated_text"]
    assert talk(begun, **GREEDY).generated_responses == ["Paris", wanted]


def test_an_encoder_with_a_decoder(zoo):
    talk, write = pipeline("conversational", zoo("t5")), pipeline("text2text-generation", zoo("t5"))
    given = {"max_new_tokens": 6, "num_beams": 2}
    begun = Conversation(ASK, past_user_inputs=["Hello"], generated_responses=["Paris"])
    wanted = write(f" Hello  Paris  {ASK}", **given)[0]["generated_text"]
    assert talk(begun, **given).generated_responses[-1] == wanted


def test_forms_of_input(zoo):
    talk = pipeline("conversational", zoo("llama"), **GREEDY)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ASK}]
    one = talk(messages)
    assert isinstance(one, Conversation)
    assert len(one) == 3
    several = talk([Conversation("Paris"), Conversation(messages)])
    assert several[1].messages == one.messages
    assert [len(conversation) for conversation in talk([messages, messages[1:]])] == [3, 2]
    assert [len(conversation) for conversation in talk(iter([Conversation("Paris"), messages]))] == [2, 3]
    assert talk(ASK).past_user_inputs == [ASK]


def test_a_conversation():
    conversation = Conversation("Hello", conversation_id=uuid.UUID(int=7))
    with pytest.raises(ArgumentError, match="'Hello' has no answer yet: run the pipeline, or pass overwrite=True"):
        conversation.add_user_input("Hi")
    conversation.add_user_input("Hi", overwrite=True)
    conversation.append_response("Good day")
    conversation.mark_processed()
    conversation.add_message({"role": "user", "content": "Bye"})
    assert list(conversation.iter_texts()) == [(True, "Hi"), (False, "Good day"), (True, "Bye")]
    assert (conversation.past_user_inputs, conversation.new_user_input) == (["Hi"], "Bye")
    assert repr(conversation).startswith("Conversation id: 00000000-0000-0000-0000-000000000007\nuser: Hi\nassistant: ")
    assert conversation[1] == {"role": "assistant", "content": "Good day"}
    assert conversation == Conversation(list(conversation), conversation_id=conversation.uuid)
    assert Conversation("a").uuid != Conversation("a").uuid
    with pytest.raises(ArgumentError, match="the role is 'robot'"):
        conversation.add_message({"role": "robot", "content": ""})
    with pytest.raises(ArgumentError, match="each response follows an input"):
        Conversation(past_user_inputs=["a"], generated_responses=["b", "c"])


def test_what_is_refused(zoo):
    talk = pipeline("conversational", zoo("gpt2"), **GREEDY)
    with pytest.raises(ArgumentError, match="conversation 1 waits for its user"):
        talk([Conversation("a"), Conversation()])
    with pytest.raises(ArgumentError, match="takes conversations; input 0 is 3"):
        talk([3])
    with pytest.raises(LengthError, match="the model knows 96 positions: pass truncation=True to cut it, start a new"):
        talk(ASK * 20)

import pytest
import torch

from enfold.base.errors import ArgumentError, LengthError, NotBuiltError
from enfold.generation import GenerationConfig, TextStreamer
from enfold.pipelines import pipeline

from .conftest import same

PROMPTS = ["Marie Curie lived", "The", "What is the capital of France? The capital", "She sells sea shells by", "Paris"]
ASK = [{"role": "user", "content": "What is the capital of France?"}]
BEGUN = [*ASK, {"role": "assistant", "content": "The capital"}]


@pytest.fixture
def both(zoo, peer):
    def make(name: str = "llama", **options):
        return pipeline("text-generation", zoo(name), **options), peer("text-generation", zoo(name), **options)

    return make


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_new_tokens": 5},
        {"return_full_text": False},
        {"return_tensors": True},
        {"max_new_tokens": 30, "eos_token_id": [2, 40, 41, 42, 43, 44, 45]},
        {"min_length": 24, "eos_token_id": list(range(30, 300)), "max_new_tokens": 30},
        {"repetition_penalty": 1.7},
        {"min_new_tokens": 8, "eos_token_id": list(range(30, 300))},
        {"prefix": "Once upon a time, "},
        {"add_special_tokens": False, "clean_up_tokenization_spaces": False},
        {"skip_special_tokens": False},
        {"stop_sequence": ["e", "zz"]},
        {"tokenizer_encode_kwargs": {"truncation": True, "max_length": 2}},
    ],
    ids=str,
)
def test_the_same_as_the_reference(both, options):
    ours, theirs = both()
    same(ours(PROMPTS, **options), theirs(PROMPTS, **options))
    same(ours(PROMPTS[0], **options), theirs(PROMPTS[0], **options))
    same(ours(PROMPTS, batch_size=2, **options), theirs(PROMPTS, **options))


def test_chats(both):
    ours, theirs = both()
    same(ours(ASK), theirs(ASK))
    same(
        ours([ASK, BEGUN, [{"role": "system", "content": "Be brief."}, *ASK]]),
        theirs([ASK, BEGUN, [{"role": "system", "content": "Be brief."}, *ASK]]),
    )
    same(ours(ASK, return_full_text=False), theirs(ASK, return_full_text=False))
    same(ours(BEGUN, continue_final_message=False), theirs(BEGUN, continue_final_message=False))
    same(ours(ASK, continue_final_message=True), theirs(ASK, continue_final_message=True))
    same(list(ours(chat for chat in [ASK, BEGUN])), list(theirs(chat for chat in [ASK, BEGUN])))
    same(ours(message for message in BEGUN), theirs(message for message in BEGUN))


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 1.3, "top_k": 20}, {"num_return_sequences": 3}, {"top_p": 0.8}], ids=str
)
def test_sampling_draws_the_same(both, options):
    ours, theirs = both()
    options = {"do_sample": True, "max_new_tokens": 20, **options}
    for given in (PROMPTS[0], ASK):
        torch.manual_seed(3)
        wanted = theirs(given, **options)
        torch.manual_seed(3)
        same(ours(given, **options), wanted)


def test_defaults_sample_up_to_256_tokens(both):
    ours, theirs = both("gpt2")  # whose repository says nothing of generation
    torch.manual_seed(11)
    wanted = theirs(PROMPTS[0], max_length=60)
    torch.manual_seed(11)
    same(ours(PROMPTS[0], max_length=60), wanted)
    greedy = {"do_sample": False, "max_length": 40}
    same(ours(PROMPTS, **greedy), theirs(PROMPTS, **greedy))
    settings = ours.generation(ours.options)
    assert (settings["max_new_tokens"], settings["do_sample"], settings["temperature"]) == (256, True, 0.7)
    assert "temperature" not in ours.generation(ours.settings({"do_sample": False}))


def test_a_repository_and_the_user_come_before_the_defaults(both):
    ours, _ = both()
    assert ours.generation(ours.options).get("max_new_tokens") is None  # generation_config.json has it
    asked = len(ours.tokenizer("Paris")["input_ids"])
    assert len(ours("Paris", return_tensors=True)[0]["generated_token_ids"]) == asked + 12
    made, theirs = both(max_new_tokens=3, return_full_text=False)
    same(made(PROMPTS), theirs(PROMPTS))
    same(made(PROMPTS[0], max_new_tokens=5), theirs(PROMPTS[0], max_new_tokens=5))
    replaced = made("Paris", generation_config=GenerationConfig(max_new_tokens=7, do_sample=False), return_tensors=True)
    assert len(replaced[0]["generated_token_ids"]) == asked + 7


def test_scores(both):
    ours, theirs = both()
    given = {"return_dict_in_generate": True, "output_scores": True, "max_new_tokens": 3}
    found, wanted = ours(PROMPTS[:2], **given), theirs(PROMPTS[:2], **given)
    for a, b in zip(found, wanted, strict=True):
        assert a[0]["generated_text"] == b[0]["generated_text"]
        torch.testing.assert_close(torch.tensor(a[0]["scores"]), torch.tensor(b[0]["scores"]), atol=1e-4, rtol=1e-4)


def test_empty_prompt(both):
    ours, theirs = both("gpt2")
    given = {"do_sample": False, "max_new_tokens": 6}
    same(ours("", **given), theirs("", **given))
    same(ours(["Paris", ""], **given), [theirs(text, **given) for text in ("Paris", "")])


def test_streaming(both, capsys):
    ours, _ = both()
    for given in (PROMPTS[0], ASK):
        pieces = list(ours.stream(given))
        assert len(pieces) > 3
        assert "".join(pieces) == ours(given, return_full_text=False)[0]["generated_text"]
    text = ours(PROMPTS[0], streamer=TextStreamer(ours.tokenizer, skip_prompt=True))[0]["generated_text"]
    assert capsys.readouterr().out == text.removeprefix(PROMPTS[0]) + "\n"
    ours(PROMPTS, streamer=TextStreamer(ours.tokenizer, skip_prompt=True))  # one after another, in their order
    assert capsys.readouterr().out.split("\n")[0] == text.removeprefix(PROMPTS[0])
    stops = ours(PROMPTS[0], stopping_criteria=[lambda ids, scores: ids.shape[1] >= 13], return_tensors=True)
    assert len(stops[0]["generated_token_ids"]) == 13
    with pytest.raises(ArgumentError, match="one text or one chat"):
        ours.stream(PROMPTS)
    with pytest.raises(ArgumentError, match=r"no option 'max_new_token' .did you mean 'max_new_tokens'"):
        ours.stream("Paris", max_new_token=3)  # at once, not with the first piece


def test_long_prompts(zoo, both):
    ours, _ = both("gpt2")
    long = " ".join(PROMPTS * 5)
    with pytest.raises(LengthError, match=r"input 1 .* the model knows 96 positions: pass truncation=True"):
        ours(["Paris", long], do_sample=False)
    with pytest.raises(LengthError, match=r"90 may follow, and the model knows 96 positions: lower max_new_tokens"):
        ours("Marie Curie lived in Paris", do_sample=False, max_new_tokens=90)
    with pytest.raises(LengthError, match="lower max_new_tokens"):
        ours("Marie Curie lived in Paris", do_sample=False, max_length=400)
    # 256 tokens that nobody asked for don't fit either, and become what does.
    found = ours(["Paris", "Marie Curie lived in"], do_sample=False, return_tensors=True, eos_token_id=-1)
    assert {len(records[0]["generated_token_ids"]) for records in found} == {97}
    with pytest.raises(LengthError, match="leaves no room"):
        ours(long, handle_long_generation="hole", max_new_tokens=96)
    hole = ours(long, handle_long_generation="hole", max_new_tokens=20, do_sample=False, return_tensors=True)
    ids = ours.tokenizer(long)["input_ids"][-76:]
    assert hole[0]["generated_token_ids"][:76] == ids
    cut = ours(long, truncation=True, max_new_tokens=1, do_sample=False, return_tensors=True)
    assert len(cut[0]["generated_token_ids"]) == 97
    llama, reference = both()
    same(llama(long, handle_long_generation="hole"), reference(long, handle_long_generation="hole"))


def test_what_is_refused(both):
    ours, _ = both()
    with pytest.raises(ArgumentError, match="input 1 is 3"):
        ours(["Paris", 3])
    with pytest.raises(ArgumentError, match="message 1 of the chat is"):
        ours([*ASK, {"role": "user"}])
    with pytest.raises(NotBuiltError, match="token_healing=True"):
        ours("Paris", token_healing=True)
    with pytest.raises(ArgumentError, match="return_full_text, return_tensors each say what to return: give one"):
        ours("Paris", return_full_text=True, return_tensors=True)
    with pytest.raises(ArgumentError, match="expected 'hole'"):
        ours("Paris", handle_long_generation="cut")
    with pytest.raises(ArgumentError, match="same greedy text"):
        ours("Paris", num_return_sequences=2)
    with pytest.raises(ArgumentError, match=r"expected enfold\.generation\.GenerationConfig"):
        ours("Paris", generation_config={"max_new_tokens": 3})

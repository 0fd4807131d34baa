"""Guessing ahead: the answers of plain decoding, in fewer steps; contrastive search beside its definition."""

import pytest
import torch

from enfold.base.errors import ArgumentError
from enfold.generation.speculative import Guess, PromptLookup, speculate
from enfold.models.registry import class_by_name
from tests.generation.toys import HEADS, both, folder, padded, prompts

every_head = pytest.mark.parametrize("head", HEADS)


def assistant(head: str, seed: int = 0, noise: float = 0.05):
    """A model that mostly agrees."""
    model = class_by_name(head).from_pretrained(folder(head))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += noise * parameter.std().nan_to_num() * torch.randn(parameter.shape, generator=generator)
    return model


@every_head
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("way", ["lookup", "draft", "draft-constant"])
def test_greedy_answers_are_those_of_plain_search(head: str, side: str, way: str):
    ours, _ = both(head)
    ids, mask = padded(prompts(), side)
    ids[0, :8] = torch.tensor([30, 31, 32, 33, 30, 31, 32, 33])  # something to look up
    free = ours.generate(ids, attention_mask=mask, max_new_tokens=24)
    ends = [int(free[1, -15]), int(free[2, -6])]
    options = {"attention_mask": mask, "max_new_tokens": 24, "eos_token_id": ends}
    options |= {"repetition_penalty": 1.1, "encoder_repetition_penalty": 1.05, "min_new_tokens": 3}
    ahead = {"prompt_lookup_num_tokens": 4, "max_matching_ngram_size": 3}
    if way != "lookup":
        ahead = {"assistant_model": assistant(head), "num_assistant_tokens": 4, "assistant_confidence_threshold": 0.2}
        ahead["num_assistant_tokens_schedule"] = "constant" if way.endswith("constant") else "heuristic"
    wanted = ours.generate(ids, **options)
    assert torch.equal(ours.generate(ids, **options, **ahead), wanted)
    if way == "draft":
        assert torch.equal(ours.generate(ids, **options, **ahead, use_cache=False), wanted)


def test_a_good_draft_takes_fewer_passes():
    ours, _ = both("LlamaForCausalLM")
    passes = []
    hook = ours.base.stack.layers[0].register_forward_hook(lambda *_: passes.append(1))
    try:
        same = assistant("LlamaForCausalLM", noise=0.0)
        ours.generate(prompts(1), max_new_tokens=32, assistant_model=same, assistant_confidence_threshold=0.0)
    finally:
        hook.remove()
    assert len(passes) <= 4


def test_scores_and_limits_of_one_row():
    ours, theirs = both("LlamaForCausalLM")
    options = {"max_new_tokens": 13, "return_dict_in_generate": True, "output_scores": True, "output_logits": True}
    wanted = theirs.generate(prompts(1), attention_mask=torch.ones(1, 9), **options)
    found = ours.generate(prompts(1), **options, prompt_lookup_num_tokens=5)
    assert torch.equal(found.sequences, wanted.sequences)
    for a, b in zip(found.scores, wanted.scores, strict=True):
        torch.testing.assert_close(a.clone(), b, rtol=1e-4, atol=1e-4)
    stop = [lambda ids, _: ids.shape[1] >= 12]
    short = ours.generate(prompts(1), max_new_tokens=13, prompt_lookup_num_tokens=5, stopping_criteria=stop)
    assert short.shape[1] >= 12
    assert torch.equal(short, wanted.sequences[:, : short.shape[1]])
    assert ours.generate(prompts(2), max_new_tokens=0, prompt_lookup_num_tokens=5).shape == (2, 9)


class Fixed:
    """Guesses the same every time."""

    def __init__(self, guesses):
        self.guesses = guesses

    def propose(self, texts, most):
        return [Guess(tokens[:limit], q) for limit, (tokens, q) in zip(most, self.guesses(len(texts)), strict=True)]

    def settle(self, proposed, accepted):
        pass

    def select(self, rows):
        pass


@pytest.mark.parametrize("known", [True, False])
def test_drawn_tokens_follow_the_model_whatever_is_guessed(known: bool):
    """The distribution of the second token, guessed by a wrong distribution, beside the model's own."""
    from enfold.generation.loop import Job
    from enfold.generation.session import Prompt

    vocabulary, rows = 5, 4000
    generator = torch.Generator().manual_seed(8)
    wanted = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05])
    wrong = torch.tensor([0.1, 0.1, 0.1, 0.2, 0.5])

    class Same:
        lengths = (1,) * rows

        def feed(self, tokens, counts, *, every=False):
            return wanted.log().expand(len(tokens) if every else len(counts), -1)

        def select(self, rows):
            pass

        def crop(self, lengths):
            pass

    def guesses(count):
        drawn = torch.multinomial(wrong, count, replacement=True, generator=generator).tolist()
        return [([token], wrong[None] if known else None) for token in drawn]

    from enfold.generation.config import GenerationConfig

    config = GenerationConfig(do_sample=True, max_new_tokens=2, seed=3)
    ids = torch.zeros(rows, 1, dtype=torch.int64)
    job = Job(Same(), Prompt(ids[:, 0], (1,) * rows, ids, ids, None, 2), config)
    seconds: list[list[int]] = [[] for _ in range(rows)]
    for answer in speculate(job, Fixed(guesses)):
        for row, token in enumerate(answer):
            if token is not None:
                seconds[row].append(token)
    counts = torch.bincount(torch.tensor([row[1] for row in seconds]), minlength=vocabulary)
    chi_squared = ((counts - rows * wanted) ** 2 / (rows * wanted)).sum()
    assert chi_squared < 20  # four degrees of freedom: one in 2,000


@every_head
def test_drawing_with_a_draft(head: str):
    ours, _ = both(head)
    ids, mask = padded(prompts(), "left")
    options = {"attention_mask": mask, "do_sample": True, "seed": 4, "max_new_tokens": 10, "num_return_sequences": 2}
    found = ours.generate(ids, **options, assistant_model=assistant(head), top_k=5, num_assistant_tokens=3)
    assert found.shape[0] == 8
    assert torch.equal(
        found, ours.generate(ids, **options, assistant_model=assistant(head), top_k=5, num_assistant_tokens=3)
    )
    logits = ours.generate(ids, attention_mask=mask, max_new_tokens=1, return_dict_in_generate=True, output_logits=True)
    best = logits.logits[0].topk(5).indices.repeat_interleave(2, 0)
    assert (best == found[:, -10, None]).any(1).all()


class Letters:
    """A tokenizer of single characters, or of pairs where `wide`; ids 3, 4, … in the order of the alphabet."""

    def __init__(self, wide: bool):
        alphabet = [chr(48 + i) for i in range(90)]
        self.pieces = [*alphabet, *(a + b for a in alphabet[:2] for b in alphabet[:2])] if wide else alphabet
        self.ids = {piece: i + 3 for i, piece in enumerate(self.pieces)}

    def __call__(self, text, add_special_tokens=True):
        found = []
        while text:
            size = 2 if text[:2] in self.ids else 1
            found.append(self.ids[text[:size]])
            text = text[size:]
        return {"input_ids": found}

    def decode(self, ids, **_):
        return "".join(self.pieces[i - 3] for i in ids if 3 <= i < len(self.pieces) + 3)


def test_drafts_across_tokenizers():
    ours, _ = both("LlamaForCausalLM")
    ids, mask = padded(prompts(), "left")
    wanted = ours.generate(ids, attention_mask=mask, max_new_tokens=20)
    options = {"tokenizer": Letters(False), "assistant_tokenizer": Letters(True), "num_assistant_tokens": 3}
    draft = assistant("LlamaForCausalLM")
    found = ours.generate(ids, attention_mask=mask, max_new_tokens=20, assistant_model=draft, **options)
    assert torch.equal(found, wanted)
    same = {"tokenizer": Letters(False), "assistant_tokenizer": Letters(False), "num_assistant_tokens": 3}
    passes = []
    hook = ours.base.stack.layers[0].register_forward_hook(lambda *_: passes.append(1))
    try:  # its text is ours where it writes letters alone
        ours.generate(ids[:1], max_new_tokens=20, assistant_model=assistant("LlamaForCausalLM", noise=0.0), **same)
    finally:
        hook.remove()
    assert len(passes) < 20


def test_prompt_lookup():
    find = PromptLookup(3, longest=2)
    assert find.propose([[1, 2, 3, 4, 1, 2], [5, 6], [7, 7, 8, 7]], [9, 9, 2]) == [
        Guess([3, 4, 1]),
        Guess([]),
        Guess([8, 7]),
    ]


@every_head
def test_contrastive_search(head: str):
    """Beside the definition (Su et al. 2022, eq. 5), computed without a cache."""
    ours, _ = both(head)
    ids, mask = padded(prompts(), "right")
    options = {"penalty_alpha": 0.5, "top_k": 4, "max_new_tokens": 10}
    found = ours.generate(ids, attention_mask=mask, **options)
    assert torch.equal(ours.generate(ids, attention_mask=mask, **options, use_cache=False), found)
    for row in range(3):
        alone = ids[row : row + 1, : int(mask[row].sum())]
        assert found[row, -10:].tolist() == contrasted(ours, alone, 0.5, 4, 10)
    greedy = ours.generate(ids, attention_mask=mask, max_new_tokens=10)
    assert not torch.equal(found, greedy)
    assert torch.equal(ours.generate(ids, attention_mask=mask, max_new_tokens=10, penalty_alpha=1e-9, top_k=4), greedy)


@torch.no_grad()
def contrasted(model, ids, alpha: float, k: int, steps: int) -> list[int]:
    def run(tokens):
        if hasattr(model, "encoder"):
            out = model(ids, decoder_input_ids=torch.tensor([[0, *tokens]]), use_cache=False, output_hidden_states=True)
            return out.logits[0, -1].softmax(-1), out.decoder_hidden_states[-1][0]
        text = torch.cat([ids, torch.tensor([tokens], dtype=torch.int64)], 1)
        out = model(text, use_cache=False, output_hidden_states=True)
        return out.logits[0, -1].softmax(-1), out.hidden_states[-1][0]

    said: list[int] = []
    for _ in range(steps):
        chances, _ = run(said)
        worth = {}
        for token in chances.topk(k).indices.tolist():
            states = torch.nn.functional.normalize(run([*said, token])[1], dim=-1)
            worth[token] = (1 - alpha) * float(chances[token]) - alpha * float((states[:-1] @ states[-1]).max())
        said.append(max(worth, key=worth.__getitem__))
    return said


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"assistant_model": "itself", "num_beams": 2}, ArgumentError, "assistant_model and num_beams=2"),
        (
            {"assistant_model": "itself", "prompt_lookup_num_tokens": 2},
            ArgumentError,
            "assistant_model and prompt_lookup",
        ),
        (
            {"assistant_model": "itself", "guidance_scale": 2.0},
            ArgumentError,
            r"assistant_model and guidance_scale=2\.0",
        ),
        ({"assistant_model": "itself", "cache_implementation": "hybrid"}, ArgumentError, "a ring can't go back"),
        ({"assistant_model": object()}, ArgumentError, "assistant_model is a object"),
        ({"assistant_tokenizer": object()}, ArgumentError, "assistant_tokenizer has no effect"),
        ({"max_matching_ngram_size": 2}, ArgumentError, "max_matching_ngram_size is of prompt lookup"),
        ({"num_assistant_tokens_schedule": "often"}, ArgumentError, "num_assistant_tokens_schedule is 'often'"),
        ({"penalty_alpha": 0.5, "do_sample": True}, ArgumentError, "penalty_alpha=0.5 .*do_sample=True"),
    ],
    ids=lambda v: v[:30] if isinstance(v, str) else "",
)
def test_what_is_refused(options: dict, error: type, message: str):
    ours, _ = both("LlamaForCausalLM")
    options = {name: ours if value == "itself" else value for name, value in options.items()}
    with pytest.raises(error, match=message):
        ours.generate(prompts(1), **options)

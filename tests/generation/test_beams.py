"""Beam search beside the reference library's, and diverse groups beside the definition."""

import pytest
import torch

from enfold.base.errors import ArgumentError
from tests.generation.toys import HEADS, Bytes, both, padded, prompts

every_head = pytest.mark.parametrize("head", HEADS)


def ends_of(model, ids: torch.Tensor, mask: torch.Tensor, count: int) -> list[int]:
    """Tokens that end beams at different steps."""
    said = model.generate(ids, attention_mask=mask, max_new_tokens=40, num_beams=3)[:, -40:]
    return [int(said[row % len(said), 5 + 7 * row]) for row in range(count)]


def batch(side: str | None) -> tuple[torch.Tensor, torch.Tensor]:
    return padded(prompts(), side) if side else (prompts(), torch.ones(4, 9, dtype=torch.int64))


SETTINGS = [
    {"num_beams": 3, "length_penalty": 2.0, "num_return_sequences": 3},
    {"num_beams": 4, "length_penalty": -1.0, "early_stopping": True, "num_return_sequences": 2},
    {"num_beams": 5, "length_penalty": 0.5, "early_stopping": "never", "num_return_sequences": 5},
    {"num_beams": 3, "min_new_tokens": 15, "bad_words_ids": [[7], [8, 9]], "forced_eos_token_id": 2},
]


@every_head
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("ending", [1, 4])
def test_beams(head: str, settings: dict, ending: int):
    ours, theirs = both(head)
    ids, mask = batch("left" if ending > 1 and not head.startswith("T5") else None)
    options = settings | {
        "attention_mask": mask,
        "max_new_tokens": 64 if ending > 1 else 24,
        "return_dict_in_generate": True,
    }
    options |= {"output_scores": True, "output_logits": True}
    if ending:
        ends = ends_of(theirs, ids, mask, ending)
        options["eos_token_id"] = ends if ending > 1 else ends[0]
    wanted, found = theirs.generate(ids, **options), ours.generate(ids, **options)
    assert torch.equal(found.sequences, wanted.sequences)
    assert torch.equal(found.beam_indices, wanted.beam_indices)
    torch.testing.assert_close(found.sequences_scores, wanted.sequences_scores, rtol=1e-4, atol=1e-4)
    assert len(found.scores) == len(wanted.scores)
    far = [((a - b).abs().nan_to_num() > 1e-3).any(1) for a, b in zip(found.scores, wanted.scores, strict=True)]
    assert torch.stack(far).float().mean() < 0.02  # beams that tie may change places
    for normalised in (False, True):
        torch.testing.assert_close(
            ours.compute_transition_scores(found.sequences, found.scores, found.beam_indices, normalised),
            theirs.compute_transition_scores(wanted.sequences, wanted.scores, wanted.beam_indices, normalised),
            rtol=1e-3,
            atol=1e-3,
        )


@every_head
def test_transition_scores_of_greedy_search(head: str):
    ours, theirs = both(head)
    options = {"attention_mask": torch.ones(4, 9), "max_new_tokens": 9, "return_dict_in_generate": True}
    options["output_scores"] = True
    found, wanted = ours.generate(prompts(), **options), theirs.generate(prompts(), **options)
    torch.testing.assert_close(
        ours.compute_transition_scores(found.sequences, found.scores, normalize_logits=True),
        theirs.compute_transition_scores(wanted.sequences, wanted.scores, normalize_logits=True),
        rtol=1e-4,
        atol=1e-4,
    )


@every_head
@pytest.mark.parametrize("settings", [{}, {"temperature": 1.5, "top_k": 7}, {"top_p": 0.8, "num_return_sequences": 3}])
def test_drawn_beams(head: str, settings: dict):
    ours, theirs = both(head)
    ids, mask = batch(None if head.startswith("T5") else "left")
    options = settings | {"attention_mask": mask, "max_new_tokens": 24, "num_beams": 3, "do_sample": True}
    options["eos_token_id"] = [31, 32, 33, 34]
    torch.manual_seed(2)
    wanted = theirs.generate(ids, **options)
    torch.manual_seed(2)
    assert torch.equal(ours.generate(ids, **options), wanted)


@every_head
@pytest.mark.parametrize("use_cache", [True, False])
def test_rows_of_unequal_length_are_searched_as_each_alone(head: str, use_cache: bool):
    ours, theirs = both(head)
    ids, mask = padded(prompts(), "right")
    options = {"max_new_tokens": 20, "num_beams": 3}
    together = ours.generate(ids, attention_mask=mask, **options, use_cache=use_cache)
    for row in range(4):
        length = int(mask[row].sum())
        alone = theirs.generate(ids[row : row + 1, :length], attention_mask=torch.ones(1, length), **options)
        assert torch.equal(together[row, -20:], alone[0, -20:])


def test_stopping_of_beams():
    ours, _ = both("LlamaForCausalLM")
    ids = prompts()
    found = ours.generate(ids, num_beams=3, max_new_tokens=30, stopping_criteria=[lambda ids, _: ids.shape[1] >= 15])
    assert torch.equal(found, ours.generate(ids, num_beams=3, max_new_tokens=6))
    free = ours.generate(ids, num_beams=3, max_new_tokens=30)[0, 9:]
    stop = "".join(map(chr, free[2:5].tolist()))
    ended = ours.generate(ids, num_beams=3, max_new_tokens=30, stop_strings=stop, tokenizer=Bytes())
    said = [free[2:5].tolist()]
    criterion = [lambda ids, _: torch.tensor([row[-3:] in said for row in ids[:, 9:].tolist()])]
    assert torch.equal(ended, ours.generate(ids, num_beams=3, max_new_tokens=30, stopping_criteria=criterion))
    assert ended.shape != free.shape
    assert ours.generate(ids, num_beams=2, max_new_tokens=5000, max_time=0.2).shape[1] < 5009


@every_head
def test_groups_that_keep_apart(head: str):
    """Group by group beside a search in plain Python (Vijayakumar et al. 2016, algorithm 1)."""
    ours, _ = both(head)
    ids = prompts(2)
    beams, groups, penalty, steps = 4, 2, 1.5, 12
    options = {"num_beams": beams, "num_beam_groups": groups, "diversity_penalty": penalty, "max_new_tokens": steps}
    found = ours.generate(ids, **options, num_return_sequences=4, return_dict_in_generate=True, output_scores=True)
    for row in range(2):
        wanted = searched(ours, ids[row : row + 1], beams // groups, groups, penalty, steps)
        for place, (score, tokens) in enumerate(wanted):
            assert found.sequences[4 * row + place, -steps:].tolist() == tokens
            assert abs(float(found.sequences_scores[4 * row + place]) - score) < 1e-3
    near = ours.generate(ids, **(options | {"diversity_penalty": 1e-6}))
    assert torch.equal(near, ours.generate(ids, num_beams=2, max_new_tokens=steps))


def searched(model, ids, size: int, groups: int, penalty: float, steps: int) -> list[tuple[float, list[int]]]:
    """Scores and tokens of all beams, the best first; without ends."""
    beams: list[list[tuple[float, list[int]]]] = [[(0.0, [])] for _ in range(groups)]
    for _ in range(steps):
        chosen: list[int] = []
        for number, group in enumerate(beams):
            candidates = []
            for score, tokens in group:
                logs = next_logs(model, ids, tokens)
                for token in chosen:
                    logs[token] -= penalty
                candidates += [(score + float(logs[t]), [*tokens, t]) for t in range(len(logs))]
            beams[number] = sorted(candidates, key=lambda pair: -pair[0])[:size]
            chosen += [tokens[-1] for _, tokens in beams[number]]
    return sorted(((s / steps, t) for group in beams for s, t in group), key=lambda pair: -pair[0])


@torch.no_grad()
def next_logs(model, ids, tokens: list[int]) -> torch.Tensor:
    if hasattr(model, "encoder"):
        out = model(ids, decoder_input_ids=torch.tensor([[0, *tokens]]), use_cache=False)
    else:
        out = model(torch.cat([ids, torch.tensor([tokens], dtype=torch.int64)], 1), use_cache=False)
    return out.logits[0, -1].log_softmax(-1)


@pytest.mark.parametrize("mode", ["greedy", "beam", "sample"])
@every_head
def test_states_and_weights_of_each_step(head: str, mode: str):
    import transformers

    from tests.generation.toys import folder

    ours, _ = both(head)
    theirs = getattr(transformers, head).from_pretrained(folder(head), attn_implementation="eager").eval()
    ids, mask = batch("left")
    options = {"attention_mask": mask, "max_new_tokens": 5, "return_dict_in_generate": True, "output_attentions": True}
    options |= {"output_hidden_states": True, "output_scores": True}
    options |= {"greedy": {}, "beam": {"num_beams": 3}, "sample": {"do_sample": True, "num_return_sequences": 2}}[mode]
    torch.manual_seed(1)
    wanted = theirs.generate(ids, **options)
    torch.manual_seed(1)
    found = ours.generate(ids, **options)
    assert torch.equal(found.sequences, wanted.sequences)
    crossed = head.startswith("T5")
    names = ["attentions", "hidden_states"]
    if crossed:
        names = ["decoder_attentions", "decoder_hidden_states", "cross_attentions"]
        for name in ("encoder_hidden_states", "encoder_attentions"):
            for a, b in zip(found[name], wanted[name], strict=True):
                real = (
                    mask.bool()
                    if name.endswith("states")
                    else mask[:, None, :, None].bool() & mask[:, None, None].bool()
                )
                keep = real[..., None] if name.endswith("states") else real
                torch.testing.assert_close(a * keep, b[: len(a)] * keep, rtol=1e-3, atol=1e-3)
    for name in names:
        assert len(found[name]) == len(wanted[name])
        for step, (ours_step, theirs_step) in enumerate(zip(found[name], wanted[name], strict=True)):
            for a, b in zip(ours_step, theirs_step, strict=True):
                assert a.shape == b.shape
                if step == 0 and not crossed:  # theirs computes padding too
                    rows = len(b) // 4
                    real = mask.repeat_interleave(rows, 0).bool()
                    b = b * (real[..., None] if name == "hidden_states" else real[:, None, :, None])
                    a = a * (real[..., None] if name == "hidden_states" else real[:, None, :, None])
                torch.testing.assert_close(a.clone(), b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beams": 3, "num_return_sequences": 4}, "num_return_sequences=4 is more than num_beams=3"),
        ({"num_beams": 5, "num_beam_groups": 2, "diversity_penalty": 1.0}, "num_beam_groups=2 does not divide"),
        ({"num_beams": 4, "num_beam_groups": 2}, "num_beam_groups=2 with diversity_penalty=0.0"),
        ({"num_beams": 4, "diversity_penalty": 1.0}, "needs num_beam_groups"),
        (
            {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0, "do_sample": True},
            "num_beam_groups=2 and do_sample=True",
        ),
        ({"num_beams": 2, "early_stopping": "soon"}, "early_stopping is 'soon'"),
        ({"num_beams": 2, "streamer": object()}, "streamer and num_beams=2 exclude each other"),
        ({"num_beams": 2, "penalty_alpha": 0.5}, "penalty_alpha=0.5 .* and num_beams=2"),
        ({"num_beams": 2, "prompt_lookup_num_tokens": 3}, "prompt_lookup_num_tokens=3 and num_beams=2"),
    ],
    ids=lambda v: "" if isinstance(v, dict) else v[:30],
)
def test_what_is_refused(options: dict, message: str):
    ours, _ = both("LlamaForCausalLM")
    with pytest.raises(ArgumentError, match=message):
        ours.generate(prompts(1), **options)

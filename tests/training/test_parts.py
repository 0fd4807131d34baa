"""Schedules, optimisers and collators, beside the reference's."""

import pytest
import torch
import transformers

from enfold import TrainingArguments
from enfold.base.errors import ArgumentError
from enfold.training import collators
from enfold.training.optimizers import Lion, Muon, make_optimizer, weight_groups
from enfold.training.schedules import SCHEDULES, get_scheduler
from tests.training import little

OPTIONS = {
    "cosine": [{}, {"num_cycles": 1.5}],
    "cosine_with_restarts": [{}, {"num_cycles": 3}],
    "polynomial": [{}, {"lr_end": 1e-4, "power": 2.0}],
    "inverse_sqrt": [{}, {"timescale": 7}],
    "cosine_with_min_lr": [{"min_lr": 1e-4}, {"min_lr_rate": 0.1}],
    "cosine_warmup_with_min_lr": [{"min_lr": 1e-4}, {"min_lr_rate": 0.1, "warmup_lr_rate": 0.2}],
    "warmup_stable_decay": [
        {"num_decay_steps": 8},
        {"num_decay_steps": 8, "decay_type": "linear", "min_lr_ratio": 0.1},
        {"num_decay_steps": 8, "decay_type": "1-sqrt", "warmup_type": "cosine", "num_stable_steps": 5},
    ],
}


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, options) for name in SCHEDULES if SCHEDULES[name] for options in OPTIONS.get(name, [{}])],
)
@pytest.mark.parametrize("warmup", [0, 6])
def test_schedules(name, options, warmup):
    def rates(make):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-2)
        schedule = make(name, optimizer, warmup, 30, scheduler_specific_kwargs=dict(options))
        found = []
        for _ in range(34):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return found

    assert rates(get_scheduler) == pytest.approx(rates(transformers.get_scheduler), abs=1e-12)


def test_schedules_that_can_not_be():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-2)
    with pytest.raises(ArgumentError, match="no schedule 'zigzag'"):
        get_scheduler("zigzag", optimizer)
    with pytest.raises(ArgumentError, match="num_training_steps"):
        get_scheduler("linear", optimizer, 3)
    with pytest.raises(ArgumentError, match="exactly one of min_lr"):
        get_scheduler("cosine_with_min_lr", optimizer, 0, 9)
    with pytest.raises(ArgumentError, match="don't fit the schedule 'cosine'"):
        get_scheduler("cosine", optimizer, 0, 9, {"cycles": 2})


def problem():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))


def descend(model, optimizer, steps=30):
    torch.manual_seed(1)
    x, y = torch.randn(64, 6), torch.randint(0, 3, (64,))
    losses = []
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 1e-2, "scale_parameter": False, "relative_step": False},
        {},
        {"warmup_init": True},
        {"lr": 1e-2, "relative_step": False, "beta1": 0.9, "weight_decay": 0.1, "clip_threshold": 0.5},
    ],
    ids=str,
)
def test_adafactor(options):
    from transformers.optimization import Adafactor as Theirs

    from enfold import Adafactor

    ours, theirs = problem(), problem()
    got = descend(ours, Adafactor(ours.parameters(), **options))
    assert got == pytest.approx(descend(theirs, Theirs(theirs.parameters(), **options)), rel=1e-4)


def test_lion_by_its_definition():
    model = problem()
    copy = problem()
    optimizer = Lion(model.parameters(), lr=1e-2, betas=(0.9, 0.99), weight_decay=0.1)
    momenta = [torch.zeros_like(p) for p in copy.parameters()]
    torch.manual_seed(1)
    x, y = torch.randn(64, 6), torch.randint(0, 3, (64,))
    for _ in range(5):
        for net in (model, copy):
            net.zero_grad()
            torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        with torch.no_grad():
            for p, m in zip(copy.parameters(), momenta, strict=True):
                p -= 1e-2 * (torch.sign(0.9 * m + 0.1 * p.grad) + 0.1 * p)
                m.mul_(0.99).add_(p.grad, alpha=0.01)
    for ours, theirs in zip(model.parameters(), copy.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_muon_is_torchs_for_matrices_and_adamw_for_the_rest():
    model, copy = problem(), problem()
    groups = [
        {"params": [p for p in model.parameters() if p.ndim == 2], "matrices": True, "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim == 1]},
    ]
    ours = descend(model, Muon(groups, lr=1e-2))
    matrices = torch.optim.Muon(
        [p for p in copy.parameters() if p.ndim == 2], lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    )
    rest = torch.optim.AdamW([p for p in copy.parameters() if p.ndim == 1], lr=1e-2, weight_decay=0.0)

    class Both:
        def zero_grad(self):
            matrices.zero_grad()
            rest.zero_grad()

        def step(self):
            matrices.step()
            rest.step()

    assert ours == pytest.approx(descend(copy, Both()), rel=1e-6)


@pytest.mark.parametrize("kind", ["lion_32bit", "muon", "adafactor", "adamw_torch_fused", "sgd", "rmsprop", "adagrad"])
def test_optimisers_go_on_where_they_stopped(kind, classifier):
    """By way of `state_dict`: the same weights as without a stop."""
    args = TrainingArguments("unused", optim=kind, learning_rate=1e-3, weight_decay=0.1)
    batch = {"input_ids": torch.tensor([[1, 2, 3]]), "labels": torch.tensor([1])}

    def moves(model, optimizer, count):
        for _ in range(count):
            optimizer.zero_grad()
            model(**batch).loss.backward()
            optimizer.step()

    whole = little.load_classifier(classifier).eval()
    moves(whole, make_optimizer(whole, args), 6)
    first = little.load_classifier(classifier).eval()
    optimizer = make_optimizer(first, args)
    moves(first, optimizer, 3)
    second = little.load_classifier(classifier).eval()
    second.load_state_dict(first.state_dict())
    again = make_optimizer(second, args)
    again.load_state_dict(optimizer.state_dict())
    moves(second, again, 3)
    assert little.same_weights(whole, second)


def test_vectors_do_not_decay(classifier):
    theirs = transformers.BertForSequenceClassification.from_pretrained(classifier)
    decays = set(
        transformers.Trainer(
            theirs, transformers.TrainingArguments("unused", report_to="none", use_cpu=True)
        ).get_decay_parameter_names(theirs)
    )
    groups = weight_groups(little.load_classifier(classifier), 0.1)
    sizes = [sorted(tuple(p.shape) for p in group["params"]) for group in groups]
    named = dict(theirs.named_parameters())
    assert sizes[0] == sorted(tuple(named[name].shape) for name in decays)
    assert sizes[1] == sorted(tuple(p.shape) for name, p in named.items() if name not in decays)


# Collators


@pytest.fixture(scope="module", params=["right", "left"])
def tokenizers(request, tmp_path_factory):
    """(ours, theirs)."""
    import enfold

    folder = tmp_path_factory.mktemp("vocabulary")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *["a", "b", "c", "d", "e", "##f", "##g"]]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    ours = enfold.BertTokenizerFast.from_pretrained(folder, padding_side=request.param)
    return ours, transformers.BertTokenizerFast(str(folder / "vocab.txt"), padding_side=request.param)


def encoded(tokenizer, texts=("a b c", "d", "a b c d ef")):
    return [dict(tokenizer(text)) for text in texts]


def equal(got, expected):
    assert set(got) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(torch.as_tensor(got[name]), torch.as_tensor(tensor)), name


def test_padding(tokenizers):
    ours, theirs = tokenizers
    for options in ({}, {"pad_to_multiple_of": 8}, {"padding": "max_length", "max_length": 12}):
        rows = [{**row, "label": number} for number, row in enumerate(encoded(ours))]
        equal(
            collators.DataCollatorWithPadding(ours, **options)(rows),
            transformers.DataCollatorWithPadding(theirs, **options)(rows),
        )


def test_token_classification(tokenizers):
    ours, theirs = tokenizers
    rows = [{**row, "labels": list(range(len(row["input_ids"])))} for row in encoded(ours)]
    equal(
        collators.DataCollatorForTokenClassification(ours)(rows),
        transformers.DataCollatorForTokenClassification(theirs)(rows),
    )
    rows[0]["labels"] = rows[0]["labels"] * 3
    with pytest.raises(ArgumentError, match="each token needs one label"):
        collators.DataCollatorForTokenClassification(ours)(rows)


def test_seq2seq(tokenizers):
    ours, theirs = tokenizers

    class Model:
        def prepare_decoder_input_ids_from_labels(self, labels):
            return torch.roll(labels, 1)

    for options in ({}, {"pad_to_multiple_of": 8}, {"model": Model()}, {"padding": "max_length", "max_length": 12}):
        rows = [{**row, "labels": [5] * (2 + 3 * number)} for number, row in enumerate(encoded(ours))]
        equal(
            collators.DataCollatorForSeq2Seq(ours, **options)(rows),
            transformers.DataCollatorForSeq2Seq(theirs, **options)(rows),
        )


def test_multiple_choice(tokenizers):
    ours, theirs = tokenizers
    rows = []
    for number in range(2):
        both = [dict(ours(text)) for text in ("a b", "c d e a")]
        rows.append({name: [one[name] for one in both] for name in both[0]} | {"label": number})
    equal(
        collators.DataCollatorForMultipleChoice(ours)([dict(row) for row in rows]),
        transformers.DataCollatorForMultipleChoice(theirs)([dict(row) for row in rows]),
    )


def test_stacking():
    rows = [
        {"x": [1, 2], "y": torch.ones(2), "name": "a", "label": 1},
        {"x": [3, 4], "y": torch.ones(2), "name": "b", "label": 0},
    ]
    equal(collators.default_data_collator(rows), transformers.default_data_collator(rows))
    rows = [{"x": [1.5], "label_ids": [1, 2]}, {"x": [2.5], "label_ids": [1, 3]}]
    equal(collators.default_data_collator(rows), transformers.default_data_collator(rows))
    with pytest.raises(ArgumentError, match="'x' can't be stacked"):
        collators.default_data_collator([{"x": [1]}, {"x": [1, 2]}])


def test_flattening():
    rows = little.rows(3, length=None, labels=False)
    got = collators.DataCollatorWithFlattening()(rows)
    expected = transformers.DataCollatorWithFlattening()(rows)
    for name in ("input_ids", "labels", "position_ids"):
        assert torch.equal(got[name], expected[name]), name
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    assert torch.equal(got["sequence_ids"][0], torch.arange(3).repeat_interleave(lengths))


def test_causal_language_modelling(tokenizers):
    ours, theirs = tokenizers
    rows = encoded(ours)
    equal(
        collators.DataCollatorForLanguageModeling(ours, mlm=False)(rows),
        transformers.DataCollatorForLanguageModeling(theirs, mlm=False)(rows),
    )


def test_masked_language_modelling(tokenizers):
    ours, _ = tokenizers
    rows = encoded(ours, ["a b c d e " * 10] * 200)
    collate = collators.DataCollatorForLanguageModeling(ours, mlm_probability=0.3, seed=0)
    batch = collate(rows)
    ids = torch.tensor([row["input_ids"] for row in rows])
    chosen = batch["labels"] != -100
    assert torch.equal(batch["labels"][chosen], ids[chosen])
    words = ids > 4
    assert not chosen[~words].any()
    assert float(chosen[words].float().mean()) == pytest.approx(0.3, abs=0.02)
    hidden = batch["input_ids"] == ours.mask_token_id
    assert not (hidden & ~chosen).any()
    assert float(hidden[chosen].float().mean()) == pytest.approx(0.8, abs=0.02)
    assert torch.equal(batch["input_ids"][~chosen], ids[~chosen])
    again = collators.DataCollatorForLanguageModeling(ours, mlm_probability=0.3, seed=0)
    equal(again(rows), batch)


def test_whole_words_are_hidden(tokenizers):
    ours, _ = tokenizers
    rows = encoded(ours, ["afg b cf dgg e"] * 100)
    for row in rows[:50]:
        row["word_ids"] = [None, 0, 0, 0, 1, 2, 2, 3, 3, 3, 4, None]
    batch = collators.DataCollatorForWholeWordMask(ours, mlm_probability=0.4, seed=1)(rows)
    chosen = batch["labels"] != -100
    for columns in ([1, 2, 3], [5, 6], [7, 8, 9]):
        assert (chosen[:, columns] == chosen[:, columns[:1]]).all()
    assert 0.3 < float(chosen[:, 1:-1].float().mean()) < 0.5

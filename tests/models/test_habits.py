"""What people do with a torch module: copy, pickle, move, hook, wrap, freeze."""

import copy
import io
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from enfold.base.errors import ArgumentError
from enfold.nn.linear import Linear
from enfold.nn.modules import groups
from tests.models import moe_kin
from tests.models.pairs import error, fresh, fresh_theirs, inputs, labels, pair, right_mask
from tests.models.rows import ONE_EACH, Row
from tests.models.test_families import close

every_family = pytest.mark.parametrize("row", ONE_EACH, ids=str)
# Families whose q, k and v are modules of their own.
# Families whose projections of q, k and v are stored as one, or are others.
TOGETHER = {"gpt2", "phi3", "gpt_neox", "bloom", "falcon", "modernbert", "deepseek_v2", "deepseek_v3", "mamba"}
APART = [row for row in ONE_EACH if row.family not in TOGETHER]


@torch.no_grad()
def logits(model, row: Row) -> Tensor:
    return model(**inputs(row, right_mask())).logits


@every_family
def test_deep_copies_are_independent(row: Row):
    model = fresh(row)
    before = logits(model, row)
    copied = copy.deepcopy(model)
    assert torch.equal(logits(copied, row), before)
    assert all(group.joined() for group in groups(copied))
    assert all(group.owner in set(copied.modules()) for group in groups(copied))
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.mul_(1.5)
    assert torch.equal(logits(model, row), before)
    changed = logits(copied, row)
    assert not torch.equal(changed, before)
    loaded = fresh(row)
    loaded.load_state_dict(copied.state_dict())
    assert torch.equal(logits(loaded, row), changed)


@every_family
def test_pickles(row: Row):
    model = fresh(row)
    wanted = logits(model, row)
    assert torch.equal(logits(pickle.loads(pickle.dumps(model)), row), wanted)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    assert torch.equal(logits(torch.load(io.BytesIO(buffer.getvalue()), weights_only=False), row), wanted)
    config = pickle.loads(pickle.dumps(model.config))
    assert config == model.config
    assert config is not model.config


@every_family
@pytest.mark.parametrize("assign", [False, True])
def test_state_dictionaries(row: Row, assign: bool, tmp_path):
    model = fresh(row)
    wanted = logits(model, row)
    save_file(model.state_dict() if not model.ties() else dict(model.named_parameters()), tmp_path / "x.safetensors")
    torch.save(model.state_dict(), tmp_path / "x.pt")
    state = torch.load(tmp_path / "x.pt", weights_only=True)
    assert load_file(tmp_path / "x.safetensors").keys() <= state.keys()
    other = type(model)(model.config)
    assert not torch.equal(logits(other, row), wanted)
    missing, unexpected = other.load_state_dict(state, assign=assign)
    assert not missing
    assert not unexpected
    assert torch.equal(logits(other, row), wanted)


@every_family
def test_moving_between_dtypes(row: Row):
    model = fresh(row)
    wanted = logits(model, row)
    assert model.to(torch.float64).dtype == torch.float64
    close(logits(model, row), wanted, 1e-5)
    assert all(group.joined() for group in groups(model))
    model.half()
    assert logits(model, row).dtype == torch.float16
    chooses = row.family in moe_kin.CONFIGURATIONS  # a rounded router may choose another expert
    if not chooses:
        close(logits(model, row).float(), wanted, 2e-2)
    model.to(torch.bfloat16)
    if not chooses:
        close(logits(model, row).float(), wanted, 1e-1)
    theirs = fresh_theirs(row).half()
    with torch.no_grad():
        answer = theirs(**inputs(row, right_mask())).logits
    close(answer.float()[0], wanted[0], 2e-2)


class LowRank(nn.Module):
    """An adapter as adapter libraries write it: the wrapped layer's attributes shine through."""

    def __init__(self, base: nn.Linear, rank: int = 2):
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)
        self.on = True

    @property
    def weight(self) -> Tensor:
        return self.base_layer.weight

    @property
    def bias(self) -> Tensor | None:
        return self.base_layer.bias

    def forward(self, x: Tensor) -> Tensor:
        y = self.base_layer(x)
        return y + self.lora_B(self.lora_A(x)) if self.on else y


def first_projection(model) -> tuple[nn.Module, str]:
    """An attention module, and the name of its projection of queries."""
    owners = [module for module in model.modules() if hasattr(module, "groups") and hasattr(module, "rules")]
    if not owners or not (hasattr(owners[0], "q") or hasattr(owners[0], "qkv")):  # a state space, or latent attention
        owner = model.stacks()[0].layers[0].attn.op
        return owner, next(name for name, module in owner.named_children() if type(module) is Linear)
    return owners[0], "q" if hasattr(owners[0], "q") else "qkv"


@every_family
def test_an_adapter_on_and_off(row: Row):
    model = fresh(row)
    before = logits(model, row)
    owner, name = first_projection(model)
    original = getattr(owner, name)
    adapter = LowRank(original)
    setattr(owner, name, adapter)
    with_adapter = logits(model, row)
    assert error(with_adapter, before) > 1e-3
    adapter.on = False
    close(logits(model, row), before, 1e-6)
    adapter.on = True
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for part in (adapter.lora_A, adapter.lora_B):
        part.weight.requires_grad_(True)
    given = inputs(row, right_mask())
    model(**given, **labels(row, given)).loss.backward()
    assert {n for n, p in model.named_parameters() if p.grad is not None} == {
        n for n, _ in model.named_parameters() if "lora_" in n
    }
    assert adapter.lora_B.weight.grad.any()
    if hasattr(model, "generate") and not row.seq2seq:
        tokens = model.generate(given["input_ids"][:1, :4], max_new_tokens=4)
        again = model.generate(given["input_ids"][:1, :4], max_new_tokens=4, use_cache=False)
        assert torch.equal(tokens, again)
    copied = copy.deepcopy(model)
    assert torch.equal(logits(copied, row), logits(model, row))
    with torch.no_grad():  # merged
        original.weight += adapter.lora_B.weight @ adapter.lora_A.weight
    setattr(owner, name, original)
    close(logits(model, row), with_adapter, 1e-5)


def attentions(model):
    return [module for module in model.modules() if hasattr(module, "rules")]


@pytest.mark.parametrize("row", APART, ids=str)
def test_hooks_on_single_projections_run(row: Row):
    """Joined projections must not hide a hook that somebody put on one of them."""
    model = fresh(row)
    before = logits(model, row)
    seen = []
    projection = attentions(model)[0].k
    hook = projection.register_forward_hook(lambda module, args, output: seen.append(output) or output * 0)
    assert not torch.equal(logits(model, row), before)
    assert len(seen) == (2 if row.family == "albert" else 1)  # ALBERT runs one layer at every depth
    hook.remove()
    hook = projection.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    assert not torch.equal(logits(model, row), before)
    hook.remove()
    assert torch.equal(logits(model, row), before)


@pytest.mark.parametrize("row", [row for row in ONE_EACH if row.family in ("bert", "distilbert")], ids=str)
def test_replaced_biases_are_seen(row: Row):
    model = fresh(row)
    before = logits(model, row)
    projection = attentions(model)[0].v
    old = projection.bias
    projection.bias = nn.Parameter(old.detach() + 1)
    changed = logits(model, row)
    assert error(changed, before) > 1e-3
    projection.bias = None
    assert not torch.equal(logits(model, row), changed)
    projection.bias = old
    assert torch.equal(logits(model, row), before)


@pytest.mark.parametrize("row", APART, ids=str)
def test_replaced_weights_are_seen(row: Row):
    model = fresh(row)
    before = logits(model, row)
    projection = attentions(model)[0].v
    with torch.no_grad():
        projection.weight.mul_(2)  # in place
        changed = logits(model, row)
        assert not torch.equal(changed, before)
        projection.weight.data = projection.weight.data / 2  # by another tensor
        close(logits(model, row), before, 1e-6)
        projection.weight = nn.Parameter(projection.weight.detach() * 2)  # by another parameter
        close(logits(model, row), changed, 1e-6)
        nn.utils.parametrizations.weight_norm(projection)
        close(logits(model, row), changed, 1e-5)
        projection.parametrizations.weight.original0.mul_(0.5)
        close(logits(model, row), before, 1e-5)


def test_pruning_is_seen():
    row = next(row for row in ONE_EACH if row.family == "llama")
    from torch.nn.utils import prune

    model = fresh(row)
    before = logits(model, row)
    prune.l1_unstructured(attentions(model)[0].q, "weight", 0.9)
    assert not torch.equal(logits(model, row), before)


@every_family
def test_a_projection_of_another_class(row: Row):
    """A quantised layer, say: whatever stands there is called."""

    class Twice(Linear):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    model = fresh(row)
    before = logits(model, row)
    owner, name = first_projection(model)
    old = getattr(owner, name)
    new = Twice(old.in_features, old.out_features, bias=old.bias is not None)
    new.load_state_dict(old.state_dict())
    setattr(owner, name, new)
    assert not torch.equal(logits(model, row), before)


@every_family
def test_frozen_parts_get_no_gradient(row: Row):
    model, given = fresh(row), inputs(row, right_mask())
    for parameter in model.get_input_embeddings().parameters():
        parameter.requires_grad_(False)
    model(**given, **labels(row, given)).loss.backward()
    assert model.get_input_embeddings().weight.grad is None
    assert model.num_parameters(only_trainable=True) < model.num_parameters()


@every_family
def test_sizes_as_the_reference_counts_them(row: Row):
    ours, theirs = pair(row).ours, pair(row).theirs
    for options in ({}, {"only_trainable": True}):
        assert ours.num_parameters(**options) == theirs.num_parameters(**options)


@every_family
def test_training_after_generating(row: Row):
    """What generation leaves behind (tables, caches) must be fit for gradients."""
    model, given = fresh(row), inputs(row, right_mask())
    if hasattr(model, "generate"):
        output = model.generate(
            given["input_ids"][:1], max_new_tokens=3, return_dict_in_generate=True, min_new_tokens=3
        )
        if not row.seq2seq:
            with torch.no_grad():
                after = model(output.sequences[:, -1:], past_key_values=output.past_key_values).logits[:, -1]
                whole = model(output.sequences).logits[:, -1]
            close(after, whole)
    with torch.inference_mode():
        model(**given)
    given |= labels(row, given)
    model(**given).loss.backward()
    wanted = fresh(row)
    wanted(**given).loss.backward()
    for a, b in zip(model.parameters(), wanted.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None)
        assert a.grad is None or torch.equal(a.grad, b.grad)


@pytest.mark.parametrize("row", [row for row in ONE_EACH if row.family in ("llama", "gpt2", "t5")], ids=str)
def test_training_a_copy_that_generated_first(row: Row):
    """A copy lays its weights out when it first runs, which may be in inference mode."""
    model, given = copy.deepcopy(fresh(row)), inputs(row, right_mask())
    model.generate(given["input_ids"][:1], max_new_tokens=3)
    model(**given | labels(row, given)).loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert not torch.equal(logits(model, row), logits(fresh(row), row))


@every_family
def test_many_threads(row: Row):
    """One model serves several threads: tables and layouts that are made on the way must not be seen half made."""
    from concurrent.futures import ThreadPoolExecutor

    wanted, given = logits(pair(row).ours, row), inputs(row, right_mask())

    def ask(model) -> Tensor:
        with torch.no_grad():
            return model(**given).logits

    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            for found in pool.map(ask, [copy.deepcopy(pair(row).ours)] * 16):
                assert torch.equal(found, wanted)


@pytest.mark.parametrize("pad", [-1, 99, 5000, None])
def test_padding_tokens_that_the_vocabulary_lacks(pad: int | None):
    row = next(row for row in ONE_EACH if row.family == "llama")
    model = fresh(row, pad_token_id=pad)
    assert torch.equal(logits(model, row), logits(pair(row).ours, row))
    assert type(model)(model.config).get_input_embeddings().weight.all()


def test_a_fresh_model_in_another_dtype():
    config = pair(ONE_EACH[2]).ours.config
    for dtype in (torch.bfloat16, "bfloat16"):
        assert type(pair(ONE_EACH[2]).ours).from_config(config, dtype=dtype).dtype == torch.bfloat16


@every_family
def test_every_attention_backend_by_name(row: Row):
    model = fresh(row)
    wanted = logits(model, row)
    capped = any(attention.spec.softcap for attention in attentions(model))
    if capped:
        with pytest.raises(ArgumentError, match="'sdpa' refuses: it has no cap for scores"):
            logits(fresh(row, attn_implementation="sdpa"), row)
    for name in ("eager", "plain", None) if capped else ("eager", "plain", "sdpa", None):
        model.set_attn_implementation(name)
        close(logits(model, row), wanted, 1e-5)
    close(logits(fresh(row, attn_implementation="eager"), row), wanted, 1e-5)


@every_family
def test_autocast(row: Row):
    model, given = fresh(row), inputs(row, right_mask())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(**given, **labels(row, given))
    output.loss.backward()
    if row.family not in moe_kin.CONFIGURATIONS:  # a rounded router may choose another expert
        close(output.logits.float(), logits(model, row), 0.1)
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in model.parameters())


@every_family
def test_common_questions(row: Row):
    model = pair(row).ours
    assert model.device == torch.device("cpu")
    assert model.dtype == torch.float32
    assert model.get_input_embeddings().num_embeddings == row.entries["vocab_size"]
    assert model.get_output_embeddings().out_features == row.entries["vocab_size"]
    theirs = pair(row).theirs
    if not row.seq2seq:
        assert getattr(model, theirs.base_model_prefix) is model.base_model
    assert model.name_or_path == str(pair(row).folder)

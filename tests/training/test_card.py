"""A card that tells what happened, and a repository that holds what the run made."""

import logging
import threading

import numpy as np
import pytest
from huggingface_hub import ModelCard
from huggingface_hub.errors import HfHubHTTPError

from enfold import TrainerCallback, TrainingArguments
from enfold.base.errors import HubError
from tests.hub.conftest import cache, hub  # noqa: F401
from tests.training import little


def accuracy(prediction):
    logits, labels = prediction
    return {"accuracy": float((np.argmax(logits, -1) == labels).mean())}


def trained(classifier, folder, **options):
    run = little.trainer(
        little.load_classifier(classifier),
        folder,
        little.rows(16),
        eval_dataset=little.rows(8, seed=1),
        compute_metrics=accuracy,
        **{"max_steps": 4, "logging_steps": 1, "eval_strategy": "steps", "eval_steps": 2, "optim": "sgd", **options},
    )
    run.train()
    return run


def rows_of(text, heading):
    """The cells of the table under a heading."""
    lines = text.split(f"## {heading}\n\n")[1].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_a_card_holds_what_happened(classifier, tmp_path):
    run = trained(classifier, tmp_path / "gardener", learning_rate=3e-4, gradient_accumulation_steps=2)
    run.create_model_card(
        language="de", license="mit", tags="gardens", dataset_tags="org/plants", dataset="Plants", dataset_args="small"
    )
    card = ModelCard.load(tmp_path / "gardener" / "README.md")
    data = card.data
    assert (data.language, data.license, data.library_name) == ("de", "mit", "transformers")
    assert data.tags == ["gardens", "enfold", "generated_from_trainer"]
    assert data.datasets == ["org/plants"]
    assert data.metrics == ["accuracy"]
    assert data.pipeline_tag == "text-classification"
    assert data.base_model is None  # a folder's path is nobody's business
    assert str(classifier) not in card.content
    evaluations = [entry for entry in run.state.log_history if "eval_accuracy" in entry]
    (result,) = data.eval_results
    assert (result.dataset_name, result.dataset_config, result.metric_type) == ("Plants", "small", "accuracy")
    assert result.metric_value == evaluations[-1]["eval_accuracy"]
    text = card.text.strip()
    assert text.startswith("# gardener\n\nA `BertForSequenceClassification` trained on Plants")
    results = dict(rows_of(text, "Results"))
    assert results["eval_loss"] == f"{evaluations[-1]['eval_loss']:.6g}"
    assert results["step"] == "4"
    arguments = dict(rows_of(text, "Arguments"))
    assert arguments["learning_rate"] == "0.0003"
    assert arguments["optim"] == "sgd"
    assert arguments["gradient_accumulation_steps"] == "2"
    assert arguments["lr_scheduler_type"] == "linear"
    assert "output_dir" not in arguments
    losses = {entry["step"]: entry["loss"] for entry in run.state.log_history if "loss" in entry}
    log = rows_of(text, "Log")
    assert [(row[0], row[2]) for row in log] == [(str(step), f"{losses[step]:.6g}") for step in (2, 4)]
    assert "4 steps (4 epochs) over 16 rows, 16 rows a step, 8 at once" in text


def test_a_card_inherits_from_its_base(classifier, tmp_path, hub):  # noqa: F811
    files = {path.name: path.read_bytes() for path in classifier.iterdir()}
    files["README.md"] = b"---\nlicense: apache-2.0\nlanguage: en\n---\n# base\n"
    hub.add("org/base", files)
    run = little.trainer(type(little.load_classifier(classifier)).from_pretrained("org/base"), tmp_path, None)
    run.create_model_card()
    asked = len(hub.requests)
    data = ModelCard.load(tmp_path / "README.md").data
    assert data.base_model == "org/base"
    assert data.license is None  # the base's card isn't in the cache, and nobody asked for the network
    from enfold.hub.files import resolve_file

    resolve_file("org/base", "README.md")
    asked = len(hub.requests)
    run.create_model_card()
    card = ModelCard.load(tmp_path / "README.md")
    assert (card.data.license, card.data.language) == ("apache-2.0", "en")
    assert "[org/base](https://huggingface.co/org/base), fine-tuned" in card.text
    assert len(hub.requests) == asked


def test_a_long_log_keeps_its_end():
    from enfold.training.card import _history

    history = [{"loss": 1.0 / step, "step": step, "epoch": step / 1000} for step in range(1, 5001)]
    table = _history(history).splitlines()
    assert len(table) <= 205
    assert table[-1].startswith("| 5000 |")


# Pushing


PUSHED = {"push_to_hub": True, "hub_token": "hf_good", "hub_model_id": "ada/gardener"}
WEIGHTS = {"config.json", "model.safetensors", "training_args.json", "README.md"}


def names(hub, repo="ada/gardener", branch="main"):  # noqa: F811
    held = hub.repos[repo]
    return set(held.commits[held.refs[branch]])


def test_the_end_is_pushed_when_the_model_is_saved(classifier, tmp_path, hub):  # noqa: F811
    run = trained(
        classifier, tmp_path, **PUSHED, hub_strategy="end", hub_private_repo=True, save_strategy="steps", save_steps=2
    )
    assert not hub.repos["ada/gardener"].commits
    run.save_model()
    assert names(hub) == WEIGHTS
    held = hub.repos["ada/gardener"]
    files = held.commits[held.refs["main"]]
    assert held.private
    assert files["model.safetensors"] == (tmp_path / "model.safetensors").read_bytes()
    assert ModelCard(files["README.md"].decode()).data.model_name == "gardener"
    assert b"hf_good" not in b"".join(files.values())
    assert run.hub_model_id == "ada/gardener"


@pytest.mark.parametrize(
    ("strategy", "folders"),
    [("every_save", []), ("checkpoint", ["last-checkpoint"]), ("all_checkpoints", ["checkpoint-2", "checkpoint-4"])],
)
def test_checkpoints_are_pushed_while_the_run_goes_on(classifier, tmp_path, hub, strategy, folders):  # noqa: F811
    told = []

    class Watching(TrainerCallback):
        def on_push_begin(self, args, state, control, **kwargs):
            told.append(state.global_step)

    run = trained(
        classifier,
        tmp_path,
        **PUSHED,
        hub_strategy=strategy,
        hub_always_push=True,
        save_strategy="steps",
        save_steps=2,
        save_total_limit=1,
        hub_revision="runs",
        callbacks=[Watching],
    )
    assert told == [2, 4]
    found = names(hub, branch="runs")
    assert {name for name in found if "/" not in name} == WEIGHTS
    assert {name.split("/")[0] for name in found if "/" in name} == set(folders)
    held = hub.repos["ada/gardener"]
    files = held.commits[held.refs["runs"]]
    assert files["model.safetensors"] == (tmp_path / "checkpoint-4" / "model.safetensors").read_bytes()
    assert dict(rows_of(ModelCard(files["README.md"].decode()).text, "Results"))["step"] == "4"
    assert not list(tmp_path.glob(".push-*"))
    if folders:  # another machine goes on from it
        back = tmp_path / "back"
        for name, data in files.items():
            if name.startswith(f"{folders[-1]}/"):
                (back / name).parent.mkdir(parents=True, exist_ok=True)
                (back / name).write_bytes(data)
        again = little.trainer(
            little.load_classifier(classifier), tmp_path / "again", little.rows(16), max_steps=6, optim="sgd"
        )
        assert again.train(resume_from_checkpoint=str(back / folders[-1])).global_step == 6
    assert run.state.global_step == 4


def test_a_push_that_takes_long_is_not_waited_for(classifier, tmp_path, hub):  # noqa: F811
    started, go_on = threading.Event(), threading.Event()

    def slow(repo):
        started.set()
        assert go_on.wait(20)

    hub.before_commit.append(slow)
    steps = []

    class Watching(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            steps.append(state.global_step)
            if state.global_step == 3:
                assert started.wait(20)

        def on_save(self, args, state, control, **kwargs):
            if state.global_step == 4:
                go_on.set()  # step 4 is saved, and its push was left out

    trained(classifier, tmp_path, **PUSHED, save_strategy="steps", save_steps=2, callbacks=[Watching])
    assert steps == [1, 2, 3, 4]
    held = hub.repos["ada/gardener"]
    files = held.commits[held.refs["main"]]
    assert files["model.safetensors"] == (tmp_path / "checkpoint-2" / "model.safetensors").read_bytes()


def test_a_hub_that_fails_does_not_end_the_run(classifier, tmp_path, hub, caplog):  # noqa: F811
    class Breaking(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            hub.answer_all = (403, b"{}")

    logger = logging.getLogger("enfold.training")
    logger.addHandler(caplog.handler)
    try:
        run = trained(classifier, tmp_path, **PUSHED, save_strategy="steps", save_steps=4, callbacks=[Breaking])
    finally:
        logger.removeHandler(caplog.handler)
    assert run.state.global_step == 4
    assert "was not pushed to ada/gardener" in caplog.text
    with pytest.raises((HubError, HfHubHTTPError)):
        run.push_to_hub()


def test_a_wrong_token_is_known_before_the_run(classifier, tmp_path, hub):  # noqa: F811
    with pytest.raises(HubError):
        little.trainer(little.load_classifier(classifier), tmp_path, None, **{**PUSHED, "hub_token": "hf_bad"})


def test_push_by_hand(classifier, tmp_path, hub):  # noqa: F811
    run = trained(classifier, tmp_path / "gardener", save_strategy="steps", save_steps=2, hub_token="hf_good")
    assert not hub.repos
    address = run.push_to_hub("A garden", tags=["spring"], language="fr")
    assert address.startswith(f"{hub.url}/ada/gardener/commit/")
    assert names(hub) == WEIGHTS
    held = hub.repos["ada/gardener"]
    card = ModelCard(held.commits[held.refs["main"]]["README.md"].decode())
    assert card.data.language == "fr"
    assert "spring" in card.data.tags
    assert run.push_to_hub(blocking=False, revision="later").result().startswith(hub.url)
    assert names(hub, branch="later") == WEIGHTS


def test_arguments_without_a_push_touch_no_hub(tmp_path, hub):  # noqa: F811
    TrainingArguments(str(tmp_path), hub_model_id="ada/gardener")
    assert not hub.requests

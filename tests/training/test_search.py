"""Hyper-parameter search beside the reference's, and the small verbs of the trainer."""

import json

import optuna
import pytest
import transformers

import enfold
from enfold import TrainerCallback
from enfold.base.errors import ArgumentError
from tests.accelerate import launching
from tests.training import little
from tests.training.searches import searcher

optuna.logging.set_verbosity(optuna.logging.ERROR)


def space(trial):
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True),
        "per_device_train_batch_size": trial.suggest_categorical("per_device_train_batch_size", [4, 8]),
        "label_smoothing_factor": trial.suggest_float("label_smoothing_factor", 0.0, 0.2),
    }


def test_beside_the_reference(classifier, tmp_path):
    theirs = transformers.Trainer(
        None,
        transformers.TrainingArguments(
            str(tmp_path / "t"),
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            save_strategy="no",
            max_steps=3,
            train_sampling_strategy="sequential",
        ),
        train_dataset=little.rows(16),
        eval_dataset=little.rows(8, seed=1),
        model_init=lambda: transformers.BertForSequenceClassification.from_pretrained(classifier),
    )

    def narrow(trial):  # label smoothing of a trial is a thing the reference accepts and leaves undone
        found = space(trial)
        return {name: found[name] for name in ("learning_rate", "per_device_train_batch_size")}

    def options():
        return {"hp_space": narrow, "n_trials": 3, "sampler": optuna.samplers.RandomSampler(seed=5)}

    expected = theirs.hyperparameter_search(**options())
    run = searcher(classifier, tmp_path / "o")
    found = run.hyperparameter_search(**options())
    assert isinstance(found, enfold.BestRun)
    assert found.run_id == expected.run_id
    assert found.hyperparameters == expected.hyperparameters
    assert found.objective == pytest.approx(expected.objective, rel=1e-3)
    assert run.args.learning_rate == 5e-5  # the trainer keeps its own
    assert run.args.output_dir == str(tmp_path / "o")


def test_each_trial_has_its_arguments_and_its_folder(classifier, tmp_path):
    seen = []

    class Watching(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            seen.append((args, state.is_hyper_param_search, state.trial_name, state.trial_params))

    run = searcher(classifier, tmp_path, report_to="csv", callbacks=[Watching], save_strategy="steps", save_steps=3)
    run.hyperparameter_search(space, n_trials=2, hp_name=lambda trial: f"try{trial.number}")
    assert [name for _, _, name, _ in seen] == ["try0", "try1"]
    for args, searching, name, values in seen:
        assert searching
        assert values["learning_rate"] == args.learning_rate
        assert args.output_dir == str(tmp_path / name)
        assert (tmp_path / name / "log.csv").is_file()
        state = json.loads((tmp_path / name / "checkpoint-3" / "trainer_state.json").read_text())
        assert state["trial_params"] == values
    run.train()
    assert not run.state.is_hyper_param_search


def test_smoothing_of_a_trial_is_in_its_loss(classifier, tmp_path):
    losses = {}

    def objective(metrics):
        losses[run.args.label_smoothing_factor] = run.state.log_history[0]["loss"]
        return metrics["eval_loss"]

    run = searcher(classifier, tmp_path, logging_steps=1)
    run.hyperparameter_search(
        lambda trial: {"label_smoothing_factor": trial.suggest_categorical("label_smoothing_factor", [0.0, 0.5])},
        objective,
        n_trials=2,
        sampler=optuna.samplers.GridSampler({"label_smoothing_factor": [0.0, 0.5]}),
    )
    assert len(set(losses.values())) == 2
    assert run.label_smoother is None


def test_hopeless_trials_are_given_up(classifier, tmp_path):
    scores = {0: [1.0, 1.0, 1.0], 1: [5.0, 5.0, 5.0], 2: [0.5, 0.5, 0.5]}
    trials, steps, ends = [], {}, []

    class Watching(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            steps[state.trial_name] = state.global_step

        def on_train_end(self, args, state, control, **kwargs):
            ends.append(state.trial_name)

    run = searcher(classifier, tmp_path, eval_strategy="steps", eval_steps=1, callbacks=[Watching])
    best = run.hyperparameter_search(
        lambda trial: trials.append(trial) or {"seed": trial.suggest_int("seed", 0, 9)},
        lambda metrics: scores[trials[-1].number][run.state.global_step - 1],
        n_trials=3,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0),
    )
    assert steps == {"run-0": 3, "run-1": 1, "run-2": 3}
    assert ends == ["run-0", "run-1", "run-2"]
    assert (best.run_id, best.objective) == ("2", 0.5)
    assert [trial.state.name for trial in best.run_summary.trials] == ["COMPLETE", "PRUNED", "COMPLETE"]


def test_several_directions_and_model_init_with_the_trial(classifier, tmp_path):
    given = []

    def make(trial):
        given.append(None if trial is None else trial.number)
        return little.load_classifier(classifier)

    run = little.trainer(None, tmp_path, little.rows(8), eval_dataset=little.rows(4), model_init=make, max_steps=1)
    points = iter([(1.0, 1.0), (2.0, 2.0), (0.5, 0.2)])
    found = run.hyperparameter_search(
        lambda trial: {"seed": trial.suggest_int("seed", 0, 9)},
        lambda metrics: next(points),
        n_trials=3,
        direction=["minimize", "maximize"],
        backend="optuna",
    )
    assert {(best.run_id, tuple(best.objective)) for best in found} == {
        ("0", (1.0, 1.0)),
        ("1", (2.0, 2.0)),
        ("2", (0.5, 0.2)),
    }
    assert given == [None, 0, 1, 2]


def test_two_processes_search_together(classifier, tmp_path):
    printed = launching.run(
        2, "tests.training.searches:search_in_this_process", str(classifier), str(tmp_path), timeout=120
    )
    first, second = (json.loads(text.splitlines()[-1]) for text in printed)
    assert (first[0], second[0]) == ("2", None)
    assert first[1] == second[1]
    assert {name: step for name, (step, _) in first[1].items()} == {"run-0": 3, "run-1": 1, "run-2": 3}


def test_the_default_objective():
    from enfold.training.searching import default_compute_objective

    speed = {"eval_runtime": 3.0, "eval_samples_per_second": 9.0, "epoch": 1.0}
    assert default_compute_objective({"eval_loss": 2.0, **speed}) == 2.0
    assert default_compute_objective({"eval_loss": 2.0, "eval_f1": 0.5, "eval_em": 0.25, **speed}) == 0.75


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "ray"}, "searches run on 'optuna'"),
        ({"n_jobs": 2}, "one model at a time"),
        ({"hp_space": lambda trial: {"learning_rat": 1.0}}, "no such argument"),
        ({"hp_space": lambda trial: {"bf16": True}}, "same for all trials"),
        ({"hp_space": lambda trial: {"learning_rate": -1.0}}, "learning_rate=-1.0"),
    ],
)
def test_searches_that_can_not_be_made(classifier, tmp_path, options, message):
    with pytest.raises(ArgumentError, match=message):
        searcher(classifier, tmp_path).hyperparameter_search(n_trials=1, **options)


def test_a_search_needs_model_init(classifier, tmp_path):
    run = little.trainer(little.load_classifier(classifier), tmp_path, little.rows(8), eval_dataset=little.rows(4))
    with pytest.raises(ArgumentError, match="model_init"):
        run.hyperparameter_search()


# The small verbs


METRICS = {"train_loss": 0.123456, "train_runtime": 3725.5, "epoch": 3.0, "train_mem_gpu_alloc_delta": 5 << 20}


def test_metrics_for_people_and_files(classifier, tmp_path, capsys):
    ours = little.trainer(little.load_classifier(classifier), tmp_path / "o", None)
    theirs = transformers.Trainer(
        transformers.BertForSequenceClassification.from_pretrained(classifier),
        transformers.TrainingArguments(str(tmp_path / "t"), report_to="none", use_cpu=True),
    )
    (tmp_path / "t").mkdir(exist_ok=True)
    assert ours.metrics_format(METRICS) == transformers.trainer_pt_utils.metrics_format(METRICS)
    capsys.readouterr()
    theirs.log_metrics("train", METRICS)
    expected = capsys.readouterr().out
    ours.log_metrics("train", METRICS)
    assert capsys.readouterr().out == expected
    for run in (ours, theirs):
        run.save_metrics("train", METRICS)
        run.save_metrics("eval", {"eval_loss": 1.0})
        run.save_metrics("test", {"test_loss": 1.0}, combined=False)
    for name in ("train", "eval", "test", "all"):
        written = json.loads((tmp_path / "o" / f"{name}_results.json").read_text())
        assert written == json.loads((tmp_path / "t" / f"{name}_results.json").read_text())


def test_groups_of_weights(classifier, tmp_path):
    ours = little.trainer(little.load_classifier(classifier), tmp_path, None, weight_decay=0.1)
    theirs = transformers.Trainer(
        transformers.BertForSequenceClassification.from_pretrained(classifier),
        transformers.TrainingArguments(str(tmp_path), report_to="none", use_cpu=True),
    )
    decayed = {
        tuple(p.shape)
        for n, p in theirs.model.named_parameters()
        if n in theirs.get_decay_parameter_names(theirs.model)
    }
    names = ours.get_decay_parameter_names(ours.model)
    assert len(names) == len(theirs.get_decay_parameter_names(theirs.model))
    weights = dict(ours.model.named_parameters())
    assert {tuple(weights[name].shape) for name in names} == decayed
    with pytest.raises(ArgumentError, match="no optimiser yet"):
        ours.get_optimizer_group()
    ours.create_optimizer()
    for name, weight in weights.items():
        assert ours.get_optimizer_group(weight)["weight_decay"] == (0.1 if name in names else 0.0)

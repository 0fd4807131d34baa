"""Searches, for tests and for the processes that they start."""

import json
from pathlib import Path

from enfold import TrainerCallback
from tests.training import little


def searcher(classifier, folder, **options):
    return little.trainer(
        None,
        folder,
        little.rows(16),
        eval_dataset=little.rows(8, seed=1),
        model_init=lambda: little.load_classifier(classifier),
        **{"train_sampling_strategy": "sequential", "max_steps": 3, **options},
    )


def search_in_this_process(model, output):
    """One of two processes: the trials are the first one's, a hopeless one ends in both."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    scores = [1.0, 5.0, 0.5]
    steps = {}

    class Watching(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            steps[state.trial_name] = [state.global_step, args.seed]

    run = searcher(model, Path(output), eval_strategy="steps", eval_steps=1, callbacks=[Watching])
    best = run.hyperparameter_search(
        lambda trial: {"seed": trial.suggest_int("seed", 0, 1000)},
        lambda metrics: scores[int(run.state.trial_name[-1])],
        n_trials=3,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1),
    )
    print(json.dumps([None if best is None else best.run_id, steps]))

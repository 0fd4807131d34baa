"""A model card: what a model came from, and the arguments and results of the run that made it."""

import dataclasses
import json
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import enfold
from enfold.base.errors import EnfoldError

if TYPE_CHECKING:
    from enfold.training.trainer import Trainer

NAME = "README.md"
MOST_LINES = 200  # of the tables of losses
_SPEED = ("_runtime", "_per_second")
# Arguments that say nothing about the model: where the run wrote, and whom it told.
_ELSEWHERE = (
    "do_train do_eval do_predict output_dir logging_strategy logging_steps logging_first_step report_to run_name "
    "project disable_tqdm resume_from_checkpoint save_strategy save_steps save_total_limit save_only_model "
    "push_to_hub hub_model_id hub_strategy hub_token hub_private_repo hub_revision hub_always_push "
    "dataloader_num_workers dataloader_pin_memory dataloader_prefetch_factor"
)
# Always shown, whether or not they are the defaults.
_TELLING = (
    "learning_rate lr_scheduler_type warmup_steps optim adam_beta1 adam_beta2 adam_epsilon weight_decay max_grad_norm "
    "per_device_train_batch_size gradient_accumulation_steps num_train_epochs max_steps seed"
)
# Metrics that hubs know by these names.
_METRICS = {"accuracy", "bleu", "cer", "exact_match", "f1", "matthews_correlation", "mse", "pearsonr", "perplexity"}
_METRICS |= {"precision", "recall", "rouge", "rouge1", "rouge2", "rougeL", "rougeLsum", "sacrebleu", "spearmanr", "wer"}


# Heads without a pipeline, and what hubs call their task.
_UNSERVED = {
    "image-classification": "image-classification",
    "ctc": "automatic-speech-recognition",
    "audio-classification": "audio-classification",
}


def _listed(value: str | Sequence[str] | None) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a person may say about the model; what is left out follows from the trainer where it can."""

    language: str | list[str] | None = None
    license: str | None = None
    tags: str | list[str] | None = None
    model_name: str | None = None
    finetuned_from: str | None = None
    tasks: str | list[str] | None = None
    dataset_tags: str | list[str] | None = None
    dataset: str | list[str] | None = None
    dataset_args: str | list[str] | None = None


def model_card(trainer: "Trainer", facts: Facts) -> str:
    """The card's text: YAML metadata, then Markdown."""
    base = facts.finetuned_from or _origin(trainer.model)
    name = facts.model_name or Path(trainer.args.output_dir).absolute().name
    inherited = _card_of(base)
    results = last_results(trainer.state.log_history)
    datasets = _listed(facts.dataset) or _listed(facts.dataset_tags) or _dataset_names(trainer)
    header = _metadata(trainer, facts, name, base, inherited, results)
    parts = [
        f"---\n{header}\n---",
        f"# {name}",
        _opening(trainer, base, datasets),
        "## Results\n\n" + _table(["metric", "value"], results.items()) if results else "",
        "## Training",
        _procedure(trainer),
        "### Arguments\n\n" + _table(["argument", "value"], _arguments(trainer).items()),
        _history(trainer.state.log_history),
        "### Versions\n\n" + _table(["package", "version"], _versions()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def last_results(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The last value of each evaluation metric."""
    found: dict[str, Any] = {}
    for entry in history:
        evaluated = {n: v for n, v in entry.items() if n.startswith(("eval_", "test_")) and not n.endswith(_SPEED)}
        if evaluated:
            found |= {**evaluated, "epoch": entry["epoch"], "step": entry["step"]}
    return found


def _metadata(
    trainer: "Trainer", facts: Facts, name: str, base: str | None, inherited: dict[str, Any], results: dict[str, Any]
) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    tasks = _listed(facts.tasks) or _listed(_task(trainer.model))
    tags = [*_listed(facts.tags), *_listed(getattr(trainer.model, "model_tags", None)), "enfold"]
    tags += ["generated_from_trainer"]
    measured = {n.removeprefix("eval_"): v for n, v in results.items() if n.startswith("eval_") and _is_number(v)}
    known = {n: v for n, v in measured.items() if n in _METRICS}
    datasets = _listed(facts.dataset_tags)
    evaluations = None
    # Hubs refuse a result without task, data set and metric.
    if tasks and datasets and known:
        names = _listed(facts.dataset) or datasets
        options = _listed(facts.dataset_args)
        evaluations = [
            EvalResult(
                task_type=tasks[0],
                dataset_type=datasets[0],
                dataset_name=names[0],
                dataset_config=options[0] if options else None,
                metric_type=metric,
                metric_name=metric,
                metric_value=value,
            )
            for metric, value in known.items()
        ]
    card = ModelCardData(
        language=facts.language or inherited.get("language"),
        license=facts.license or inherited.get("license"),
        license_name=None if facts.license else inherited.get("license_name"),
        license_link=None if facts.license else inherited.get("license_link"),
        # The files are those of the reference library, and hubs tell by this name how to load them.
        library_name="transformers" if hasattr(trainer.model, "save_pretrained") else "enfold",
        base_model=base,
        datasets=datasets or None,
        metrics=list(known) or None,
        pipeline_tag=tasks[0] if tasks else None,
        tags=list(dict.fromkeys(tags)),
        model_name=name,
        eval_results=evaluations,
    )
    return card.to_yaml().strip()


def _opening(trainer: "Trainer", base: str | None, datasets: list[str]) -> str:
    data = f" on {', '.join(datasets)}" if datasets else ""
    if base is None:
        return f"A `{type(trainer.model).__name__}` trained{data} with enfold."
    return f"[{base}](https://huggingface.co/{base}), fine-tuned{data} with enfold."


def _procedure(trainer: "Trainer") -> str:
    state, args = trainer.state, trainer.args
    rows = f"{len(trainer.train_dataset):,} rows" if hasattr(trainer.train_dataset, "__len__") else "a stream of rows"
    batch = (state.train_batch_size or args.per_device_train_batch_size) * trainer.accelerator.data_processes
    sentence = f"{state.global_step:,} steps ({state.epoch:.4g} epochs) over {rows}"
    if (whole := args.per_device_train_batch_size * args.gradient_accumulation_steps) and state.global_step:
        sentence += f", {whole * trainer.accelerator.data_processes} rows a step, {batch} at once"
    learning = trainer.get_num_trainable_parameters()
    total = sum(p.numel() for p in trainer.model.parameters())
    share = f"all {total:,} weights" if learning == total else f"{learning:,} of {total:,} weights"
    if trainer.accelerator.num_processes > 1:
        sentence += f", on {trainer.accelerator.num_processes} processes"
    sentence += f"; {share} learnt."
    if state.best_metric is not None:
        sentence += (
            f" The best {args.metric_for_best_model}, {_short(state.best_metric)}, was that of step "
            f"{state.best_global_step}"
            + (", whose weights these are." if args.load_best_model_at_end and _ended(state.log_history) else ".")
        )
    return sentence


def _ended(history: list[dict[str, Any]]) -> bool:
    return any("train_runtime" in entry for entry in history)


def _arguments(trainer: "Trainer") -> dict[str, Any]:
    """The telling ones, and all others that differ from their defaults."""
    args = trainer.args
    defaults = dataclasses.asdict(type(args)())  # type: ignore[call-overload]
    held = {name: value for name, value in args.to_dict().items() if name not in _ELSEWHERE.split()}
    if args.max_steps <= 0:
        held.pop("max_steps")
    shown = {name: held[name] for name in _TELLING.split() if name in held}
    return shown | {name: value for name, value in held.items() if value != defaults[name]}


def _history(history: list[dict[str, Any]]) -> str:
    """Evaluations with the training loss before each; where there were none, the losses alone."""
    lines: list[dict[str, Any]] = []
    loss: Any = ""
    evaluated = any("eval_loss" in entry or any(n.startswith("eval_") for n in entry) for entry in history)
    for entry in history:
        loss = entry.get("loss", loss)
        kept = {n: v for n, v in entry.items() if n.startswith("eval_") and not n.endswith(_SPEED)}
        if kept or (not evaluated and "loss" in entry):
            lines.append({"step": entry["step"], "epoch": entry["epoch"], "loss": loss, **kept})
    if not lines:
        return ""
    names = list(dict.fromkeys(name for line in lines for name in line))
    # Long runs: every so many lines, and always the last.
    every = -(-len(lines) // MOST_LINES)
    shown = [line for at, line in enumerate(lines) if (len(lines) - 1 - at) % every == 0]
    return "### Log\n\n" + _table(names, ([line.get(name, "") for name in names] for line in shown))


def _versions() -> list[tuple[str, str]]:
    import torch

    return [("enfold", enfold.__version__), ("torch", torch.__version__), ("Python", platform.python_version())]


def _table(names: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    lines = [list(names), ["---"] * len(names), *([_short(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = json.dumps(value, default=str) if isinstance(value, dict | list) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _origin(model: Any) -> str | None:
    """The repository that the model was loaded from; a folder's path is nobody's business."""
    from enfold.hub.ids import local_folder

    name = getattr(model, "name_or_path", "")
    try:
        return None if not name or local_folder(name) is not None or name.count("/") > 1 else name
    except EnfoldError:
        return None


def _card_of(base: str | None) -> dict[str, Any]:
    """The metadata of the base model's card, if the cache holds it; the network isn't asked."""
    if base is None:
        return {}
    from huggingface_hub import ModelCard

    from enfold.hub.files import resolve_file

    try:
        path = resolve_file(base, NAME, local_files_only=True, required=False)
        return {} if path is None else ModelCard.load(path).data.to_dict()
    except (EnfoldError, ValueError):
        return {}  # not in the cache, or a header that is no YAML


def _dataset_names(trainer: "Trainer") -> list[str]:
    """What the data set was loaded from; the name of a format is none."""
    for rows in (trainer.train_dataset, trainer.eval_dataset):
        info = getattr(rows, "info", None)
        name = getattr(info, "dataset_name", None)
        if name and name not in (getattr(info, "builder_name", None), "generator"):
            return [name]
    return []


def _task(model: Any) -> str | None:
    from enfold.pipelines.checks import head_of
    from enfold.pipelines.registry import task_of_head

    head = head_of(model) if hasattr(model, "save_pretrained") else None
    return None if head is None else task_of_head(head) or _UNSERVED.get(head)

"""`pipeline(…)`: a task and a model's name → a pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from enfold.base.errors import ArgumentError, NotBuiltError
from enfold.base.logging import get_logger
from enfold.pipelines.registry import DEFAULT_TRANSLATIONS, PIPELINES, Task, find_task, task_of_head

if TYPE_CHECKING:
    import torch

    from enfold.pipelines.base import Pipeline

logger = get_logger(__name__)

# Arguments of the reference library for tasks that aren't built.
_PROCESSORS = ("feature_extractor", "image_processor", "video_processor", "processor")
# Options of loading that concern the tokenizer too.
_HUB_OPTIONS = ("cache_dir", "local_files_only", "subfolder", "gguf_file")


def pipeline(
    task: str | None = None,
    model: Any = None,
    config: Any = None,
    tokenizer: Any = None,
    *,
    revision: str | None = None,
    device: int | str | torch.device | None = None,
    device_map: Any = None,
    dtype: str | torch.dtype | None = None,
    torch_dtype: str | torch.dtype | None = None,
    token: str | bool | None = None,
    batch_size: int | None = None,
    model_kwargs: dict[str, Any] | None = None,
    trust_remote_code: bool | None = None,
    use_fast: bool | None = None,
    framework: str | None = None,
    num_workers: int | None = None,
    pipeline_class: type[Pipeline] | None = None,
    **options: Any,
) -> Pipeline:
    """Make a pipeline.

    Args:
        task: a name of `PIPELINES`, such as text-classification (sentiment-analysis), token-classification (ner) or
            translation_en_to_de; None takes the one that the model was made for.
        model: a repository id, a folder, or a model; None takes the task's default, and says which.
        config: a configuration (or where one is) instead of the model's own.
        tokenizer: a tokenizer, or where it is; by default the model's.
        revision: branch, tag or commit of the model's repository.
        device: where to run: "cpu", "cuda", "cuda:1", a number, or -1 for the CPU. By default a GPU if there is one;
            a model that is handed over stays where it is.
        device_map: "auto", "cuda", …; instead of `device`.
        dtype: of the weights: a torch dtype, its name, or "auto" (the checkpoint's, and the default). `torch_dtype` is
            the older name.
        token: access token of the hub.
        batch_size: sequences in one forward pass, at most; None lets the number of tokens decide.
        model_kwargs: further arguments of the model's `from_pretrained` (`cache_dir`, `attn_implementation`, …).
        trust_remote_code: code of a repository is never run, so True is refused.
        use_fast, framework, num_workers: accepted and without effect: there is one engine, torch, and no worker.
        pipeline_class: a subclass of the task's pipeline to make instead.
        options: the task's options, as defaults of every call.

    Raises:
        ArgumentError: an unknown task or option (the nearest is named), or arguments that contradict each other.
        NotBuiltError: a task of the reference library that isn't built yet.
        WeightsMismatchError: the checkpoint lacks weights that the task reads.
        HubError, ConfigError, CheckpointError, TokenizerError: the model or its tokenizer can't be loaded.
    """
    _refuse(trust_remote_code, framework, options)
    if model is None and task is None:
        raise ArgumentError(f"pipeline needs a task or a model; tasks are {', '.join(sorted(PIPELINES))}")
    if model is None and (tokenizer is not None or config is not None):
        raise ArgumentError("pipeline got a tokenizer or a config without a model that it would belong to: name one")
    known: Task | None = None
    if task is not None:
        canonical, known = find_task(task)
        if model is None:
            if canonical == "translation" and task not in DEFAULT_TRANSLATIONS:
                raise ArgumentError(
                    f"{task} has no default model; {', '.join(sorted(DEFAULT_TRANSLATIONS))} have one: pass model="
                )
            model, revision = default_model(canonical, known, revision, model_kwargs or {})
    loading = _loading(revision, token, dtype, torch_dtype, model_kwargs)
    config = _config(config, loading)
    named = isinstance(model, (str, Path))
    if known is None:
        canonical, known = _inferred(model, config, loading)
    chosen = pipeline_class or known.load()
    if named:
        if device is None and device_map is None:
            device_map = loading.pop("device_map", "auto")
        place = {name: value for name, value in (("device", device), ("device_map", device_map)) if value is not None}
        source, model = model, _load(known, model, config, loading | place)
    else:
        _refuse_loading(loading)
        source = getattr(model, "name_or_path", "")
        if device_map is not None:
            from enfold.models.load import target_device

            device = target_device(device, device_map)
    chosen = chosen.serving(model)
    from enfold.pipelines.checks import check_weights

    check_weights(model, task or canonical, chosen.unread, refuse=named)
    if tokenizer is None and not source:
        raise ArgumentError(
            f"{type(model).__name__} doesn't say where it came from, so its tokenizer can't be found: pass tokenizer="
        )
    hub = {name: loading[name] for name in ("token", *_HUB_OPTIONS) if name in loading}
    extras: dict[str, Any] = {}
    if source:
        revision_too = {"revision": loading["revision"]} if "revision" in loading else {}
        known_hub = {name: value for name, value in hub.items() if name != "gguf_file"} | revision_too
        extras = chosen.extras(source, known_hub if named else known_hub | {"local_files_only": True}, options)
    if tokenizer is None or isinstance(tokenizer, (str, Path)):
        if tokenizer is None and "revision" in loading:
            hub["revision"] = loading["revision"]
        tokenizer = _load_tokenizer(source if tokenizer is None else tokenizer, hub)
    return chosen(
        model,
        tokenizer,
        task=task or canonical,
        device=None if named else device,
        batch_size=batch_size,
        **extras,
        **options,
    )


def _refuse(trust_remote_code: bool | None, framework: str | None, options: dict[str, Any]) -> None:
    """Refuse what would be ignored otherwise."""
    if trust_remote_code:
        raise ArgumentError(
            "trust_remote_code=True: enfold never runs code from a repository. Leave it out; a model of a family that "
            "enfold knows needs none"
        )
    if framework not in (None, "pt"):
        raise ArgumentError(f"framework={framework!r}: pipelines run on torch, 'pt'")
    for name in _PROCESSORS:
        if options.pop(name, None) is not None:
            raise NotBuiltError(f"pipeline({name}=…): tasks over images, audio and video are not built yet")


def _loading(
    revision: str | None, token: Any, dtype: Any, torch_dtype: Any, model_kwargs: dict[str, Any] | None
) -> dict[str, Any]:
    """Arguments of `from_pretrained`, each said once.

    Raises:
        ArgumentError: twice, and not the same.
    """
    loading = dict(model_kwargs or {})
    said = {"dtype": dtype, "torch_dtype": torch_dtype, "model_kwargs['dtype']": loading.pop("dtype", None)}
    said["model_kwargs['torch_dtype']"] = loading.pop("torch_dtype", None)
    said = {name: value for name, value in said.items() if value is not None}
    if len({str(value).removeprefix("torch.") for value in said.values()}) > 1:
        raise ArgumentError("contradictory: " + ", ".join(f"{name}={value}" for name, value in said.items()))
    given = {"revision": revision, "token": token, "dtype": next(iter(said.values()), None)}
    for name, value in given.items():
        if value is None:
            continue
        if loading.get(name, value) != value:
            raise ArgumentError(f"{name}={value!r} contradicts model_kwargs[{name!r}]={loading[name]!r}")
        loading[name] = value
    return loading


def _refuse_loading(loading: dict[str, Any]) -> None:
    """A model that is there already has nothing to be loaded with."""
    if others := sorted(name for name, value in loading.items() if name != "token" and value != "auto"):
        raise ArgumentError(
            f"{', '.join(others)} say how to load a model, and one was handed over: load it that way, or pass its name"
        )


def _config(config: Any, loading: dict[str, Any]) -> Any:
    return _config_of(config, loading) if isinstance(config, (str, Path)) else config


def _load(task: Task, source: str | Path, config: Any, loading: dict[str, Any]) -> Any:
    from enfold.models.registry import model_class

    given = {} if config is None else {"config": config}
    config = _config_of(source, loading) if config is None else config
    return model_class(config.model_type, _head(task, config)).from_pretrained(source, **given, **loading)


def _head(task: Task, config: Any) -> str:
    """Of the heads that serve a task, the one that the repository was saved with, or else the first its family has."""
    from enfold.models.registry import family

    classes = family(config.model_type)[2]
    written = config.get("architectures") or ()
    able = [head for head in task.heads if head in classes]
    return next((head for head in able if classes[head] in written), able[0] if able else task.heads[0])


def _config_of(source: str | Path, loading: dict[str, Any]) -> Any:
    from enfold.models.auto import AutoConfig

    return AutoConfig.from_pretrained(
        source, **{n: loading[n] for n in ("revision", "token", *_HUB_OPTIONS) if n in loading}
    )


def _load_tokenizer(source: str | Path, hub: dict[str, Any]) -> Any:
    from enfold.tokenizers.auto import AutoTokenizer

    return AutoTokenizer.from_pretrained(source, **hub)


def _inferred(model: Any, config: Any, loading: dict[str, Any]) -> tuple[str, Task]:
    """The task that a model was made for, from its class or from the `architectures` of its configuration.

    Raises:
        ArgumentError: that can't be told.
    """
    from enfold.models.families import FAMILIES
    from enfold.pipelines.checks import head_of

    if isinstance(model, (str, Path)):
        if config is None:
            config = _config_of(model, loading)
        written = list(config.get("architectures") or ())
        heads = [
            head
            for _, _, classes in FAMILIES.values()
            for head, name in classes.items()
            if name in written[:1] and head != "pre-training"
        ]
        described = f"{model}, whose config.json names {', '.join(written) or 'no architecture'}"
    else:
        heads, described = [head_of(model)], f"a {type(model).__name__}"
    name = next((name for head in heads if head and (name := task_of_head(head))), None)
    if name is None:
        raise ArgumentError(f"no task was given, and none follows from {described}: tasks are {', '.join(PIPELINES)}")
    return name, PIPELINES[name]


def default_model(name: str, task: Task, revision: str | None, model_kwargs: dict[str, Any]) -> tuple[str, str | None]:
    """The task's default and the revision to take: the pinned commit, or what the cache holds of that repository."""
    from enfold.hub.cache import cached_snapshots, default_cache_dir

    cache = Path(model_kwargs.get("cache_dir") or default_cache_dir())
    if revision is None:
        here = [known for known in (task.revision, "main") if any(cached_snapshots(task.model, known, cache))]
        revision = here[0] if here else task.revision
    logger.warning(
        "no model was named for %s: took %s at revision %s. Name a model and a revision where it matters.",
        name,
        task.model,
        revision[:7] if revision == task.revision else revision,
    )
    return task.model, revision

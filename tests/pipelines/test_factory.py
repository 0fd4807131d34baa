import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from enfold.base.errors import ArgumentError, ConfigError, NotBuiltError, WeightsMismatchError
from enfold.models.auto import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification
from enfold.pipelines import PIPELINES, Pipeline, TextClassificationPipeline, pipeline
from enfold.pipelines import registry as registry_module
from enfold.pipelines.registry import NOT_BUILT, Task
from enfold.tokenizers.auto import AutoTokenizer

from .conftest import byte_level, same


def test_tasks(zoo):
    with pytest.raises(NotBuiltError, match="'image-to-text' is not built yet; built are conversational, feature-extr"):
        pipeline("image-to-text")
    with pytest.raises(ArgumentError, match="unknown task 'text-clasification'; did you mean 'text-classification'"):
        pipeline("text-clasification")
    with pytest.raises(ArgumentError, match="needs a task or a model"):
        pipeline()


def test_every_task_of_the_reference_is_known():
    from transformers.pipelines import REMOVED_TASKS, SUPPORTED_TASKS, TASK_ALIASES

    known = {*PIPELINES, *registry_module.ALIASES, *NOT_BUILT}
    assert {*SUPPORTED_TASKS, *TASK_ALIASES, *REMOVED_TASKS} <= known


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("bert", "feature-extraction"),
        ("bert-mlm", "fill-mask"),
        ("bert-class", "text-classification"),
        ("distilbert-tags", "token-classification"),
        ("gpt2", "text-generation"),
    ],
)
def test_the_task_follows_from_the_model(zoo, name, task):
    assert pipeline(model=zoo(name)).task == task
    model = pipeline(task, zoo(name)).model
    assert pipeline(model=model, tokenizer=zoo(name)).task == task


def test_models_and_tokenizers_at_hand(zoo, texts):
    folder = zoo("bert-class")
    wanted = pipeline("text-classification", folder)(texts)
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    same(pipeline("text-classification", model, tokenizer=tokenizer)(texts), wanted)
    same(pipeline("text-classification", model)(texts), wanted)  # it knows where it came from
    same(pipeline("text-classification", Path(folder), tokenizer=folder, config=folder)(texts), wanted)
    same(TextClassificationPipeline(model, tokenizer, top_k=1)(texts), [[answer] for answer in wanted])
    with pytest.raises(ArgumentError, match="its tokenizer can't be found: pass tokenizer="):
        pipeline("text-classification", type(model)(model.config))
    with pytest.raises(ArgumentError, match="without a model that it would belong to"):
        pipeline("text-classification", tokenizer=tokenizer)
    with pytest.raises(ArgumentError, match="revision say how to load a model, and one was handed over"):
        pipeline("text-classification", model, revision="main")


def test_a_default_is_taken_and_named(zoo, monkeypatch, caplog):
    made = Task("enfold.pipelines.fill_mask", "FillMaskPipeline", ("masked-lm",), zoo("bert-mlm"), "f" * 40)
    monkeypatch.setitem(PIPELINES, "fill-mask", made)
    monkeypatch.setattr("enfold.hub.cache.cached_snapshots", lambda repo, revision, cache: iter(()))
    with caplog.at_level(logging.WARNING, logger="enfold"):
        logging.getLogger("enfold").addHandler(caplog.handler)
        pipe = pipeline("fill-mask")
    logging.getLogger("enfold").removeHandler(caplog.handler)
    assert f"no model was named for fill-mask: took {zoo('bert-mlm')} at revision fffffff" in caplog.text
    assert pipe("Paris [MASK]")


def test_every_default_has_an_id_and_a_commit():
    for task in PIPELINES.values():
        assert task.model.count("/") == 1
        assert len(task.revision) == 40
        assert issubclass(task.load(), Pipeline)


def test_where_and_how(zoo):
    folder = zoo("bert")
    assert pipeline("feature-extraction", folder, device=-1).device == torch.device("cpu")
    assert pipeline("feature-extraction", folder, device_map="cpu", dtype="auto").dtype == torch.float32
    assert pipeline("feature-extraction", folder, torch_dtype=torch.bfloat16).dtype == torch.bfloat16
    assert pipeline("feature-extraction", folder, model_kwargs={"dtype": "float16"}).dtype == torch.float16
    pipe = pipeline("feature-extraction", folder, batch_size=7, use_fast=True, framework="pt", num_workers=2)
    assert pipe.batch_size == 7
    assert "BertModel" in repr(pipe)
    assert "float32" in repr(pipe)
    with pytest.raises(ArgumentError, match="device='cpu' and device_map='auto' were both given"):
        pipeline("feature-extraction", folder, device="cpu", device_map="auto")
    with pytest.raises(ArgumentError, match="were both given"):
        pipeline("feature-extraction", pipe.model, device="cpu", device_map="auto")
    with pytest.raises(ArgumentError, match="contradictory: dtype=float16, torch_dtype=bfloat16"):
        pipeline("feature-extraction", folder, dtype="float16", torch_dtype="bfloat16")
    with pytest.raises(ArgumentError, match="never runs code from a repository"):
        pipeline("feature-extraction", folder, trust_remote_code=True)
    with pytest.raises(ArgumentError, match="framework='tf'"):
        pipeline("feature-extraction", folder, framework="tf")
    with pytest.raises(NotBuiltError, match="image_processor"):
        pipeline("feature-extraction", folder, image_processor="x")
    with pytest.raises(ArgumentError, match=r"no option 'return_tensor' .did you mean 'return_tensors'"):
        pipeline("feature-extraction", folder, return_tensor=True)
    with pytest.raises(ArgumentError, match="device 'nowhere' is unknown"):
        pipeline("feature-extraction", folder, device="nowhere")


@pytest.mark.parametrize("task", ["text-classification", "token-classification", "fill-mask"])
def test_a_head_that_the_checkpoint_lacks_is_refused(zoo, task):
    with pytest.raises(
        WeightsMismatchError, match=f"has no (classifier|cls).* would answer {task} with random weights"
    ):
        pipeline(task, zoo("bert"))


def test_a_family_without_the_head_is_refused(zoo):
    with pytest.raises(ConfigError, match="has no head for 'masked-lm'"):
        pipeline("fill-mask", zoo("gpt2"))
    with pytest.raises(ArgumentError, match="needs a model with a masked-lm head, and BertModel has a base one"):
        pipeline("fill-mask", AutoModel.from_pretrained(zoo("bert")))


def test_a_pooler_matters_only_to_who_reads_it(zoo, tmp_path, texts):
    for name, task in (("bert", "feature-extraction"), ("bert-class", "text-classification")):
        folder = tmp_path / name
        shutil.copytree(zoo(name), folder)
        weights = load_file(folder / "model.safetensors")
        kept = {key: value for key, value in weights.items() if "pooler" not in key}
        assert len(kept) < len(weights)
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
        if task == "feature-extraction":
            same(pipeline(task, folder)(texts[:4]), pipeline(task, zoo(name))(texts[:4]))
        else:
            with pytest.raises(WeightsMismatchError, match=r"has no bert\.pooler\.dense"):
                pipeline(task, folder)


def test_a_model_of_the_users_own_is_only_warned_of(zoo, caplog):
    model = AutoModelForSequenceClassification.from_pretrained(zoo("bert"))  # as before it is trained
    logging.getLogger("enfold").addHandler(caplog.handler)
    pipe = pipeline("text-classification", model)
    logging.getLogger("enfold").removeHandler(caplog.handler)
    assert "were newly initialised when it was loaded" in caplog.text
    assert pipe("Paris")


def test_a_tokenizer_of_another_model_is_refused(zoo, tmp_path):
    byte_level(tmp_path)
    with pytest.raises(ArgumentError, match=r"has 320 tokens, and the model .*bert-class has embeddings for 180"):
        pipeline("text-classification", zoo("bert-class"), tokenizer=tmp_path)


def test_save_and_load_on_both_sides(zoo, tmp_path, texts):
    import transformers

    for task, name in (("text-classification", "bert-class"), ("text-generation", "llama")):
        pipe = pipeline(task, zoo(name))
        pipe.save_pretrained(tmp_path / name)
        same(pipeline(task, tmp_path / name)(texts[:5]), pipe(texts[:5]))
        same(pipe(texts[:5]), transformers.pipeline(task, str(tmp_path / name), device=-1)(texts[:5]))
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match="is a file"):
        pipe.save_pretrained(tmp_path / "file")


def test_a_subclass_of_ones_own(zoo):
    class Loud(TextClassificationPipeline):
        def postprocess(self, item, outputs, options):
            answer = super().postprocess(item, outputs, options)
            return {**answer, "label": answer["label"].upper()}

    pipe = pipeline("text-classification", zoo("bert-class"), pipeline_class=Loud)
    assert pipe("Paris")[0]["label"].isupper()


def test_the_task_list_loads_no_torch():
    import subprocess
    import sys

    code = (
        "import sys, enfold.pipelines as p; p.pipeline; p.PIPELINES\n"
        "assert not {'torch', 'numpy', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_cli_shape(zoo):
    pipe = pipeline("text-generation", zoo("llama"), model_kwargs={"attn_implementation": "eager"})
    assert pipe.model.attention_backend == "plain"
    assert json.dumps(list(pipe(iter(["Paris", "The"]), max_new_tokens=2)))
    assert isinstance(AutoModelForCausalLM.from_pretrained(zoo("llama")), type(pipe.model))

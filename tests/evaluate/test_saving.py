"""Results into a model's card: what the hub holds afterwards, beside what the reference writes there."""

import json
import os
import subprocess
import sys

import yaml

from tests.hub.conftest import cache, hub  # noqa: F401

RESULT = {
    "model_id": "ada/model",
    "task_type": "text-classification",
    "task_name": "Text classification",
    "dataset_type": "imdb",
    "dataset_name": "IMDb",
    "dataset_split": "test",
    "metric_type": "accuracy",
    "metric_name": "Accuracy",
    "metric_value": 0.9,
    "metric_args": {"normalize": True},
}
# The hub's client takes the address of its hub when it is imported: so in a process of its own.
PUSH = """
import importlib, json, sys
for library, given in json.loads(sys.argv[1]):
    try:
        print(importlib.import_module(library).push_to_hub(**given))
    except Exception as error:
        print(type(error).__name__, error)
"""


def pushed(hub, tmp_path, calls, token="hf_good") -> list[str]:  # noqa: F811
    env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    env |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": token}
    done = subprocess.run(
        [sys.executable, "-c", PUSH, json.dumps(calls)], env=env, check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()


def card(hub, repo_id) -> str:  # noqa: F811
    repo = hub.repos[repo_id]
    return repo.commits[repo.refs["main"]]["README.md"].decode()


def test_results_reach_the_card(hub, tmp_path):  # noqa: F811
    readme = {"README.md": b"---\nlicense: mit\n---\n# A model\n\nBy Ada.\n"}
    for name in ("ada/model", "ada/other"):
        hub.add(name, readme)
    hub.add("imdb", {})
    recall = RESULT | {"metric_type": "recall", "metric_name": "Recall", "metric_value": 0.8}
    better = RESULT | {"metric_value": 0.95}
    calls = [RESULT, recall, better, better | {"overwrite": True}, RESULT | {"model_id": "ada/none"}]
    other = [call | {"model_id": "ada/other"} for call in (RESULT, recall, better | {"overwrite": True})]
    said = pushed(
        hub, tmp_path, [*(("enfold.evaluate", call) for call in calls), *(("evaluate", call) for call in other)]
    )
    assert said[0].startswith(f"{hub.url}/ada/model/commit/")
    assert said[2].startswith("ArgumentError the card of ada/model was not changed: ")
    assert "overwrite=True" in said[2]
    assert said[3].startswith(f"{hub.url}/ada/model/commit/")
    assert said[4].startswith("RepositoryNotFoundError ")
    assert card(hub, "ada/model") == card(hub, "ada/other").replace("ada/other", "ada/model")
    head, text = card(hub, "ada/model").split("---\n")[1:]
    assert text == "# A model\n\nBy Ada.\n"
    found = yaml.safe_load(head)
    assert found["license"] == "mit"
    (result,) = found["model-index"][0]["results"]
    assert [metric["value"] for metric in result["metrics"]] == [0.95, 0.8]
    assert result["dataset"] == {"type": "imdb", "name": "IMDb", "split": "test"}

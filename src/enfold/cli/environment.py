"""`enfold env`: what is installed, on what it runs, and where files are kept."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
from typing import Any

import enfold
from enfold.cli.arguments import add_verb

_PACKAGES = (
    *("torch", "numpy", "huggingface_hub", "safetensors", "gguf", "jinja2", "rich", "prompt_toolkit"),
    *("transformers", "tokenizers"),  # not needed; named because reports of differences depend on them
)


def add_verbs(verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(
        verbs,
        common,
        "env",
        help="show versions, devices and places",
        description="Show versions, devices, the cache and whether the network may be used: what a bug report needs.",
        examples="  enfold env\n  enfold env --json\n",
    )
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    facts = gather()
    if asked.json:
        print(json.dumps(facts, indent=2))
        return
    flat = {"enfold": facts["enfold"], "python": facts["python"], "platform": facts["platform"]}
    flat |= {f"  {name}": version or "not installed" for name, version in facts["packages"].items()}
    flat["devices"] = ", ".join(facts["devices"])
    flat["threads"] = facts["threads"]
    hub = facts["hub"]
    flat |= {"hub": hub["endpoint"], "cache": f"{hub['cache']} ({hub['cached_repositories']} repositories)"}
    flat["network"] = "forbidden (HF_HUB_OFFLINE)" if hub["offline"] else "allowed"
    flat["token"] = "found" if hub["token"] else "none"
    for name, value in flat.items():
        print(f"{name:18} {value}")


def gather() -> dict[str, Any]:
    """The facts, as plain values; the token itself is never among them."""
    import torch
    from huggingface_hub import constants, get_token

    devices = ["cpu"]
    devices += [f"cuda:{index} {torch.cuda.get_device_name(index)}" for index in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    cache = constants.HF_HUB_CACHE
    names = os.listdir(cache) if os.path.isdir(cache) else []
    return {
        "enfold": enfold.__version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": f"{platform.platform()} {platform.machine()}, {os.cpu_count()} CPUs",
        "packages": {name: _version(name) for name in _PACKAGES},
        "devices": devices,
        "threads": torch.get_num_threads(),
        "hub": {
            "endpoint": constants.ENDPOINT,
            "cache": cache,
            "cached_repositories": sum(name.startswith("models--") for name in names),
            "offline": constants.HF_HUB_OFFLINE,
            "token": get_token() is not None,
        },
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None

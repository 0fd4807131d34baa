"""`enfold launch script.py`: a training script in several processes; `enfold launch config` writes down how."""

from __future__ import annotations

import argparse
from typing import Any

from enfold.cli.arguments import Help, add_verb, positive_int

_EXAMPLES = """\
  enfold launch --nproc-per-node 2 train.py --learning-rate 3e-5
  enfold launch --num-processes 4 --mixed-precision bf16 -m my_package.train
  enfold launch --num-machines 2 --machine-rank 0 --main-process-ip 10.0.0.1 --main-process-port 29500 \\
      --nproc-per-node 8 train.py
  enfold launch --use-fsdp --nproc-per-node 8 train.py
  enfold launch config --num-processes 2 --cpu --config_file two.yaml
  enfold launch --config_file two.yaml train.py
"""
# Options of FullyShardedDataParallelPlugin; a value is checked there.
_FSDP = {
    "version": ("2", "FSDP2 is the one that is built"),
    "reshard-after-forward": ("BOOL", "give a layer's weights back behind its forward pass (true)"),
    "offload-params": ("BOOL", "parts wait in the CPU's memory (false)"),
    "auto-wrap-policy": ("POLICY", "transformer_based_wrap, size_based_wrap or no_wrap: what is gathered as one"),
    "transformer-layer-cls-to-wrap": ("CLASSES", "instead of the model's layers"),
    "min-num-params": ("N", "of size_based_wrap"),
    "state-dict-type": ("TYPE", "checkpoints as SHARDED_STATE_DICT (default) or FULL_STATE_DICT"),
    "activation-checkpointing": ("BOOL", "recompute activations instead of keeping them (false)"),
    "cpu-ram-efficient-loading": ("BOOL", "the first process alone reads weights (false)"),
}


def add_verbs(verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(
        verbs,
        common,
        "launch",
        help="run a script in several processes",
        description="Run a Python script in several processes that train together, over torchrun. When one of them "
        "dies, the others are ended, and the error says which it was and why. 'config' in the script's place writes "
        "the options into a file instead.",
        examples=_EXAMPLES,
    )
    _options(parser)
    parser.add_argument("-m", "--module", action="store_true", help="SCRIPT is a module's name")
    parser.add_argument("script", metavar="SCRIPT", help="a Python file, or 'config'")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="…", help="the script's own")
    parser.set_defaults(run=run)


def _options(parser: argparse.ArgumentParser) -> None:
    def add(*names: str, **options: Any) -> None:
        both = [spelt for name in names for spelt in dict.fromkeys((name, "--" + name[2:].replace("-", "_")))]
        parser.add_argument(*both, **options)

    add("--config-file", metavar="FILE", help="YAML, as 'accelerate config' writes it too (default: that library's)")
    add("--nproc-per-node", type=positive_int, metavar="N", help="processes on each machine")
    add("--num-processes", type=positive_int, metavar="N", help="processes on all machines")
    add("--num-machines", type=positive_int, metavar="N", help="machines (1)")
    add("--machine-rank", type=int, metavar="N", help="which of them this is (0)")
    add("--main-process-ip", metavar="IP", help="address of the first machine")
    add("--main-process-port", type=positive_int, metavar="PORT", help="a free port there")
    add("--mixed-precision", choices=("no", "bf16", "fp16"), help="of an Accelerator that names none (no)")
    add("--gpu-ids", metavar="IDS", help="such as 0,1 (all)")
    parser.add_argument("--use-fsdp", "--use_fsdp", action="store_true", help="leave each process a part of the model")
    for name, (metavar, help) in _FSDP.items():
        add(f"--fsdp-{name}", metavar=metavar, help=help)
    parser.add_argument("--cpu", action="store_true", default=None, dest="use_cpu", help="stay on the CPU")


def run(asked: argparse.Namespace) -> None:
    from enfold.accelerate import launch

    if asked.script == "config":
        parser = argparse.ArgumentParser(prog="enfold launch config", formatter_class=Help)
        _options(parser)
        asked = parser.parse_args(asked.arguments, argparse.Namespace(**vars(asked)))
        path = _config(asked, read=False).write(asked.config_file or launch.default_config_file())
        print(f"Written: {path}")
        return
    launch.launch(_config(asked, read=True), asked.script, asked.arguments, module=asked.module)


def _config(asked: argparse.Namespace, *, read: bool) -> Any:
    """The file's entries, with those of the command line over them."""
    from dataclasses import asdict

    from enfold.accelerate.launch import LaunchConfig, default_config_file
    from enfold.base.errors import ArgumentError

    file = asked.config_file if asked.config_file or not default_config_file().is_file() else default_config_file()
    entries = asdict(LaunchConfig.from_file(file)) if read and file else asdict(LaunchConfig())
    given = {name: value for name, value in vars(asked).items() if name in entries and value is not None}
    if asked.nproc_per_node is not None:
        count = asked.nproc_per_node * given.get("num_machines", entries["num_machines"])
        if given.get("num_processes", count) != count:
            raise ArgumentError(f"--nproc-per-node {asked.nproc_per_node} and --num-processes disagree: give one")
        given["num_processes"] = count
    entries |= given
    asked_for = {f"fsdp_{name.replace('-', '_')}" for name in _FSDP}
    entries["fsdp_config"] |= {n: v for n, v in vars(asked).items() if n in asked_for and v is not None}
    if asked.use_fsdp:
        entries["distributed_type"] = "FSDP"
    if entries["num_processes"] > 1 and entries["distributed_type"] == "NO":
        entries["distributed_type"] = "MULTI_CPU" if entries["use_cpu"] or not _has_gpu() else "MULTI_GPU"
    return LaunchConfig(**entries)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()

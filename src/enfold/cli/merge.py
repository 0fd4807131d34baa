"""`enfold merge-weights FOLDER OUT`: from weights in parts to safetensors."""

from __future__ import annotations

import argparse

from enfold.cli.arguments import add_verb

_EXAMPLES = """\
  enfold merge-weights out/checkpoint-500 merged
  enfold merge-weights state/pytorch_model_fsdp_0 merged --max-shard-size 5GB
"""


def add_verbs(verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(
        verbs,
        common,
        "merge-weights",
        help="merge weights in parts into safetensors",
        description="Merge the weights that several processes wrote in parts (FSDP) into safetensors, as "
        "from_pretrained reads them. Needs memory for the whole model, and no accelerator.",
        examples=_EXAMPLES,
    )
    parser.add_argument("folder", metavar="FOLDER", help="a checkpoint, or its folder pytorch_model_fsdp_0")
    parser.add_argument("output", metavar="OUT", help="the folder to write")
    parser.add_argument("--max-shard-size", metavar="SIZE", default="50GB", help="of one file (50GB)")
    parser.add_argument(
        "--remove-checkpoint-dir", "--remove_checkpoint_dir", action="store_true", help="remove the parts afterwards"
    )
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    from enfold.accelerate import merge_fsdp_weights

    written = merge_fsdp_weights(
        asked.folder,
        asked.output,
        remove_checkpoint_dir=asked.remove_checkpoint_dir,
        max_shard_size=asked.max_shard_size,
    )
    print(f"Written: {written}")

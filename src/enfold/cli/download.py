"""`enfold download ID`: a repository, or some of its files, into the cache or a folder."""

import argparse

from enfold.cli.arguments import add_verb

_EXAMPLES = """\
  enfold download sentence-transformers/all-MiniLM-L6-v2
  enfold download google-bert/bert-base-uncased config.json model.safetensors
  enfold download openai-community/gpt2 --include "*.json" "*.safetensors" --exclude "onnx/*"
  enfold download org/model --revision v1.0 --local-dir ./model
  enfold download org/model --refresh          # where is the branch now? get what changed
  enfold download org/model --force            # get it again, even if it is here
"""


def add_verbs(verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(
        verbs,
        common,
        "download",
        help="fetch a repository into the cache",
        description="Fetch a repository's files, all of them or those named, and print the folder that holds them. "
        "What is in the cache already is not asked for again, unless --refresh or --force says so.",
        examples=_EXAMPLES,
    )
    parser.add_argument("id", metavar="ID", help="repository id, such as org/name")
    parser.add_argument("files", metavar="FILE", nargs="*", help="exact names (all files if none and no --include)")
    parser.add_argument("--revision", help="branch, tag or commit (default: main)")
    parser.add_argument(
        "--include", metavar="PATTERN", nargs="+", default=[], help="only names that match one of these"
    )
    parser.add_argument("--exclude", metavar="PATTERN", nargs="+", default=[], help="no names that match one of these")
    parser.add_argument("--refresh", action="store_true", help="ask where the revision is now, and get what changed")
    parser.add_argument("--force", action="store_true", help="download even what is here (mends a torn file)")
    parser.add_argument("--local-dir", metavar="DIR", help="put the files there instead of in the cache")
    parser.add_argument("--cache-dir", metavar="DIR", help="another cache (default: HF_HUB_CACHE, HF_HOME)")
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    from enfold.hub import resolve_snapshot

    folder = resolve_snapshot(
        asked.id,
        files=asked.files,
        include=asked.include,
        exclude=asked.exclude,
        revision=asked.revision,
        cache_dir=asked.cache_dir,
        local_dir=asked.local_dir,
        refresh=asked.refresh,
        force_download=asked.force,
    )
    print(folder)

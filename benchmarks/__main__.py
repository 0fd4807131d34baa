"""Run every benchmark, or those named: `python -m benchmarks [start loading tokenizers decoding …]`.

Each one runs its peer in the same process or in alternation with it, and prints a table of ratios. What follows the
name of a single one is for it: `python -m benchmarks kernels --help`.
"""

import argparse
import importlib
import inspect
import itertools
import os
import pkgutil
import sys
from collections.abc import Sequence

import benchmarks

# Everything measured is in the cache; the peer would otherwise ask the network first.
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def names() -> list[str]:
    """Every benchmark."""
    apart = ("__main__", "measure", "tasks")  # `tasks` is what `pipelines --tasks` runs
    return [m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name not in apart]


def run(name: str, arguments: Sequence[str]) -> None:
    """Run one of them; those that take no arguments have help all the same."""
    module = importlib.import_module(f"benchmarks.{name}")
    if inspect.signature(module.main).parameters:
        module.main(arguments)
        return
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(f"python -m benchmarks {name}", description=module.__doc__, formatter_class=form)
    parser.parse_args(arguments)
    module.main()


def main() -> None:
    known, given = names(), sys.argv[1:]
    asked = list(itertools.takewhile(known.__contains__, given))
    arguments = given[len(asked) :]
    if arguments and len(asked) != 1:
        listed = f"Benchmarks: {', '.join(known)}."
        if arguments in (["-h"], ["--help"]):
            print(f"{__doc__}\n{listed}")
            return
        sys.exit(f"{arguments[0]!r} is no benchmark, and options are for one of them. {listed}")
    for name in asked or known:
        print(f"\n## {name}\n", flush=True)
        run(name, arguments)


if __name__ == "__main__":
    main()

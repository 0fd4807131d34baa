"""Run every benchmark, or those named: `python -m benchmarks [start load encode decode …]`.

Each one runs its peer in the same process or in alternation with it, and prints a table of ratios.
"""

import importlib
import os
import pkgutil
import sys

import benchmarks

# Everything measured is in the cache; the peer would otherwise ask the network first.
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def main() -> None:
    every = [m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name not in ("__main__", "measure")]
    for name in sys.argv[1:] or every:
        print(f"\n## {name}\n", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()

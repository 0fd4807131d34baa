"""`python -m enfold.accelerate.rank [-m] script …`: one process of a launched job, which leaves word why it failed."""

import os
import runpy
import sys

from torch.distributed.elastic.multiprocessing.errors import record


@record
def main() -> None:
    """Run the script that the command line names, as if Python had been called with it."""
    module = sys.argv[1] == "-m"
    sys.argv = sys.argv[2 if module else 1 :]
    if module:
        sys.path[0] = os.getcwd()
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()

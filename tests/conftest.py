"""One thread a process: pytest-xdist already uses every core, and spinning OpenMP teams starve each other."""

import os

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

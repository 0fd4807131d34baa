"""What holds for every test: one thread a process, and the same drawn examples in every run."""

import os

# pytest-xdist already uses every core, and spinning OpenMP teams starve each other.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from hypothesis import settings  # noqa: E402

# A red run is then a change's doing. ENFOLD_EXAMPLES=random draws new examples.
settings.register_profile("fixed", derandomize=True, database=None)
if os.environ.get("ENFOLD_EXAMPLES") != "random":
    settings.load_profile("fixed")

"""Reads a stream with workers and notes each batch and the state after it: a process that a test kills.

python consumer.py NOTES STATE
"""

import json
import os
import sys
import time

from enfold.datasets import IterableDataset, StatefulDataLoader


def longer(row):
    return {"b": row["a"] + 1}


def kept(row):
    return row["a"] % 5 != 2


def loader() -> StatefulDataLoader:
    """Filtered, mapped, shuffled rows of five shards, read by two workers."""
    rows = IterableDataset.from_dict({"a": list(range(200))}, num_shards=5)
    return StatefulDataLoader(
        rows.filter(kept).map(longer).shuffle(seed=3, buffer_size=20), batch_size=4, num_workers=2
    )


if __name__ == "__main__":
    notes, state = sys.argv[1:]
    batches = loader()
    done = 0
    if os.path.exists(state):
        with open(state) as file:
            saved = json.load(file)
        batches.load_state_dict(saved["loader"])
        done = saved["bytes"]
    with open(notes, "a") as log:
        log.truncate(done)
        for batch in batches:
            log.write(json.dumps(batch["a"].tolist()) + "\n")
            log.flush()
            with open(state + ".new", "w") as file:
                json.dump({"loader": batches.state_dict(), "bytes": log.tell()}, file)
            os.replace(state + ".new", state)
            time.sleep(0.01)
        log.write("end\n")

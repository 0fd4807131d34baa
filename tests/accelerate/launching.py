"""A function of a test module in several real processes, joined by gloo."""

import os
import socket
import subprocess
import sys


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def run(count: int, target: str, *args: str, timeout: float = 180.0) -> list[str]:
    """What each of `count` processes prints that call `module:function` with `args`; an error if one of them fails."""
    module, function = target.split(":")
    port = str(free_port())
    script = f"import sys, torch; torch.set_num_threads(1); from {module} import {function}; {function}(*sys.argv[1:])"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, *args],
            env={
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(count),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    printed = [process.communicate(timeout=timeout) for process in processes]
    for rank, (process, (_, errors)) in enumerate(zip(processes, printed, strict=True)):
        assert process.returncode == 0, f"rank {rank}: {errors[-3000:]}"
    return [out for out, _ in printed]

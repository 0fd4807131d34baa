"""A function in several processes, started from a notebook."""

import os
import socket
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

from enfold.base.errors import ArgumentError, ProcessFailedError


def notebook_launcher(
    function: Callable[..., Any],
    args: tuple[Any, ...] = (),
    num_processes: int | None = None,
    mixed_precision: str = "no",
    use_port: str | int | None = None,
    master_addr: str = "127.0.0.1",
    node_rank: int = 0,
    num_nodes: int = 1,
) -> None:
    """Run `function(*args)` in several processes that train together: copies of this one, so it need not be in a file.

    Args:
        num_processes: on each machine; default: as many as there are GPUs, or one, which is this one.
        mixed_precision: of an `Accelerator` that names none.
        use_port: where the first machine listens; default: a free port.
        master_addr: of the first machine.
        node_rank, num_nodes: which machine this is, of how many.

    Raises:
        ArgumentError: this process uses a GPU already, or has joined others: its copies couldn't.
        ProcessFailedError: a process failed: which, and why.
    """
    if mixed_precision not in ("no", "bf16", "fp16"):
        raise ArgumentError(f"mixed_precision={mixed_precision!r}; expected 'no', 'bf16' or 'fp16'")
    count = num_processes or max(torch.cuda.device_count(), 1)
    if num_nodes > 1 and use_port is None:
        raise ArgumentError("several machines need use_port, a free port of the first one")
    settings = {"ENFOLD_MIXED_PRECISION": mixed_precision}
    if count * num_nodes == 1:
        before = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        try:
            function(*args)
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
        return
    if torch.cuda.is_initialized() or distributed.is_initialized():
        raise ArgumentError(
            "this process uses a GPU, or has joined other processes, already, and copies of it can't: restart the "
            "notebook, and make the Accelerator and the model within the function"
        )
    settings |= {
        "MASTER_ADDR": master_addr,
        "MASTER_PORT": str(use_port or _free_port()),
        "WORLD_SIZE": str(count * num_nodes),
        "LOCAL_WORLD_SIZE": str(count),
    }
    try:
        start_processes(_run, (function, args, settings, node_rank * count), nprocs=count, start_method="fork")
    except ProcessRaisedException as error:
        reason = str(error).strip().splitlines()[-1]
        raise ProcessFailedError(f"rank {node_rank * count + error.error_index} failed: {reason}") from error
    except ProcessExitedException as error:
        ending = error.signal_name or f"exit code {error.exit_code}"
        raise ProcessFailedError(f"rank {node_rank * count + error.error_index} ended with {ending}") from error


def _run(index: int, function: Callable[..., Any], args: tuple[Any, ...], settings: dict[str, str], first: int) -> None:
    from enfold.accelerate.processes import PartialState

    os.environ.update(settings, RANK=str(first + index), LOCAL_RANK=str(index))
    torch.set_num_threads(1)  # the copy of a pool of threads has none
    PartialState._shared.clear()  # the notebook's own, alone
    function(*args)


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]

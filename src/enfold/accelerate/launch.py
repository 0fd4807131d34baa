"""A script in several processes, over torchrun; how many and where may stand in a file of `accelerate config`."""

import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from enfold.accelerate.fsdp import FullyShardedDataParallelPlugin
from enfold.base.errors import ArgumentError, ConfigError, NotBuiltError, ProcessFailedError

KINDS = ("NO", "MULTI_CPU", "MULTI_GPU", "FSDP")
# Entries of such files that mean something else elsewhere, and the values with which they mean nothing.
_IDLE: dict[str, tuple[Any, ...]] = {
    "compute_environment": ("LOCAL_MACHINE",),
    "debug": (False,),
    "downcast_bf16": (False, "no", "false"),
    "enable_cpu_affinity": (False,),
    "main_training_function": ("main",),
    "rdzv_backend": ("static",),
    "same_network": (True, False),
    "tpu_env": ([],),
    "tpu_use_cluster": (False,),
    "tpu_use_sudo": (False,),
}
# What the others say when one has died.
_PEER_IS_GONE = (
    "closed by peer",
    "reset by peer",
    "Broken pipe",
    "DistBackendError",
    "DistNetworkError",
    "remote process",
)
# Seconds from the death of one process until the others are killed that don't end by themselves.
SHUTDOWN = 20


@dataclass
class LaunchConfig:
    """How a script is run; the fields are those of the reference library's file.

    Args:
        distributed_type: "NO", "MULTI_CPU", "MULTI_GPU" or "FSDP".
        num_processes: on all machines together.
        num_machines, machine_rank: how many there are, and which this is.
        main_process_ip, main_process_port: where the first machine listens.
        mixed_precision: that of an `Accelerator` which names none.
        use_cpu: stay on the CPU.
        gpu_ids: "all", or "0,1".
        fsdp_config: with "FSDP", options of `FullyShardedDataParallelPlugin`, with `fsdp_` before their names.
    """

    distributed_type: str = "NO"
    num_processes: int = 1
    num_machines: int = 1
    machine_rank: int = 0
    main_process_ip: str | None = None
    main_process_port: int | None = None
    mixed_precision: str = "no"
    use_cpu: bool = False
    gpu_ids: str | None = None
    fsdp_config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.distributed_type not in KINDS:
            raise NotBuiltError(f"distributed_type={self.distributed_type!r} is not built; there are {KINDS}")
        for name in ("num_processes", "num_machines", "machine_rank"):
            if type(getattr(self, name)) is not int:
                raise ArgumentError(f"{name}={getattr(self, name)!r}; expected a whole number")
        if self.num_processes < 1 or self.num_machines < 1 or self.num_processes % self.num_machines:
            raise ArgumentError(
                f"num_processes={self.num_processes} on num_machines={self.num_machines}: expected as many on each"
            )
        if not 0 <= self.machine_rank < self.num_machines:
            raise ArgumentError(f"machine_rank={self.machine_rank}; expected 0…{self.num_machines - 1}")
        if self.num_machines > 1 and not (self.main_process_ip and self.main_process_port):
            raise ArgumentError("several machines need main_process_ip and main_process_port")
        if self.mixed_precision not in ("no", "bf16", "fp16"):
            raise ArgumentError(f"mixed_precision={self.mixed_precision!r}; expected 'no', 'bf16' or 'fp16'")
        if self.fsdp_config and self.distributed_type != "FSDP":
            raise ArgumentError(f"fsdp_config is for distributed_type='FSDP', not {self.distributed_type!r}")
        self.plugin()

    def plugin(self) -> FullyShardedDataParallelPlugin | None:
        """How weights are spread; None without FSDP."""
        if self.distributed_type != "FSDP":
            return None
        return FullyShardedDataParallelPlugin.from_options(self.fsdp_config)

    @classmethod
    def from_file(cls, path: str | Path) -> "LaunchConfig":
        """Read a YAML (or JSON) file.

        Raises:
            ConfigError: it can't be read, or an entry of it is unknown.
            NotBuiltError: an entry asks for what isn't built.
        """
        import yaml

        try:
            read = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"{path} can't be read as YAML: {error}") from error
        if not isinstance(read, dict):
            raise ConfigError(f"{path} holds no entries such as 'num_processes: 2'")
        known = {entry.name for entry in fields(cls)}
        for name, value in read.items():
            if name in known or value in (None, {}) or value in _IDLE.get(name, ()):
                continue
            if name.endswith("_config") or name in _IDLE:
                raise NotBuiltError(f"{path}: {name}: {value!r} is not built")
            raise ConfigError(f"{path}: unknown entry {name!r}; known are {', '.join(sorted(known))}")
        given = {name: value for name, value in read.items() if name in known and value is not None}
        try:
            return cls(**given)
        except (TypeError, AttributeError, ArgumentError) as error:
            raise ConfigError(f"{path}: {error}") from error

    def write(self, path: str | Path) -> Path:
        """Write it as a YAML file that both libraries read."""
        import yaml

        entries = {name: value for name, value in asdict(self).items() if value not in (None, {})}
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({"compute_environment": "LOCAL_MACHINE", "debug": False} | entries), "utf-8")
        return path


def default_config_file() -> Path:
    """The file that is read when none is named; the reference library's."""
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    return Path(home).expanduser() / "accelerate" / "default_config.yaml"


def launch(config: LaunchConfig, script: str, arguments: list[str], *, module: bool = False) -> None:
    """Run a script with the environment of one process, or in several that torchrun starts and watches.

    When one dies, the others are told to end (SIGTERM), and killed after 20 seconds.

    Args:
        script: a Python file, or with `module` a module's name.

    Raises:
        ArgumentError: there is no such file.
        ProcessFailedError: a process failed: which, and why.
    """
    if not module and not Path(script).is_file():
        raise ArgumentError(f"there is no script {script!r}")
    if config.use_cpu or config.distributed_type == "MULTI_CPU":
        os.environ["ENFOLD_USE_CPU"] = "1"
    if config.mixed_precision != "no":
        os.environ["ENFOLD_MIXED_PRECISION"] = config.mixed_precision
    plugin = config.plugin()
    if plugin is not None:
        os.environ.update(plugin.environment())
    if config.gpu_ids not in (None, "all"):
        os.environ["CUDA_VISIBLE_DEVICES"] = str(config.gpu_ids)
    what = ["-m", script] if module else [script]
    if config.num_processes == 1:
        code = subprocess.run([sys.executable, *what, *arguments], check=False).returncode
        if code:
            raise ProcessFailedError(f"{script} ended with {_ending(code)}")
        return
    _run(config, [*what, *arguments])


def _run(config: LaunchConfig, command: list[str]) -> None:
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    options = [f"--nproc-per-node={config.num_processes // config.num_machines}", f"--shutdown-timeout={SHUTDOWN}"]
    if config.num_machines == 1:
        options.append("--standalone")
    else:
        options += [
            f"--nnodes={config.num_machines}",
            f"--node-rank={config.machine_rank}",
            f"--master-addr={config.main_process_ip}",
            f"--master-port={config.main_process_port}",
        ]
    try:
        torchrun.run(torchrun.parse_args([*options, "-m", "enfold.accelerate.rank", *command]))
    except ChildFailedError as error:
        rank, failure = min(error.failures.items(), key=lambda item: _late(item[1]))
        code = _code(failure)
        reason = "" if code < 0 else f": {_message(failure)}"
        raise ProcessFailedError(f"rank {rank} (process {failure.pid}) ended with {_ending(code)}{reason}") from None


def _code(failure: Any) -> int:
    """How a process ended; one that was on its way out with an error of its own when others were told to end: 1."""
    left_word = failure.error_file != "<N/A>"  # torch's sign for none
    return 1 if failure.exitcode == -signal.SIGTERM and left_word else failure.exitcode


def _message(failure: Any) -> str:
    return failure.message if isinstance(failure.message, str) else str(failure.message.get("message", ""))


def _late(failure: Any) -> tuple[bool, int]:
    """What came first sorts first: times are in seconds, and a peer that is gone is no cause but a consequence."""
    code = _code(failure)
    ended = code == -signal.SIGTERM
    gone = code > 0 and any(sign in _message(failure) for sign in _PEER_IS_GONE)
    return ended or gone, 0 if code < 0 else failure.timestamp


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code} ({signal.Signals(-code).name})"

"""`enfold launch`: several processes, one that dies, and runs that go on with more or fewer of them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from enfold.accelerate import folders, parts
from enfold.accelerate.launch import LaunchConfig
from enfold.base.errors import ArgumentError, ConfigError, NotBuiltError
from enfold.base.whole import remove
from enfold.cli.main import main
from enfold.training import checkpoints
from tests.training import little

SCRIPT = """
import os, sys
from enfold import TrainerCallback
from tests.accelerate.test_launch import trainer

class Dying(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 5 and os.environ["RANK"] == "1" and sys.argv[3] == "die":
            os.kill(os.getpid(), 9)

def dies(optimizer, names, folder):
    if os.environ["RANK"] == "1" and "checkpoint-6" in str(folder):
        assert (folder.parent / "pytorch_model_fsdp_0" / ".metadata").is_file()  # half of it is there
        os.kill(os.getpid(), 9)
    write_optimizer(optimizer, names, folder)

if sys.argv[3] == "die while saving":
    from enfold.accelerate import parts
    write_optimizer, parts.write_optimizer = parts.write_optimizer, dies

run = trainer(*sys.argv[1:3], int(os.environ["WORLD_SIZE"]), int(sys.argv[4]))
run.add_callback(Dying)
run.train(resume_from_checkpoint=sys.argv[3] == "resume")
"""


def trainer(folder, output, processes, rows=26):
    """The same steps on one process and on two; of 25 rows, the second process gets none of the last batch."""
    return little.trainer(
        little.load_classifier(Path(folder)),
        Path(output),
        little.rows(rows),
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2 // processes,
        num_train_epochs=2,
        learning_rate=0.1,
        optim="sgd",
        save_strategy="steps",
        save_steps=2,
    )


def launched(script, *arguments, options=()):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "enfold.cli.main", "launch", "--cpu", "--nproc-per-node", "2", *options),
            *(script, *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=150,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path]), "OMP_NUM_THREADS": "1"},
    )
    return done.returncode, done.stderr, time.time()


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return little.classifier(tmp_path_factory.mktemp("classifier"))


def test_a_rank_dies_and_the_run_goes_on_with_one_process_and_with_two(classifier, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    whole = trainer(classifier, tmp_path / "whole", 1)
    whole.train()

    output = tmp_path / "run"
    code, errors, ended = launched(str(script), str(classifier), str(output), "die", "26")
    assert code == 1
    assert "rank 1 (process " in errors.splitlines()[-1]
    assert "signal 9 (SIGKILL)" in errors.splitlines()[-1]
    last = checkpoints.checkpoints(output)[-1]
    assert last.name == "checkpoint-4"
    assert ended - last.stat().st_mtime < 30  # from before it died
    assert len(folders.read(last / "rng_state.pth")) == 2

    one = trainer(classifier, output, 1)
    one.train(resume_from_checkpoint=True)
    close(one.model, whole.model)
    for left in checkpoints.checkpoints(output)[3:]:
        remove(left)
    code, errors, _ = launched(str(script), str(classifier), str(output), "resume", "26")
    assert code == 0, errors
    last = checkpoints.checkpoints(output)[-1]
    assert last.name == "checkpoint-8"
    close(little.load_classifier(last), whole.model)


def test_models_in_parts_go_on_in_one_process_and_in_two(classifier, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    config = tmp_path / "parts.yaml"
    config.write_text("{distributed_type: FSDP, fsdp_config: {fsdp_version: 2, fsdp_reshard_after_forward: true}}")
    whole = trainer(classifier, tmp_path / "whole", 1, 25)
    whole.train()

    output, options = tmp_path / "run", ("--config-file", str(config))
    asked = (str(classifier), str(output), "die while saving", "25")
    code, errors, ended = launched(str(script), *asked, options=options)
    assert code == 1
    assert "rank 1 (process " in errors.splitlines()[-1]
    assert "signal 9 (SIGKILL)" in errors.splitlines()[-1]
    last = checkpoints.checkpoints(output)[-1]
    assert last.name == "checkpoint-4"
    assert ended - last.stat().st_mtime < 30
    parts.read_metadata(last / "pytorch_model_fsdp_0")  # whole
    assert [path.name[:13] for path in output.glob(".*unfinished")] == [".checkpoint-6"]

    one = trainer(classifier, output, 1, 25)
    one.train(resume_from_checkpoint=True)
    close(one.model, whole.model)
    remove(output / "checkpoint-8")
    options = ("--use-fsdp", "--fsdp-state-dict-type", "SHARDED_STATE_DICT")
    code, errors, _ = launched(str(script), str(classifier), str(output), "resume", "25", options=options)
    assert code == 0, errors
    assert main(["merge-weights", str(output / "checkpoint-8"), str(tmp_path / "merged")]) == 0
    close(little.load_classifier(tmp_path / "merged"), whole.model)
    assert {path.name for path in (tmp_path / "merged").iterdir()} == {"config.json", "model.safetensors"}


def close(one, other):
    for name, tensor in other.state_dict().items():
        torch.testing.assert_close(one.state_dict()[name], tensor, rtol=1e-4, atol=1e-6)


def test_an_error_of_a_rank_is_told(tmp_path):
    script = tmp_path / "wrong.py"
    script.write_text(
        "import os, sys, torch\n"
        "from enfold.accelerate import PartialState\n"
        "assert os.environ['ENFOLD_USE_CPU'] == '1' and sys.argv[1:] == ['--rate', '3'], sys.argv\n"
        "PartialState().wait_for_everyone()\n"
        "if os.environ['RANK'] == '1': raise ValueError('too much for me')\n"
        "torch.distributed.all_reduce(torch.ones(1))\n"
    )
    started = time.time()
    code, errors, ended = launched(str(script), "--rate", "3")
    assert code == 1
    assert "rank 1 (process " in errors.splitlines()[-1]
    assert "exit code 1: ValueError: too much for me" in errors.splitlines()[-1]
    assert ended - started < 50


def test_a_configuration_is_written_and_read_by_both(tmp_path, capsys):
    from accelerate.commands.config.config_args import ClusterConfig

    file = tmp_path / "two.yaml"
    assert main(["launch", "config", "--cpu", "--num_processes", "2", "--config_file", str(file)]) == 0
    assert str(file) in capsys.readouterr().out
    theirs = ClusterConfig.from_yaml_file(str(file))
    assert (theirs.num_processes, theirs.use_cpu, theirs.distributed_type) == (2, True, "MULTI_CPU")
    ours = LaunchConfig.from_file(file)
    assert ours == LaunchConfig("MULTI_CPU", num_processes=2, use_cpu=True)
    theirs.to_yaml_file(str(file))
    assert LaunchConfig.from_file(file) == ours

    asked = ["--use-fsdp", "--num-processes", "2", "--fsdp-min-num-params", "9", "--config-file", str(file)]
    assert main(["launch", "config", *asked]) == 0
    theirs = ClusterConfig.from_yaml_file(str(file))
    assert (theirs.distributed_type, theirs.fsdp_config) == ("FSDP", {"fsdp_min_num_params": "9"})
    assert LaunchConfig.from_file(file).plugin().min_num_params == 9


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("distributed_type: DEEPSPEED", NotBuiltError, "DEEPSPEED"),
        ("deepspeed_config: {a: 1}", NotBuiltError, "deepspeed_config"),
        ("fsdp_config: {fsdp_version: 2}", ConfigError, "distributed_type='FSDP'"),
        ("{distributed_type: FSDP, fsdp_config: {fsdp_version: 1}}", NotBuiltError, "FSDP2 is built"),
        ("{distributed_type: FSDP, fsdp_config: {fsdp_colour: 1}}", ConfigError, "no option 'fsdp_colour'"),
        ("{distributed_type: FSDP, fsdp_config: {fsdp_forward_prefetch: true}}", NotBuiltError, "forward_prefetch"),
        ("{distributed_type: FSDP, fsdp_config: {fsdp_sharding_strategy: HYBRID_SHARD}}", NotBuiltError, "HYBRID"),
        ("rdzv_backend: c10d", NotBuiltError, "rdzv_backend"),
        ("num_process: 2", ConfigError, "unknown entry 'num_process'"),
        ("- 1", ConfigError, "holds no entries"),
        ("a: [", ConfigError, "can't be read"),
        ("num_processes: two", ConfigError, "two"),
        ("{num_processes: 3, num_machines: 2}", ConfigError, "as many on each"),
        ("{num_processes: 2, num_machines: 2}", ConfigError, "main_process_ip"),
    ],
)
def test_files_that_can_not_be(text, kind, message, tmp_path):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(kind, match=message):
        LaunchConfig.from_file(tmp_path / "config.yaml")


def test_one_process_and_what_can_not_be_launched(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("ENFOLD_MIXED_PRECISION", "no")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from enfold.accelerate import Accelerator\n"
        "print(Accelerator(cpu=True).mixed_precision, sys.argv[1])\n"
        "sys.exit(int(sys.argv[1]))\n"
    )
    assert main(["launch", "--mixed-precision", "bf16", str(script), "0"]) == 0
    assert capfd.readouterr().out == "bf16 0\n"
    assert main(["launch", str(script), "3"]) == 1
    assert "ended with exit code 3" in capfd.readouterr().err
    assert main(["launch", str(tmp_path / "nothing.py")]) == 1
    assert "there is no script" in capfd.readouterr().err
    with pytest.raises(ArgumentError, match="machine_rank"):
        LaunchConfig(machine_rank=1)

"""Workers under a launcher: the command lines, what comes back, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from filelock import FileLock

import sfe_core
from sfe_core.errors import RunError, Stopped, UserError
from sfe_core.processes import launching
from sfe_core.processes.launching import (
    STRATEGY_FILES,
    Topology,
    config_folder,
    follow,
    launcher_argv,
    launcher_env,
)
from sfe_core.reporting import Reporter
from tests.listening import Listener

MODULE = "sfe_core.runs.worker"


def test_several_gpus_go_through_accelerate():
    argv = launcher_argv(MODULE, "cuda", 3, ["work", "{}"])
    assert argv == [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        f"--config_file={config_folder() / 'multi-gpu.yaml'}",
        "--num_processes=3",
        "--module",
        "sfe_core.runs.worker",
        "work",
        "{}",
    ]


def test_several_cpu_processes_go_through_torchrun():
    argv = launcher_argv(MODULE, "cpu", 2, ["work", "{}"])
    assert argv == [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        "-m",
        "sfe_core.runs.worker",
        "work",
        "{}",
    ]


def test_accelerate_reads_its_command_line_as_meant():
    argv = launcher_argv(MODULE, "cuda", 2, ["a folder", '{"options": {}}'])
    parsed = launch_command_parser().parse_args(argv[3:])
    assert (parsed.num_processes, parsed.module) == (2, True)
    assert parsed.training_script == "sfe_core.runs.worker"
    assert parsed.training_script_args == ["a folder", '{"options": {}}']


@pytest.mark.parametrize("strategy", STRATEGY_FILES)
def test_accelerate_takes_every_strategy_over_one_machine_and_several(strategy):
    for nodes, address in ((1, ""), (3, "first.example:4321")):
        topology = Topology(strategy, nodes, nodes - 1, address)
        argv = launcher_argv(MODULE, "cuda", 4 * nodes, ["work"], topology)
        parsed, _, _ = _validate_launch_command(launch_command_parser().parse_args(argv[3:]))
        assert (parsed.num_processes, parsed.num_machines) == (4 * nodes, nodes)
        assert parsed.training_script_args == ["work"]
        kind = {"ddp": "multi_gpu", "fsdp": "use_fsdp"}.get(strategy, "use_deepspeed")
        chosen = [name for name in ("multi_gpu", "use_fsdp", "use_deepspeed") if vars(parsed)[name]]
        assert chosen == [kind]
        if nodes > 1:
            assert (parsed.machine_rank, parsed.same_network) == (2, True)
            assert (parsed.main_process_ip, parsed.main_process_port) == ("first.example", 4321)
        if kind == "use_deepspeed":
            assert parsed.zero_stage == 2
            offload = "cpu" if strategy == "zero2-offload" else "none"
            assert parsed.offload_optimizer_device == offload
            assert nodes == 1 or parsed.deepspeed_multinode_launcher == "standard"


def test_torchrun_gives_each_machine_its_share():
    argv = launcher_argv(MODULE, "cpu", 6, ["work"], Topology("ddp", 3, 1, "first.example"))
    assert argv[2:] == [
        "torch.distributed.run",
        "--nnodes=3",
        "--node_rank=1",
        "--master_addr=first.example",
        "--master_port=29500",
        "--nproc_per_node=2",
        "-m",
        MODULE,
        "work",
    ]


def test_environment_of_workers(monkeypatch):
    monkeypatch.setattr("sfe_core.processes.launching.cpu_count", lambda: 8)
    on_cpu = launcher_env("cpu", 2, {"PYTHONPATH": "/elsewhere", "HOME": "/h"})
    assert on_cpu["ACCELERATE_USE_CPU"] == "true" and on_cpu["OMP_NUM_THREADS"] == "4"
    assert on_cpu["OMP_WAIT_POLICY"] == "PASSIVE"
    root = str(Path(sfe_core.__file__).parents[1])
    assert on_cpu["PYTHONPATH"].startswith(root) and on_cpu["PYTHONPATH"].endswith("/elsewhere")
    assert on_cpu["HOME"] == "/h"
    assert launcher_env("cpu", 2, {"OMP_NUM_THREADS": "1"})["OMP_NUM_THREADS"] == "1"
    # What a launcher tells its workers is of its own file and arguments, not of this environment.
    asked = {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4", "FSDP_VERSION": "1", "RANK": "3"}
    assert set(launcher_env("cuda", 2, asked | {"PET_MAX_RESTARTS": "3"})) == {"PYTHONPATH"}


def test_a_default_configuration_of_accelerate_changes_nothing(tmp_path, monkeypatch):
    default = tmp_path / "default_config.yaml"
    default.write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: FSDP\nmixed_precision: fp16\n"
        "num_machines: 1\nnum_processes: 7\nmachine_rank: 0\nuse_cpu: false\n"
        "fsdp_config:\n  fsdp_version: 1\ndynamo_config:\n  dynamo_backend: INDUCTOR\n"
    )
    argv = launcher_argv(MODULE, "cuda", 4, ["work"])[3:]

    def parsed() -> dict:
        found, _, precision = _validate_launch_command(launch_command_parser().parse_args(argv))
        return vars(found) | {"precision": precision}

    before = parsed()
    monkeypatch.setattr("accelerate.commands.launch.default_config_file", str(default))
    assert parsed() == before


@pytest.mark.parametrize("path", sorted(config_folder().rglob("*.yaml")), ids=lambda p: p.name)
def test_every_topology_file_is_one_accelerate_accepts(path):
    config = load_config_from_file(str(path))
    processes = {"single-cpu.yaml": 1, "single-gpu.yaml": 1, "multi-node.yaml": 16}
    assert config.num_processes == processes.get(path.name, 2)
    assert config.use_cpu == (path.name == "single-cpu.yaml")


def test_topology_files_are_found_inside_a_wheel_too(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "sfe_core"
    (package / "accelerate_configs").mkdir(parents=True)
    monkeypatch.setattr(launching.sfe_core, "__file__", str(package / "__init__.py"))
    with pytest.raises(RunError, match="accelerate_configs.*install sfe again"):
        config_folder()
    (package / "accelerate_configs" / "multi-gpu.yaml").write_text("x: 1\n")
    assert config_folder() == package / "accelerate_configs"


def test_events_and_errors_of_a_worker_come_back():
    script = (
        "import sys\n"
        "from sfe_core.processes.worker import tell, TellingReporter\n"
        "print('noise of a library')\n"
        "reporter = TellingReporter()\n"
        "with reporter.task('Training', 2) as task:\n"
        "    task.advance(2, 'loss 1')\n"
        "reporter.say('hello')\n"
        "tell('error', 2, 'here', 'wrong', 'fix it')\n"
        "sys.exit(2)\n"
    )
    listener = Listener()
    environment = launcher_env("cpu", 1, {})
    with pytest.raises(UserError, match="here: wrong; fix it"):
        follow([sys.executable, "-c", script], environment, listener, "worker")
    assert listener.done == {"Training": 2} and listener.lines == ["hello"]


def test_a_worker_that_dies_leaves_its_last_words():
    script = "import sys; sys.stderr.write('out of memory\\n'); sys.exit(9)"
    with pytest.raises(RunError, match="code 9: out of memory"):
        environment = launcher_env("cpu", 1, {})
        follow([sys.executable, "-c", script], environment, Reporter(), "worker")


@pytest.mark.slow
def test_of_two_workers_that_raise_the_exception_is_told_and_not_the_launchers():
    argv = launcher_argv("timeit", "cpu", 2, ["1/0"])  # timeit prints what its statement raises
    environment = launcher_env("cpu", 2, os.environ)
    with pytest.raises(RunError, match="code 1: ZeroDivisionError: division by zero$"):
        follow(argv, environment, Reporter(), "worker")


@pytest.mark.slow
def test_of_two_workers_the_signal_that_killed_one_is_told():
    # The other one dies of its absence, which explains nothing.
    die = (
        "import os, time; os.kill(os.getpid(), 9) if os.environ['RANK'] == '1' else time.sleep(60)"
    )
    argv = launcher_argv("timeit", "cpu", 2, [die])
    environment = launcher_env("cpu", 2, os.environ)
    with pytest.raises(RunError, match="^worker: was killed by SIGKILL; .*main memory$"):
        follow(argv, environment, Reporter(), "worker")


def test_result_and_progress_without_a_task_of_their_own_come_back():
    script = (
        "from sfe_core.processes.worker import ToldTask, tell\n"
        "ToldTask().advance(3)\n"
        "tell('done', {'rows': 3})\n"
    )
    listener = Listener()
    with listener.task("shards", 3) as task:
        argv = [sys.executable, "-c", script]
        result = follow(argv, launcher_env("cpu", 1, {}), listener, "worker", task)
    assert result == {"rows": 3} and listener.done == {"shards": 3}


def test_workers_end_with_a_launcher_that_is_killed(tmp_path):
    worker = (
        "import sys, time\n"
        "from filelock import FileLock\n"
        "from sfe_core.processes.worker import end_with_launcher, tell\n"
        "lock = FileLock(sys.argv[1])\n"
        "lock.acquire(timeout=0)\n"
        "end_with_launcher()\n"
        "tell('say', 'ready')\n"
        "time.sleep(60)\n"
    )
    parent = (
        "import os, sys\n"
        "from sfe_core.processes.launching import follow\n"
        "from sfe_core.reporting import Reporter\n"
        "class Killed(Reporter):\n"
        "    def say(self, message):\n"
        "        print(message, flush=True)\n"
        "        os.kill(os.getpid(), 9)\n"
        "follow([sys.executable, '-c', *sys.argv[1:]], os.environ, Killed(), 'worker')\n"
    )
    lock = tmp_path / "held by the worker"
    process = subprocess.run(
        [sys.executable, "-c", parent, worker, str(lock)],
        env=launcher_env("cpu", 1, dict(os.environ)),
        capture_output=True,
        timeout=60,
    )
    assert process.returncode == -9 and process.stdout == b"ready\n"
    FileLock(lock).acquire(timeout=20).lock.release()


def test_a_signal_goes_to_the_workers_that_told_their_number(tmp_path):
    worker = (
        "import os, signal, sys, time\n"
        "from sfe_core.processes.worker import tell\n"
        "from sfe_core.errors import Stopped\n"
        "class Came(Exception):\n"
        "    pass\n"
        "def note(number, frame):\n"
        "    raise Came(signal.Signals(number).name)\n"
        "signal.signal(signal.SIGUSR1, note)\n"
        "try:\n"
        "    tell('pid', os.getpid())\n"
        "    tell('say', 'ready')\n"
        "    time.sleep(60)\n"
        "except Came as came:\n"  # not in the handler: it may run amid a write
        "    tell('error', Stopped.exit_code, 'run x', f'stopped by {came}', '')\n"
        "    sys.exit(Stopped.exit_code)\n"
    )

    class Signalled(Reporter):
        def say(self, message):
            signal.raise_signal(signal.SIGUSR1)

    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(Stopped, match="run x: stopped by SIGUSR1") as stopped:
        follow([sys.executable, "-c", worker], launcher_env("cpu", 1, {}), Signalled(), "worker")
    assert stopped.value.exit_code == 85
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_worker_whose_launcher_is_gone_can_still_save(tmp_path):
    worker = (
        "import sys\n"
        "from pathlib import Path\n"
        "from sfe_core.processes.worker import tell\n"
        "sys.stdin.read()\n"
        "tell('say', 'nobody')\n"
        "tell('say', 'listens')\n"
        "Path(sys.argv[1]).touch()\n"
    )
    saved = tmp_path / "saved"
    process = subprocess.Popen(
        [sys.executable, "-c", worker, str(saved)],
        env=launcher_env("cpu", 1, dict(os.environ)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.stdout.close()
    process.stdin.close()
    process.wait(timeout=60)
    assert saved.exists()

"""Jobs for HTCondor and Slurm: what they ask for, what comes back to the queue, quoting."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from sfe_core.config.cluster_sections import ClusterConfig
from sfe_core.errors import RunError, UserError
from sfe_core.runs.cluster import Job, describe, plan_job, submit
from sfe_core.training.options import TrainOptions
from tests.sfe_core.conftest import with_settings

WORDS = ("/opt/py/bin/python", "-m", "sfe_cli.main", "train", "-w", "/data/my work")


def job(folder: Path = Path("/data/my work/runs/mine/job"), nodes=1, gpus=8, **wants) -> Job:
    words = (*WORDS, "--gpus", str(gpus), "--set", 'train.x="it\'s"', "--run", "mine")
    return Job("mine", folder, words, gpus, nodes, ClusterConfig(**wants))


def commands(text: str) -> dict[str, str]:
    pairs = (line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    return dict(pairs)


def executable(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_condor_job_asks_for_what_sfe_yaml_says():
    text = describe("condor", job(memory_gb=100, cpus=12, gpu_name="NVIDIA A100-SXM4-80GB"), {})
    found = commands(text)
    assert found["executable"] == WORDS[0]
    assert (found["request_cpus"], found["request_memory"]) == ("12", "102400")
    assert found["request_gpus"] == "8"
    assert 'TARGET.CUDADeviceName == "NVIDIA A100-SXM4-80GB"' in found["requirements"]
    assert found["job_max_vacate_time"] == "300"
    assert text.rstrip().endswith("queue 1")


def test_condor_words_are_quoted_its_way():
    found = commands(describe("condor", job(), {"HOME": "/home/a b", "SFE_X": "1", "PWD": "/x"}))
    assert found["arguments"] == (
        "\"-m sfe_cli.main train -w '/data/my work' --gpus 8 --set 'train.x=\"\"it''s\"\"' "
        '--run mine"'
    )
    assert found["environment"] == "\"'HOME=/home/a b' SFE_X=1\""


@pytest.mark.parametrize(
    ("signal", "code", "fate"),
    [(False, 0, "done"), (False, 85, "again"), (False, 1, "held"), (False, 2, "held")]
    + [(True, None, "held")],
)
def test_only_a_saved_condor_job_goes_back_to_the_queue(signal, code, fate):
    found = commands(describe("condor", job(), {}))

    def holds(expression: str) -> bool:
        # ClassAd's =?= and =!= compare without ever being undefined, as Python's == does.
        for theirs, ours in (("=?=", "=="), ("=!=", "!="), ("&&", "and"), ("||", "or")):
            expression = expression.replace(theirs, ours)
        return eval(expression, {"ExitBySignal": signal, "ExitCode": code})

    removed, held = holds(found["on_exit_remove"]), holds(found["on_exit_hold"])
    assert (removed, held) == {
        "done": (True, False),
        "again": (False, False),
        "held": (False, True),
    }[fate]


def test_lines_of_ones_own_come_before_the_queue_line():
    assert describe("condor", job(extra=["+Project = x"]), {}).endswith("+Project = x\nqueue 1\n")
    text = describe("slurm", job(extra=["--qos=high", "#SBATCH --mail-type=END"]), {})
    assert "#SBATCH --qos=high\n#SBATCH --mail-type=END\n" in text
    with pytest.raises(ValidationError, match="one line"):
        ClusterConfig(extra=["a\nqueue 1000"])


def test_slurm_options_follow_sfe_yaml():
    text = describe("slurm", job(hours=1.5, partition="gpu", gpu_name="a100", memory_gb=9), {})
    for option in (
        "--time=01:30:00",
        "--partition=gpu",
        "--gpus-per-node=a100:8",
        "--mem=9G",
        "--requeue",
        "--signal=USR1@300",
        '--output="/data/my work/runs/mine/job/job.out"',
    ):
        assert f"#SBATCH {option}\n" in text
    assert "--account" not in text
    assert "gpus-per-node" not in describe("slurm", job(gpus=0), {})


@pytest.mark.parametrize(("code", "requeued"), [(85, True), (0, False), (1, False)])
@pytest.mark.parametrize("nodes", [1, 2])
def test_a_slurm_script_starts_each_machine_and_requeues_what_was_saved(
    tmp_path, code, requeued, nodes
):
    # Stand-ins for Slurm: srun runs the words as machine 1 of the job, scontrol keeps what it did.
    executable(tmp_path, "srun", 'shift 2; SLURM_NODEID=1 exec "$@"')
    executable(
        tmp_path,
        "scontrol",
        f'echo "$@" >> {tmp_path}/asked; [ "$1" = show ] && printf "a1\\na2\\n"; true',
    )
    executable(tmp_path, "python", f'printf "%s\\n" "$@" > {tmp_path}/words; exit {code}')
    given = job(nodes=nodes)
    given = Job(
        given.name,
        given.folder,
        (str(tmp_path / "python"), *given.command[1:]),
        8,
        nodes,
        given.wants,
    )
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "40007"}
    environment["SLURM_JOB_NODELIST"] = "a[1-2]"
    script = describe("slurm", given, {})
    assert subprocess.run(["bash", "-c", script], env=environment).returncode == code
    words = (tmp_path / "words").read_text().splitlines()
    expected = list(given.command[1:])
    if nodes == 2:
        expected += ["--nodes", "2", "--main-address", "a1:20007", "--node-rank", "1"]
    assert words == expected
    asked = (tmp_path / "asked").read_text()
    assert ("requeue 40007" in asked) == requeued


def test_handing_in_tells_what_the_scheduler_answered(tmp_path, monkeypatch):
    executable(tmp_path, "condor_submit_bid", 'echo "bid $1 for $2"')
    executable(tmp_path, "sbatch", "echo no such partition >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    wanted = job(tmp_path / "job", bid=50)
    path, answer = submit("condor", wanted, {})
    assert answer == f"bid 50 for {path}" and path.read_text() == describe("condor", wanted, {})
    with pytest.raises(RunError, match="sbatch.*no such partition"):
        submit("slurm", wanted, {})
    with pytest.raises(UserError, match="no condor_submit on this machine.*job.sub"):
        submit("condor", job(tmp_path / "other"), {})
    assert (tmp_path / "other" / "job.sub").is_file()


def test_unknown_schedulers_and_several_condor_machines_are_refused():
    with pytest.raises(UserError, match="--cluster.*condor, slurm"):
        describe("pbs", job(), {})
    with pytest.raises(UserError, match="--nodes 2.*one machine"):
        describe("condor", job(nodes=2), {})


def test_a_planned_job_resumes_itself_and_is_checked_here(workspace):
    options = TrainOptions(gpus=4, nodes=2)
    planned = plan_job(workspace, options, [sys.executable, "train"])
    assert planned.command[-2:] == ("--resume", "auto")
    assert planned.command[planned.command.index("--run") + 1] == planned.name
    assert planned.folder == workspace.runs / planned.name / "job"
    assert (planned.gpus, planned.nodes) == (4, 2)
    # Eight processes cannot share 12 images per update: known before the job waits for hours.
    with pytest.raises(UserError, match="effective_batch"):
        plan_job(with_settings(workspace, train={"effective_batch": 12}), options, ["python"])
    with pytest.raises(UserError, match="not a name for a job"):
        plan_job(workspace, TrainOptions(gpus=1, run="a b"), ["python"])
    assert plan_job(workspace, TrainOptions(cpu_processes=2), ["python"]).gpus == 0

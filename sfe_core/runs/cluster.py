"""A run as a job of HTCondor or Slurm: its description, and handing it in.

A job is started again by the scheduler whenever it was stopped, with the same words: `--run NAME
--resume auto` begins the run the first time and goes on with it every other time. `sfe train` ends
with `REQUEUE_EXIT_CODE` once it has saved after a signal; nothing else sends a job back to the
queue, so that a broken one does not come back for ever.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sfe_core.config.cluster_sections import ClusterConfig
from sfe_core.config.workspace import Workspace
from sfe_core.errors import REQUEUE_EXIT_CODE, RunError, UserError
from sfe_core.files import write_text
from sfe_core.runs.start import plan_training
from sfe_core.training.engine.checkpoints import list_checkpoints, verify_checkpoint
from sfe_core.training.engine.run_folder import new_run_name
from sfe_core.training.options import TrainOptions

SCHEDULERS = ("condor", "slurm")
JOB_FOLDER = "job"
_KEPT_VARIABLES = re.compile(r"HOME|SFE_\w+|HF_\w+|NCCL_\w+")


@dataclass(frozen=True)
class Job:
    """A run to be handed in.

    Attributes:
        name: of the run.
        folder: takes the description and what the job prints; every machine must see it.
        command: absolute interpreter and the words after it that train on one machine.
        gpus: per machine; 0 for a job on CPU cores.
        nodes: machines.
        wants: the section `cluster` of sfe.yaml.
    """

    name: str
    folder: Path
    command: tuple[str, ...]
    gpus: int
    nodes: int
    wants: ClusterConfig


def plan_job(workspace: Workspace, options: TrainOptions, words: Sequence[str]) -> Job:
    """The job of a run, after the checks that a run starts with.

    Args:
        workspace, options: of the run. It is the one that is resumed, else of the name that is
            given, else it gets the present time as one.
        words: interpreter and arguments that train here as `options` say, but for the run.

    Raises:
        UserError: the run could not start, or not go on at every start of the job; or its name
            does not suit a scheduler.
        RunError: another process trains in it, or its checkpoints are torn.
    """
    on_cpu = options.cpu_processes is not None
    gpus = 0 if on_cpu else options.gpus or 1
    # The machines of the job have them, whatever this one has; its address is known there.
    assumed = dataclasses.replace(
        options,
        gpus=None if on_cpu else gpus,
        main_address="first",
        resume=options.resume or ("auto" if options.run else None),
    )
    resumed = plan_training(workspace, assumed, cuda_devices=gpus).resume_from
    if resumed is not None:
        _require_newest_of(resumed, workspace.runs)
        name = resumed.parent.name
    else:
        name = options.run or new_run_name(workspace.runs)
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name, re.ASCII):
        raise UserError(
            f"--run {name}", "is not a name for a job", "use letters, digits, . _ and -"
        )
    root = workspace.root.resolve()
    folder = workspace.runs.resolve() / name / JOB_FOLDER
    for path in (root, Path(words[0])):
        if not str(path).isprintable() or '"' in str(path) or "%" in str(path):
            raise UserError(str(path), 'a job needs a path without ", % and line ends', "rename it")
    command = (*words, "--run", name, "--resume", "auto")
    return Job(name, folder, command, gpus, options.nodes, workspace.config.cluster)


def _require_newest_of(checkpoint: Path, runs: Path) -> None:
    """Raise a UserError unless `--resume auto`, a job's words at each start, finds a checkpoint."""
    run = checkpoint.parent
    if run.parent.resolve() != runs.resolve():
        raise UserError(
            f"--resume {run}",
            f"a job goes on with a run below {runs}",
            "copy the run there, or resume it without --cluster",
        )
    newest = list_checkpoints(run)[-1]
    if newest.name != checkpoint.name and verify_checkpoint(newest) is None:
        raise UserError(
            f"--resume {run.name}/{checkpoint.name}",
            f"a job goes on from the newest checkpoint at each start, {newest.name}",
            f"move newer ones out of {run}, or resume it without --cluster",
        )


def describe(scheduler: str, job: Job, environment: Mapping[str, str]) -> str:
    """The text that `condor_submit` or `sbatch` takes.

    Args:
        scheduler: of SCHEDULERS.
        job: what to run.
        environment: HTCondor jobs start with an empty one; those of these variables that bear on
            where files lie go with the job.

    Raises:
        UserError: an unknown scheduler, or several machines through HTCondor.
    """
    if scheduler not in SCHEDULERS:
        raise UserError("--cluster", f"{scheduler!r}", f"allowed: {', '.join(SCHEDULERS)}")
    if scheduler == "slurm":
        return _slurm(job)
    if job.nodes > 1:
        raise UserError(
            f"--nodes {job.nodes}", "HTCondor gives a job one machine", "ask for more --gpus of one"
        )
    return _condor(job, environment)


def submit(scheduler: str, job: Job, environment: Mapping[str, str]) -> tuple[Path, str]:
    """Write the job's description and hand it in.

    Returns:
        The description's path, and what the scheduler answered.

    Raises:
        UserError: see `describe`; this machine has no such scheduler.
        RunError: the scheduler refused the job.
    """
    text = describe(scheduler, job, environment)
    path = job.folder / ("job.sub" if scheduler == "condor" else "job.sh")
    write_text(path, text)
    command = submit_command(scheduler, job, path)
    if shutil.which(command[0]) is None:
        raise UserError(
            f"--cluster {scheduler}",
            f"no {command[0]} on this machine",
            f"the job is written: type `{shlex.join(command)}` where there is one",
        )
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        answer = " ".join((done.stderr or done.stdout).split())
        raise RunError(
            shlex.join(command), f"was refused: {answer}", "change `cluster` in sfe.yaml"
        )
    return path, done.stdout.strip()


def submit_command(scheduler: str, job: Job, path: Path) -> list[str]:
    """The words that hand in a description."""
    if scheduler == "slurm":
        return ["sbatch", str(path)]
    if job.wants.bid is not None:
        return ["condor_submit_bid", str(job.wants.bid), str(path)]
    return ["condor_submit", str(path)]


def _condor(job: Job, environment: Mapping[str, str]) -> str:
    wants = job.wants
    kept = {name: value for name, value in environment.items() if _KEPT_VARIABLES.fullmatch(name)}
    complaints = job.folder / "job.err"
    lines = [
        "universe = vanilla",
        f"batch_name = {job.name}",
        f"executable = {job.command[0]}",
        f"arguments = {_condor_words(job.command[1:])}",
        f"environment = {_condor_words(f'{name}={kept[name]}' for name in sorted(kept))}",
        f"output = {job.folder / 'job.out'}",
        f"error = {complaints}",
        f"log = {job.folder / 'job.log'}",
        # The files are written to bit by bit, over all starts of the job.
        "stream_output = True",
        "stream_error = True",
        "should_transfer_files = NO",
        f"request_cpus = {wants.cpus}",
        f"request_memory = {wants.memory_gb * 1024}",
    ]
    if job.gpus:
        lines.append(f"request_gpus = {job.gpus}")
    if job.gpus and wants.gpu_name:
        # Pools name the device by one attribute or the other; the missing one counts as unknown.
        name = _condor_string(wants.gpu_name)
        lines.append(
            f"requirements = (TARGET.CUDADeviceName == {name}) || "
            f"(TARGET.GPUs_DeviceName == {name})"
        )
    lines += [
        "kill_sig = SIGTERM",
        f"job_max_vacate_time = {wants.grace_s}",
        "on_exit_remove = (ExitBySignal =?= False) && (ExitCode =?= 0)",
        f"on_exit_hold = (ExitBySignal =?= True) || "
        f"((ExitCode =!= 0) && (ExitCode =!= {REQUEUE_EXIT_CODE}))",
        f"on_exit_hold_reason = {_condor_string(f'see {complaints}')}",
        *wants.extra,
        "queue 1",
    ]
    return "\n".join(lines) + "\n"


def _condor_words(words: Iterable[str]) -> str:
    """Words in HTCondor's quoting: the whole in ", a word with blanks in ', both doubled inside."""
    quoted = []
    for word in words:
        word = word.replace('"', '""')
        if not word or re.search(r"[\s']", word):
            word = "'" + word.replace("'", "''") + "'"
        quoted.append(word)
    return '"' + " ".join(quoted) + '"'


def _condor_string(text: str) -> str:
    """A ClassAd string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _slurm(job: Job) -> str:
    wants = job.wants
    options = [
        f"--job-name={job.name}",
        f'--output="{job.folder / "job.out"}"',
        "--open-mode=append",
        f"--nodes={job.nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={wants.cpus}",
        f"--mem={wants.memory_gb}G",
        "--requeue",
        # To sfe itself, not to this script: it finishes its update, saves and ends.
        f"--signal=USR1@{wants.grace_s}",
    ]
    if job.gpus:
        kind = f"{wants.gpu_name}:" if wants.gpu_name else ""
        options.append(f"--gpus-per-node={kind}{job.gpus}")
    if wants.hours is not None:
        minutes = max(1, round(60 * wants.hours))
        options.append(f"--time={minutes // 60:02}:{minutes % 60:02}:00")
    for name in ("partition", "account"):
        if getattr(wants, name):
            options.append(f"--{name}={getattr(wants, name)}")
    options += [line.removeprefix("#SBATCH").strip() for line in wants.extra]
    command = shlex.join(job.command)
    if job.nodes > 1:
        command = (
            'bash -c \'exec "$@" --node-rank "$SLURM_NODEID"\' sfe '
            f'{command} --nodes {job.nodes} --main-address "$first:$port"'
        )
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"#SBATCH {option}" for option in options),
            "",
            'first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
            "port=$((20000 + SLURM_JOB_ID % 20000))",
            # srun does not take over --cpus-per-task of sbatch (since Slurm 22.05).
            f"srun --cpus-per-task={wants.cpus} --kill-on-bad-exit=0 {command}",
            "code=$?",
            f"if [ $code -eq {REQUEUE_EXIT_CODE} ]; then",
            '    scontrol requeue "$SLURM_JOB_ID"',
            "fi",
            "exit $code",
            "",
        ]
    )

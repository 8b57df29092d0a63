"""`sfe train`: the fine-tuning run."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import typer

from sfe_cli import options, render, train_options
from sfe_cli.cluster import hand_in, refuse_for_job
from sfe_cli.help import with_examples
from sfe_cli.preflight import AUTO, choose_batch_size, parse_batch_size, run_preflight
from sfe_core.wording import bytes_told

if TYPE_CHECKING:
    from sfe_core.config.workspace import Workspace
    from sfe_core.training.options import TrainOptions, TrainPlan, TrainSummary

_PRECISIONS = {"no": "float32", "fp16": "float16", "bf16": "bfloat16"}

HELP = with_examples(
    "Fine-tune the base model and the guidance encoders on the corpus.\n\n"
    "Without --gpus: one GPU if there is one, else one CPU process. Ctrl-C (also SIGTERM, SIGUSR1) "
    "finishes the update and saves; [bold]--resume auto[/bold] goes on from the newest checkpoint.",
    "sfe train",
    "sfe train --gpus 2",
    "sfe train --cpu-processes 2",
    "sfe train --resume auto",
    "sfe train --person anna  # of several albums, the one in photos/anna",
    "sfe train --steps 50 --set train.learning_rate=1e-4",
    "sfe train --gpus 8 --cluster slurm --dry-run  # the job, as it would be handed in",
    "sfe train --preflight --set train.compile=true  # memory and speed of a short rehearsal",
    "sfe train --batch-size auto",
    "sfe train --dry-run  # devices, batches, memory, steps",
)


def train(
    context: typer.Context,
    workspace: options.Workspace = options.HERE,
    gpus: options.Gpus = None,
    cpu_processes: options.CpuProcesses = None,
    strategy: train_options.Strategy = "ddp",
    nodes: train_options.Nodes = 1,
    node_rank: train_options.NodeRank = 0,
    main_address: train_options.MainAddress = "",
    effective_batch: train_options.EffectiveBatch = None,
    batch_size: train_options.BatchSize = None,
    steps: options.Steps = None,
    resume: train_options.Resume = None,
    accept_changes: train_options.AcceptChanges = False,
    name: train_options.Run = None,
    person: train_options.Person = None,
    cluster: train_options.Cluster = None,
    preflight: train_options.Preflight = False,
    dry_run: options.DryRun = False,
    changes: options.Set = None,
) -> None:
    automatic = batch_size == AUTO
    size = None if automatic or batch_size is None else parse_batch_size(batch_size)
    if cluster is not None:
        refuse_for_job(context)

    from sfe_core.config.loading import load_workspace

    # Settings first: a mistyped key need not wait for torch to be imported.
    found = load_workspace(workspace, [*(changes or ()), *person_setting(person)])

    from sfe_core.runs.launch import refuse_launcher
    from sfe_core.training.engine.run_folder import name_after
    from sfe_core.training.options import TrainOptions

    chosen = TrainOptions(
        gpus=gpus,
        cpu_processes=cpu_processes,
        strategy=strategy,
        nodes=nodes,
        node_rank=node_rank,
        main_address=main_address,
        resume=resume,
        run=name or (person and name_after(found.runs, person, going_on=resume is not None)),
        batch_size=size,
        effective_batch=effective_batch,
        steps=steps,
        dry_run=dry_run,
        accept_changes=accept_changes,
    )
    if automatic or preflight or cluster is not None:
        refuse_launcher("sfe train --batch-size auto, --preflight, --cluster", os.environ)
    if automatic:
        chosen = choose_batch_size(found, chosen)
    if preflight:
        run_preflight(found, chosen)
        return
    if cluster is not None:
        hand_in(found, chosen, context)
        return
    _plan_or_train(found, chosen)


train.__doc__ = HELP


def person_setting(person: str | None) -> list[str]:
    """What `--person` sets."""
    return [] if person is None else [f"data.person={json.dumps(person)}"]


def _plan_or_train(found: Workspace, chosen: TrainOptions) -> None:
    """The plan alone, or the run; of several processes the first tells of it."""
    from sfe_cli.progress import RichReporter
    from sfe_core.processes.surroundings import is_first
    from sfe_core.runs.launch import join_launcher, launch
    from sfe_core.runs.start import plan_training

    first = is_first(os.environ) and not chosen.node_rank
    if chosen.dry_run:
        plan = plan_training(found, join_launcher(chosen, os.environ))
        if first:
            show_plan(plan)
        return
    summary = launch(found, chosen, RichReporter())
    if first:
        show_summary(summary)


def show_plan(plan: TrainPlan) -> None:
    """What a run would do, in a dozen lines."""
    per_update = f"{plan.batch_size} x {plan.accumulation} passes x {plan.processes} processes"
    render.facts(
        [
            ("devices", f"{plan.processes} x {plan.device}, {_PRECISIONS[plan.precision]}"),
            ("strategy", plan.topology.strategy if plan.processes > 1 else None),
            ("machines", plan.topology.nodes if plan.topology.nodes > 1 else None),
            ("updates", f"{plan.steps}, from {plan.start_step}"),
            ("images per update", f"{plan.effective_batch} = {per_update}"),
            ("images", f"{plan.split_images}, seen {plan.epochs:.1f} times each"),
            *plan.told.items(),
            ("parameters", f"{plan.parameters:,}"),
            ("memory per device", f"{bytes_told(plan.state_bytes)} and the activations"),
            ("goes on from", plan.resume_from),
            *(("environment", f"{name}={value}") for name, value in plan.environment.items()),
            *(("note", note) for note in plan.notes),
            *(("warning", warning) for warning in plan.warnings),
        ]
    )


def show_summary(summary: TrainSummary) -> None:
    """What a run did, and what comes next."""
    render.facts(
        [
            ("run", summary.run),
            ("checkpoint", summary.checkpoint),
            ("best", summary.best if summary.best != summary.checkpoint else None),
            ("updates", summary.step),
            ("skipped, not finite", summary.skipped or None),
            ("the last of them", summary.skipped_last or None),
            ("images seen", summary.images_seen),
            ("images/s", summary.images_per_s),
            ("images/s, one device", summary.one_device),
            ("losses, weighted", summary.losses),
            ("samples", summary.samples),
        ]
    )
    render.next_step("`sfe package-checkpoint`")

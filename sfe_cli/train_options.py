"""The options of `sfe train`."""

from __future__ import annotations

from typing import Annotated

import typer

Strategy = Annotated[
    str,
    typer.Option(
        metavar="ddp|fsdp|zero2|zero2-offload",
        help="How several devices share the work: replicas (DDP), sharded weights (FSDP), or "
        "sharded optimiser state (DeepSpeed ZeRO-2), also in main memory.",
    ),
]
Nodes = Annotated[int, typer.Option(min=1, help="Machines, each called with this.")]
NodeRank = Annotated[int, typer.Option(min=0, help="Number of this machine.", show_default=False)]
MainAddress = Annotated[
    str, typer.Option(metavar="HOST[:PORT]", help="Machine 0 of several.", show_default=False)
]
EffectiveBatch = Annotated[
    int | None, typer.Option(min=1, help="Images per update, over all devices.")
]
BatchSize = Annotated[
    str | None,
    typer.Option(
        metavar="N|auto", help="Images per device and forward pass; auto: as many as fit."
    ),
]
Resume = Annotated[
    str | None,
    typer.Option(metavar="auto|PATH", help="Go on from a checkpoint.", show_default="a new run"),
]
AcceptChanges = Annotated[
    bool,
    typer.Option(
        "--accept-changes", help="Resume though sfe.yaml or the corpus have changed since."
    ),
]
Run = Annotated[str | None, typer.Option("--run", metavar="NAME", help="Name of the run's folder.")]
Person = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Learn this person's album, a folder of photos/; the run is named after it.",
        show_default=False,
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="condor|slurm",
        help="Hand the run in as a job, with what `cluster` in sfe.yaml asks for; "
        "with --dry-run, print the job.",
        show_default=False,
    ),
]
Preflight = Annotated[
    bool,
    typer.Option(
        "--preflight", help="Only rehearse: an update, samples and a save; tells memory and speed."
    ),
]

"""Section of sfe.yaml about jobs on a cluster."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from sfe_core.config.sections import Count, Positive, Section


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line of printable characters")
    return text


Line = Annotated[str, AfterValidator(_one_line)]


class ClusterConfig(Section):
    """What a job of `sfe train --cluster condor|slurm` asks for, on each machine."""

    cpus: Count = Field(8, description="CPU cores per machine")
    memory_gb: Count = Field(64, description="main memory per machine, GB")
    gpu_name: Line = Field(
        "",
        description="this device only; condor: as in CUDADeviceName, slurm: a GRES type; "
        "empty = any",
    )
    hours: Positive | None = Field(
        None, description="slurm: time of one job, after which it goes on in the next; null = as is"
    )
    grace_s: Count = Field(300, description="seconds between the signal to stop and the kill")
    bid: Count | None = Field(None, description="condor: through condor_submit_bid; null = none")
    partition: Line = Field("", description="slurm: partition; empty = the default one")
    account: Line = Field("", description="slurm: account; empty = the default one")
    extra: tuple[Line, ...] = Field(
        (), description="lines of your own: submit commands (condor), #SBATCH options (slurm)"
    )

"""What a process finds around it: launchers' worlds, and variables that libraries read."""

from __future__ import annotations

import pytest

from sfe_core.processes.surroundings import (
    World,
    arithmetic,
    find_world,
    for_children,
    is_first,
    switch_off,
    switched_off,
)

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "first",
    "MASTER_PORT": "1234",
}


@pytest.mark.parametrize(
    ("environment", "world"),
    [
        ({}, None),
        ({"WORLD_SIZE": "4"}, None),  # left over: nobody says which one this is
        (TORCHRUN | {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}, None),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, None),  # of a job, not of a step
        (TORCHRUN, World("torchrun", 4, 3, 2, "first:1234")),
        (
            TORCHRUN | {"ACCELERATE_DYNAMO_BACKEND": "no"},
            World("accelerate launch", 4, 3, 2, "first:1234"),
        ),
        ({"SLURM_STEP_NUM_TASKS": "2", "PMI_SIZE": "2"}, World("srun", 2)),
        ({"OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_RANK": "1"}, World("mpirun", 3)),
        ({"PMI_SIZE": "3", "PMI_RANK": "1"}, World("mpiexec", 3)),
        (
            {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "first"},
            World("a launcher that sets RANK and WORLD_SIZE", 2),
        ),
    ],
)
def test_a_world_is_told_from_what_launchers_set(environment, world):
    assert find_world(environment) == world


def test_the_first_of_a_world_and_whoever_is_alone_are_first():
    assert is_first({}) and is_first({"RANK": "5"}) and is_first(TORCHRUN | {"RANK": "0"})
    assert not is_first(TORCHRUN)
    assert World("torchrun", 4, 3, 2).machines == 2


def test_what_accelerate_would_take_is_taken_out_and_the_rest_is_left():
    plain = {"HOME": "/h", "ACCELERATE_LOG_LEVEL": "info", "NVIDIA_TF32_OVERRIDE": "0"}
    asking = {"ACCELERATE_MIXED_PRECISION": "fp16", "FSDP_VERSION": "2", "PMI_SIZE": "2"}
    environment = plain | asking | TORCHRUN
    switch_off(environment, alone=False)
    assert environment == plain | TORCHRUN
    switch_off(environment, alone=True)
    assert environment == plain
    launcher = {"TORCHELASTIC_RUN_ID": "x", "PET_MAX_RESTARTS": "3", "GROUP_RANK": "0"}
    assert for_children(plain | asking | TORCHRUN | launcher) == plain


def test_only_what_asks_for_something_is_told():
    asked = switched_off(
        {
            "ACCELERATE_USE_FSDP": "true",
            "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
            "ACCELERATE_MIXED_PRECISION": "no",
            "ACCELERATE_DYNAMO_BACKEND": "NO",
            "ACCELERATE_DYNAMO_MODE": "default",
            "ACCELERATE_DEBUG_MODE": "true",
            "WORLD_SIZE": "1",
        }
    )
    assert asked == {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4", "ACCELERATE_USE_FSDP": "true"}
    assert switched_off({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1"}) == {}
    set_by_hand = {"NVIDIA_TF32_OVERRIDE": "0", "CUBLAS_WORKSPACE_CONFIG": "", "HOME": "/h"}
    assert arithmetic(set_by_hand) == {"NVIDIA_TF32_OVERRIDE": "0"}

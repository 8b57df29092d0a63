"""A workspace's recipe joined with the engine: the plan of a run, its session, the run itself."""

from __future__ import annotations

from sfe_core.config.workspace import Workspace
from sfe_core.recipes.known import recipe_of
from sfe_core.reporting import Reporter
from sfe_core.training.engine import loop, plan, session
from sfe_core.training.engine.session import Session
from sfe_core.training.options import TrainOptions, TrainPlan, TrainSummary


def plan_training(
    workspace: Workspace, options: TrainOptions, cuda_devices: int | None = None
) -> TrainPlan:
    """See `training.engine.plan.plan_training`."""
    return plan.plan_training(workspace, options, recipe_of(workspace), cuda_devices)


def build(
    workspace: Workspace, planned: TrainPlan, options: TrainOptions, reporter: Reporter
) -> Session:
    """See `training.engine.session.build`."""
    return session.build(workspace, planned, options, recipe_of(workspace), reporter)


def train(
    workspace: Workspace,
    options: TrainOptions,
    reporter: Reporter,
    planned: TrainPlan | None = None,
) -> TrainSummary:
    """See `training.engine.loop.train`."""
    return loop.train(workspace, options, recipe_of(workspace), reporter, planned)

"""From a training checkpoint to a complete pipeline folder that was seen to work."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.annotations.captions import template_caption
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.fineface import load_fineface_beside
from sfe_core.diffusion.guidance_files import UNITS_FOLDER
from sfe_core.errors import SfeError, UserError
from sfe_core.files import TEMPORARY_MARK, atomic_path, clear_leftovers
from sfe_core.packaging.assembly import assemble
from sfe_core.packaging.extras import require_extras, write_extras
from sfe_core.packaging.listing import (
    action_units,
    expressions,
    guidance_maps,
    has_fusion,
    newest_package,
    with_person,
)
from sfe_core.packaging.options import EXTRAS, Extra, PackageOptions
from sfe_core.packaging.plan import (
    PackagePlan,
    plan_base,
    plan_checkpoint,
    plan_foreign,
    with_fineface,
)
from sfe_core.packaging.provenance import card_facts, header_metadata, write_papers
from sfe_core.packaging.rigs import choose_rig, package_rig
from sfe_core.packaging.selection import Weights
from sfe_core.packaging.stableface_layout import unpack
from sfe_core.packaging.summary import (
    GUIDED_SAMPLE,
    PLAIN_SAMPLE,
    PackageExists,
    PackageSummary,
    is_made_of,
    summarise,
)
from sfe_core.packaging.trial import TrialOrder, try_guided, try_plain
from sfe_core.recipes.known import recipe_of
from sfe_core.reporting import Reporter, Task

__all__ = ["PackageExists", "PackageSummary", "newest_package", "package_checkpoint"]

_TRIAL_STEPS = 20  # enough of DPM-Solver++ for a clear picture
_TRIAL_INTENSITY = 3.0


def package_checkpoint(
    workspace: Workspace,
    run: str | None = None,
    step: int | None = None,
    name: str | None = None,
    weights: Weights = "ema",
    force: bool = False,
    reporter: Reporter | None = None,
    options: PackageOptions | None = None,
    source: Path | None = None,
    reuse: bool = False,
    fineface: Path | None = None,
) -> PackageSummary:
    """Make `packaged/<name>/` from a checkpoint, and see it load and draw before it gets its name.

    A checkpoint of recipe physical goes its own way, see `rigs.package_rig`.

    Args:
        run: name of a run; None = the one trained last.
        step: of its checkpoint; None = its last.
        name: of the package; None = `<run>-<step>`, with `-raw` for raw weights.
        weights: ema (exponential moving average; raw where the run kept none) or raw.
        force: replace a package of that name.
        options: precision, shards, other forms; None = as stored, one file per part, and those
            forms that are usual, see `usual_extras`.
        source: a folder in the StableFace project's layout to package in place of a checkpoint.
        reuse: let a package of that name stand if it is of the same weights and form.
        fineface: folder of FineFace's published files, whose action units are packaged beside what
            is asked for, or else beside the base model alone.

    Raises:
        PackageExists: a package of that name.
        UserError: no checkpoint as asked for, a missing base model.
        RunError: a torn checkpoint, or a package that does not load or draws blank pictures.
    """
    reporter = reporter or Reporter()
    if source is None and fineface is None:
        rig = choose_rig(workspace, run, step)
        if rig is not None:
            form = options or PackageOptions()
            return package_rig(workspace, rig, name, weights, form, reporter, force, reuse)
    if options is None:
        options = PackageOptions(extras=() if source or fineface else usual_extras(workspace))
    plan = make_plan(workspace, run, step, name, weights, reporter, source, fineface)
    require_extras(plan, options)
    target = workspace.packaged / plan.name
    if target.exists() and not force:
        if reuse and is_made_of(
            target, plan.origin, plan.weights, options.to_json(), plan.history.meta.saved_at
        ):
            return _summary(target, plan, reused=True)
        remedy = "replace it with --force, or give another --name"
        raise PackageExists(target, "exists", remedy)
    _write(workspace, plan, target, options, reporter)
    return _summary(target, plan)


def _write(
    workspace: Workspace,
    plan: PackagePlan,
    target: Path,
    options: PackageOptions,
    reporter: Reporter,
) -> None:
    """Put the package together, let it draw, and describe it; it gets its name last."""
    clear_leftovers(workspace.packaged)
    with ExitStack() as stack:
        task = stack.enter_context(reporter.task(f"packaging {plan.name}", 5))
        partial = stack.enter_context(atomic_path(target))
        plan = _unpacked(plan, workspace, stack)
        metadata = header_metadata(plan)
        assemble(plan.base, plan.folders, partial, options, metadata)
        task.advance(note="copied")
        order = _trial_order(workspace, plan, partial, reporter)
        pictures = _try_out(partial, order, task)
        extras = write_extras(partial, plan, options, metadata, order, pictures[PLAIN_SAMPLE])
        task.advance(note="other forms" if extras else "")
        for file_name, picture in pictures.items():
            picture.save(partial / file_name)
        write_papers(partial, plan, card_facts(partial, plan, order, options, extras), options)
        task.advance(note="described")


def usual_extras(workspace: Workspace) -> tuple[Extra, ...]:
    """The other forms that packages of this workspace's recipe have unless asked for otherwise."""
    if not workspace.config.train.lora_rank:
        return ()
    forms = recipe_of(workspace).forms
    return tuple(name for name in EXTRAS if name in forms)


def make_plan(
    workspace: Workspace,
    run: str | None,
    step: int | None,
    name: str | None,
    weights: Weights,
    reporter: Reporter,
    source: Path | None,
    fineface: Path | None = None,
) -> PackagePlan:
    """What `package_checkpoint` would package, found and checked; nothing is written."""
    of_a_run = run is not None or step is not None
    if source is not None and of_a_run:
        raise UserError("--from", "was given together with --run or --step", "give one of them")
    if source is not None:
        plan = plan_foreign(workspace, source, name, reporter)
    elif fineface is not None and not of_a_run:
        plan = plan_base(workspace, name)
    else:
        plan = plan_checkpoint(workspace, run, step, name, weights, reporter)
    if fineface is None:
        return plan
    return with_fineface(plan, Path(fineface).resolve(), named=name is not None)


def _try_out(folder: Path, order: TrialOrder, task: Task) -> dict[str, Image.Image]:
    """The samples that a package draws, by their files' names."""
    pictures = {PLAIN_SAMPLE: try_plain(folder, order)}
    task.advance(note="draws from text")
    controls = [name for name in ("maps", "units", "expressions") if getattr(order, name)]
    controls += ["fusion"] if order.expression_prompt else []
    if controls:
        pictures[GUIDED_SAMPLE] = try_guided(folder, order)
    task.advance(note=f"draws from {' and '.join(controls)}" if controls else "")
    return pictures


def _unpacked(plan: PackagePlan, workspace: Workspace, stack: ExitStack) -> PackagePlan:
    """The plan with the parts of foreign folders unpacked, for as long as `stack` is open."""
    if plan.source is None and plan.fineface is None:
        return plan
    place = TemporaryDirectory(prefix=TEMPORARY_MARK, dir=workspace.packaged)
    staging = Path(stack.enter_context(place))
    folders, unet = dict(plan.folders), plan.base / "unet"
    if plan.source is not None:
        folders |= unpack(plan.source, unet, staging)
    if plan.fineface is not None:
        load_fineface_beside(plan.fineface, unet).save_pretrained(staging / UNITS_FOLDER)
        folders[UNITS_FOLDER] = staging / UNITS_FOLDER
    return replace(plan, folders=folders)


def _summary(folder: Path, plan: PackagePlan, reused: bool = False) -> PackageSummary:
    return summarise(folder, plan.origin, plan.run, plan.step, plan.weights, reused)


def _trial_order(
    workspace: Workspace, plan: PackagePlan, package: Path, reporter: Reporter
) -> TrialOrder:
    """What to draw: the first held-out face of the corpus, or a plain request without one."""
    config = workspace.config
    resolution = plan.resolution
    names = guidance_maps(package) if "guidance_encoder" in plan.folders else ()
    prompt = template_caption(config.preprocess.caption_template, {"emotion": "happy"})
    maps = {name: torch.zeros(3, resolution, resolution) for name in names}
    person = plan.history.config.get("data", {}).get("person")
    try:
        corpus = Corpus.open(with_person(workspace, person))
        row = corpus.split(config.split.validation_name).iloc[0]
        maps = corpus.maps(row["key"], resolution, names) if names else {}
        prompt = str(row["caption"] or prompt)
    except SfeError as error:
        reporter.say(f"checking the package without the corpus ({error})")
    return TrialOrder(
        name=plan.name,
        prompt=prompt,
        maps=maps,
        units=dict.fromkeys(_smile(action_units(package), ("AU6", "AU12")), _TRIAL_INTENSITY),
        resolution=resolution,
        steps=min(_TRIAL_STEPS, config.sampling.steps),
        guidance_scale=config.sampling.guidance_scale,
        seed=config.sampling.seed,
        expressions=dict.fromkeys(_smile(expressions(package)[::-1], ("happy",)), 1.0),
        expression_prompt="photo of a person, happy" if has_fusion(package) else "",
    )


def _smile(known: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of a smile, or else the first, of what a package knows."""
    return tuple(name for name in known if name in names) or known[:1]

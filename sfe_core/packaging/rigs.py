"""Packages of recipe physical: a rig and its scheduler, which plain diffusers cannot load.

No class of diffusers holds the network; where this project is installed, the folder loads by
`RigPipeline.from_pretrained`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from sfe_core import __version__
from sfe_core.assets.registry import registry
from sfe_core.config.training_sections import NO_BASE
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.buffers import CHANNELS, read_buffers
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.handed_over import INDEX
from sfe_core.diffusion.physical.loading import RIG_FOLDER, load_rig
from sfe_core.diffusion.physical.pipeline import (
    RigPipeline,
    load_rig_pipeline,
    make_scheduler,
)
from sfe_core.errors import RunError, SfeError, UserError
from sfe_core.files import (
    atomic_path,
    clear_leftovers,
    derive_seed,
    sha256_json,
    write_json,
    write_text,
)
from sfe_core.packaging.album_shape import (
    SHAPE_FILE,
    AlbumShape,
    find_album_shape,
    write_album_shape,
)
from sfe_core.packaging.assembly import file_hashes, tidy_config
from sfe_core.packaging.history import RunHistory, read_history
from sfe_core.packaging.listing import CARD, PROVENANCE, RUN_CONFIG, with_person
from sfe_core.packaging.options import PackageOptions
from sfe_core.packaging.plan import package_name
from sfe_core.packaging.selection import Checkpoint, Weights, choose_checkpoint, network_folder
from sfe_core.packaging.summary import (
    PLAIN_SAMPLE,
    PackageExists,
    PackageSummary,
    is_made_of,
    summarise,
)
from sfe_core.packaging.trial import check_picture
from sfe_core.packaging.weights import PRECISIONS, stamp
from sfe_core.reporting import Reporter

_TRIAL_STEPS = 20
_ONE_FILE = "1000GB"  # as diffusers takes sizes


@dataclass(frozen=True)
class RigPlan:
    """A package to be.

    Attributes:
        name: of its folder.
        checkpoint: whose network it is.
        weights: ema or raw.
        network: the checkpoint's folder of it.
        history: of the run.
    """

    name: str
    checkpoint: Checkpoint
    weights: Weights
    network: Path
    history: RunHistory

    @property
    def origin(self) -> str:
        """Where the weights come from, in words."""
        return f"run {self.checkpoint.run}, step {self.checkpoint.step}"

    @property
    def options(self) -> dict[str, Any]:
        """`recipe_options` of the run."""
        return self.history.config.get("recipe_options") or {}

    @property
    def person(self) -> str | None:
        """Whose album it learnt; None: everybody's."""
        return (self.history.config.get("data") or {}).get("person")

    @property
    def base(self) -> str:
        """What it started from, an asset's name or the end of a path; "" for random weights."""
        base = self.history.meta.base
        if base == NO_BASE:
            return ""
        return base if base in registry() else Path(base).name


def choose_rig(workspace: Workspace, run: str | None, step: int | None) -> Checkpoint | None:
    """The checkpoint asked for, if it is one of recipe physical; else None.

    Raises:
        SfeError: see `choose_checkpoint`.
    """
    checkpoint = choose_checkpoint(workspace.runs, run, step)
    return checkpoint if (checkpoint.folder / RIG_FOLDER).is_dir() else None


def plan_rig(
    checkpoint: Checkpoint,
    name: str | None,
    weights: Weights,
    options: PackageOptions,
    reporter: Reporter,
) -> RigPlan:
    """Plan the packaging of a rig; nothing is written.

    Raises:
        UserError: another form is asked for, or the name is none.
        RunError: the checkpoint is torn.
    """
    if options.extras:
        raise UserError(
            f"--also {options.extras[0]}",
            "no other program knows the network of recipe physical",
            "leave it out",
        )
    if weights == "ema" and not checkpoint.has_ema:
        reporter.say(f"run {checkpoint.run} kept no moving average: packaging its raw weights")
        weights = "raw"
    suffix = "-raw" if weights == "raw" else ""
    return RigPlan(
        name=package_name(name, f"{checkpoint.run}-{checkpoint.step}{suffix}"),
        checkpoint=checkpoint,
        weights=weights,
        network=network_folder(checkpoint, RIG_FOLDER, weights),
        history=read_history(checkpoint),
    )


def package_rig(
    workspace: Workspace,
    checkpoint: Checkpoint,
    name: str | None,
    weights: Weights,
    options: PackageOptions,
    reporter: Reporter,
    force: bool = False,
    reuse: bool = False,
) -> PackageSummary:
    """Make `packaged/<name>/` from a checkpoint, and see it load and draw before it gets its name.

    Args:
        workspace: whose packages it joins.
        checkpoint: of recipe physical.
        name, weights, force, reuse: see `package_checkpoint`.
        options: precision and shards alone.
        reporter: is told of progress.

    Raises:
        PackageExists: a package of that name.
        UserError, RunError: see `plan_rig`; or it does not load, or draws blank pictures.
    """
    plan = plan_rig(checkpoint, name, weights, options, reporter)
    target = workspace.packaged / plan.name
    if target.exists() and not force:
        if reuse and is_made_of(
            target, plan.origin, plan.weights, options.to_json(), plan.history.meta.saved_at
        ):
            return _summary(target, plan, reused=True)
        remedy = "replace it with --force, or give another --name"
        raise PackageExists(target, "exists", remedy)
    clear_leftovers(workspace.packaged)
    with reporter.task(f"packaging {plan.name}", 3) as task, atomic_path(target) as partial:
        write_pipeline(plan.network, partial, options, _header(plan))
        task.advance(note="copied")
        _try_out(workspace, plan, partial, reporter).save(partial / PLAIN_SAMPLE)
        task.advance(note="draws")
        shape = _album_shape(workspace, plan, reporter)
        if shape is not None:
            write_album_shape(partial, shape)
        _write_papers(partial, plan, options, shape)
        task.advance(note="described")
    return _summary(target, plan)


def write_pipeline(
    network: Path,
    target: Path,
    options: PackageOptions | None = None,
    header: dict[str, str] | None = None,
) -> None:
    """Write the folder of a `RigPipeline` that draws by DDIM.

    Args:
        network: folder of a rig.
        target: to be made.
        options: precision and shards.
        header: for the headers of the weight files.
    """
    options = options or PackageOptions()
    rig = load_rig(network, RIG_FOLDER)
    if options.precision:
        rig.to(PRECISIONS[options.precision])
    pipeline = RigPipeline(rig, make_scheduler())
    # The sizes that diffusers takes are the option's own.
    pipeline.save_pretrained(target, max_shard_size=options.shard_size or _ONE_FILE)
    for path in (target / INDEX, *target.rglob("*config.json")):
        tidy_config(path)
    for path in target.rglob("*.safetensors") if header else ():
        stamp(path, header or {})


def _try_out(workspace: Workspace, plan: RigPlan, folder: Path, reporter: Reporter) -> Image.Image:
    """What the package draws of the first held-out photo; without a corpus, of no face at all."""
    try:
        pipeline = load_rig_pipeline(folder, "dpm-solver++", plan.name)
    except (UserError, OSError, ValueError) as error:
        raise RunError(
            plan.name, f"the package does not load ({error})", "package again"
        ) from error
    size, config = pipeline.size, workspace.config
    pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
    buffers, picture = torch.zeros(CHANNELS, size, size), None
    try:
        corpus = Corpus.open(with_person(workspace, plan.person))
        key = str(corpus.split(config.split.validation_name).iloc[0]["key"])
        buffers = read_buffers(corpus, key, size, bool(plan.options.get("mean_shape")))
        picture = corpus.image(key, size)[None]
    except SfeError as error:
        reporter.say(f"checking the package without the corpus ({error})")
    code = torch.zeros(1, pipeline.rig.config["latent_width"]) if picture is None else None
    seed = derive_seed(config.sampling.seed, "package", "noise")
    drawn = pipeline(buffers[None], code, picture, _TRIAL_STEPS, [seed])
    return check_picture((drawn[0] + 1) / 2, plan.name)


def _header(plan: RigPlan) -> dict[str, str]:
    """Provenance for weight files; nothing is dated, so that the same checkpoint gives the same."""
    return {
        "modelspec.title": plan.name,
        "sfe.version": __version__,
        "sfe.source": plan.origin,
        "sfe.run": plan.checkpoint.run,
        "sfe.step": str(plan.checkpoint.step),
        "sfe.weights": plan.weights,
        "sfe.base": plan.base,
        "sfe.base_sha256": plan.history.meta.base_sha256,
        "sfe.corpus_sha256": plan.history.meta.corpus_sha256,
        "sfe.config": plan.history.config_text,
    }


def _album_shape(workspace: Workspace, plan: RigPlan, reporter: Reporter) -> AlbumShape | None:
    """The mean shape that the rig learnt a head with; None where it learnt none, or it is lost."""
    if not plan.options.get("mean_shape"):
        return None
    fitted = (plan.history.config.get("preprocess") or {}).get("reconstruction")
    fitted = fitted or workspace.config.preprocess.reconstruction
    try:
        return find_album_shape(workspace, plan.person, fitted)
    except SfeError as error:
        reporter.warn(
            f"packaged without the album's mean shape ({error}): `sfe edit` will read it from the "
            "corpus"
        )
        return None


def _write_papers(
    folder: Path, plan: RigPlan, options: PackageOptions, shape: AlbumShape | None
) -> None:
    """Write README.md, the run's configuration and, last, the provenance with all files' hashes."""
    history, meta = plan.history, plan.history.meta
    packaged_at = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    asset = registry().get(plan.base)
    licence = asset.licence if asset else "as its publisher states"
    config = load_rig(folder, plan.name).config
    environment = Environment(
        loader=PackageLoader("sfe_core.packaging", "templates"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    text = environment.get_template("RIG.md.j2").render(
        plan=plan,
        meta=meta,
        metrics={name: _readable(value) for name, value in history.metrics.items()},
        size=config["image_size"],
        latent=config["latent_width"],
        steps=_TRIAL_STEPS,
        frozen=bool(plan.options.get("freeze_encoder")),
        mean_shape=bool(plan.options.get("mean_shape")),
        shape=shape,
        shape_file=SHAPE_FILE,
        prediction="v" if config["prediction"] == "v_prediction" else "the noise (epsilon)",
        base_licence=licence if plan.base else "",
        precision=options.precision or "as stored",
        packaged_at=packaged_at,
        sfe_version=__version__,
    )
    write_text(folder / CARD, text)
    if history.config_text:
        write_text(folder / RUN_CONFIG, history.config_text)
    provenance: dict[str, Any] = {
        "sfe_version": __version__,
        "packaged_at": packaged_at,
        "source": plan.origin,
        "run": plan.checkpoint.run,
        "step": plan.checkpoint.step,
        "weights": plan.weights,
        "recipe": "physical",
        "mean_shape": bool(plan.options.get("mean_shape")),
        "resolution": config["image_size"],
        "form": options.to_json(),
        "base": {"name": plan.base, "sha256": meta.base_sha256},
        "models": meta.must_match,
        "corpus_sha256": meta.corpus_sha256,
        "config_sha256": sha256_json(history.config) if history.config else "",
        "checkpoint_saved_at": meta.saved_at,
        "images_seen": meta.images_seen,
        "metrics": history.metrics,
        "extras": {},
        "files": file_hashes(folder),
    }
    write_json(folder / PROVENANCE, provenance)


def _readable(value: Any) -> Any:
    return f"{value:.5g}" if isinstance(value, float) else value


def _summary(folder: Path, plan: RigPlan, reused: bool = False) -> PackageSummary:
    run, step = plan.checkpoint.run, plan.checkpoint.step
    return summarise(folder, plan.origin, run, step, plan.weights, reused)

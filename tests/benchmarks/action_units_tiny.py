"""Whether pictures show the action units that were commanded: a token per unit beside one for all.

`python -m tests.benchmarks.action_units_tiny --work DIR` photographs people that no shipped weight
has seen, with action units at random, and trains `tiny-action-units` on some of them under several
seeds; beside it, the same way, the same network with FineFace's single token (`one_token_recipe`),
and units as text (`tiny-action-units-text`). Then it draws the captions of the others: each unit
alone at every grade, and the units of their photos' labels, left and right apart; from text, the
captions that name them. The judge, which no training has seen, reads all these and the photos
themselves, which is as well as it could read. It writes results/action_units_tiny.md, and its
numbers as .json. What is in DIR already is gone on from.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn

from sfe_cli.progress import RichReporter
from sfe_core.arrays import Doubles
from sfe_core.assets import locate
from sfe_core.config.workspace import Workspace
from sfe_core.controls.action_units import MAXIMUM_INTENSITY
from sfe_core.controls.circumplex import expression_at
from sfe_core.controls.emotion_prototypes import PROTOTYPES
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.families.known import family_of
from sfe_core.diffusion.loading import read_configs
from sfe_core.diffusion.unit_attention import UnitAttention
from sfe_core.errors import UserError
from sfe_core.evaluation.ablation import with_seed
from sfe_core.evaluation.yardstick import PRESENT_FROM
from sfe_core.faces.recognition.recognisers import load_recogniser
from sfe_core.faces.recognition.unit_readers import load_unit_reader
from sfe_core.files import atomic_path, derive_seed, sha256_json, write_json, write_text
from sfe_core.packaging.package import package_checkpoint
from sfe_core.recipes.action_units import conditions_of_rows
from sfe_core.reporting import Reporter
from sfe_core.runs.launch import launch
from sfe_core.sampling.asked_face import told_units
from sfe_core.sampling.drawing import Order, draw_all, prepare_pipeline
from sfe_core.sampling.pipelines import (
    load_pipeline,
    make_scheduler,
    sampling_device,
    sampling_precision,
    series_settings,
)
from sfe_core.sampling.settings import DrawSettings
from sfe_core.synthesis.facs import INTENSITY_RANGE
from sfe_core.training.options import TrainOptions
from sfe_core.wording import markdown_table
from tests.benchmarks import one_token_recipe
from tests.benchmarks.results import FOLDER
from tests.benchmarks.tiny_road import People, make_workspace, setting, spent, time_told
from tests.benchmarks.unit_measures import (
    Figure,
    UnitFigures,
    concordances,
    followed,
    leakage,
    presence_f1,
    unit_figures,
)

NAME = "action_units_tiny"
IDENTITIES = (3840, 4096)
LEVELS = np.arange(MAXIMUM_INTENSITY + 1)
OURS, ONE, TEXT, PHOTOS = "a token per unit", "one token", "as text", "the photos"
_BATCH = 16
# Valence and arousal asked for: at rest, and so far on the way to each emotion.
SHARES = (1 / 3, 2 / 3, 1.0)
PLACES = (
    (0.0, 0.0),
    *(
        (share * found.valence, share * found.arousal)
        for name, found in PROTOTYPES.items()
        if name != "neutral"
        for share in SHARES
    ),
)
_STRONG = [n for n in range(len(PLACES)) if n == 0 or (n - 1) % len(SHARES) > 0]
_RECIPES = {OURS: "action-units", ONE: str(Path(one_token_recipe.__file__).resolve())}
_NETWORKS = {OURS: UnitAttention, ONE: one_token_recipe.OneToken}


@dataclass(frozen=True)
class Readings:
    """What the judge read, U units.

    Attributes:
        swept: [F, U, L, U], face × commanded unit × level × read unit, the sides' mean.
        copied: [P, 2, U], pictures drawn by the labels of P photos, left and right.
    """

    swept: Doubles
    copied: Doubles


@dataclass(frozen=True)
class Trained:
    """A form that was trained with a seed.

    Attributes:
        checkpoint: its folder.
        kept: stem of the files that hold what was read of it as it draws now.
    """

    form: str
    checkpoint: Path
    kept: Path


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it; see the module."""
    chosen = _parser().parse_args(arguments)
    reporter = RichReporter()
    people = People(chosen.people, chosen.training_people, IDENTITIES)
    photos = {"random_units": True}
    workspace = make_workspace(
        chosen.work, people, chosen.set, reporter, "tiny-action-units", photos
    )
    judge = load_unit_reader(chosen.judge)
    held_out = HeldOut(workspace, tuple(judge.units), chosen.faces)
    runs = {
        form: [trained(held_out, form, seed, reporter) for seed in seeds_of(chosen)]
        for form in _RECIPES
    }
    read = {
        form: [measured(held_out, run, judge, reporter) for run in some]
        for form, some in runs.items()
    }
    placed = np.stack([measured_places(held_out, run, reporter) for run in runs[OURS]])
    worded = worded_workspace(chosen, people, photos, workspace, reporter)
    texts = [measured_text(worded, held_out, seed, judge, reporter) for seed in seeds_of(chosen)]
    with spent(workspace.root, "read the photos"):
        photographed = held_out.read_photos(judge)
    facts = setting(workspace) | {"judge": str(chosen.judge), "seeds": chosen.seeds}
    copied = {form: np.stack([one.copied for one in some]) for form, some in read.items()}
    copied |= {TEXT: np.stack(texts), PHOTOS: photographed[None]}
    swept = {form: np.stack([one.swept for one in some]) for form, some in read.items()}
    write_result(held_out, swept, copied, placed, facts, chosen.results)
    print((chosen.results / f"{NAME}.md").read_text(encoding="utf-8"))


def seeds_of(chosen: argparse.Namespace) -> range:
    """The training seeds."""
    return range(chosen.seeds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[1])
    add = parser.add_argument
    add("--work", type=Path, required=True, metavar="DIR", help="a new folder, or one to go on in")
    add("--seeds", type=int, default=2, help="training seeds")
    add("--people", type=int, default=24, help="unseen people, eight photos each")
    add("--training-people", type=int, default=200, help="likewise, to learn from")
    add("--faces", type=int, default=16, help="captions that each unit and grade is drawn with")
    add(
        "--judge", default="tiny-units-judge", metavar="NAME", help="reader of units, or its folder"
    )
    add("--results", type=Path, default=FOLDER, metavar="DIR", help="where the result goes")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="as of sfe; to try it")
    return parser


# ---- What is commanded ---------------------------------------------------------------------------


class HeldOut:
    """The people to measure on, and what is drawn of them.

    Args:
        workspace: with a corpus.
        units: that the judge reads; all of them are told.
        faces: how many captions the sweep is drawn with, of as many people as there are.

    Raises:
        UserError: the labels do not tell of a unit.
    """

    def __init__(self, workspace: Workspace, units: tuple[str, ...], faces: int) -> None:
        self.workspace, self.units = workspace, units
        self.corpus = Corpus.open(workspace)
        self.rows = self.corpus.split(workspace.config.split.validation_name)
        self.labels: Doubles = conditions_of_rows(units, self.rows)[..., :2].double().numpy()
        if np.isnan(self.labels).any():
            raise UserError(workspace.photos, "lacks units that the judge reads", "use a new DIR")
        # One photo of each person first, so that few captions are of many people.
        turn = self.rows.groupby("identity").cumcount()
        self.swept = self.rows.loc[turn.sort_values(kind="stable").index].iloc[:faces]

    def sweep(self) -> list[Order]:
        """Of each face one picture at rest, then each unit alone at every level above 0."""
        orders = []
        for row in self.swept.to_dict("records"):
            at_rest = dict.fromkeys(self.units, 0.0)
            commands = [at_rest] + [
                at_rest | {unit: float(level)} for unit in self.units for level in LEVELS[1:]
            ]
            orders += [self._order(row, f"{number}", told) for number, told in enumerate(commands)]
        return orders

    def swept_readings(self, read: Doubles) -> Doubles:
        """Readings [N, 2, U] of `sweep` as [F, U, L, U], the mean of the sides."""
        count = len(self.units)
        by_face = read.mean(1).reshape(len(self.swept), -1, count)
        rest = np.broadcast_to(by_face[:, None, :1], (len(by_face), count, 1, count))
        return np.concatenate([rest, by_face[:, 1:].reshape(len(by_face), count, -1, count)], 2)

    def copies(self) -> list[Order]:
        """A picture of each photo's caption and labels, left and right apart."""
        return [
            self._order(
                row,
                "copy",
                {
                    f"{unit}{side}": float(value)
                    for unit, sides in zip(self.units, labels, strict=True)
                    for side, value in zip("LR", sides, strict=True)
                },
            )
            for row, labels in zip(self.rows.to_dict("records"), self.labels, strict=True)
        ]

    def placed(self) -> list[Order]:
        """Of each face a picture at every place of `PLACES`, told as units."""
        told = [told_units(expression_at(*place), self.units, alone=True) for place in PLACES]
        return [
            self._order(row, f"place {number}", units)
            for row in self.swept.to_dict("records")
            for number, units in enumerate(told)
        ]

    def truth(self) -> Doubles:
        """Intensities [P, 2, U] of the photos."""
        return self.labels.transpose(0, 2, 1)

    @torch.no_grad()
    def read_photos(self, judge: nn.Module) -> Doubles:
        """What the judge reads of the photos themselves, [P, 2, U]."""
        side = self.workspace.config.model.resolution
        read = [judge(self.corpus.image(key, side)[None]) for key in self.rows["key"]]
        return torch.cat(read).double().numpy()

    def _order(self, row: Mapping[str, Any], name: str, told: dict[str, float]) -> Order:
        # The same noise at every level: what differs is what was told.
        seed = derive_seed(self.workspace.config.sampling.seed, row["key"])
        return Order(f"{row['key']} {name}", str(row["caption"]), seed, {}, told)


# ---- Training and reading ------------------------------------------------------------------------


def trained(held_out: HeldOut, form: str, seed: int, reporter: Reporter) -> Trained:
    """Train a form with a seed; what is there is gone on from."""
    workspace = held_out.workspace
    changed = with_seed(
        Workspace(workspace.root, workspace.config.model_copy(update={"recipe": _RECIPES[form]})),
        seed,
    )
    sections = {"model", "train", "loss", "data", "recipe_options"}
    learnt = sha256_json(changed.config.model_dump(mode="json", include=sections))[:8]
    name = f"{form.replace(' ', '-')}-seed{seed}-{learnt}"
    reporter.say(f"seed {seed}: {form}")
    with spent(workspace.root, f"train {form}"):
        done = launch(changed, TrainOptions(run=name, resume="auto"), reporter)
    sampling = changed.config.sampling.model_dump(mode="json")
    drawn = sha256_json([sampling, held_out.rows["key"].tolist(), len(held_out.swept), done.step])
    return Trained(form, done.checkpoint, workspace.root / "readings" / f"{name}-{drawn[:8]}")


def measured(held_out: HeldOut, run: Trained, judge: nn.Module, reporter: Reporter) -> Readings:
    """Draw both protocols of units, and read them."""

    def found() -> dict[str, Doubles]:
        def read(orders: list[Order], what: str) -> Doubles:
            drawn = draw(held_out, run, orders, what, reporter)
            return np.stack([judge(picture)[0].double().numpy() for picture in drawn])

        swept = held_out.swept_readings(read(held_out.sweep(), "units one by one"))
        return asdict(Readings(swept, read(held_out.copies(), "the labels' units")))

    return Readings(**_kept(run.kept.with_name(f"{run.kept.name}.npz"), found))


def measured_places(held_out: HeldOut, run: Trained, reporter: Reporter) -> Doubles:
    """Draw valence and arousal told as units, and read both: [F, N, 2] of `PLACES`."""

    def found() -> dict[str, Doubles]:
        judge = load_recogniser(held_out.workspace.config.evaluate.judge)
        read = [
            torch.cat([reading.valence, reading.arousal]).double().numpy()
            for picture in draw(held_out, run, held_out.placed(), "valence and arousal", reporter)
            for reading in [judge(picture)]
        ]
        return {"read": np.stack(read).reshape(len(held_out.swept), len(PLACES), 2)}

    return _kept(run.kept.with_name(f"{run.kept.name}-places.npz"), found)["read"]


def _kept(path: Path, found: Callable[[], dict[str, Doubles]]) -> dict[str, Doubles]:
    """Arrays of a file, which is made where it is not there."""
    if not path.exists():
        arrays = found()
        path.parent.mkdir(exist_ok=True)
        with atomic_path(path) as partial, partial.open("wb") as file:
            # NumPy's hint takes any name for its option allow_pickle.
            np.savez(file, **arrays)  # type: ignore[arg-type]
    with np.load(path) as stored:
        return dict(stored)


def draw(
    held_out: HeldOut, run: Trained, orders: list[Order], what: str, reporter: Reporter
) -> Iterator[Tensor]:
    """Pictures [1, 3, H, W] in [-1, 1] of a checkpoint's averaged UNet and units."""
    config = held_out.workspace.config
    base, device = locate(config.model.base), sampling_device()
    kind = family_of(read_configs(base)).guided_pipeline
    attention = _NETWORKS[run.form].from_pretrained(run.checkpoint / "action_units_ema")
    precision = sampling_precision(device, config.sampling.precision)
    unet = UNet2DConditionModel.from_pretrained(run.checkpoint / "unet_ema")
    pipeline = kind.from_pretrained(base, unet=unet, action_units=attention)
    pipeline.scheduler = make_scheduler(config.sampling.scheduler, pipeline.scheduler.config)
    prepare_pipeline(pipeline, device, precision)
    settings = series_settings(held_out.workspace, device, "guided", base, units=True)
    with spent(held_out.workspace.root, "draw and read"):
        yield from drawn_pictures(pipeline, orders, settings, what, reporter)


@torch.no_grad()
def drawn_pictures(
    pipeline: DiffusionPipeline,
    orders: list[Order],
    settings: DrawSettings,
    what: str,
    reporter: Reporter,
) -> Iterator[Tensor]:
    """Pictures [1, 3, H, W] in [-1, 1], in order."""
    with reporter.task(f"drawing {what}", len(orders)) as task:
        for _, pixels in draw_all(pipeline, iter(orders), settings, _BATCH, reporter):
            yield torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
            task.advance()


def worded_workspace(
    chosen: argparse.Namespace,
    people: People,
    photos: Mapping[str, Any],
    beside: Workspace,
    reporter: Reporter,
) -> Workspace:
    """The same photos with captions that name their units."""
    folder = chosen.work / "text"
    if not folder.exists():
        with atomic_path(folder / "photos") as partial:
            shutil.copytree(beside.photos, partial)
    return make_workspace(folder, people, chosen.set, reporter, "tiny-action-units-text", photos)


def measured_text(
    worded: Workspace, held_out: HeldOut, seed: int, judge: nn.Module, reporter: Reporter
) -> Doubles:
    """Train units as text, draw the held-out photos' captions and read the pictures: [P, 2, U]."""
    changed = with_seed(worded, seed)
    config, root = changed.config, held_out.workspace.root
    sections = {"model", "train", "loss", "data", "captions"}
    trained = sha256_json(config.model_dump(mode="json", include=sections))[:8]
    name = f"text-seed{seed}-{trained}"
    reporter.say(f"seed {seed}: {TEXT}")
    with spent(root, f"train {TEXT}"):
        done = launch(changed, TrainOptions(run=name, resume="auto"), reporter)
    package = package_checkpoint(changed, run=name, reuse=True, reporter=reporter).folder
    device = sampling_device()
    precision = sampling_precision(device, config.sampling.precision)
    settings = series_settings(changed, device, "text", package)
    drawn = sha256_json([asdict(settings), held_out.rows["key"].tolist(), done.step])
    captions = Corpus.open(worded).split(config.split.validation_name).set_index("key")["caption"]

    def found() -> dict[str, Doubles]:
        pipeline = load_pipeline("text", package, config.sampling.scheduler, device, precision)
        orders = [
            Order(key, str(captions[key]), derive_seed(config.sampling.seed, key), {})
            for key in held_out.rows["key"]
        ]
        with spent(root, "draw and read"), torch.no_grad():
            drawn = drawn_pictures(pipeline, orders, settings, TEXT, reporter)
            return {"read": np.stack([judge(one)[0].double().numpy() for one in drawn])}

    return _kept(root / "readings" / f"{name}-{drawn[:8]}.npz", found)["read"]


# ---- The result ----------------------------------------------------------------------------------


def write_result(
    held_out: HeldOut,
    swept: Mapping[str, Doubles],
    copied: Mapping[str, Doubles],
    placed: Doubles,
    facts: Mapping[str, Any],
    folder: Path,
) -> None:
    """The Markdown and its numbers.

    Args:
        swept: form → [S, F, U, L, U], see `Readings`; S training seeds.
        copied: form, and the photos → [S, P, 2, U].
        placed: [S, F, N, 2], valence and arousal read at the N of `PLACES`.
    """
    units, truth = held_out.units, held_out.truth()
    people = held_out.rows["identity"].to_numpy()
    figures = {form: unit_figures(some, LEVELS, units) for form, some in swept.items()}
    leaks = {form: leakage(some, LEVELS).mean((0, 1)) for form, some in swept.items()}
    copies = {form: followed(some, truth, people, units) for form, some in copied.items()}
    present = {form: presence_f1(some, truth, people, units) for form, some in copied.items()}
    places = {
        title: concordances(placed[:, :, chosen], np.array(PLACES)[chosen], ("valence", "arousal"))
        for title, chosen in (
            ("two thirds and all of it", _STRONG),
            ("a third too", list(range(len(PLACES)))),
        )
    }
    plain = {
        "setting": dict(facts),
        "faces": len(held_out.swept),
        "photos": len(held_out.rows),
        "alone": {
            form: {unit: asdict(one) for unit, one in some.items()}
            for form, some in figures.items()
        },
        "leakage": {
            form: {unit: dict(zip(units, row.tolist(), strict=True))
                   for unit, row in zip(units, matrix, strict=True)}
            for form, matrix in leaks.items()
        },
        "copied": {
            form: {unit: asdict(one) for unit, one in some.items()} for form, some in copies.items()
        },
        "present": {
            form: {unit: asdict(one) for unit, one in some.items()}
            for form, some in present.items()
        },
        "places": {
            title: {scale: asdict(one) for scale, one in some.items()}
            for title, some in places.items()
        },
    }  # fmt: skip
    write_json(folder / f"{NAME}.json", plain)
    text = _markdown(held_out, figures, leaks, copies, present, places, facts)
    write_text(folder / f"{NAME}.md", text)


def _markdown(
    held_out: HeldOut,
    figures: Mapping[str, Mapping[str, UnitFigures]],
    leaks: Mapping[str, Doubles],
    copies: Mapping[str, Mapping[str, Figure]],
    present: Mapping[str, Mapping[str, Figure]],
    places: Mapping[str, Mapping[str, Figure]],
    facts: Mapping[str, Any],
) -> str:
    units = held_out.units
    sections = [
        "# Action units, commanded and read",
        f"`python -m tests.benchmarks.{NAME}`: {facts['seeds']} training seeds of "
        f"{facts['updates']} updates at {facts['resolution_px']} px; {facts['device']}, torch "
        f"{facts['torch']}; {time_told(facts['seconds'])}. In brackets 95 % intervals over faces "
        f"and seeds. Base {str(facts['base_sha256'])[:12]}, read by {facts['judge']}.",
        "## In short",
        markdown_table(["", *figures], _in_short(figures)),
        f"## Each unit alone, grades 0 to 5, the others at rest: {len(held_out.swept)} captions",
        "Unasked: the mean of the other units' slopes over the unit's own; in brackets the most.",
        *(
            f"### {form}\n\n" + markdown_table(_ALONE, map(_row_of, some.items()))
            for form, some in figures.items()
        ),
        "## Leakage: read units (columns) per grade of the commanded one (rows)",
        *(f"### {form}\n\n" + _matrix(matrix, units) for form, matrix in leaks.items()),
        "## Valence and arousal, told as the units that show them",
        "Asked for are faces at rest and on the way to each emotion, of "
        f"{len(held_out.swept)} captions; Lin's concordance of what was asked and what "
        f"{held_out.workspace.config.evaluate.judge} reads. It learnt from photos that show "
        f"{INTENSITY_RANGE[0]:.0%} of an emotion or more, so of a third it knows nothing.",
        markdown_table(
            ["on the way", "valence", "arousal"],
            [[title, *(one.shown for one in some.values())] for title, some in places.items()],
        ),
        f"## The units of {len(held_out.rows)} unseen photos, left and right",
        "Pearson's r of the label with what is read off a picture drawn by it; of the photo itself "
        "it is the most that this judge could read. Intervals over people and seeds.",
        _beside(copies, units),
        f"## Which units are there: F1, the stronger half at {PRESENT_FROM:g} or more",
        "Text names the units that are there, and no more; what intensities add stands beside.",
        _beside(present, units),
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _beside(found: Mapping[str, Mapping[str, Figure]], units: Sequence[str]) -> str:
    """A row of each unit, the mean of all below."""
    rows = [[unit, *(some[unit].shown for some in found.values())] for unit in units]
    means = [f"{np.mean([one.value for one in some.values()]):.2f}" for some in found.values()]
    return markdown_table(["unit", *found], [*rows, ["mean", *means]])


_ALONE = ("unit", "Pearson", "Spearman", "slope", "MSE", "unasked")


def _row_of(item: tuple[str, UnitFigures]) -> list[str]:
    unit, found = item
    numbers = (found.pearson, found.spearman, found.slope, found.mse, found.unasked)
    other, share = found.worst
    return [
        unit,
        *(one.shown for one in numbers[:-1]),
        f"{found.unasked.shown} ({other} {share:.2f})",
    ]


def _in_short(figures: Mapping[str, Mapping[str, UnitFigures]]) -> list[list[str]]:
    every = [list(some.values()) for some in figures.values()]
    lines = {
        "units with Pearson of 0.8 or more": lambda one: sum(u.pearson.value >= 0.8 for u in one),
        "units with Pearson below 0.5": lambda one: sum(u.pearson.value < 0.5 for u in one),
        "units that move others by more than 20 %": lambda one: sum(
            u.unasked.value > 0.2 for u in one
        ),
        "median slope": lambda one: f"{np.median([u.slope.value for u in one]):.2f}",
        "mean MSE": lambda one: f"{np.mean([u.mse.value for u in one]):.2f}",
    }
    return [[title, *(str(count(one)) for one in every)] for title, count in lines.items()]


def _matrix(matrix: Doubles, units: Sequence[str]) -> str:
    rows = [
        [unit, *(f"{value:.2f}" for value in row)] for unit, row in zip(units, matrix, strict=True)
    ]
    return markdown_table(["", *units], rows)


if __name__ == "__main__":
    main()

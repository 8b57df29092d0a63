"""What is to be otherwise in a photo, however it is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.controls.asked_light import NAMED_LIGHTS
from sfe_core.controls.expression_change import WHERE as CHANGE
from sfe_core.controls.expression_change import ExpressionChange
from sfe_core.errors import UserError
from sfe_core.files import sha256_file

MOST_STRENGTH = 2.0
_MOST_TURN = {"yaw": 90.0, "pitch": 60.0, "roll": 180.0}
_TARGETS = ("expression", "pose", "light", "shape", "look")
_NOTHING = "add --expression-of, --pose-of, --light-of, --emotion, --au, --yaw, --light, …"


@dataclass(frozen=True)
class Edit:
    """What of a face is to be otherwise; all else stays as on its photo.

    Args:
        asked: an expression in words, units, blendshapes …; beside `expression_of` units alone, in
            place of what that photo shows of them.
        change: of the photo's own expression, in place of asking for one.
        jaw: how far open, 0 to 1, whatever the expression says.
        yaw, pitch, roll: degrees by which the head turns, to the picture's right, up, clockwise,
            from where it is, or from the pose of `pose_of`, or from the front.
        frontal: the head looks straight ahead before it turns.
        light: a name of NAMED_LIGHTS, or a file; see `read_light`.
        expression_of, pose_of, light_of, shape_of: photos to take each from.
        look_of: photo to take all from that no map of the face shows, as hair.
        strength: how far all of it goes: 0 not at all, 1 as asked, to 2.

    Raises:
        UserError: out of range, a file that is not there, or one thing is said in two ways.
    """

    asked: AskedExpression | None = None
    change: ExpressionChange | None = None
    jaw: float | None = None
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    frontal: bool = False
    light: str | None = None
    expression_of: Path | None = None
    pose_of: Path | None = None
    light_of: Path | None = None
    shape_of: Path | None = None
    look_of: Path | None = None
    strength: float = 1.0

    def __post_init__(self) -> None:
        _check_range("--strength", self.strength, 0.0, MOST_STRENGTH)
        if self.jaw is not None:
            _check_range("--jaw", self.jaw, 0.0, 1.0)
        for name, most in _MOST_TURN.items():
            _check_range(f"--{name}", getattr(self, name), -most, most)
        self._check_expression()
        if self.light is not None and self.light_of is not None:
            raise UserError("--light", "was given together with --light-of", "give one of them")
        if self.light is not None and self.light not in NAMED_LIGHTS:
            _check_file("--light", Path(self.light), f"give a file, or {', '.join(NAMED_LIGHTS)}")
        if self.frontal and self.pose_of is not None:
            raise UserError("--frontal", "was given together with --pose-of", "give one of them")
        for name, photo in self.targets.items():
            _check_file(f"--{name}-of", photo, "give a photo")

    def _check_expression(self) -> None:
        asked = self.asked
        if asked is not None:
            asked.require_shown()
        if self.change is not None and (asked is not None or self.expression_of is not None):
            raise UserError(
                CHANGE,
                "keeps the photo's expression, but another was asked for",
                "leave one of them out",
            )
        if asked is None or self.expression_of is None:
            return
        if asked.emotion is not None or asked.mixture or asked.blendshapes:
            raise UserError(
                "--expression-of",
                "stands beside a word, blendshapes or a file that say all of the face",
                "leave one of them out; --au changes single units of that photo's expression",
            )

    @property
    def says_anything(self) -> bool:
        """Whether anything is to change."""
        said = (self.asked, self.change, self.jaw, self.light, *self.targets.values())
        turns = self.yaw or self.pitch or self.roll or self.frontal
        return bool(turns) or any(one is not None for one in said)

    @property
    def targets(self) -> dict[str, Path]:
        """What is taken from a photo, to that photo."""
        found = {name: getattr(self, f"{name}_of") for name in _TARGETS}
        return {name: photo for name, photo in found.items() if photo is not None}

    @property
    def changes_expression(self) -> bool:
        """Whether the face is to show anything else."""
        said = (self.asked, self.change, self.jaw, self.expression_of)
        return any(one is not None for one in said)

    @property
    def turns(self) -> bool:
        """Whether the head is to look anywhere else."""
        return bool(self.yaw or self.pitch or self.roll or self.frontal or self.pose_of)

    def record(self) -> dict[str, Any]:
        """What decides the face, as it stands in a picture's record; photos by their content."""
        said: dict[str, Any] = {
            "expression": None if self.asked is None else self.asked.record(),
            "change": None if self.change is None else self.change.record(),
            "jaw": self.jaw,
            "frontal": self.frontal or None,
            "light": self._light_record(),
            **{name: getattr(self, name) or None for name in _MOST_TURN},
            **{f"{name}_of": sha256_file(photo) for name, photo in self.targets.items()},
        }
        kept = {name: value for name, value in said.items() if value is not None}
        return kept | {"strength": self.strength}

    def _light_record(self) -> str | None:
        if self.light is None or self.light in NAMED_LIGHTS:
            return self.light
        return sha256_file(Path(self.light))

    def told(self) -> str:
        """In a few words, for captions.

        >>> Edit(yaw=20, jaw=0.5, strength=0.5).told()
        'jaw 0.5, yaw +20, strength 0.5'
        """
        parts = []
        if self.asked is not None:
            parts.append(_told_expression(self.asked))
        if self.change is not None:
            parts.append(self.change.told())
        parts += [f"{name} of {photo.stem}" for name, photo in self.targets.items()]
        parts += [] if self.jaw is None else [f"jaw {self.jaw:g}"]
        parts += ["frontal"] if self.frontal else []
        parts += [f"{name} {value:+g}" for name in _MOST_TURN if (value := getattr(self, name))]
        parts += [] if self.light is None else [f"light {Path(self.light).stem}"]
        parts += [] if self.strength == 1.0 else [f"strength {self.strength:g}"]
        return ", ".join(parts)


@dataclass(frozen=True)
class EditRequest:
    """Photos to edit, and how.

    Args:
        sources: photos, or folders of them.
        edit: what is to change, beside what the sweep says.
        sweep: a row of pictures that differ in this alone, or a grid of two; see `read_edit_axes`.
        count: of values along each axis.
        person: whose album the photos are of, where that is known.
        mean_shape: the album's mean shape in place of the photo's; None: as the package learnt.
        source_reconstruction, target_reconstruction: anny, emoca or deca; None: as preprocess.
        steps: of denoising.
        sampler: ddim or dpm-solver++; None: as the package says.
        seed: with the photo's key decides the noise; None: sampling.seed.
        keep_surround: the unedited surround is laid back over the picture.
        in_photo: each picture is also laid back into its photo.
        redraws: how often a noisy picture is drawn again at most.

    Raises:
        UserError: nothing to edit, or out of range.
    """

    sources: tuple[Path, ...]
    edit: Edit = field(default_factory=Edit)
    sweep: str | None = None
    count: int | None = None
    person: str | None = None
    mean_shape: bool | None = None
    source_reconstruction: str | None = None
    target_reconstruction: str | None = None
    steps: int = 20
    sampler: str | None = None
    seed: int | None = None
    keep_surround: bool = False
    in_photo: bool = False
    redraws: int = 2

    def __post_init__(self) -> None:
        if not self.sources:
            raise UserError("PHOTO", "is missing", "give a photo, or a folder of photos")
        for source in self.sources:
            if not source.exists():
                raise UserError("PHOTO", f"{source} does not exist", "give a photo or a folder")
        if not self.edit.says_anything and self.sweep is None:
            raise UserError("sfe edit", "nothing is to change", _NOTHING)
        if self.count is not None and self.sweep is None:
            raise UserError("--count", "is of a --sweep", "add --sweep, or leave it out")


def _told_expression(asked: AskedExpression) -> str:
    record = asked.record()
    if record.keys() == {"emotion", "intensity"}:
        strength = "" if asked.intensity == 1.0 else f" {asked.intensity:g}"
        return f"{asked.emotion}{strength}"
    if "blendshapes" in record:
        return asked.word or "an expression"
    named = [f"{word} {value:g}" for word, value in asked.mixture]
    named += [asked.emotion] if asked.emotion else []
    return " ".join([*named, *(f"{code} {max(sides):g}" for code, sides in asked.units)])


def _check_range(where: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # nan is in no range
        raise UserError(where, f"{value:g}", f"give {low:g} to {high:g}")


def _check_file(where: str, path: Path, remedy: str) -> None:
    if not path.is_file():
        raise UserError(where, f"{path} does not exist", remedy)

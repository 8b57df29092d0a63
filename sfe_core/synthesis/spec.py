"""What a synthetic photograph shows, drawn from seeds: who, with what expression, seen how."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.emotions import EMOTIONS
from sfe_core.faces.head import HeadModel
from sfe_core.synthesis.facs import Expression, sample_expression, sample_units
from sfe_core.synthesis.scene import Colour, Scene, sample_scene

IDENTITY_STREAM, PHOTO_STREAM, BELONGINGS_STREAM = 11, 12, 15  # keep the kinds of seed apart
# For unbalanced sets: roughly AffectNet's shares (Mollahosseini et al. 2017, table 3).
NATURAL_SHARES = (0.26, 0.46, 0.09, 0.05, 0.025, 0.015, 0.085, 0.015)

# Anchor colours per ancestry, from light to dark.
SKIN_TONES: dict[str, tuple[Colour, Colour]] = {
    "african": ((150, 102, 74), (82, 52, 38)),
    "asian": ((236, 200, 165), (196, 148, 108)),
    "caucasian": ((244, 208, 186), (212, 164, 132)),
}
HAIR_COLOURS: dict[str, Colour] = {
    "black": (28, 24, 23), "dark brown": (58, 40, 30), "brown": (98, 66, 42),
    "blond": (196, 158, 98), "red": (148, 68, 32), "grey": (150, 148, 146),
    "white": (218, 216, 212),
}  # fmt: skip
IRIS_COLOURS: tuple[Colour, ...] = (
    (70, 44, 26), (96, 62, 34), (52, 34, 24), (78, 112, 140), (92, 118, 84), (118, 126, 130),
)  # fmt: skip
HAIR_STYLES = ("bald", "buzz", "short", "medium", "fringe", "curly", "bob", "long")
GLASSES = ("none", "round", "square", "rimless")
EARRINGS = ("none", "stud", "hoop")


@dataclass(frozen=True)
class Person:
    """What stays the same over all photographs of an identity."""

    identity: int
    age: float  # years
    male: bool
    skin: Colour
    lips: Colour
    hair: Colour
    hair_name: str
    brow: Colour
    iris: Colour
    hair_style: str
    hairline_m: float  # moves the front hairline up, metres
    brow_thickness_m: float  # half the height of the brow at its thickest
    lid_opening: float  # eyeWide activation at rest: how far the eyes stand open
    beard: float  # 0 none, 0.5 stubble, 1 full
    makeup: float  # 0 to 1
    freckles: float  # 0 to 1
    texture_seed: int
    glasses: str  # one of GLASSES, worn in every photograph
    earrings: str  # one of EARRINGS


@dataclass(frozen=True)
class FaceSpec:
    """Everything `render_face` needs; equal specs give equal pixels."""

    seed: int
    person: Person
    expression: Expression
    scene: Scene

    @property
    def emotion(self) -> str:
        """One of EMOTIONS."""
        return self.expression.emotion


def sample_face(
    seed: int,
    emotion: str | None = None,
    identity: int | None = None,
    wide: bool = False,
    random_units: bool = False,
) -> FaceSpec:
    """Draw a photograph's parameters.

    Args:
        seed: of the photograph (expression, pose, light, background).
        emotion: one of EMOTIONS; None draws it in AffectNet's natural proportions.
        identity: row of the head model's identity table, wrapped round; None draws one.
        wide: as varied as photos from the web are, in framing, pose and light.
        random_units: action units at random in place of `emotion`, see `sample_units`.
    """
    rng = np.random.default_rng([PHOTO_STREAM, seed])
    shares = np.array(NATURAL_SHARES)
    drawn = EMOTIONS[rng.choice(len(EMOTIONS), p=shares / shares.sum())]
    table = HeadModel.load().identity_table
    someone = int(rng.integers(len(table)))
    number = (someone if identity is None else identity) % len(table)
    return FaceSpec(
        seed=seed,
        person=sample_person(number),
        expression=(
            sample_units(rng) if random_units else sample_expression(emotion or drawn, rng)
        ),
        scene=sample_scene(rng, wide),
    )


def _mix(first: Colour | Floats, second: Colour | Floats, share: float) -> Colour:
    """Colour `share` of the way from first to second."""
    return _triple(np.asarray(first) * (1 - share) + np.asarray(second) * share)


def _triple(values: Floats) -> tuple[float, float, float]:
    first, second, third = values.tolist()
    return first, second, third


def sample_person(identity: int) -> Person:
    """Appearance of a named identity, which follows its age, sex and ancestry labels."""
    rng = np.random.default_rng([IDENTITY_STREAM, identity])
    age, sex, *ancestry = (float(x) for x in HeadModel.load().identity_labels[identity])
    male = sex > 0.5
    depth = rng.uniform(0, 1)
    skin = np.zeros(3)
    for weight, (light, dark) in zip(ancestry, SKIN_TONES.values(), strict=True):
        skin += weight * np.asarray(_mix(light, dark, depth))
    skin_colour = _triple(np.clip(skin + rng.normal(0, 4) + rng.normal(0, 1.5, 3), 30, 250))
    hair_name = _hair_name(age, ancestry, rng)
    hair = _mix(HAIR_COLOURS[hair_name], rng.uniform(10, 190, 3), 0.07)
    makeup = float(rng.uniform(0.2, 1.0)) * (not male) * (rng.random() < 0.7)
    lips = _mix(np.asarray(skin_colour) * (0.86, 0.60, 0.60), (176, 42, 58), 0.10 + 0.45 * makeup)
    style = _hair_style(male, age, rng)
    grey_brow = hair_name in ("grey", "white", "blond")
    brow_base = _mix(HAIR_COLOURS["dark brown"], hair, 0.45 if grey_brow else 0.8)
    # Brows carry much of an expression: they always stand out from the skin.
    brow = np.minimum(brow_base, np.asarray(skin_colour) * 0.52)
    pale_iris = rng.random() < ancestry[2] * 0.8
    iris = IRIS_COLOURS[int(rng.integers(3)) + 3 * pale_iris]
    return Person(
        identity=identity, age=age, male=male, skin=skin_colour, lips=lips, hair=hair,
        hair_name=hair_name, brow=_mix(brow, skin_colour, 0.05), iris=iris,
        hair_style=style,
        hairline_m=float(rng.normal(0, 0.004) + 0.012 * male * max(0.0, (age - 35) / 40)),
        brow_thickness_m=float(rng.uniform(0.0034, 0.0048) + 0.0008 * male),
        lid_opening=float(rng.uniform(0.15, 0.45)),
        beard=float(rng.choice([0.0, 0.35, 1.0], p=[0.55, 0.27, 0.18])) * male,
        makeup=makeup, freckles=float(rng.uniform(0, 1) ** 3),
        texture_seed=int(rng.integers(2**31)), **_belongings(identity, age, male),
    )  # fmt: skip


def _belongings(identity: int, age: float, male: bool) -> dict[str, str]:
    """Glasses, more often the older, and the earrings of some women."""
    rng = np.random.default_rng([BELONGINGS_STREAM, identity])
    needed = 0.11 + 0.17 * float(np.clip((age - 30) / 40, 0, 1))
    kind = GLASSES[1 + int(rng.choice(3, p=[0.35, 0.4, 0.25]))]
    glasses = kind if rng.random() < needed else "none"
    jewel = EARRINGS[1 + int(rng.integers(2))]
    earrings = jewel if rng.random() < 0.35 and not male else "none"
    return {"glasses": glasses, "earrings": earrings}


def _hair_name(age: float, ancestry: list[float], rng: np.random.Generator) -> str:
    """Hair colour by age and ancestry."""
    greying = np.clip((age - 42) / 30, 0, 0.95)
    roll, shade = rng.random(), rng.random()
    if roll < greying:
        return "white" if age > 62 and shade < 0.5 else "grey"
    dark = ancestry[0] + ancestry[1]
    if shade < dark:
        return "black" if shade < 0.75 * dark else "dark brown"
    rest = (shade - dark) / max(1 - dark, 1e-6)
    return ("dark brown", "brown", "blond", "red")[int(np.searchsorted([0.3, 0.62, 0.9], rest))]


def _hair_style(male: bool, age: float, rng: np.random.Generator) -> str:
    """Hair style by sex, and baldness by age."""
    if male:
        bald = 0.06 + 0.2 * np.clip((age - 40) / 30, 0, 1)
        shares = np.array([bald, 0.2, 0.36, 0.16, 0.1, 0.08, 0.01, 0.03])
    else:
        shares = np.array([0.0, 0.02, 0.08, 0.14, 0.1, 0.14, 0.2, 0.32])
    return HAIR_STYLES[rng.choice(len(HAIR_STYLES), p=shares / shares.sum())]

"""Painting a head: colour of each visible point from its place on the mean head.

Every pattern (brows, lips, iris, hairline, beard, collar) is a function of the mean head's
coordinates, in metres, so that it moves with the mesh and has no resolution of its own.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.controls.facial_actions import UNITS
from sfe_core.faces.head import REGION, HeadModel
from sfe_core.synthesis.facial_hair import paint_beard, paint_brows
from sfe_core.synthesis.facs import FULL_INTENSITY
from sfe_core.synthesis.hair import paint_hair
from sfe_core.synthesis.spec import FaceSpec, Person, Scene
from sfe_core.synthesis.surface import Surface, blend, bump, ramp
from sfe_core.synthesis.texture import cloudy, dotted, look_up, unroll

IRIS_RADIUS_M = 0.0064
PUPIL_RADIUS_M = 0.0027


@lru_cache(maxsize=1)
def lip_seam() -> tuple[Floats, Floats]:
    """x and y, metres, of the line where closed lips meet on the mean head."""
    mean = HeadModel.load().landmark_basis()[0]
    upper = mean[[48, 60, 61, 62, 63, 64, 54]]
    lower = mean[[48, 60, 67, 66, 65, 64, 54]]
    return upper[:, 0], (upper[:, 1] + lower[:, 1]) / 2


def paint_surface(surface: Surface, spec: FaceSpec) -> tuple[Floats, Floats]:
    """Diffuse colour [P, 3] in 0..255 and gloss [P] in 0..1 of the visible points."""
    person, scene = spec.person, spec.scene
    texels = unroll(surface.where)
    colour = _skin(surface, person, texels)
    left, right = np.asarray(spec.expression.units_of_sides, np.float32) / FULL_INTENSITY
    of_point = np.where(surface.where[:, :1] > 0, left, right)
    units = dict(zip(UNITS, of_point.T, strict=True))
    # Folds of skin are reddish: what light there is has gone through flesh.
    folds = _creases(surface.where, units, person.age)[:, None]
    colour *= 1.0 - folds * np.array([0.8, 1.05, 1.1])
    gloss = _oil(surface, person, texels).astype(np.float32)
    region = surface.region
    on_head = np.isin(region, [REGION[n] for n in ("skin", "lips", "lid", "scalp", "neck")])
    _face_features(surface, person, colour, gloss, on_head)
    _eyes_and_mouth(surface, person, scene, colour, gloss)
    paint_hair(surface, spec, colour, gloss, on_head)
    _clothes(surface, scene, colour, gloss)
    return colour, gloss


def _skin(surface: Surface, person: Person, texels: Floats) -> Floats:
    """Skin: blood and pigment unevenly spread, warm cheeks, nose and chin, spots, bags of age."""
    where = surface.where
    x, y = np.abs(where[:, 0]), where[:, 1]
    colour = np.tile(np.asarray(person.skin, np.float32), (len(where), 1))
    front = ramp(where[:, 2], -0.04, 0.01)
    blood = look_up(cloudy(0.011), texels, person.texture_seed)
    pigment = look_up(cloudy(0.006, seed=1), texels, person.texture_seed + 1)
    fine = look_up(cloudy(0.0011, 2, seed=2), texels, person.texture_seed + 2)
    old = float(np.clip((person.age - 30) / 45, 0, 1))
    rough = 1.0 - 0.5 * person.makeup
    colour *= (1.0 + rough * (0.018 + 0.014 * old) * pigment + 0.012 * rough * fine)[:, None]
    red = bump(x - 0.042, 0.017) * bump(y + 0.036, 0.015) * (0.20 + 0.16 * person.makeup)
    red += 0.24 * bump(x, 0.011) * bump(y + 0.038, 0.01) + 0.1 * bump(x, 0.02) * bump(y + 0.1, 0.01)
    red += 0.3 * (surface.region == REGION["ear"])
    red = red * (1.0 + 0.3 * blood) + (0.05 + 0.05 * old) * rough * np.maximum(blood, -0.8)
    blend(colour, np.asarray(person.skin) * (1.02, 0.66, 0.62), np.clip(red, -0.1, 0.8) * front)
    socket = bump(x - 0.031, 0.014) * bump(y - 0.004, 0.009) * front
    colour *= (1.0 - (0.14 + 0.14 * person.makeup) * socket)[:, None] * np.where(
        socket[:, None] > 0, (1.0, 0.985, 0.985), 1.0
    )
    bags = bump(x - 0.03, 0.011) * bump(y + 0.014, 0.0035) * front
    colour *= (1.0 - bags * (0.06 + 0.14 * old))[:, None]
    _spots(surface, person, colour, texels, front * rough)
    return colour


def _spots(surface: Surface, person: Person, colour: Floats, texels: Floats, shown: Floats) -> None:
    """Freckles, moles and blemishes, painted in place."""
    y, skin = surface.where[:, 1], np.asarray(person.skin)
    freckles = look_up(dotted(2600, (0.0007, 0.0016), seed=3), texels, person.texture_seed + 3)
    freckles *= ramp(y, 0.014, -0.012) * ramp(y, -0.075, -0.04) * shown
    blend(colour, skin * (0.72, 0.58, 0.5), 0.7 * person.freckles * freckles)
    moles = look_up(dotted(8, (0.0008, 0.0016), seed=4), texels, person.texture_seed + 4)
    blend(colour, skin * (0.42, 0.32, 0.3), 0.85 * moles * shown)
    young = float(np.clip((42 - person.age) / 25, 0.15, 1))
    sore = look_up(dotted(60, (0.0012, 0.003), seed=5), texels, person.texture_seed + 5)
    share = 0.5 * young * (person.texture_seed % 97 / 97) * sore * shown
    blend(colour, skin * (0.98, 0.55, 0.52), share)


def _oil(surface: Surface, person: Person, texels: Floats) -> Floats:
    """Gloss of skin [P]: forehead, nose and cheekbones shine, pores break the shine up."""
    where = surface.where
    x, y = np.abs(where[:, 0]), where[:, 1]
    zone = 0.7 * bump(x, 0.011) * ramp(y, -0.055, -0.03)
    zone += 0.55 * bump(x, 0.035) * bump(y - 0.05, 0.018) + 0.5 * bump(x - 0.045, 0.015) * bump(
        y + 0.018, 0.012
    )
    pores = look_up(cloudy(0.0009, 1, seed=6), texels, person.texture_seed + 6)
    oily = 0.75 + 0.5 * (person.texture_seed % 89 / 89)
    return (0.10 + 0.16 * zone) * np.clip(1.0 + 0.2 * pores, 0.4, 1.8) * oily


def _creases(where: Floats, units: dict[str, Floats], age: float) -> Floats:
    """Darkening [P] of the folds that muscles and years draw and a mesh this coarse cannot show.

    Args:
        where: [P, 3] on the mean head, metres.
        units: of each unit its share of full intensity [P] on the point's half of the face.
        age: years.
    """
    old = float(np.clip((age - 35) / 40, 0, 1))
    x, y = np.abs(where[:, 0]), where[:, 1]
    front = ramp(where[:, 2], -0.02, 0.01)
    brow_lines = bump(np.sin((y - 0.045 - 0.06 * x) * 500.0), 0.35)
    brow_lines *= ramp(y, 0.038, 0.045) * ramp(y, 0.07, 0.06) * ramp(x, 0.05, 0.03)
    frown = bump(x - 0.006, 0.0016) * ramp(y, 0.008, 0.014) * ramp(y, 0.036, 0.026)
    bridge = bump(np.sin((y + 0.4 * x) * 900.0), 0.4) * ramp(x, 0.016, 0.009)
    bridge *= ramp(y, -0.02, -0.012) * ramp(y, 0.012, 0.005)
    fold_x = 0.018 + np.interp(-y, [0.035, 0.075, 0.085], [0.0, 0.017, 0.018])
    fold = bump(x - fold_x, 0.002) * ramp(y, -0.034, -0.042) * ramp(y, -0.083, -0.072)
    corner = bump(y + 0.078 + 0.5 * (x - 0.026), 0.0025) * bump(x - 0.03, 0.005)
    # Fans at the outer corners of the eyes.
    feet = bump(np.sin((y - 0.55 * (x - 0.05)) * 1150.0), 0.4)
    feet *= bump(x - 0.0525, 0.0055) * bump(y + 0.001, 0.008)
    lifted = np.maximum.reduce([units["AU12"], units["AU10"], units["AU9"]]).clip(0.45 * old)
    raised = np.maximum(units["AU1"], units["AU2"]).clip(0.4 * old)
    squeezed = np.maximum(units["AU6"], units["AU7"]).clip(0.5 * old) * (0.3 + 0.7 * old)
    return front * (
        0.3 * squeezed * feet + 0.22 * raised * brow_lines
        + 0.45 * units["AU4"] * frown + 0.35 * units["AU9"] * bridge
        + 0.35 * lifted * fold + 0.3 * units["AU15"] * corner
    )  # fmt: skip


def _face_features(
    surface: Surface, person: Person, colour: Floats, gloss: Floats, on_head: np.ndarray
) -> None:
    """Beard, lips, lid line and brows, painted in place."""
    where = surface.where
    x, y, z = np.abs(where[:, 0]), where[:, 1], where[:, 2]
    paint_beard(surface, person, colour, on_head)
    lips = ramp(surface.masks[:, 0], 0.15, 0.6) * np.isin(
        surface.region, [REGION["lips"], REGION["skin"]]
    )
    blend(colour, person.lips, lips * 0.88)
    wrinkles = np.sin(where[:, 0] * 2300 + 2.0 * np.sin(y * 700 + person.texture_seed % 11))
    colour *= (1.0 - 0.05 * lips * wrinkles)[:, None]
    gloss += lips * (0.14 + 0.3 * person.makeup) * (1.0 + 0.3 * wrinkles)
    seam_x, seam_y = lip_seam()
    off_seam = np.abs(y - np.interp(where[:, 0], seam_x, seam_y))
    seam = bump(off_seam, 0.0014) * ramp(x, 0.026, 0.021) * lips
    colour *= (1.0 - 0.6 * seam)[:, None]
    corner = bump(x - 0.0245, 0.002) * bump(y + 0.0737, 0.002) * (z > 0)
    colour *= (1.0 - 0.35 * corner)[:, None]
    rim = ramp(surface.masks[:, 1], 0.25, 0.8) * on_head
    colour *= (1.0 - (0.3 + 0.35 * person.makeup) * rim * ramp(y, -0.005, 0.001))[:, None]
    paint_brows(surface, person, colour, on_head)


def _eyes_and_mouth(
    surface: Surface, person: Person, scene: Scene, colour: Floats, gloss: Floats
) -> None:
    """Eyeballs, lashes, mouth interior, tongue and teeth, painted in place."""
    where, region = surface.where, surface.region
    head = HeadModel.load()
    ball = np.flatnonzero(region == REGION["eyeball"])
    if len(ball):
        side = (where[ball, 0] < 0).astype(int)
        offset = where[ball] - head.eye_centres[side]
        aim = offset[:, :2] - np.asarray(scene.gaze) * head.eye_radius
        away = np.hypot(aim[:, 0], aim[:, 1])
        eye = np.tile(np.array([226.0, 218.0, 210.0]), (len(ball), 1))
        # Pink towards the corners, and shaded by the upper lid and its lashes.
        corner = ramp(np.abs(offset[:, 0]), 0.006, 0.0125)[:, None]
        eye += (np.array([214.0, 160.0, 148.0]) - eye) * 0.55 * corner
        eye *= (1.0 - 0.5 * ramp(offset[:, 1], 0.0, 0.0065))[:, None]
        turn = np.arctan2(aim[:, 1], aim[:, 0])
        rays = 0.82 + 0.12 * np.sin(turn * 23 + 3 * np.sin(turn * 7)) + 0.08 * np.sin(turn * 51)
        collar = 0.5 + 0.5 * np.clip(away / IRIS_RADIUS_M, 0, 1)
        # Light that enters on one side of the iris leaves on the other.
        glow = 1.0 - 0.35 * (aim @ np.asarray(scene.light[:2])) / IRIS_RADIUS_M
        iris = np.asarray(person.iris) * (rays * collar * np.clip(glow, 0.6, 1.5))[:, None]
        inside = ramp(away, IRIS_RADIUS_M, IRIS_RADIUS_M * 0.86)
        eye += (iris - eye) * inside[:, None]
        ring = bump(away - IRIS_RADIUS_M * 0.95, 0.0008)
        eye *= (1.0 - 0.6 * ring)[:, None]
        eye *= (1.0 - 0.95 * ramp(away, PUPIL_RADIUS_M, PUPIL_RADIUS_M * 0.8))[:, None]
        place = 0.0030 * np.asarray(scene.light[:2]) / np.hypot(*scene.light[:2])
        spark = np.hypot(aim[:, 0] - place[0], (aim[:, 1] - place[1]) * 0.8)
        eye += (255.0 - eye) * ramp(spark, 0.0018, 0.0009)[:, None]
        wet = np.hypot(aim[:, 0] + place[0], aim[:, 1] + 1.2 * place[1])
        eye += (235.0 - eye) * 0.3 * ramp(wet, 0.0026, 0.001)[:, None]
        colour[ball] = eye
        gloss[ball] = 0.35
    lash = region == REGION["lash"]
    colour[lash] = np.asarray(person.brow) * (0.55 - 0.25 * person.makeup)
    socket = region == REGION["socket"]
    colour[socket] = np.asarray(person.skin) * (0.55, 0.40, 0.38)
    inside_mouth = region == REGION["mouth_interior"]
    colour[inside_mouth] = (58, 20, 22)
    tongue = region == REGION["tongue"]
    colour[tongue] = (150, 72, 74)
    for jaw in ("upper_teeth", "lower_teeth"):
        teeth = region == REGION[jaw]
        gaps = 0.97 + 0.03 * np.abs(np.sin(where[teeth, 0] * np.pi / 0.0085))
        colour[teeth] = np.array([250.0, 244.0, 232.0]) * gaps[:, None]
        gloss[teeth] = 0.2


def _clothes(surface: Surface, scene: Scene, colour: Floats, gloss: Floats) -> None:
    """A top with a round collar, painted in place on the bust."""
    where = surface.where
    body = np.isin(surface.region, [REGION["bust"], REGION["neck"]])
    dip = 0.035 * bump(where[:, 0], 0.05) * ramp(where[:, 2], -0.13, -0.03)
    level = where[:, 1] + scene.neckline_m + dip
    share = ramp(level, 0.0015, -0.0015) * body
    weave = 1.0 + 0.05 * np.sin(where[:, 0] * 900) * np.sin(where[:, 1] * 900)
    colour += (np.asarray(scene.cloth) * weave[:, None] - colour) * share[:, None]
    edge = bump(level + 0.004, 0.002) * body
    colour *= (1.0 - 0.25 * edge)[:, None]
    gloss *= 1.0 - 0.9 * share

"""What changes from photograph to photograph: pose, light, surroundings, things worn, camera."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sfe_core.arrays import Floats

Colour = tuple[float, float, float]  # sRGB, 0 to 255

BACKGROUNDS = ("plain", "studio", "indoor", "outdoor")
LIGHTS = ("soft", "side", "warm", "cool", "bright")
# Drawn in wide photographs only, besides the ones above.
WIDE_BACKGROUNDS = ("pattern", "night")
WIDE_LIGHTS = ("back", "hard", "coloured", "dim")
HATS = ("none", "beanie", "cap")


@dataclass(frozen=True)
class Capture:
    """What lens, sensor and file do to the picture."""

    blur: float  # sigma over frame size
    white_balance: Colour  # gain per channel
    vignette: float  # share of brightness lost in the corners
    contrast: float  # 0 straight, 1 a full S curve
    black: float  # grey levels by which the darkest tone is lifted
    noise: float  # read noise, sigma in grey levels
    shot_noise: float  # photon noise, sigma in grey levels at white
    chroma_noise: float  # sigma of the colour noise over that of the brightness noise
    sharpening: float  # gain of the unsharp mask; halos show from 0.5
    jpeg_quality: int  # 55 to 95; 0 keeps the picture uncompressed
    jpeg_subsampled: bool  # colour at half the resolution


@dataclass(frozen=True)
class Worn:
    """Things of the day on or before the head; glasses and earrings belong to the person."""

    hat: str  # one of HATS
    hat_colour: Colour
    scarf: bool
    scarf_colour: Colour
    sunglasses: bool
    hand: int  # at the cheek: -1 image left, 1 image right, 0 none


@dataclass(frozen=True)
class Scene:
    """What changes from photograph to photograph."""

    yaw: float  # degrees, to image right
    pitch: float  # degrees, up
    roll: float  # degrees, clockwise
    face_share: float  # face height, chin to hairline, over frame height
    centre: tuple[float, float]  # eyes' midpoint over frame size
    gaze: tuple[float, float]  # iris offset over eye radius, right and up
    light_name: str
    light: tuple[float, float, float]  # direction towards the light, unit, camera frame
    light_colour: Colour  # gain per channel
    ambient: float  # 0 to 1
    background: str
    background_seed: int
    wall_shadow: float  # darkness of the head's shadow on the wall behind, 0 to 1
    cloth: Colour
    neckline_m: float  # how far below the eyes the collar starts
    exposure: float  # gain
    worn: Worn
    capture: Capture


def sample_scene(rng: np.random.Generator, wide: bool = False) -> Scene:
    """Pose, framing, light, background and camera of one photograph; `wide` as `sample_face`'s."""
    share = float(rng.uniform(0.58, 0.78))
    name = LIGHTS[int(rng.integers(len(LIGHTS)))]
    side = rng.choice([-1.0, 1.0])
    across = {"side": rng.uniform(0.75, 1.1), "bright": rng.uniform(0, 0.3)}.get(
        name, rng.uniform(0.15, 0.6)
    )
    direction = np.array([side * across, rng.uniform(0.25, 0.75), 0.9])
    tint = {"warm": (1.08, 0.99, 0.88), "cool": (0.95, 1.0, 1.06)}.get(name, (1.0, 1.0, 1.0))
    colour = np.asarray(tint) * rng.normal(1.0, 0.015, 3)
    ambient = {"side": 0.34, "soft": 0.52, "bright": 0.5}.get(name, 0.44)
    scene = Scene(
        yaw=float(np.clip(rng.normal(0, 10), -25, 25)),
        pitch=float(np.clip(rng.normal(0, 5.5), -15, 15)),
        roll=float(np.clip(rng.normal(0, 3), -8, 8)),
        face_share=share,
        centre=(float(rng.normal(0.5, 0.025)), float(0.48 - 0.05 * (0.78 - share) / 0.2
                                                    + rng.normal(0, 0.015))),
        gaze=(float(rng.normal(0, 0.05)), float(rng.normal(0, 0.03))),
        light_name=name,
        light=_triple(direction / np.linalg.norm(direction)),
        light_colour=_triple(colour),
        ambient=float(ambient + rng.normal(0, 0.03)),
        background=BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))],
        background_seed=int(rng.integers(2**31)),
        wall_shadow=float(rng.uniform(0.15, 0.5)) * (rng.random() < 0.4),
        cloth=_triple(rng.uniform(20, 215, 3) * rng.uniform(0.5, 1.0)),
        neckline_m=float(rng.uniform(0.15, 0.2)),
        exposure=float(rng.uniform(0.92, 1.1)),
        worn=_sample_worn(rng),
        capture=_sample_capture(rng),
    )  # fmt: skip
    return _widen(scene, rng) if wide else scene


def _sample_worn(rng: np.random.Generator) -> Worn:
    """A hat in one photograph of twenty, a scarf or a hand at the cheek more seldom."""
    return Worn(
        hat=HATS[int(rng.choice(3, p=[0.95, 0.025, 0.025]))],
        hat_colour=_triple(rng.uniform(18, 200, 3) * rng.uniform(0.4, 1.0)),
        scarf=bool(rng.random() < 0.04),
        scarf_colour=_triple(rng.uniform(30, 210, 3)),
        sunglasses=False,
        hand=int(rng.choice([-1, 1])) if rng.random() < 0.03 else 0,
    )


def _sample_capture(rng: np.random.Generator) -> Capture:
    """From a studio camera's clean files to a phone's sharpened and compressed ones."""
    balance = np.exp(rng.normal(0, 1) * np.array([0.025, 0, -0.03]) + rng.normal(0, 0.008, 3))
    night = float(rng.beta(1.2, 3.0))  # how little light the sensor had
    return Capture(
        blur=float(rng.uniform(0.0, 0.003) + 0.0025 * (rng.random() < 0.1)),
        white_balance=_triple(balance / balance.mean()),
        vignette=float(rng.uniform(0.0, 0.25)),
        contrast=float(rng.uniform(0.0, 0.3)),
        black=float(rng.uniform(0.0, 12.0)),
        noise=float(0.3 + 1.6 * night),
        shot_noise=float(0.5 + 3.0 * night),
        chroma_noise=float(rng.uniform(0.2, 0.8)),
        sharpening=float(rng.uniform(0.0, 0.9) * (rng.random() < 0.7)),
        jpeg_quality=int(rng.integers(55, 96)) if rng.random() < 0.55 else 0,
        jpeg_subsampled=bool(rng.random() < 0.6),
    )


def _widen(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene seen as snapshots are: any framing, stronger poses, harder light."""
    share = float(rng.uniform(0.35, 1.0))
    # Chin and hairline stay inside the frame, the end of the bust below it.
    bottom = 1.0 - 0.62 * share
    top = min(max(0.42 * share, 1.0 - 1.4 * share), bottom)
    aside = max(0.0, 0.42 - 0.4 * share)
    centre = (0.5 + float(np.clip(rng.normal(0, 0.09), -aside, aside)),
              float(np.clip(rng.normal(0.45, 0.07), top, bottom)))  # fmt: skip
    scene = replace(
        scene,
        yaw=float(np.clip(rng.normal(0, 20), -45, 45)),
        pitch=float(np.clip(rng.normal(0, 9), -25, 25)),
        roll=float(np.clip(rng.normal(0, 7), -20, 20)),
        gaze=_pair(rng.normal(0, 0.1), rng.normal(0, 0.05)),
        face_share=share,
        centre=centre,
        worn=replace(scene.worn, sunglasses=bool(rng.random() < 0.02)),
    )
    if rng.random() < 0.25:
        scene = replace(scene, background=WIDE_BACKGROUNDS[int(rng.integers(2))])
    return _relight(scene, rng) if rng.random() < 0.45 else scene


def _relight(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene under one of WIDE_LIGHTS."""
    name = WIDE_LIGHTS[int(rng.integers(len(WIDE_LIGHTS)))]
    side = float(rng.choice([-1.0, 1.0]))
    height, across = float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.3, 1.3))
    forward, ambient, exposure = {
        "back": (-0.7, 0.62, 1.0), "hard": (0.7, 0.2, 1.05),
        "coloured": (0.6, 0.36, 1.0), "dim": (0.8, 0.36, float(rng.uniform(0.45, 0.72))),
    }[name]  # fmt: skip
    direction = np.array([side * across, height, forward])
    colour = scene.light_colour
    capture = scene.capture
    if name == "coloured":
        strong = rng.uniform(0.6, 1.25, 3)
        colour = _triple(strong / strong.mean())
    if name == "dim":
        capture = replace(capture, noise=capture.noise + 2.0, shot_noise=capture.shot_noise + 3.0)
    return replace(
        scene, light_name=name, light=_triple(direction / np.linalg.norm(direction)),
        light_colour=colour, ambient=ambient, exposure=scene.exposure * exposure, capture=capture,
    )  # fmt: skip


def _pair(first: float, second: float) -> tuple[float, float]:
    return float(first), float(second)


def _triple(values: Floats) -> tuple[float, float, float]:
    first, second, third = values.tolist()
    return first, second, third

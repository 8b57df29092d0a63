"""Light on a painted head: a soft lamp with its shadows, sky, gloss, light inside skin.

Colours are linear inside and sRGB-like at both ends. Skin's red light travels farthest below the
surface, so that red reaches farther round the terminator (the wrapped diffuse of E. d'Eon and
D. Luebke, "Advanced techniques for realistic real-time skin rendering", GPU Gems 3, 2007, ch. 14).
Grazing reflection follows C. Schlick, "An inexpensive BRDF model for physically-based rendering",
Computer Graphics Forum 13(3), 1994.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from sfe_core.arrays import Floats, Mask
from sfe_core.faces.head import REGION, HeadModel
from sfe_core.faces.rendering import Raster, shadow
from sfe_core.synthesis.appearance import paint_surface
from sfe_core.synthesis.hair import shell_normals
from sfe_core.synthesis.spec import FaceSpec, Scene
from sfe_core.synthesis.surface import Surface

SHADOW_STREAM = 14
GAMMA = 2.2
# How far light wraps round the edge of its own shadow, red, green, blue.
SKIN_WRAP = np.array([0.34, 0.17, 0.11], np.float32)
OTHER_WRAP = np.array([0.08, 0.08, 0.08], np.float32)
SKIN_REGIONS = ("skin", "lips", "lid", "ear", "neck", "scalp", "socket")
LIGHT_RAYS = 3  # per picture pixel, spread over the lamp
# Half the angle under which a lamp is seen, as the sine: a window, a bulb, the sun through haze.
LAMP_SIZE = {
    "hard": 0.06,
    "back": 0.2,
    "soft": 0.42,
    "side": 0.2,
    "warm": 0.25,
    "cool": 0.3,
    "bright": 0.32,
}


def light_head(
    raster: Raster,
    vertices: Floats,
    faces: NDArray[np.int32],
    face_region: NDArray[np.uint8],
    spec: FaceSpec,
    scale: float,
    step: int,
) -> Floats:
    """Lit colours [hits, 3], 0..255, sRGB-like; brighter than 255 where the picture would clip.

    Args:
        raster: what each ray met.
        vertices: [V, 3] image space, as cast.
        faces: [F, 3]; face_region: [F].
        spec: of the photograph.
        scale: pixels of the raster a metre.
        step: rays of the raster per pixel of the picture: shadows are cast once a pixel.
    """
    head = HeadModel.load()
    hit = raster.hit
    values = raster.interpolate(np.concatenate([head.mean, head.paint], 1), faces)
    normals = raster.normals[hit]
    region = face_region[raster.face_index[hit]]
    normals = shell_normals(normals, values[:, :3], region, spec.scene)
    surface = Surface(values[:, :3], values[:, 3:], region, normals)
    colour, gloss = paint_surface(surface, spec)
    albedo = np.power(np.clip(colour, 1.0, 255.0) / 255.0, GAMMA)
    skin = np.isin(surface.region, [REGION[name] for name in SKIN_REGIONS])
    lit = _lamp_share(raster, vertices, faces, spec, scale, step)[hit]
    hollow = occlusion(raster, scale)[hit]
    teeth = np.isin(surface.region, [REGION["upper_teeth"], REGION["lower_teeth"]])
    # Lips would darken teeth to grey in a mouth this small.
    hollow[teeth] = np.sqrt(np.maximum(hollow[teeth], 0.9))
    lit[teeth] = np.maximum(lit[teeth], 0.9)
    light = _diffuse(normals, skin, lit, hollow, spec.scene)
    shown = albedo * light + _gloss(normals, gloss, lit, hollow, spec.scene)
    inside = np.isin(surface.region, [REGION["mouth_interior"], REGION["tongue"]])
    shown[inside] *= 0.45
    return 255.0 * np.power(np.maximum(shown * spec.scene.exposure, 0.0), 1.0 / GAMMA)


def _lamp_share(
    raster: Raster,
    vertices: Floats,
    faces: NDArray[np.int32],
    spec: FaceSpec,
    scale: float,
    step: int,
) -> Floats:
    """Share of the lamp [H, W] that each point sees, in [0, 1]."""
    scene = spec.scene
    rng = np.random.default_rng([SHADOW_STREAM, spec.seed])
    spread = rng.standard_normal((LIGHT_RAYS, 3)) * LAMP_SIZE.get(scene.light_name, 0.25)
    lamps = np.asarray(scene.light) + spread
    lamps /= np.linalg.norm(lamps, axis=1, keepdims=True)
    seen = shadow(raster, vertices, faces, lamps.astype(np.float32), 0.0022 * scale, step)
    return uniform_filter(seen, 2 * step + 1)


def _diffuse(normals: Floats, skin: Mask, lit: Floats, hollow: Floats, scene: Scene) -> Floats:
    """Light that falls on each point [P, 3], linear."""
    towards = np.asarray(scene.light, np.float32)
    wrap = np.where(skin[:, None], SKIN_WRAP, OTHER_WRAP)
    facing = np.clip(((normals @ towards)[:, None] + wrap) / (1.0 + wrap), 0.0, 1.0)
    facing = facing * facing * (3.0 - 2.0 * facing) * 0.4 + facing * 0.6
    # Light that entered beside the shadow's edge leaves inside it, red first.
    bleed = np.where(skin[:, None], np.array([0.75, 1.0, 1.12], np.float32), 1.0)
    key = facing * np.power(np.maximum(lit, 1e-3)[:, None], bleed)
    colour = np.asarray(scene.light_colour, np.float32) ** GAMMA
    sky = np.array([0.94, 1.0, 1.08], np.float32) * (0.62 + 0.38 * normals[:, 1:2])
    bounce = np.array([1.10, 0.98, 0.86], np.float32) * (0.30 - 0.30 * normals[:, 1:2])
    fill = 0.35 * np.clip(normals @ np.array([-towards[0], 0.1, 0.8], np.float32), 0, 1)
    ambient = scene.ambient * (sky + bounce + fill[:, None] * 0.8)
    # Dark folds of skin are red, not grey: light has gone through flesh on its way.
    depth = np.where(skin[:, None], np.array([0.85, 1.1, 1.2], np.float32), 1.0)
    shaded = np.power(hollow[:, None], depth * 1.7)
    strength = 1.75 - 1.5 * scene.ambient
    return strength * key * colour * np.sqrt(shaded) + 0.37 * ambient * shaded


def _gloss(normals: Floats, gloss: Floats, lit: Floats, hollow: Floats, scene: Scene) -> Floats:
    """Reflected light [P, 3], linear: a broad and a narrow lobe of the lamp, and the sky's rim."""
    half = np.asarray(scene.light, np.float32) + np.array([0.0, 0.0, 1.0], np.float32)
    along = np.clip(normals @ (half / np.linalg.norm(half)), 0.0, 1.0)
    lobes = 0.5 * along**14 + 0.6 * along**55
    grazing = (1.0 - np.clip(normals[:, 2], 0.0, 1.0)) ** 4
    shine = gloss * (lobes * lit * (1.0 + 2.0 * grazing) + 0.5 * scene.ambient * grazing * hollow)
    return 0.62 * shine[:, None] * np.asarray(scene.light_colour, np.float32)


def occlusion(raster: Raster, scale: float) -> Floats:
    """Ambient occlusion [H, W] in [0.4, 1.05]: points behind their surroundings are darker.

    Args:
        raster: what each ray met.
        scale: pixels a metre.
    """
    depth = np.where(raster.hit, raster.depth / scale, -0.12).astype(np.float32)
    result = np.ones_like(depth)
    for radius_m, strength in ((0.004, 60.0), (0.012, 15.0), (0.03, 4.0)):
        # Two box passes stand in for a Gaussian of this radius; their cost does not grow with it.
        box = max(1, round(float(np.sqrt(6.0 * (radius_m * scale) ** 2 + 1.0))))
        behind = uniform_filter(uniform_filter(depth, box), box) - depth
        result -= np.clip(behind * strength, -0.04, 0.3)
    return np.clip(result, 0.4, 1.05)

"""Glasses and sunglasses, fitted to the nose, brows and ears that wear them."""

from __future__ import annotations

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.synthesis.pieces import Piece, Wearer, tube
from sfe_core.synthesis.scene import Colour

FRAME_COLOURS: tuple[Colour, ...] = (
    (24, 22, 22), (70, 46, 30), (150, 148, 150), (168, 132, 78), (44, 54, 84), (120, 44, 40),
)  # fmt: skip
# Half width, half height and squareness (exponent of the superellipse) of a lens, metres.
LENS_SHAPES = {"round": (0.0235, 0.0225, 2.0), "square": (0.0265, 0.0185, 4.5),
               "rimless": (0.0250, 0.0170, 3.0), "sunglasses": (0.0285, 0.0230, 3.0)}  # fmt: skip
RIM_RADIUS_M = {"round": 0.0011, "square": 0.0017, "rimless": 0.0003, "sunglasses": 0.0018}


def glasses(wearer: Wearer, kind: str) -> list[Piece]:
    """Rims, lenses, bridge and arms, resting on this nose and before these brows and cheeks."""
    rng = np.random.default_rng(wearer.spec.person.texture_seed)
    colour = FRAME_COLOURS[int(rng.integers(len(FRAME_COLOURS)))]
    colour = FRAME_COLOURS[0] if kind == "sunglasses" else colour
    width, height, square = LENS_SHAPES[kind]
    rim = RIM_RADIUS_M[kind]
    gauge = float(np.linalg.norm(wearer.marks[45] - wearer.marks[36])) / 0.0892
    width, height = width * gauge, height * gauge
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    outline = np.stack([np.cos(turn), np.sin(turn)], 1)
    outline = np.sign(outline) * np.abs(outline) ** (2.0 / square) * (width, height)
    middle = np.array([0.0315 * gauge, wearer.marks[36:48, 1].mean() - 0.003])
    plane = _clear_plane(wearer, middle, width, height)
    metal = 0.5 if sum(colour) > 350 else 0.25
    pieces: list[Piece] = []
    for side in (-1.0, 1.0):
        flat = (middle + outline) * (side, 1.0)
        ring = np.stack([*flat.T, plane - 2.2 * flat[:, 0] ** 2], 1)
        pieces.append(Piece(*tube(ring, rim, closed=True, sides=6), colour, metal))
        pieces.append(_lens(ring, kind))
        hinge = np.array([side * (middle[0] + width), middle[1] + 0.35 * height, 0.0])
        hinge[2] = plane - 2.2 * hinge[0] ** 2
        pieces.append(Piece(*tube(_arm(wearer, hinge), max(rim, 0.0008), sides=6), colour, metal))
    inner = middle[0] - width
    x = np.linspace(-inner, inner, 9)
    lift = middle[1] + 0.25 * height + 0.003 * np.cos(x / inner * np.pi / 2)
    bridge = np.stack([x, lift, np.full(9, plane + 0.0015)], 1)
    pieces.append(Piece(*tube(bridge, max(rim, 0.0009), sides=6), colour, metal))
    return pieces


def _clear_plane(wearer: Wearer, middle: Floats, width: float, height: float) -> float:
    """z, metres, of a lens plane (bent back by 2.2 x²) that brows and lashes do not touch."""
    skin = np.concatenate([wearer.part("skin"), wearer.part("lid")])
    apart = np.abs(np.abs(skin[:, 0]) - middle[0]) < width
    near = apart & (np.abs(skin[:, 1] - middle[1]) < height)
    ahead = skin[near, 2] + 2.2 * skin[near, 0] ** 2
    return float(np.percentile(ahead, 92)) + 0.003


def _lens(ring: Floats, kind: str) -> Piece:
    """The disk inside a rim [N, 3]."""
    count = len(ring)
    vertices = np.concatenate([ring, ring.mean(0, keepdims=True)])
    i = np.arange(count)
    faces = np.stack([i, (i + 1) % count, np.full(count, count)], 1).astype(np.int32)
    dark = kind == "sunglasses"
    return Piece(vertices, faces, (22, 22, 24) if dark else (120, 128, 128), gloss=0.05,
                 tint=0.93 if dark else 0.10)  # fmt: skip


def _arm(wearer: Wearer, hinge: Floats) -> Floats:
    """Path [N, 3] of an arm from its hinge round the temple to the top of the ear."""
    right = hinge[0] > 0
    side = 1.0 if right else -1.0
    ear = wearer.part("ear", right)
    top = ear[ear[:, 1] > np.percentile(ear[:, 1], 90)].mean(0)
    skin = wearer.part("skin", right)
    near = (np.abs(skin[:, 1] - hinge[1]) < 0.015) & (skin[:, 2] > -0.06)
    wide = np.abs(skin[near, 0]).max(initial=abs(float(hinge[0]))) + 0.002
    elbow = np.array([side * max(wide * 0.985, abs(float(hinge[0]))), hinge[1], hinge[2] - 0.012])
    temple = np.array([side * wide, hinge[1] * 0.7 + top[1] * 0.3, -0.045])
    return np.stack([hinge, elbow, temple, top + np.array([-side * 0.004, 0.0, 0.01])])

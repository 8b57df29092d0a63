"""Everything a synthetic person wears or holds: glasses, hats, earrings, scarves, a hand."""

from __future__ import annotations

import numpy as np

from sfe_core.synthesis.eyewear import glasses
from sfe_core.synthesis.headwear import hat
from sfe_core.synthesis.pieces import Piece, Wearer, capsule, tube
from sfe_core.synthesis.scene import Colour

METALS: tuple[Colour, ...] = ((196, 158, 84), (188, 190, 194))


def belongings(wearer: Wearer) -> list[Piece]:
    """Every piece the person wears or holds in this photograph."""
    person, worn = wearer.spec.person, wearer.spec.scene.worn
    pieces: list[Piece] = []
    if worn.sunglasses or person.glasses != "none":
        pieces += glasses(wearer, "sunglasses" if worn.sunglasses else person.glasses)
    if worn.hat != "none":
        pieces += hat(wearer)
    if person.earrings != "none":
        pieces += _earrings(wearer)
    if worn.scarf:
        pieces += _scarf(wearer)
    if worn.hand:
        pieces += _hand(wearer)
    return pieces


def _earrings(wearer: Wearer) -> list[Piece]:
    """A stud or a hoop at each lobe."""
    person = wearer.spec.person
    colour = METALS[person.texture_seed % 2]
    pieces = []
    for right in (False, True):
        side = 1.0 if right else -1.0
        ear = wearer.part("ear", right)
        lobe = ear[ear[:, 1] < np.percentile(ear[:, 1], 6)].mean(0)
        at = lobe + np.array([side * 0.003, 0.003, 0.003])
        if person.earrings == "stud":
            path = np.stack([at, at + np.array([side * 0.001, 0.0, 0.0005])])
            mesh = capsule(path, np.full(2, 0.0033))
        else:
            turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
            radius = 0.008 + 0.006 * (person.texture_seed % 7) / 6
            swing = np.array([0.5 * side, 0.0, 0.87])
            hoop = np.sin(turn)[:, None] * swing * radius
            hoop[:, 1] += (np.cos(turn) - 1.0) * radius
            mesh = tube(at + hoop, 0.0012, closed=True, sides=6)
        pieces.append(Piece(*mesh, colour, gloss=0.9))
    return pieces


def _scarf(wearer: Wearer) -> list[Piece]:
    """Two loose turns of knitted cloth round the neck."""
    neck = wearer.part("neck")
    middle, chin = neck.mean(0), wearer.marks[8]
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    pieces = []
    for drop, wide, thick in ((0.042, 0.078, 0.021), (0.068, 0.094, 0.024)):
        path = np.stack([
            middle[0] + wide * np.sin(turn),
            chin[1] - drop - 0.012 * np.cos(turn + 0.4) + 0.004 * np.sin(3 * turn),
            middle[2] + 0.012 + 0.95 * wide * np.cos(turn),
        ], 1)  # fmt: skip
        radius = thick * (1.0 + 0.12 * np.sin(5 * turn + 1.0))
        mesh = tube(path, radius, closed=True, sides=14)
        pieces.append(Piece(*mesh, wearer.spec.scene.worn.scarf_colour, gloss=0.01, knit_m=0.006))
    return pieces


def _hand(wearer: Wearer) -> list[Piece]:
    """A hand that holds the cheek: four fingers up the jaw, the wrist below."""
    side = float(wearer.spec.scene.worn.hand)
    # Jaw points run from image left to right; the hand lies on its own side of the mouth.
    jaw = wearer.marks[:17] if side < 0 else wearer.marks[16::-1]
    skin = wearer.spec.person.skin
    colour = (skin[0] * 0.97, skin[1] * 0.9, skin[2] * 0.88)
    pieces = []
    knuckles = np.linspace(0.0, 1.0, 4)
    for number, share in enumerate(knuckles):
        low = jaw[5] * (1 - share) + jaw[3] * share
        tip = jaw[2] * share + (jaw[3] * 0.55 + wearer.marks[48 if side < 0 else 54] * 0.45) * (
            1 - share
        )
        out = np.array([side * 0.006 * (1 + share), 0.0, 0.012 - 0.010 * share])
        lift = np.array([0.0, 0.010 + 0.006 * np.sin(np.pi * share), 0.0])
        base = low + np.array([side * 0.012, -0.020, 0.004])
        path = np.stack([base + out, (base + tip) / 2 + 1.4 * out, tip + lift + out])
        thick = 0.0078 - 0.0007 * (number in (0, 3))
        pieces.append(Piece(*capsule(path, thick * np.array([1.15, 1.0, 0.82])), colour, 0.10))
    palm = jaw[4] + np.array([side * 0.016, -0.032, 0.004])
    wrist = jaw[4] + np.array([side * 0.045, -0.11, 0.004])
    elbow = jaw[4] + np.array([side * 0.085, -0.30, 0.02])
    back = np.stack([palm, (palm + wrist) / 2, wrist])
    pieces.append(Piece(*capsule(back, np.array([0.027, 0.028, 0.024])), colour, 0.08))
    forearm = np.stack([wrist, elbow])
    pieces.append(Piece(*capsule(forearm, np.array([0.026, 0.036])),
                        wearer.spec.scene.cloth, 0.01))  # fmt: skip
    return pieces

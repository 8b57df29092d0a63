"""The face that guides a single picture: a photo's or the parametric head, any expression on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from sfe_core.arrays import Floats
from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.controls.asked_expression import TRACE, AskedExpression
from sfe_core.controls.expression_change import ExpressionChange
from sfe_core.controls.facial_actions import MOST_ACTIVATION, Sides
from sfe_core.corpus.artefacts.edited_scene import changed_scene
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.corpus.preprocessing.single_photo import scene_of_photo
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.faces.anny.anny_reconstruction import AnnyReconstructor
from sfe_core.faces.crop import crop_square
from sfe_core.faces.head import ACTION_NAMES, HeadModel
from sfe_core.faces.recognition.reading import EmotionRecogniser, cut_faces
from sfe_core.faces.recognition.recognisers import load_recogniser
from sfe_core.faces.reconstruction import HeadChange, Reconstruction
from sfe_core.faces.rendering import Camera
from sfe_core.reporting import Reporter

_RESTING_LIDS = 0.3  # eyeWide of people at rest, the middle of the synthetic ones'
_GAZE = tuple(place for place, name in enumerate(ACTION_NAMES) if name.startswith("eyeLook"))
_SURE = 0.5  # probability from which a recogniser's emotion may stand in the text
_FRAME_M = 0.34  # what the head's picture is wide; the crop is cut from it


def head_scene(config: PreprocessConfig) -> FaceScene:
    """The mean head at rest, seen from the front on black, cropped as the corpus crops faces."""
    model = HeadModel.load()
    side = 2 * config.crop_size
    identity = np.zeros(model.identity_count, np.float32)
    actions = at_rest()
    camera = Camera(np.eye(3), side / _FRAME_M, np.full(2, side / 2))
    landmarks = camera.project(model.landmarks(identity, actions)[0])[:, :2]
    head = Reconstruction(
        points=model.vertices(identity, actions)[0],
        faces=model.faces,
        camera=camera,
        angles=(0.0, 0.0, 0.0),
        error=0.0,
        landmarks=landmarks,
        codes={"identity": identity, "actions": actions},
        maker=AnnyReconstructor(),
    )
    box = (*landmarks.min(axis=0), *landmarks.max(axis=0))
    return FaceScene(
        photo=np.zeros((side, side, 3), np.uint8),
        landmarks=landmarks,
        transform=crop_square(landmarks, box, config.crop_rule, config.crop_scale),
        size=config.crop_size,
        head=head,
        detailed=False,
    )


def with_expression(scene: FaceScene, expression: AskedExpression) -> FaceScene:
    """The same face in the same pose and crop with another expression; the gaze stays.

    Where another backend fitted the head, the parametric one is fitted first.
    """
    scene = parametric_scene(scene)
    after = at_rest(expression.actions())
    after[list(_GAZE)] = np.asarray(scene.head.codes["actions"])[list(_GAZE)]
    return _with_actions(scene, after)


def with_change(scene: FaceScene, change: ExpressionChange) -> FaceScene:
    """The same face in the same pose and crop, some units changed; the rest stays as it is."""
    scene = parametric_scene(scene)
    return _with_actions(scene, change.of_actions(scene.head.codes["actions"], at_rest()))


def _with_actions(scene: FaceScene, after: Floats) -> FaceScene:
    """A face of the parametric head with other facial actions [52].

    Landmarks and mesh move by what the head moves between the two expressions, so that what the
    photo's landmarks know beyond the head is kept.
    """
    return changed_scene(scene, HeadChange(expression=after))


def expression_of_photo(
    photo: Path, config: PreprocessConfig, recogniser: str, reporter: Reporter
) -> AskedExpression:
    """The expression on a photo: facial actions of the parametric head, and what they mean.

    The gaze is left out, and so is how far people's lids are open at rest, which
    `with_expression` adds again. An emotion, valence and arousal go with them where the recogniser
    is on this machine; an emotion that it finds less likely than not is left out.

    Args:
        recogniser: asset name or path, see `load_recogniser`.
        reporter: told what was read.

    Raises:
        UserError: the photo cannot be read, or shows no face that is large enough.
    """
    scene = scene_of_photo(photo, config)
    meaning, told = _meaning(scene, recogniser)
    actions = np.array(parametric_scene(scene).head.codes["actions"], np.float64)
    actions -= at_rest()
    actions[list(_GAZE)] = 0.0
    named = zip(ACTION_NAMES, np.clip(actions, 0.0, MOST_ACTIVATION), strict=True)
    # Zero stays in: a face at rest is asked for as well.
    shown = tuple((name, round(float(value), 6)) for name, value in named)
    asked = AskedExpression(blendshapes=shown, **meaning)
    units = {code: max(sides) for code, sides in asked.unit_intensities().items()}
    seen = [f"{code} {value:.1f}" for code, value in units.items() if value > TRACE]
    reporter.say(f"on {photo.name}: {', '.join(seen) or 'no unit'}; {told}")
    return asked


def _meaning(scene: FaceScene, recogniser: str) -> tuple[dict[str, Any], str]:
    """What a recogniser says of a face, as AskedExpression's arguments and in words."""
    try:
        network = cast(EmotionRecogniser, load_recogniser(recogniser))
    except UserError as error:
        return {}, f"no emotion is read ({error})"
    images = crop_of(scene)
    square = network.face_square
    if square is not None:
        points = torch.tensor(scene.points)[None]
        images = cut_faces(images, points, square, network.input_px)
    with torch.inference_mode():
        reading = network(images)
    likely = reading.logits[0].softmax(0)
    emotion = EMOTIONS[int(likely.argmax())]
    told = [f"{emotion} ({float(likely.max()):.0%})"]
    said: dict[str, Any] = {"named": emotion if likely.max() >= _SURE else None}
    for name, value in (("valence", reading.valence[0]), ("arousal", reading.arousal[0])):
        if not torch.isnan(value):
            said[name] = float(value.clamp(-1.0, 1.0))
            told.append(f"{name} {said[name]:.2f}")
    return said, f"{recogniser} reads {', '.join(told)}"


def told_units(
    expression: AskedExpression | None,
    known: Sequence[str],
    alone: bool,
    sides: bool = True,
) -> dict[str, float]:
    """What a network that knows some action units is told of an expression; the rest stays free.

    Args:
        expression: None: nothing is told.
        known: FACS names; empty: nothing is told.
        alone: no face guides beside, so that what is not told is not shown.
        sides: whether the network tells left from right; else it is told the mean of both.

    Returns:
        Names as in `AU12L`, the person's left and right, to intensities, 0 to 5.

    Raises:
        UserError: of what was asked for by name, or of all, nothing would be shown.
    """
    if expression is None or not known:
        return {}
    asked = expression.unit_intensities()
    if not asked:  # a face at rest
        asked = dict.fromkeys(known, (0.0, 0.0))
    lost = [code for code in asked if code not in known]
    if alone and (len(lost) == len(asked) or dict(expression.units).keys() & set(lost)):
        raise UserError(
            "action units",
            f"the package knows no {', '.join(lost)}",
            f"it knows {', '.join(known)}",
        )
    uneven = [code for code, (left, right) in expression.units if left != right and code in known]
    if alone and uneven and not sides:
        raise UserError(
            "action units",
            f"the package does not tell left from right, and {uneven[0]} differs",
            f"write {uneven[0]} without L or R",
        )
    return by_side({code: asked[code] for code in asked if code in known}, sides)


def by_side(units: Mapping[str, Sides], sides: bool) -> dict[str, float]:
    """Intensities under names as in `AU12L`.

    Args:
        sides: False: both sides get their mean.
    """
    told = {}
    for code, (left, right) in units.items():
        mean = (left + right) / 2
        told[f"{code}L"], told[f"{code}R"] = (left, right) if sides else (mean, mean)
    return told


def shared_maps(
    config: PreprocessConfig, names: tuple[str, ...], reporter: Reporter
) -> tuple[str, ...]:
    """Those of a package's maps that the parametric head can draw as the corpus has them.

    Args:
        names: maps the package's encoders read.
    """
    odd = []
    if config.reconstruction != "anny":
        odd.append("mesh")
    if config.depth != "mesh" or config.reconstruction != "anny":
        odd.append("depth")
    left_out = [name for name in odd if name in names]
    if left_out:
        reporter.say(
            f"guided without {' and '.join(left_out)}: the corpus has them from "
            f"{config.reconstruction} and {config.depth}, the asked expression from the "
            "parametric head"
        )
    return tuple(name for name in names if name not in odd)


def at_rest(actions: Floats | None = None) -> Floats:
    """Facial actions [52], by default none, with lids as open as people's at rest."""
    rested = np.zeros(len(ACTION_NAMES), np.float32)
    if actions is not None:
        rested += actions
    for name in ("eyeWideLeft", "eyeWideRight"):
        rested[ACTION_NAMES.index(name)] += _RESTING_LIDS
    return rested


def parametric_scene(scene: FaceScene) -> FaceScene:
    """The scene with the parametric head, fitted now where another backend fitted another."""
    if not scene.detailed and {"identity", "actions"} <= scene.head.codes.keys():
        return scene
    low, high = scene.landmarks.min(axis=0), scene.landmarks.max(axis=0)
    (head,) = AnnyReconstructor().reconstruct(
        [scene.photo], scene.landmarks[None], np.array([[*low, *high]])
    )
    return replace(scene, head=head, detailed=False, given_mesh=None, depth=None)


def crop_of(scene: FaceScene) -> torch.Tensor:
    """A face's crop as networks see it: [1, 3, S, S], RGB in [-1, 1]."""
    return torch.tensor(scene.crop).permute(2, 0, 1)[None] / 127.5 - 1.0

"""Which assets a configuration needs, and which step needs them."""

from __future__ import annotations

from collections.abc import Sequence

from sfe_core.assets.reference import ModelReference
from sfe_core.assets.registry import Asset, registry
from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.config.model import Config
from sfe_core.config.stableface_sections import LossConfig
from sfe_core.errors import UserError
from sfe_core.files import sha256_json

EMOTION_NETWORK = "loss.emotion_network"
IDENTITY_NETWORK = "loss.identity_network"
AUTO = "auto"  # in section evaluate: what of the following is there; never needed
UNITS_JUDGE = "tiny-units-judge"  # what AUTO is among readers of action units
# Recognisers that learnt on real faces: never needed, and read beside the judge where they are.
OUTSIDE_JUDGES = ("face-api-emotion", "fer-emotion")
DETECTOR_ASSETS = {"dlib": ("dlib-landmarks",), "face-alignment": ("fan-2d",)}
BOX_ASSETS = {"sfd": ("sfd",), "blazeface": ("blazeface",), "dlib": ("dlib-landmarks",)}
PERCEPTUAL_ASSETS = {
    "st-lpips": ("st-lpips",),
    "lpips-vgg": ("lpips-heads", "vgg16"),
    "lpips-alex": ("lpips-heads", "alexnet"),
}
# What a reader of action units reads from beside its own weights.
UNITS_ASSETS = {"geometry-units": ("face-mesh",)}
IDENTITY_ASSETS = {
    AUTO: (),
    "none": (),
    "dlib": ("dlib-face-recognition",),
    "tiny-identity": ("tiny-identity",),
    "faceres": ("faceres",),
    "antelopev2": ("antelopev2",),
    "buffalo-l": ("buffalo-l",),
}
DEPTH_ASSETS = {"mesh": (), "zoedepth": ("zoedepth",)}
RECONSTRUCTION_ASSETS = {
    "anny": ("anny-head",),
    "emoca": ("deca-data", "emoca-v2"),
    "deca": ("deca-data", "deca"),
}


def needed_assets(config: Config) -> dict[str, list[Asset]]:
    """The registered assets that each command needs under `config`, without repeats.

    Values that are paths (a base model in a folder, say) are not assets and do not appear.
    """
    preprocess = (
        _detector_assets(config.preprocess.detector, config.preprocess.box_detector)
        + DEPTH_ASSETS[config.preprocess.depth]
        + reconstruction_assets(config.preprocess)
    )
    sources = [name.strip() for part in config.captions.sources for name in part.split("|")]
    if "blip" in sources:
        preprocess += (config.captions.blip_model,)
    if config.photos.emotions_read_by is not None:
        preprocess += (config.photos.emotions_read_by,)
    of_loss = [name for models in loss_models(config.loss).values() for name in models]
    of_loss += [beside for name in of_loss for beside in UNITS_ASSETS.get(name, ())]
    train = (config.model.base, *of_loss)
    steps = {"preprocess": preprocess, "train": train, "evaluate": _evaluate_assets(config)}
    known = registry()
    return {
        step: [known[name] for name in dict.fromkeys(names) if name in known]
        for step, names in steps.items()
    }


def loss_models(loss: LossConfig) -> dict[str, tuple[str, ...]]:
    """Field of sfe.yaml to the models behind it, of the networks that a term with a weight needs.

    The base's own VAE, which decodes unless another decoder is named, is left out.
    """
    found: dict[str, tuple[str, ...]] = {}
    if loss.valence or loss.arousal or loss.expression or loss.features or loss.crafting_expression:
        found[EMOTION_NETWORK] = (loss.emotion_network,)
    if loss.units:
        found["loss.units_network"] = (loss.units_network,)
    if loss.identity:
        found[IDENTITY_NETWORK] = (loss.identity_network,)
    if loss.perceptual:
        found["loss.perceptual_network"] = PERCEPTUAL_ASSETS[loss.perceptual_network]
    if found and loss.pixel_decoder != "vae":
        found["loss.pixel_decoder"] = (loss.pixel_decoder,)
    return found


def hash_models(models: Sequence[str]) -> str:
    """SHA-256 of the weights of some models together; of one, of its own.

    Raises:
        UserError: one is missing.
    """
    found = [ModelReference(name).sha256 for name in models]
    return found[0] if len(found) == 1 else sha256_json(found)


def require_independent_judge(config: Config) -> None:
    """See that the judge is not the network that the loss optimises against, by another path.

    Raises:
        UserError: it is: its numbers would be the loss's own.
    """
    if EMOTION_NETWORK not in loss_models(config.loss):
        return
    judge, network = map(ModelReference, (config.evaluate.judge, config.loss.emotion_network))
    try:
        same = judge.is_same_as(network)
    except UserError:  # one is not there, which is told where it is loaded
        return
    if same:
        raise UserError(
            f"evaluate.judge: {judge.given}",
            f"holds the weights of {EMOTION_NETWORK} ({network.given})",
            "name a recogniser that the loss never used",
        )


def require_independent_identity_judge(config: Config) -> None:
    """See that who tells whether a face is still the person is not who the loss asks, by any path.

    Raises:
        UserError: it is: a loss finds what pleases its own embedder, and no other sees it.
    """
    if IDENTITY_NETWORK not in loss_models(config.loss):
        return
    for name in IDENTITY_ASSETS[config.evaluate.identity]:
        if _same_model(name, config.loss.identity_network):
            raise UserError(
                f"evaluate.identity: {name}",
                f"holds the weights of {IDENTITY_NETWORK} ({config.loss.identity_network})",
                "name an embedder that the loss never used, such as dlib",
            )


def require_independent_units_judge(config: Config) -> None:
    """See that the judge of action units neither labelled the photos nor steers the training.

    Raises:
        UserError: it does, by whatever path: it would agree with itself.
    """
    given = config.evaluate.units_judge
    if given in ("", AUTO):
        return
    steering = {f"photos.labels_read_by ({name})": name for name in config.photos.labels_read_by}
    for where, models in loss_models(config.loss).items():
        steering |= {f"{where} ({name})": name for name in models}
    for where, name in steering.items():
        if _same_model(given, name):
            raise UserError(
                f"evaluate.units_judge: {given}",
                f"holds the weights of {where}",
                "name a reader that neither labelled nor steered the training",
            )


def _same_model(one: str, other: str) -> bool:
    """Whether both hold the same weights; one that is not here is told of where it is loaded."""
    first, second = ModelReference(one), ModelReference(other)
    if first.name == second.name:
        return True
    try:
        return first.is_same_as(second)
    except UserError:
        return False


def _evaluate_assets(config: Config) -> tuple[str, ...]:
    settings = config.evaluate
    loss = config.loss.emotion_network
    return (
        settings.judge,
        *(name for name in settings.witnesses if name != AUTO),
        *(name for name in (settings.units_judge,) if name not in ("", AUTO)),
        *UNITS_ASSETS.get(settings.units_judge, ()),
        *(loss if name == "loss" else name for name in settings.recognisers),
        *(name for name in settings.features if name not in (AUTO, "judge")),
        *PERCEPTUAL_ASSETS[settings.perceptual_network],
        *(("dists", "vgg16") if settings.dists else ()),
        *IDENTITY_ASSETS[settings.identity],
        *(("selfie",) if settings.background else ()),
        *((settings.clip,) if settings.clip else ()),
        *_detector_assets(settings.detector),
        *_fitted_again(config),
    )


def _fitted_again(config: Config) -> tuple[str, ...]:
    """Names of the assets of a reconstruction that was asked for to fit edited faces again."""
    if config.evaluate.reconstruction == AUTO:
        return ()
    other = {"reconstruction": config.evaluate.reconstruction, "reconstruction_model": None}
    return reconstruction_assets(config.preprocess.model_copy(update=other))


def _detector_assets(detector: str, box_detector: str = "sfd") -> tuple[str, ...]:
    """Names of the assets of a detector; only face-alignment has boxes of its own to choose."""
    boxes = BOX_ASSETS[box_detector] if detector == "face-alignment" else ()
    return boxes + DETECTOR_ASSETS[detector]


def reconstruction_assets(preprocess: PreprocessConfig) -> tuple[str, ...]:
    """Names of the assets of a reconstruction, its networks and FLAME where it has some."""
    name = preprocess.reconstruction
    if name == "anny":
        return RECONSTRUCTION_ASSETS[name]
    data, default = RECONSTRUCTION_ASSETS[name]
    dense = ("deca-dense-template",) if preprocess.save_detailed_meshes else ()
    return preprocess.flame, data, preprocess.reconstruction_model or default, *dense

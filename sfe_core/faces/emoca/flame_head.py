"""FLAME together with what EMOCA and DECA decode onto it, found in the user's folders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from sfe_core.assets.store import find_asset, folder_of, locate
from sfe_core.errors import UserError
from sfe_core.faces.emoca.settings import EmocaSettings
from sfe_core.faces.flame import files
from sfe_core.faces.flame.dense_mesh import DenseTemplate, load_dense_template
from sfe_core.faces.flame.detail import DetailGeometry, load_face_mask, load_fixed_displacement
from sfe_core.faces.flame.landmarks import load_landmark_embedding
from sfe_core.faces.flame.model import Flame
from sfe_core.faces.flame.parameters import load_flame
from sfe_core.faces.flame.texture import AlbedoModel
from sfe_core.faces.flame.uv import HeadTemplate, load_head_template

FLAME_ASSET, DATA_ASSET, ALBEDO_ASSET = "flame-2020", "deca-data", "flame-albedo"
DENSE_ASSET = "deca-dense-template"

# Joints of FLAME: the eyeballs.
_EYES = slice(3, 5)


@dataclass(frozen=True)
class FlameHead:
    """The decoders that stay the same for every model."""

    flame: Flame
    template: HeadTemplate
    detail: DetailGeometry
    albedo: AlbedoModel | None  # None: the user has no albedo model
    dense: DenseTemplate | None = None  # None: the user has no texture_data_256.npy

    def to(self, device: torch.device) -> FlameHead:
        """The same head with its buffers on `device`."""
        albedo = None if self.albedo is None else self.albedo.to(device)
        return replace(
            self, flame=self.flame.to(device), detail=self.detail.to(device), albedo=albedo
        )

    def eye_centre(self, vertices: Tensor) -> Tensor:
        """Midway between the eyeballs of posed heads [B, V, 3]: [B, 3] metres.

        The regressor of the eyes' joints is applied to the posed vertices round them.
        """
        return (self.flame.J_regressor[_EYES] @ vertices).mean(1)


def load_flame_head(flame: str | Path, settings: EmocaSettings) -> FlameHead:
    """Find and read all of FLAME's files.

    Args:
        flame: asset name, FLAME's .pkl, or a folder with it (see `flame.files`). What is not in
            that folder is taken from the assets `deca-data`, `flame-albedo`, `deca-dense-template`.
        settings: lengths of the codes, and whether detailed normals are blended.

    Raises:
        UserError: a file is missing or not what it should be, or they do not fit together.
    """
    given = locate(flame)
    folder = given if given.is_dir() else given.parent
    model = given if given.suffix == ".pkl" else files.locate(folder, files.MODEL)
    template = load_head_template(place_of(folder, files.TEMPLATE))
    parameters = load_flame(model)
    if len(parameters.faces) != len(template.faces) or len(parameters.v_template) != len(
        template.vertices
    ):
        raise UserError(
            model,
            f"has {len(parameters.v_template)} vertices, {len(parameters.faces)} faces; "
            f"head_template.obj {len(template.vertices)}, {len(template.faces)}",
            f"use FLAME's own files from {files.FLAME_PAGE}",
        )
    embedding = load_landmark_embedding(place_of(folder, files.LANDMARKS))
    fixed = load_fixed_displacement(place_of(folder, files.DISPLACEMENT).parent)
    mask_folder = place_of(folder, files.FACE_EYE_MASK).parent
    mask = load_face_mask(mask_folder, fixed.shape[-1])
    albedo = _optional(folder, files.ALBEDO, ALBEDO_ASSET)
    dense = _optional(folder, files.DENSE_TEMPLATE, DENSE_ASSET)
    return FlameHead(
        Flame(parameters, embedding, settings.n_shape, settings.n_exp),
        template,
        DetailGeometry(template, mask, fixed, coarse_outside=settings.blends_detail_normals),
        None if albedo is None else AlbedoModel.load(albedo, settings.n_tex),
        None if dense is None else load_dense_template(dense),
    )


def place_of(folder: Path, file: files.FlameFile) -> Path:
    """A file of the user's folder, or of the asset that brings it."""
    found = files.find(folder, file)
    if found is not None:
        return found
    return files.locate(locate(DATA_ASSET), file)


def _optional(folder: Path, file: files.FlameFile, asset: str) -> Path | None:
    """A file of the user's folder or of the asset's, None where neither has it."""
    found = files.find(folder, file)
    return found or files.find(folder_of(find_asset(asset)), file)

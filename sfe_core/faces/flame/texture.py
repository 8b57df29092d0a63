"""FLAME's linear albedo models: codes to UV pictures of the skin without light."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn

from sfe_core.errors import UserError
from sfe_core.faces.flame.files import ALBEDO, FLAME_PAGE, locate
from sfe_core.faces.flame.uv import UV_SIZE

# File keys of (mean, basis) and the value that stands for white.
_LAYOUTS = {("MU", "PC"): 1.0, ("mean", "tex_dir"): 255.0}


class AlbedoModel(nn.Module):
    """Albedo = mean + basis · code.

    Args:
        mean: [S, S, 3] RGB in [0, 1].
        basis: [S, S, 3, n] per standard deviation.
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, mean: Tensor, basis: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("basis", basis)

    @classmethod
    def load(cls, folder_or_npz: Path, n_texture: int = 50, size: int = UV_SIZE) -> AlbedoModel:
        """From `FLAME_albedo_from_BFM.npz` (MU, PC) or `FLAME_texture.npz` (mean, tex_dir).

        Args:
            folder_or_npz: the file itself, or a folder that holds it (see `flame.files`).
            n_texture: components used, the first ones.
            size: side of the UV map; the files' 512 is thinned to it by whole steps.

        Raises:
            UserError: missing, unknown keys, or too few components.
        """
        given = Path(folder_or_npz)
        path = given if given.suffix == ".npz" else locate(given, ALBEDO)
        remedy = f"download it again from {FLAME_PAGE}"
        try:
            stored = np.load(path, allow_pickle=False)
            names = next((pair for pair in _LAYOUTS if set(pair) <= set(stored.files)), None)
            if names is None:
                raise UserError(path, f"holds {', '.join(stored.files)}, not MU and PC", remedy)
            mean, basis = stored[names[0]], stored[names[1]]
        except (OSError, ValueError, EOFError, AttributeError, BadZipFile) as error:
            raise UserError(path, f"cannot be read ({error})", remedy) from error
        components = basis.shape[-1]
        side = int((mean.size // 3) ** 0.5)
        step = side // size
        if components < n_texture or mean.size != 3 * side**2 or step * size != side:
            raise UserError(path, f"has {components} components of side {side}", remedy)
        white = np.float32(_LAYOUTS[names])
        # Thinning before the sum gives the numbers of thinning the picture, at a quarter the cost.
        mean = mean.reshape(side, side, 3)[::step, ::step, ::-1].astype(np.float32) / white
        basis = basis.reshape(side, side, 3, components)[::step, ::step, ::-1, :n_texture]
        basis = basis.astype(np.float32) / white
        return cls(torch.from_numpy(mean), torch.from_numpy(basis))

    def forward(self, codes: Tensor) -> Tensor:
        """UV albedo [B, 3, S, S], RGB about [0, 1] (not clipped), of codes [B, n]."""
        return (self.mean + torch.einsum("hwcn,bn->bhwc", self.basis, codes)).permute(0, 3, 1, 2)

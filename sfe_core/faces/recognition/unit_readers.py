"""The readers of action units by name: what settings may name wherever units are read.

`evaluate.units_judge`, `sampling.units_reader`, `photos.labels_read_by` and `loss.units_network`
speak of these.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from sfe_core.assets import locate
from sfe_core.faces.recognition.geometry_units import FILE, load_geometry_reader
from sfe_core.faces.recognition.open_graph_au import load_open_graph_au
from sfe_core.faces.recognition.tiny_units import load_tiny_units


def load_unit_reader(name_or_path: str | Path) -> nn.Module:
    """A frozen reader of action units.

    Called with faces [B, 3, H, W], RGB in [-1, 1], cropped as `preprocess` crops, of any size, it
    tells intensities [B, 2, U] of the person's left and right half, about 0 to 5. `units` are the
    FACS names of the U units, in order; `input_px` is the side of the pictures that it sees.

    Args:
        name_or_path: an asset, as `tiny-units-judge`, `geometry-units` or `opengraphau`; the folder
            of a tiny reader or of one by geometry, or a file of OpenGraphAU's authors.

    Raises:
        UserError: it is missing, or what lies there is no such reader.
    """
    path = locate(name_or_path)
    if path.is_file():
        return load_open_graph_au(path)
    if (path / FILE).is_file():
        return load_geometry_reader(path)
    return load_tiny_units(name_or_path)

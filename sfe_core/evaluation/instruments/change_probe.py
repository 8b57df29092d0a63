"""The probe that tells where a picture changed: where faces move, or elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sfe_core.evaluation.instruments.probes import Batch, Instrument, as_array
from sfe_core.evaluation.statistics.expression_control import change_by_place
from sfe_core.faces.expression_mask import expression_mask

NAME = "change"


class ChangeProbe:
    """Mean absolute difference to the picture beside, inside `expression_mask` and outside.

    The mask is that of the picture's own landmarks. Columns: `inside`, `outside`, grey levels of
    255; nan where no face was found.
    """

    beside = False
    of_photos = False
    needs: tuple[str, ...] = ()
    searches = True
    name = NAME

    def __init__(self, measured_at: str, detector: str) -> None:
        """Take what `Instrument.resize` says of the pictures, and who finds the landmarks."""
        resize = f"{measured_at}; landmarks as {detector} finds them"
        tool = Instrument("expression mask", "", resize, "mask")
        self.instruments: Mapping[str, Instrument] = {NAME: tool}

    def read(self, batch: Batch) -> Mapping[str, np.ndarray]:
        """See `Probe.read`."""
        side = batch.images.shape[-1]
        mask = expression_mask(batch.landmarks.cpu() / side, (side, side))
        before, after, weight = map(as_array, (batch.photos, batch.images, mask))
        found = np.array([one.face is not None for one in batch.searched()], dtype=bool)
        inside, outside = (
            np.where(found, 127.5 * values, np.nan)
            for values in change_by_place(before, after, weight)
        )
        return {"inside": inside, "outside": outside}

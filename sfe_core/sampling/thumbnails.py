"""Small pictures of triptychs, for pages and sheets that show many."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from sfe_core.sampling.composition import tile_box


def thumbnail_strip(triptych: Path, panels: int, tile_px: int, side_px: int) -> Image.Image:
    """The pictures of a composed triptych alone, edge to edge, each `side_px` square.

    Args:
        triptych: PNG file as `compose_triptych` drew it.
        panels: how many pictures it has.
        tile_px: their side in it.
    """
    strip = Image.new("RGB", (panels * side_px, side_px))
    with Image.open(triptych) as composed:
        for index in range(panels):
            tile = composed.crop(tile_box(index, tile_px))
            tile = tile.resize((side_px, side_px), Image.Resampling.LANCZOS)
            strip.paste(tile, (index * side_px, 0))
    return strip

"""What a camera does to a picture: optics, tone, noise, sharpening and compression."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image
from scipy.ndimage import correlate1d, gaussian_filter

from sfe_core.arrays import Floats, Pixels
from sfe_core.synthesis.scene import Capture
from sfe_core.synthesis.spec import FaceSpec

CAMERA_STREAM = 13
HALO_PX = 0.9  # radius of a phone's sharpening, sigma


def photograph(picture: Floats, spec: FaceSpec) -> Pixels:
    """The picture [S, S, 3], 0..255 and beyond, as a camera stores it: uint8 [S, S, 3]."""
    capture = spec.scene.capture
    rng = np.random.default_rng([CAMERA_STREAM, spec.seed])
    result = picture.astype(np.float32) * np.asarray(capture.white_balance, np.float32)
    result = _through_lens(result, capture)
    # Highlights bend towards white instead of clipping.
    over = np.maximum(result - 200.0, 0.0)
    result += 55.0 * (1.0 - np.exp(-over / 55.0)) - over
    result += _sensor_noise(result, capture, rng)
    result = _tone(result, capture)
    if capture.sharpening > 0:
        halo = gaussian_filter(result, (HALO_PX, HALO_PX, 0), truncate=2.5)
        result += capture.sharpening * (result - halo)
    return _compress(np.clip(result.round(), 0, 255).astype(np.uint8), capture)


def _through_lens(picture: Floats, capture: Capture) -> Floats:
    """Defocus and vignette."""
    size = len(picture)
    sigma = capture.blur * size
    if sigma > 0.25:
        picture = gaussian_filter(picture, (sigma, sigma, 0), truncate=3.0)
    axis = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    return picture * (1.0 - capture.vignette * (axis[:, None] + axis[None]) / 2)[..., None]


def _sensor_noise(picture: Floats, capture: Capture, rng: np.random.Generator) -> Floats:
    """Noise [S, S, 3] in grey levels: photons' and the electronics', blotted by demosaicing.

    The variance of a sensor's pixel is linear in its brightness (A. Foi et al., "Practical
    Poissonian-Gaussian noise modeling and fitting for single-image raw-data", IEEE Transactions on
    Image Processing 17(10), 2008). Demosaicing mixes neighbours, colours more than brightness.
    """
    shape = picture.shape[:2]
    light = np.clip(picture.mean(-1), 0.0, 255.0) / 255.0
    strength = np.sqrt(capture.noise**2 + capture.shot_noise**2 * light)
    grain = _blot(rng.standard_normal((*shape, 1), np.float32), (0.12, 0.98, 0.12))
    colour = _blot(rng.standard_normal((*shape, 3), np.float32), (0.55, 0.7, 0.55))
    colour -= colour.mean(-1, keepdims=True)
    return strength[..., None] * (grain + capture.chroma_noise * colour)


def _blot(noise: Floats, weights: tuple[float, float, float]) -> Floats:
    """Noise [S, S, C] mixed with its neighbours."""
    return correlate1d(correlate1d(noise, weights, 0), weights, 1)


def _tone(picture: Floats, capture: Capture) -> Floats:
    """S curve round the middle grey, and lifted blacks."""
    share = np.clip(picture / 255.0, 0.0, 1.0)
    curve = share * share * (3.0 - 2.0 * share)
    share += capture.contrast * (curve - share)
    return capture.black + (255.0 - capture.black) * share


def _compress(pixels: Pixels, capture: Capture) -> Pixels:
    """The picture after one round of JPEG, if the file was one."""
    if not capture.jpeg_quality:
        return pixels
    with BytesIO() as file:
        Image.fromarray(pixels).save(
            file,
            "JPEG",
            quality=capture.jpeg_quality,
            subsampling="4:2:0" if capture.jpeg_subsampled else "4:4:4",
        )
        return np.array(Image.open(file))

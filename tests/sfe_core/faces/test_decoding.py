"""Photos of every kind that turns up in folders become upright 8-bit RGB, or a stated refusal."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from sfe_core.faces.decoding import UndecodableError, decode_photo

GREY = np.linspace(0, 255, 48).round().astype(np.uint8).reshape(6, 8)


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def test_greyscale_repeats_over_the_channels() -> None:
    pixels = decode_photo(encoded(Image.fromarray(GREY)))
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.repeat(GREY[..., None], 3, axis=2))


def test_sixteen_bits_are_scaled_by_a_fixed_rule() -> None:
    # Only the lower half of the range: stretching it to its own range would show.
    wide = (GREY.astype(np.uint16) // 2) * 257
    pixels = decode_photo(encoded(Image.fromarray(wide)))
    assert np.array_equal(pixels[..., 0], GREY // 2)


def test_sixteen_bit_tiff_is_read_like_png() -> None:
    wide = GREY.astype(np.uint16) * 257
    assert np.array_equal(decode_photo(encoded(Image.fromarray(wide), "TIFF"))[..., 0], GREY)


def test_cmyk_becomes_rgb() -> None:
    red = Image.new("RGB", (16, 16), (220, 30, 40)).convert("CMYK")
    pixels = decode_photo(encoded(red, "JPEG", quality=95))
    assert np.abs(pixels.astype(int).mean((0, 1)) - (220, 30, 40)).max() < 6


def test_transparency_is_laid_on_white() -> None:
    picture = np.zeros((4, 4, 4), np.uint8)
    picture[:2] = (10, 20, 30, 255)
    pixels = decode_photo(encoded(Image.fromarray(picture)))
    assert (pixels[:2] == (10, 20, 30)).all() and (pixels[2:] == 255).all()


def test_palette_transparency_is_laid_on_white() -> None:
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    picture.putpalette([200, 0, 0, 0, 0, 200])
    pixels = decode_photo(encoded(picture, transparency=1))
    assert pixels.tolist() == [[[200, 0, 0], [255, 255, 255]]]


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    pixels = decode_photo(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert (pixels == (255, 0, 0)).all()


def test_exif_rotation_is_applied() -> None:
    picture = Image.fromarray(np.repeat(GREY[..., None], 3, axis=2))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by a quarter
    pixels = decode_photo(encoded(picture, "PNG", exif=exif))
    assert np.array_equal(pixels[..., 0], np.rot90(GREY, -1))


def test_one_pixel_is_a_photo() -> None:
    assert decode_photo(encoded(Image.new("RGB", (1, 1), "white"))).shape == (1, 1, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_truncated_file_is_unreadable(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), kind)
    with pytest.raises(UndecodableError) as caught:
        decode_photo(content[: len(content) // 2])
    assert caught.value.status == "unreadable" and caught.value.reason


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty"), (b"hello, world", "not an image")])
def test_what_is_no_image_says_so(content: bytes, reason: str) -> None:
    with pytest.raises(UndecodableError, match=reason) as caught:
        decode_photo(content)
    assert caught.value.status == "unreadable"


def test_floating_point_pixels_are_refused_rather_than_stretched() -> None:
    picture = Image.fromarray(np.ones((4, 4), np.float32))
    with pytest.raises(UndecodableError, match="floating-point"):
        decode_photo(encoded(picture, "TIFF"))


def test_huge_dimensions_are_refused_before_decoding() -> None:
    # 400 megapixels of one colour: a small file that would need 1.2 GB, above PIL's own limit too.
    content = encoded(Image.new("1", (20000, 20000)))
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(UndecodableError, match=r"20000×20000.*100 megapixels") as caught:
        decode_photo(content, max_megapixels=100)
    assert caught.value.status == "too_large"
    assert before == Image.MAX_IMAGE_PIXELS


def test_threads_share_the_lifted_limit_and_give_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    # With a limit this low PIL itself would refuse every one of these pictures.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    stream = io.BytesIO()
    Image.new("RGB", (300, 300), "red").save(stream, "PNG")
    with ThreadPoolExecutor(8) as threads:
        shapes = list(threads.map(lambda _: decode_photo(stream.getvalue()).shape, range(200)))
    assert set(shapes) == {(300, 300, 3)}
    assert Image.MAX_IMAGE_PIXELS == 100

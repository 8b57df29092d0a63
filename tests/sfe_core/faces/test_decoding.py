"""Photos of every kind that turns up in folders become upright 8-bit RGB, or a stated refusal."""

from __future__ import annotations

import io
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from sfe_core.faces.decoding import UndecodableError, _register_heif, decode_photo, read_photo
from tests.cases import formats as format_cases
from tests.cases.colours import SPACES, in_space, profile
from tests.cases.portraits import portrait

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
    exif[0x0110] = "a camera"
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


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello, world", "a text file"),
        (b"<html>", "a web page"),
        (b"%PDF-1.7", "a PDF"),
        (b"\xff\xd8\xff\xe0torn", "Truncated"),
        (b"\x89PNG\r\n\x1a\ntorn", "a PNG that cannot be read"),
        (b"II*\0\x10\0\0\0CR\x02\0", "raw camera file"),
    ],
)
def test_what_is_no_image_says_so(content: bytes, reason: str) -> None:
    with pytest.raises(UndecodableError, match=reason) as caught:
        decode_photo(content)
    assert caught.value.status == "unreadable"


@pytest.mark.parametrize("value", [-1.0, 1e6, float("nan"), float("inf")])
def test_floating_point_pixels_beyond_every_range_are_refused(value: float) -> None:
    picture = Image.fromarray(np.full((4, 4), value, np.float32))
    with pytest.raises(UndecodableError, match="floating-point"):
        decode_photo(encoded(picture, "TIFF"))


@pytest.fixture(scope="module")
def formats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("formats")
    format_cases.make(folder)
    return folder / "pictures"


def test_every_format_shows_the_same_portrait(formats: Path) -> None:
    wanted = np.asarray(portrait(2), float)
    seen = {path.name: decode_photo(path.read_bytes()) for path in formats.iterdir()}
    assert len(seen) >= 20
    for name, pixels in seen.items():
        grey = "negative" in name or "grey" in name
        target = np.asarray(portrait(2).convert("L").convert("RGB"), float) if grey else wanted
        assert np.abs(pixels - target).mean() < (5 if name == "gif.gif" else 3), name


def test_phones_pictures_without_their_reader_say_what_to_install(
    formats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(32)
    _register_heif.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UndecodableError, match=r"pip install 'sfe\[heif\]'"):
        decode_photo(content)


@pytest.mark.parametrize("space", SPACES)
def test_colours_are_converted_to_srgb(space: str) -> None:
    picture = in_space(portrait(1), space)
    wanted = np.asarray(portrait(1), int)
    assert np.abs(np.asarray(picture, int) - wanted).mean() > 1  # else nothing is shown
    read = read_photo(encoded(picture, icc_profile=profile(space)))
    # ProPhoto's 8 bits are coarse in the dark: a level there is several of sRGB.
    assert np.abs(read.pixels - wanted).mean() < 0.6
    assert read.notes == (f"colours converted from {space} for a test",)
    clear = picture.convert("RGBA")
    assert np.abs(decode_photo(encoded(clear, icc_profile=profile(space))) - wanted).mean() < 0.6


def test_a_cameras_sign_for_adobe_rgb_counts_without_a_profile() -> None:
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    picture = in_space(portrait(1), "adobe")
    read = read_photo(encoded(picture, "PNG", exif=exif))
    assert np.abs(read.pixels - np.asarray(portrait(1), int)).mean() < 0.6
    assert read.notes == ("colours converted from Adobe RGB",)


def test_a_pngs_own_gamma_counts() -> None:
    values = np.asarray(portrait(1)) / 255.0
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    chunk = PngInfo()
    chunk.add(b"gAMA", struct.pack(">I", 100000))
    content = encoded(Image.fromarray((linear * 255).round().astype(np.uint8)), pnginfo=chunk)
    error = np.abs(decode_photo(content) - np.asarray(portrait(1), int))
    assert np.median(error) <= 2  # 8 bits of light are few in the dark
    usual = PngInfo()
    usual.add(b"gAMA", struct.pack(">I", 45455))
    assert np.array_equal(decode_photo(encoded(portrait(1), pnginfo=usual)), portrait(1))


def test_srgb_profiles_and_broken_ones_leave_the_pixels_alone() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    read = read_photo(encoded(portrait(1), icc_profile=srgb))
    assert np.array_equal(read.pixels, portrait(1)) and read.notes == ()
    broken = read_photo(encoded(portrait(1), icc_profile=b"no profile at all"))
    assert np.array_equal(broken.pixels, portrait(1))
    assert broken.notes[0].startswith("its colour profile is ignored")
    grey = portrait(1).convert("L")
    assert np.array_equal(decode_photo(encoded(grey, icc_profile=srgb))[..., 0], grey)


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

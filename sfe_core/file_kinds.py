"""What a file is, told by its first bytes: names lie, and many have no ending."""

from __future__ import annotations

from typing import NamedTuple

# So many bytes tell every kind below; a tar's mark stands at 257.
HEAD_BYTES = 512

PICTURE_SUFFIXES = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib",
        ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif", ".hif", ".jp2", ".j2k", ".jpx", ".ppm",
        ".pgm", ".pbm", ".pnm", ".tga",
    }
)  # fmt: skip
# Their pictures need a developer's choices; inside most lies a TIFF, whose first page is a thumb.
RAW_SUFFIXES = frozenset(
    {
        ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".dng", ".orf", ".rw2",
        ".raf", ".pef", ".srw", ".x3f", ".3fr", ".iiq", ".erf", ".kdc", ".mrw",
    }
)  # fmt: skip


class FileKind(NamedTuple):
    """What a file is.

    Attributes:
        name: in words, with its article: "a PNG", "a zip archive", "a text file".
        picture: whether `faces.decoding` reads it.
    """

    name: str
    picture: bool = False


SAFETENSORS = FileKind("a safetensors file")
TORCH = FileKind("a PyTorch checkpoint")

_STARTS: tuple[tuple[bytes, FileKind], ...] = (
    (b"\xff\xd8\xff", FileKind("a JPEG", True)),
    (b"\x89PNG\r\n\x1a\n", FileKind("a PNG", True)),
    (b"GIF8", FileKind("a GIF", True)),
    (b"\0\0\0\x0cjP  \r\n\x87\n", FileKind("a JPEG 2000", True)),
    (b"\xffO\xffQ", FileKind("a JPEG 2000", True)),
    (b"%PDF", FileKind("a PDF")),
    (b"8BPS", FileKind("a Photoshop file")),
    (b"PAR1", FileKind("a Parquet table")),
    (b"PK\x03\x04", FileKind("a zip archive")),
    (b"PK\x05\x06", FileKind("a zip archive")),
    (b"\x1f\x8b", FileKind("a gzip archive")),
    (b"BZh", FileKind("a bzip2 archive")),
    (b"\xfd7zXZ\0", FileKind("an xz archive")),
    (b"(\xb5/\xfd", FileKind("a zstd archive")),
    (b"7z\xbc\xaf'\x1c", FileKind("a 7z archive")),
    (b"Rar!\x1a\x07", FileKind("a rar archive")),
    (b"\x89HDF\r\n\x1a\n", FileKind("an HDF5 file")),
    (b"MATLAB 5.0", FileKind("a MATLAB file")),
    (b"\x93NUMPY", FileKind("a NumPy array")),
    (b"SQLite format 3\0", FileKind("an SQLite database")),
    (b"ARROW1", FileKind("an Arrow table")),
    (b"\x1aE\xdf\xa3", FileKind("a video")),
    (b"FLV\x01", FileKind("a video")),
    (b"\0\0\x01\xba", FileKind("a video")),
    (b"\0\0\x01\xb3", FileKind("a video")),
    (b"\0\0\x01\0", FileKind("an icon")),
    (b"ID3", FileKind("a sound")),
    (b"fLaC", FileKind("a sound")),
    (b"OggS", FileKind("a sound or video")),
    (b"GGUF", FileKind("a GGUF model")),
    (b"FUJIFILMCCD-RAW", FileKind("a raw camera file")),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileKind("an old Office or Windows file")),
    (b"\xff\x0a", FileKind("a JPEG XL")),
    (b"\0\0\0\x0cJXL ", FileKind("a JPEG XL")),
)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
# What a pickle of protocol 2 to 5 begins with.
_PICKLE = frozenset(bytes((0x80, protocol)) for protocol in range(2, 6))
# The number that torch.save began its files with before they were zip archives.
_OLD_TORCH = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"
# Today they are zip archives whose first file this is, in a folder.
_TORCH_ENTRY = b"/data.pkl"


def kind_of(head: bytes, suffix: str = "") -> FileKind:
    """What a file is.

    Args:
        head: its first bytes, HEAD_BYTES where it has so many.
        suffix: the name's ending, with its dot; decides where bytes do not: raw camera files are
            TIFFs, a TGA has no mark.

    >>> kind_of(bytes.fromhex("89504e470d0a1a0a"))
    FileKind(name='a PNG', picture=True)
    >>> kind_of(b"<!doctype html>", ".jpg").name
    'a web page'
    """
    if not head:
        return FileKind("an empty file")
    if suffix.lower() in RAW_SUFFIXES:
        return FileKind("a raw camera file")
    if _is_torch(head):
        return TORCH
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    return _by_structure(head, suffix.lower()) or _by_content(head)


def _is_torch(head: bytes) -> bool:
    """Whether `torch.save` wrote it: a zip archive of its own form, or an old pickle."""
    if head.startswith(b"PK\x03\x04"):
        return head[30 : 30 + int.from_bytes(head[26:28], "little")].endswith(_TORCH_ENTRY)
    return head[:2] in _PICKLE and head[2:].startswith(_OLD_TORCH)


def _by_structure(head: bytes, suffix: str) -> FileKind | None:
    """Kinds whose mark is not all at the start."""
    if head.startswith(_TIFF):
        return FileKind("a raw camera file") if head[8:10] == b"CR" else FileKind("a TIFF", True)
    if head.startswith(b"BM") and len(head) > 18 and head[6:10] == b"\0\0\0\0":
        return FileKind("a BMP", True)
    if len(head) > 2 and head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in b" \t\r\n#":
        return FileKind("a PNM", True)
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if head.startswith(b"RIFF"):
        is_webp = head[8:12] == b"WEBP"
        return FileKind("a WebP", True) if is_webp else FileKind("a sound or video")
    if head[257:262] == b"ustar":
        return FileKind("a tar archive")
    # The header's length in 8 bytes, never as large as 2^32, then the header, which is JSON.
    if head[4:8] == b"\0\0\0\0" and head[8:9] == b"{":
        return SAFETENSORS
    if head[:2] in _PICKLE:
        return FileKind("a Python pickle")
    return FileKind("a TGA", True) if suffix == ".tga" else None


def _by_brand(head: bytes) -> FileKind:
    """A file of ISO's base media format, by its brands (ISO/IEC 14496-12, 23008-12)."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[place : place + 4] for place in range(16, size, 4))}
    if brands & _AVIF_BRANDS:
        return FileKind("an AVIF", True)
    if brands & _HEIF_BRANDS:
        return FileKind("an HEIC", True)
    return FileKind("a raw camera file") if head[8:12] == b"crx " else FileKind("a video")


def _by_content(head: bytes) -> FileKind:
    """Text, pages, or what nobody knows."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return FileKind("a text file")
    if b"\0" in head:
        return FileKind("a file of unknown kind")
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return FileKind("a web page")
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return FileKind("an SVG drawing")
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # a letter may be cut at the end
            return FileKind("a file of unknown kind")
    return FileKind("a text file")

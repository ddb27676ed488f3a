"""Damage that Pillow reads over: it fills up with grey or goes on, and says nothing.

A JPEG that was cut short and given an end mark is a full picture to it, with an even lower part.
"""

import io
import re
import zlib

import simplejpeg
from PIL import Image, TiffImagePlugin

# libjpeg: bytes behind the last row, such as those that fill up a block of a camera. The picture
# is whole, unless so much is left that it cannot be.
STRAY_BYTES = re.compile(r"^Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
MAX_STRAY_SHARE = 0.01  # of the file
DATA_LOST = ("Corrupt JPEG data", "Premature end of JPEG")
REDUCTION = 8  # all is decoded of a JPEG, at an eighth of its size
# TIFF 6.0 and its Technical Note 2.
STRIP_OFFSETS, STRIP_BYTES = 273, 279
TILE_OFFSETS, TILE_BYTES = 324, 325
COMPRESSION = 259
DEFLATE = (8, 32946)
CHUNK_BYTES = 2**20
# WEBP has neither checksum nor end mark, and zeros decode to some picture; its data have no runs.
ZEROS = bytes(64)
NOT_WRITTEN = "zeros at the end, as of a file that was not written to its end"


def find_damage(content: bytes, image: Image.Image) -> list[str]:
    """Look for damage with what the format has against it; Pillow's own checks come with loading.

    Args:
        content: of the file.
        image: the same, opened.

    Returns:
        What the decoder complains of without any pixel being lost.

    Raises:
        ValueError, zlib.error, OSError, SyntaxError: pixels are lost.
    """
    match image.format:
        case "JPEG" | "MPO":
            return _find_in_jpeg(content)
        case "PNG":
            Image.open(io.BytesIO(content), formats=("PNG",)).verify()  # checksums of all chunks
        case "TIFF":
            assert isinstance(image, TiffImagePlugin.TiffImageFile)
            _check_deflated(content, image.tag_v2)
        case "WEBP" if content.endswith(ZEROS):
            return [NOT_WRITTEN]
    return []


def _find_in_jpeg(content: bytes) -> list[str]:
    """What libjpeg complains of first, which Pillow does not hand on."""
    try:
        colours = simplejpeg.decode_jpeg_header(content)[2]
        space = colours if colours == "CMYK" else "GRAY"
        simplejpeg.decode_jpeg(content, space, min_factor=REDUCTION, strict=True)
    except ValueError as error:
        complaint = str(error)
        stray = STRAY_BYTES.match(complaint)
        is_whole = stray and int(stray[1]) <= MAX_STRAY_SHARE * len(content)
        if complaint.startswith(DATA_LOST) and not is_whole:
            raise
        return [complaint]
    return []


def _check_deflated(content: bytes, tags: TiffImagePlugin.ImageFileDirectory_v2) -> None:
    """Unpack the parts of a deflated TIFF, whose checksums libtiff does not look at."""
    if tags.get(COMPRESSION) not in DEFLATE:
        return
    is_tiled = TILE_OFFSETS in tags
    offsets = tags[TILE_OFFSETS if is_tiled else STRIP_OFFSETS]
    lengths = tags[TILE_BYTES if is_tiled else STRIP_BYTES]
    for offset, length in zip(offsets, lengths, strict=True):
        part = zlib.decompressobj()
        rest = content[offset : offset + length]
        while rest and not part.eof:
            part.decompress(rest, CHUNK_BYTES)
            rest = part.unconsumed_tail
        if not part.eof:
            raise ValueError("a deflated part without its end")

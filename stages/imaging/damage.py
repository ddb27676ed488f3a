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
# ITU-T T.81, B.2: frame and scan of a progressive JPEG, and its coefficients.
FRAME, SCAN, COEFFICIENTS = b"\xff\xc2", re.compile(rb"\xff\xda"), 64
LAST_SCANS = "progressive JPEG without its last scans, as if cut short"
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
            found = _find_in_jpeg(content)
            lacks_scans = image.format == "JPEG" and "progressive" in image.info
            return [*found, LAST_SCANS] if lacks_scans and _lacks_scans(content) else found
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


def _lacks_scans(content: bytes) -> bool:
    """Whether a progressive JPEG ends before all coefficients have all their bits.

    libjpeg has nothing to say of one that was cut between two scans.
    """
    frame = content[content.rindex(FRAME) :]  # behind thumbnails; coded data never look like it
    exact: dict[int, set[int]] = {frame[10 + 3 * number]: set() for number in range(frame[9])}
    for scan in SCAN.finditer(frame):
        head = frame[scan.end() + 2 :]
        behind = 1 + 2 * head[0]  # for each component its number and its tables
        first, last, bits = head[behind : behind + 3]
        if bits & 0xF == 0:  # down to the lowest
            for component in head[1:behind:2]:
                exact[component].update(range(first, last + 1))
    return any(len(found) < COEFFICIENTS for found in exact.values())


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

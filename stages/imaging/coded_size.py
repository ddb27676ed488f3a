"""The size that a JPEG of any kind says it has, before anything is decoded."""

# ITU-T T.81, B.1.1.3: markers without a segment, and frames, whose segment has the size.
START, STANDALONE = b"\xff\xd8", (0x01, *range(0xD0, 0xD8))
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7}  # 0xF7: JPEG-LS, ITU-T T.87, C.2
# ISO/IEC 15444-1, A.5.1: start of codestream and size marker; behind these its length, 2 bytes of
# capabilities, the far corner and the offset of the picture, 4 bytes each.
J2K_SIZES, CORNER_AT = b"\xff\x4f\xff\x51", 8


def coded_size(coded: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG, JPEG-LS or JPEG 2000 codestream; None of anything else."""
    if coded.startswith(START):
        return _of_jpeg(coded)
    start = coded.find(J2K_SIZES, 0, 4096)  # an HTJ2K or JP2 may have boxes around it
    if start < 0:
        return None
    numbers = [
        int.from_bytes(coded[at : at + 4], "big")
        for at in range(start + CORNER_AT, start + CORNER_AT + 16, 4)
    ]
    return numbers[0] - numbers[2], numbers[1] - numbers[3]


def _of_jpeg(coded: bytes) -> tuple[int, int] | None:
    """Walk from segment to segment to that of the frame."""
    at = len(START)
    while at + 9 <= len(coded) and coded[at] == 0xFF:
        marker = coded[at + 1]
        if marker in FRAMES:
            height, width = (int.from_bytes(coded[i : i + 2], "big") for i in (at + 5, at + 7))
            return width, height
        at += 2
        if marker == 0xFF:  # a fill byte
            at -= 1
        elif marker not in STANDALONE:
            at += int.from_bytes(coded[at : at + 2], "big")
    return None

"""NIfTI volumes as axial slices."""

from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.config.params import DicomGrey, Grey, PercentileGrey
from stages.imaging.decode import decode, decode_frames
from stages.imaging.decoded import DecodedImage
from stages.sources import nifti_file
from stages.sources.item import UnreadableImage
from tests.imaging.dicom_files import nifti_bytes

LUNGS = DicomGrey(kind="dicom", center=-600, width=1500, low=0.5, high=99.5)
WHOLE_RANGE = PercentileGrey(kind="percentiles", low=0, high=100)
# Sides to the right, the front and the head.
SIDES = (20, 17, 3)
WAYS = ["".join(way) for order in permutations(("RL", "AP", "SI")) for way in product(*order)]


def volume() -> NDArray[Any]:
    """Hounsfield units that grow to the patient's right, front and head, in axes RAS."""
    right, front, head = np.indices(SIDES)
    return (-1200 + 20 * right + 45 * front + 7 * head).astype(np.int16)


def turned(voxels: NDArray[Any], axes: str) -> NDArray[Any]:
    """The volume in RAS as a file with other axes has it."""
    found = voxels.transpose(["RAS".find(way) if way in "RAS" else "LPI".find(way) for way in axes])
    return found[tuple(np.s_[::-1] if a in "LPI" else np.s_[:] for a in axes)]


def reason(content: bytes, frame: int | None = 0, grey: Grey = LUNGS) -> str:
    with pytest.raises(UnreadableImage) as refused:
        decode(content, grey, frame)
    return str(refused.value)


@pytest.mark.parametrize("axes", WAYS)
def test_slices_are_seen_from_the_feet_however_the_file_lies(axes: str) -> None:
    content = nifti_bytes(np.ascontiguousarray(turned(volume(), axes)), axes)
    for frame in range(SIDES[2]):
        number = SIDES[2] - 1 - frame if "I" in axes else frame
        units = volume()[::-1, ::-1, number].T.astype(float)  # right on the left, front up
        expected = np.rint(np.clip((units + 1350) / 1500, 0, 1) * 255)
        np.testing.assert_allclose(decode(content, LUNGS, frame).pixels, expected, atol=1)


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_both_versions_are_read_packed_or_not(second: bool, zipped: bool) -> None:
    found = decode(nifti_bytes(volume(), second=second, zipped=zipped), LUNGS, 1)
    plain = decode(nifti_bytes(volume()), LUNGS, 1)
    np.testing.assert_array_equal(found.pixels, plain.pixels)
    assert (found.format, found.mode) == ("NIfTI", "int16")


@pytest.mark.parametrize("second", [False, True])
def test_values_are_scaled_as_the_header_says(second: bool) -> None:
    stored = ((volume().astype(int) + 1200) // 5).astype(np.int16)
    scaled = nifti_bytes(stored, slope=5, inter=-1200, second=second)
    plain = nifti_bytes((stored * 5 - 1200).astype(np.int16))
    np.testing.assert_array_equal(decode(scaled, LUNGS, 2).pixels, decode(plain, LUNGS, 2).pixels)


def test_other_kinds_of_grey_see_the_values_of_the_slice() -> None:
    found = decode(nifti_bytes(volume()), WHOLE_RANGE, 0).pixels
    assert (found.min(), found.max()) == (0, 255)


def test_bytes_without_a_scale_stay() -> None:
    stored = np.arange(20 * 17 * 3).reshape(SIDES).astype(np.uint8)
    found = decode(nifti_bytes(stored), LUNGS, 1).pixels
    np.testing.assert_array_equal(found, stored[::-1, ::-1, 1].T)


def test_several_slices_are_read_from_one_opened_file() -> None:
    found = [*decode_frames(nifti_bytes(volume(), zipped=True), LUNGS, [2, 0])]
    for image, frame in zip(found, (2, 0), strict=True):
        assert isinstance(image, DecodedImage)
        single = decode(nifti_bytes(volume()), LUNGS, frame)
        np.testing.assert_array_equal(image.pixels, single.pixels)


def test_what_is_no_volume_of_numbers_is_refused() -> None:
    assert reason(nifti_bytes(volume()), None) == "3 pictures in one file, and none is named"
    several = np.zeros((20, 20, 3, 2), np.int16)
    assert reason(nifti_bytes(several)) == "NIfTI of 4 dimensions: save each volume as its own"
    one = decode(nifti_bytes(several[..., :1]), LUNGS, 2)
    assert one.pixels.shape == (20, 20)
    assert reason(nifti_bytes(np.zeros((20, 20, 3), np.complex64))).startswith("NIfTI of colours")
    assert reason(nifti_bytes(np.zeros((20, 9, 3), np.int16))) == "20x9 px: sides under 16 px"
    infinite = volume().astype(np.float32)
    infinite[3, 3, 0] = np.inf
    assert reason(nifti_bytes(infinite)) == "pixel values that are not finite"


def test_volumes_too_large_are_refused_before_they_are_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nifti_file, "MAX_VOLUME_BYTES", volume().nbytes - 1)
    assert reason(nifti_bytes(volume(), zipped=True)).startswith("a volume of over 0 MiB")
    content = bytearray(nifti_bytes(volume()))
    content[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()  # dim[1..3]
    assert reason(bytes(content)).startswith("a volume of over 0 MiB")


@pytest.mark.parametrize("zipped", [False, True])
def test_files_cut_anywhere_are_refused_with_a_reason(zipped: bool) -> None:
    content = nifti_bytes(volume(), zipped=zipped)
    for length in range(0, len(content) - 1, 17):
        assert reason(content[:length])

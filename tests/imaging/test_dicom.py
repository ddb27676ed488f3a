"""DICOM files as grey pixels, against pydicom's own pipeline and by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import (
    apply_color_lut,
    apply_modality_lut,
    apply_voi_lut,
    apply_windowing,
    pixel_array,
)
from pydicom.uid import (
    MPEG2MPML,
    JPEG2000Lossless,
    RLELossless,
    RTStructureSetStorage,
    SegmentationStorage,
)

from stages.config.params import DicomGrey, Grey, PercentileGrey, WindowGrey
from stages.imaging import dicom_checks
from stages.imaging.decode import decode, decode_frames
from stages.imaging.decoded import DecodedImage
from stages.sources import dicom_file
from stages.sources.dicom_file import open_dicom
from stages.sources.item import UnreadableImage
from tests.imaging.dicom_files import ct_slice, describe, packed, sequence, to_bytes, xray

LUNGS = DicomGrey(kind="dicom", center=-600, width=1500, low=0.5, high=99.5)
WHOLE_RANGE = PercentileGrey(kind="percentiles", low=0, high=100)
TEST_FILES = Path(pydicom.data.__file__).parent


def ramp(low: int, high: int, dtype: type = np.uint16) -> NDArray[Any]:
    """(16, 32) values from low to high."""
    return np.linspace(low, high, 512).round().astype(dtype).reshape(16, 32)


def read(data: Dataset, grey: Grey = LUNGS, frame: int | None = None) -> NDArray[np.uint8]:
    return decode(to_bytes(data), grey, frame).pixels


def reason(content: bytes | Dataset, grey: Grey = LUNGS, frame: int | None = None) -> str:
    with pytest.raises(UnreadableImage) as refused:
        decode(content if isinstance(content, bytes) else to_bytes(content), grey, frame)
    return str(refused.value)


def between(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    return np.rint(np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255).astype(
        np.uint8
    )


# ---- grey ------------------------------------------------------------------------------------


def test_ct_is_shown_by_the_lung_window_on_hounsfield_units() -> None:
    stored = ramp(0, 2048)
    expected = between(stored.astype(int) - 1024, -1350, 150)
    np.testing.assert_array_equal(read(ct_slice(stored)), expected)


def test_ct_of_another_slope_and_intercept_shows_the_same_hounsfield_units() -> None:
    units = 2 * (ramp(0, 1024).astype(int) - 512)
    other = ct_slice(ramp(0, 1024), RescaleSlope=2, RescaleIntercept=-1024)
    np.testing.assert_allclose(read(other), between(units, -1350, 150), atol=1)


def test_signed_ct_of_12_bits_is_read_whether_or_not_the_sign_fills_the_container() -> None:
    units = ramp(-1024, 1023, np.int16)
    full = ct_slice(units, RescaleIntercept=0)
    short = ct_slice((units & 0xFFF).astype(np.int16), RescaleIntercept=0)
    np.testing.assert_allclose(read(full), between(units, -1350, 150), atol=1)
    np.testing.assert_array_equal(read(short), read(full))


def test_a_window_of_the_data_set_counts_hounsfield_units_too() -> None:
    window = WindowGrey(kind="window", low=-1350, high=150)
    data = ct_slice(ramp(0, 2048))
    np.testing.assert_array_equal(read(data, window), read(data))


def test_an_xray_is_shown_by_its_own_window() -> None:
    stored = ramp(0, 4095)
    shown = read(xray(stored, WindowCenter=2000, WindowWidth=1001))
    np.testing.assert_array_equal(shown, between(stored, 1499.5, 2499.5))
    exact = xray(stored, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_array_equal(read(exact), between(stored, 1500, 2500))


def test_a_sigmoid_window_and_a_table_are_followed() -> None:
    stored = ramp(0, 4095)
    sigmoid = xray(stored, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID")
    expected = between(1 / (1 + np.exp(-4 * (stored.astype(float) - 2000) / 1000)), 0, 1)
    np.testing.assert_array_equal(read(sigmoid), expected)
    table = [4095 - value for value in range(4096)]
    item = sequence(LUTDescriptor=[4096, 0, 12], LUTData=table)
    item[0]["LUTDescriptor"].VR = item[0]["LUTData"].VR = "US"
    by_table = xray(stored, VOILUTSequence=item, WindowCenter=10, WindowWidth=2)
    np.testing.assert_array_equal(read(by_table), between(4095 - stored.astype(int), 0, 4095))


def test_monochrome1_is_inverted_under_every_kind_of_grey() -> None:
    stored = ramp(0, 4095)
    for grey in (LUNGS, WHOLE_RANGE, WindowGrey(kind="window", low=0, high=4095)):
        shown = read(xray(stored, PhotometricInterpretation="MONOCHROME1"), grey)
        np.testing.assert_array_equal(shown, 255 - read(xray(stored), grey).astype(int))


def test_an_xray_without_a_window_or_with_one_of_no_width_is_shown_by_percentiles() -> None:
    stored = ramp(100, 3000)
    plain = read(xray(stored))
    np.testing.assert_array_equal(plain, read(xray(stored), LUNGS))
    assert (plain.min(), plain.max()) == (0, 255)
    np.testing.assert_array_equal(read(xray(stored, WindowCenter=5, WindowWidth=0)), plain)


@pytest.mark.parametrize("grey", [LUNGS, WHOLE_RANGE])
def test_grey_of_8_bits_without_a_window_stays(grey: Grey) -> None:
    stored = ramp(20, 200, np.uint8)
    np.testing.assert_array_equal(read(xray(stored, bits=8), grey), stored)


def test_padding_is_black_and_does_not_count() -> None:
    stored = ramp(1000, 3000)
    stored[:4] = 0
    padded = read(xray(stored, PixelPaddingValue=0), WHOLE_RANGE)
    assert not padded[:4].any()
    np.testing.assert_array_equal(padded[4:], between(stored[4:], stored[4, 0], 3000))
    inverted = xray(stored, PixelPaddingValue=0, PhotometricInterpretation="MONOCHROME1")
    assert not read(inverted, WHOLE_RANGE)[:4].any()
    assert reason(xray(0 * stored, PixelPaddingValue=0)) == "nothing but padding"


def test_what_is_in_the_bits_above_those_stored_is_no_part_of_the_picture() -> None:
    stored = ramp(0, 4095)
    with_overlay = (stored | 0x8000).astype(np.uint16)
    np.testing.assert_array_equal(read(xray(with_overlay)), read(xray(stored)))


def test_headers_that_a_person_should_know_of_are_told() -> None:
    said = {"BurnedInAnnotation": "YES", "PresentationIntentType": "FOR PROCESSING"}
    complaints = decode(to_bytes(xray(ramp(0, 4095), **said)), LUNGS).complaints
    assert complaints == (
        "text burned into the picture, says its header",
        "X-ray for processing, not for presentation, says its header",
    )
    without = ct_slice(ramp(0, 4095))
    del without.RescaleIntercept, without.RescaleSlope
    complaints = decode(to_bytes(without), LUNGS).complaints
    assert complaints == ("CT without a rescale to Hounsfield units",)


# ---- planes and frames -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        ([1, 0, 0, 0, 1, 0], lambda upright: upright),
        ([-1, 0, 0, 0, 1, 0], lambda upright: upright[:, ::-1]),
        ([1, 0, 0, 0, -1, 0], lambda upright: upright[::-1]),
        ([-1, 0, 0, 0, -1, 0], lambda upright: upright[::-1, ::-1]),
        ([0, 1, 0, 1, 0, 0], lambda upright: upright.T),
        ([0, -1, 0, 1, 0, 0], lambda upright: upright.T[:, ::-1]),
        ([1, 0, 0, 0, 0.9, 0.436], lambda upright: upright),  # a tilted gantry
    ],
)
def test_axial_slices_are_turned_alike(orientation: list[float], stored: Any) -> None:
    upright = ramp(0, 2048)
    data = ct_slice(np.ascontiguousarray(stored(upright)), ImageOrientationPatient=orientation)
    np.testing.assert_array_equal(read(data), read(ct_slice(upright)))


@pytest.mark.parametrize("orientation", [[1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]])
def test_other_planes_of_ct_are_refused_and_xrays_are_not(orientation: list[float]) -> None:
    data = ct_slice(ramp(0, 2048), ImageOrientationPatient=orientation)
    assert reason(data) == "a slice that is not axial"
    assert read(xray(ramp(0, 2048), ImageOrientationPatient=orientation)).any()


def test_frames_are_read_one_by_one_and_have_to_be_named() -> None:
    frames = np.stack([ramp(0, 1000), ramp(500, 1500), ramp(1000, 2000)])
    content = to_bytes(ct_slice(frames))
    for number in range(3):
        found = decode(content, LUNGS, number).pixels
        np.testing.assert_array_equal(found, read(ct_slice(frames[number])))
    assert reason(content) == "3 pictures in one file, and none is named"
    several = [*decode_frames(content, LUNGS, [2, 7, 0])]
    assert [isinstance(one, DecodedImage) for one in several] == [True, False, True]


def test_enhanced_ct_has_rescale_and_plane_of_each_frame_in_its_groups() -> None:
    frames = np.stack([ramp(0, 2048), ramp(0, 2048)[:, ::-1]])
    data = describe(
        frames,
        12,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1",
        Modality="CT",
        SharedFunctionalGroupsSequence=sequence(
            PixelValueTransformationSequence=sequence(
                RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU"
            )
        ),
        PerFrameFunctionalGroupsSequence=[
            sequence(PlaneOrientationSequence=sequence(ImageOrientationPatient=axes))[0]
            for axes in ([1, 0, 0, 0, 1, 0], [-1, 0, 0, 0, 1, 0])
        ],
    )
    expected = read(ct_slice(frames[0]))
    np.testing.assert_array_equal(read(data, frame=0), expected)
    np.testing.assert_array_equal(read(data, frame=1), expected)


# ---- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_packed_pixels_are_those_that_were_packed(syntax: Any) -> None:
    stored = large_ramp()
    np.testing.assert_array_equal(read(packed(ct_slice(stored), syntax)), read(ct_slice(stored)))


def large_ramp() -> NDArray[Any]:
    """(64, 64) values; JPEG 2000 packs no less than 32 rows."""
    return np.linspace(0, 4000, 4096).round().astype(np.uint16).reshape(64, 64)


def test_a_file_without_preamble_is_read_as_with_it() -> None:
    data = ct_slice(ramp(0, 2048))
    content = to_bytes(data, preamble=False)
    assert content[128:132] != b"DICM"
    np.testing.assert_array_equal(decode(content, LUNGS).pixels, read(data))


def test_objects_that_are_no_pictures_are_named() -> None:
    structure = Dataset()
    structure.SOPClassUID, structure.Modality = RTStructureSetStorage, "RTSTRUCT"
    structure.file_meta = ct_slice(ramp(0, 1)).file_meta
    structure.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
    structure.SOPInstanceUID = structure.file_meta.MediaStorageSOPInstanceUID
    assert reason(structure).startswith("DICOM without pixels (RT Structure Set Storage): ")
    segments = ct_slice(ramp(0, 1), SOPClassUID=SegmentationStorage)
    assert reason(segments) == "a DICOM object that is no picture (Segmentation Storage)"


def test_localizers_are_refused() -> None:
    scout = ct_slice(ramp(0, 2048), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert reason(scout) == "a localizer, not a slice"
    assert reason(ct_slice(ramp(0, 2048), ImageType="SCOUT")) == "a localizer, not a slice"


def test_a_syntax_that_nothing_reads_is_named() -> None:
    data = ct_slice(ramp(0, 2048))
    data.file_meta.TransferSyntaxUID = MPEG2MPML
    data.PixelData = pydicom.encaps.encapsulate([b"\0" * 64])
    data["PixelData"].is_undefined_length = True
    assert reason(data).startswith("transfer syntax MPEG2 Main Profile")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"RescaleSlope": 0}, "a rescale slope that is 0, or no number"),
        (
            {"Rows": 60000, "Columns": 60000},
            "over 67108864 pixels: refused as a decompression bomb",
        ),
        ({"Rows": 3}, "32x3 px: sides under 16 px"),
        ({"NumberOfFrames": 2_000_000_000}, "2000000000 frames, more than a file of its size"),
        ({"NumberOfFrames": 30}, "30 frames, more than a file of its size can hold"),
        ({"NumberOfFrames": 0}, "a number of frames that is none"),
        ({"PixelData": b""}, "damaged DICOM: data cut short or corrupt"),
        ({"PixelData": bytes(100)}, "damaged DICOM: data cut short or corrupt"),
        ({"PhotometricInterpretation": "HSV"}, "DICOM of a photometric interpretation that is"),
        ({"BitsAllocated": 13}, "damaged DICOM: data cut short or corrupt"),
    ],
)
def test_absurd_headers_are_refused_with_a_reason(changes: dict[str, Any], said: str) -> None:
    data = ct_slice(ramp(0, 2048))
    for keyword, value in changes.items():
        setattr(data, keyword, value)
    assert reason(data).startswith(said)


def test_deflated_files_are_read_unless_they_would_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = (TEST_FILES / "test_files" / "image_dfl.dcm").read_bytes()
    assert decode(content, LUNGS).pixels.shape == (512, 512)
    monkeypatch.setattr(dicom_file, "MAX_DEFLATED_BYTES", 512 * 512)
    assert reason(content) == "a deflated DICOM that is too large unpacked"


def test_packed_pixels_of_another_size_than_the_header_says_are_not_unpacked() -> None:
    data = packed(ct_slice(large_ramp()), JPEG2000Lossless)
    data.Rows, data.Columns = 128, 32
    assert reason(data) == "packed pixels of another size than the header says"


def test_packed_bombs_are_refused_before_they_are_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dicom_checks, "MAX_PIXELS", 4095)
    assert "bomb" in reason(packed(ct_slice(large_ramp()), JPEG2000Lossless))


def test_files_cut_anywhere_are_read_or_refused_with_a_reason() -> None:
    for data in (ct_slice(ramp(0, 2048)), packed(ct_slice(ramp(0, 2048)), RLELossless)):
        content = to_bytes(data)
        for length in range(0, len(content) - 1, 13):
            assert reason(content[:length])


# ---- pydicom's own files ---------------------------------------------------------------------


def own_pipeline(file: Path, frame: int) -> NDArray[Any]:
    """Values of pydicom's pipeline, those of the modality where no window of the file applies."""
    data = open_dicom(file.read_bytes())
    stored = pixel_array(data, index=frame)
    if data.PhotometricInterpretation == "PALETTE COLOR":
        return apply_color_lut(stored, data)
    if stored.ndim == 3:
        return stored
    values = apply_modality_lut(stored, data)
    return values if data.Modality == "CT" else apply_voi_lut(values, data)


def grey_of(values: NDArray[Any], data: Dataset) -> NDArray[np.uint8]:
    """8 bits of pydicom's values, by the range that pydicom gives them."""
    if values.ndim == 3:
        depth = 8 * values.dtype.itemsize if "BitsStored" not in data else data.BitsStored
        if data.PhotometricInterpretation == "PALETTE COLOR":
            depth = data.RedPaletteColorLookupTableDescriptor[2]
        return between(values[..., :3] @ np.array([0.299, 0.587, 0.114]), 0, 2.0**depth - 1)
    if data.Modality == "CT":
        return between(values, -1350, 150)
    if "WindowWidth" in data or "VOILUTSequence" in data:
        far = np.array([[-1e9, 1e9]])
        ends = apply_windowing(far, data) if "WindowWidth" in data else far
        low, high = ends.ravel()
        shown = between(values, low, high)
    elif data.BitsStored <= 8:
        shown = between(pixel_array(data), 0, 2.0**data.BitsStored - 1)
    else:
        shown = between(values, *np.percentile(values, (0.5, 99.5), method="nearest"))
    return 255 - shown if data.PhotometricInterpretation == "MONOCHROME1" else shown


FILES = sorted(path for path in TEST_FILES.rglob("*") if path.is_file())


@pytest.mark.filterwarnings("ignore:The pixel data is")  # of the reference
def test_pydicoms_own_files_are_shown_as_by_its_pipeline_or_refused_with_a_reason() -> None:
    shown, refused = 0, {}
    for file in FILES:
        if file.suffix in (".py", ".pyc", ".json", ".txt", ".md"):
            continue
        name = str(file.relative_to(TEST_FILES))
        try:
            found = decode(file.read_bytes(), LUNGS, None if "frame" not in name else 0)
        except UnreadableImage as error:
            if not str(error).startswith("not an image"):
                refused[name] = str(error)
            continue
        if found.format != "DICOM":
            continue
        shown += 1
        data = open_dicom(file.read_bytes())
        expected = grey_of(own_pipeline(file, 0), data)
        assert np.abs(found.pixels.astype(int) - expected).max() <= 1, name
    assert shown >= 70
    assert {reason.partition(" (")[0] for reason in refused.values()} <= EXPECTED_REASONS


EXPECTED_REASONS = {
    "a DICOM object that is no picture",
    "DICOM without pixels",
    "DICOM without pixels: no picture, or cut short",
    "a localizer, not a slice",
    "a slice that is not axial",
    "damaged DICOM: data cut short or corrupt",
    "over 67108864 pixels: refused as a decompression bomb",
    "10x45 px: sides under 16 px",
    "10x50 px: sides under 16 px",
    "3x3 px: sides under 16 px",
    "30 pictures in one file, and none is named",
}

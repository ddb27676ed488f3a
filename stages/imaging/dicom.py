"""Pictures of DICOM files as grey pixels, as a radiologist's screen shows them.

DICOM PS3.3: stored values become values of the modality (C.11.1), such as Hounsfield units, these
become grey by a window or table (VOI LUT, C.11.2), and MONOCHROME1 is shown inverted (C.7.6.3.1.2).
Pixels are read by pydicom and the decoders of pylibjpeg, whatever else is installed, so that lossy
pictures are the same everywhere. Overlays are not drawn.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, pixel_array

from stages.config.params import DicomGrey, Grey
from stages.imaging.decoded import DecodedImage, check_size
from stages.imaging.depth import Values, Window, to_grey_levels, to_luma
from stages.imaging.dicom_checks import check_coded_size, decoder_of, require_picture
from stages.imaging.dicom_plane import turn_upright
from stages.sources.dicom_file import (
    count_frames,
    number_of,
    open_dicom,
    reading_dicom,
    text_of,
)
from stages.sources.item import UnreadableImage

GREY, INVERTED, PALETTE = "MONOCHROME2", "MONOCHROME1", "PALETTE COLOR"
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
ONLY_PADDING = "nothing but padding"
NOT_HOUNSFIELD = "CT without a rescale to Hounsfield units"
BURNED_IN = "text burned into the picture, says its header"
FOR_PROCESSING = "X-ray for processing, not for presentation, says its header"


class _Modality(NamedTuple):
    """Values of the modality, and whether these are Hounsfield units."""

    values: NDArray[Any]
    are_hounsfield: bool


class DicomFrames:
    """The pictures of a file; one at a time is decoded."""

    def __init__(self, content: bytes) -> None:
        """Raises `UnreadableImage` for a file that is damaged, or no picture of a patient."""
        with reading_dicom():
            self._data = open_dicom(content)
            require_picture(self._data)
            self.count = count_frames(self._data, len(content))
            check_size(int(self._data.Columns), int(self._data.Rows))

    def decode(self, frame: int, grey: Grey) -> DecodedImage:
        """One picture, from 0; CT slices lie as they are looked at, from the feet."""
        data = self._data
        with reading_dicom():
            check_coded_size(data, frame, self.count)
            stored = pixel_array(data, index=frame, decoding_plugin=decoder_of(data))
            kind = text_of(data, "PhotometricInterpretation")
            bits = int(data.BitsStored) if "PixelData" in data else 32
            if kind in COLOURS or kind == PALETTE:
                values = _luma(stored, data, kind, bits)
            elif kind in (GREY, INVERTED):
                values = self._grey_values(stored, frame, bits, grey)
            else:
                raise UnreadableImage("DICOM of a photometric interpretation that is not read")
            pixels = to_grey_levels(values, grey)
            upright = turn_upright(pixels, data, self._group(frame, "PlaneOrientationSequence"))
            return DecodedImage(upright, f"{kind};{bits}", "DICOM", self._complaints())

    def _grey_values(self, stored: NDArray[Any], frame: int, bits: int, grey: Grey) -> Values:
        """Grey before it is laid on 8 bits, and between which values that is done."""
        is_inverted = text_of(self._data, "PhotometricInterpretation") == INVERTED
        stored = _without_spare_bits(stored, bits)
        shown = _without_padding(stored, self._data)
        modality = self._modality(stored, frame)
        if isinstance(grey, DicomGrey) and modality.are_hounsfield:
            return Values(modality.values, None, shown, is_inverted, grey.window)
        if isinstance(grey, DicomGrey):
            voi = self._group(frame, "FrameVOILUTSequence")
            seen, window = _apply_voi(modality.values, voi)
            if window is not None:
                return Values(seen, None, shown, is_inverted, window)
        if bits <= 8 and not modality.are_hounsfield:
            return Values(stored, None, shown, is_inverted, _range(bits, stored.dtype.kind == "i"))
        return Values(modality.values, None, shown, is_inverted)

    def _modality(self, stored: NDArray[Any], frame: int) -> _Modality:
        """Through the table or line of the modality (DICOM PS3.3, C.11.1)."""
        scale = self._group(frame, "PixelValueTransformationSequence")
        slope, intercept = number_of(scale, "RescaleSlope"), number_of(scale, "RescaleIntercept")
        if "RescaleSlope" in scale and not slope:
            raise UnreadableImage("a rescale slope that is 0, or no number")
        is_ct = text_of(self._data, "Modality") == "CT"
        unit = text_of(scale, "RescaleType").upper()
        are_hounsfield = is_ct and intercept is not None and unit in ("", "HU")
        return _Modality(apply_modality_lut(stored, scale), are_hounsfield)

    def _group(self, frame: int, keyword: str) -> Dataset:
        """Where elements stand that can differ by frame: there, else for all frames, or at the top.

        DICOM PS3.3, C.7.6.16: functional groups of enhanced objects.
        """
        for groups, number in (
            (self._data.get("PerFrameFunctionalGroupsSequence"), frame),
            (self._data.get("SharedFunctionalGroupsSequence"), 0),
        ):
            if groups and number < len(groups):
                found = groups[number].get(keyword)
                if found:
                    item: Dataset = found[0]
                    return item
        return self._data

    def _complaints(self) -> tuple[str, ...]:
        """What a person should know of a picture that can be read."""
        data = self._data
        found = []
        if text_of(data, "BurnedInAnnotation").upper() == "YES":
            found.append(BURNED_IN)
        if text_of(data, "PresentationIntentType").upper() == "FOR PROCESSING":
            found.append(FOR_PROCESSING)
        scale = self._group(0, "PixelValueTransformationSequence")
        if text_of(data, "Modality") == "CT" and "RescaleIntercept" not in scale:
            found.append(NOT_HOUNSFIELD)
        return tuple(found)


def _luma(stored: NDArray[Any], data: Dataset, kind: str, bits: int) -> Values:
    """Colours as luma, which `pixel_array` has turned into red, green and blue."""
    colours = apply_color_lut(stored, data) if kind == PALETTE else stored
    if kind == PALETTE:
        bits = int(data.RedPaletteColorLookupTableDescriptor[2])
    return Values(
        to_luma(colours[..., :3]),
        None,
        None,
        is_inverted=False,
        window=_range(bits, is_signed=False),
    )


def _without_spare_bits(stored: NDArray[Any], bits: int) -> NDArray[Any]:
    """Without what stands above the bits of a value, such as overlays; the sign is spread there."""
    spare = 8 * stored.dtype.itemsize - bits
    if stored.dtype.kind == "f" or spare <= 0:
        return stored
    return (stored << spare) >> spare


def _without_padding(stored: NDArray[Any], data: Dataset) -> NDArray[np.bool_] | None:
    """(H, W) where there is no padding (DICOM PS3.3, C.7.5.1.1.2); None: nowhere is any."""
    first = number_of(data, "PixelPaddingValue")
    if first is None:
        return None
    last = number_of(data, "PixelPaddingRangeLimit")
    last = first if last is None else last
    shown = (stored < min(first, last)) | (stored > max(first, last))
    if not shown.any():
        raise UnreadableImage(ONLY_PADDING)
    return np.asarray(shown)


def _apply_voi(values: NDArray[Any], voi: Dataset) -> tuple[NDArray[Any], Window | None]:
    """Values through the first table or window of a file; None: it has none that can be used.

    A linear window is no more than two values (DICOM PS3.3, C.11.2.1.2).
    """
    tables = voi.get("VOILUTSequence")
    if tables:
        return apply_voi(values, voi), _range(int(tables[0].LUTDescriptor[2]), is_signed=False)
    center, width = (number_of(voi, name) for name in ("WindowCenter", "WindowWidth"))
    function = text_of(voi, "VOILUTFunction").upper() or "LINEAR"
    if center is None or width is None or width <= 0 or (function == "LINEAR" and width < 1):
        return values, None
    match function:
        case "LINEAR":
            middle, half = center - 0.5, (width - 1) / 2
            return values, (middle - half, middle + half)
        case "LINEAR_EXACT":
            return values, (center - width / 2, center + width / 2)
        case "SIGMOID":
            return 1 / (1 + np.exp(-4 * (values - center) / width)), (0, 1)
    return values, None


def _range(bits: int, is_signed: bool) -> Window:
    """The lowest and the highest value of so many bits."""
    if is_signed:
        return -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    return 0, 2.0**bits - 1

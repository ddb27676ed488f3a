"""DICOM files and NIfTI volumes made for tests."""

import gzip
import io
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

AXIAL = [1, 0, 0, 0, 1, 0]
ROOT = "1.2.826.0.1.3680043.8.498."


def describe(pixels: NDArray[Any], bits: int, **elements: Any) -> Dataset:
    """A DICOM object of grey pixels (H, W) or (N, H, W), uint8, uint16 or int16."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPInstanceUID = f"{ROOT}1.2"
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    if pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    data.Rows, data.Columns = pixels.shape[-2:]
    data.BitsAllocated = 8 * pixels.dtype.itemsize
    data.BitsStored, data.HighBit = bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    data["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    return data


def ct_slice(pixels: NDArray[Any], bits: int = 12, **elements: Any) -> Dataset:
    """An axial CT slice, stored values 1024 above Hounsfield units."""
    said = {
        "SOPClassUID": CTImageStorage,
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ImageOrientationPatient": AXIAL,
        "ImagePositionPatient": [0, 0, 0],
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "RescaleType": "HU",
    }
    return describe(pixels, bits, **(said | elements))


def xray(pixels: NDArray[Any], bits: int = 12, **elements: Any) -> Dataset:
    """A digital X-ray."""
    said = {"SOPClassUID": DigitalXRayImageStorageForPresentation, "Modality": "DX"}
    return describe(pixels, bits, **(said | elements))


def sequence(**elements: Any) -> list[Dataset]:
    """A sequence of one item."""
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return [item]


def packed(data: Dataset, syntax: UID, **options: Any) -> Dataset:
    """The same with compressed pixels."""
    data.compress(syntax, generate_instance_uid=False, **options)
    return data


def to_bytes(data: Dataset, *, preamble: bool = True) -> bytes:
    """A file of it; without preamble and meta header, as older software wrote it."""
    stream = io.BytesIO()
    if preamble:
        pydicom.dcmwrite(stream, data, enforce_file_format=True)
    else:
        plain = Dataset({element.tag: element for element in data})
        pydicom.dcmwrite(stream, plain, implicit_vr=False, little_endian=True)
    return stream.getvalue()


def write_dicom(path: Path, data: Dataset) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_bytes(data))


def nifti_bytes(
    voxels: NDArray[Any],
    axes: str = "RAS",
    *,
    slope: float | None = None,
    inter: float | None = None,
    second: bool = False,
    zipped: bool = False,
) -> bytes:
    """A NIfTI file of voxels, whose axes go the ways that `axes` says."""
    orientation = nibabel.orientations.axcodes2ornt(tuple(axes))
    affine = np.linalg.inv(nibabel.orientations.inv_ornt_aff(orientation, voxels.shape[:3]))
    kind = nibabel.Nifti2Image if second else nibabel.Nifti1Image
    image = kind(voxels, affine, dtype=voxels.dtype)
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
        # nibabel scales what it writes by itself.
        content = bytearray(kind(voxels, affine, dtype=voxels.dtype).to_bytes())
        at = (112, "<f4") if not second else (176, "<f8")
        content[at[0] : at[0] + 2 * np.dtype(at[1]).itemsize] = np.array(
            [slope, inter], at[1]
        ).tobytes()
    else:
        content = bytearray(image.to_bytes())
    return gzip.compress(bytes(content), mtime=0) if zipped else bytes(content)

"""Which files hold slices, and which of these become images."""

import gzip
from pathlib import Path

import pytest

from stages.config.errors import UserError
from stages.config.params import AllSlices, MiddleSlices, Slices, SpacedSlices
from stages.sources.formats import recognise
from stages.sources.item import RawImage, SourceItem
from stages.sources.names import kind_in_file_name, split_ending, stem_of
from stages.sources.volumes import Headers, pick_slices, take_slices
from tests.imaging.dicom_files import ct_slice, nifti_bytes, to_bytes
from tests.imaging.test_dicom import ramp
from tests.imaging.test_nifti import volume


@pytest.mark.parametrize("count", [1, 2, 7, 10])
@pytest.mark.parametrize(
    ("slices", "wanted"),
    [
        (AllSlices(kind="all"), {1: [0], 2: [0, 1], 7: [*range(7)], 10: [*range(10)]}),
        (MiddleSlices(kind="middle", share=0.4), {1: [0], 2: [0], 7: [2, 3, 4], 10: [3, 4, 5, 6]}),
        (MiddleSlices(kind="middle", share=1), {1: [0], 2: [0, 1], 7: [*range(7)]}),
        (SpacedSlices(kind="every", step=3), {1: [0], 2: [1], 7: [1, 4], 10: [1, 4, 7]}),
    ],
)
def test_slices_are_picked(slices: Slices, wanted: dict[int, list[int]], count: int) -> None:
    assert [*pick_slices(count, slices)] == wanted.get(count, [*range(count)])


def test_formats_are_told_by_the_first_bytes() -> None:
    data = ct_slice(ramp(0, 1000))
    assert recognise(to_bytes(data)) == recognise(to_bytes(data, preamble=False)) == "DICOM"
    for second in (False, True):
        assert recognise(nifti_bytes(volume(), second=second)) == "NIfTI"
        assert recognise(nifti_bytes(volume(), second=second, zipped=True)[:200]) == "NIfTI"
    others = (b"", b"\x08", b"\x89PNG\r\n\x1a\n" + bytes(400), gzip.compress(b"text"), b"\x1f\x8b")
    assert [recognise(other) for other in others] == [None] * len(others)


def test_a_file_that_is_called_as_a_slice_of_another_stops_the_run() -> None:
    items = [
        SourceItem(path, "covid", None, None, "", lambda: RawImage(b""))
        for path in ("covid/a.nii", "covid/a.nii#001")
    ]
    headers = Headers({}, {"covid/a.nii": 3})
    with pytest.raises(UserError, match=r"^'covid/a\.nii#001' is a file, and the name of a slice"):
        take_slices(items, headers, AllSlices(kind="all"), Path())


def test_packed_volumes_have_an_ending_of_two_parts() -> None:
    assert split_ending("covid/v1.NII.gz") == ("covid/v1", ".NII.gz")
    assert stem_of("v1.nii.gz") == "v1"
    assert kind_in_file_name(stem_of("v1_mask.nii.gz"))

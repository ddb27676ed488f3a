from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from stages.dataset.arrays import open_images, write_image_rows, write_images


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 5, 7), dtype=np.uint8)


def written(path: Path, images: Iterable[np.ndarray]) -> Path:
    with write_images(path, 5, 7) as writer:
        for image in images:
            writer.append(image)
    return path


def test_what_was_appended_is_read_back_in_order(tmp_path: Path) -> None:
    images = pictures(3)
    path = written(tmp_path / "images.npy", images)
    np.testing.assert_array_equal(open_images(path), images)


def test_the_count_stands_in_the_header_although_it_was_not_known(tmp_path: Path) -> None:
    for count in (1, 123):
        path = written(tmp_path / f"{count}.npy", pictures(count))
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
        assert shape == (count, 5, 7)
        assert not fortran_order
        assert dtype == np.uint8


def test_an_array_of_no_images_can_be_read(tmp_path: Path) -> None:
    assert open_images(written(tmp_path / "images.npy", pictures(0))).shape == (0, 5, 7)


def test_an_image_that_does_not_lie_in_rows_is_written_by_its_rows(tmp_path: Path) -> None:
    image = np.asfortranarray(pictures(1)[0])
    path = written(tmp_path / "images.npy", image[None])
    np.testing.assert_array_equal(open_images(path)[0], image)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((7, 5), np.uint8), r"got uint8 \(7, 5\), expected uint8 \(5, 7\)"),
        (np.zeros((5, 7), np.float32), r"got float32 \(5, 7\), expected uint8"),
        (np.zeros((5, 7, 3), np.uint8), r"got uint8 \(5, 7, 3\), expected"),
    ],
)
def test_an_image_of_another_shape_or_type_is_refused(
    tmp_path: Path, image: np.ndarray, said: str
) -> None:
    with (
        write_images(tmp_path / "images.npy", 5, 7) as writer,
        pytest.raises(ValueError, match=said),
    ):
        writer.append(image)


def test_an_error_leaves_nothing_of_a_new_array(tmp_path: Path) -> None:
    image = pictures(1)[0]
    with pytest.raises(ValueError, match="expected uint8"):
        written(tmp_path / "images.npy", [image, image.T])
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_the_array_of_an_earlier_run(tmp_path: Path) -> None:
    earlier, image = pictures(2), pictures(1)[0]
    path = written(tmp_path / "images.npy", earlier)
    with pytest.raises(ValueError, match="expected uint8"):
        written(path, [image, image.T])
    np.testing.assert_array_equal(open_images(path), earlier)


def test_an_array_takes_the_place_of_another_without_being_written_into_it(tmp_path: Path) -> None:
    first, second = pictures(2)[:1], pictures(2)[1:]
    path = written(tmp_path / "images.npy", first)
    (tmp_path / "link.npy").hardlink_to(path)
    written(path, second)
    np.testing.assert_array_equal(open_images(path), second)
    np.testing.assert_array_equal(open_images(tmp_path / "link.npy"), first)


def write_rows(folder: Path, row: dict[str, np.ndarray]) -> None:
    with write_image_rows(folder, list(row), 5) as arrays:
        for name, image in row.items():
            arrays[name].append(image)
        assert not any((folder / name).exists() for name in row)


def test_arrays_that_are_written_row_by_row_alike_come_together_or_not_at_all(
    tmp_path: Path,
) -> None:
    square = pictures(1)[0][:, :5]
    write_rows(tmp_path, {"a.npy": square, "b.npy": 255 - square})
    np.testing.assert_array_equal(open_images(tmp_path / "b.npy")[0], 255 - square)
    with pytest.raises(ValueError, match="expected uint8"):
        write_rows(tmp_path, {"c.npy": square, "d.npy": square[1:]})
    assert {path.name for path in tmp_path.iterdir()} == {"a.npy", "b.npy"}


def test_an_opened_array_is_a_map_of_the_file_and_cannot_be_changed(tmp_path: Path) -> None:
    images = open_images(written(tmp_path / "images.npy", pictures(2)))
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0

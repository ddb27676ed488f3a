"""The pictures of the page: each is encoded and kept once, however often it is shown."""

import base64
import io
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from stages.dataset.arrays import open_images
from stages.dataset.image_set import without_padding
from stages.explain.overlay import TILE_PX
from stages.reporting.results import DatasetResults

SIDE_PX = 240  # of what was decoded at more; smaller pictures stay as they are
QUALITY = 60  # of WebP, 0 to 100; noise is most of an image's bytes


class Picture(NamedTuple):
    """Where a picture of the store is shown: `key` is its id in the page, sizes are in pixels."""

    key: str
    width: int
    height: int


class PictureStore:
    """Pictures by what they are of; the page keeps each of `uris` once, and shows it by its key."""

    def __init__(self) -> None:
        """Without a picture."""
        self.uris: dict[Picture, str] = {}
        self._known: dict[tuple[Path, str], Picture] = {}

    def add_overlay(self, dataset: DatasetResults, image_id: str, path: Path) -> Picture:
        """A tile that `cam` has saved of an image: what lies on the image, without the caption."""
        place = (path, image_id)
        if place not in self._known:
            facts = dataset.facts_of(image_id)
            sides = (facts["x1"] - facts["x0"], facts["y1"] - facts["y0"])
            self._add(place, open_overlay(path, sides))
        return self._known[place]

    def add_original(self, dataset: DatasetResults, image_id: str) -> Picture:
        """An image as it was decoded, before any crop.

        Raises:
            KeyError: the data set has no such image.
        """
        place = (dataset.images, image_id)
        if place not in self._known:
            self._add(place, open_original(dataset, image_id))
        return self._known[place]

    def _add(self, place: tuple[Path, str], image: Image.Image) -> None:
        image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
        picture = Picture(f"picture-{len(self.uris)}", *image.size)
        self.uris[picture] = to_uri(image)
        self._known[place] = picture


def open_original(dataset: DatasetResults, image_id: str) -> Image.Image:
    """An image of the data set (H, W), grey, without its padding."""
    facts = dataset.facts_of(image_id)
    return Image.fromarray(without_padding(open_images(dataset.images)[facts["row"]], facts))


def open_overlay(path: Path, sides: tuple[int, int]) -> Image.Image:
    """What `draw_tile` has put into the square of a tile, of an image of that width and height."""
    scale = TILE_PX / max(sides)
    width, height = (max(1, round(side * scale)) for side in sides)
    left, top = (TILE_PX - width) // 2, (TILE_PX - height) // 2
    with Image.open(path) as tile:
        return tile.convert("RGB").crop((left, top, left + width, top + height))


def to_uri(picture: Image.Image) -> str:
    """A picture as a data URI."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"

"""Maps laid over the pictures that they are of, each with what it shows and its scale."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from stages.config.progress import progress
from stages.dataset.image_set import ImageSet, without_padding
from stages.explain.selection import Selection

Picture = NDArray[np.uint8]
Map = NDArray[np.float32]

# Methods whose maps are of the activations alone; the class decides at most their sign.
NOT_CLASS_SPECIFIC = ("eigencam",)

COLORMAP = "viridis"  # readable with any colour vision, and in grey
TILE_PX = 160
CAPTION_PX = 56
FONT_PX = 11
LINE_PX = 13
SCALE_PX = (60, 8)
INK = (20, 20, 20)


class Caption(NamedTuple):
    """What is said of an image: its class, the decision, the probability of that class."""

    label: str
    prediction: str
    probability: float

    @property
    def is_error(self) -> bool:
        """Whether the decision is wrong."""
        return self.label != self.prediction


def draw_tiles(
    view: ImageSet, selected: Selection, maps: Mapping[str, Map]
) -> dict[str, list[Image.Image]]:
    """Tiles of N images: of the pictures alone, by "image", and of each method's overlays.

    Args:
        view: what the maps are of, and the pictures before the crop.
        selected: N images and the case's predictions.
        maps: per method (N, S, S) in [0, 1], in the geometry of the view.
    """
    assert view.boxes is not None  # a view has boxes and pictures
    assert view.pictures is not None
    tiles: dict[str, list[Image.Image]] = {name: [] for name in ("image", *maps)}
    rows = progress(selected.rows, "overlays", len(selected.rows))
    for number, row in enumerate(rows):
        facts, box = view.manifest.iloc[row], view.boxes.iloc[row]
        predicted = view.info.class_names[selected.predicted[number]]
        caption = Caption(facts["label"], predicted, float(selected.probabilities[number]))
        picture = without_padding(view.pictures[row], facts)
        tiles["image"].append(draw_tile(picture, caption))
        for method, cams in maps.items():
            overlay = draw_overlay(picture, place_map(cams[number], facts, box, picture))
            tiles[method].append(draw_tile(overlay, caption, method))
    return tiles


def place_map(cam: Map, facts: Mapping[str, Any], box: Mapping[str, Any], picture: Picture) -> Map:
    """Bring a map (S, S) of a view back to the picture (H, W); NaN outside the crop.

    Args:
        cam: in the geometry of the view.
        facts: the image's row of the manifest: width and height of the source.
        box: its row of boxes.csv: the crop in the source, and where it lies in the view.
        picture: the source picture at any resolution.
    """
    height, width = picture.shape
    x0, x1 = (_to_pixels(box[edge], facts["width"], width) for edge in ("x0", "x1"))
    y0, y1 = (_to_pixels(box[edge], facts["height"], height) for edge in ("y0", "y1"))
    crop = cam[box["view_y0"] : box["view_y1"], box["view_x0"] : box["view_x1"]]
    scaled = Image.fromarray(crop).resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR)
    placed = np.full(picture.shape, np.nan, np.float32)
    placed[y0:y1, x0:x1] = np.asarray(scaled)
    return placed


def _to_pixels(edge: float, source_side: int, side: int) -> int:
    return round(edge * side / source_side)


def draw_overlay(picture: Picture, cam: Map) -> Picture:
    """(H, W, 3): the grey picture, blended by half to the colour of the map where there is one."""
    grey = np.repeat(picture[..., None] / 255, 3, axis=2)
    colours = matplotlib.colormaps[COLORMAP](np.nan_to_num(cam))[..., :3]
    blended = np.where(np.isnan(cam)[..., None], grey, 0.5 * grey + 0.5 * colours)
    return np.asarray((blended * 255).round(), np.uint8)


def draw_tile(picture: Picture, caption: Caption, method: str | None = None) -> Image.Image:
    """A picture (H, W) or an overlay (H, W, 3), and beneath it what it shows.

    Args:
        picture: fitted into a square of TILE_PX, its aspect ratio kept.
        caption: of the image.
        method: of the overlay's map, with the scale of its colours; None for the picture alone.
    """
    tile = Image.new("RGB", (TILE_PX, TILE_PX + CAPTION_PX), "white")
    image = Image.fromarray(picture).convert("RGB")
    scale = TILE_PX / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    corner = ((TILE_PX - size[0]) // 2, (TILE_PX - size[1]) // 2)
    tile.paste(image.resize(size, Image.Resampling.BILINEAR), corner)
    draw = ImageDraw.Draw(tile)
    # An error is marked by a word and a bar, not by colour alone.
    mark = "ERROR: " if caption.is_error else ""
    lines = (
        f"{mark}true {caption.label}",
        f"predicted {caption.prediction} {caption.probability:.2f}",
        _describe_map(method, caption) if method else "",
    )
    if caption.is_error:
        draw.rectangle((0, TILE_PX + 2, 2, TILE_PX + CAPTION_PX - 3), INK)
    for number, line in enumerate(lines):
        draw.text((5, TILE_PX + 1 + number * LINE_PX), line, INK, font())
    if method:
        _draw_scale(tile, draw)
    return tile


def _describe_map(method: str, caption: Caption) -> str:
    evidence = "any class" if method in NOT_CLASS_SPECIFIC else f"for {caption.prediction}"
    return f"{method}, {evidence}"


def _draw_scale(tile: Image.Image, draw: ImageDraw.ImageDraw) -> None:
    """The colours' meaning: from no evidence to the map's own maximum."""
    width, height = SCALE_PX
    ramp = matplotlib.colormaps[COLORMAP](np.linspace(0, 1, width))[:, :3] * 255
    bar = np.repeat(ramp[None].round().astype(np.uint8), height, axis=0)
    left, top = 16, TILE_PX + CAPTION_PX - height - 5
    tile.paste(Image.fromarray(bar), (left, top))
    draw.text((5, top - 3), "0", INK, font())
    draw.text((left + width + 4, top - 3), "this map's max", INK, font())


def font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The one font of tiles and sheets; it comes with Pillow."""
    return ImageFont.load_default(FONT_PX)

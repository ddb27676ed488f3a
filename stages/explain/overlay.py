"""Maps laid over images, and sheets of them."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from stages.explain.explanation import Explanation
from stages.imaging.image_set import ImageSet

COLORMAP = "viridis"  # readable with any colour vision, and in grey
CAPTION_PX = 34
GAP_PX = 6
FONT_PX = 12
TILE_PX = 160
SCALE_PX = 46
INK = (20, 20, 20)


class Tile(NamedTuple):
    """One test image on a sheet: the image, its overlays by method, two lines of text."""

    image_id: str
    image: NDArray[np.uint8]  # (S, S)
    overlays: Sequence[NDArray[np.uint8]]  # (S, S, 3) each
    caption: str
    is_error: bool


def build_tiles(view: ImageSet, rows: NDArray[np.int64], explanation: Explanation) -> list[Tile]:
    """One tile per image of `rows`, overlays in the order of the explanation's methods."""
    names = np.array(view.info.class_names)
    predictions = names[explanation.probabilities.argmax(axis=1)]
    tiles = []
    for number, row in enumerate(rows):
        image, true = np.asarray(view.images[row]), view.manifest["label"].iloc[row]
        predicted, share = predictions[number], explanation.probabilities[number].max()
        tiles.append(
            Tile(
                view.manifest["image_id"].iloc[row],
                image,
                [draw_overlay(image, cams[number]) for cams in explanation.maps.values()],
                f"true {true}, predicted {predicted} {share:.2f}\nmap: evidence for {predicted}",
                is_error=bool(true != predicted),
            )
        )
    return tiles


def draw_overlay(image: NDArray[np.uint8], cam: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(S, S, 3): the grey image, blended to the map's colour by half."""
    colours = matplotlib.colormaps[COLORMAP](cam)[..., :3]
    blended = 0.5 * image[..., None] / 255 + 0.5 * colours
    return np.asarray((blended * 255).round(), np.uint8)


def draw_sheet(
    columns: Sequence[tuple[str, Sequence[Tile]]], methods: Sequence[str]
) -> Image.Image:
    """A contact sheet: one column of tiles per heading, a row of pictures per tile."""
    font = ImageFont.load_default(FONT_PX)
    tile_width = (1 + len(methods)) * (TILE_PX + GAP_PX)
    rows = max(len(tiles) for _, tiles in columns)
    size = (
        len(columns) * (tile_width + GAP_PX) + GAP_PX,
        CAPTION_PX + rows * (TILE_PX + CAPTION_PX) + SCALE_PX,
    )
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for number, (heading, tiles) in enumerate(columns):
        left = GAP_PX + number * (tile_width + GAP_PX)
        draw.text((left, 2), f"{heading}: image, {', '.join(methods)}", INK, font)
        for row, tile in enumerate(tiles):
            _draw_tile(sheet, draw, tile, left, CAPTION_PX + row * (TILE_PX + CAPTION_PX), font)
    _draw_scale(sheet, draw, size[1] - SCALE_PX + GAP_PX, font)
    return sheet


def _draw_tile(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    tile: Tile,
    left: int,
    top: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    pictures = [np.repeat(tile.image[..., None], 3, axis=2), *tile.overlays]
    for number, picture in enumerate(pictures):
        scaled = Image.fromarray(picture).resize((TILE_PX, TILE_PX), Image.Resampling.BILINEAR)
        sheet.paste(scaled, (left + number * (TILE_PX + GAP_PX), top))
    # An error is marked by a word and a bar, not by colour alone.
    text = f"ERROR  {tile.caption}" if tile.is_error else tile.caption
    draw.multiline_text((left + 4 * tile.is_error, top + TILE_PX + 1), text, INK, font, spacing=1)
    if tile.is_error:
        draw.rectangle((left, top + TILE_PX, left + 2, top + TILE_PX + CAPTION_PX - 4), INK)


def _draw_scale(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    top: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """The colours' meaning: from no evidence to the map's own maximum."""
    ramp = matplotlib.colormaps[COLORMAP](np.linspace(0, 1, TILE_PX))[:, :3] * 255
    bar = np.repeat(ramp[None].round().astype(np.uint8), 12, axis=0)
    sheet.paste(Image.fromarray(bar), (GAP_PX, top))
    draw.text((GAP_PX, top + 14), "0", INK, font)
    draw.text((GAP_PX + TILE_PX - 8, top + 14), "1 = this map's maximum", INK, font)

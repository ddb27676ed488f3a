"""Contact sheets: the tiles of one case, and the same images as several cases see them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from stages.config.errors import UserError
from stages.dataset.image_set import ImageSet
from stages.explain.overlay import CAPTION_PX, INK, TILE_PX, font
from stages.explain.selection import DRAWN, ERROR, UNCERTAIN, Selection

GAP_PX = 6
HEADING_PX = 20

Rows = Sequence[Sequence[Image.Image]]  # of tiles


def draw_case_sheet(
    view: ImageSet, selected: Selection, tiles: Mapping[str, Sequence[Image.Image]]
) -> Image.Image:
    """A column each of the positive and other images drawn, of the errors, of the uncertain ones.

    Args:
        view: whose images were selected.
        selected: N images; one that was selected for two reasons stands in two columns.
        tiles: N tiles each of the pictures and of every method's overlays.
    """
    is_positive = view.targets[selected.rows] == view.info.positive_index
    drawn = selected.positions(DRAWN)
    columns = {
        f"{view.info.positive}, drawn": drawn[is_positive[drawn]],
        "other classes, drawn": drawn[~is_positive[drawn]],
        "most confident errors": selected.positions(ERROR),
        "least certain": selected.positions(UNCERTAIN),
    }
    return draw_sheet(
        {
            heading: [[of_kind[place] for of_kind in tiles.values()] for place in places]
            for heading, places in columns.items()
            if len(places)
        }
    )


def draw_side_by_side(folders: Mapping[str, Path], image_ids: Sequence[str]) -> Image.Image:
    """The same images as several cases see them: a column per case, a row per image.

    Args:
        folders: case -> folder of its saved overlays of one method, <image_id>.png each.
        image_ids: that all of these cases have explained.

    Raises:
        UserError: an overlay is missing.
    """
    return draw_sheet(
        {
            case: [[_open_tile(folder / f"{image_id}.png")] for image_id in image_ids]
            for case, folder in folders.items()
        }
    )


def _open_tile(path: Path) -> Image.Image:
    if not path.exists():
        raise UserError(
            f"{path}: does not exist; allowed: images that every case of the sheet has explained; "
            "run: dvc repro"
        )
    with Image.open(path) as tile:
        return tile.convert("RGB")


def draw_sheet(columns: Mapping[str, Rows]) -> Image.Image:
    """Rows of tiles under their headings, the columns side by side."""
    widths = [max(map(len, rows), default=1) * (TILE_PX + GAP_PX) for rows in columns.values()]
    lefts = np.cumsum([GAP_PX, *(width + GAP_PX for width in widths)]).tolist()
    step = TILE_PX + CAPTION_PX
    height = HEADING_PX + max(map(len, columns.values()), default=0) * step
    sheet = Image.new("RGB", (lefts.pop(), height), "white")
    draw = ImageDraw.Draw(sheet)
    for left, (heading, rows) in zip(lefts, columns.items(), strict=True):
        draw.text((left, 3), heading, INK, font())
        for number, tiles in enumerate(rows):
            for place, tile in enumerate(tiles):
                sheet.paste(tile, (left + place * (TILE_PX + GAP_PX), HEADING_PX + number * step))
    return sheet

"""How a view is cut and resized, in operations of tensors alone, so that ONNX can say it.

`stages.imaging.square` resizes with Pillow. Its bilinear filter (`Resample.c` of Pillow 13) is two
passes, along the rows and down the columns. Each makes sums of whole pixels times whole weights,
which are shares in 22 bits, and rounds to a byte. A pass is therefore a matrix product, and in
float64, which holds these sums without rounding, it gives Pillow's bytes. Sizes and places are
tensors too: they depend on the picture, while the shapes of what comes out do not.
"""

from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

UNIT = 2.0**22  # what Pillow counts a whole pixel as
WHITE = 255.0
# Above the sum of weights of no row inside: a share of one pixel in 2^26 of them.
NO_WEIGHT = 2.0**-30


class Span(NamedTuple):
    """So many pixels of an axis from a place on: scalars, whole numbers in float64."""

    start: Tensor
    length: Tensor

    def holds(self, places: Tensor) -> Tensor:
        """(n,) whether pixels (n,) lie inside."""
        return (places >= self.start) & (places < self.start + self.length)

    def middle(self, fraction: float) -> Self:
        """The middle of it, as `center_box` takes it."""
        length = (self.length * fraction).round().clamp(min=1)
        return self._replace(start=self.start + _half(self.length - length), length=length)


class Picture(NamedTuple):
    """Pictures of one size in arrays with a frame around them.

    Attributes:
        pixels: (B, H, W) float64, whole numbers from 0 to 255.
        rows: where the pictures lie in H.
        columns: and in W.
    """

    pixels: Tensor
    rows: Span
    columns: Span

    @classmethod
    def of_bytes(cls, pictures: Tensor) -> Self:
        """Of (B, H, W) uint8 without a frame."""
        height, width = (_count(pictures, axis) for axis in (1, 2))
        return cls(pictures.double(), _from_zero(height), _from_zero(width))

    def middle(self, fraction: float) -> Self:
        """The middle of each, as `center_box` cuts it."""
        return self._replace(rows=self.rows.middle(fraction), columns=self.columns.middle(fraction))

    def laid_into_square(self, size_px: int, fit: str) -> Self:
        """(B, S, S), as `lay_into_square` resizes them: letterbox or stretch."""
        rows, columns = (_place(side, self, size_px, fit) for side in (self.rows, self.columns))
        across = _weights(self.columns, columns, self.pixels.shape[2], size_px)
        down = _weights(self.rows, rows, self.pixels.shape[1], size_px)
        across_first = _to_bytes(down @ _to_bytes(self.pixels @ across.T))
        down_first = _to_bytes(_to_bytes(down @ self.pixels) @ across.T)
        # Which of the two rounds first, Pillow decides by how much each takes away.
        fewer_rows, fewer_columns = (
            self.rows.length - rows.length,
            self.columns.length - columns.length,
        )
        is_down_first = (fewer_rows > 0) & (fewer_rows > 2 * fewer_columns)
        pixels = torch.where(is_down_first, down_first, across_first)
        return self._replace(pixels=pixels, rows=rows, columns=columns)


class ToView(nn.Module):
    """Grey pictures to what the networks of a view are given.

    Args:
        prepared_px: longest side that the pictures are reduced to first, as `prepare` does; None
            where they come as they were prepared.
        crop_fraction: share of width and height that is kept; None for all.
        size_px: side S of the view.
        fit: letterbox or stretch.
    """

    def __init__(
        self, *, prepared_px: int | None, crop_fraction: float | None, size_px: int, fit: str
    ) -> None:
        super().__init__()
        self.prepared_px = prepared_px
        self.crop_fraction = crop_fraction
        self.size_px = size_px
        self.fit = fit

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 1, S, S) float in [0, 1] of pictures (B, H, W) uint8."""
        picture = Picture.of_bytes(pictures)
        if self.prepared_px is not None:
            picture = picture.laid_into_square(self.prepared_px, "letterbox")
        if self.crop_fraction is not None:
            picture = picture.middle(self.crop_fraction)
        square = picture.laid_into_square(self.size_px, self.fit)
        return square.pixels.float().unsqueeze(1) / WHITE


def _count(tensor: Tensor, axis: int) -> Tensor:
    """Size of an axis as a scalar, which an exporter does not take for a constant."""
    return torch.scalar_tensor(tensor.shape[axis], dtype=torch.float64)


def _from_zero(length: Tensor) -> Span:
    return Span(torch.zeros_like(length), length)


def _half(length: Tensor) -> Tensor:
    return (length / 2).floor()


def _place(side: Span, picture: Picture, size_px: int, fit: str) -> Span:
    """Where a side lands in a square of `size_px` pixels."""
    if fit == "stretch":
        return _from_zero(torch.full_like(side.length, size_px))
    longest = torch.maximum(picture.rows.length, picture.columns.length)
    length = (side.length * size_px / longest).round().clamp(min=1)
    return Span(_half(size_px - length), length)


def _weights(source: Span, target: Span, n_source: int, n_target: int) -> Tensor:
    """(T, N) whole numbers: of each pixel of an axis, per pixel of the resized one.

    `precompute_coeffs` and `normalize_coeffs_8bpc` of Pillow, operation by operation; zero outside
    of both spans.
    """
    scale = source.length / target.length
    reach = scale.clamp(min=1)  # a reduction takes in as many pixels as it makes one of
    row = torch.arange(n_target, dtype=torch.float64)
    pixel = torch.arange(n_source, dtype=torch.float64)
    center = (row - target.start + 0.5) * scale
    distance = (pixel - source.start - center.unsqueeze(1) + 0.5) * (1 / reach)
    tent = (1 - distance.abs()).clamp(min=0) * source.holds(pixel)
    shares = tent / tent.sum(dim=1, keepdim=True).clamp(min=NO_WEIGHT)
    inside = target.holds(row).unsqueeze(1)
    return (shares * UNIT + 0.5).floor() * inside


def _to_bytes(sums: Tensor) -> Tensor:
    """Whole pixels of sums of pixels times weights."""
    return ((sums + UNIT / 2) / UNIT).floor().clamp(max=WHITE)

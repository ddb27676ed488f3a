"""The small CT network of the student projects: three strided convolutions, then two FC layers.

The two FC layers are the case's head (`head: [512]` and the logits), so they are made anew
wherever the head is.
"""

from torch import Tensor, nn

MIN_SIZE_PX = 80  # below this the third convolution has no full window: 80 -> 19 -> 4 -> 1


class Cnn3(nn.Module):
    """Convolutions 32@8 stride 4, 64@7 stride 4, 64@4 stride 3, each with bias and ReLU.

    Takes (B, 1, S, S) with S >= 80, gives (B, 64 * cells), cells being those of the last map
    (512 px: 10 x 10, hence the 6400 inputs of the original).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, kernel_size=8, stride=4)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=7, stride=4)
        self.conv3 = nn.Conv2d(64, 64, kernel_size=4, stride=3)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, F)."""
        maps = self.conv1(images).relu()
        maps = self.conv2(maps).relu()
        maps = self.conv3(maps).relu()
        return maps.flatten(start_dim=1)

"""The published X-ray network of Ozturk et al. 2020, built after its description.

"Automated detection of COVID-19 cases using deep neural networks with X-ray images", Computers in
Biology and Medicine 121, doi 10.1016/j.compbiomed.2020.103792: 17 convolutions in the manner of
Darknet-19. The linear layer behind them is the case's head (`head: []`).
"""

from torch import Tensor, nn

SLOPE = 0.1  # of LeakyReLU below zero


class DarkCovidNet(nn.Module):
    """Takes (B, colours, S, S), gives (B, maps * cells), cells being those of the last maps.

    At the published 256 px these are 13 x 13, since the 1x1 convolutions are padded too.

    Args:
        maps: of the last convolution; the published networks have as many as classes, so that
            with RGB input and the linear layer three classes make 1,167,586 parameters, two
            1,164,434.
        colours: of the input.
    """

    # As timm says where the last feature stage is, from which maps are taken.
    feature_info = ({"module": "conv4"},)

    def __init__(self, maps: int, colours: int = 1) -> None:
        super().__init__()
        self.conv1 = _convolution(colours, 8)
        self.conv2 = _convolution(8, 16)
        self.triple1 = _triple(16, 32)
        self.triple2 = _triple(32, 64)
        self.triple3 = _triple(64, 128)
        self.triple4 = _triple(128, 256)
        self.conv3 = _convolution(256, 128, kernel_size=1)
        self.conv4 = _convolution(128, 256)
        # In this order, unlike the others: it is the building block of another library.
        last = nn.Conv2d(256, maps, kernel_size=3, padding=1, bias=False)
        self.conv5 = nn.Sequential(last, nn.ReLU(), nn.BatchNorm2d(maps))
        self.pool = nn.MaxPool2d(2)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, F)."""
        maps = self.pool(self.conv1(images))
        maps = self.pool(self.conv2(maps))
        maps = self.pool(self.triple1(maps))
        maps = self.pool(self.triple2(maps))
        maps = self.pool(self.triple3(maps))
        maps = self.conv4(self.conv3(self.triple4(maps)))
        features: Tensor = self.conv5(maps).flatten(start_dim=1)
        return features


def _convolution(inputs: int, outputs: int, kernel_size: int = 3) -> nn.Sequential:
    """Padded by one cell whatever the kernel, so that a 1x1 convolution adds a frame."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(SLOPE),
    )


def _triple(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        _convolution(inputs, outputs),
        _convolution(outputs, inputs, kernel_size=1),
        _convolution(inputs, outputs),
    )

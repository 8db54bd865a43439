"""Small convolutional networks for grey digits and other small images: 3x3 convolutions with group norms."""

from torch import nn
from torch.nn.functional import relu

from orthobench.models.checks import check_integer, check_multiple
from orthobench.models.reproducible import seeded

GROUPS = 8


def digits_convnet(seed, *, width=32):
    """Make a small convolutional network for scikit-learn's digits, grey images of 8x8 pixels.

    Three 3x3 convolutions (1 to `width` to twice, twice that), each with a group norm.

    Parameters
    ----------
    seed : int
        Decides the initial weights, in 0..2**63 - 1.
    width : int
        Channels after the first convolution, a multiple of 8.

    Returns
    -------
    torch.nn.Module
        On the CPU, in float32. Maps images (batch, 1, 8, 8) to logits (batch, 10).
    """
    return convnet(seed, size=8, width=width)


def convnet(seed, *, channels=1, size=28, classes=10, width=32):
    """Make a small convolutional network for small images, such as those of MNIST and Fashion-MNIST.

    Three 3x3 convolutions (`channels` to `width` to twice, twice that), each with a group norm, and a max pool by 2
    after the first: the design of `digits_convnet`. The first has stride 2 for images of 16 pixels or more, the second
    for 28 or more, so that the last one sees 4x4 pixels of images of 8, 16, 28 or 32.

    Parameters
    ----------
    seed : int
        Decides the initial weights, in 0..2**63 - 1.
    channels : int
        Channels of the images.
    size : int
        Height and width of the images, at least 8.
    classes : int
        Number of classes.
    width : int
        Channels after the first convolution, a multiple of 8.

    Returns
    -------
    torch.nn.Module
        On the CPU, in float32. Maps images (batch, channels, size, size) to logits (batch, classes).

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.
    """
    channels = check_integer("channels", channels, 1)
    size = check_integer("size", size, 8)
    classes = check_integer("classes", classes, 1)
    width = check_integer("width", width, GROUPS)
    check_multiple("width", width, GROUPS)
    with seeded(seed):
        return ConvNet(channels, size, classes, width)


class ConvBlock(nn.Module):
    """3x3 convolution, group norm, ReLU: (batch, inputs, h, w) to (batch, outputs, h / stride, w / stride)."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.GroupNorm(GROUPS, outputs)

    def forward(self, images):
        return relu(self.norm(self.convolution(images)))


class ConvNet(nn.Module):
    """The network of `convnet`."""

    def __init__(self, channels, size, classes, width):
        super().__init__()
        self.stem = ConvBlock(channels, width, stride=2 if size >= 16 else 1)
        self.pool = nn.MaxPool2d(2)
        first = ConvBlock(width, 2 * width, stride=2 if size >= 28 else 1)
        self.blocks = nn.Sequential(first, ConvBlock(2 * width, 2 * width))
        self.head = nn.Linear(2 * width, classes)

    def forward(self, images):
        features = self.blocks(self.pool(self.stem(images)))
        return self.head(features.mean(dim=(2, 3)))

"""The convolutional networks for grey digits and alike compute their formulas, at sizes that stay small."""

import pytest
import torch
from formulas import convolve, group_norm, max_pool, projections

from orthobench.models import convnet, digits_convnet


def by_formula(model, images, strides):
    """Logits of a `convnet`, in float64."""
    model, x = model.double(), images.double()
    for place, (block, stride) in enumerate(zip([model.stem, *model.blocks], strides, strict=True)):
        x = convolve(x, block.convolution.weight, stride)
        x = group_norm(x, block.norm.weight, block.norm.bias).clamp(min=0)
        if place == 0:
            x = max_pool(x)
    return x.mean((2, 3)) @ model.head.weight.T + model.head.bias


@pytest.mark.parametrize(
    ("channels", "size", "strides"), [(1, 8, (1, 1, 1)), (1, 15, (1, 1, 1)), (3, 17, (2, 1, 1)), (1, 28, (2, 2, 1))]
)
def test_the_convnet_computes_its_formula(channels, size, strides):
    images = torch.randn(3, channels, size, size, generator=torch.Generator().manual_seed(0))
    model = convnet(0, channels=channels, size=size, width=8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        result = model(images)
        torch.testing.assert_close(result.double(), by_formula(model, images, strides), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [8, 16, 28, 32])
def test_the_last_convolution_sees_four_by_four_pixels(size):
    model = convnet(0, size=size, width=8)
    shapes = []
    model.blocks[1].register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    model(torch.rand(2, 1, size, size))
    assert shapes == [(2, 16, 4, 4)]


def test_the_digits_network_is_the_convnet_for_eight_pixels():
    one, other = digits_convnet(3, width=16), convnet(3, size=8, width=16)
    assert one.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(weight, other.state_dict()[name]) for name, weight in one.state_dict().items())


# Of the first release's weights: recorded references depend on them.
@pytest.mark.parametrize(
    ("seed", "width", "recorded"),
    [
        (0, 32, [164.3873800096676, 1553.814696563023, -9.637969634237802]),
        (7, 16, [75.79900503708996, 598.6865076226059, -2.9578769491206014]),
    ],
)
def test_the_weights_of_the_digits_network_are_those_on_record(seed, width, recorded):
    assert projections(digits_convnet(seed, width=width)) == pytest.approx(recorded, rel=1e-6)

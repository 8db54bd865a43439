"""Every network: the seed alone decides its weights, it trains, it computes in other types, copied and compiled."""

import contextlib
import copy
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import cross_entropy

from orthobench.models import airbench_cnn, byte_transformer, convnet, digits_convnet, hidden_weights, vit

GENERATOR = torch.Generator().manual_seed(0)


def images(count, channels, size):
    return torch.randn(count, channels, size, size, generator=GENERATOR)


def text(count, time, vocabulary):
    return torch.randint(vocabulary, (count, time), generator=GENERATOR)


COLOUR = images(16, 3, 32)
SMALL = {
    "digits_convnet": (partial(digits_convnet, width=16), images(16, 1, 8), (16, 10)),
    "convnet": (partial(convnet, width=8, channels=2, size=20, classes=3), images(16, 2, 20), (16, 3)),
    "airbench_cnn": (partial(airbench_cnn, images=COLOUR, width=8), COLOUR, (16, 10)),
    "byte_transformer": (
        partial(byte_transformer, width=24, depth=2, heads=3, context=10, vocabulary=11),
        text(16, 10, 11),
        (16, 10, 11),
    ),
    "vit": (
        partial(vit, size=8, channels=2, patch=2, width=24, depth=2, heads=3, classes=5),
        images(16, 2, 8),
        (16, 5),
    ),
}


@pytest.fixture(params=SMALL)
def network(request):
    """A network of each family, small: how to make it, a batch of inputs, and the shape of the logits."""
    make, inputs, shape = SMALL[request.param]
    return SimpleNamespace(name=request.param, make=make, inputs=inputs, shape=shape)


def weights(model):
    return torch.cat([tensor.detach().flatten() for tensor in model.state_dict().values()])


def logits(model, inputs):
    with torch.no_grad():
        return model.eval()(inputs)


def floating(inputs, dtype):
    return inputs.to(dtype) if inputs.is_floating_point() else inputs


@contextlib.contextmanager
def other_torch_settings():
    """Change what torch keeps globally, and put it back."""
    dtype, threads, state = torch.get_default_dtype(), torch.get_num_threads(), torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_num_threads(2)
    torch.default_generator.manual_seed(5)
    try:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            yield
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
        torch.set_rng_state(state)


def test_the_seed_decides_the_weights(network):
    first = weights(network.make(0))
    assert torch.equal(first, weights(network.make(0)))
    assert not torch.equal(first, weights(network.make(1)))


def test_repetitions_differ_in_every_matrix_that_is_trained(network):
    pairs = zip(network.make(0).named_parameters(), network.make(1).parameters(), strict=True)
    same = [name for (name, one), other in pairs if one.requires_grad and one.ndim > 1 and torch.equal(one, other)]
    # Begins as the identity: it has as many channels as it gets, or fewer.
    assert same == (
        [f"blocks.{index}.convolution_{place}.weight" for index, place in ((0, 1), (0, 2), (1, 2), (2, 1), (2, 2))]
        if network.name == "airbench_cnn"
        else []
    )


def test_no_setting_of_torch_changes_the_weights(network):
    first = network.make(0)
    with other_torch_settings():
        second = network.make(0)
    assert torch.equal(weights(first), weights(second))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert (other.dtype, other.device.type, other.is_inference()) == (torch.float32, "cpu", False)
        assert (other.requires_grad, other.stride()) == (one.requires_grad, one.stride())


def test_the_global_generator_is_untouched(network):
    before = torch.get_rng_state()
    network.make(0)
    assert torch.equal(before, torch.get_rng_state())


def test_the_shape_of_the_logits(network):
    model = network.make(0)
    assert model(network.inputs).shape == network.shape
    assert model.eval()(network.inputs[:1]).shape == (1, *network.shape[1:])


def test_every_trained_parameter_gets_a_gradient(network):
    model = network.make(0)
    model(network.inputs).square().sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name
        else:
            assert parameter.grad is None, name


def test_adamw_learns_a_batch_by_heart(network):
    model = network.make(0)
    outputs = network.shape[-1]
    targets = torch.randint(outputs, network.shape[:-1], generator=torch.Generator().manual_seed(1)).flatten()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        loss = cross_entropy(model(network.inputs).flatten(0, -2), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


# By hand: layer by layer, in the order of the network.
BLOCK = 4 * 96 * 96 + 2 * 4 * 96 * 96 + 2 * 96
VIT_BLOCK = 4 * 192 * 192 + 2 * 4 * 192 * 192 + 2 * 192
COUNTS = [
    (digits_convnet, (9 * 32 + 64) + (9 * 32 * 64 + 128) + (9 * 64 * 64 + 128) + (64 * 10 + 10)),
    (convnet, (9 * 32 + 64) + (9 * 32 * 64 + 128) + (9 * 64 * 64 + 128) + (64 * 10 + 10)),
    (
        partial(convnet, channels=3, size=32, classes=7, width=16),
        (9 * 3 * 16 + 32) + (9 * 16 * 32 + 64) + (9 * 32 * 32 + 64) + (32 * 7 + 7),
    ),
    (byte_transformer, 256 * 96 + 64 * 96 + 2 * BLOCK + 96 + 96 * 256),
    (partial(byte_transformer, depth=3, vocabulary=64), 64 * 96 + 64 * 96 + 3 * BLOCK + 96 + 96 * 64),
    (vit, (3 * 16 * 192 + 192) + 64 * 192 + 6 * VIT_BLOCK + 192 + (192 * 10 + 10)),
    (
        partial(airbench_cnn, images=COLOUR),
        24  # the stem's bias
        + (24 * 64 * 9 + 64)
        + (64 * 64 * 9 + 64)
        + (64 * 256 * 9 + 256)
        + 3 * (256 * 256 * 9 + 256)
        + 256 * 10,
    ),
]


@pytest.mark.parametrize(("make", "count"), COUNTS)
def test_the_number_of_trained_parameters(make, count):
    assert sum(parameter.numel() for parameter in make(0).parameters() if parameter.requires_grad) == count


ATTENTION = ["query", "key", "value", "projection", "mlp_in", "mlp_out"]
HIDDEN = {
    "digits_convnet": ["blocks.0.convolution", "blocks.1.convolution"],
    "convnet": ["blocks.0.convolution", "blocks.1.convolution"],
    "airbench_cnn": [f"blocks.{index}.convolution_{place}" for index in range(3) for place in (1, 2)],
    "byte_transformer": [f"blocks.{index}.{layer}" for index in range(2) for layer in ATTENTION],
    "vit": [f"blocks.{index}.{layer}" for index in range(2) for layer in ATTENTION],
}
OTHERS = {
    "digits_convnet": ["stem.convolution.weight", "head.weight"],
    "convnet": ["stem.convolution.weight", "head.weight"],
    "airbench_cnn": ["stem.weight", "head.weight"],
    "byte_transformer": ["byte_embedding.weight", "position_embedding.weight", "head.weight"],
    "vit": ["position_embedding", "patch_embedding.weight", "head.weight"],
}


def test_muon_gets_the_matrices_of_the_blocks_and_nothing_else(network):
    model = network.make(0)
    hidden = hidden_weights(model)
    assert list(hidden) == HIDDEN[network.name]
    parameters = dict(model.named_parameters())
    assert all(parameters[f"{layer}.weight"] is weight for layer, weight in hidden.items())
    assert all(weight.requires_grad for weight in hidden.values())
    others = [name for name in parameters if name.removesuffix(".weight") not in hidden]
    assert [name for name in others if parameters[name].ndim > 1] == OTHERS[network.name]


def test_bfloat16_autocast_changes_the_logits_by_rounding(network):
    model = network.make(0)
    expected = logits(model, network.inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = logits(model, network.inputs)
    assert rounded.dtype == torch.bfloat16
    error = float((rounded - expected).norm() / expected.norm())
    assert 0 < error < 0.03
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model.train()(network.inputs).float().square().sum().backward()
    assert all(each.grad.isfinite().all() for each in model.parameters() if each.requires_grad)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 0.03), (torch.float64, 1e-5)])
def test_a_network_of_another_type_differs_by_rounding(network, dtype, bound):
    expected = logits(network.make(0), network.inputs)
    other = network.make(0).to(dtype)
    assert {parameter.dtype for parameter in other.parameters()} == {dtype}
    result = logits(other, floating(network.inputs, dtype))
    assert result.dtype == dtype
    assert float((result - expected).norm() / expected.norm()) < bound


@pytest.mark.parametrize("training", [True, False])
def test_the_compiled_network_computes_the_same(network, training):
    plain, traced = (network.make(0).train(training) for _ in range(2))
    compiled = torch.compile(traced, backend="eager", fullgraph=True)
    try:
        assert torch.equal(compiled(network.inputs), plain(network.inputs))
    finally:
        torch.compiler.reset()


def test_a_copy_computes_the_same_and_shares_nothing(network):
    model = network.make(0)
    duplicate = copy.deepcopy(model)
    expected = logits(model, network.inputs)
    assert torch.equal(logits(duplicate, network.inputs), expected)
    with torch.no_grad():
        for tensor in duplicate.state_dict().values():
            tensor.zero_()
    assert torch.equal(logits(model, network.inputs), expected)


def test_a_state_dict_carries_everything(network):
    model, other = network.make(0), network.make(1)
    model(network.inputs)  # running statistics, where there are any
    other.load_state_dict(model.state_dict())
    assert torch.equal(logits(other, network.inputs), logits(model, network.inputs))


@pytest.mark.parametrize("name", [name for name, (_, inputs, _) in SMALL.items() if inputs.ndim == 4])
def test_the_order_of_images_in_memory_changes_rounding_alone(name):
    make, inputs, _ = SMALL[name]
    other = inputs.to(memory_format=torch.channels_last)
    assert other.stride() != inputs.stride() or inputs.shape[1] == 1
    model = make(0)
    torch.testing.assert_close(logits(model, other), logits(model, inputs), rtol=0, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_computes_the_same(network):
    model = network.make(0).double()
    inputs = floating(network.inputs, torch.float64)
    expected = logits(model, inputs)
    result = logits(model.to("cuda"), inputs.to("cuda"))
    torch.testing.assert_close(result.cpu(), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(digits_convnet, width=12), r"^width is 12: give a multiple of 8$"),
        (partial(digits_convnet, width=0), r"^width is 0: give an integer >= 8$"),
        (partial(convnet, width=4), r"^width is 4: give an integer >= 8$"),
        (partial(convnet, size=7), r"^size is 7: give an integer >= 8$"),
        (partial(convnet, channels=0), r"^channels is 0: give an integer >= 1$"),
        (partial(convnet, classes=0), r"^classes is 0: give an integer >= 1$"),
        (partial(byte_transformer, width=10), r"^width is 10: give a multiple of heads, 4$"),
        (partial(byte_transformer, width=0), r"^width is 0: give an integer >= 1$"),
        (partial(byte_transformer, depth=0), r"^depth is 0: give an integer >= 1$"),
        (partial(byte_transformer, heads=0), r"^heads is 0: give an integer >= 1$"),
        (partial(byte_transformer, context=0), r"^context is 0: give an integer >= 1$"),
        (partial(byte_transformer, vocabulary=0), r"^vocabulary is 0: give an integer >= 1$"),
        (partial(vit, size=30), r"^size is 30: give a multiple of patch, 4$"),
        (partial(vit, width=100), r"^width is 100: give a multiple of heads, 3$"),
        (partial(vit, patch=0), r"^patch is 0: give an integer >= 1$"),
        (partial(vit, classes=-1), r"^classes is -1: give an integer >= 1$"),
        (partial(airbench_cnn, images=COLOUR, width=0), r"^width is 0: give an integer >= 1$"),
    ],
)
def test_a_size_that_cannot_be_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make(0)


@pytest.mark.parametrize(("make", "name"), [(convnet, "size"), (byte_transformer, "vocabulary"), (vit, "patch")])
def test_a_size_that_is_no_integer_is_named(make, name):
    with pytest.raises(TypeError, match=rf"^{name} is 8\.0: give an integer >= \d$"):
        make(0, **{name: 8.0})


def test_a_bad_seed_is_named(network):
    with pytest.raises(ValueError, match=r"^seed is -1: give an integer in 0\.\.9223372036854775807$"):
        network.make(-1)

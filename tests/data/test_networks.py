"""The networks: a seed decides their weights and nothing else does; Muon gets the layers it is meant for."""

import pytest
import torch

from orthobench.models import byte_transformer, digits_convnet, hidden_weights, seeded

FACTORIES = [digits_convnet, byte_transformer]


def weights(model):
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


@pytest.mark.parametrize("factory", FACTORIES)
def test_the_seed_decides_the_weights(factory):
    first = weights(factory(0))
    torch.manual_seed(5)
    assert torch.equal(first, weights(factory(0)))
    assert not torch.equal(first, weights(factory(1)))


@pytest.mark.parametrize("factory", FACTORIES)
def test_the_callers_defaults_do_not_matter(factory):
    first = weights(factory(0))
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        second = weights(factory(0))
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert second.dtype == torch.float32
    assert torch.equal(first, second)


@pytest.mark.parametrize("factory", FACTORIES)
def test_the_global_generator_is_untouched(factory):
    before = torch.get_rng_state()
    factory(0)
    assert torch.equal(before, torch.get_rng_state())


def test_the_convnet_maps_images_to_ten_logits():
    assert digits_convnet(0, width=16)(torch.rand(3, 1, 8, 8)).shape == (3, 10)


def test_the_transformer_sees_the_past_and_only_the_past():
    model = byte_transformer(0)
    text = torch.randint(256, (2, 64), generator=torch.Generator().manual_seed(0))
    changed = text.clone()
    changed[:, 32] = (changed[:, 32] + 1) % 256
    with torch.no_grad():
        difference = (model(text) - model(changed)).abs().amax(dim=(0, 2))
    assert difference.shape == (64,)
    assert (difference[:32] == 0).all()
    assert (difference[32:] > 1e-6).all()


def test_muon_gets_all_of_the_blocks_matrices_and_nothing_else():
    block = ["query", "key", "value", "projection", "mlp_in", "mlp_out"]
    expected = {
        digits_convnet: ["blocks.0.convolution", "blocks.1.convolution"],
        byte_transformer: [f"blocks.{index}.{name}" for index in (0, 1) for name in block],
    }
    rest = {
        digits_convnet: ["stem.convolution.weight", "head.weight"],
        byte_transformer: ["byte_embedding.weight", "position_embedding.weight", "head.weight"],
    }
    for factory, layers in expected.items():
        model = factory(0)
        hidden = hidden_weights(model)
        assert list(hidden) == layers
        parameters = dict(model.named_parameters())
        assert all(parameters[f"{layer}.weight"] is weight for layer, weight in hidden.items())
        others = [
            name for name, weight in parameters.items() if not any(weight is matrix for matrix in hidden.values())
        ]
        assert [name for name in others if parameters[name].ndim > 1] == rest[factory]


@pytest.mark.parametrize(
    ("seed", "error"), [(True, TypeError), (1.0, TypeError), ("1", TypeError), (-1, ValueError), (2**63, ValueError)]
)
def test_a_bad_seed_is_named(seed, error):
    with pytest.raises(error, match=rf"seed is {seed!r}: give an integer in 0\.\.9223372036854775807"):
        digits_convnet(seed)


def test_the_largest_seed_is_allowed():
    with seeded(2**63 - 1):
        assert torch.rand(()) >= 0

"""The two transformers compute their formulas; one sees the past alone, the other everything."""

import pytest
import torch
from formulas import attend, gelu, projections, rms_norm

from orthobench.models import byte_transformer, vit

SIZES = {"width": 24, "depth": 2, "heads": 3}


def randomised(model):
    """Move all the parameters off their initial values: gains of 1 would hide a gain that is not used."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def text(vocabulary, time=10):
    return torch.randint(vocabulary, (4, time), generator=torch.Generator().manual_seed(0))


def images(size, channels=3):
    return torch.randn(4, channels, size, size, generator=torch.Generator().manual_seed(0))


EPS = torch.finfo(torch.float32).eps  # of nn.RMSNorm, where nothing else is said


def blocks_by_formula(model, x, causal):
    for block in model.blocks:
        normed = rms_norm(x, block.attention_norm.weight, EPS)
        query, key, value = (normed @ layer.weight.T for layer in (block.query, block.key, block.value))
        x = x + attend(query, key, value, SIZES["heads"], causal) @ block.projection.weight.T
        normed = rms_norm(x, block.mlp_norm.weight, EPS)
        x = x + gelu(normed @ block.mlp_in.weight.T) @ block.mlp_out.weight.T
    return x


def test_the_byte_transformer_computes_its_formula():
    model, tokens = randomised(byte_transformer(0, **SIZES, context=16, vocabulary=11)), text(11)
    with torch.no_grad():
        result = model(tokens)
        model = model.double()
        x = model.byte_embedding.weight[tokens] + model.position_embedding.weight[: tokens.shape[1]]
        x = rms_norm(blocks_by_formula(model, x, causal=True), model.norm.weight, EPS)
        torch.testing.assert_close(result.double(), x @ model.head.weight.T, rtol=0, atol=1e-4)


def test_the_vit_computes_its_formula():
    model, batch = randomised(vit(0, **SIZES, size=6, patch=2, classes=5)), images(6)
    with torch.no_grad():
        result = model(batch)
        model, batch = model.double(), batch.double()
        corners = [(row, column) for row in (0, 2, 4) for column in (0, 2, 4)]
        patches = [batch[:, :, row : row + 2, column : column + 2].flatten(1) for row, column in corners]
        x = torch.stack(patches, dim=1) @ model.patch_embedding.weight.flatten(1).T + model.patch_embedding.bias
        x = blocks_by_formula(model, x + model.position_embedding, causal=False)
        x = rms_norm(x.mean(1), model.norm.weight, EPS) @ model.head.weight.T + model.head.bias
        torch.testing.assert_close(result.double(), x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("vocabulary", [11, 256])
@pytest.mark.parametrize("changed", [0, 4, 9])
def test_a_byte_changes_its_own_logits_and_later_ones_alone(vocabulary, changed):
    model, tokens = byte_transformer(0, **SIZES, context=10, vocabulary=vocabulary), text(vocabulary)
    others = tokens.clone()
    others[:, changed] = (others[:, changed] + 1) % vocabulary
    with torch.no_grad():
        difference = (model(tokens) - model(others)).abs().amax(dim=(0, 2))
    assert (difference[:changed] == 0).all()
    assert (difference[changed:] > 1e-6).all()


def test_in_the_vit_every_patch_sees_every_other():
    model, batch = vit(0, **SIZES, size=8, patch=4), images(8)
    outputs = []
    model.blocks[0].register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with torch.no_grad():
        model(batch)
        for patch in range(4):
            others = batch.clone()
            row, column = 4 * (patch // 2), 4 * (patch % 2)
            others[:, :, row : row + 4, column : column + 4] += 1
            model(others)
            assert ((outputs[-1] - outputs[0]).abs().amax(dim=(0, 2)) > 1e-6).all()


def test_the_vit_knows_where_a_patch_is_by_its_positions_alone():
    model, batch = randomised(vit(0, **SIZES, size=8, patch=4)), images(8)
    shuffled = batch.roll((4, 4), dims=(2, 3))
    with torch.no_grad():
        assert (model(batch) - model(shuffled)).abs().max() > 1e-3
        model.position_embedding.zero_()
        torch.testing.assert_close(model(batch), model(shuffled), rtol=0, atol=1e-5)


def test_a_shorter_text_has_the_same_logits():
    model, tokens = byte_transformer(0, **SIZES, context=10), text(256)
    with torch.no_grad():
        torch.testing.assert_close(model(tokens[:, :4]), model(tokens)[:, :4], rtol=0, atol=1e-5)


def test_a_text_beyond_the_context_is_an_error():
    model = byte_transformer(0, **SIZES, context=10)
    with pytest.raises(ValueError, match=r"^a text has length 11: give at most the network's context, 10$"):
        model(text(256, time=11))


@pytest.mark.parametrize("shape", [(2, 3, 9, 9), (2, 3, 4, 16)])
def test_images_of_another_size_are_an_error(shape):
    with pytest.raises(ValueError, match=r"^images has the shape \(2, 3, \d+, \d+\): give \(\.\.\., 8, 8\)$"):
        vit(0, **SIZES, size=8, patch=4)(torch.zeros(shape))


# Of the first release's weights: recorded references depend on them.
@pytest.mark.parametrize(
    ("seed", "sizes", "recorded"),
    [
        (0, {}, [15.83960760696975, 35691.640639749414, -135.43764675788157]),
        (7, {"vocabulary": 256}, [284.204313997926, 35577.5591034696, 131.69113439748543]),
        (0, {"width": 32, "depth": 3, "context": 16}, [134.47178173449447, 10611.30616196026, -75.23110366892097]),
    ],
)
def test_the_weights_of_the_byte_transformer_are_those_on_record(seed, sizes, recorded):
    assert projections(byte_transformer(seed, **sizes)) == pytest.approx(recorded, rel=1e-6)

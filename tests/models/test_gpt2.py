"""GPT-2 computes its formula, starts as the track says, and has the parameters that are counted by hand."""

import copy
import math
from functools import partial

import pytest
import torch
from formulas import attend, rms_norm

from orthobench.harness.training import classification_loss
from orthobench.models import gpt2, hidden_weights
from orthobench.models.gpt2 import EPS, _rotate, _rotation
from orthobench.optim import TurboMuon, route_parameters

WIDTH, DEPTH, HEADS, CONTEXT, VOCABULARY = 32, 2, 2, 12, 19
small = partial(gpt2, width=WIDTH, depth=DEPTH, heads=HEADS, context=CONTEXT, vocabulary=VOCABULARY)


def text(time=CONTEXT, batch=4):
    return torch.randint(VOCABULARY, (batch, time), generator=torch.Generator().manual_seed(0))


def randomised(model):
    """Move all the parameters off their initial values: zeros and ones would hide what is multiplied by them."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def turned(x, heads):
    """Turn pairs of entries, as complex numbers, head by head and position by position."""
    x, size = x.clone(), x.shape[-1] // heads
    quarter = size // 4
    for head in range(heads):
        for pair in range(quarter):
            first = head * size + pair
            second = first + size // 2
            speed = 1024 ** -(pair / (quarter - 1))
            for position in range(x.shape[1]):
                both = torch.complex(x[:, position, first], x[:, position, second])
                both = both * torch.polar(torch.ones((), dtype=x.dtype), torch.tensor(-position * speed, dtype=x.dtype))
                x[:, position, first], x[:, position, second] = both.real, both.imag
    return x


def formula(model, tokens):
    """The network in float64, in the track's own order."""

    def normed(x, norm):
        return rms_norm(x, norm.weight, EPS)

    def linear(x, layer):
        return x @ layer.weight.T + layer.bias

    def by_head(x):
        return rms_norm(x.unflatten(-1, (HEADS, -1)), 1, EPS).flatten(2)

    x = normed(model.embedding.weight[tokens], model.embedding_norm)
    for block in model.blocks:
        inputs = normed(x, block.attention_norm)
        query, key = (turned(by_head(linear(inputs, layer)), HEADS) for layer in (block.query, block.key))
        scale = 0.12 * math.sqrt(WIDTH / HEADS)  # `attend` divides by this root
        mixed = attend(scale * query, key, linear(inputs, block.value), HEADS, causal=True)
        x = x + linear(mixed, block.projection)
        hidden = linear(normed(x, block.mlp_norm), block.mlp_in)
        x = x + linear(torch.where(hidden > 0, hidden**2, 0.0), block.mlp_out)
    logits = linear(normed(x, model.norm), model.head)
    return 15 * logits / (logits**2 + 15**2).sqrt()


def test_the_network_computes_its_formula():
    model, tokens = randomised(small(0)), text()
    with torch.no_grad():
        single = model(tokens)
        model = model.double()
        expected = formula(model, tokens)
        torch.testing.assert_close(model(tokens), expected, rtol=0, atol=1e-11)
        torch.testing.assert_close(single.double(), expected, rtol=0, atol=1e-4)
    assert expected.abs().max() > 3  # where the cap is seen


def test_scores_depend_on_the_distance_of_two_positions_alone():
    query, key = torch.randn(2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cosine, sine = _rotation(40, 16, torch.float64, torch.device("cpu"))
    queries, keys = (_rotate(each.expand(40, 16), cosine, sine) for each in (query, key))
    scores = queries @ keys.T
    for distance in (0, 1, 7, -7):
        values = scores.diagonal(distance)
        torch.testing.assert_close(values, values[:1].expand_as(values), rtol=0, atol=1e-12)
    assert scores[0].std() > 0.1


@pytest.fixture(scope="module")
def full():
    return gpt2(0)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_number_of_parameters(full):
    # By hand: query, key, value and projection, then the two layers of the MLP, with biases; two gains.
    matrices = 4 * 768 * 768 + 2 * 768 * 3072
    block = matrices + 4 * 768 + (3072 + 768) + 2 * 768
    embedding, head = 50304 * 768, 50304 * 768 + 50304
    assert count(full.blocks) == 12 * block == 85_036_032
    assert count(full) == 12 * block + embedding + head + 2 * 768 == 162_354_816
    assert count(full) - count(full.head) == 123_671_040
    assert sum(weight.numel() for weight in hidden_weights(full).values()) == 12 * matrices == 84_934_656
    assert all(parameter.requires_grad for parameter in full.parameters())


def test_the_initial_weights_are_those_of_the_track(full):
    """Within five standard errors of a variance: 5 sqrt(2 / n)."""
    expected = {"query": 0.33 / 768, "key": 0.33 / 768, "value": 0.33 / 768, "mlp_in": 0.33 / 768, "embedding": 1}
    for name, parameter in full.named_parameters():
        layer, kind = name.split(".")[-2:]
        if kind == "bias" or layer in ("projection", "mlp_out", "head"):
            assert not parameter.any(), name
        elif parameter.ndim == 1:
            assert (parameter == 1).all(), name
        else:
            values = parameter.detach().double()
            assert float(values.var()) == pytest.approx(expected[layer], rel=5 * math.sqrt(2 / values.numel())), name
            assert abs(float(values.mean())) < 5 * math.sqrt(expected[layer] / values.numel()), name


def test_before_training_the_loss_is_that_of_a_guess():
    with torch.no_grad():
        loss = classification_loss(small(0)(text()), text())
    assert float(loss) == pytest.approx(math.log(VOCABULARY), rel=1e-6)


def test_the_loss_is_the_mean_over_all_positions():
    logits, targets = randomised(small(0))(text()).detach().double(), text().roll(1, 1)
    chosen = logits.softmax(-1).gather(-1, targets[..., None])
    assert float(classification_loss(logits, targets)) == pytest.approx(float(-chosen.log().mean()), rel=1e-12)


def test_all_weights_move_within_three_steps_although_most_gradients_are_zero_at_first():
    model = small(0)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    routes = route_parameters(model)
    optimizers = [TurboMuon(routes.matrix, lr=0.02), torch.optim.AdamW(routes.other, lr=0.01)]
    for _ in range(3):
        loss = classification_loss(model(text()), text().roll(-1, 1))
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    for name, parameter in model.named_parameters():
        assert parameter.isfinite().all(), name
        assert not torch.equal(parameter, before[name]), name


def test_muon_gets_the_matrices_of_the_blocks_and_nothing_else():
    model = small(0)
    layers = ["query", "key", "value", "projection", "mlp_in", "mlp_out"]
    assert list(hidden_weights(model)) == [f"blocks.{index}.{layer}" for index in range(DEPTH) for layer in layers]
    assert all(weight.ndim == 2 for weight in hidden_weights(model).values())
    routed = route_parameters(model).matrix
    assert [id(weight) for weight in routed] == [id(weight) for weight in hidden_weights(model).values()]


@pytest.mark.parametrize("changed", [0, 5, CONTEXT - 1])
def test_a_token_changes_its_own_logits_and_later_ones_alone(changed):
    model, tokens = randomised(small(0)), text()
    others = tokens.clone()
    others[:, changed] = (others[:, changed] + 1) % VOCABULARY
    with torch.no_grad():
        difference = (model(tokens) - model(others)).abs().amax(dim=(0, 2))
    assert (difference[:changed] == 0).all()
    assert (difference[changed:] > 1e-6).all()


def test_a_shorter_text_has_the_same_logits():
    model, tokens = randomised(small(0)), text()
    with torch.no_grad():
        torch.testing.assert_close(model(tokens[:, :4]), model(tokens)[:, :4], rtol=0, atol=1e-5)


def test_a_text_beyond_the_context_is_an_error():
    with pytest.raises(ValueError, match=rf"^a text has length 13: give at most the network's context, {CONTEXT}$"):
        small(0)(text(time=CONTEXT + 1))


def test_logits_stay_below_the_cap():
    model = randomised(small(0))
    with torch.no_grad():
        model.head.weight.mul_(1e6)
        logits = model(text())
    assert logits.isfinite().all()
    assert float(logits.abs().max()) == pytest.approx(15, rel=1e-6)


def test_logits_are_float32_under_autocast_and_differ_by_rounding():
    model, tokens = randomised(small(0)), text()
    expected = model(tokens).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model(tokens)
        classification_loss(rounded, tokens).backward()
    assert rounded.dtype == torch.float32
    assert 0 < float((rounded.detach() - expected).norm() / expected.norm()) < 0.05
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 0.05), (torch.float64, 1e-5)])
def test_a_network_of_another_type_differs_by_rounding(dtype, bound):
    tokens = text()
    with torch.no_grad():
        expected = randomised(small(0))(tokens)
        result = randomised(small(0)).to(dtype)(tokens)
    assert result.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert 0 < float((result - expected).norm() / expected.norm()) < bound


def test_the_seed_alone_decides_the_weights():
    state = torch.get_rng_state()
    first = torch.nn.utils.parameters_to_vector(small(3).parameters())
    torch.rand(1)
    assert torch.equal(torch.nn.utils.parameters_to_vector(small(3).parameters()), first)
    assert not torch.equal(torch.nn.utils.parameters_to_vector(small(4).parameters()), first)
    torch.set_rng_state(state)
    small(3)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_compiled_network_computes_the_same():
    plain = randomised(small(0))
    compiled = torch.compile(copy.deepcopy(plain), backend="eager", fullgraph=True)
    try:
        assert torch.equal(compiled(text()), plain(text()))
    finally:
        torch.compiler.reset()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_computes_the_same():
    model = randomised(small(0)).double()
    with torch.no_grad():
        expected = model(text())
        result = model.to("cuda")(text().to("cuda"))
    torch.testing.assert_close(result.cpu(), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"width": 30}, r"^width is 30: give a multiple of 4 heads, 24$"),
        ({"width": 0}, r"^width is 0: give an integer >= 1$"),
        ({"depth": 0}, r"^depth is 0: give an integer >= 1$"),
        ({"heads": 0}, r"^heads is 0: give an integer >= 1$"),
        ({"context": 0}, r"^context is 0: give an integer >= 1$"),
        ({"vocabulary": 0}, r"^vocabulary is 0: give an integer >= 1$"),
    ],
)
def test_a_size_that_cannot_be_is_named(sizes, message):
    with pytest.raises(ValueError, match=message):
        gpt2(0, **sizes)


def test_a_size_that_is_no_integer_and_a_bad_seed_are_named():
    with pytest.raises(TypeError, match=r"^depth is 2\.0: give an integer >= 1$"):
        small(0, depth=2.0)
    with pytest.raises(ValueError, match=r"^seed is -1"):
        small(-1)

"""Clipped sums over a grid of layers and options are those of a loop over examples; others are refused by name."""

import copy
import itertools
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from orthobench.lipschitz.layers import LAYERS
from orthobench.privacy.clipping import COUNT, WAYS, ClippedGradients
from orthobench.privacy.networks import private_convnet

CLIP, COUNT_OF_EXAMPLES = 0.5, 5


def losses(outputs, targets):
    return 1000 * (outputs.flatten(1) * targets[:, None]).sin().sum(1)


def private(model, way, **options):
    settings = {"clip_norm": CLIP, "noise_multiplier": 1.0, "expected_batch_size": 5, "sampling_rate": 0.1}
    settings["generator"] = torch.Generator().manual_seed(0)
    return ClippedGradients(torch.optim.SGD(model.parameters(), lr=0.0), model, way=way, **settings | options)


def loop(model, inputs, targets):
    """The sum of the examples' gradients, each clipped, by autograd on one example at a time."""
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    total = dict.fromkeys(parameters, 0.0)
    for index in range(len(inputs)):
        loss = losses(model(inputs[index : index + 1]), targets[index : index + 1]).sum()
        gradients = torch.autograd.grad(loss, parameters.values())
        norm = math.sqrt(sum(float(each.square().sum()) for each in gradients))
        factor = min(1.0, CLIP / max(norm, 1e-30))
        total = {name: own + factor * each for (name, own), each in zip(total.items(), gradients, strict=True)}
    return total


def norm_of(sums):
    return math.sqrt(sum(float(each.double().square().sum()) for name, each in sums.items() if name != COUNT))


def images(*shape):
    return torch.randn(COUNT_OF_EXAMPLES, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def words(*shape):
    return torch.randint(4, (COUNT_OF_EXAMPLES, *shape), generator=torch.Generator().manual_seed(1))


class Called(nn.Module):
    """A network whose forward pass is a function of its parts."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x, factor=1.0):
        return x * self.weight * factor


def tied():
    words, head = nn.Embedding(4, 3), nn.Linear(3, 4, bias=False)
    head.weight = words.weight
    return nn.Sequential(words, nn.Tanh(), head)


def twice():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.Tanh(), layer)


def half_frozen(model):
    model[0].weight.requires_grad_(False)
    return model


def convolutions():
    for dimensions, padding_mode in itertools.product((1, 2, 3), ("zeros", "circular", "reflect", "replicate")):
        for options in (
            {},
            {"stride": 2},
            {"dilation": 2, "padding": 2},
            {"groups": 2, "bias": False},
            {"padding": "same"},
            {"padding": "valid"},
            {"kernel_size": 4, "padding": 2},
        ):
            kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1]
            options = {"kernel_size": 3, "padding": 1, "padding_mode": padding_mode} | options
            name = " ".join(map(str, (kind.__name__, *itertools.chain(*options.items()))))
            yield name, partial(kind, 2, 4, **options), images(2, *[(7, 6, 4)[dimensions - 1]] * dimensions)
    for kind, size in ((nn.ConvTranspose1d, (6,)), (nn.ConvTranspose2d, (4, 5)), (nn.ConvTranspose3d, (3, 3, 4))):
        yield kind.__name__, partial(kind, 2, 4, 3, stride=2, groups=2, output_padding=1), images(2, *size)
    uneven = {"padding": (1, 0), "stride": (1, 2), "dilation": (2, 1)}
    yield "Conv2d uneven", partial(nn.Conv2d, 2, 3, (3, 2), **uneven), images(2, 8, 7)
    plain = partial(nn.Conv2d, 2, 3, 3)
    yield "Conv2d channels last", plain, images(2, 8, 7).contiguous(memory_format=torch.channels_last)
    yield "Conv2d padded channels last", partial(plain, padding=1), images(8, 7, 2).permute(0, 3, 1, 2)
    yield "Conv2d transposed", plain, images(2, 8, 7).transpose(2, 3)
    yield "Conv2d frozen weight", lambda: half_frozen(nn.Sequential(plain(), nn.Tanh())), images(2, 5, 5)


def others():
    for extra, bias in itertools.product(((), (3,), (9,), (2, 3), (2, 2, 3)), (True, False)):
        yield f"Linear {len(extra) + 2} {extra} {bias}", partial(nn.Linear, 4, 3, bias=bias), images(*extra, 4)
    for bias in (True, False):
        yield f"LayerNorm bias {bias}", partial(nn.LayerNorm, (3, 4), eps=0.1, bias=bias), images(2, 3, 4)
    yield "GroupNorm", partial(nn.GroupNorm, 2, 4, eps=0.3), images(4, 6)
    yield "RMSNorm", partial(nn.RMSNorm, 4, eps=0.2), images(3, 4)
    for kind, size in ((nn.InstanceNorm1d, (3,)), (nn.InstanceNorm2d, (3, 2)), (nn.InstanceNorm3d, (3, 2, 2))):
        yield kind.__name__, partial(kind, 4, eps=0.1, affine=True), images(4, *size)
    for padding_idx, shape in itertools.product((None, 0, -1), ((6,), (2, 3))):
        yield f"Embedding {padding_idx} {shape}", partial(nn.Embedding, 4, 3, padding_idx=padding_idx), words(*shape)
    yield "PReLU", partial(nn.PReLU, 4), images(4, 3)
    yield "weight norm", lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), images(4)
    yield "frozen weight", lambda: half_frozen(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))), images(4)
    yield "tied", tied, words(6)
    yield "twice", twice, images(4)
    own = partial(Called, lambda self, x: self.layer(x + self.shift))
    yield "own parameter", lambda: own(layer=nn.Linear(4, 4), shift=nn.Parameter(torch.ones(4))), images(4)
    for kind in ("aoc_bjorck", "cayley", "sandwich", "sll"):
        yield f"{kind} dense", partial(LAYERS[kind].make_dense, 4, 4), images(4)
        yield f"{kind} convolution", partial(LAYERS[kind].make_convolution, 2, 2, 3), images(2, 4, 4)
    yield "private_convnet", partial(private_convnet, 0, size=4, width=4, stages=1, zero_last=False), images(1, 4, 4)
    layers = pytest.importorskip("opacus.layers")
    first = partial(Called, lambda self, x: self.layer(x)[0])
    two = {"num_layers": 2, "bidirectional": True}
    yield "DPGRU", lambda: first(layer=layers.DPGRU(4, 3, batch_first=True, **two)), images(6, 4)
    yield "DPLSTM", lambda: first(layer=layers.DPLSTM(4, 3, batch_first=True)), images(6, 4)
    attention = partial(Called, lambda self, x: self.layer(x, x, x)[0])
    yield (
        "DPMultiheadAttention",
        lambda: attention(layer=layers.DPMultiheadAttention(4, 2, batch_first=True)),
        images(6, 4),
    )


CASES = {name: case for name, *case in (*convolutions(), *others())}


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize("way", ["hooks", "ghost"])  # by whose rules the others go
def test_clipped_sums_are_those_of_a_loop_over_the_examples(way, case):
    make, inputs = CASES[case]
    torch.manual_seed(0)
    model, targets = make().double(), torch.linspace(0.5, 1.5, len(inputs), dtype=torch.float64)

    expected = loop(copy.deepcopy(model), inputs, targets)
    optimizer = private(model, way)
    _, sums = optimizer.sum_gradients(inputs, targets, losses)
    for name, each in expected.items():
        assert torch.allclose(sums[name], each, rtol=0, atol=1e-6), name
    for one, target in zip(inputs.split(1), targets.split(1), strict=True):
        assert norm_of(optimizer.sum_gradients(one, target, losses)[1]) <= CLIP * (1 + 1e-9)


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize("way", ["hooks", "ghost"])
def test_a_copy_and_its_original_each_sum_as_a_loop_over_the_examples(way, case):
    make, inputs = CASES[case]
    torch.manual_seed(0)
    model, targets = make().double(), torch.linspace(0.5, 1.5, len(inputs), dtype=torch.float64)
    plain, moved = copy.deepcopy(model), copy.deepcopy(model)
    optimizer = private(model, way)
    optimizer.sum_gradients(inputs, targets, losses)
    other = copy.deepcopy(optimizer)
    with torch.no_grad():
        for each in (*moved.parameters(), *other.model.parameters()):
            each.mul_(0.9)
    pairs = ((other, moved), (optimizer, plain), (other, moved))
    for own, reference in pairs:
        _, sums = own.sum_gradients(inputs, targets, losses)
        for name, each in loop(reference, inputs, targets).items():
            assert torch.allclose(sums[name], each, rtol=0, atol=1e-6), name


@pytest.mark.parametrize("padding_mode", ["circular", "reflect"])
@pytest.mark.parametrize("way", WAYS)
def test_one_pixel_at_a_border_stays_within_the_clip(way, padding_mode):
    """What an example adds was 1,000 times the clip: with zeros around it, the pixel meets no weight."""
    size = {"circular": 1, "reflect": 2}[padding_mode]
    model = nn.Conv2d(1, 1, 3, padding=1, padding_mode=padding_mode, bias=False)
    optimizer = private(model, way)
    pixel = torch.zeros(1, 1, size, size)
    pixel[..., -1, -1] = 1.0
    _, sums = optimizer.sum_gradients(pixel, torch.zeros(1), lambda outputs, _: 1000 * outputs[:, 0, 0, 0])
    assert 0.9 * CLIP <= norm_of(sums) <= CLIP * (1 + 1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("way", WAYS)
def test_gradients_that_cancel_between_places_stay_within_the_clip(way, seed):
    """In float32, the squares of what cancels are rounded by more than what is left."""
    generator = torch.Generator().manual_seed(seed)
    pair = 1e4 + torch.randn(1, 1, 8, generator=generator) + 0.05 * torch.randn(1, 2, 8, generator=generator)
    optimizer = private(nn.Linear(8, 2, bias=False), way)
    _, sums = optimizer.sum_gradients(pair, torch.zeros(1), lambda y, _: 1e3 * (y[:, 0] - y[:, 1]).sum(1))
    assert norm_of(sums) == pytest.approx(CLIP, rel=0.05)


def mixing():
    class Centred(nn.Module):
        def forward(self, x):
            return x - x.mean(0)

    class Neighbours(nn.Module):
        def forward(self, x):
            return x + x.roll(1, 0).detach()

    class Before(nn.Module):
        def forward(self, x):
            return x + (x.cumsum(0) - x).detach()

    yield "those before", nn.Sequential(nn.Linear(4, 4), Before()), images(4)

    yield "a mean", nn.Sequential(nn.Linear(4, 4), Centred()), images(4)
    yield "a detached neighbour", nn.Sequential(nn.Linear(4, 4), Neighbours()), images(4)
    attention = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0)  # over the first dimension
    yield "attention", nn.Sequential(attention.requires_grad_(False), nn.Linear(4, 2)), images(6, 4)


@pytest.mark.parametrize("case", [pytest.param(each[1:], id=each[0]) for each in mixing()])
@pytest.mark.parametrize("way", WAYS)
def test_a_network_that_mixes_examples_is_refused_at_the_first_step(way, case):
    model, inputs = case
    optimizer = private(copy.deepcopy(model).double(), way)
    with pytest.raises(ValueError, match="the loss of an example depends on another one"):
        optimizer.step(inputs, torch.ones(5, dtype=torch.float64), losses)
    assert optimizer.transcript.steps == 0


class Tracked(nn.Module):
    """Keeps a mean of its inputs, and counts its passes."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate
        self.register_buffer("mean", torch.zeros(4, dtype=torch.float64))
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        self.mean.lerp_(x.detach().mean(0), self.rate)
        self.passes += 1
        return x / (1 + self.passes)


@pytest.mark.parametrize("way", WAYS)
def test_a_buffer_that_keeps_examples_is_refused_and_one_that_does_not_stays_as_it_is(way):
    targets = torch.ones(5, dtype=torch.float64)
    optimizer = private(nn.Sequential(Tracked(0.1), nn.Linear(4, 3)).double(), way)
    with pytest.raises(ValueError, match=r"the buffer 0\.mean keeps what it sees of the examples"):
        optimizer.step(images(4), targets, losses)
    assert optimizer.transcript.steps == 0
    counted = Tracked(0.0)
    private(nn.Sequential(counted, nn.Linear(4, 3)).double(), way).step(images(4), targets, losses)
    assert counted.passes == 1


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda outputs, targets: losses(outputs, targets).mean(), r"has the shape \(\).*reduction='none'"),
        (lambda outputs, targets: losses(outputs, targets) / len(outputs), "depends on how many others there are"),
        (lambda outputs, targets: losses(outputs - outputs.mean(0), targets), "depends on how many others there are"),
        (lambda outputs, targets: losses(outputs, targets).softmax(0), "the loss of an example depends on"),
        (
            lambda outputs, targets: losses(outputs + outputs.roll(1, 0) - outputs[0], targets),
            "the loss of an example depends on",
        ),
        (lambda o, t: losses(o, t) / losses(o, t).detach().max(), "depends on how many others there are"),
        (lambda o, t: losses(o, t) / losses(o, t).detach().min(), "depends on how many others there are"),
    ],
    ids=["mean", "size", "centred", "softmax", "neighbour", "largest", "smallest"],
)
@pytest.mark.parametrize("way", WAYS)
def test_a_loss_that_couples_examples_is_refused(way, loss, message):
    optimizer = private(nn.Linear(4, 3).double(), way)
    with pytest.raises(ValueError, match=message):
        optimizer.step(images(4), torch.ones(5, dtype=torch.float64), loss)
    assert optimizer.transcript.steps == 0


def hidden():
    def reused(self, x):
        return linear(self.words(x).tanh(), self.words.weight)

    yield "a weight used twice", Called(reused, words=nn.Embedding(4, 3)), words(6), "words.weight aren't those"
    keyword = Called(lambda self, x: self.layer(x, factor=100.0), layer=Scaled())
    yield "a keyword", keyword, images(4), "layer.weight aren't those of autograd"
    second = Called(lambda self, x: self.layer(x, 100.0), layer=Scaled())
    yield "a second input", second, images(4), r"'layer' \(Scaled\) has parameters of its own, and not one tensor"
    unused = Called(lambda self, x: self.layer(x), layer=nn.Linear(4, 4), rest=nn.Linear(4, 4))
    yield "no use", unused, images(4), "from rest.weight to the loss: freeze it"
    rows = Called(lambda self, x: self.layer(x.flatten(0, 1)).view(x.shape), layer=nn.Linear(4, 4))
    yield "rows of a batch", rows, images(3, 4), "layer.weight aren't those of autograd"
    places = Called(
        lambda self, x: self.words(x) + self.places(torch.arange(6)),
        words=nn.Embedding(4, 3),
        places=nn.Embedding(6, 3),
    )
    yield "no examples", places, words(6), "places.weight aren't those of autograd"
    decay = Called(lambda self, x: self.layer(x) + 0.1 * self.layer.weight.square().sum(), layer=nn.Linear(4, 4))
    yield "a penalty", decay, images(4), "layer.weight aren't those of autograd"
    bare = Called(lambda self, x: linear(x, self.layer.weight), layer=nn.Linear(4, 4, bias=False))
    yield "no call", bare, images(4), "from layer.weight to the loss: freeze it"
    in_place = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True))
    yield "in place", in_place, images(4), "Opacus finds no gradients by example.*do nothing in place"
    dropout = Called(lambda self, x: self.drop(x) * self.weight, drop=nn.Dropout(), weight=nn.Parameter(torch.ones(4)))
    yield "dropout inside", dropout, images(4), "Opacus finds no gradients by example"


@pytest.mark.parametrize("case", [pytest.param(each[1:], id=each[0]) for each in hidden()])
@pytest.mark.parametrize("way", WAYS)
def test_what_hides_gradients_from_opacus_is_refused_at_the_first_step(way, case):
    model, inputs, message = case
    optimizer = private(copy.deepcopy(model).double(), way)
    with pytest.raises(ValueError, match=message):
        optimizer.step(inputs, torch.ones(5, dtype=torch.float64), losses)
    assert optimizer.transcript.steps == 0


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            nn.BatchNorm1d(4),
            r"layer '1' \(BatchNorm1d\) mixes the examples of a batch: replace it, such as by GroupNorm",
        ),
        (nn.SyncBatchNorm(4), "SyncBatchNorm.*GroupNorm"),
        (nn.BatchNorm1d(4, affine=False, track_running_stats=False), "BatchNorm1d.*GroupNorm"),
        (nn.InstanceNorm1d(4, affine=True, track_running_stats=True), "InstanceNorm1d.*track_running_stats=False"),
        (nn.InstanceNorm1d(4, track_running_stats=True), "InstanceNorm1d.*track_running_stats=False"),
        (nn.Embedding(4, 3, max_norm=1.0), "Embedding.*max_norm"),
        (nn.Embedding(4, 3, max_norm=1.0).requires_grad_(False), "Embedding.*max_norm"),
        (nn.Embedding(4, 3, scale_grad_by_freq=True), "Embedding.*scale_grad_by_freq"),
        (nn.Embedding(4, 3, sparse=True), "Embedding.*sparse"),
        (nn.EmbeddingBag(4, 3), "EmbeddingBag.*use Embedding"),
        (nn.LSTM(4, 3), "LSTM.*DPLSTM of opacus.layers, with batch_first=True"),
        (nn.GRU(4, 3), "GRU.*DPGRU"),
        (nn.MultiheadAttention(4, 2), "MultiheadAttention.*DPMultiheadAttention of opacus.layers, with batch_first"),
        (nn.TransformerEncoderLayer(4, 2), r"layer '1.self_attn' \(MultiheadAttention\)"),
        (nn.Bilinear(4, 4, 2), "Bilinear.*Linear layers"),
        (nn.LazyLinear(3), "LazyLinear.*run the model once"),
        (
            nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)),
            "ParametrizedLinear.*trains parameters beside a buffer",
        ),
        (nn.Linear(4, 3).half(), "Linear.*is in torch.float16"),
        (nn.Linear(4, 3).bfloat16(), "Linear.*is in torch.bfloat16"),
    ],
    ids=lambda each: "" if isinstance(each, str) else type(each).__name__,
)
def test_layers_that_cannot_be_clipped_by_example_are_refused_by_name(layer, message):
    with pytest.raises(ValueError, match=message):
        private(nn.Sequential(nn.Linear(4, 4), layer), "ghost")


@pytest.mark.parametrize("way", WAYS)
def test_dropout_is_no_mixing(way):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 30), nn.Dropout(), nn.ReLU(), nn.Linear(30, 3)).double()
    private(model, way).step(images(4), torch.ones(5, dtype=torch.float64), losses)


@pytest.mark.parametrize("way", WAYS)
def test_the_check_of_the_first_step_leaves_random_numbers_and_the_step_as_they_are(way):
    results = []
    for first in (1, 2):  # a batch of one is checked, but not noted: the next is checked again
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 30), nn.Dropout(), nn.Linear(30, 3)).double()
        optimizer, targets = private(model, way), torch.ones(5, dtype=torch.float64)
        for _ in range(first):
            torch.manual_seed(3)
            _, sums = optimizer.sum_gradients(images(4), targets, losses)
        results.append([*sums.values(), torch.rand(3)])
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize("way", WAYS)
def test_passes_between_steps_leave_nothing_behind(way):
    results = []
    for between in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(9, 3)).double()
        optimizer, targets = private(model, way), torch.ones(5, dtype=torch.float64)
        optimizer.step(images(2, 5), targets, losses)
        if between:
            model(10 * images(2, 5)).sum().backward()
            model(images(2, 5))
            with pytest.raises(RuntimeError):
                optimizer.step(images(2, 5), targets, lambda outputs, _: outputs.reshape(7, -1))
        results.append(optimizer.sum_gradients(images(2, 5), targets, losses)[1])
    for name, each in results[0].items():
        assert torch.equal(each, results[1][name])


@pytest.mark.parametrize("way", WAYS)
def test_eval_mode_and_autocast_are_refused_before_a_step_is_recorded(way):
    model, targets = nn.Linear(4, 3), torch.ones(5)
    optimizer = private(model, way)
    with torch.autocast("cpu"), pytest.raises(ValueError, match="autocast is on: leave it for private steps"):
        optimizer.step(images(4).float(), targets, losses)
    model.eval()
    with pytest.raises(ValueError, match=r"the model is in eval mode.*train\(\)"):
        optimizer.step(images(4).float(), targets, losses)
    model.train()
    inside = Called(autocast_inside, layer=nn.Linear(4, 3))
    with pytest.raises(ValueError, match=r"'layer' \(Linear\).*in float32 or float64"):
        private(inside, way).step(images(4).float(), targets, losses)
    assert optimizer.transcript.steps == 0


def autocast_inside(self, x):
    with torch.autocast("cpu"):
        return self.layer(x).float()

"""Which parameters go to the matrix method: the rules, on networks of every kind, and what may be overridden."""

import dataclasses
import re

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from orthobench.models import byte_transformer, digits_convnet, hidden_weights
from orthobench.optim import Route, Routes, TurboMuon, route_parameters


class VisionTransformer(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(5, width))
        self.patches = nn.Conv2d(3, width, 4, stride=4)
        layer = nn.TransformerEncoderLayer(width, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, 10)


class ResidualBlock(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)


class ResidualNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 7)
        self.layers = nn.Sequential(ResidualBlock(4, 4), ResidualBlock(4, 8))
        self.fc = nn.Linear(8, 10)


class TiedGPT(nn.Module):
    def __init__(self, width=8, vocabulary=20):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.Sequential(*(nn.Sequential(nn.Linear(width, 16), nn.Linear(16, width)) for _ in range(2)))
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embedding.weight


def matrices(model, **options):
    return [route.name for route in route_parameters(model, **options) if route.method == "matrix"]


def reasons(model, **options):
    return {route.name: route.reason for route in route_parameters(model, **options)}


@pytest.mark.parametrize("factory", [digits_convnet, byte_transformer])
def test_our_networks_hidden_weights_are_the_matrices(factory):
    model = factory(0)
    hidden = hidden_weights(model)
    routes = route_parameters(model)
    assert [route.name for route in routes if route.method == "matrix"] == [f"{name}.weight" for name in hidden]
    assert all(p is q for p, q in zip(routes.matrix, hidden.values(), strict=True))


@pytest.mark.parametrize(
    "model", [digits_convnet(0), byte_transformer(0), VisionTransformer(), ResidualNetwork(), TiedGPT()], ids=type
)
def test_each_parameter_has_one_route_which_describes_it(model):
    routes = route_parameters(model)
    assert isinstance(routes, Routes)
    named = dict(model.named_parameters())
    assert [route.name for route in routes] == list(named)
    assert len(routes) == len(named) == len(routes.matrix) + len(routes.other)
    left = {"matrix": iter(routes.matrix), "other": iter(routes.other)}
    for route in routes:
        p = named[route.name]
        assert next(left[route.method]) is p
        assert (route.shape, route.count) == (tuple(p.shape), p.numel())
        assert route.reason
        assert route.method == "other" or p.ndim >= 2


def test_a_vision_transformer():
    layers = [f"encoder.layers.{i}.{name}.weight" for i in (0, 1) for name in ("out_proj", "linear1", "linear2")]
    expected = {name.replace("out_proj", "self_attn.out_proj") for name in layers}
    expected |= {f"encoder.layers.{i}.self_attn.in_proj_weight" for i in (0, 1)}
    assert set(matrices(VisionTransformer())) == expected
    why = reasons(VisionTransformer())
    no_matrix = "no weight of a linear, convolution, attention or embedding layer"
    assert {why["class_token"], why["positions"]} == {no_matrix}
    assert why["patches.weight"] == "first convolution"
    assert why["classifier.weight"] == "head: the last linear layer"
    assert why["norm.weight"] == why["patches.bias"] == "fewer than 2 dimensions"


def test_a_residual_network():
    expected = [f"layers.{i}.{name}.weight" for i in (0, 1) for name in ("first", "second", "shortcut")]
    assert matrices(ResidualNetwork()) == expected
    assert matrices(ResidualNetwork(), kernels=False) == []


def test_without_kernels_what_is_left_is_what_torchs_muon_takes():
    model = VisionTransformer()
    routes = route_parameters(model, kernels=False)
    assert len(torch.optim.Muon(routes.matrix).param_groups[0]["params"]) == 8
    assert reasons(model, kernels=False)["patches.weight"] == "convolution, not taken (kernels=False)"


def test_a_weight_tied_to_an_embedding_appears_once_and_is_not_a_matrix():
    model = TiedGPT()
    assert matrices(model) == [f"blocks.{i}.{j}.weight" for i in (0, 1) for j in (0, 1)]
    assert [route.name for route in route_parameters(model) if "embedding" in route.name] == ["embedding.weight"]
    assert "head.weight" not in reasons(model)
    # The same with the embedding registered after the head.
    first = nn.ModuleList([nn.Linear(8, 20, bias=False), nn.Linear(8, 8), nn.Embedding(20, 8)])
    first[2].weight = first[0].weight
    assert reasons(first) == {
        "0.weight": "embedding",
        "1.weight": "head: the last linear layer",
        "1.bias": "fewer than 2 dimensions",
    }


def test_two_tied_layers_are_one_matrix():
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
    model[1].weight = model[0].weight
    assert matrices(model) == ["0.weight"]
    shared = nn.Linear(4, 4)
    assert matrices(nn.Sequential(shared, shared, nn.Linear(4, 2))) == ["0.weight"]
    # Tied to the head, it is the head.
    model[2].weight = model[0].weight
    assert matrices(model) == []


def test_attention_with_other_widths_for_keys_and_values():
    attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=4, add_bias_kv=True)
    expected = ["q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"]
    assert matrices(attention) == expected
    assert reasons(attention)["bias_k"].startswith("no weight")


def test_the_projection_of_an_attention_is_never_the_head():
    model = nn.ModuleDict({"head": nn.Linear(8, 10), "attention": nn.MultiheadAttention(8, 2)})
    assert matrices(model) == ["attention.in_proj_weight", "attention.out_proj.weight"]


def test_gains_of_three_dimensions_are_no_matrix():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 2))
    model.register_parameter("layer_scale", nn.Parameter(torch.ones(4, 1, 1)))
    assert matrices(model) == ["1.weight"]


def test_torchs_transformer():
    model = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
    # It has no head: its last layer is taken for one, until the user says otherwise.
    names = [name for name, p in model.named_parameters() if p.ndim > 1]
    assert matrices(model) == [name for name in names if name != "decoder.layers.0.linear2.weight"]
    assert matrices(model, overrides={"*.linear2.weight": "matrix"}) == names


@pytest.mark.parametrize(
    "layer",
    [
        *(kind(2, 4, 3) for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d)),
        *(kind(2, 4, 3) for kind in (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(1, 4, 3),
    ],
    ids=str,
)
def test_every_convolution_but_the_first_is_a_matrix(layer):
    model = nn.Sequential(nn.Conv2d(3, 2, 3), layer, nn.Linear(4, 2))
    assert matrices(model) == ["1.weight"]
    assert matrices(nn.Sequential(layer, nn.Conv2d(4, 4, 3))) == ["1.weight"]


@pytest.mark.parametrize(
    "layer",
    [nn.Conv1d(8, 8, 4, groups=8), nn.Conv2d(8, 16, 3, groups=8), nn.ConvTranspose2d(8, 8, 3, groups=8)],
    ids=str,
)
def test_depthwise_kernels_are_no_matrix_unless_it_is_said(layer):
    model = nn.Sequential(nn.Conv2d(3, 2, 3), layer, nn.Linear(4, 2))
    assert reasons(model)["1.weight"] == "depthwise convolution"
    assert matrices(model) == []
    assert matrices(model, overrides={"1.weight": "matrix"}) == ["1.weight"]


def test_the_single_layer_of_a_model_is_neither_head_nor_first():
    assert matrices(nn.Linear(3, 4)) == ["weight"]
    assert matrices(nn.Sequential(nn.LayerNorm(3), nn.Conv1d(3, 4, 2))) == ["1.weight"]
    assert matrices(nn.Embedding(3, 4)) == []
    assert matrices(nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 3))) == []


def test_other_layers_are_not_matrices():
    model = nn.ModuleList([nn.LSTM(3, 4), nn.Bilinear(2, 3, 4), nn.EmbeddingBag(5, 3), nn.Linear(3, 3), nn.PReLU()])
    model.append(nn.ParameterList([torch.ones(3, 3)]))
    model.append(nn.Linear(3, 3))
    assert matrices(model) == ["3.weight"]
    assert reasons(model)["2.weight"] == "embedding"
    assert reasons(model)["0.weight_hh_l0"].startswith("no weight")


def test_subclasses_of_layers_count():
    class Cast(nn.Linear):
        pass

    assert matrices(nn.Sequential(Cast(3, 3), nn.Linear(3, 3))) == ["0.weight"]


def test_frozen_parameters_are_left_out_and_the_head_stays_the_head():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 4), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    model[3].weight.requires_grad_(False)
    assert list(reasons(model)) == ["1.weight", "1.bias", "2.weight", "2.bias", "3.bias"]
    assert matrices(model) == ["1.weight", "2.weight"]
    model.requires_grad_(False)
    assert len(route_parameters(model)) == 0
    assert "matrix: 0 parameters with 0 entries" in str(route_parameters(model))


@pytest.mark.parametrize("parametrise", [parametrizations.orthogonal, parametrizations.spectral_norm])
def test_a_parametrised_weight_goes_where_the_weight_would(parametrise):
    model = nn.Sequential(nn.Embedding(4, 4), *(nn.Linear(4, 4) for _ in range(3)), nn.Conv1d(4, 4, 1))
    for index in (0, 1, 3):
        parametrise(model[index])
    assert matrices(model) == ["1.parametrizations.weight.original", "2.weight"]
    assert reasons(model)["3.parametrizations.weight.original"] == "head: the last linear layer"
    alone = parametrise(nn.Linear(1, 4))
    assert matrices(alone) == ["parametrizations.weight.original"]


def test_a_parametrised_bias_is_no_matrix():
    class Outer(nn.Module):
        def forward(self, x):
            return x.sum(1)

        def right_inverse(self, x):
            return torch.diag(x)

    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    nn.utils.parametrize.register_parametrization(model[0], "bias", Outer())
    assert matrices(model) == ["0.weight"]


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("make", [lambda: nn.Linear(3, 4), lambda: nn.Conv2d(3, 4, 3), lambda: nn.Linear(1, 4)])
def test_the_gains_of_weight_norm_are_no_matrix(make, dim):
    model = nn.Sequential(nn.Conv2d(2, 2, 1), parametrizations.weight_norm(make(), dim=dim), nn.Linear(4, 2))
    assert reasons(model)["1.parametrizations.weight.original0"] == "gains of a parametrised weight"


def test_the_directions_of_weight_norm_are_a_matrix():
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 4)), nn.Linear(4, 2))
    assert matrices(model) == ["0.parametrizations.weight.original1"]


def test_routing_does_not_touch_the_model():
    model = nn.Sequential(parametrizations.spectral_norm(nn.Linear(3, 4)), nn.Linear(4, 2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    route_parameters(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_overrides_send_parameters_elsewhere():
    model = VisionTransformer()
    overrides = {"positions": "matrix", "encoder.layers.0.*weight": "other", "*.0.linear?.weight": "matrix"}
    by_name = {route.name: route for route in route_parameters(model, overrides=overrides)}
    assert by_name["positions"].method == "matrix"
    assert by_name["positions"].reason == "override 'positions'"
    assert by_name["encoder.layers.0.self_attn.in_proj_weight"].method == "other"
    assert by_name["encoder.layers.0.linear1.weight"].method == "matrix"  # the last pattern counts
    assert by_name["encoder.layers.1.linear1.weight"].reason == "linear"
    assert by_name["class_token"].method == "other"


def test_an_override_may_name_a_tied_weight_by_any_of_its_names():
    for name in ("embedding.weight", "head.weight"):
        assert "embedding.weight" in matrices(TiedGPT(), overrides={name: "matrix"})


def test_a_pattern_that_matches_nothing_is_an_error():
    model = digits_convnet(0)
    with pytest.raises(ValueError, match=r"overrides \['block.\*'\] match no parameter .*'stem.convolution.weight', "):
        route_parameters(model, overrides={"block.*": "other", "stem.*": "other"})
    model.head.requires_grad_(False)
    with pytest.raises(ValueError, match=r"'head\.weight'.*requires a gradient"):
        route_parameters(model, overrides={"head.weight": "other"})


def test_a_vector_cannot_be_a_matrix():
    with pytest.raises(
        ValueError,
        match=r"override 'stem\.\*' sends 'stem\.norm\.weight' of shape \(32,\) .*2 or more dimensions; make",
    ):
        route_parameters(digits_convnet(0), overrides={"stem.*": "matrix"})


def test_a_kernel_cannot_be_a_matrix_for_a_method_without_kernels():
    overrides = {"*.0.convolution.weight": "matrix"}
    with pytest.raises(ValueError, match=r"of shape \(64, 32, 3, 3\) .* takes 2 dimensions \(kernels=False\); make"):
        route_parameters(digits_convnet(0), kernels=False, overrides=overrides)


@pytest.mark.parametrize("method", ["adamw", None, "Matrix"])
def test_an_unknown_method_is_named(method):
    message = re.escape(f"overrides['*'] must be one of ('matrix', 'other'), got {method!r}")
    with pytest.raises(ValueError, match=message):
        route_parameters(digits_convnet(0), overrides={"*": method})


def test_a_lazy_layer_must_see_its_input_first():
    with pytest.raises(ValueError, match=r"parameter '0\.weight' has no shape yet; run the model on one batch first"):
        route_parameters(nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 3)))


def test_something_else_than_a_module_is_refused():
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, got list"):
        route_parameters(list(digits_convnet(0).parameters()))


def test_a_route_is_data():
    route = Route("a", (2, 3), 6, "matrix", "linear")
    with pytest.raises(dataclasses.FrozenInstanceError):
        route.method = "other"
    assert route == next(iter([Route("a", (2, 3), 6, "matrix", "linear")]))


def test_the_table_is_aligned_and_has_the_totals():
    model = digits_convnet(0)
    routes = route_parameters(model)
    header, *rows = str(routes).splitlines()
    matrix, other = rows[-2:]
    reason = header.index("reason")
    for row, route in zip(rows[:-2], routes, strict=True):
        assert row.startswith(route.name + " ")
        assert row[reason - 1 :] == f" {route.reason}"
        assert "x".join(map(str, route.shape)) in row
        assert f" {route.count:,} " in row
    assert matrix == "matrix: 2 parameters with 55,296 entries (97.8%)"
    assert other == "other: 9 parameters with 1,258 entries (2.2%)"
    assert not any(line.endswith(" ") for line in str(routes).splitlines())


@pytest.mark.parametrize("model", [VisionTransformer(), ResidualNetwork(), TiedGPT()], ids=type)
def test_the_matrices_are_what_turbo_muon_takes(model):
    routes = route_parameters(model)
    assert TurboMuon(routes.matrix).param_groups[0]["params"] == routes.matrix
    torch.optim.AdamW(routes.other)


# --- parameters of several matrices ----------------------------------------------------------------------------------


def splits(model, **options):
    return {route.name: route.split for route in route_parameters(model, **options) if route.split is not None}


def test_attention_is_known_to_hold_query_key_and_value():
    attention = nn.MultiheadAttention(8, 2)
    assert splits(attention) == {"in_proj_weight": 3}
    assert splits(attention, heads=True) == {"in_proj_weight": 6}
    apart = nn.MultiheadAttention(8, 2, kdim=6, vdim=4)
    assert splits(apart) == {}
    assert splits(apart, heads=True) == dict.fromkeys(("q_proj_weight", "k_proj_weight", "v_proj_weight"), 2)
    assert splits(attention, split={"in_proj_weight": None}) == {}


def test_each_head_of_an_attention_is_orthogonalised_for_itself():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2).double()
    weight = attention.in_proj_weight
    before = weight.detach().clone()
    routes = route_parameters(attention, heads=True)
    optimizer = TurboMuon(routes.groups, lr=1, momentum=0, orthogonaliser="svd", dtype=None)
    attention(*(torch.randn(5, 8, dtype=torch.float64) for _ in range(3)))[0].square().sum().backward()
    optimizer.step()
    for step, gradient in zip((before - weight.detach()).split(4), weight.grad.split(4), strict=True):
        U, _, Vh = torch.linalg.svd(gradient, full_matrices=False)
        torch.testing.assert_close(step, U @ Vh)


def test_splits_are_declared_by_patterns():
    model = VisionTransformer()
    declared = {"*.linear1.weight": (4, 4, 8), "*.linear2.weight": [2, 6], "encoder.layers.1.linear1.weight": 4}
    found = splits(model, split=declared)
    assert found["encoder.layers.0.linear1.weight"] == (4, 4, 8)
    assert found["encoder.layers.1.linear1.weight"] == 4
    assert found["encoder.layers.1.linear2.weight"] == (2, 6)
    routes = route_parameters(model, split=declared)
    assert {group["split"] for group in routes.groups} == {None, 3, 4, (4, 4, 8), (2, 6)}
    named = dict(model.named_parameters())
    assert {name for group in routes.groups for name, p in group["params"] if p is named[name]} == set(matrices(model))
    assert "attention, split=3\n" in str(routes)
    optimizer = TurboMuon(routes.groups, lr=1)
    assert len(optimizer.param_groups) == len(routes.groups)
    assert all(group["lr"] == 0.5 for group in TurboMuon(routes.groups, lr=0.5).param_groups)  # none is shared


def test_stacked_experts_are_declared_too():
    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.Parameter(torch.randn(3, 4, 6))
            self.router = nn.Linear(4, 3)

    routes = route_parameters(Experts(), overrides={"up": "matrix"}, split={"up": "stacked"})
    assert [(group["split"], len(group["params"])) for group in routes.groups] == [("stacked", 1), (None, 1)]
    TurboMuon(routes.groups)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"*.in_proj_weight": (8, 8, 9)}, r"'encoder.layers.0.self_attn.in_proj_weight' has 24 rows, .*sums to 25"),
        ({"*.in_proj_weight": 5}, "has 24 rows, which split=5 doesn't divide"),
        ({"*.in_proj_weight": "heads"}, "split must be None, 'stacked', a number of equal parts or .*got 'heads'"),
        ({"patches.weight": 2}, r"split\['patches.weight'\] matches .*which goes to 'other' \(first convolution\)"),
        ({"*.qkv.weight": 3}, r"split \['\*.qkv.weight'\] match no parameter"),
    ],
)
def test_a_split_that_does_not_fit_is_named(split, message):
    with pytest.raises(ValueError, match=message):
        route_parameters(VisionTransformer(), split=split)


def conv1d_of_transformers(inputs, outputs):
    """What that package defines, as far as routing sees it: the weight is inputs by outputs."""

    class Conv1D(nn.Module):
        def __init__(self, nf, nx):
            super().__init__()
            self.nf, self.nx = nf, nx
            self.weight = nn.Parameter(torch.randn(nx, nf))
            self.bias = nn.Parameter(torch.zeros(nf))

        def forward(self, x):
            return x @ self.weight + self.bias

    Conv1D.__module__ = "transformers.pytorch_utils"
    return Conv1D(outputs, inputs)


def test_the_linear_layers_of_gpt2_in_transformers_are_matrices_that_are_transposed():
    torch.manual_seed(0)
    block = nn.ModuleDict({"c_attn": conv1d_of_transformers(4, 12), "c_proj": conv1d_of_transformers(4, 4)})
    model = nn.ModuleDict({"wte": nn.Embedding(9, 4), "block": block, "lm_head": nn.Linear(4, 9, bias=False)})
    model.double()
    routes = route_parameters(model, split={"*.c_attn.weight": 3})
    assert [(route.name, route.split, route.transposed) for route in routes if route.method == "matrix"] == [
        ("block.c_attn.weight", 3, True),
        ("block.c_proj.weight", None, True),
    ]
    weight = block["c_attn"].weight
    before = weight.detach().clone()
    for p in routes.matrix:
        p.grad = torch.randn_like(p)
    TurboMuon(routes.groups, lr=1, momentum=0, orthogonaliser="svd", dtype=None).step()
    for step, gradient in zip((before - weight.detach()).split(4, 1), weight.grad.split(4, 1), strict=True):
        U, _, Vh = torch.linalg.svd(gradient, full_matrices=False)
        torch.testing.assert_close(step, U @ Vh)
    assert matrices(conv1d_of_transformers(4, 8)) == ["weight"]


def test_a_conv1d_of_anyone_else_is_not_taken_for_it():
    class Conv1D(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 4))

    assert matrices(nn.Sequential(Conv1D(), nn.Linear(4, 4), nn.Linear(4, 2))) == ["1.weight"]

"""Each layer computes the formula of its paper: dense float64 matrices, written out, are the oracle."""

import math

import pytest
import torch
from layer_cases import jacobian

from orthobench.lipschitz.layers import cayley_transform, make_layer, newton_orthogonal


def gaussian(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def complex_gaussian(*shape):
    return torch.complex(gaussian(*shape), gaussian(*shape, seed=1))


@pytest.mark.parametrize("make", [gaussian, complex_gaussian])
@pytest.mark.parametrize("shape", [(5, 5), (8, 5), (5, 8), (3, 8, 5)])
def test_cayley_is_the_formula_of_the_paper(make, shape):
    W = make(*shape)
    Q = cayley_transform(W)
    if shape[-2] < shape[-1]:
        W, Q = W.mH, Q.mH
    n = W.shape[-1]
    U, V, identity = W[..., :n, :], W[..., n:, :], torch.eye(n, dtype=W.dtype)
    A = U - U.mH + V.mH @ V
    inverse = torch.linalg.inv(identity + A)
    torch.testing.assert_close(Q, torch.cat([(identity - A) @ inverse, -2 * V @ inverse], dim=-2))
    torch.testing.assert_close(Q.mH @ Q, identity.expand(*Q.shape[:-2], n, n))


@pytest.mark.parametrize("make", [gaussian, complex_gaussian])
@pytest.mark.parametrize("shape", [(5, 5), (8, 5), (3, 5, 8)])
def test_newton_converges_to_the_inverse_square_root_times_the_matrix(make, shape):
    V = make(*shape)
    U, _, Wh = torch.linalg.svd(V, full_matrices=False)
    torch.testing.assert_close(newton_orthogonal(V, steps=40), U @ Wh)


@pytest.mark.parametrize("name", ["cayley", "lot"])
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"groups": 2}, {"dilation": 2}])
def test_a_fourier_layer_makes_the_dense_matrix_of_its_circular_convolution_orthogonal(name, options):
    # Cayley's transform and Newton's iteration of the block-circulant matrix itself, without any Fourier transform.
    torch.manual_seed(0)
    layer = make_layer(name, 4, 4, 3, bias=False, **options).double()
    with torch.no_grad():
        layer.weight.add_(0.1 * gaussian(*layer.weight.shape))
    shape, stride = (4, 6, 4), options.get("stride", 1)
    plain = make_layer("plain", 4 * stride**2, 4, 3, bias=False, **{**options, "stride": 1}).double()
    with torch.no_grad():
        plain.weight.copy_(layer.kernel(torch.float64))
    torch.set_default_dtype(torch.float64)
    try:
        unshuffle = torch.nn.PixelUnshuffle(stride)
        J = jacobian(layer, shape)
        C = jacobian(plain, unshuffle(torch.zeros(1, *shape)).shape[1:])
        P = jacobian(unshuffle, shape)
    finally:
        torch.set_default_dtype(torch.float32)
    # LOT starts from V / ||V||_F at each frequency: compare where enough steps make the scale immaterial.
    expected = cayley_transform(C) if name == "cayley" and stride == 1 else None
    if expected is not None:
        torch.testing.assert_close(J, expected @ P)
    if name == "lot":
        U, _, Vh = torch.linalg.svd(C, full_matrices=False)
        torch.testing.assert_close(J, U @ Vh @ P, atol=1e-4, rtol=0)
    torch.testing.assert_close(J @ J.T, torch.eye(len(J), dtype=J.dtype), atol=1e-4, rtol=0)


@pytest.mark.parametrize("padding_mode", ["circular", "zeros"])
@pytest.mark.parametrize("options", [{}, {"dilation": 2}])
def test_soc_is_the_exponential_of_a_skew_symmetric_matrix(padding_mode, options):
    torch.manual_seed(0)
    layer = make_layer("soc", 3, 3, 3, bias=False, padding_mode=padding_mode, **options).eval()
    kernel = layer.skew_kernel(torch.float32).detach()
    A = jacobian(lambda x: layer._convolve(x, kernel), (3, 5, 6))
    torch.testing.assert_close(A, -A.T, atol=1e-7, rtol=0)
    torch.testing.assert_close(jacobian(layer, (3, 5, 6)), torch.matrix_exp(A), atol=2e-6, rtol=0)


def test_soc_pads_missing_inputs_and_drops_surplus_outputs():
    torch.manual_seed(0)
    wide = make_layer("soc", 6, 6, 3, bias=False).eval()
    rows, columns = make_layer("soc", 6, 2, 3, bias=False).eval(), make_layer("soc", 2, 6, 3, bias=False).eval()
    for layer in (rows, columns):
        layer.load_state_dict(wide.state_dict())
    J = jacobian(wide, (6, 4, 4))
    torch.testing.assert_close(jacobian(rows, (6, 4, 4)), J[: 2 * 16])
    torch.testing.assert_close(jacobian(columns, (2, 4, 4)), J[:, : 2 * 16])


def dense_residual(x, W, T, b):
    return x - 2 * W.T @ ((W @ x + b).relu() / T)


def test_dense_cpl_is_the_formula_of_the_paper():
    torch.manual_seed(0)
    layer = make_layer("cpl", 6, 6).double().eval()
    W, b, x = layer.weight.detach(), layer.bias.detach(), gaussian(6)
    expected = dense_residual(x, W, torch.linalg.svdvals(W)[0] ** 2, b)
    torch.testing.assert_close(layer(x[None])[0].detach(), expected)


def test_dense_sll_is_the_formula_of_the_paper():
    torch.manual_seed(0)
    layer = make_layer("sll", 6, 6).double()
    with torch.no_grad():
        layer.log_q.copy_(gaussian(6))
    W, b, q, x = layer.weight.detach(), layer.bias.detach(), layer.log_q.detach().exp(), gaussian(6)
    T = torch.tensor([sum(abs(float(W[i] @ W[j])) * q[j] / q[i] for j in range(6)) for i in range(6)]).double()
    torch.testing.assert_close(layer(x[None])[0].detach(), dense_residual(x, W, T, b))


@pytest.mark.parametrize("name", ["plain", "bjorck", "cayley", "cpl", "sll", "lot", "aol", "sandwich"])
def test_a_dense_layer_maps_the_last_axis_of_any_tensor(name):
    layer, x = make_layer(name, 6, 6).eval(), gaussian(2, 3, 5, 6, dtype=torch.float32)
    torch.testing.assert_close(layer(x), layer(x.flatten(0, 2)).unflatten(0, (2, 3, 5)))


@pytest.mark.parametrize("options", [{}, {"groups": 2}, {"dilation": 2}, {"kernel_size": 4}])
@pytest.mark.parametrize("padding_mode", ["circular", "zeros"])
@pytest.mark.parametrize("name", ["cpl", "sll"])
def test_a_residual_convolution_is_the_dense_one_of_its_matrix(name, padding_mode, options):
    torch.manual_seed(0)
    layer = make_layer(name, 4, 4, **{"kernel_size": 3, "padding_mode": padding_mode, **options}).double().eval()
    plain = make_layer("plain", 4, 4, **{"kernel_size": 3, "padding_mode": padding_mode, "bias": False, **options})
    with torch.no_grad():
        plain.double().weight.copy_(layer.weight)
    torch.set_default_dtype(torch.float64)
    try:
        W = jacobian(plain, (4, 7, 8))
    finally:
        torch.set_default_dtype(torch.float32)
    scales = layer.inverse_scales(layer.weight.detach(), (7, 8)).expand(4).detach()
    x = gaussian(4, 7, 8)
    b = layer.bias.detach().repeat_interleave(56)
    expected = dense_residual(x.flatten(), W, 1 / scales.repeat_interleave(56), b)
    torch.testing.assert_close(layer(x[None]).flatten().detach(), expected)
    if name == "cpl" and padding_mode == "circular":
        torch.testing.assert_close(scales[0], torch.linalg.svdvals(W)[0] ** -2)


@pytest.mark.parametrize("groups", [1, 2])
def test_sll_agrees_with_orthogoniums_block(groups):
    from orthogonium.layers.conv.SLL import SDPBasedLipschitzResBlock

    torch.manual_seed(0)
    theirs = SDPBasedLipschitzResBlock(4, 1, kernel_size=3, groups=groups)
    ours = make_layer("sll", 4, 4, 3, groups=groups, padding_mode="zeros")
    with torch.no_grad():
        ours.weight.copy_(theirs.parametrizations.kernel.original)
        scales = ours.inverse_scales(ours.weight, (6, 6))
        ours.bias.copy_(theirs.bias.flatten() / scales.sqrt())  # theirs is behind the scaling
        x = torch.randn(2, 4, 6, 6)
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shape", [(5, 5), (4, 7), (7, 4)])
def test_a_dense_sandwich_is_the_formula_of_the_paper(shape):
    torch.manual_seed(0)
    inputs, outputs = shape
    layer = make_layer("sandwich", inputs, outputs).double()
    with torch.no_grad():
        layer.log_psi.copy_(gaussian(outputs))
    # [A, B] has orthonormal rows; A (outputs, outputs) and B (outputs, inputs) by Cayley's transform of [X; Y].
    XY = (layer.scale * layer.weight / layer.weight.norm()).detach()
    X, Y, identity = XY[:outputs], XY[outputs:], torch.eye(outputs, dtype=torch.float64)
    Z = X - X.T + Y.T @ Y
    A = (torch.linalg.inv(identity + Z) @ (identity - Z)).T
    B = (-2 * Y @ torch.linalg.inv(identity + Z)).T
    torch.testing.assert_close(A @ A.T + B @ B.T, identity)
    psi, x = layer.log_psi.detach().exp(), gaussian(inputs)
    z = (math.sqrt(2) / psi * (B @ x) + layer.bias.detach()).relu()
    torch.testing.assert_close(layer(x[None])[0].detach(), math.sqrt(2) * A.T @ (psi * z))


def test_a_sandwich_convolution_on_one_pixel_is_the_dense_layer():
    torch.manual_seed(0)
    convolution, dense = make_layer("sandwich", 3, 5, 1), make_layer("sandwich", 3, 5)
    state = convolution.state_dict()
    dense.load_state_dict({**state, "weight": state["weight"][..., 0, 0]})
    x = torch.randn(4, 3)
    torch.testing.assert_close(convolution(x[..., None, None])[..., 0, 0], dense(x))


@pytest.mark.parametrize("shape", [(6, 6), (4, 7), (7, 4)])
def test_dense_aol_divides_by_the_square_roots_of_row_sums_of_the_gram_matrix(shape):
    torch.manual_seed(0)
    layer = make_layer("aol", *shape)
    original = layer.parametrizations.weight.original.detach()
    with torch.no_grad():
        original.copy_(torch.randn(original.shape))
    W = original.double() if shape[0] > shape[1] else original.double().T  # the short side first
    sums = (W @ W.T).abs().sum(dim=1)
    expected = W / sums.sqrt()[:, None]
    torch.testing.assert_close(layer.weight.detach().double(), expected if shape[0] > shape[1] else expected.T)


def test_bcop_composes_orthogonal_kernels_of_two_by_two_pixels():
    torch.manual_seed(0)
    layer = make_layer("bcop", 4, 4, 2, bias=False)
    Q = layer.parametrizations.weight.original.detach()
    P, R, identity = Q[1][:, :2] @ Q[1][:, :2].T, Q[2][:, :2] @ Q[2][:, :2].T, torch.eye(4)
    for i, first in enumerate((P, identity - P)):
        for j, second in enumerate((R, identity - R)):
            torch.testing.assert_close(layer.weight[..., i, j].detach(), first @ second @ Q[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["cayley", "lot", "sandwich", "sll", "soc", "bcop"])
def test_gradients_of_the_weights_are_those_of_finite_differences(name):
    torch.manual_seed(0)
    layer = make_layer(name, 2, 2, 3, bias=False).double()
    x = gaussian(1, 2, 4, 3)
    names = [key for key, _ in layer.named_parameters()]

    def function(*values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    values = [each.detach().clone().requires_grad_() for each in layer.parameters()]
    if name == "lot":  # where the Gram matrix has distinct eigenvalues
        values[0] = (values[0] + 0.1 * gaussian(*values[0].shape)).detach().requires_grad_()
    assert torch.autograd.gradcheck(function, values, fast_mode=True)

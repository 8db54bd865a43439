"""Dense Jacobians against matrices that are known, and the modules they leave as they were."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from orthobench.lipschitz.bounds import dense_jacobian
from orthobench.lipschitz.bounds.jacobian import float64_copy


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("batch", [1, 3, 256])
def test_the_jacobian_of_a_linear_layer_is_its_weight(batch):
    layer = nn.Linear(7, 5).double()
    assert torch.equal(dense_jacobian(layer, (7,), batch), layer.weight)


def test_outputs_and_inputs_are_flattened():
    def function(x):  # (b, 2, 3) to (b, 3, 4)
        return torch.einsum("bij,ikjl->bkl", x, tensor)

    tensor = normal(2, 3, 3, 4)
    expected = tensor.permute(1, 3, 0, 2).reshape(12, 6)
    torch.testing.assert_close(dense_jacobian(function, (2, 3)), expected)


def test_large_constants_dont_drown_the_jacobian():
    layer = nn.Linear(6, 4)
    layer.bias.data.fill_(1e4)
    # Subtracting f(0) from f(e_i) in float32 would leave errors of 1e-3.
    torch.testing.assert_close(dense_jacobian(layer, (6,)), layer.weight.double(), rtol=0, atol=1e-5)


def test_a_module_is_evaluated_in_its_own_dtype():
    seen = []

    class Spy(nn.Linear):
        def forward(self, inputs):
            seen.append((inputs.dtype, self.training, torch.is_grad_enabled()))
            return super().forward(inputs)

    layer = Spy(3, 2).to(torch.bfloat16)
    assert dense_jacobian(layer, (3,)).dtype == torch.float64
    assert set(seen) == {(torch.bfloat16, False, False)}


def test_modes_are_put_back_one_by_one():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 2))
    model[1].eval()
    dense_jacobian(model, (3,))
    assert [module.training for module in model.modules()] == [True, True, False, True]


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        dense_jacobian(nn.Linear(2, 2), (2,), batch=0)
    with pytest.raises(ValueError, match=r"must return a tensor \(1, ...\)"):
        dense_jacobian(lambda x: x.sum(), (2,))
    with pytest.raises(ValueError, match="got tuple"):
        dense_jacobian(lambda x: (x, x), (2,))


def test_a_copy_in_float64_has_the_weights_that_are_evaluated():
    layer = parametrizations.orthogonal(nn.Linear(6, 6))
    copy = float64_copy(layer, (6,))
    assert copy.weight.dtype == torch.float64
    # Computed in float32, then frozen: not what the parametrisation gives in float64.
    assert torch.equal(copy.weight, layer.weight.double())
    assert not parametrize.is_parametrized(copy)


def test_copying_leaves_the_original_parametrised():
    layer = parametrizations.spectral_norm(nn.Linear(4, 4)).eval()
    before = layer.weight.clone()
    float64_copy(layer, (4,))
    assert parametrize.is_parametrized(layer, "weight")
    assert torch.equal(layer.weight, before)
    assert {name for name, _ in layer.named_parameters()} == {"bias", "parametrizations.weight.original"}


def test_a_module_that_is_another_function_in_float64_has_no_copy():
    class Fickle(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs) * (1 if inputs.dtype == torch.float32 else 2)

    assert float64_copy(nn.Linear(3, 3), (3,)) is not None
    assert float64_copy(Fickle(3, 3), (3,)) is None

"""The memory of optimizers' states, against sums over the shapes that they hold."""

import collections

import pytest
import torch
from pytorch_optimizer import SOAP, ScalableShampoo

from orthobench.optim.inspection import state_bytes

MATRIX = 64 * 64 * 4
MAKERS = {
    # Both moments; the two factors of the preconditioner, and the two eigenbases, in lists.
    "SOAP": (SOAP, {}, 6 * MATRIX),
    # The momentum; two statistics and two roots in an object; in another one what is grafted, with its own momentum.
    "Shampoo": (ScalableShampoo, {"preconditioning_compute_steps": 10, "graft_type": 2}, 7 * MATRIX),
    # Both moments, and the number of steps as a tensor.
    "AdamW": (torch.optim.AdamW, {}, 2 * MATRIX + 4),
    "SGD": (torch.optim.SGD, {"momentum": 0.9}, MATRIX),
}


@pytest.mark.parametrize("name", MAKERS)
def test_every_tensor_counts_wherever_it_is_kept(name):
    make, options, expected = MAKERS[name]
    parameter = torch.nn.Parameter(torch.randn(64, 64))
    optimizer = make([parameter], lr=0.01, **options)
    for _ in range(12):
        parameter.grad = torch.randn(64, 64)
        optimizer.step()
    assert state_bytes([optimizer]) == expected


class Held:
    __slots__ = ("slot",)

    def __init__(self, slot):
        self.slot = slot


class Cyclic:
    def __init__(self, tensor):
        self.tensor, self.itself, self.name, self.call = tensor, self, "name", len


def test_shared_memory_counts_once_and_parameters_do_not():
    parameter = torch.nn.Parameter(torch.zeros(10))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    assert state_bytes([optimizer]) == 0
    whole = torch.zeros(8)
    optimizer.state[parameter] = {
        "views": [whole[:4], whole[4:]],
        "again": (whole, {"nested": whole}),
        "slots": Held(torch.zeros(3, dtype=torch.float64)),
        "object": Cyclic(torch.zeros(2)),
        "parameter": parameter.detach(),
        "nothing": None,
        "number": 3,
    }
    assert state_bytes([optimizer]) == 8 * 4 + 3 * 8 + 2 * 4
    assert state_bytes([optimizer, optimizer]) == state_bytes([optimizer])


class KeepsItsOwn(torch.optim.SGD):
    """Keeps its average where no state dict shows it."""

    def __init__(self, model):
        super().__init__(model.parameters(), lr=0.1)
        self.model = model
        self.average = collections.deque(each.detach().clone() for each in model.parameters())


def test_what_an_optimizer_keeps_as_attributes_counts_and_the_model_does_not():
    model = torch.nn.BatchNorm1d(64)
    optimizer = KeepsItsOwn(model)
    model(torch.randn(8, 64)).sum().backward()
    optimizer.step()
    assert state_bytes([optimizer], [model]) == 2 * 64 * 4

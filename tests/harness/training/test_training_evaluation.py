"""Evaluation reads a model, and leaves it and the random numbers as they were."""

import math

import pytest
import torch
from torch import nn
from training_toys import CPU, make_model, make_parts

from orthobench.data.parts import Windows
from orthobench.harness.training import classification_loss, evaluate_model
from orthobench.harness.training.objective import reached
from orthobench.models.evaluation import weights


@pytest.mark.parametrize("examples_at_once", [1, 7, 1000])
def test_loss_and_accuracy_are_means_over_all_examples(examples_at_once):
    model, part = make_model(0).double(), make_parts(torch.float64).held_out
    loss, accuracy = evaluate_model(model, part, classification_loss, CPU, examples_at_once)
    model.eval()
    rows = list(zip(model(part.inputs).tolist(), part.targets.tolist(), strict=True))
    losses = [math.log(sum(math.exp(x) for x in logits)) - logits[target] for logits, target in rows]
    assert loss == pytest.approx(sum(losses) / len(losses), rel=1e-6)
    right = sum(max(range(3), key=logits.__getitem__) == target for logits, target in rows)
    assert accuracy == right / len(part)


def test_each_token_of_a_text_counts_once():
    text = torch.randint(0, 5, (101,), generator=torch.Generator().manual_seed(0))
    table = torch.nn.Embedding(5, 5)
    loss, accuracy = evaluate_model(table, Windows(text, 10, 10), classification_loss, CPU)
    logits = table.weight[text[:100]].detach()
    assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, text[1:])), rel=1e-6)
    assert accuracy == float((logits.argmax(1) == text[1:]).double().mean())


def test_evaluation_leaves_no_trace():
    model = make_model(0)
    model[2].eval()  # a mode of its own
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    evaluate_model(model, make_parts().held_out, classification_loss, CPU)
    assert torch.equal(torch.rand(3), expected)
    assert model.training
    assert model[3].training
    assert not model[2].training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("losses", "index"),
    [
        ([3, 2, 1, 1], 2),
        ([3, 1, 2, 1], None),
        ([3, 1, 2, 1, 0.5, 2], 3),
        ([1, 1], 0),
        ([0], None),
        ([], None),
        ([3, math.nan, 1, 1], 2),
        ([3, 1, math.nan, 1], None),
    ],
)
def test_reached_means_two_evaluations_in_a_row(losses, index):
    assert reached(losses, 1) == index


class Noted(nn.Linear):
    """A layer with extra state, a buffer that is kept and one that isn't."""

    def __init__(self):
        super().__init__(2, 3)
        self.register_buffer("kept", torch.ones(2))
        self.register_buffer("passing", torch.ones(2), persistent=False)

    def get_extra_state(self):
        return torch.full((), 7.0)

    def set_extra_state(self, state):
        assert state == 7


def test_weights_are_those_of_the_state_dict_whatever_its_hooks_show():
    shared = nn.Linear(3, 3)
    model = nn.Sequential(Noted(), nn.Sequential(shared, nn.BatchNorm1d(3)), shared)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.register_state_dict_post_hook(lambda module, state, prefix, metadata: state.clear())
    found = weights(model)
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    nn.Sequential(Noted(), nn.Sequential(shared, nn.BatchNorm1d(3)), shared).load_state_dict(found)

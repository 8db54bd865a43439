"""What users of torch's optimizers rely on: states that are saved, converted and loaded, and steps on any gradients."""

import copy
import io
import math
import pickle

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from orthobench.linalg import Recipe
from orthobench.optim import ActivationMoments, SchattenMuon, TurboMuon, dynmuon_schedule

pytestmark = pytest.mark.filterwarnings("ignore:.*narrower than float32")

OPTIONS = {
    "turbo_muon": {},
    "recipe": {"ns_coefficients": [(3.0, -3.2, 1.2), (2.0, -1.5, 0.5)]},
    "number": {"exponent": 0.5},
    "schedule": {"exponent": dynmuon_schedule(20)},
    "padam": {"exponent": 0.25, "preconditioner": "padam"},
    "bias_correction": {"exponent": 0.5, "bias_correction": True},
    "bound": {"exponent": "bound", "refresh_every": 2},
    "momentum": {"exponent": "momentum", "refresh_every": 2},
    "tightness": {"exponent": "tightness", "refresh_every": 2, "preconditioner": "adam"},
    "curvatures": {"exponent": "tightness", "refresh_every": 2, "smooth_curvatures": True},
    "two_directions": {"exponent": "two_directions", "refresh_every": 2},
    "master_weights": {"exponent": "tightness", "refresh_every": 2, "master_weights": True},
}
NAMES = list(OPTIONS)


class Experts(nn.Module):
    """Two layers, and one that a run may never use."""

    def __init__(self, dtype=torch.float32, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second, self.unused = nn.Linear(5, 6), nn.Linear(6, 4), nn.Linear(6, 4)
        self.to(dtype)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))

    @property
    def matrices(self):
        return [self.first.weight, self.second.weight, self.unused.weight]


def make(name, model, **more):
    options = OPTIONS[name] | more
    if "exponent" not in options:
        return TurboMuon(model.matrices, **options)
    return SchattenMuon(model.matrices, activations=ActivationMoments(model, model.matrices), **options)


def train(model, optimizer, steps, start=0):
    for step in range(start, start + steps):
        optimizer.zero_grad()
        generator = torch.Generator().manual_seed(step)
        rows = torch.randn(7, 5, generator=generator, dtype=torch.float64).to(model.first.weight.dtype)
        model(rows).square().sum().backward()
        optimizer.step()
    return [p.detach().clone() for p in model.matrices]


def same(first, second):
    return all(map(torch.equal, first, second))


# --- hooks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_hooks_convert_a_state_whatever_it_looks_like_outside(name):
    """Torch's way to convert a checkpoint: what is saved has no 'param_groups' at all."""
    model = Experts()
    optimizer = make(name, model)
    optimizer.register_state_dict_post_hook(lambda _, state: {"mine": state, "version": 2})
    train(model, optimizer, 3)
    saved = copy.deepcopy(optimizer.state_dict())
    assert set(saved) == {"mine", "version"}
    assert not any(callable(value) for group in saved["mine"]["param_groups"] for value in group.values())
    other_model = Experts()
    other_model.load_state_dict(model.state_dict())
    expected = train(model, optimizer, 4, start=3)

    other, seen = make(name, other_model), []
    other.register_load_state_dict_pre_hook(lambda _, state: state["mine"])
    other.register_load_state_dict_post_hook(
        lambda each: seen.extend(value for state in each.state.values() for value in state.values())
    )
    other.load_state_dict(state_dict=saved)
    assert same(train(other_model, other, 4, start=3), expected)
    assert {str(each.dtype) for each in seen if isinstance(each, torch.Tensor)} <= {"torch.float32", "torch.float64"}


def test_a_hook_may_take_entries_out_of_a_group():
    model = Experts()
    optimizer = make("tightness", model)
    train(model, optimizer, 3)
    saved = copy.deepcopy(optimizer.state_dict())

    def leave_out(_, state):
        for group in state["param_groups"]:
            del group["exponent"], group["steps_done"]

    other = make("tightness", model)
    other.register_load_state_dict_pre_hook(leave_out)
    other.load_state_dict(saved)
    assert other.param_groups[0]["exponent"] == "tightness"
    assert other.param_groups[0]["steps_done"] == 0


# --- other precisions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("before", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("after", [torch.float64, torch.float32, torch.bfloat16])
def test_a_state_of_another_precision_is_loaded_and_stepped(name, before, after):
    model, other_model = Experts(before), Experts(after)
    optimizer, other = make(name, model), make(name, other_model)
    train(model, optimizer, 4)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for p, q in zip(model.matrices[:2], other_model.matrices[:2], strict=True):
        for entry, value in other.state[q].items():
            if isinstance(value, torch.Tensor):
                saved = optimizer.state[p][entry]
                assert value.dtype == other.state_dtype(entry, q, other.param_groups[0])
                torch.testing.assert_close(value, saved.to(value.dtype), rtol=0, atol=0)
    train(other_model, other, 4, start=4)
    assert all(p.isfinite().all() for p in other_model.matrices)


@pytest.mark.parametrize("name", ["padam", "tightness", "master_weights"])
def test_moments_of_a_bfloat16_model_are_not_rounded_when_loaded(name):
    model = Experts(torch.bfloat16)
    optimizer = make(name, model)
    train(model, optimizer, 3)
    other = make(name, model)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    wide = {"second_moment", "input_moment", "alignment", "remainder"} & optimizer.state[model.first.weight].keys()
    wide |= {"momentum_buffer"} if name == "master_weights" else set()
    assert wide
    for entry in wide:
        value, mine = (each.state[model.first.weight][entry] for each in (optimizer, other))
        assert mine.dtype == value.dtype != torch.bfloat16
        assert torch.equal(mine, value)
        assert not torch.equal(value, value.bfloat16().to(value.dtype))


# --- torch.distributed.checkpoint ------------------------------------------------------------------------------------


@pytest.mark.parametrize("flatten", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_distributed_checkpoint_keeps_everything(name, flatten):
    """A fresh optimizer in another process: torch makes its state by a step with zero gradients for all parameters."""
    # Not flattened, torch asks for strict=False where a layer was never used.
    options = StateDictOptions(flatten_optimizer_state_dict=flatten, strict=flatten)
    model = Experts()
    optimizer = make(name, model)
    train(model, optimizer, 5)
    optimizer.zero_grad()
    file = io.BytesIO()
    torch.save(
        {"model": model.state_dict(), "optimizer": get_optimizer_state_dict(model, optimizer, options=options)}, file
    )
    saved = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    expected = train(model, optimizer, 5, start=5)

    fresh = Experts(seed=1)
    other = make(name, fresh)
    fresh.load_state_dict(saved["model"])
    set_optimizer_state_dict(fresh, other, saved["optimizer"], options=options)
    assert same(train(fresh, other, 5, start=5), expected)
    if hasattr(other, "exponents"):
        assert list(other.exponents().values()) == list(optimizer.exponents().values())


# --- torch's Muon, and earlier versions of ours ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [TurboMuon, SchattenMuon])
@pytest.mark.parametrize("triple", [(3.4445, -4.775, 2.0315), (2.0, -1.5, 0.5)])
def test_a_state_of_torchs_muon_goes_on_as_there(kind, triple):
    model = Experts()
    theirs = torch.optim.Muon(
        model.matrices, lr=0.01, weight_decay=0.2, momentum=0.9, ns_coefficients=triple, adjust_lr_fn="match_rms_adamw"
    )
    train(model, theirs, 3)
    other_model, state = copy.deepcopy(model), copy.deepcopy(theirs.state_dict())
    before = [p.detach().clone() for p in model.matrices]
    ours = kind(other_model.matrices, adjust_lr="spectral", **({"eps": 1e-12} if kind is SchattenMuon else {}))
    ours.load_state_dict(state)
    (group,) = ours.param_groups
    assert (group["lr"], group["momentum"], group["adjust_lr"]) == (0.01, 0.9, "match_rms_adamw")
    assert group.get("eps", 1e-12) == 1e-12
    assert not {"ns_coefficients", "ns_steps", "adjust_lr_fn"} & group.keys()
    expected, found = train(model, theirs, 3, start=3), train(other_model, ours, 3, start=3)
    for mine, other, start in zip(found[:2], expected[:2], before, strict=False):
        assert (mine - other).norm() < 0.02 * (other - start).norm()  # torch iterates in bfloat16 on whole matrices


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("recipe", "master_weights")])
def test_a_state_of_an_earlier_version_has_defaults_for_what_it_lacks(name):
    model = Experts()
    optimizer = make(name, model)
    train(model, optimizer, 4)
    state = copy.deepcopy(optimizer.state_dict())
    for group in state["param_groups"]:
        for each in ("maximize", "split", "transposed", "master_weights", "smooth_curvatures"):
            group.pop(each, None)
    for each in state["state"].values():
        if "weights" in each:
            each["weights"] = each["weights"].tolist()  # as they were
    other_model = Experts()
    other_model.load_state_dict(model.state_dict())
    other = make(name, other_model)
    other.load_state_dict(state)
    expected = train(model, optimizer, 3, start=4)
    assert same(train(other_model, other, 3, start=4), expected)


@pytest.mark.parametrize("kind", [TurboMuon, SchattenMuon])
def test_a_pickle_of_an_earlier_version_steps(kind):
    p = nn.Parameter(torch.randn(4, 6))
    optimizer = kind([p])
    for options in (optimizer.defaults, *optimizer.param_groups):
        for name in kind.later_options:
            del options[name]
    other = pickle.loads(pickle.dumps(optimizer))  # noqa: S301 - our own bytes
    (q,) = other.param_groups[0]["params"]
    q.grad = torch.randn(4, 6)
    other.step()
    assert not torch.equal(p, q)


def test_a_recipe_is_saved_as_plain_data():
    recipe = Recipe(name="mine", title="Mine", coefficients=((2.0, -1.5, 0.5),), preconditioner="aol", source="me")
    optimizer = TurboMuon([nn.Parameter(torch.randn(4, 6))], ns_coefficients=recipe, ns_steps=3)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    other = TurboMuon([nn.Parameter(torch.randn(4, 6))])
    other.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert other.param_groups[0]["orthogonaliser"] == optimizer.param_groups[0]["orthogonaliser"] == recipe
    assert other.param_groups[0]["steps"] == 3


# --- steps on any gradients ------------------------------------------------------------------------------------------

STEPS = [
    {"exponent": e, "norm": norm, "preconditioner": preconditioner, "method": method}
    for norm in ("muon", "frobenius", "spectral", "none")
    for preconditioner in (None, "adam")
    for e, method in ((0, "eigh"), (1, "eigh"), (0.5, "eigh"), (0.5, "svd"), (0.5, "products"), (-0.25, "eigh"))
]


@pytest.mark.parametrize("options", STEPS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_touches_no_other_parameter(options, bad):
    results = []
    for value in (0.5, bad):
        generator = torch.Generator().manual_seed(0)
        parameters = [nn.Parameter(torch.randn(4, 6, generator=generator)) for _ in range(3)]
        for p in parameters:
            p.grad = torch.randn(4, 6, generator=generator)
        parameters[1].grad[2, 3] = value
        SchattenMuon(parameters, orthogonaliser="svd", **options).step()
        results.append(parameters)
    for index in (0, 2):
        torch.testing.assert_close(results[0][index], results[1][index], rtol=1e-6, atol=1e-7)
    assert not results[1][1].isfinite().all()


@pytest.mark.parametrize("name", ["turbo_muon", "padam", "tightness", "master_weights"])
def test_gradients_of_another_type_than_their_parameters(name):
    """As with torch.Tensor.grad_dtype: what counts are their values."""
    for p_dtype, g_dtype in ((torch.bfloat16, torch.float32), (torch.float32, torch.bfloat16)):
        results = []
        for within in (g_dtype, p_dtype):
            model = Experts(p_dtype)
            optimizer = make(name, model)
            for step in range(3):
                generator = torch.Generator().manual_seed(step)
                model(torch.ones(3, 5, dtype=p_dtype))
                for p in model.matrices:
                    values = torch.randn(p.shape, generator=generator).bfloat16().to(within)
                    p.grad = None
                    p.grad_dtype = within
                    p.grad = values
                optimizer.step()
            results.append([p.detach() for p in model.matrices])
        assert same(*results)


@pytest.mark.parametrize("name", NAMES)
def test_on_the_meta_device_a_step_makes_the_state(name):
    models = Experts(), Experts().to("meta")
    optimizers = [make(name, model) for model in models]
    for model, optimizer in zip(models, optimizers, strict=True):
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(7, 5, device=model.first.weight.device)).square().sum().backward()
            optimizer.step()
    for p, q in zip(models[0].matrices[:2], models[1].matrices[:2], strict=True):
        found = [
            {
                name: (each.shape, each.dtype)
                for name, each in optimizer.state[w].items()
                if isinstance(each, torch.Tensor)
            }
            for optimizer, w in zip(optimizers, (p, q), strict=True)
        ]
        assert found[0] == found[1]
        assert optimizers[1].state[q]["momentum_buffer"].is_meta


@pytest.mark.parametrize("name", NAMES)
def test_without_decay_zero_gradients_change_nothing(name):
    model = Experts()
    optimizer = make(name, model)
    before = [p.detach().clone() for p in model.matrices]
    for _ in range(3):
        model(torch.ones(2, 5))
        for p in model.matrices:
            p.grad = torch.zeros_like(p)
        optimizer.step()
    assert same(before, [p.detach() for p in model.matrices])


@pytest.mark.parametrize("name", NAMES)
def test_maximize_goes_where_minimising_the_negative_goes(name):
    results = []
    for maximize in (True, False):
        model = Experts()
        optimizer = make(name, model, maximize=maximize)
        for step in range(4):
            optimizer.zero_grad()
            loss = model(torch.randn(7, 5, generator=torch.Generator().manual_seed(step))).square().sum()
            (-loss if maximize else loss).backward()
            optimizer.step()
        results.append([p.detach() for p in model.matrices])
    assert same(*results)


@pytest.mark.parametrize("name", NAMES)
def test_copies_print_and_have_the_same_attributes(name):
    model = Experts()
    optimizer = make(name, model)
    _, other = copy.deepcopy((model, optimizer))
    assert type(optimizer).__name__ in repr(other)
    assert {each for each in dir(optimizer) if each[0] != "_"} == {each for each in dir(other) if each[0] != "_"}

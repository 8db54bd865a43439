"""Processes that share the orthogonalisation take the steps of a single one."""

import itertools

import pytest
import torch
import torch.distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from two_processes import in_two_processes

from orthobench.optim import ActivationMoments, SchattenMuon, TurboMuon
from orthobench.optim import powers as powers_module
from orthobench.optim.sharding import divide_work, share_work

SHAPES = [(8, 8), (8, 8), (16, 8), (8, 16), (4, 3, 3, 3), (8, 8), (2, 32)]


def test_every_matrix_is_in_one_share_and_the_longest_is_short():
    generator = torch.Generator().manual_seed(0)
    for ranks, count in itertools.product((1, 2, 3, 8), (0, 1, 5, 40)):
        shapes = [tuple(row) for row in torch.randint(1, 50, (count, 2), generator=generator).tolist()]
        shares = divide_work(shapes, ranks)
        assert sorted(itertools.chain.from_iterable(shares)) == list(range(count))
        assert all(share == sorted(share) for share in shares)
        costs = [min(shape) ** 2 * max(shape) for shape in shapes]
        longest = max(sum(costs[i] for i in share) for share in shares)
        assert longest <= 4 / 3 * max(sum(costs) / ranks, max(costs, default=0)) + 1e-9


def steps(optimizer, parameters, count):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter.dtype)
        optimizer.step()


def train(rank, world, folder, dtype, nesterov, within):
    group = torch.distributed.group.WORLD if world > 1 else None
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in SHAPES]
    optimizer = TurboMuon(parameters, nesterov=nesterov, weight_decay=0.1, dtype=within, process_group=group)
    steps(optimizer, parameters, 5)
    torch.save([parameter.detach() for parameter in parameters], f"{folder}/{world}_{rank}.pt")


@pytest.mark.parametrize(
    ("dtype", "nesterov", "within", "tolerance"),
    [
        (torch.float64, True, None, 1e-12),
        (torch.float32, False, None, 1e-5),
        (torch.float32, True, torch.bfloat16, 2e-2),  # the default; batches of other sizes round in another order
    ],
)
def test_two_processes_take_the_steps_of_one(tmp_path, dtype, nesterov, within, tolerance):
    train(0, 1, tmp_path, dtype, nesterov, within)
    in_two_processes(train, tmp_path, dtype, nesterov, within)
    alone, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1_0", "2_0", "2_1"))
    for one, two, expected in zip(first, second, alone, strict=True):
        assert torch.equal(one, two)
        torch.testing.assert_close(one, expected, rtol=tolerance, atol=tolerance)


EXPONENTS = {
    "number": {"exponent": 0.5},
    "products": {"exponent": 0.25, "method": "products"},
    "tightness": {"exponent": "tightness", "exponent_range": (-0.5, 1.0)},
    "two directions": {"exponent": "two_directions"},
    "zero, number, one": {"exponent": lambda step: (0, 0.5, 1)[step % 3]},
}


def train_by_powers(rank, world, folder):
    """Each process has its share of the rows, and the sum of the gradients."""
    group = torch.distributed.group.WORLD if world > 1 else None
    powers, original = [], powers_module.schatten_power

    def counted(matrices, *arguments):
        powers.extend(matrices)
        return original(matrices, *arguments)

    powers_module.schatten_power = counted
    results = {}
    for name, options in EXPONENTS.items():
        torch.manual_seed(0)
        model = torch.nn.Sequential(*(torch.nn.Linear(*sizes) for sizes in ((8, 6), (6, 6), (6, 6), (6, 9)))).double()
        parameters = [layer.weight for layer in model]
        activations = ActivationMoments(model, parameters)
        settings = {"refresh_every": 2, "dtype": None, "process_group": group, "activations": activations}
        optimizer = SchattenMuon(parameters, **settings, **options)
        powers.clear()
        for _ in range(6):
            rows = torch.randn(12, 8, dtype=torch.float64)[rank::world]
            optimizer.zero_grad()
            ((model(rows) - 1).square().sum() / 12).backward()
            for parameter in parameters if world > 1 else []:
                torch.distributed.all_reduce(parameter.grad)
            optimizer.step()
        weights = [parameter.detach() for parameter in parameters]
        results[name] = {"weights": weights, "powers": len(powers), "exponents": optimizer.exponents()}
    torch.save(results, f"{folder}/{world}_{rank}.pt")
    powers_module.schatten_power = original


def test_two_processes_raise_to_the_powers_that_one_chooses_and_share_the_work(tmp_path):
    train_by_powers(0, 1, tmp_path)
    in_two_processes(train_by_powers, tmp_path)
    alone, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1_0", "2_0", "2_1"))
    for name in EXPONENTS:
        assert first[name]["exponents"] == second[name]["exponents"]
        # An exponent is as exact as the place of a maximum.
        tolerance = 1e-6 if name == "tightness" else 1e-10
        assert first[name]["exponents"] == pytest.approx(alone[name]["exponents"], abs=tolerance)
        for one, two, expected in zip(*(each[name]["weights"] for each in (first, second, alone)), strict=True):
            assert torch.equal(one, two)
            torch.testing.assert_close(one, expected, rtol=tolerance, atol=tolerance)
        shares = [each[name]["powers"] for each in (first, second)]
        assert sum(shares) == alone[name]["powers"]
        assert all(shares) or name == "two directions"
    assert len(set(alone["tightness"]["exponents"].values())) > 1


def differ(rank, world, folder):
    """As if each device rounded in its own way."""
    group = torch.distributed.group.WORLD if world > 1 else None
    torch.manual_seed(0)
    layer = torch.nn.Linear(5, 4)
    activations = ActivationMoments(layer, [layer.weight])
    results = []
    for exponent in ("tightness", "two_directions"):
        options = {"exponent": exponent, "refresh_every": 1, "momentum": 0.0, "process_group": group}
        optimizer = SchattenMuon([layer.weight], activations=activations, **options)
        layer(torch.randn(3, 5)).square().sum().backward()
        layer.weight.grad *= torch.rand(4, 5, generator=torch.Generator().manual_seed(rank))
        optimizer.step()
        results.append(optimizer.exponents())
    torch.save(results, f"{folder}/{rank}.pt")


def test_processes_choose_alike_whatever_their_devices_make_of_it(tmp_path):
    in_two_processes(differ, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert first == second
    assert all(each != {0: 0.0} for each in first)


def test_without_a_group_the_function_gets_everything():
    assert share_work(lambda *lists: lists, [1, 2], None, ["a", "b"]) == ([1, 2], ["a", "b"])


def test_a_group_of_one_process_changes_nothing(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        results = []
        for group in (None, torch.distributed.group.WORLD):
            generator = torch.Generator().manual_seed(0)
            parameters = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
            steps(TurboMuon(parameters, process_group=group), parameters, 3)
            results.append(parameters)
        for one, other in zip(*results, strict=True):
            assert torch.equal(one, other)
    finally:
        torch.distributed.destroy_process_group()


def step_unlike(rank, world, folder):
    """What one process has and the other hasn't, each an error in both."""
    group = torch.distributed.group.WORLD if world > 1 else None
    messages = {}
    cases = {
        "gradient": (SHAPES, (SHAPES[:4], SHAPES)[rank]),
        "shape": ((SHAPES, [(8, 8), (8, 16), (16, 8)])[rank], SHAPES),
        "count": ((SHAPES, SHAPES[:3])[rank], SHAPES),
        "none": (SHAPES, (SHAPES, [])[rank]),
    }
    for kind in (TurboMuon, SchattenMuon):
        for name, (shapes, with_gradient) in cases.items():
            parameters = [torch.nn.Parameter(torch.ones(shape)) for shape in shapes]
            optimizer = kind([(f"layer{i}", p) for i, p in enumerate(parameters)], process_group=group)
            for p, _ in zip(parameters, with_gradient, strict=False):
                p.grad = torch.eye(len(p), p[0].numel()).view(p.shape)
            with pytest.raises(ValueError, match="don't step alike") as error:
                optimizer.step()
            assert all(torch.equal(p, torch.ones_like(p)) for p in parameters)
            messages[kind.__name__, name] = str(error.value)
            for p in parameters:
                p.grad = torch.zeros_like(p)
            if name in ("gradient", "none"):
                optimizer.step()  # what the message says to do
    torch.save(messages, f"{folder}/{rank}.pt")


def test_processes_that_do_not_step_alike_are_told_and_wait_for_nothing(tmp_path):
    in_two_processes(step_unlike, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert first == second
    for kind in ("TurboMuon", "SchattenMuon"):
        assert "parameter 4 of group 0, 'layer4', (4, 3, 3, 3) torch.float32 without" in first[kind, "gradient"]
        assert "'layer4', (4, 3, 3, 3) torch.float32 with gradient" in first[kind, "gradient"]
        assert "'layer1', (8, 8) torch.float32 with gradient" in first[kind, "shape"]
        assert "'layer1', (8, 16)" in first[kind, "shape"]
        assert "'layer3', (8, 16) torch.float32 with" in first[kind, "count"]
        assert "no parameter" in first[kind, "count"]
        assert "'layer0', (8, 8) torch.float32 without gradient" in first[kind, "none"]


SHARDED = [(1, 6), (5, 4), (4, 5), (6, 1), (5, 3, 2, 2), (2, 8)]
SHARDED_OPTIONS = {
    "turbo_muon": lambda params, group: TurboMuon(params, dtype=None, weight_decay=0.1),
    "shared": lambda params, group: TurboMuon(params, dtype=None, process_group=group),
    "master_weights": lambda params, group: TurboMuon(params, dtype=None, master_weights=True),
    "number": lambda params, group: SchattenMuon(params, exponent=0.5, preconditioner="adam", bias_correction=True),
    "shared number": lambda params, group: SchattenMuon(params, exponent=0.5, process_group=group),
    "halves": lambda params, group: SchattenMuon([p for p in params if p.shape[0] % 2 == 0], exponent=0.25, split=2),
}


def step_sharded(rank, world, folder):
    """As FSDP2 shards: rows are dealt out, the first process has one more or, of a single row, all."""
    group = torch.distributed.group.WORLD if world > 1 else None
    mesh = init_device_mesh("cpu", (2,)) if world > 1 else None
    results = {}
    for name, make in SHARDED_OPTIONS.items():
        generator = torch.Generator().manual_seed(0)
        dtype = torch.bfloat16 if name == "master_weights" else torch.float64

        def placed(shape, generator=generator, dtype=dtype):
            values = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
            return values if mesh is None else distribute_tensor(values, mesh, [Shard(0)])

        parameters = [torch.nn.Parameter(placed(shape)) for shape in SHARDED]
        optimizer = make(parameters, group)
        for _ in range(3):
            for p in parameters:
                p.grad = placed(p.shape)
            optimizer.step()
        results[name] = [p.detach() if mesh is None else p.detach().full_tensor() for p in parameters]
        if mesh is not None:
            state = optimizer.state[optimizer.param_groups[0]["params"][0]]
            assert state["momentum_buffer"].placements == (Shard(0),)
            if name == "turbo_muon":
                parameters[0].grad = None if rank else parameters[0].grad
                with pytest.raises(
                    ValueError, match=r"don't step alike: parameter 0 of group 0 \(1, 6\) torch.float64"
                ):
                    optimizer.step()
    torch.save(results, f"{folder}/{world}_{rank}.pt")


def test_parameters_that_are_sharded_by_rows_take_the_steps_of_whole_ones(tmp_path):
    step_sharded(0, 1, tmp_path)
    in_two_processes(step_sharded, tmp_path)
    alone, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1_0", "2_0", "2_1"))
    for name in SHARDED_OPTIONS:
        for one, two, expected in zip(first[name], second[name], alone[name], strict=True):
            assert torch.equal(one, two)
            torch.testing.assert_close(one, expected, rtol=1e-10, atol=1e-10)

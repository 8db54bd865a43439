"""Processes that share the orthogonalisation take the steps of a single one."""

import datetime
import itertools
import os

import pytest
import torch
import torch.distributed
import torch.multiprocessing

from orthobench.optim import TurboMuon
from orthobench.optim.sharding import divide_work

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


def train(rank, world, folder, dtype, nesterov):
    group = None
    if world > 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        limit = datetime.timedelta(seconds=60)
        store = f"file://{folder}/store"
        torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world, timeout=limit)
        group = torch.distributed.group.WORLD
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in SHAPES]
    optimizer = TurboMuon(parameters, nesterov=nesterov, weight_decay=0.1, dtype=None, process_group=group)
    steps(optimizer, parameters, 5)
    torch.save([parameter.detach() for parameter in parameters], f"{folder}/{world}_{rank}.pt")
    if world > 1:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("dtype", "nesterov", "tolerance"), [(torch.float64, True, 1e-12), (torch.float32, False, 1e-5)]
)
def test_two_processes_take_the_steps_of_one(tmp_path, dtype, nesterov, tolerance):
    train(0, 1, tmp_path, dtype, nesterov)
    torch.multiprocessing.spawn(train, (2, str(tmp_path), dtype, nesterov), nprocs=2)
    alone, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1_0", "2_0", "2_1"))
    for one, two, expected in zip(first, second, alone, strict=True):
        assert torch.equal(one, two)
        torch.testing.assert_close(one, expected, rtol=tolerance, atol=tolerance)


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

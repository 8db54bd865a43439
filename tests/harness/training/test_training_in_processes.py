"""Two processes, each with its share of the batch and of the matrices, take the steps that one process takes."""

import pytest
import torch
import torch.distributed
from training_toys import CPU, make_task
from two_processes import in_two_processes

from orthobench.harness.training import Trainer
from orthobench.optim import TurboMuon


def train(rank, world, folder, batch_size, micro_batch_size):
    options = {"batch_size": batch_size, "micro_batch_size": micro_batch_size, "augment": shift}
    task = make_task(torch.float64, dropout=0.0, **options)
    model = task.make_model(1).double()
    group = torch.distributed.group.WORLD if world > 1 else None

    def optimizers(model):
        matrices = [model[0].weight, model[3].weight]
        rest = [each for each in model.parameters() if all(each is not matrix for matrix in matrices)]
        muon = TurboMuon(matrices, lr=0.05, dtype=None, process_group=group)
        return [muon, torch.optim.SGD(rest, lr=0.1, momentum=0.9)]

    trainer = Trainer(task, model, optimizers, 1, CPU)
    for _ in range(6):
        trainer.step()
    torch.save({"weights": model.state_dict(), "loss": trainer.take_losses()}, f"{folder}/{world}_{rank}.pt")


def shift(inputs, generator):
    return inputs + torch.rand(len(inputs), 1, generator=generator, dtype=inputs.dtype)


@pytest.mark.parametrize(("batch_size", "micro_batch_size"), [(12, None), (13, 4)])
def test_the_global_batch_does_not_depend_on_the_number_of_processes(tmp_path, batch_size, micro_batch_size):
    train(0, 1, tmp_path, batch_size, micro_batch_size)
    in_two_processes(train, tmp_path, batch_size, micro_batch_size)
    alone, *together = (torch.load(tmp_path / f"{name}.pt") for name in ("1_0", "2_0", "2_1"))
    for each in together:
        assert each["loss"] == pytest.approx(alone["loss"], rel=1e-6)
        for name, tensor in alone["weights"].items():
            torch.testing.assert_close(each["weights"][name], tensor, rtol=1e-12, atol=1e-12)

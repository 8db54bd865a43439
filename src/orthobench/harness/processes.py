"""Several processes that train one model, each on a share of every batch.

They are those that ``torchrun`` starts, or any for which all variables are set that torch's ``env://`` reads, as
submitit's ``TorchDistributedEnvironment().export()`` does for the tasks of a job.
"""

import os

import torch.distributed

RENDEZVOUS = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE")


def join_processes():
    """Meet the processes that were started along with this one; a process by itself stays alone."""
    if world_size() > 1 and process_group() is None:
        torch.distributed.init_process_group()


def process_group():
    """Return the group of all processes that train together, None where this one is alone."""
    return torch.distributed.group.WORLD if _is_initialised() else None


def world_size():
    """Return how many processes train together, whether or not they have met yet."""
    if _is_initialised():
        return torch.distributed.get_world_size()
    # Some clusters set WORLD_SIZE for every job; that alone leads nowhere.
    launched = torch.distributed.is_available() and all(os.environ.get(name) for name in RENDEZVOUS)
    return int(os.environ["WORLD_SIZE"]) if launched else 1


def rank():
    """Return the number of this process among those that have met; 0 where it is alone."""
    return torch.distributed.get_rank() if _is_initialised() else 0


def _is_initialised():
    return torch.distributed.is_available() and torch.distributed.is_initialized()

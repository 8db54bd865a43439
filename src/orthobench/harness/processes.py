"""Several processes that train one model, each on a share of every batch.

They are those that ``torchrun`` starts, or any for which all variables are set that torch's ``env://`` reads, as
submitit's ``TorchDistributedEnvironment().export()`` does for the tasks of a job. Each is a bench with a stand: the
benches meet once, over gloo, and for each cell the stands meet anew, over what their device takes.
"""

import atexit
import itertools
import os
import time
from datetime import timedelta

import torch.distributed

from .status import StandFailed, status_of

RENDEZVOUS = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE")
BENCHES = "benches"
MEETING_LIMIT = timedelta(minutes=10)
# After another process failed, so long may this one's stand go on before it is ended.
GRACE_S = 10.0

_cells = itertools.count()
_store = None


def join_processes(meeting=BENCHES, backend=None):
    """Meet the processes that were started along with this one; a process by itself stays alone.

    Parameters
    ----------
    meeting : str
        A name that all have in common, and no meeting before had.
    backend : str, optional
        By default what `torch.distributed` takes for the device.
    """
    if world_size() > 1 and process_group() is None:
        where = torch.distributed.PrefixStore(meeting, _common_store(host=meeting == BENCHES))
        number, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        torch.distributed.init_process_group(backend, store=where, rank=number, world_size=count)
        # Gloo's threads abort a process that ends while they hold a tensor (pytorch/pytorch#179291).
        atexit.register(leave_processes)


def leave_processes():
    """Part from the processes that were met, if there are any."""
    if process_group() is not None:
        torch.distributed.destroy_process_group()


def _common_store(host):
    """Return the way to what all processes can read: at torchrun's agent, or else at the bench of rank 0."""
    global _store
    if _store is None:
        agents = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        hosts = host and not agents and os.environ["RANK"] == "0"
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        _store = torch.distributed.TCPStore(
            address, port, is_master=hosts, timeout=MEETING_LIMIT, wait_for_workers=False
        )
    return _store


class Together:
    """One cell of several benches: a failure of one is a failure of all. Alone, it does nothing.

    Attributes
    ----------
    meeting : str or None
        Under which name the stands of this cell meet; None where there is one alone.
    """

    def __init__(self):
        self.meeting, self._failed_at = None, None
        if world_size() > 1:
            join_processes(backend="gloo")
            self.meeting = f"cell {next(_cells)}"

    def run(self, work):
        """Return ``work()``, once all benches have done theirs.

        Raises
        ------
        StandFailed
            If another one's failed.
        """
        return self.agreed(work, self.meeting)

    @staticmethod
    def agreed(work, meeting=None):
        """Do as :meth:`run`, before the cell has a meeting, too."""
        if world_size() == 1:
            return work()
        join_processes(backend="gloo")
        error = result = None
        try:
            result = work()
        except BaseException as failure:
            error = failure
            if meeting is not None:
                _common_store(host=True).set(f"{meeting}/failed", str(rank()))
        outcomes = [None] * world_size()
        torch.distributed.all_gather_object(outcomes, None if error is None else status_of(error))
        if error is not None:
            raise error
        for number, outcome in enumerate(outcomes):
            if outcome is not None:
                raise StandFailed(outcome[0], f"process {number} of {world_size()} failed: {outcome[1]}")
        return result

    def look(self):
        """Raise `StandFailed` if another process has failed some time ago: this one's stand may wait for it forever."""
        if self.meeting is None or not _common_store(host=True).check([f"{self.meeting}/failed"]):
            return
        self._failed_at = self._failed_at or time.monotonic()
        if time.monotonic() - self._failed_at > GRACE_S:
            raise StandFailed("error", "another process that trains the same model failed")


def shared(compute):
    """Return what ``compute()`` gives in the first of several benches, to all; alone, just that."""
    if world_size() == 1 or process_group() is None:
        return compute()
    found = [compute() if rank() == 0 else None]
    torch.distributed.broadcast_object_list(found, src=0)
    return found[0]


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

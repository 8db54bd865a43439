"""Two processes that meet over gloo, for tests of what processes do together."""

import datetime
import os
import sys

import torch.distributed
import torch.multiprocessing


def in_two_processes(function, folder, *arguments):
    """Call ``function(rank, 2, folder, *arguments)`` in two processes that have met; raise what either raises."""
    torch.multiprocessing.spawn(_call, (function, str(folder), arguments), nprocs=2)


def _call(rank, function, folder, arguments):
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=datetime.timedelta(minutes=10)
    )
    function(rank, 2, folder, *arguments)
    torch.distributed.destroy_process_group()
    # A mesh or a tensor may still hold the group. Its threads abort a process if they let go of a tensor while the
    # interpreter ends (pytorch/pytorch#179291), so that it must not end in the usual way.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)

"""Data parallel: processes that hold the same matrices share the work of orthogonalising them."""

import hashlib
from itertools import zip_longest

import torch
import torch.distributed


def share_work(function, matrices, process_group, *others):
    """Apply `function` to a list of matrices, each process to a share of them, and gather the results.

    Parameters
    ----------
    function : callable
        Takes a list of tensors, and a list for each of the others; returns new tensors of the same shapes and types.
    matrices : list of Tensor
        Equal in all processes of the group; of one type and device.
    process_group : torch.distributed.ProcessGroup or None
        None: this process works for itself, on all of them.
    *others : list
        What belongs to each matrix, in the same order; equal in all processes too.

    Returns
    -------
    list of Tensor
        All results, in order, in every process: equal to the last bit in all of them. They may share storage.
    """
    ranks = 1 if process_group is None else torch.distributed.get_world_size(process_group)
    if ranks == 1 or not matrices:
        return function(matrices, *others)
    shares = divide_work([tuple(matrix.shape) for matrix in matrices], ranks)
    mine = shares[torch.distributed.get_rank(process_group)]
    # One buffer for each process, as long as the longest share: all must send alike.
    length = max(sum(matrices[i].numel() for i in share) for share in shares)
    sent = matrices[0].new_zeros(length)
    if mine:
        results = function(*([each[i] for i in mine] for each in (matrices, *others)))
        torch.cat([result.flatten() for result in results], out=sent[: sum(result.numel() for result in results)])
    received = [torch.empty_like(sent) for _ in shares]
    # As bytes: not every backend knows every type.
    torch.distributed.all_gather(
        [each.view(torch.uint8) for each in received], sent.view(torch.uint8), group=process_group
    )
    gathered = [None] * len(matrices)
    for share, buffer in zip(shares, received, strict=True):
        sizes = [matrices[i].numel() for i in share]
        for i, piece in zip(share, buffer[: sum(sizes)].split(sizes) if share else (), strict=True):
            gathered[i] = piece.view(matrices[i].shape)
    return gathered


def divide_work(shapes, ranks):
    """Divide matrices among processes, so that the longest share is short.

    The most expensive first, each to the process with the least work so far (Graham's rule: at most a third longer than
    the best division). The cost is that of the products of an iteration, m^2 n for m <= n.

    Parameters
    ----------
    shapes : list of (int, int)
    ranks : int

    Returns
    -------
    list of list of int
        For each process the indices of its matrices, ascending, so that equal shapes stay batches.
    """
    costs = [min(shape) ** 2 * max(shape) for shape in shapes]
    shares, loads = [[] for _ in range(ranks)], [0] * ranks
    for i in sorted(range(len(shapes)), key=lambda i: (-costs[i], i)):
        rank = loads.index(min(loads))
        shares[rank].append(i)
        loads[rank] += costs[i]
    return [sorted(share) for share in shares]


def check_alike(described, process_group, device):
    """Raise ValueError, in every process, unless all are about to step the same parameters.

    Else a process would wait for ever for one that has no gradient for a matrix, or take a matrix for another. It
    costs a message of 8 bytes.

    Parameters
    ----------
    described : iterable of (str, str)
        The name of each parameter, and what must be the same of it.
    process_group : torch.distributed.ProcessGroup
    device : torch.device
        Where the backend of the group takes tensors.
    """
    ranks = torch.distributed.get_world_size(process_group)
    if ranks == 1:
        return
    described = list(described)
    digest = int.from_bytes(hashlib.blake2b(repr(described).encode(), digest_size=8).digest(), signed=True)
    mine = torch.tensor([digest], dtype=torch.int64, device=device)
    digests = [torch.empty_like(mine) for _ in range(ranks)]
    torch.distributed.all_gather(digests, mine, group=process_group)
    if len(set(torch.cat(digests).tolist())) == 1:
        return
    everyones = [None] * ranks
    torch.distributed.all_gather_object(everyones, described, group=process_group)
    for rank, theirs in enumerate(everyones):
        for first, other in zip_longest(everyones[0], theirs, fillvalue=("no parameter", "")):
            if first != other:
                raise ValueError(
                    f"the processes of process_group don't step alike: {' '.join(first)} in process 0, but "
                    f"{' '.join(other)} in process {rank}. All must have the same parameters in the same order, and "
                    "gradients for the same ones: where a layer wasn't used, set its gradient to zeros."
                )

"""A matrix among others that have its singular values: it is multiplied by random orthogonal matrices."""

import scipy.fft
import torch


class Turn:
    """Two random orthogonal matrices U (m, m) and V (n, n): G and U G V have the same singular values.

    Each is two cosine transforms with orders and signs between them. With orders and signs alone, the norms of rows and
    columns of G would be those of U G V.

    Parameters
    ----------
    shape : tuple of int
        (m, n).
    generator : torch.Generator
    """

    def __init__(self, shape, generator):
        self._sides = [_Mixing(size, generator) for size in shape]

    def of(self, matrix):
        """Return U G V (m, n), computed in float64 on the CPU, in the type of the tensor G (m, n)."""
        rows, columns = self._sides
        turned = columns.of(rows.of(matrix.double().numpy()).T).T
        return torch.from_numpy(turned).to(matrix.dtype)


class _Mixing:
    """A random orthogonal matrix Q of a size."""

    def __init__(self, size, generator):
        self._order = torch.randperm(size, generator=generator).numpy()
        self._signs = [2.0 * torch.randint(2, (size, 1), generator=generator).numpy() - 1 for _ in range(2)]

    def of(self, matrix):
        """Return Q times a float64 array."""
        mixed = matrix[self._order]
        for signs in self._signs:
            mixed = scipy.fft.dct(signs * mixed, axis=0, norm="ortho")
        return mixed


def difference(ones, others):
    """Return the distance of two lists of matrices in the Frobenius norm, divided by the norm of the second.

    Infinite where their shapes differ.
    """
    if [each.shape for each in ones] != [each.shape for each in others]:
        return float("inf")
    apart = sum(float((one.double() - other.double()).square().sum()) for one, other in zip(ones, others, strict=True))
    size = sum(float(other.double().square().sum()) for other in others)
    return (apart / size) ** 0.5 if size else apart**0.5

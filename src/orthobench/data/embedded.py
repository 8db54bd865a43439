"""Real data that comes with the dependencies: nothing is downloaded."""

import torch


def digits():
    """Handwritten digits of scikit-learn: 1797 grey images.

    Returns
    -------
    images : torch.Tensor
        (1797, 1, 8, 8), float32, in [0, 1].
    labels : torch.Tensor
        (1797,), int64, in 0..9.
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 1, 8, 8), torch.tensor(labels)


def python_manual():
    """Text of the topics that Python's `help()` knows, English prose and code; it varies with Python's version.

    Returns
    -------
    torch.Tensor
        (length,), uint8: the UTF-8 bytes of all topics in alphabetical order, about 450 000.
    """
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics))
    return torch.tensor(list(text.encode()), dtype=torch.uint8)

"""`benchopt test` imports this first: there, a failure must be raised, not contained as a row."""

import os

import pytest

from orthobench.harness import raise_failures

raise_failures()
# What is not on this machine is not downloaded for a test: `benchopt prepare benchmark_segmentation` does that.
os.environ.setdefault("ORTHOBENCH_OFFLINE", "1")


def check_test_dataset_get_data(dataset):
    """Skip the data sets that need files or a package first; tests/data tests their loaders on small files."""
    try:
        dataset.get_instance().task(0)
    except (ConnectionError, FileNotFoundError, ImportError) as error:
        pytest.skip(str(error))

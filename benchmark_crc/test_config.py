"""`benchopt test` imports this first: there, a failure must be raised, not contained as a row."""

import os

import pytest

from orthobench.harness import raise_failures

raise_failures()
# What is not on this machine is not downloaded for a test: `benchopt prepare benchmark_crc` does that.
os.environ.setdefault("ORTHOBENCH_OFFLINE", "1")


def check_test_dataset_get_data(dataset):
    """Skip the data sets whose files have to be downloaded, or given, first; tests try their loaders on small ones."""
    try:
        dataset.get_instance().task(0)
    except (ConnectionError, FileNotFoundError) as error:
        pytest.skip(str(error))

"""`benchopt test` imports this first: there, a failure must be raised, not contained as a row."""

import os

import pytest

from orthobench.harness import raise_failures

raise_failures()
# What is not on this machine is not downloaded for a test: `benchopt prepare benchmark_crc` does that.
os.environ.setdefault("ORTHOBENCH_OFFLINE", "1")


def check_test_dataset_get_data(dataset):
    """Skip what has to be downloaded, or given, first, and what trains a detector: that is tried at a small size."""
    small = {name: values[0] for name, values in getattr(dataset, "test_parameters", {}).items()}
    try:
        assert len(dataset.get_instance(**small).task(0).detections)
    except (ConnectionError, FileNotFoundError) as error:
        pytest.skip(str(error))
    if "train" in small:
        pytest.skip("its detector was trained on few scenes: a run trains it on all of them")

"""Digits, each beside a block that says nothing: an explanation that points there is wrong."""

from functools import partial

from orthobench.data import digit_blocks, null_block_mask
from orthobench.harness.lipschitz import NETWORK, RobustnessDataset


class Dataset(RobustnessDataset):
    """Scikit-learn's digits beside an empty block or a frame (after Shah, Jain and Netrapalli, 2021): 1,797 of 8x16."""

    name = "digit_blocks"
    parameters = {
        **NETWORK,
        "network": ["small"],
        "steps": [80],
        "batch_size": [64],
        "null": ["empty"],
        "explained": [200],
    }
    test_parameters = {"steps": [4], "width": [8], "explained": [20]}
    blocks = 4
    attack = {"steps": 10, "restarts": 2}
    pictures = True  # BSD

    def parts(self):
        return digit_blocks(self.null)

    @property
    def block(self):
        return partial(null_block_mask, null=self.null)

"""Adult: incomes of the census of 1994, a table."""

from orthobench.data import adult
from orthobench.harness.privacy import NETWORK, PrivacyDataset


class Dataset(PrivacyDataset):
    """48,842 people with 88 features, in two classes (Becker and Kohavi, 1996)."""

    name = "adult"
    parameters = {**NETWORK, "network": ["mlp-64-64"], "steps": [500], "batch_size": [2048]}
    classes = 2

    def parts(self):
        return adult(self.folder())

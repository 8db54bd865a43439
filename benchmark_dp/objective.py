"""How accurate is a privately trained network, at what cost?"""

from orthobench.harness.privacy import PrivacyObjective


class Objective(PrivacyObjective):
    """Private training at equal (epsilon, delta): by clipping gradients, or by a network whose gradients are bounded.

    A solver brings a mechanism and a learning rate; the network's shape, the data, Poisson batches, the number of
    steps, the noise for the given epsilon, the transcript and the evaluation are the harness's. The value is the
    held-out error. Epsilon is computed again from the transcript by two accountants, add or remove one; what an
    example adds to a step is tested, and with `audit=True` the run is audited with canaries. A claim that any of
    these disproves is `refuted`. What tuning costs in privacy is not charged.
    """

    name = "Private training"
    url = "https://github.com/orthobench/orthobench/tree/main/benchmark_dp"
    requirements = ["pip::torch", "pip::opacus", "pip::dp-accounting", "pip::scikit-learn", "pip::pooch", "pip::tqdm"]

    # Hyper-parameters are chosen on the part `tuning`, and reported on `held_out`.
    parameters = {"epsilon": [1, 2, 5, 10, "inf"], "part": ["held_out"], "audit": [False]}

    test_dataset_name = "digits"

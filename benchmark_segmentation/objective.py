"""How many pixels keep their class, whatever an attacker does?"""

from orthobench.harness.segmentation import SegmentationObjective


class Objective(SegmentationObjective):
    """Certified segmentation: how much of an image stays right within a radius (L2) of it.

    A solver names a kind of layer, a learning rate and a loss, and claims a Lipschitz constant for what it trained; or
    it names a noise level, and the network is certified by smoothing. The network around the layers, the data, the
    steps, certificates, attacks and evaluation are the harness's. The value is 1 - the mean over the classes of the
    share of their pixels that stay right under any attack of radius 36/255: a constant prediction has 1 - 1 / classes.
    Certificates are by the larger of the claim and the harness's own bound. A claim below a quotient that was measured,
    or whose certificates the attack breaks, is `refuted`.
    """

    name = "Segmentation"
    url = "https://github.com/orthobench/orthobench/tree/main/benchmark_segmentation"
    requirements = ["pip::torch", "pip::orthogonium", "pip::scikit-learn", "pip::scipy", "pip::pooch", "pip::tqdm"]

    # Hyper-parameters are chosen on the part `tuning`, and reported on `held_out`.
    parameters = {"part": ["held_out"]}

    test_dataset_name = "digit_scenes"

"""How accurate and how certifiably robust does a Lipschitz parametrisation make a network, and what explains it?"""

from orthobench.harness.lipschitz import LipschitzObjective


class Objective(LipschitzObjective):
    """Certified robustness: what a bound on the Lipschitz constant of a network buys.

    A solver names a kind of layer, a learning rate and a loss, and claims a Lipschitz constant for what it trained; the
    network around the layers, the data, their order, the steps and the evaluation are the harness's, the same for every
    solver. The value is 1 - the share of images that are classified right and certified within a radius (L2) of 36/255.
    With `task=one_class` one class, in turn for each repetition, is to be told from all others by what is learned of it
    alone, and the value is 1 - the certified AUROC at that radius. With `task=explanation` the network trained for
    classification is explained, on those of the first images that it classifies right, and the value is 1 - the
    muFidelity of its saliency maps. Certificates are by the larger of the claim and the harness's own bound. A claim
    below a quotient that it measured, or whose certificates its attack breaks, is `refuted`.
    """

    name = "Robustness"
    url = "https://github.com/orthobench/orthobench/tree/main/benchmark_lipschitz"
    requirements = ["pip::torch", "pip::orthogonium", "pip::scikit-learn", "pip::pooch", "pip::tqdm"]

    # Hyper-parameters are chosen on the part `tuning`, and reported on `held_out`.
    parameters = {"task": ["classification", "one_class", "explanation"], "part": ["held_out"]}

    test_dataset_name = "digits"

"""How small are conformal sets that keep their coverage under attack?"""

from orthobench.harness.conformal import ConformalObjective


class Objective(ConformalObjective):
    """Robust conformal prediction: sets of classes that hold the true one, whatever an attack does within a radius.

    A solver makes a predictor for a network of a family, and claims coverage of 1 - alpha within a radius (L2, of
    pixels), or on clean inputs alone; networks, splits, attacks and evaluation are the harness's, the same for every
    solver. The value is the mean size of the sets on clean inputs. Coverage is measured over many splits, clean and
    under attack; where it is lower than chance allows for what is claimed, the cell is `refuted`. Coverage under attack
    is an upper bound of that in the worst case.
    """

    name = "Coverage"
    url = "https://github.com/orthobench/orthobench/tree/main/benchmark_rcp"
    requirements = ["pip::torch", "pip::orthogonium", "pip::scikit-learn", "pip::scipy", "pip::pooch", "pip::tqdm"]
    parameters = {"alpha": [0.1, 0.05]}
    test_dataset_name = "digits"

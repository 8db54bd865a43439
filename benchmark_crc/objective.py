"""What does a guaranteed detection cost?"""

from orthobench.harness.detection import DetectionObjective


class Objective(DetectionObjective):
    """Detection whose risks are controlled: of too few boxes, of boxes in the wrong place, and of wrong classes.

    A solver brings a controller, which is calibrated on a part of a pool of images with a detector's boxes, and
    predicts the score that boxes need, margins around them and sets of classes. The harness makes the splits, the sets
    and the losses, and judges each risk that is claimed over all splits. The value is the volume of what is predicted,
    outer boxes times classes, over that of the true boxes: 1 is perfect. A claim that the splits disprove is `refuted`.
    """

    name = "Risk"
    url = "https://github.com/orthobench/orthobench/tree/main/benchmark_crc"
    requirements = ["pip::torch", "pip::scikit-learn", "pip::scipy", "pip::pooch", "pip::tqdm"]

    parameters = {
        "alphas": ["0.02/0.05/0.05"],
        "confidence": ["count_threshold"],
        "localisation": ["pixel_wise"],
        "match": ["mix"],
    }

    test_dataset_name = "simulated"

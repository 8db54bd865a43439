"""How fast does an optimizer train a network?"""

from orthobench.harness.training import TrainingObjective


class Objective(TrainingObjective):
    """Training networks: what orthogonalised updates buy.

    A solver brings optimizers; model, initial weights, data, order and size of the batches, number of steps, shape of
    the learning-rate schedule and evaluation are the harness's, the same for every solver. The value is the mean
    cross-entropy on the held-out `part`, in nats; time is that of the training steps alone. A target counts as reached
    at the first of two evaluations in a row at or below it. `autocast`: forward passes in bfloat16. `compile`: the
    model is compiled, before the clock starts; with "steps" optimizers that can be recorded step by CUDA graphs too.
    """

    name = "Training"
    url = "https://github.com/orthobench/orthobench/tree/main/benchmark_muon"
    requirements = ["pip::torch", "pip::scikit-learn", "pip::pooch", "pip::tqdm"]

    # Hyper-parameters are chosen on the part `tuning`, and reported on `held_out`.
    parameters = {"part": ["held_out"], "autocast": [False], "compile": [False]}

    test_dataset_name = "digits"

    def get_objective(self):
        return {"task": self.task, "autocast": self.autocast, "compile": self.compile}

    def evaluate(self, **result):
        figures = self.measure(self.part_of(self.task), **result)
        return {"value": figures["held_out_loss"], **figures}

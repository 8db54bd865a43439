"""Records its steps in a transcript of its own."""

from dataclasses import replace

from orthobench.harness.privacy import Clipping, PrivateSolver
from orthobench.privacy.transcript import Transcript


class Solver(PrivateSolver):
    name = "records_elsewhere"
    parameters = {"learning_rate": [5.0]}

    def mechanism(self, optimizer, model, plan):
        return Clipping(optimizer, model, replace(plan, transcript=Transcript()), clip_norm=0.1)

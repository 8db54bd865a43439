"""Plain SGD, as if it were private."""

from orthobench.harness.privacy import NonPrivate, PrivateSolver


class Pretends(NonPrivate):
    def __init__(self, optimizer, model, plan):
        super().__init__(optimizer, model, plan)
        self.plan = plan

    def step(self, inputs, targets):
        self.plan.transcript.record(self.plan.sampling_rate, (self.plan.noise_multiplier,))
        return super().step(inputs, targets)


class Solver(PrivateSolver):
    name = "not_private"
    parameters = {"learning_rate": [0.5]}

    def mechanism(self, optimizer, model, plan):
        return Pretends(optimizer, model, plan)

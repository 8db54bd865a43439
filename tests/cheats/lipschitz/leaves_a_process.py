"""Leaves a process behind that goes on."""

import subprocess
import sys

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    name = "leaves_a_process"
    parameters = {"learning_rate": [0.05], **LOSS}
    layer = "cayley"

    def lipschitz_constant(self, model, input_shape):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        return super().lipschitz_constant(model, input_shape)

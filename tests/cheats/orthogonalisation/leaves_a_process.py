"""Has another process work on, whom no clock sees."""

import os
import time

from orthobench.harness import DirectOrthogonaliser
from orthobench.linalg import polar_factor


class Solver(DirectOrthogonaliser):
    name = "leaves_a_process"

    def orthogonalise(self, matrices):
        if not os.fork():
            time.sleep(600)
            os._exit(0)
        return polar_factor(matrices)

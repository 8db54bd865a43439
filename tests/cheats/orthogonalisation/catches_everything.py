"""Goes on whatever happens."""

from orthobench.harness import DirectOrthogonaliser


class Solver(DirectOrthogonaliser):
    name = "catches_everything"

    def orthogonalise(self, matrices):
        while True:
            try:
                while True:
                    pass
            except BaseException:  # noqa: S112 - that is the cheat
                continue

"""The plots that every benchmark has, for its ``plots/``, where Benchopt looks for a class ``Plot``."""

from benchopt import BasePlot

from orthobench.report.benchmarks import BENCHMARKS, ROOT
from orthobench.report.page import metric_menu, options, remember
from orthobench.report.tables import claims_menu, claims_table, leaderboard_table


@remember
def _leaderboard(df, folder, dataset, objective, metric):
    names = options(df, "dataset_name")[dataset], options(df, "objective_name")[objective]
    return leaderboard_table(df, *names, metric, BENCHMARKS[folder].baseline)


@remember
def _claims(df, folder, claim):
    return claims_table(df, ROOT / folder / "claims.toml", claim)


def leaderboard(folder):
    """Return the plot of a benchmark's leaderboards: one row a solver with n, interval, difference and failures."""

    class Leaderboard(BasePlot):
        name = "leaderboard"
        type = "table"
        options = {
            "dataset": lambda df: list(options(df, "dataset_name")),
            "objective": lambda df: list(options(df, "objective_name")),
            "metric": lambda df: metric_menu(df, BENCHMARKS[folder].leaderboards),
        }

        def plot(self, df, dataset, objective, metric):
            return _leaderboard(df, folder, dataset, objective, metric)[0]

        def get_metadata(self, df, dataset, objective, metric):
            return dict(_leaderboard(df, folder, dataset, objective, metric)[1])

    return Leaderboard


def claims(folder):
    """Return the plot of a benchmark's claims: our figure, the verdict and where it fails, or one claim's checks."""

    class Claims(BasePlot):
        name = "claims"
        type = "table"
        options = {"claim": lambda df: claims_menu(ROOT / folder / "claims.toml")}

        def plot(self, df, claim):
            return _claims(df, folder, claim)[0]

        def get_metadata(self, df, claim):
            return dict(_claims(df, folder, claim)[1])

    return Claims

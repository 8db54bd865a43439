"""Published claims: our figure, the verdict, and where a claim fails; or the checks of one claim by data set."""

from pathlib import Path

from benchopt import BasePlot

from orthobench.report.page import remember
from orthobench.report.tables import claims_menu, claims_table

CLAIMS = Path(__file__).parents[1] / "claims.toml"


class Plot(BasePlot):
    name = "claims"
    type = "table"
    options = {"claim": lambda df: claims_menu(CLAIMS)}

    def plot(self, df, claim):
        return _table(df, claim)[0]

    def get_metadata(self, df, claim):
        return dict(_table(df, claim)[1])


@remember
def _table(df, claim):
    return claims_table(df, CLAIMS, claim)

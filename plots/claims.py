"""Published claims: our figure, the verdict, and where a claim fails; or the checks of one claim by data set."""

from pathlib import Path

from benchopt import BasePlot

from orthobench.report.claims import (
    CHECK_COLUMNS,
    COLUMNS,
    check_claims,
    format_check,
    format_verdict,
    load_claims,
    protocol,
)
from orthobench.report.page import remember, safe, table_cell, table_header

CLAIMS = Path(__file__).parents[1] / "claims.toml"
ALL = "all"


class Plot(BasePlot):
    name = "claims"
    type = "table"
    options = {"claim": lambda df: [ALL, *(claim.id for claim in _load()[0])]}

    def plot(self, df, claim):
        verdicts = _verdicts(df, claim)
        if claim == ALL:
            rows = map(format_verdict, verdicts)
        else:
            (verdict,) = verdicts
            rows = [format_check(check, verdict.claim.query) for check in verdict.checks or verdict.elsewhere]
        return [[table_cell(text) for text in row] for row in rows]

    def get_metadata(self, df, claim):
        lines, columns = [_load()[1] or "Published claims"], COLUMNS
        if claim != ALL:
            (verdict,) = _verdicts(df, claim)
            lines, columns = [verdict.claim.text, f"{verdict.verdict}: {verdict.reason}"], CHECK_COLUMNS
        return {
            "title": "\n".join(map(safe, [*lines, protocol()])),
            "columns": [table_header(name) for name in columns],
        }


@remember
def _verdicts(df, chosen):
    return check_claims(df, [claim for claim in _load()[0] if chosen in (ALL, claim.id)])


def _load():
    """Return the claims, or none and the reason: a mistake in their file must not cost the page of a long run."""
    try:
        return load_claims(CLAIMS), ""
    except (OSError, ValueError) as error:
        return [], f"error: {error}"

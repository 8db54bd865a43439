"""Published claims: our figure, the verdict, and where a claim fails; or the checks of one claim by data set."""

from orthobench.report.plots import claims

Plot = claims("benchmark_crc")

"""One row a solver with n, interval, difference to the baseline, time and failures."""

from orthobench.report.plots import leaderboard

Plot = leaderboard("benchmark_crc")

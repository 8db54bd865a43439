"""The commands around cells: `orthobench run`, which survives dead processes, `quick`, `doctor`, and plans."""

QUICK = "quick*.yml"  # in the folder configs/ of a benchmark: what `make run` runs

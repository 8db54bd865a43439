"""The commands around cells: `orthobench run`, which survives dead processes, and what a configuration plans."""

"""The commands around cells: `orthobench run`, which survives dead processes, `orthobench quick`, and plans."""

"""The options of ``orthobench run``, for which nothing else is imported."""

import argparse


def parser():
    """Return the parser of what `benchopt run` does not have."""
    parser = argparse.ArgumentParser(
        prog="orthobench run",
        usage="orthobench run [BENCHMARK] [options of `benchopt run`, see `benchopt run --help`] "
        "[--only-missing | --only-failed] [--dry-run] [--keep-going]",
        description="`benchopt run`, where a cell whose process dies ends as a row, results are written whole, and the "
        "exit code is 0 if no cell failed or was lost, 1 otherwise, 2 if the run could not start.",
        allow_abbrev=False,
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--only-missing", action="store_true", help="add the cells that the file of --output lacks")
    which.add_argument("--only-failed", action="store_true", help="run the cells again that failed in it")
    parser.add_argument("--dry-run", action="store_true", help="list the cells, and how long they may take")
    parser.add_argument("--keep-going", action="store_true", help="exit code 0 also where cells failed or were lost")
    return parser

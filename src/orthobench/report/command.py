"""``orthobench report``: leaderboards, claims, learning rates or failures of result files, in the terminal.

What it prints is made in `orthobench.report.reports`; here are its options, which need no pandas.
"""

import argparse

from orthobench.report import sources
from orthobench.report.benchmarks import BENCHMARKS
from orthobench.report.terminal import LEFT_OUT


def main(argv=None):
    """Print a report of each benchmark and folder of files, and say on stderr what is wrong.

    Returns
    -------
    int
        0; 1 if a file was wrong; 2 if an argument meant nothing, or what it asks for does not apply. Whatever can be
        reported is.
    """
    arguments = _parsed(argv)
    from orthobench.report.reports import print_reports  # and pandas: not before `--help` has ended

    return print_reports(arguments)


def _parsed(argv):
    known = BENCHMARKS.values()
    metrics = "; ".join(f"{each.folder}: {', '.join(each.reported)}" for each in known)
    baselines = "; ".join(f"{each.folder}: {each.baseline}" for each in known)
    parser = argparse.ArgumentParser(
        prog="orthobench report",
        description="Leaderboards of results in the terminal. Files of one benchmark and folder are one result, unless "
        "they have cells in common; different ones are reported one after the other. A file that is wrong is named at "
        "the end, and costs no other.",
        epilog=f"In a narrow terminal tables leave out columns, in this order: {'; '.join(LEFT_OUT)}. The end "
        "says which. Without a terminal lines are 80 columns wide, unless COLUMNS says otherwise. Exit code: 0; 1 if a "
        "file was wrong; 2 if an argument could not be used.",
    )
    parser.add_argument("named", nargs="*", metavar="WHAT", help=sources.MEANING)
    parser.add_argument("--wide", action="store_true", help="show all columns and whole names, however long the lines")
    parser.add_argument("--metric", help=f"by benchmark, the first is the default ({metrics})")
    parser.add_argument("--baseline", help=f"the solver to compare with (default, by benchmark: {baselines})")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--claims",
        nargs="?",
        const="",
        metavar="FILE",
        help="print instead whether the result reproduces the published claims of FILE (default: the benchmark's own)",
    )
    instead.add_argument(
        "--learning-rates",
        action="store_true",
        help="print instead the learning rates that the rows on the tuning part choose, and the lines that run them",
    )
    instead.add_argument(
        "--failures",
        action="store_true",
        help="print instead each cell that failed, what it said, and the command that runs it again",
    )
    arguments = parser.parse_args(argv)
    if arguments.claims and arguments.claims.endswith(sources.SUFFIX):  # `--claims RESULT`
        arguments.named, arguments.claims = [arguments.claims, *arguments.named], ""
    return arguments

"""Leaderboards and claims for the terminal: ``python -m orthobench.report FILE.parquet [--claims]``."""

import argparse
import sys
from pathlib import Path

import pandas as pd

from orthobench.report.cells import check_frame
from orthobench.report.claims import COLUMNS as CLAIM_COLUMNS
from orthobench.report.claims import check_claims, format_verdict, load_claims
from orthobench.report.claims import protocol as claims_protocol
from orthobench.report.leaderboard import BASELINE, COLUMNS, METRICS, format_row, leaderboard, protocol
from orthobench.report.page import one_line

_REMEDY = "Give a .parquet file that `benchopt run .` wrote; they are in the benchmark's outputs/ folder."


def read_frame(path):
    """Read a result file.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or if it is not a result of this suite; the message names the file and the remedy.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file. {_REMEDY}")
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a parquet file ({one_line(error)}). {_REMEDY}") from error
    try:
        check_frame(frame)
    except ValueError as error:
        raise ValueError(f"{path}: {error} {_REMEDY}") from error
    return frame


def render_leaderboard(frame, dataset, objective, metric="relative_error", baseline=BASELINE):
    """Return the leaderboard of one data set and objective as aligned text, the messages of failures below it."""
    rows = leaderboard(frame, dataset, objective, metric, baseline)
    table = [list(COLUMNS), *([one_line(cell) for cell in format_row(row)] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table]
    lines.insert(1, "  ".join("-" * width for width in widths))
    notes = [f"! {one_line(row.solver)}: {one_line(row.note)}" for row in rows if row.note]
    title = f"{one_line(objective)} | {one_line(dataset)}"
    return "\n".join([title, protocol(rows, metric, baseline), "", *lines, *notes])


def print_leaderboard(parquet_path, metric="relative_error", baseline=BASELINE):
    """Print one leaderboard a data set and objective.

    Raises
    ------
    FileNotFoundError, ValueError
        As for `read_frame` and `leaderboard`; the message starts with the file.
    """
    frame = read_frame(parquet_path)
    try:
        tables = [
            render_leaderboard(frame, dataset, objective, metric, baseline)
            for dataset, objective in frame[["dataset_name", "objective_name"]].drop_duplicates().to_numpy()
        ]
    except ValueError as error:
        raise ValueError(f"{parquet_path}: {error}") from error
    print("\n\n\n".join(tables) if tables else f"{parquet_path}: no rows.")


def render_claims(frame, claims):
    """Return the verdicts as text: one paragraph a claim, labelled as on the page."""
    paragraphs = [claims_protocol()]
    for verdict in check_claims(frame, claims):
        first, *others = map(one_line, format_verdict(verdict))
        lines = [f"  {label}: {text}" for label, text in zip(CLAIM_COLUMNS[1:], others, strict=True)]
        paragraphs.append("\n".join([f"{first.upper()}  {verdict.claim.id}", *lines]))
    return "\n\n".join(paragraphs)


def print_claims(parquet_path, claims_path):
    """Print the verdict of each claim.

    Raises
    ------
    FileNotFoundError, ValueError
        As for `read_frame`, `load_claims` and `check_claims`; the message starts with the file.
    """
    frame, claims = read_frame(parquet_path), load_claims(claims_path)
    try:
        print(render_claims(frame, claims))
    except ValueError as error:
        raise ValueError(f"{parquet_path}: {error}") from error


def main(argv=None):
    """Print the leaderboards of a result file, or its claims; return 0, or 2 with the reason on stderr."""
    parser = argparse.ArgumentParser(prog="python -m orthobench.report", description="Leaderboards of a result file.")
    parser.add_argument("file", help="a .parquet file that `benchopt run` wrote")
    parser.add_argument("--metric", default="relative_error", choices=list(METRICS))
    parser.add_argument("--baseline", default=BASELINE, help=f"the solver to compare with (default: {BASELINE})")
    parser.add_argument(
        "--claims",
        nargs="?",
        const="claims.toml",
        metavar="FILE",
        help="print instead whether the result reproduces the published claims of FILE (default: claims.toml)",
    )
    arguments = parser.parse_args(argv)
    try:
        if arguments.claims:
            print_claims(arguments.file, arguments.claims)
        else:
            print_leaderboard(arguments.file, arguments.metric, arguments.baseline)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0

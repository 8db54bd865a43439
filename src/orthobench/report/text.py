"""Leaderboards, claims and chosen learning rates for the terminal: ``python -m orthobench.report FILE.parquet ...``."""

import argparse
import sys
from pathlib import Path

import pandas as pd

from orthobench.report import history, stands, survival, sweep
from orthobench.report.benchmarks import BENCHMARKS, recognise
from orthobench.report.cells import check_frame
from orthobench.report.claims import COLUMNS as CLAIM_COLUMNS
from orthobench.report.claims import check_claims, format_verdict, load_claims, summary
from orthobench.report.claims import protocol as claims_protocol
from orthobench.report.claims_file import CONFIGURATION
from orthobench.report.leaderboard import COLUMNS, format_row, leaderboard, protocol
from orthobench.report.names import parameters
from orthobench.report.page import one_line
from orthobench.report.plausible import implausible
from orthobench.report.separable import separable

_REMEDY = "Give a .parquet file that `benchopt run` wrote; they are in the benchmark's outputs/ folder."


def read_frame(*paths):
    """Read one or more result files of one benchmark as one result; of published ones with their `history`.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or if it is not a result of this suite; the message names the file and the remedy.
        ValueError too if they are of several benchmarks.
    """
    frame = together([(Path(path).stem, history.beside(path).apply(*read_file(path))) for path in paths])
    try:
        recognise(frame)
    except ValueError as error:
        raise ValueError(f"{_named(paths)}: {error}") from error
    return frame


def together(named):
    """Return the rows of several files, each a name and a frame, as one frame.

    Failed rows are of the kind of stand of their files; the column `CONFIGURATION` says whose each is, if there are
    several.
    """
    if len(named) == 1:
        return stands.settled(named[0][1])
    frames = [stands.settled(frame).assign(**{CONFIGURATION: name}) for name, frame in named]
    return stands.settled(pd.concat(frames, ignore_index=True))


def _named(paths):
    return " and ".join(map(str, paths))


def read_file(path):
    """Read one result file, as it is: its rows, and the folder of their benchmark. Raises as `read_frame`.

    A file with figures that no run gives (see `implausible`) is none of this suite either.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file. {_REMEDY}")
    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # whatever its bytes make of the reader
        raise ValueError(f"{path}: not a parquet file ({one_line(error)}). {_REMEDY}") from error
    frame = frame.reset_index(drop=True)
    frame = frame.astype({name: object for name, kind in frame.dtypes.items() if kind == "category"})
    try:
        check_frame(frame)
        benchmark = recognise(frame)
        wrong = implausible(frame, benchmark)
    except ValueError as error:
        raise ValueError(f"{path}: {error} {_REMEDY}") from error
    if wrong:
        raise ValueError(f"{path}: {wrong[0]}{f' And {len(wrong) - 1} such problems more.' if wrong[1:] else ''}")
    return frame, benchmark.folder


def render_leaderboard(frame, dataset, objective, metric=None, baseline=None):
    """Return the leaderboard of one data set and objective as aligned text, the messages of failures below it.

    The metric and the baseline are those of the benchmark whose rows these are, unless others are given.
    """
    benchmark = recognise(frame)
    metric, baseline = metric or benchmark.metric_for(parameters(objective)), baseline or benchmark.baseline
    rows = leaderboard(frame, dataset, objective, metric, baseline)
    title = [f"{objective} | {dataset}", protocol(rows, metric, baseline, benchmark.range_of(metric))]
    return _render(title, COLUMNS, [format_row(row) for row in rows], [(row.solver, row.note) for row in rows])


def render_to_target(frame, dataset, objective, metric="steps_to_target"):
    """Return steps or time to the target, on one data set and objective, as aligned text."""
    rows = survival.to_target(frame, dataset, objective, metric)
    targets = survival.levels(frame, dataset, objective, "target")
    grid = survival.evaluation_grid(frame, dataset, objective)
    title = [f"{objective} | {dataset}", survival.protocol(rows, targets, metric, grid)]
    cells = [survival.format_row(row, metric) for row in rows]
    return _render(title, survival.COLUMNS, cells, [(row.solver, row.note) for row in rows])


def render_learning_rates(frame, objective):
    """Return the chosen learning rates of one objective on the tuning part, and the lines that a configuration takes.

    Raises
    ------
    ValueError
        As for `sweep.sweep`.
    """
    methods = sweep.sweep(frame, objective)
    cells = [sweep.format_method(method, methods) for method in methods]
    notes = [(method.name, method.note) for method in methods]
    quantity = recognise(frame).tuned_by
    table = _render([objective, sweep.protocol(methods, quantity)], sweep.columns(methods, quantity), cells, notes)
    return "\n".join([table, "", *sweep.solver_lines(methods)])


def _render(title, columns, cells, notes):
    """Return a title and an aligned table, and below it the notes: a name and a text each."""
    title = list(map(one_line, title))
    if not cells:
        return "\n".join(title)
    table = [list(columns), *([one_line(text) for text in row] for row in cells)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*title, "", *lines, *(f"! {one_line(name)}: {one_line(note)}" for name, note in notes if note)])


def _sections(frame, dataset, objective, metric, baseline):
    """Return what is printed of one data set and objective."""
    benchmark, now = recognise(frame), history.current(frame)
    if metric in benchmark.to_target:
        return [render_to_target(now, dataset, objective, metric)]
    sections = [render_leaderboard(frame, dataset, objective, metric, baseline)]
    if benchmark.to_target:
        if metric in (None, benchmark.metric):
            sections.append(render_to_target(now, dataset, objective))
        sections.append("\n".join(map(one_line, separable(now, dataset, objective, metric or benchmark.metric))))
    return sections


def print_leaderboard(*parquet_paths, metric=None, baseline=None):
    """Print one leaderboard a data set and objective; of training also the steps to the target, and which gaps count.

    Raises
    ------
    FileNotFoundError, ValueError
        As for `read_frame` and `leaderboard`; the message starts with the file.
    """
    frame = read_frame(*parquet_paths)
    try:
        texts = [
            "\n\n".join(_sections(frame, dataset, objective, metric, baseline))
            for dataset, objective in frame[["dataset_name", "objective_name"]].drop_duplicates().to_numpy()
        ]
    except ValueError as error:
        raise ValueError(f"{_named(parquet_paths)}: {error}") from error
    print("\n\n\n".join(texts) if texts else f"{_named(parquet_paths)}: no rows.")


def print_learning_rates(*parquet_paths):
    """Print the learning rates that the rows on the tuning part choose, one table an objective.

    Raises
    ------
    FileNotFoundError, ValueError
        As for `read_frame` and `sweep.sweep`; the message starts with the file.
    """
    frame = history.current(read_frame(*parquet_paths))
    try:
        # Without an objective on the tuning part, the first one says what is missing.
        objectives = sweep.tuning_objectives(frame) or list(frame["objective_name"].unique()[:1])
        texts = [render_learning_rates(frame, objective) for objective in objectives]
    except ValueError as error:
        raise ValueError(f"{_named(parquet_paths)}: {error}") from error
    print("\n\n\n".join(texts) if texts else f"{_named(parquet_paths)}: no rows.")


def render_claims(frame, claims):
    """Return the verdicts as text: one paragraph a claim, labelled as on the page."""
    verdicts = check_claims(frame, claims)
    paragraphs = [stands.noted(claims_protocol(claims), [each.stand for each in verdicts]), summary(verdicts)]
    for verdict in verdicts:
        first, *others = map(one_line, format_verdict(verdict))
        lines = [f"  {label}: {text}" for label, text in zip(CLAIM_COLUMNS[1:], others, strict=True)]
        paragraphs.append("\n".join([f"{first.upper()}  {verdict.claim.id}", *lines]))
    return "\n\n".join(paragraphs)


def print_claims(*parquet_paths, claims_path=None):
    """Print the verdict of each claim.

    Parameters
    ----------
    claims_path : str or Path, optional
        The claims; by default those of the benchmark whose rows these are, see `find_claims`.

    Raises
    ------
    FileNotFoundError, ValueError
        As for `read_frame`, `load_claims` and `check_claims`; the message starts with the file.
    """
    frame = read_frame(*parquet_paths)
    claims = load_claims(claims_path or find_claims(parquet_paths[0], recognise(frame)))
    try:
        print(render_claims(frame, claims))
    except ValueError as error:
        raise ValueError(f"{_named(parquet_paths)}: {error}") from error


def find_claims(parquet_path, benchmark):
    """Return the path of a benchmark's ``claims.toml``.

    It is looked for in each folder above the result file, then in the current one, as that of the repository.
    """
    name = Path(benchmark.folder, "claims.toml")
    folders = [*Path(parquet_path).resolve().parents, Path()]
    return next((folder / name for folder in folders if (folder / name).is_file()), name)


def main(argv=None):
    """Print leaderboards, claims or learning rates; return 0, 1 if some files can't be read, or 2 with the reason."""
    known = BENCHMARKS.values()
    metrics = "; ".join(f"{each.folder}: {', '.join(each.leaderboards + each.to_target)}" for each in known)
    baselines = "; ".join(f"{each.folder}: {each.baseline}" for each in known)
    parser = argparse.ArgumentParser(prog="python -m orthobench.report", description="Leaderboards of a result.")
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="a .parquet file that `benchopt run` wrote; several of one benchmark are read as one result",
    )
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
    arguments = parser.parse_args(argv)
    files = _readable(arguments.files) if len(arguments.files) > 1 else arguments.files
    if not files:
        return 2
    try:
        if arguments.claims is not None:
            print_claims(*files, claims_path=arguments.claims or None)
        elif arguments.learning_rates:
            print_learning_rates(*files)
        else:
            print_leaderboard(*files, metric=arguments.metric, baseline=arguments.baseline)
    except (OSError, ValueError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    return 0 if len(files) == len(arguments.files) else 1


def _readable(paths):
    """Return those of several files that are results; the others are named on stderr and cost nothing else."""
    found = []
    for path in paths:
        try:
            read_file(path)
        except (OSError, ValueError) as error:
            print(f"error: {one_line(error)}", file=sys.stderr)
        else:
            found.append(path)
    return found

"""Result files as rows, and these as text: leaderboards, claims, chosen learning rates, and what failed."""

from pathlib import Path

import pandas as pd

from orthobench.report import history, stands, survival, sweep
from orthobench.report.benchmarks import recognise
from orthobench.report.cells import check_frame
from orthobench.report.claims import COLUMNS as CLAIM_COLUMNS
from orthobench.report.claims import by_claim, check_claims, disagreement, format_verdict, summary
from orthobench.report.claims import protocol as claims_protocol
from orthobench.report.claims_file import CONFIGURATION
from orthobench.report.leaderboard import COLUMNS, format_mean, format_row, format_seeds, leaderboard, protocol
from orthobench.report.names import parameters, short_solvers
from orthobench.report.page import one_line
from orthobench.report.plausible import implausible
from orthobench.report.separable import separable
from orthobench.report.statistics import MIN_SEEDS
from orthobench.report.terminal import LEFT_OUT, Screen

MEAN = "mean ± half-width"

_RETRY = " | retry: "  # in a message of the harness, before the command that runs the cell again
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
    several; a row of a cell that is run again has that of the superseded one.
    """
    if len(named) == 1:
        return stands.settled(named[0][1])
    frames = [stands.settled(frame).assign(**{CONFIGURATION: name}) for name, frame in named]
    return history.in_place(stands.settled(pd.concat(frames, ignore_index=True)), CONFIGURATION)


def _named(paths):
    return " and ".join(map(str, paths))


def read_file(path):
    """Read one result file, as it is: its rows, and the folder of their benchmark. Raises as `read_frame`.

    A file with figures that no run gives (see `implausible`) is none of this suite either.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder, not a file. {_REMEDY}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file. {_REMEDY}")
    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # whatever its bytes make of the reader
        raise ValueError(f"{path}: not a parquet file ({one_line(error)}). {_REMEDY}") from error
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise ValueError(f"{path}: not a result file of OrthoBench: it has two columns {one_line(twice[0])}. {_REMEDY}")
    frame = frame.reset_index(drop=True)
    frame = frame.astype({name: object for name, kind in frame.dtypes.items() if kind == "category"})
    try:
        check_frame(frame)
        benchmark = recognise(frame)
        wrong = implausible(frame, benchmark)
        for name in () if wrong else frame["objective_name"].unique():
            benchmark.check_objective(parameters(name))
    except ValueError as error:
        raise ValueError(f"{path}: {error} {_REMEDY}") from error
    if wrong:
        raise ValueError(f"{path}: {wrong[0]}{f' And {len(wrong) - 1} such problems more.' if wrong[1:] else ''}")
    return frame, benchmark.folder


def render_leaderboard(frame, dataset, objective, metric=None, baseline=None, screen=None):
    """Return the leaderboard of one data set and objective as aligned text, the messages of failures below it.

    The metric and the baseline are those of the benchmark whose rows these are, unless others are given.
    """
    metric, baseline = _chosen(frame, objective, metric, baseline)
    rows = leaderboard(frame, dataset, objective, metric, baseline)
    return _leaderboard(
        rows, dataset, objective, metric, baseline, recognise(frame).range_of(metric), screen or Screen()
    )


def _chosen(frame, objective, metric, baseline):
    benchmark = recognise(frame)
    return metric or benchmark.metric_for(parameters(objective)), baseline or benchmark.baseline


def _leaderboard(rows, dataset, objective, metric, baseline, within, screen):
    told = protocol(rows, metric, baseline, within)
    title = [*screen.paragraph(f"{objective} | {dataset}", "  "), *screen.rules(told)]
    columns = [MEAN if name == "mean" else name for name in COLUMNS]
    notes = [(row.solver, row.note) for row in rows]
    text = _render(title, columns, [_cells(row) for row in rows], notes, screen)
    few = [row for row in rows if _is_tied_by_few(row)]
    if few:
        names = short_solvers([row.solver for row in rows])
        whose = "" if all(row in few for row in rows if row.n) else f" of {', '.join(names[row.solver] for row in few)}"
        told = f"{format_seeds(row.n for row in few)}{whose} is too small to rank: {MIN_SEEDS} repetitions are needed."
        text = "\n".join([text, *screen.once(told)])
    return text


def _is_tied_by_few(row):
    """Whether a row's rank is a range because of its few repetitions."""
    return 0 < row.n < MIN_SEEDS and "-" in row.rank and row.rank[0].isdigit()


def _cells(row):
    """Return the cells of a row; what few repetitions can't tell is not in each of them, but said below the table."""
    rank, name, _, interval, difference, *others = format_row(row)
    if _is_tied_by_few(row):
        rank = "-†" if rank.endswith("†") else "-"
        difference = difference.removesuffix(", p = n/a").removesuffix(" on one seed")
    return [rank, name, format_mean(row), interval, difference, *others]


def render_to_target(frame, dataset, objective, metric="steps_to_target", screen=None):
    """Return steps or time to the target, on one data set and objective, as aligned text."""
    screen = screen or Screen()
    rows = survival.to_target(frame, dataset, objective, metric)
    targets = survival.levels(frame, dataset, objective, "target")
    told = survival.protocol(rows, targets, metric, survival.evaluation_grid(frame, dataset, objective))
    title = [*screen.paragraph(f"{objective} | {dataset}", "  "), *screen.rules(told)]
    cells = [survival.format_row(row, metric) for row in rows]
    return _render(title, survival.COLUMNS, cells, [(row.solver, row.note) for row in rows], screen)


def render_learning_rates(frame, objective, screen=None):
    """Return the chosen learning rates of one objective on the tuning part, and the lines that a configuration takes.

    Raises
    ------
    ValueError
        As for `sweep.sweep`.
    """
    screen = screen or Screen()
    methods = sweep.sweep(frame, objective)
    quantity = recognise(frame).tuned_by
    columns = sweep.columns(methods, quantity)
    cells = [sweep.format_method(method, methods) for method in methods]
    notes = [(method.name, method.note) for method in methods]
    title = [*screen.paragraph(objective, "  "), *screen.rules(sweep.protocol(methods, quantity))]
    losses = columns[:2:-1]  # after the flags, the last one first
    table = _render(title, columns, cells, notes, screen, order=losses)
    if "flags" in screen.left_out:
        del screen.left_out["flags"]
        flags = [(method.name, flag) for method in methods for flag in method.flags]
        table = "\n".join([table, *_notes(flags, screen, short_solvers([method.name for method in methods]))])
    return "\n".join([table, *screen.note(), "", *sweep.solver_lines(methods)])


def failures(frame):
    """Return the rows of failures; superseded ones are none, whose cells may have been run again."""
    now = history.current(frame)
    return now[now["objective_status"] != "ok"]


def render_failures(frame, screen):
    """Return each cell that failed, what it said, and the command that runs it again, where it names one."""
    failed = failures(frame)
    failed = failed.assign(objective_message=failed["objective_message"].astype(object).fillna(""))
    place = ["objective_name", "dataset_name", "solver_name", "objective_status", "idx_rep", "objective_message"]
    blocks = []
    for (objective, dataset, solver, status, seed, message), _ in failed.groupby(place, sort=False):
        what, _, again = one_line(message).partition(_RETRY)
        told = f"! {status.replace('_', ' ')}: {solver}, repetition {seed}, on {dataset}, {objective}"
        lines = [*screen.paragraph(told, "  "), *(screen.paragraph(what, "  ", "  ") if what else ())]
        blocks.append("\n".join(filter(None, [*lines, again])))
    return "\n\n".join(blocks) or "no cell failed"


def _render(title, columns, cells, notes, screen, order=()):
    """Return a title and an aligned table, and below it the notes: a name and a text each."""
    if not cells:
        return "\n".join(title)
    named = next(place for place, name in enumerate(columns) if name in ("solver", "method"))
    whole = [stands.unmarked(row[named]) for row in cells]
    names = short_solvers([name for name, _ in whole])
    short = [stands.marked(names[name], kind) for name, kind in whole]
    table = screen.table(columns, cells, (*LEFT_OUT, *order), named, short)
    return "\n".join([*title, "", *table, *_notes(notes, screen, names)])


def _notes(notes, screen, names):
    """Return notes as lines that fit, each once: what several have in common under all their names."""
    by_text = {}
    for name, note in notes:
        if note:
            told = names.get(name, name) if screen.width and not screen.wide else name
            by_text.setdefault(one_line(note).partition(_RETRY)[0], []).append(told)
    return [line for note, own in by_text.items() for line in screen.once(f"! {', '.join(dict.fromkeys(own))}: {note}")]


def leaderboards(frame, metric, baseline, screen):
    """Return one leaderboard a data set and objective; of training also the steps to the target, and which gaps count.

    Raises
    ------
    ValueError
        As for `leaderboard` and `to_target`.
    """
    pairs = frame[["dataset_name", "objective_name"]].drop_duplicates().to_numpy()
    return "\n\n\n".join("\n\n".join(_sections(frame, *pair, metric, baseline, screen)) for pair in pairs)


def _sections(frame, dataset, objective, metric, baseline, screen):
    """Return what is told of one data set and objective."""
    benchmark, now = recognise(frame), history.current(frame)
    if metric in benchmark.to_target:
        return [render_to_target(now, dataset, objective, metric, screen)]
    shown, baseline = _chosen(frame, objective, metric, baseline)
    rows = leaderboard(frame, dataset, objective, shown, baseline)
    sections = [_leaderboard(rows, dataset, objective, shown, baseline, benchmark.range_of(shown), screen)]
    if benchmark.to_target:
        if metric in (None, benchmark.metric) and survival.has_target(now, dataset, objective):
            sections.append(render_to_target(now, dataset, objective, screen=screen))
        if any(row.n >= MIN_SEEDS for row in rows):  # else it is said below the table that there is nothing to tell
            lines = separable(now, dataset, objective, metric or benchmark.metric)
            sections.append("\n".join(each for line in lines for each in screen.paragraph(line, "  ")))
    return sections


def learning_rates(frame, screen):
    """Return the learning rates that the rows on the tuning part choose, one table an objective.

    Raises
    ------
    ValueError
        As for `sweep.sweep`.
    """
    frame = history.current(frame)
    objectives = sweep.tuning_objectives(frame)
    return "\n\n\n".join(render_learning_rates(frame, objective, screen) for objective in objectives)


def render_claims(frames, claims, screen=None):
    """Return the verdicts as text: one paragraph a claim, labelled as on the page.

    Parameters
    ----------
    frames : pandas.DataFrame or dict
        The rows, or those of each machine by its name. A claim has one verdict for all of them, see `claims.standing`;
        those of other machines are below it.
    claims : list of Claim
    screen : Screen, optional
    """
    screen = screen or Screen()
    machines = frames if isinstance(frames, dict) else {"": frames}
    judged = [(each, machine) for machine, frame in machines.items() for each in check_claims(frame, claims)]
    places = {id(each): stands.marked(machine, each.stand).strip() for each, machine in judged}
    verdicts = by_claim([each for each, _ in judged])
    told = stands.noted(claims_protocol(claims), [each.stand for each, _ in judged])
    paragraphs = [screen.paragraph(told), screen.paragraph(summary([first for first, _ in verdicts]))]
    for verdict, others in verdicts:
        first, *cells = map(one_line, format_verdict(verdict))
        lines = screen.paragraph(verdict.claim.id, "  ", f"{first.upper()}  ")
        told = [f"{label}: {text}" for label, text in zip(CLAIM_COLUMNS[1:], cells, strict=True)]
        if places[id(verdict)]:
            told.append(f"of the rows of: {places[id(verdict)]}")
        for each in others:
            label, *_, figure, reason = format_verdict(each)
            told.append(f"on {places[id(each)]}: {label}: {figure}; {reason}")
        apart = disagreement([(each, places[id(each)]) for each in (verdict, *others)])
        told += [f"disagreement: {apart}"] if apart else []
        for each in told:
            lines += screen.paragraph(each, "    ", "  ")
        paragraphs.append(lines)
    return "\n\n".join("\n".join(lines) for lines in paragraphs)

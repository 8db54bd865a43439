"""A solver's page: what it is, when to use it, how, where it comes from, and all its figures."""

import inspect
import shlex

import pandas as pd

from orthobench.report import history, stands
from orthobench.report.benchmarks import METRICS
from orthobench.report.leaderboard import format_row
from orthobench.report.methods_file import of_id, solver_id
from orthobench.report.names import family, parameters, short_solvers
from orthobench.report.page import one_line
from orthobench.report.site import advice, compare, glossary, rows, versus
from orthobench.report.site.dispute import dispute
from orthobench.report.site.tables import Table, Td, number
from orthobench.report.site.verdicts import address

COLUMNS = ("variant", "data set", "metric", "rank", "mean", "95 % interval", "n", "failures", "difference, interval, p",
           "machine")  # fmt: skip
FILTERS = ("machine", "data set", "metric")
_PARAMETER = "p_solver_"


def solver_pages(site, name, machines):
    """Yield (path, title, template, context) of the page of each family of solvers of a benchmark."""
    for own, page in site.solver_slugs[name].items():
        frames = [machine.result.frame for machine in machines]
        frame = pd.concat([each[each["solver_name"].map(family) == own] for each in frames], ignore_index=True)
        benchmark, compared = machines[0].result.benchmark, advice.against(machines, own)
        first, _, rest = _description(history.standing(frame)).partition("\n\n")
        known = solver_id(benchmark.folder, own)
        about = [each for each in site.judged_of(machines) if each.is_about(own)]
        context = {
            "name": name,
            "heading": machines[0].result.title,
            "solver": own,
            "description": first,
            "more": rest,
            "against": compared,
            "counted": advice.counted(compared),
            "advice": advice.advise(
                compared, about, f"{name}/index.html", advice.superseded_reasons(frame), site.methods.reference(known)
            ),
            "picture": _picture(name, page, compared),
            "snippet": site.methods.snippet_of(known),
            "command_line": _command(benchmark, machines, own),
            "publications": site.methods.publications_of(known),
            "elsewhere": _elsewhere(site, known),
            "dispute": _dispute(site, machines, compared),
            "earlier": history.earlier_names(frame),
            "code": _code(site, machines[0].result.benchmark, frame),
            "references": _references(about),
            "variants": _variants(own, frame),
            "results": _results(site, machines, own),
            "downloads": machines,
            "stands": stands.sentence(stands.kinds(frame)),
            "words": _words(machines),
            "compare": _compare(name, machines, own),
        }
        yield f"{name}/solvers/{page}.html", f"{own} | {machines[0].result.title}: OrthoBench", "solver", context


def _compare(name, machines, own):
    """Return where a family is compared with the baseline; None if it has no final figure."""
    solvers = {row.solver for _, board in compare.final_boards(machines) for row in board.rows[board.first]}
    if own not in map(family, solvers):
        return None
    return "../../" + compare.address(name, own, machines[0].result.benchmark.baseline)


def publications(site):
    """List all publications, each with its methods and with the claims in it that are judged here.

    Methods are (benchmark, solver, path), the path None without a page; claims are (text, path).
    """
    pages, found = _pages(site), []
    for each in site.methods.publications:
        methods = [pages.get(solver, (*of_id(solver), None)) for solver in each.solvers]
        judged = [
            (one.verdict.claim.text, f"{site.page_of(one.benchmark)}#{one.anchor}")
            for one in site.judged
            if address(one.verdict.claim).rstrip("/") == each.address.rstrip("/") and site.page_of(one.benchmark)
        ]
        found.append((each, methods, list(dict(judged).items())))
    return found


def _pages(site):
    """Map solvers, as ``methods.toml`` calls them, to what their pages are called and where they are."""
    found = {}
    for name, machines in site.benchmarks.items():
        folder, title = machines[0].result.benchmark.folder, machines[0].result.title
        for own, page in site.solver_slugs[name].items():
            found[solver_id(folder, own)] = title, own, f"{name}/solvers/{page}.html"
    return found


def pictures(site):
    """Return the pictures of solvers' pages, by path."""
    found = {}
    for name, machines in site.benchmarks.items():
        for own, page in site.solver_slugs[name].items():
            compared = advice.against(machines, own)
            if versus.shown(compared):
                look = site.get_style(compared.compared[0].row.solver)["color"]
                found[f"assets/{name}/{page}.svg"] = versus.draw(compared, look)
    return found


def _picture(name, page, compared):
    """Return the picture's path, what it shows in words, and its caption; None without one."""
    if not versus.shown(compared):
        return None
    return f"assets/{name}/{page}.svg", versus.alternative(compared), versus.caption(compared)


def _command(benchmark, machines, own):
    """Return the command that runs a family of solvers beside the baseline, on the data set that is shown first."""
    dataset = family(machines[0].boards[0].setting.dataset)
    solvers = [own] if family(benchmark.baseline) == own else [own, benchmark.baseline]
    words = ["benchopt", "run", benchmark.folder, "-d", dataset, *(word for each in solvers for word in ("-s", each))]
    return " ".join(shlex.quote(one_line(word)) for word in words)


def _elsewhere(site, known):
    """List where a solver's method has pages besides: (benchmark, solver, path, what says that it is the same)."""
    pages = _pages(site)
    return [(*pages[other], how) for other, how in site.methods.elsewhere(known, pages).items()]


def _dispute(site, machines, compared):
    """Return the address of an issue about the figure that is said first, and of which data set; None without."""
    shown = [*compared.of(advice.BETTER, advice.WORSE), *compared.compared]
    if not shown:
        return None
    machine, setting, row = shown[0].machine, shown[0].board.setting, shown[0].row
    frame = machine.result.rows(setting)
    frame = frame[frame["solver_name"] == row.solver]
    return dispute(site, machine, setting, frame, row, shown[0].metric), shown[0].label


def _description(frame):
    if "solver_description" not in frame:
        return ""
    told = frame["solver_description"].dropna().astype(str)
    return inspect.cleandoc(told.iloc[-1]) if len(told) else ""


def _code(site, benchmark, frame):
    """List the solver's files at the commits that its rows are of: (file, commit, address)."""
    if "file_solver" not in frame or f"{rows.ENV}commit" not in frame:
        return []
    pairs = frame[["file_solver", f"{rows.ENV}commit"]].dropna().drop_duplicates()
    return [
        (one_line(file), one_line(commit)[:12], site.documents.code(benchmark.folder, file, commit))
        for file, commit in pairs.itertuples(index=False, name=None)
    ]


def _references(judged):
    """List the publications of claims: (paper, address), each once."""
    return list(dict.fromkeys((each.verdict.claim.paper, address(each.verdict.claim)) for each in judged))


def _words(machines):
    """Return what explains the words of a solver's page."""
    metrics = list(dict.fromkeys(metric for each in machines for board in each.boards for metric in board.rows))
    own = glossary.metrics(machines[0].result.benchmark, metrics)
    return {glossary.TABLE: glossary.terms(COLUMNS), glossary.METRIC: own}


def _variants(own, frame):
    """Return the hyper-parameters of each variant as a `Table`; None if the solver has none."""
    columns = [name for name in frame if name.startswith(_PARAMETER) and frame[name].notna().any()]
    if not columns:
        return None
    table = frame[["solver_name", *columns]].drop_duplicates("solver_name")
    names = short_solvers(list(table["solver_name"]))
    cells = tuple(
        (Td(names[solver]), *(_value(each) for each in values))
        for solver, *values in table.itertuples(index=False, name=None)
    )
    header = ("solver", *(name.removeprefix(_PARAMETER) for name in columns))
    return Table("variants", f"Hyper-parameters of {own}, as run", header, cells)


def _value(value):
    if value is None or value != value:
        return Td("")
    if isinstance(value, float):
        return number(f"{value:g}", value)
    return Td(one_line(value))


def _results(site, machines, own):
    """Return all figures of a family of solvers as a `Table`."""
    cells = []
    for machine in machines:
        names = short_solvers(machine.solvers)
        for board in machine.boards:
            for metric, found in board.rows.items():
                compared = compare.href(site, machine, board, metric, "../../")
                for place, row in enumerate(found):
                    if family(row.solver) == own:
                        cells.append(_row(machine, board, metric, place, row, names, compared(row.solver)))
    caption = (
        "Every figure of this solver, by the rules of its leaderboards: rank (a-b is a tie, † has failed cells), mean "
        "over n seeds with its 95 % Student t interval, and the paired difference to the baseline; p is Holm-adjusted"
    )
    return Table("results", caption, COLUMNS, tuple(cells), FILTERS, glossary.TABLE)


def _row(machine, board, metric, place, row, names, compared):
    rank, _, mean, interval, difference, n, failures, _, _ = format_row(row)
    failed = "failed" if row.failures else None
    return (
        Td(_variant(names[row.solver])),
        Td(machine.labels[board.setting], href="../../" + machine.rows_path(board.setting, row.solver)),
        Td(METRICS[metric].label),
        Td(rank, float(place), mark=failed),
        number(mean, row.mean),
        number(interval, row.low),
        Td(n, float(row.n)),
        Td(failures or "none", float(row.failures.total()), mark=failed),
        Td(difference, href=compared),
        Td(stands.marked(machine.result.machine, row.stand)),
    )


def _variant(name):
    """Return the parameters in a solver's name; the name itself if it has none."""
    return ", ".join(f"{key}={value}" for key, value in parameters(name).items()) or name

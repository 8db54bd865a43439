"""What is on each page: the home page, one for each benchmark, for each solver, and for the rows of each setting."""

import functools
from dataclasses import dataclass

from orthobench.report import claims, history, stands
from orthobench.report.benchmarks import METRICS
from orthobench.report.names import family, short_names, short_objectives, short_solvers
from orthobench.report.site import badges, benchopt_pages, cards, compare, glossary, palette, rows
from orthobench.report.site.boards import COLUMNS as BOARD_COLUMNS
from orthobench.report.site.boards import board_table, boards_of, overview_table
from orthobench.report.site.comparisons import comparison_plots, front_plots
from orthobench.report.site.dispute import dispute
from orthobench.report.site.documents import formulas
from orthobench.report.site.findings import ORDER, findings, matrix
from orthobench.report.site.plots import benchmark_plots, configuration, draw_all
from orthobench.report.site.results import title_of
from orthobench.report.site.solvers import publications, solver_pages
from orthobench.report.site.tables import slug, slugs
from orthobench.report.site.verdicts import COLUMNS as CLAIM_COLUMNS
from orthobench.report.site.verdicts import bar, checks_table, claims_table, summary
from orthobench.report.site.workers import at_once

# What the marks in tables mean.
STATUSES = {
    "diverged": "the method returned NaN or infinity, or its loss was not finite",
    "timeout": "its time budget was spent before its last point",
    "out of memory": "it asked for more memory than the device has",
    "error": "it raised an error, or broke a rule of the harness",
    "refuted": "the harness disproved what it claims, such as a Lipschitz constant",
    history.SUPERSEDED: history.MEANING,
}
# Cells on a page of rows; more are divided into several.
CELLS_ON_A_PAGE = 240
MESSAGE = "objective_message"
_TABLES = ("gridjs.umd.js", "grid.js", "site.js", "terms.js", "tables.js")


@dataclass(frozen=True)
class Page:
    """A page: its path in the site, its template and what that shows, and the scripts it needs."""

    path: str
    title: str
    template: str
    context: dict
    scripts: tuple = _TABLES


@dataclass(eq=False)
class Machine:
    """A result with all that is made of it once for several pages."""

    result: object
    site: "Site"
    boards: list
    plots: list
    native: object  # benchopt_pages.Content, None without plots

    def __post_init__(self):
        self.slug = self.site.machine_slug(self.result)
        self.solvers = list(self.result.frame["solver_name"].unique())
        datasets = short_names(dict.fromkeys(each.setting.dataset for each in self.boards))
        objectives = short_objectives(dict.fromkeys(each.setting.objective for each in self.boards))
        several = len(objectives) > 1
        self.labels = {
            each.setting: datasets[each.setting.dataset]
            + (f", {objectives[each.setting.objective]}" if several else "")
            for each in self.boards
        }
        self.groups = {each.setting: _groups(self.result.rows(each.setting)) for each in self.boards}

    def rows_path(self, setting, solver=None):
        """Return the path of the page with a setting's rows, and with a solver the place on it."""
        for number, group in enumerate(self.groups[setting], start=1):
            if solver is None or solver in group:
                part = "" if number == 1 else f"-{number}"
                name = f"{setting.number}-{slug(self.labels[setting])}{part}.html"
                path = f"{self.site.slug(self.result)}/{self.slug}/{name}"
                return path if solver is None else f"{path}#{self.anchors[solver]}"
        raise KeyError(solver)

    @property
    def native_path(self):
        """The path of Benchopt's own page, None without one."""
        return f"{self.site.slug(self.result)}/{self.slug}/benchopt.html" if self.native else None

    @property
    def native_data(self):
        """The path of that page's data."""
        return f"data/{self.site.slug(self.result)}/{self.slug}/benchopt.js"

    @functools.cached_property
    def kinds(self):
        """The kinds of process that its solvers ran in."""
        return set(stands.kinds(self.result.frame))

    @functools.cached_property
    def anchors(self):
        """Map solvers to their places on pages."""
        return slugs(self.solvers)

    @property
    def last_run(self):
        """When the newest rows were computed."""
        return max(each.last_run for each in self.result.files)


def _made(folder, result, order):
    """Return the boards of a result, its plots, and what Benchopt's own page shows."""
    drawn, told = draw_all(folder, result.current, palette.style_of(order)), configuration(folder)
    boards, get_style = boards_of(result), palette.style_of(order)
    plots = front_plots(result, boards, get_style) + benchmark_plots(drawn, told, boards, get_style)
    plots += comparison_plots(result, boards, get_style)
    return boards, plots, benchopt_pages.content(drawn, told)


def _groups(frame):
    """Divide the solvers of a setting so that no page holds too many cells."""
    groups, room = [[]], CELLS_ON_A_PAGE
    for solver, own in frame.groupby("solver_name", sort=True):
        cells = own["idx_rep"].nunique()
        if groups[-1] and cells > room:
            groups.append([])
            room = CELLS_ON_A_PAGE
        groups[-1].append(solver)
        room -= cells
    return groups


class Site:
    """All that the pages tell.

    Parameters
    ----------
    documents : Documents
    results : list of Result
    judged : list of Judged
    problems : list of Problem
    revision : str
        The commit of the documents.
    changes : Changes
    methods : Methods
        What is known of methods besides figures.
    """

    def __init__(self, documents, results, judged, problems, revision, changes, methods):
        self.documents, self.judged, self.problems, self.revision = documents, judged, problems, revision
        self.changes, self.methods = changes, methods
        self.order = palette.looks(results)
        self.get_style = palette.style_of(self.order)
        self._slugs = slugs(dict.fromkeys(title_of(each.frame) for each in results))
        self._machine_slugs = slugs(dict.fromkeys(each.machine for each in results))
        self.machines = self._machines(results)
        self.statuses = STATUSES

    def _machines(self, results):
        work = [(self.documents.folder(each.benchmark.folder), each, self.order) for each in results]
        made = at_once(_made, work, sum(len(each.frame) for each in results))
        return [Machine(result, self, *own) for result, own in zip(results, made, strict=True)]

    def slug(self, result):
        """Return the folder of a result's benchmark in the site."""
        return self._slugs[result.title]

    def machine_slug(self, result):
        """Return the folder of a result's machine in that of its benchmark."""
        return self._machine_slugs[result.machine]

    @functools.cached_property
    def solver_slugs(self):
        """Map the slugs of benchmarks to those of their families of solvers."""
        return {
            name: slugs(sorted({family(solver) for machine in machines for solver in machine.solvers}))
            for name, machines in self.benchmarks.items()
        }

    @functools.cached_property
    def benchmarks(self):
        """Map the slugs of benchmarks with rows to their machines."""
        found = {}
        for machine in self.machines:
            found.setdefault(self.slug(machine.result), []).append(machine)
        return found

    @functools.cached_property
    def badges(self):
        """The badges, see `badges.badges`."""
        return badges.badges(self)

    @functools.cached_property
    def last_run(self):
        """The day of the newest row."""
        return max((each.last_run for each in self.machines), default="")[:10]

    def page_of(self, benchmark):
        """Return the path of a benchmark's page; None without rows."""
        for name, machines in self.benchmarks.items():
            if machines[0].result.benchmark is benchmark:
                return f"{name}/index.html"
        return None

    def judged_of(self, machines):
        """Return the verdicts on a benchmark's claims."""
        return [each for each in self.judged if each.benchmark is machines[0].result.benchmark]


def pages(site):
    """Yield all pages of a site."""
    yield _home(site)
    yield Page("changes.html", "Changes: OrthoBench", "changes", {"changes": site.changes}, ("site.js",))
    yield _cite(site)
    for name, machines in site.benchmarks.items():
        yield _benchmark(site, name, machines)
        yield from (Page(*each) for each in solver_pages(site, name, machines))
        if compare.final_boards(machines):
            scripts = (*_TABLES, "statistics.js", "compare.js", f"../data/{name}/compare.js")
            yield Page(*compare.page(name, machines), scripts)
        for machine in machines:
            for board in machine.boards:
                yield from _rows(site, machine, board)


# ----- home -----


def _home(site):
    table = claims_table(site.judged, "claims", site.page_of)
    context = {
        "cards": cards.cards(site),
        "claims": table,
        "findings": findings(site.judged, site.page_of),
        "matrix": matrix(site.judged, site.page_of),
        "verdicts": ORDER,
        "summary": summary(site.judged),
        "commands": cards.claims_commands(site),
        "introduction": site.documents.introduction(),
        "total": site.badges[""][0],
        "words": {glossary.TABLE: glossary.terms(CLAIM_COLUMNS)},
    }
    return Page("index.html", "OrthoBench: results", "home", context)


# ----- how to cite -----


def _cite(site):
    context = {"citation": site.documents.citation(site.revision), "publications": publications(site)}
    return Page("cite.html", "How to cite: OrthoBench", "cite", context)


# ----- a benchmark -----


def _benchmark(site, name, machines):
    first = machines[0]
    benchmark = first.result.benchmark
    boards = {machine: _first_board(site, machine, "../") for machine in machines}
    judged = site.judged_of(machines)
    every = [one for each in judged for one in (each, *each.others)]  # on each machine by itself
    checks = {each.key: checks_table(each, _setting_href(machines)) for each in every}
    metrics = list(dict.fromkeys(metric for m in machines for board in m.boards for metric in board.rows))
    environments = {m: {each: rows.environment(each.frame) for each in m.result.files} for m in machines}
    context = {
        "name": name,
        "heading": first.result.title,
        "question": benchmark.asked,
        "reading": benchmark.reading,
        "description": _description(first.result.frame),
        "sections": site.documents.sections(benchmark.folder),
        "formulas": formulas(benchmark, metrics),
        "metrics": {metric: METRICS[metric] for metric in metrics},
        "words": _words(benchmark, metrics, [name for own in checks.values() for name in own.columns]),
        "machines": machines,
        "boards": boards,
        "overviews": [table for machine in machines for table in _overviews(site, machine)],
        "judged": judged,
        "summary": summary(judged),
        "several": len(every) > len(judged),
        "checks": checks,
        "bars": {each.key: bar(each.verdict) for each in every},
        "badges": site.badges[name],
        "format_verdict": claims.format_verdict,
        "plots": _plots(machines),
        "natives": [machine for machine in machines if machine.native],
        "solvers": {own: f"solvers/{address}.html" for own, address in site.solver_slugs[name].items()},
        "environments": environments,
        "meanings": rows.meanings(told for files in environments.values() for told in files.values()),
        "stands": stands.sentence(kind for machine in machines for kind in machine.kinds),
        "compare": compare.FILE if compare.final_boards(machines) else None,
        "adding": site.documents.how_to_add(benchmark),
        "configuration": lambda file: rows.configuration_command(
            site.documents.folder(benchmark.folder), benchmark, file.name
        ),
    }
    scripts = ("plotly.min.js", *_TABLES, "figures.js", f"../data/{name}/index.js")
    return Page(f"{name}/index.html", f"{first.result.title}: OrthoBench", "benchmark", context, scripts)


def _words(benchmark, metrics, further=()):
    """Return what explains the words of leaderboards, and of further columns of tables."""
    told = glossary.terms([*BOARD_COLUMNS, *further])
    return {glossary.TABLE: told, glossary.METRIC: glossary.metrics(benchmark, metrics)}


def _description(frame):
    told = frame["obj_description"].dropna().astype(str) if "obj_description" in frame else ()
    return told.iloc[0] if len(told) else ""


def solver_href(site, machine, up):
    """Return the function that gives the address of a solver's page, from a page as deep as ``up`` says."""
    name = site.slug(machine.result)
    return lambda solver: f"{up}{name}/solvers/{site.solver_slugs[name][family(solver)]}.html"


def _rows_href(machine, setting, up):
    return lambda solver: up + machine.rows_path(setting, solver)


def _board_key(machine, board, metric):
    return f"board-{machine.slug}-{board.setting.number}-{metric}"


def _board_table(site, machine, board, metric, up):
    hrefs = (
        solver_href(site, machine, up),
        _rows_href(machine, board.setting, up),
        compare.href(site, machine, board, metric, up),
    )
    return board_table(board, metric, _board_key(machine, board, metric), *hrefs)


def _first_board(site, machine, up):
    board = machine.boards[0]
    return board, _board_table(site, machine, board, board.first, up)


def _overviews(site, machine):
    return overview_table(
        machine.result,
        machine.boards,
        f"overview-{machine.slug}",
        solver_href(site, machine, "../"),
        lambda board: "../" + machine.rows_path(board.setting),
    )


def _setting_href(machines):
    """Return the function that gives the address of the rows behind a check of a claim."""
    by_name = {machine.result.machine: machine for machine in machines}

    def href(judged, check):
        machine = by_name.get(judged.machine)
        found = [each.setting for each in machine.boards if each.setting.dataset == check.dataset] if machine else []
        return "../" + machine.rows_path(found[0]) if found else None

    return href


def _plots(machines):
    """List the plots of a benchmark by name, each with its machines."""
    found = {}
    for machine in machines:
        for plot in machine.plots:
            found.setdefault(plot.name, []).append((machine, plot))
    return found


# ----- the rows of a setting -----


def _rows(site, machine, board):
    setting, result = board.setting, machine.result
    frame = result.rows(setting)
    columns = rows.metric_columns(frame)
    names = short_solvers(list(frame["solver_name"].unique()))
    up = "../../"
    own = dict(iter(frame.groupby("solver_name", sort=False)))
    tables = rows.rows_tables(frame, columns, {solver: f"rows-{machine.anchors[solver]}" for solver in own})
    environments = rows.environments(frame, own)
    kinds, words = stands.kinds(frame), rows.words(result.benchmark, columns)
    for number, group in enumerate(machine.groups[setting], start=1):
        context = {
            "name": site.slug(result),
            "heading": result.title,
            "machine": machine,
            "setting": setting,
            "part": number,
            "parts": [machine.rows_path(setting, each[0]).partition("#")[0] for each in machine.groups[setting]],
            "boards": {m: _board_table(site, machine, board, m, up) for m in board.rows} if number == 1 else {},
            "metrics": METRICS,
            "words": (_words(result.benchmark, board.rows) if number == 1 else {}) | {glossary.COLUMN: words},
            "solvers": group,
            "names": names,
            "tables": tables,
            "commands": {solver: rows.command(result.benchmark, setting, own[solver]) for solver in group},
            "disputes": {solver: _dispute(site, machine, board, own[solver]) for solver in group},
            "environments": environments,
            "meanings": rows.meanings(environments.values()),
            "stands": stands.sentence(kinds),
            "solver_href": solver_href(site, machine, up),
        }
        path = machine.rows_path(setting, group[0]).partition("#")[0]
        yield Page(path, f"{machine.labels[setting]} | {result.title}: OrthoBench", "rows", context)


def _dispute(site, machine, board, frame):
    solver = frame["solver_name"].iloc[0]
    row = next((each for each in board.current[board.first] if each.solver == solver), None)
    return dispute(site, machine, board.setting, frame, row, board.first)


# ----- what scripts load -----


def data(site):
    """Return the data of scripts: by path, a key and a value that JSON takes."""
    found = {}
    for name, machines in site.benchmarks.items():
        index = {"machines": [], "plots": {}}
        for machine in machines:
            base = f"data/{name}/{machine.slug}"
            listed = []
            for board in machine.boards:
                path = f"{base}/board-{board.setting.number}.js"
                tables = [_board_table(site, machine, board, metric, "../").as_json() for metric in board.rows]
                found[path] = path, dict(zip(board.rows, tables, strict=True))
                listed.append({"label": machine.labels[board.setting], "file": path, "first": board.first,
                               "data": board.setting.dataset, "objective": board.setting.objective,
                               "rows": machine.rows_path(board.setting).partition("/")[2],
                               "metrics": {metric: METRICS[metric].label for metric in board.rows}})  # fmt: skip
            index["machines"].append({"name": machine.result.machine, "slug": machine.slug, "boards": listed})
            for plot in machine.plots:
                found |= _plot_data(index, machine, plot, base)
            if machine.native:
                found[machine.native_data] = machine.native_data, machine.native.plots
        found[f"data/{name}/index.js"] = f"{name}/index", index
        if compare.final_boards(machines):
            found[f"data/{name}/compare.js"] = f"{name}/compare", compare.data(machines)
    return found


def _plot_data(index, machine, plot, base):
    """Return the files of a plot's figures, and enter the plot into the index."""
    found, choices = {}, {}
    labels = [list(values) for values in plot.options.values()]
    for number, (choice, figure) in enumerate(plot.figures.items(), start=1):
        path = f"{base}/{slug(plot.name)}-{number}.js"
        found[path] = path, figure.as_json()
        choices[",".join(str(own.index(value)) for own, value in zip(labels, choice, strict=True))] = path
    first = [own.index(value) for own, value in zip(labels, plot.first, strict=True)]
    told = {"options": [[key, list(values.values()), list(map(str, values))] for key, values in plot.options.items()],
            "choices": choices, "first": first}  # fmt: skip
    index["plots"].setdefault(plot.name, {})[machine.slug] = told
    return found


def native(site):
    """Return Benchopt's own pages and the scripts they had inside, by path; raises as `benchopt_pages.page`."""
    found, up = {}, "../../"
    for machine in site.machines:
        if machine.native:
            result, data = machine.result, up + machine.native_data
            html, scripts = benchopt_pages.page(machine.native, result.frame, result.title, up, "../index.html", data)
            found |= {machine.native_path: html, **scripts}
    return found


def downloads(site, folder):
    """Yield the files to download: each parquet file as it is, and its rows as CSV without the longest texts."""
    for machine in site.machines:
        for file in machine.result.files:
            base = f"downloads/{site.slug(machine.result)}/{machine.slug}/{file.name}"
            yield f"{base}.parquet", (folder / file.path).read_bytes()
            kept = [
                name
                for name in file.frame
                if name in (MESSAGE, history.SUPERSEDED) or not rows.is_long(file.frame[name])
            ]
            yield f"{base}.csv", file.frame[kept].to_csv(index=False, lineterminator="\n").encode()

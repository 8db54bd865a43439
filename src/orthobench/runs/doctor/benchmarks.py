"""What each benchmark can run here: a row of a table each, and lines for what is missing."""

from orthobench.report.terminal import pad
from orthobench.runs.doctor.lines import Line, attempt, few, part, said

SOLVERS, DATASETS = 10, 11  # columns


def look(root):
    """Return `Available` of each benchmark by its folder, or the exception that looking raised."""
    from orthobench.report.benchmarks import BENCHMARKS
    from orthobench.runs.doctor.available import available

    return {folder: attempt(available, root / folder) for folder in BENCHMARKS}


def lines(benchmarks, wanted):
    """Say what each benchmark can run.

    Parameters
    ----------
    benchmarks : dict of str to Available or Exception
        By their folders.
    wanted : Wanted
        For the commands that install what is missing.

    Returns
    -------
    list of Line
    """
    width = max(map(len, benchmarks)) + 2
    found = [Line(pad("benchmarks", width), _row("solvers", "data sets", "make run"), row=True)]
    for folder, available in benchmarks.items():
        found += part(folder, _benchmark, folder, available, wanted, width, fails=True)
    return found


def _row(solvers, datasets, quick):
    return pad(solvers, SOLVERS) + pad(datasets, DATASETS) + quick


def _benchmark(folder, available, wanted, width):
    from orthobench.runs.doctor.available import BY_HAND, DOWNLOAD, HERE, NAMED, offline

    solvers, datasets = available.solvers, available.datasets
    of = {state: [each for each in datasets if each.files == state] for state in (HERE, DOWNLOAD, BY_HAND, NAMED)}
    runs = sum(each.runs for each in solvers), sum(each.runs for each in of[HERE])
    counted = len(datasets) - len(of[NAMED])
    failing = [line for quick in available.quick for line in _quick(folder, quick, wanted)]
    downloads = dict.fromkeys(name for quick in available.quick for name in quick.downloads)
    ready = "ready" + (f", downloads {few(downloads)} first" if downloads else "")
    row = _row(f"{runs[0]} of {len(solvers)}", f"{runs[1]} of {counted}", "can't run" if failing else ready)
    found = [Line(pad(folder, width), row, row=True), *failing]
    told = {package for quick in available.quick for package in quick.packages}
    lacking = [each for each in (*solvers, *datasets) if set(each.packages) - told]
    if lacking:
        packages = dict.fromkeys(package for each in lacking for package in each.packages)
        found.append(Line("", f"for {few(each.name for each in lacking)}: {wanted.command(packages)}"))
    broken = [f"{each.name} ({each.problem})" for each in (*solvers, *datasets) if each.problem]
    if broken and not failing:
        found.append(Line("", f"can't run: {few(broken)}"))
    if of[DOWNLOAD]:
        names = ", ".join(each.name + (f" (has {each.found})" if each.found else "") for each in of[DOWNLOAD])
        how = "ORTHOBENCH_OFFLINE forbids it" if offline() else f"benchopt prepare {folder} -d NAME"
        found.append(Line("", f"to download ({how}): {names}"))
    found += [Line("", f"by hand: benchopt prepare {folder} -d {each.name}") for each in of[BY_HAND]]
    return found + [Line("", f"from a file of yours: {each.name}") for each in of[NAMED]]


def _quick(folder, quick, wanted):
    """Return what keeps a quick configuration from running."""
    from orthobench.runs.doctor.available import offline

    found = []
    if quick.packages:
        found.append(f"needs {few(quick.packages)}: {wanted.command(quick.packages)}")
    found += map(said, quick.problems[:1])
    if quick.files:
        told = f"benchopt prepare {folder} -d {quick.files[0]} says how to get them"
        remedy = "unset ORTHOBENCH_OFFLINE, or put them into ORTHOBENCH_DATA" if offline() else told
        found.append(f"has no files of {few(quick.files)}: {remedy}")
    return [Line(quick.name, text, fails=True) for text in found]

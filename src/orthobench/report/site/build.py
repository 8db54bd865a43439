"""The site as a whole: which pages there are, what is on each, and how they are written."""

import ctypes
import json
import os
import re
import shutil
import subprocess
import tempfile
from importlib import resources
from pathlib import Path

import psutil

from orthobench.report.site import cards, pages, solvers, vendor
from orthobench.report.site.changes import changes
from orthobench.report.site.documents import REPOSITORY, Documents, find_root
from orthobench.report.site.environment import environment
from orthobench.report.site.feed import feed
from orthobench.report.site.results import Problem, read_results
from orthobench.report.site.verdicts import judge

MARKER = "orthobench-site"  # a file that tells our folders from others', and lists all other files of the site
UNFINISHED = ".unfinished"
_CWD, _EXCHANGE = -100, 2  # of Linux's renameat2


def render(results, address=REPOSITORY, root=None, revision=None):
    """Return the site's files but for the scripts of others, from the folder of the results alone.

    Parameters
    ----------
    results : str or pathlib.Path
        The folder that holds ``<benchmark>/<machine>/<name>.parquet``.
    address : str
        Where the repository is published, for links to its code.
    root : str or pathlib.Path, optional
        The repository, for its claims, plots and documents; see `documents.find_root` for where it is looked for.
    revision : str, optional
        The commit that the site is of; by default the one that is checked out.

    Returns
    -------
    files : dict
        Content, as bytes, by path relative to the site.
    problems : list of Problem
        What makes rows untrustworthy, and was left out.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    found, problems = read_results(results)
    documents = Documents(Path(root) if root else find_root(results), address)
    judged, unread = judge(documents, found)
    problems += [Problem(*each.split(": ", 1)) for each in unread]
    methods, unread = documents.methods()
    problems += unread
    files = _static()
    revision = head(documents.root) if revision is None else revision
    site = pages.Site(documents, found, judged, problems, revision, changes(results, documents, revision), methods)
    templates = environment()
    for page in pages.pages(site):
        depth = page.path.count("/")
        template = templates.get_template(f"{page.template}.html")
        html = template.render(page.context, site=site, root="../" * depth, scripts=page.scripts, title=page.title)
        files[page.path] = html.encode()
    for path, (key, value) in pages.data(site).items():
        told = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", r"\u003c")
        files[path] = f"orthobench.receive({json.dumps(key)},{told});\n".encode()
    files["changes.xml"] = feed(site.changes, documents)
    files |= {each.path: each.svg() for own in site.badges.values() for each in own}
    files |= pages.native(site)
    for name, machines in site.benchmarks.items():
        files[f"assets/{name}.svg"] = cards.picture(site, machines)
    files |= solvers.pictures(site)
    for path, content in pages.downloads(site, Path(results)):
        files[path] = content
    listed = sorted([*files, *(f"assets/{each.name}" for each in vendor.SCRIPTS)])
    files[MARKER] = "".join(f"{path}\n" for path in listed).encode()
    return files, problems


def build(results, out, address=REPOSITORY, root=None):
    """Write the site to a folder; an earlier site there is replaced when the new one is whole.

    Returns
    -------
    list of Problem
        As `render` does.

    Raises
    ------
    FileNotFoundError, RuntimeError
        As `render` and `vendor.vendored` do.
    FileExistsError
        If the folder holds something else than an earlier site.
    """
    out = Path(out).resolve()  # a link stays one
    _check_ours(out)
    scripts = {f"assets/{each.name}": vendor.vendored(each) for each in vendor.SCRIPTS}
    files, problems = render(results, address, root)
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in out.parent.iterdir():
        unfinished = re.fullmatch(rf"\.{re.escape(out.name)}\.(\d+)-.*{re.escape(UNFINISHED)}", left.name)
        if unfinished and not psutil.pid_exists(int(unfinished[1])):  # it was killed
            shutil.rmtree(left, ignore_errors=True)
    new = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.{os.getpid()}-", suffix=UNFINISHED))
    try:
        new.chmod(0o755)
        for path, content in sorted({**files, **scripts}.items()):
            target = new / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        _check_ours(out)  # a build takes a while
        _exchange(new, out)
    finally:
        shutil.rmtree(new, ignore_errors=True)  # the earlier site, or what there is of the new one
    return problems


def _check_ours(out):
    """Raise FileExistsError if a folder holds anything but an earlier site: nothing of others is deleted."""
    if not out.exists():
        return
    if not out.is_dir() or (any(out.iterdir()) and not (out / MARKER).is_file()):
        raise FileExistsError(f"{out}: not empty, and no site of ours: give --out a new folder, or an earlier site.")
    marker = out / MARKER
    known = set(marker.read_text(encoding="utf-8", errors="replace").splitlines()) if marker.is_file() else set()
    found = (path.relative_to(out).as_posix() for path in sorted(out.rglob("*")) if not path.is_dir())
    other = [path for path in found if path not in known | {MARKER}]
    if other:
        raise FileExistsError(f"{out}: {other[0]} is not of an earlier site: move it away, or give --out a new folder.")


def _exchange(new, out):
    """Put a folder in the place of another, which may not exist; where the system can, at once."""
    if not out.exists():
        new.rename(out)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        one, other = (os.fsencode(path.absolute()) for path in (new, out))
        if libc.renameat2(_CWD, one, _CWD, other, _EXCHANGE) == 0:
            return
    old = new.with_name(f"{new.name}.old{UNFINISHED}")
    out.rename(old)
    new.rename(out)
    old.rename(new)


def _static():
    folder = resources.files(__package__) / "static"
    return {f"assets/{each.name}": each.read_bytes() for each in sorted(folder.iterdir(), key=lambda each: each.name)}


def head(root):
    """Return the commit that the documents are of; empty if it can't be found out."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if root and not done.returncode else ""

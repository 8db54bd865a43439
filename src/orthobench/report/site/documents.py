"""What the repository's documents say of a benchmark, as HTML: its question, its metrics, its data sets."""

import re
import shlex
from pathlib import Path
from urllib.parse import urljoin

import yaml
from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from orthobench.report import methods_file
from orthobench.report.names import family
from orthobench.report.page import one_line
from orthobench.report.site.results import Problem

REPOSITORY = "https://github.com/orthobench/orthobench"
BRANCH = "main"
AUTHOR = "The OrthoBench developers"

# By the heading they have in a README; what it is called on a page.
SECTIONS = {
    "Metrics": "Metrics",
    "How to read a result": "How to read a result",
    "Data sets": "Data sets",
    "Solvers": "Solvers",
    "Configurations": "Configurations",
}


class Documents:
    """The documents of a repository; all of them may be missing, for results can be published without.

    Parameters
    ----------
    root : pathlib.Path or None
        The repository's folder.
    address : str
        Where it is published.
    """

    def __init__(self, root, address=REPOSITORY):
        self.root, self.address = root, address.rstrip("/")

    @property
    def site(self):
        """Where the site is published: GitHub's pages of the repository; elsewhere the repository's own address."""
        found = re.fullmatch(r"https://github\.com/([\w-]+)/([\w.-]+)", self.address)
        return f"https://{found[1].lower()}.github.io/{found[2]}/" if found else f"{self.address}/"

    def folder(self, benchmark):
        """Return a benchmark's folder, None if it is not at hand."""
        folder = self.root / benchmark if self.root else None
        return folder if folder and folder.is_dir() else None

    def _text(self, file):
        path = self.root / file if self.root else None
        return path.read_text(encoding="utf-8") if path and path.is_file() else ""

    def _readme(self, folder="."):
        return self._text(f"{folder}/README.md")

    def methods(self):
        """Return what is known of the methods, and what is wrong with the file that says so."""
        try:
            found = methods_file.load_methods(self.root / methods_file.FILE) if self.root else methods_file.Methods()
        except ValueError as error:
            return methods_file.Methods(), [Problem(methods_file.FILE, one_line(error))]
        return found, []

    def citation(self, revision):
        """Return how to cite the suite, as BibTeX, by its CITATION.cff and a commit; None without that file."""
        text = self._text("CITATION.cff")
        if not text:
            return None
        told = yaml.safe_load(text)
        authors = [each.get("name") or f"{each['given-names']} {each['family-names']}" for each in told["authors"]]
        fields = {
            "title": f"{{{told['title']}}}",
            "author": " and ".join(f"{{{each}}}" for each in authors),
            "version": str(told["version"]),
            "url": self.address,
            "note": f"commit {revision}" if revision else "",
        }
        return methods_file.entry("software", "orthobench", fields)

    def how_to_add(self, benchmark):
        """Return how to add a solver to a benchmark: the commands, what its README says, and what is checked, as HTML.

        The file to start from is the baseline's. None without the documents.
        """
        folder = benchmark.folder
        readme = self._section(f"{folder}/README.md", "## How to add a solver")
        start = self._solver_file(folder, family(benchmark.baseline))
        if not readme or start is None:
            return None
        place = "" if folder == "." else f"{folder}/"
        name = self.address.rpartition("/")[2]
        words = [
            ["git", "clone", self.address],
            ["cd", name],
            ["pip", "install", "-e", ".[libraries,test]"],
            ["cp", f"{place}solvers/{start}", f"{place}solvers/my_method.py"],
            ["benchopt", "run", folder, "-s", "My method", "-s", benchmark.baseline],
            ["benchopt", "test", folder, "--skip-install"],
        ]
        commands = "\n".join(" ".join(map(shlex.quote, each)) for each in words)
        checks = self._section("CONTRIBUTING.md", "### What it forbids")
        return commands, self.html(readme, folder), self.html(checks)

    def _section(self, file, heading):
        """Return the Markdown below a heading, up to the next one of its level or above; empty without it."""
        end = rf"(?=^#{{1,{heading.count('#')}}} |\Z)"
        found = re.search(rf"^{re.escape(heading)}\n(.*?){end}", self._text(file), re.MULTILINE | re.DOTALL)
        return found[1] if found else ""

    def _solver_file(self, folder, name):
        """Return the name of a solver's file; None without one."""
        for path in sorted((self.root / folder / "solvers").glob("*.py")) if self.root else ():
            if re.search(rf'^    name = "{re.escape(name)}"$', path.read_text(encoding="utf-8"), re.MULTILINE):
                return path.name
        return None

    def introduction(self):
        """Return the first paragraph of the suite's README, as HTML."""
        found = re.search(r"^# .*?\n+(.+?)\n\n", self._readme(), re.DOTALL)
        return self.html(found[1]) if found else Markup("")

    def sections(self, folder):
        """Map titles to those sections of a benchmark's README that a reader of results needs, as HTML."""
        found = {}
        for part in re.split(r"^## ", self._readme(folder), flags=re.MULTILINE)[1:]:
            heading, _, text = part.partition("\n")
            if heading.strip() in SECTIONS:
                found[SECTIONS[heading.strip()]] = self.html(text, folder)
        return found

    def html(self, text, folder="."):
        """Return Markdown as HTML; raw HTML in it is shown as text, and relative links lead to the repository."""
        parser = MarkdownIt("commonmark", {"html": False}).enable("table")
        tokens = parser.parse(text)
        base = f"{self.address}/blob/{BRANCH}/" + ("" if folder == "." else f"{folder}/")
        for token in (child for block in tokens for child in [block, *(block.children or [])]):
            if token.type == "link_open":
                token.attrSet("href", urljoin(base, str(token.attrGet("href"))))
        rendered = parser.renderer.render(tokens, parser.options, {})
        opened = '<div class="scroll" tabindex="0" role="group" aria-label="table"><table>'
        return Markup(rendered.replace("<table>", opened).replace("</table>", "</table></div>"))  # noqa: S704 - raw HTML is off

    def code(self, folder, file, commit):
        """Return the address of a file of a benchmark at a commit."""
        place = file if folder == "." else f"{folder}/{file}"
        return f"{self.address}/blob/{commit}/{place}"

    def commit(self, commit):
        """Return the address of a commit."""
        return f"{self.address}/commit/{commit}"


def prose(text):
    """Return a text of the rows as HTML: all of it as text, but for what it marks as code."""
    return Markup(re.sub(r"(`+)([^`]+)\1", r"<code>\2</code>", str(escape(text))))  # noqa: S704 - it is escaped


def find_root(results):
    """Return the folder above the results, or else the current one, that holds a repository of this suite.

    None if neither does.
    """
    candidates = [*Path(results).resolve().parents, Path.cwd()]
    return next((each for each in candidates if (each / "claims.toml").is_file()), None)


def formulas(benchmark, metrics):
    """Map those of a benchmark's metrics that have one to their formula, as MathML."""
    told = benchmark.formulas
    return {
        metric: Markup(convert(told[metric], display="block"))  # noqa: S704 - formulas of benchmark.toml
        for metric in metrics
        if metric in told
    }

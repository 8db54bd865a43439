"""Badges: how many claims are reproduced, of all, of a benchmark and of a method, as pictures for a README."""

import functools
import math
from collections import Counter
from dataclasses import dataclass

from markupsafe import escape
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from orthobench.report import claims
from orthobench.report.site.tables import slugs
from orthobench.report.site.verdicts import summary

SIZE, HEIGHT, MARGIN = 11, 20, 6  # pixels
# The reader's own fonts, as wide as the one that is measured; `textLength` makes others fit.
FONTS = "DejaVu Sans,Verdana,Geneva,sans-serif"


@dataclass(frozen=True)
class Badge:
    """A badge: its place in the site, its two texts, what is read aloud, and the page that it leads to."""

    path: str
    label: str
    counts: str
    told: str
    page: str
    site: str  # where the site is published

    @property
    def markdown(self):
        """What a README has to have."""
        alternative = f"{self.label}: verdicts on published claims".translate(str.maketrans({"[": "(", "]": ")"}))
        return f"[![{alternative}]({self.site}{self.path})]({self.site}{self.page})"

    def svg(self):
        """Return the picture, as bytes."""
        widths = [width(each) + 2 * MARGIN for each in (self.label, self.counts)]
        total, told = sum(widths), escape(self.told)
        texts = [
            f'<text x="{start + MARGIN}" y="14" textLength="{own - 2 * MARGIN}">{escape(text)}</text>'
            for start, own, text in zip((0, widths[0]), widths, (self.label, self.counts), strict=True)
        ]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{HEIGHT}" role="img" aria-label="{told}">'
            f"<title>{told}</title>"
            f'<rect width="{total}" height="{HEIGHT}" rx="3" fill="#24292f"/>'
            f'<path d="M{widths[0]} 0h{widths[1] - 3}a3 3 0 0 1 3 3v{HEIGHT - 6}a3 3 0 0 1 -3 3h-{widths[1] - 3}z" '
            'fill="#0a5cad"/>'
            f'<g fill="#fff" font-family="{FONTS}" font-size="{SIZE}">{"".join(texts)}</g></svg>\n'
        ).encode()


@functools.cache
def width(text):
    """Return the pixels that a text is wide, with its side bearings."""
    shown = text.replace("$", r"\$")  # no mathematics
    font = FontProperties(family="DejaVu Sans")
    return math.ceil(TextPath((0, 0), shown, size=SIZE, prop=font).get_extents().width) + 2 if text.strip() else 0


def badges(site):
    """Return lists of badges: of all claims by the empty text, of each benchmark with rows by its folder in the site.

    A benchmark's are its own and those of the methods that its claims are about.
    """
    where = site.documents.site
    found = {"": [_badge("orthobench", "OrthoBench", site.judged, "index.html", where)]}
    for name, machines in site.benchmarks.items():
        judged, page = site.judged_of(machines), f"{name}/index.html"
        found[name] = [_badge(name, f"OrthoBench {machines[0].result.title}", judged, page, where)] if judged else []
        for method, address in slugs(dict.fromkeys(each.verdict.claim.method for each in judged)).items():
            own = [each for each in judged if each.verdict.claim.method == method]
            found[name].append(_badge(f"{name}/{address}", f"OrthoBench {method}", own, page, where))
    return found


def _badge(path, label, judged, page, where):
    counts = Counter(each.verdict.verdict for each in judged)
    left = len(judged) - counts[claims.REPRODUCED] - counts[claims.NOT_REPRODUCED]
    told = f"{counts[claims.REPRODUCED]} reproduced, {counts[claims.NOT_REPRODUCED]} not"
    told += f", {left} open" if left else ""
    return Badge(f"badges/{path}.svg", label, told, f"{label}: {summary(judged)}", page, where)

"""How templates become pages: whatever they are given is text, unless it says that it is HTML."""

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from orthobench.report.names import short_names
from orthobench.report.site.documents import prose


def environment():
    """Return the environment of all templates."""
    environment = Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short_names"] = short_names
    environment.filters["prose"] = prose
    return environment

"""The published site: static pages from the files under ``results/`` alone, which work without a network."""

from orthobench.report.site.build import build, render

__all__ = ["build", "render"]

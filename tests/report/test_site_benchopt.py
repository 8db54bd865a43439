"""Benchopt's own pages on the site: what Benchopt would show, with the site's scripts, and strangers' texts as text."""

import base64
import hashlib
import json
import re
from html import unescape

import pandas as pd
import published
import pytest
from benchopt.benchmark import Benchmark
from benchopt.plotting import generate_html
from made_up import CAYLEY, DIGITS, DOCS, PLAIN, TURBO, robustness_frame, training_frame

from orthobench.report.site import benchopt_pages, palette, vendor
from orthobench.report.site.offline import Replaced, rehome
from orthobench.report.site.plots import configuration, draw_all

EVIL = "</script><img src=x onerror=alert(1)>"
ROBUSTNESS = published.ROOT / "benchmark_lipschitz"


@pytest.fixture(scope="module")
def frame():
    return published.provenance(robustness_frame(solvers=(PLAIN, CAYLEY)))


@pytest.fixture(scope="module")
def own(frame):
    drawn = draw_all(ROBUSTNESS, frame, palette.style_of({}))
    return benchopt_pages.content(drawn, configuration(ROBUSTNESS))


def page(own, frame):
    html, files = benchopt_pages.page(own, frame, "Robustness", "../../", "../index.html", "../../data/d.js")
    return html.decode(), {name: text.decode() for name, text in files.items()}


# ----- what it shows -----


def test_a_page_shows_what_benchopt_shows_of_the_same_rows(own, frame):
    theirs, options = Benchmark(ROBUSTNESS).get_plot_data(frame, configuration(ROBUSTNESS)["plots"])
    # Explanations, of which there are no rows, are left out.
    shown = {kind: plots for kind, plots in theirs.items() if any(each["data"] for each in plots.values())}
    assert own.options.keys() == shown.keys() < options.keys() == theirs.keys()
    for kind, plots in shown.items():
        assert own.options[kind] == options[kind]
        assert own.plots[kind].keys() == plots.keys()
        for key, wanted in plots.items():
            shown = own.plots[kind][key]
            assert shown["type"] == wanted["type"]
            assert shown["title"] == wanted["title"].replace("\n", "<br />")
            if wanted["type"] == "table":
                assert (shown["columns"], shown["data"]) == (wanted["columns"], wanted["data"])
                continue
            assert [each["label"] for each in shown["data"]] == [each["label"] for each in wanted["data"]]
            for mine, right in zip(shown["data"], wanted["data"], strict=True):
                assert mine.keys() == right.keys()
                for name in {"x", "y", "y_low", "y_high"} & right.keys():
                    shown = [float("nan") if each is None else each for each in mine[name]]
                    assert shown == pytest.approx(list(right[name]), rel=1e-5, nan_ok=True)


def test_data_are_json_that_any_reader_takes():
    files = published.files()
    for name in ("orthogonalisation/one", "training/one", "training/two", "robustness/one"):
        text = files[f"data/{name}/benchopt.js"].decode()
        assert b"NaN" not in files[f"data/{name}/benchopt.js"]
        key, plots = json.loads(f"[{text[len('orthobench.receive(') : -3]}]")
        assert key == f"data/{name}/benchopt.js"
        assert all(plots.values())
        assert f'src="../../{key}"' in files[f"{name}/benchopt.html"].decode()


def test_a_plot_that_the_rows_do_not_allow_for_says_why_and_those_that_they_never_do_are_left_out():
    one = published.provenance(training_frame(solvers=(TURBO,), datasets=(DIGITS, DOCS), seeds=1))
    digits = one["dataset_name"] == DIGITS
    twice = pd.concat([one[digits], one], ignore_index=True)  # each point of it twice: it has no leaderboard
    folder = published.ROOT / "benchmark_muon"
    own = benchopt_pages.content(draw_all(folder, twice, palette.style_of({})), configuration(folder))
    assert "learning_rates" not in own.plots  # no rows of the tuning part
    assert "learning_rates" not in [view["plot_kind"] for view in own.views.values()]
    told = next(iter(own.plots["leaderboard"].values()))
    assert "the same point twice" in told["title"]
    assert (told["data"], told["columns"]) == ([], ["error"])


def test_views_are_those_of_the_plots_that_are_there(frame):
    views = {"a": {"plot_kind": "cost"}, "b": {"plot_kind": "objective_curve"}}
    drawn = [each for each in draw_all(ROBUSTNESS, frame, palette.style_of({})) if each.name in ("cost", "claims")]
    own = benchopt_pages.content(drawn, {"plots": ["cost"], "plot_configs": views})
    assert list(own.plots) == ["cost"]
    assert list(own.views) == ["a"]


# ----- strangers' texts -----


def test_no_text_of_rows_or_views_becomes_markup(frame):
    rows = frame.assign(solver_description=f"About {EVIL}", **{"system-cpus": EVIL})
    drawn = draw_all(ROBUSTNESS, rows, palette.style_of({}))
    views = {EVIL: {"plot_kind": "cost", "scale": EVIL}}
    html, files = page(benchopt_pages.content(drawn, {"plot_configs": views}), rows)
    assert unescape(html).count(EVIL) == 2  # the processor, in the heading and in the box
    for text in (html, *files.values()):
        assert "<img src=x" not in text
    metadata = next(re.search(r"window\.metadata = (.*);", text)[1] for text in files.values() if "_plots =" in text)
    told = json.loads(metadata)
    assert unescape(told["solvers_description"][PLAIN]) == f"About {EVIL}"
    assert list(told["plot_configs"]) == ["‹/script›‹img src=x onerror=alert(1)›"]  # noqa: RUF001


# ----- nothing from outside -----


def test_each_script_is_a_file_and_each_handler_is_allowed_by_its_hash(own, frame):
    html, files = page(own, frame)
    assert not re.findall(r"<script(?![^>]*\bsrc=)", html)
    for source in re.findall(r'<script[^>]*src="([^"]+)"', html):
        assert source.startswith("../../")
        if "/benchopt/" in source:
            assert source.removeprefix("../../") in files
    handlers = {unescape(each) for each in re.findall(r'\son[a-z]+="([^"]*)"', html)}
    assert len(handlers) > 10
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    wanted = {base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in handlers}
    assert set(re.findall(r"'sha256-([^']+)'", policy)) == wanted
    scripts = policy.partition("script-src")[2].partition(";")[0]
    assert "'unsafe-inline'" not in scripts
    assert "'unsafe-eval'" not in scripts
    assert "exportHTML" not in html  # what it saves lacks the files


def test_the_scripts_are_those_of_the_template(own, frame):
    html, files = page(own, frame)
    template = generate_html.STATIC["result.js"]
    assert any(template in text for text in files.values())
    sources = re.findall(r'<script src="([^"]+)"', html)
    order = [each.rpartition("/")[2] for each in sources]
    assert order[:2] == ["benchopt.js", "d.js"]
    for one, other in (
        (vendor.PLOTLY.name, vendor.GRID.name),
        (vendor.GRID.name, "grid.js"),
        ("grid.js", vendor.ANIME.name),
    ):
        assert order.index(one) < order.index(other)


def test_an_address_that_benchopt_adds_stops_the_build_by_name(own, frame, tmp_path, monkeypatch):
    template = tmp_path / "result.html"
    text = generate_html.TEMPLATE_RESULT.read_text()
    template.write_text(text.replace("</head>", '<script src="https://cdn.example.org/new.js"></script></head>'))
    monkeypatch.setattr(generate_html, "TEMPLATE_RESULT", template)
    with pytest.raises(RuntimeError, match=r"Benchopt 1\..*it loads https://cdn\.example\.org/new\.js.*_replaced"):
        page(own, frame)


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://a.example/x"></script>',
        '<script src="//a.example/x"></script>',
        '<link rel="stylesheet" href="HTTP://a.example/x">',
        '<img srcset="https://a.example/x 2x">',
        "<iframe src=https://a.example/x></iframe>",
        '<form action="https://a.example/x"></form>',
        '<svg><use xlink:href="https://a.example/x"/></svg>',
        '<p style="background: url(https://a.example/x)">',
        "<style>@import 'https://a.example/x';</style>",
        '<style>p { background: url( "//a.example/x") }</style>',
        '<base href="https://a.example/">',
    ],
)
def test_what_a_browser_would_load_from_outside_is_an_error(html):
    with pytest.raises(RuntimeError, match=r"a\.example"):
        rehome(f"<html><head></head><body>{html}</body></html>", {}, "s/")


def test_a_page_that_is_moved_says_what_it_said():
    text = "if (a < b && c) { f('</p>'); }"
    html = (
        "<!DOCTYPE html><html><head><title>A &amp; B</title><link href='https://fonts.example/a'></head>"
        f"<body><!-- gone --><a href='https://else.example/'>x &lt; y &#62;</a><script>{text}</script>"
        "<script src='https://a.example/1.js'></script><b onclick='gone()'>gone <i>too</i></b><br/>left</body></html>"
    )
    replaced = {"https://fonts.example/a": Replaced(), "https://a.example/1.js": Replaced("../1.js", ("../2.js",))}
    page, files = rehome(html, replaced, "s/", "HEAD", "BODY", without=("gone()",))
    (name,) = files
    assert files[name].decode() == text
    head, _, rest = page.partition("<title>")
    assert head.endswith("form-action 'none'\">\nHEAD")
    assert rest == (
        "A &amp; B</title></head><body>BODY<a href='https://else.example/'>x &lt; y &#62;</a>"
        f'<script src="s/{name}"></script><script src=\'../1.js\'></script>\n<script src="../2.js"></script><br/>left'
        "</body></html>"
    )

"""The page that compares two solvers, and what a reader chose in the address, in a real browser without a network."""

import re
import shutil
from urllib.parse import parse_qs, urlencode

import in_stands
import numpy as np
import pandas as pd
import published
import pytest
import test_report_conformal
import test_site_browser as shared
from made_up import (
    ADAMW,
    CAYLEY,
    CHAIN,
    DIGITS,
    DOCS,
    ONE_CLASS,
    OWN_MUON,
    PLAIN,
    ROBUSTNESS,
    SGD,
    SHAPES,
    TORCH_MUON,
    TURBO,
    robustness_frame,
    training_frame,
)
from scipy import stats
from test_site_browser import PATIENCE, PHONE, column, draw_all, visible, visit

from orthobench.report.benchmarks import BENCHMARKS, METRICS
from orthobench.report.leaderboard import format_number
from orthobench.report.names import short_names
from orthobench.report.site import render
from orthobench.report.statistics import holm, paired_comparison, quantile

browser, context, page, scripts, site = shared.browser, shared.context, shared.page, shared.scripts, shared.site
CLAIMS_PAGE = "n => document.querySelector('[data-table=claims] .gridjs-currentPage')?.textContent === n"
FIRST_BOARD = "[data-board] [data-shown]"
NONE = "\N{EN DASH}"
FASTER = "AdamW[learning_rate=0.03,weight_decay=0.01]"
REASON = "The step was wrong."
SUPERSEDED = f"""
[[superseded]]
benchmark = "benchmark_muon"
solver = "SGD"
commits = ["{published.COMMIT[:7]}"]
reason = "{REASON}"
"""


@pytest.fixture(scope="module")
def special(site, tmp_path_factory):
    """A small site of rows that don't compare: of several kinds of process, superseded, without a guarantee."""
    folder = tmp_path_factory.mktemp("special")
    since = in_stands.in_stand(in_stands.shifted(training_frame(solvers=(TORCH_MUON,), datasets=(DIGITS,)), 8))
    docs = training_frame(solvers=(ADAMW, TURBO), datasets=(DOCS,)).replace({"solver_name": {ADAMW: FASTER}})
    others = [training_frame(solvers=(one,), datasets=(data,)) for one, data in ((SGD, DIGITS), (OWN_MUON, CHAIN))]
    before = pd.concat([in_stands.training_before(), docs, *others])
    conformal = test_report_conformal.made_up_frame()
    frames = {
        "training/one/before.parquet": before,
        "training/one/since.parquet": pd.concat([in_stands.training_since(), since]),
        "robustness/one/cpu.parquet": robustness_frame(solvers=(PLAIN, CAYLEY), objectives=(ROBUSTNESS, ONE_CLASS)),
        "conformal/one/cpu.parquet": conformal.assign(objective_value=conformal["objective_set_size"]),
    }
    results = published.write(
        folder / "results", {path: published.provenance(each.reset_index(drop=True)) for path, each in frames.items()}
    )
    (results / "history.toml").write_text(SUPERSEDED)
    files, problems = render(results, root=published.ROOT)
    assert problems == []
    shutil.copytree(site / "assets", folder / "site" / "assets")
    for path, content in files.items():
        (folder / "site" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "site" / path).write_bytes(content)
    return folder / "site"


def go(page, site, path, **chosen):
    """Open a page with what is chosen in its address."""
    page.goto("about:blank")  # another address alone would be no new visit
    page.goto(f"{(site / path).as_uri()}#{urlencode(chosen, doseq=True)}")
    page.wait_for_load_state("load")


def eventually(page, read, wanted):
    """Wait until a function returns what is wanted, and stays so: what follows a choice takes a moment."""
    for _ in range(PATIENCE // 100):
        if read() == wanted:
            break
        page.wait_for_timeout(100)
    page.wait_for_timeout(300)
    assert read() == wanted


def is_falling(texts):
    return len(texts) > 1 and texts == sorted(texts, reverse=True)


def keeps(page, told):
    """Wait until the address says exactly this."""

    def read():
        found = parse_qs(page.evaluate("location.hash.slice(1)"), keep_blank_values=True)
        return {key: own if len(own) > 1 else own[0] for key, own in found.items()}

    eventually(page, read, told)


def compare(page, site, benchmark, **chosen):
    """Open a comparison, and return the rows of its table by the header."""
    go(page, site, f"{benchmark}/compare.html", **chosen)
    page.wait_for_selector("#compare tbody tr td:nth-child(11)")
    wanted = [text for key, text in chosen.items() if key.startswith("table.") and key != "table.sort"]
    if wanted:
        page.wait_for_function(
            "t => [...document.querySelectorAll('#compare tbody tr')].every(r => r.textContent.includes(t))",
            arg=wanted[0],
        )
    return rows(page)


def rows(page):
    header, *found = page.locator("#compare table tr").evaluate_all(
        "all => all.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return [dict(zip(header, each, strict=True)) for each in found]


# ----- figures -----


def last(frame, solver, dataset, metric):
    """The last value of each seed whose cell is good."""
    own = frame[(frame["solver_name"] == solver) & (frame["dataset_name"] == dataset)].sort_values("stop_val")
    good = own.groupby("idx_rep").filter(lambda cell: (cell["objective_status"] == "ok").all())
    return good.groupby("idx_rep")[f"objective_{metric}"].last().dropna()


def ttest(a, b):
    """SciPy's paired t test of two series: mean, half of the interval's width, p, n."""
    gap = (a - b).dropna()
    if len(gap) < 2 or np.ptp(gap) == 0:
        zero = len(gap) > 1 and not gap.iloc[0]
        return gap.mean(), np.nan if len(gap) < 2 else 0.0, 1.0 if zero else np.nan, len(gap)
    both = a.index.intersection(b.index)
    found = stats.ttest_rel(a[both], b[both])
    low, high = found.confidence_interval(0.95)
    return gap.mean(), (high - low) / 2, found.pvalue, len(gap)


def expected(folder, a, b):
    """All comparisons of two solvers from the parquet files: by machine, data set and metric."""
    found = {}
    benchmark = next(each for each in BENCHMARKS.values() if each.results == folder)
    for path, frame in published.frames().items():
        if not path.startswith(f"{folder}/"):
            continue
        for dataset in frame["dataset_name"].unique():
            here = frame[frame["dataset_name"] == dataset]
            for metric in benchmark.leaderboards:
                if f"objective_{metric}" in here and here[f"objective_{metric}"].notna().any() and metric != "value":
                    own = [last(frame, solver, dataset, metric) for solver in (a, b)]
                    if ttest(*own)[3]:
                        found[path.split("/")[1], dataset, metric] = (*own, *ttest(*own))
    p = {key: own[4] if own[5] >= 8 else 1.0 for key, own in found.items()}
    adjusted, least = {}, 0.0
    for rank, key in enumerate(sorted(p, key=p.get)):
        least = max(least, (len(p) - rank) * p[key])
        adjusted[key] = min(least, 1.0)
    return {key: (*own[:4], adjusted[key] if own[5] >= 8 else np.nan, own[5]) for key, own in found.items()}


def number(text):
    return np.nan if text == "n/a" else float(text)


PAIRS = [
    ("training", "training", TURBO, ADAMW),
    ("training", "training", SGD, ADAMW),
    ("training", "training", published.EVIL, SGD),
    ("orthogonalisation", "orthogonalisation", "Turbo-Muon", "Muon"),
]


@pytest.mark.parametrize(("name", "folder", "a", "b"), PAIRS)
def test_the_figures_of_a_comparison_are_scipys(site, page, name, folder, a, b):
    wanted = expected(folder, a, b)
    names = short_names(sorted({dataset for _, dataset, _ in wanted}))
    labels = {METRICS[metric].label: metric for _, _, metric in wanted}
    counts, seen = {"A": 0, "B": 0, "not told apart": 0}, 0
    for label in labels:  # a page of the table holds the rows of each
        shown = f"{label}, {METRICS[labels[label]].better} is better"
        for row in compare(page, site, name, a=a, b=b, **{"table.metric": shown}):
            key = [
                key
                for key in wanted
                if key[2] == labels[label] and key[0] == row["machine"] and names[key[1]] == row["data set"]
            ]
            if not key:
                assert row["better"] == NONE
                continue
            seen += 1
            one, other, gap, half, p, n = wanted[key[0]]
            for side, own in (("A", one), ("B", other)):
                mean, _, spread = row[side].partition(" ± ")
                half_own = stats.sem(own) * stats.t.ppf(0.975, len(own) - 1)
                assert [float(mean), float(spread)] == pytest.approx([own.mean(), half_own], rel=5e-3)
            told = re.fullmatch(r"(\S+) \[(\S+), (\S+)\]", row["difference A - B, interval"]).groups()
            assert list(map(float, told)) == pytest.approx([gap, gap - half, gap + half], rel=5e-3)
            assert number(row["p"]) == pytest.approx(p, rel=5e-3, nan_ok=True)
            assert int(row["n"].split()[0]) == n
            better = "not told apart"
            if p <= 0.05:
                better = "A" if (gap < 0) == (METRICS[labels[label]].better == "lower") else "B"
            assert row["better"] == better
            counts[better] += 1
    assert seen == len(wanted) > len(names)
    told = page.get_by_role("status").first.inner_text()
    assert (
        f"on {counts['A']}, worse on {counts['B']}, not told apart on {counts['not told apart']} of {seen} " in told
    ), told


def test_the_scripts_statistics_are_scipys(site, page):
    visit(page, site, "training/compare.html")
    grid = [(t, freedom) for t in (0.0, 1e-3, 0.3, 1.0, 2.3, 7.5, 40.0, 1e4) for freedom in (1, 2, 3, 7, 9, 30, 101)]
    found = page.evaluate("all => all.map(([t, freedom]) => orthobench.statistics.student(t, freedom))", grid)
    assert found == pytest.approx([2 * stats.t.sf(t, freedom) for t, freedom in grid], rel=1e-11, abs=1e-290)
    p = [0.04, 0.001, 1.0, 0.01, 0.04, 0.3]
    assert page.evaluate("p => orthobench.statistics.holm(p)", p) == pytest.approx(holm(p).tolist(), rel=1e-14)
    generator = np.random.default_rng(0)
    quantiles = [0.0, *(float(quantile(0.95, freedom)) for freedom in range(1, 12))]
    pairs = [generator.normal(size=(2, n)) for n in (2, 3, 8, 12)]
    pairs += [[[1.0, 2.0, 3.0], [0.5, 1.5, 2.5]], [[0.1, 0.2, 0.3], [0.1, 0.2, 0.1 + 0.2]], [[7.0, 9.0], [7.0, 9.0]]]
    for one, other in pairs:
        for counted in (False, True):
            wanted = paired_comparison(dict(enumerate(one)), dict(enumerate(other)), counted=counted)
            told = page.evaluate(
                "([a, b, c, q]) => orthobench.statistics.paired(a, b, c, q)",
                [list(map(float, one)), list(map(float, other)), counted, quantiles],
            )
            assert told["n"] == wanted.n
            assert [told["mean"], told["half"], told["p"]] == pytest.approx(
                [wanted.difference, (wanted.high - wanted.low) / 2, wanted.p], rel=1e-12, abs=1e-15
            )


def test_the_script_writes_numbers_as_the_leaderboards_do(site, page):
    visit(page, site, "training/compare.html")
    numbers = [0.0, 1.0, 0.5, -2.0, 12.345, 123.4, 999.6, 1234.0, 1e-3, 1.234e-4, 9.9996e-5, -1.5e-17, 6.02e23]
    numbers += [0.8125, 2.125, 2.375, 1.0625, 1025.0, 1035.0]  # ties
    numbers += (10.0 ** np.random.default_rng(0).uniform(-8, 8, size=200)).tolist()
    told = page.evaluate("all => all.map(orthobench.statistics.format)", numbers)
    assert told == [format_number(each) for each in numbers]


# ----- what does not compare -----


def test_times_of_several_kinds_of_process_are_never_paired(special, page):
    label = f"{METRICS['step_time_ms'].label}, lower is better"
    chosen = {"table.metric": label, "table.data set": "digits"}
    found = compare(page, special, "training", a=TURBO, b=ADAMW, **chosen)
    assert [(row["machine"], row["n"]) for row in found] == [("one (process)", "8"), ("one (before)", "8")]
    (row,) = compare(page, special, "training", a=TORCH_MUON, b=OWN_MUON, **chosen)
    assert "processes of several kinds (A: process; B: before)" in row["difference A - B, interval"]
    assert (row["better"], row["p"]) == (NONE, NONE)
    loss = f"{METRICS['held_out_loss'].label}, lower is better"
    chosen["table.metric"] = loss
    (row,) = compare(page, special, "training", a=TURBO, b=ADAMW, **chosen)
    assert (row["machine"], row["n"]) == ("one", "16")
    (row,) = compare(page, special, "training", a=TORCH_MUON, b=OWN_MUON, **chosen)
    assert "no common seed" in row["difference A - B, interval"]
    assert "memory don't mix" in page.inner_text("main")


def test_superseded_rows_are_shown_and_not_compared(special, page):
    for row in compare(page, special, "training", a=SGD, b=ADAMW):
        assert "superseded" in row["A"] or row["A"].startswith(NONE)
        assert REASON in row["difference A - B, interval"]
        assert row["better"] == NONE
    assert "can't be compared on any data set" in page.get_by_role("status").first.inner_text()


def test_a_solver_without_a_guarantee_is_not_better_by_a_metric_of_guarantees(special, page):
    solvers = list(test_report_conformal.SOLVERS)
    sizes, coverage = (f"{METRICS[each].label}, {METRICS[each].better} is better" for each in ("set_size", "coverage"))
    (row,) = compare(page, special, "coverage", a=solvers[2], b=solvers[0], **{"table.metric": sizes})
    assert row["A"].endswith(", no guarantee")
    assert row["better"] == f"{NONE} no guarantee of A"
    (row,) = compare(page, special, "coverage", a=solvers[2], b=solvers[0], **{"table.metric": coverage})
    assert row["better"] == ("B" if METRICS["coverage"].better == "higher" else "A")


def test_a_family_stands_for_its_only_variant_on_a_data_set(special, page):
    variants = compare(page, special, "training", a="Turbo-Muon", b=SGD)
    assert {row["A"] for row in variants if row["data set"] == "digits"} == {f"{NONE} 2 variants were run: choose one"}
    loss = f"{METRICS['held_out_loss'].label}, lower is better"
    of_family = compare(page, special, "training", a=TURBO, b="AdamW", **{"table.metric": loss})
    of_each = [
        row
        for variant in (ADAMW, FASTER)
        for row in compare(page, special, "training", a=TURBO, b=variant, **{"table.metric": loss})
        if not row["B"].startswith(NONE)
    ]
    assert [row["data set"] for row in of_family] == ["digits", "python_docs"]
    for key in ("data set", "A", "B", "difference A - B, interval", "n"):
        assert [row[key] for row in of_family] == [row[key] for row in of_each]
    go(page, special, "training/compare.html")  # the baseline is such a family
    page.wait_for_selector("#compare[data-shown$=' | AdamW']")
    labels = page.get_by_label("solver A").locator("option").all_inner_texts()
    assert [each for each in labels if "variant" in each] == [
        f"{each} (the variant of each data set)" for each in ("Turbo-Muon", "AdamW")
    ]


# ----- choosing -----


def test_two_solvers_are_chosen_by_keyboard_and_the_address_can_be_sent(site, page, browser):
    visit(page, site, "training/compare.html")
    status = page.get_by_role("status").first
    page.wait_for_selector("#compare tbody tr")
    assert re.search(r"than AdamW on \d", status.inner_text())
    before = status.inner_text()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('label')?.textContent.startsWith('solver A')"):
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("End")
    page.wait_for_function("t => document.querySelector('#compare [role=status]').innerText !== t", arg=before)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    chosen = page.evaluate("document.querySelector('#compare').dataset.shown")
    page.keyboard.press("Enter")
    page.wait_for_function("t => document.querySelector('#compare').dataset.shown !== t", arg=chosen)
    swapped = page.evaluate("document.querySelector('#compare').dataset.shown")
    assert swapped == " | ".join(chosen.split(" | ")[::-1])
    assert page.evaluate("document.activeElement.textContent") == "Swap A and B"
    a, b = swapped.split(" | ")
    keeps(page, {"a": a, "b": b})
    other = browser.new_context(offline=True)
    sent = other.new_page()
    sent.goto(page.url)
    sent.wait_for_selector("#compare tbody tr")
    assert sent.get_by_role("status").first.inner_text() == status.inner_text()
    assert rows(sent) == rows(page)
    other.close()


def test_leaderboards_and_solvers_lead_to_their_comparison_with_the_baseline(site, page):
    visit(page, site, "training/index.html")
    page.wait_for_selector(FIRST_BOARD)
    row = page.locator("[data-board] tbody tr", has_text="turbo_muon")
    shown = row.locator("td").nth(4).inner_text()
    row.locator("td").nth(4).get_by_role("link").click()
    page.wait_for_selector("#compare tbody tr")
    assert page.locator("#compare").get_attribute("data-shown") == f"{TURBO} | {ADAMW}"
    first = rows(page)[0]
    assert first["difference A - B, interval"] == shown.partition(",")[0] + "," + shown.split(",")[1]
    visit(page, site, "training/solvers/sgd.html")
    page.get_by_role("link", name="Compare SGD with another solver").click()
    page.wait_for_selector("#compare tbody tr")
    assert page.locator("#compare").get_attribute("data-shown") == f"{SGD} | {ADAMW}"
    visit(page, site, "training/index.html")
    page.get_by_role("link", name="Compare two solvers").click()
    page.wait_for_selector("#compare tbody tr")


def test_what_an_address_does_not_know_is_ignored(site, page):
    for text in ("a=Nobody&b=&table.sort=nothing&table.page=99&=&x=%E0%A4%A", "a", "&&&", "__proto__=1"):
        page.goto("about:blank")
        page.goto(f"{(site / 'training/compare.html').as_uri()}#{text}")
        page.wait_for_selector("#compare tbody tr")
        assert page.locator("#compare").get_attribute("data-shown").endswith(f" | {ADAMW}")
        told = page.locator("#compare p.lead").inner_text()  # what is shown in the place of an unknown name
        assert told.startswith("There is no solver Nobody here. ") == ("Nobody" in text)
    go(page, site, "training/index.html", **{"board.metric": "x", "board.data": "y", "board.machine": "z", "open": "w",
                                             "board.sort": "-none", "differences.metric": "v"})  # fmt: skip
    page.wait_for_selector(FIRST_BOARD)
    assert page.locator(FIRST_BOARD).get_attribute("data-shown") == "one digits held_out_loss"
    assert len(column(page, "[data-board]", 2)) == 5
    draw_all(page)


# ----- state -----


def test_a_leaderboards_menus_sort_search_and_filters_survive_a_reload_and_can_be_sent(site, page, browser):
    visit(page, site, "training/index.html")
    page.wait_for_selector(FIRST_BOARD)
    length = page.evaluate("history.length")
    board = page.locator("[data-board]")
    board.get_by_label("data set").select_option(label="python_docs")
    page.wait_for_selector("[data-board] [data-shown='one python_docs held_out_loss']")
    board.get_by_label("metric").select_option(label=METRICS["held_out_accuracy"].label)
    page.wait_for_selector("[data-board] [data-shown$=held_out_accuracy]")
    for order in ("ascending", "descending"):
        board.locator("thead th", has_text="solver").press("Enter")
        page.wait_for_selector(f"[data-board] th[aria-sort={order}]")
    board.locator("input[type=search]").fill("Muon")
    page.wait_for_function("() => document.querySelectorAll('[data-board] tbody tr').length < 4")
    told = {"board.data": DOCS, "board.metric": "held_out_accuracy", "board.sort": "-solver", "board.search": "Muon"}
    keeps(page, told)
    assert page.evaluate("history.length") == length
    eventually(page, lambda: is_falling(column(page, "[data-board]", 2)), True)
    shown = column(page, "[data-board]", 2)

    def check(opened):
        opened.wait_for_selector("[data-board] [data-shown='one python_docs held_out_accuracy']")
        eventually(opened, lambda: column(opened, "[data-board]", 2), shown)
        assert opened.locator("[data-board] input[type=search]").input_value() == "Muon"

    page.reload()
    check(page)
    keeps(page, told)
    other = browser.new_context(offline=True)
    sent = other.new_page()
    sent.goto(page.url)
    check(sent)
    other.close()
    # What is the page's own choice is not there; another setting begins afresh.
    board.get_by_label("metric").select_option(label=METRICS["held_out_loss"].label)
    board.get_by_label("data set").select_option(label="digits")
    page.wait_for_selector("[data-board] [data-shown='one digits held_out_loss']")
    keeps(page, {})
    board.get_by_label("failures").select_option(label="2 diverged")
    page.wait_for_function("() => document.querySelectorAll('[data-board] tbody tr').length === 1")
    keeps(page, {"board.failures": "2 diverged"})
    page.reload()
    page.wait_for_function("() => document.querySelectorAll('[data-board] .gridjs-tbody tr').length === 1")
    assert [text.split()[0] for text in column(page, "[data-board]", 2)] == ["SGD"]


def test_a_machine_and_an_objective_are_in_the_address(site, special, page):
    visit(page, site, "training/index.html")
    page.wait_for_selector(FIRST_BOARD)
    page.locator("[data-board]").get_by_label("machine").select_option(label="two")
    page.wait_for_selector("[data-board] [data-shown^=two]")
    keeps(page, {"board.machine": "two"})
    page.reload()
    page.wait_for_selector("[data-board] [data-shown^=two]")
    visit(page, special, "robustness/index.html")
    page.wait_for_selector(FIRST_BOARD)
    page.locator("[data-board]").get_by_label("data set").select_option(index=1)
    page.wait_for_selector("[data-board] [data-shown*='one_class']")
    keeps(page, {"board.data": SHAPES, "board.objective": ONE_CLASS})
    page.reload()
    page.wait_for_selector("[data-board] [data-shown*='one_class']")
    assert page.locator("[data-board]").get_by_label("data set").input_value() == "1"


def test_a_filter_leaves_the_order_of_a_table(site, page):
    def means():
        return [float(text.split()[0]) for text in column(page, "[data-board]", 3)]

    go(page, site, "training/index.html", **{"board.sort": "-mean"})
    page.wait_for_selector(FIRST_BOARD)
    eventually(page, lambda: len(means()) == 5 and means() == sorted(means(), reverse=True), True)
    page.locator("[data-board]").get_by_label("failures").select_option(label="none")
    page.wait_for_function("() => document.querySelectorAll('[data-board] tbody tr').length < 5")
    eventually(page, lambda: len(means()) > 1 and means() == sorted(means(), reverse=True), True)


def test_a_table_of_several_pages_opens_at_the_one_of_the_address(site, page):
    visit(page, site, "index.html")
    page.locator("#claims-details > summary").press("Enter")
    scope = "[data-table=claims]"
    page.locator(f"{scope} .gridjs-pages button", has_text="2").press("Enter")
    page.wait_for_function(
        "() => document.querySelector('[data-table=claims] .gridjs-currentPage').textContent === '2'"
    )
    keeps(page, {"claims.page": "2", "open": "claims"})
    page.wait_for_function("() => document.querySelectorAll('[data-table=claims] tbody tr').length < 50")
    second = column(page, scope, 3)
    page.reload()
    page.wait_for_function(
        "() => document.querySelector('[data-table=claims] .gridjs-currentPage')?.textContent === '2'"
    )
    page.wait_for_function("() => document.querySelectorAll('[data-table=claims] tbody tr').length < 50")
    assert page.locator("#claims-details").get_attribute("open") is not None
    assert column(page, scope, 3) == second
    page.locator(f"{scope} thead th").first.press("Enter")  # another order begins with the first page
    page.wait_for_function(
        "() => document.querySelector('[data-table=claims] .gridjs-currentPage').textContent === '1'"
    )
    keeps(page, {"claims.sort": "verdict", "open": "claims"})


def test_a_plots_menus_and_hidden_methods_survive_a_reload(site, page):
    visit(page, site, "training/index.html")
    draw_all(page)
    figure = page.locator("#plot-learning_curve")
    before = figure.get_attribute("data-drawn")
    figure.get_by_label("metric").select_option(label=METRICS["held_out_accuracy"].label)
    page.wait_for_function("b => document.querySelector('#plot-learning_curve').dataset.drawn !== b", arg=before)
    figure.locator("summary").click()
    figure.get_by_label("AdamW", exact=False).first.uncheck()
    drawn, told = figure.get_attribute("data-drawn"), {"learning_curve.metric": "held_out_accuracy"}
    keeps(page, {**told, "learning_curve.hidden": "AdamW"})
    eventually(page, lambda: "AdamW" in visible(page, "learning_curve"), False)
    shown = visible(page, "learning_curve")
    page.reload()
    draw_all(page)
    assert figure.get_attribute("data-drawn") == drawn
    eventually(page, lambda: visible(page, "learning_curve"), shown)
    keeps(page, {**told, "learning_curve.hidden": "AdamW"})
    # Where more is hidden than shown, the address has what is shown.
    figure.locator("summary").click()
    figure.get_by_role("button", name="None").click()
    figure.get_by_label("SGD", exact=False).first.check()
    keeps(page, {**told, "learning_curve.shown": "SGD"})
    page.reload()
    draw_all(page)
    eventually(page, lambda: {name.split(":")[0] for name in visible(page, "learning_curve")}, {"SGD"})
    # That none is shown is an empty name.
    figure.locator("summary").click()
    figure.get_by_role("button", name="None").click()
    keeps(page, {**told, "learning_curve.shown": ""})
    page.reload()
    figure.scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelector('#plot-learning_curve').dataset.drawn")
    assert visible(page, "learning_curve") == []


def test_anchors_work_beside_what_is_chosen(site, page):
    go(page, site, "training/index.html", **{"board.metric": "held_out_accuracy"})
    page.wait_for_selector("[data-board] [data-shown$=held_out_accuracy]")
    page.get_by_role("link", name="Claims", exact=True).click()
    page.wait_for_function("() => location.hash === '#claims&board.metric=held_out_accuracy'")
    assert page.evaluate("Math.abs(document.getElementById('claims').getBoundingClientRect().top) < innerHeight")
    assert page.locator(FIRST_BOARD).get_attribute("data-shown").endswith("held_out_accuracy")
    name = page.locator("details.claim").nth(1).get_attribute("id").removesuffix("-details")
    page.goto("about:blank")
    page.goto(f"{(site / 'training/index.html').as_uri()}#{name}&board.metric=held_out_accuracy")
    page.wait_for_selector("[data-board] [data-shown$=held_out_accuracy]")
    assert page.evaluate("n => document.getElementById(n + '-details').open", name)
    summary = page.locator("details.claim summary")
    summary.nth(0).press("Enter")
    summary.nth(1).press("Enter")  # closes the one of the link
    first = page.locator("details.claim").nth(0).get_attribute("id").removesuffix("-details")
    keeps(page, {"board.metric": "held_out_accuracy", "open": first})
    page.reload()
    page.wait_for_selector("[data-board] [data-shown$=held_out_accuracy]")
    assert page.locator("details.claim[open]").evaluate_all("all => all.map(each => each.id)") == [f"{first}-details"]


def test_another_address_on_the_same_page_is_shown_at_once(site, page):
    go(page, site, "training/compare.html", a=SGD, b=ADAMW)
    page.wait_for_selector(f"#compare[data-shown='{SGD} | {ADAMW}']")
    page.evaluate("text => { location.hash = text; }", urlencode({"a": TURBO, "b": SGD}))
    page.wait_for_selector(f"#compare[data-shown='{TURBO} | {SGD}']")
    page.go_back()
    page.wait_for_selector(f"#compare[data-shown='{SGD} | {ADAMW}']")


# ----- every reader -----


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE["width"], 768, 1440])
def test_a_comparison_fits_and_axe_finds_no_serious_violation(site, page, scripts, width, scheme):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    compare(page, site, "training", a=published.EVIL, b=SGD)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(scripts)
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'], preload: false })")
    assert [each["id"] for each in found["violations"] if each["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.querySelectorAll('img[src=x]').length") == 0
    assert "<script>alert(1)</script>" in page.get_by_role("status").first.inner_text()


def test_without_javascript_the_page_says_what_it_needs_and_where_the_tables_are(site, browser):
    plain = browser.new_context(offline=True, java_script_enabled=False)
    page = plain.new_page()
    page.goto((site / "training/compare.html").as_uri())
    assert "The comparison needs JavaScript" in page.inner_text("main")
    page.locator("noscript li a").first.click()
    assert page.locator("table").count() > 1
    plain.close()

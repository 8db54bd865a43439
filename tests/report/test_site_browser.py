"""The site in a real browser, opened from disk, with the network off."""

import os
import shutil

import published
import pytest

from orthobench.report.site import vendor
from orthobench.report.site.tables import leading_number

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("there is no Chromium on this machine: apt-get install chromium", allow_module_level=True)

AXE = vendor.Script(
    "axe-core",
    "4.10.3",
    "package/axe.min.js",
    "880970c081707360e64f34cea25ff91892f5bc95675b0776925b9709dd8a68bb",
)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 60_000  # milliseconds: machines are shared
PHONE = {"width": 380, "height": 800}


@pytest.fixture(scope="module")
def scripts():
    """Have the scripts of others in the user's own cache, which the tests' session hides."""
    hidden = os.environ.pop("ORTHOBENCH_CACHE", None)
    try:
        reason = published.missing_scripts()
        if reason:
            pytest.skip(reason)
        published.site()
        return vendor.vendored(AXE).decode()
    finally:
        if hidden is not None:
            os.environ["ORTHOBENCH_CACHE"] = hidden


@pytest.fixture(scope="module")
def site(scripts):
    return published.site()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def context(browser):
    made = browser.new_context(offline=True, viewport={"width": 1200, "height": 900}, accept_downloads=True)
    made.set_default_timeout(PATIENCE)
    yield made
    made.close()


@pytest.fixture
def page(context):
    """A page that fails its test if it writes an error, asks for what is outside of the site, or opens a dialogue."""
    opened, wrong = context.new_page(), []
    opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("dialog", lambda dialog: (wrong.append(f"dialogue: {dialog.message}"), dialog.dismiss()))
    # What leaving a page cuts off is no failure: a file that isn't there has another error.
    cut_off = "net::ERR_ABORTED"
    opened.on("requestfailed", lambda each: wrong.append(f"failed: {each.url}") if each.failure != cut_off else None)
    opened.wrong = wrong
    outside = lambda url: not url.startswith(("file:", "data:", "blob:"))  # noqa: E731
    opened.on("request", lambda request: wrong.append(f"outside: {request.url}") if outside(request.url) else None)
    yield opened
    opened.close()
    assert wrong == []


def visit(page, site, path):
    page.goto((site / path).as_uri())
    page.wait_for_load_state("load")


def paths(site):
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))


def draw_all(page):
    """Bring each plot into view until it is drawn; return what each shows: its name, traces and rows."""
    found = []
    for number in range(page.locator("figure.plot").count()):
        figure = page.locator("figure.plot").nth(number)
        figure.scroll_into_view_if_needed()
        page.wait_for_function("n => document.querySelectorAll('figure.plot')[n].dataset.drawn", arg=number)
        page.wait_for_function(  # tables are filled a moment after they are made
            "n => document.querySelectorAll('figure.plot')[n].querySelector('.scatterlayer .trace, tbody tr')",
            arg=number,
        )
        found.append(
            figure.evaluate(
                "f => [f.dataset.plot, f.querySelectorAll('.scatterlayer .trace').length, "
                "f.querySelectorAll('tbody tr').length]"
            )
        )
    return found


# At once, for a script may draw the table anew at any moment.
FIRST_MEAN_IN_SIGHT = """width => {
  const cell = document.querySelector('[data-table^="board"] .gridjs-tbody td:nth-child(3)');
  const { left, right } = cell ? cell.getBoundingClientRect() : {};
  return parseFloat(cell?.innerText) > 0 && 0 <= left && left < right && right <= width;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 768, 1440])
def test_the_mean_of_the_first_row_is_in_sight(site, page, width, scheme):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    for path in ("training/index.html", next(each for each in paths(site) if each.startswith("training/one/1-"))):
        visit(page, site, path)
        page.wait_for_function(FIRST_MEAN_IN_SIGHT, arg=width)


def test_every_page_loads_on_a_phone_without_a_scroll_bar_an_error_or_a_request(site, page):
    page.set_viewport_size(PHONE)
    for path in paths(site):
        visit(page, site, path)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], (path, width)
        assert page.locator("h1").count() == 1, path


@pytest.mark.parametrize("name", ["orthogonalisation", "training", "robustness"])
def test_every_plot_has_drawn_its_traces(site, page, name):
    visit(page, site, f"{name}/index.html")
    shown = draw_all(page)
    assert {"differences", "claims"} & {plot for plot, _, _ in shown} == {"differences"}
    assert len(shown) >= 4
    for plot, traces, rows in shown:
        assert traces or rows, plot
    page.set_viewport_size(PHONE)
    page.wait_for_function("most => document.documentElement.scrollWidth <= most", arg=PHONE["width"])
    page.set_viewport_size({"width": 1200, "height": 900})


NATIVE = "benchopt.html"
SHOWN = """kind => {
    const drawn = document.querySelectorAll("#plot_with_legend_container .scatterlayer .trace, #table_container td");
    return window._state.plot_kind === kind && [...drawn].some(each => each.checkVisibility());
}"""


def test_benchopts_own_pages_draw_each_plot_from_the_disk_alone(site, page):
    natives = [path for path in paths(site) if path.endswith(f"/{NATIVE}")]
    assert len(natives) == 4
    for path in natives[:3]:  # the fourth is the same benchmark's
        visit(page, site, path)
        kinds = page.locator("#plot_kind").first.locator("option").evaluate_all("all => all.map(each => each.value)")
        assert len(kinds) >= 5
        for kind in kinds:
            page.locator("#plot_kind").first.select_option(kind)
            page.wait_for_function(SHOWN, arg=kind)


def test_benchopts_own_page_shows_a_hostile_description_as_text(site, page):
    visit(page, site, f"training/one/{NATIVE}")
    page.wait_for_selector("#plot_legend .curve")
    told = page.locator(".curve-description-body").all_text_contents()
    assert any(text.startswith("About Evil</script><script>alert(1)</script><img src=x") for text in told)
    assert page.evaluate("document.querySelectorAll('img[src=x]').length") == 0
    page.get_by_role("link", name="Leaderboards, claims and rows").click()
    page.wait_for_url("**/training/index.html")
    page.get_by_role("link", name="one", exact=True).last.click()
    page.wait_for_url(f"**/one/{NATIVE}")


def test_benchopts_own_page_runs_no_script_that_is_not_the_sites(site, page):
    """As a stranger's text would, were it not escaped."""
    visit(page, site, f"training/one/{NATIVE}")
    page.evaluate(
        """() => {
            const box = document.createElement("div");
            box.innerHTML = "<b onclick='window.ran = 1'>b</b>";
            document.body.append(box);
            box.firstChild.click();
        }"""
    )
    assert page.evaluate("window.ran") is None
    blocked = [text for text in page.wrong if "Content Security Policy" in text]
    assert len(blocked) == 1
    page.wrong.remove(blocked[0])


def column(page, scope, number):
    return page.locator(f"{scope} tbody tr td:nth-child({number})").all_inner_texts()


def test_leaderboards_sort_filter_search_and_change_their_metric_and_machine(site, page):
    visit(page, site, "training/index.html")
    board = "[data-board]"
    page.wait_for_selector(f"{board} [data-shown]")
    means = list(map(leading_number, column(page, board, 3)))
    assert means == sorted(means)
    header = page.locator(f"{board} thead th", has_text="mean")
    header.click()
    header.click()
    page.wait_for_function(
        "([b, most]) => parseFloat(document.querySelector(b + ' tbody tr td:nth-child(3)').innerText) === most",
        arg=[board, max(means)],
    )
    assert list(map(leading_number, column(page, board, 3))) == sorted(means, reverse=True)

    page.get_by_label("failures").select_option(label="2 diverged")
    page.wait_for_function("b => document.querySelectorAll(b + ' tbody tr').length === 1", arg=board)
    assert [text.split()[0] for text in column(page, board, 2)] == ["SGD"]
    page.get_by_label("failures").select_option(label="all")
    page.wait_for_function("b => document.querySelectorAll(b + ' tbody tr').length > 1", arg=board)
    page.locator(f"{board} input[type=search]").fill("=turbo_muon")
    page.wait_for_function("b => document.querySelectorAll(b + ' tbody tr').length === 1", arg=board)

    page.locator(board).get_by_label("metric").select_option(label="held-out accuracy")
    page.wait_for_selector(f"{board} [data-shown$=held_out_accuracy]")
    means = list(map(leading_number, column(page, board, 3)))
    assert means == sorted(means, reverse=True)
    page.locator(board).get_by_label("machine").select_option(label="two")
    page.wait_for_selector(f"{board} [data-shown^=two]")
    assert "(two)" in page.locator(f"{board} h3").inner_text()
    page.wait_for_function("b => document.querySelectorAll(b + ' tbody tr').length === 2", arg=board)


def test_a_table_is_drawn_although_a_step_joins_while_it_is_computed(site, page):
    """As the search does on a busy machine: Grid.js by itself then shows an error in the place of the rows."""
    visit(page, site, "training/index.html")
    rows = page.evaluate(
        """async () => {
            const { pipeline } = new gridjs.Grid({ columns: ["name"], data: [["a"], ["b"]] }).config;
            const last = pipeline.steps.at(-1).type;
            const step = (id, type) => ({ id, type, on: () => {}, process: (rows) => ({ length: rows.length }) });
            pipeline.register(step("pages", last + 3));
            const computing = pipeline.process();
            pipeline.register(step("search", last + 1));
            await computing;
            return (await pipeline.process()).length;
        }"""
    )
    assert rows == 2


VISIBLE = "document.querySelector(`#plot-${p} .chart`).data.filter(t => t.visible === true).map(t => t.name)"


def visible(page, plot):
    return page.evaluate(f"p => {VISIBLE}", plot)


def test_methods_are_toggled_and_choices_change_the_figure(site, page):
    visit(page, site, "training/index.html")
    draw_all(page)
    figure = page.locator("#plot-learning_curve")
    figure.locator("summary").click()
    assert any(name.startswith("AdamW") for name in visible(page, "learning_curve"))
    figure.get_by_label("AdamW", exact=False).first.uncheck()
    page.wait_for_function(f"p => !{VISIBLE}.includes('AdamW')", arg="learning_curve")
    assert visible(page, "learning_curve")
    figure.get_by_role("button", name="None").click()
    page.wait_for_function(f"p => {VISIBLE}.length === 0", arg="learning_curve")
    figure.get_by_role("button", name="All").click()
    page.wait_for_function(f"p => {VISIBLE}.includes('AdamW')", arg="learning_curve")
    before = figure.get_attribute("data-drawn")
    figure.get_by_label("metric").select_option(label="held-out accuracy")
    page.wait_for_function("b => document.querySelector('#plot-learning_curve').dataset.drawn !== b", arg=before)
    title = "document.querySelector('#plot-learning_curve .chart').layout.yaxis.title.text"
    page.wait_for_function(f"{title}.startsWith('held-out accuracy')")


def best(count):
    """The baseline and the best of the made-up matrices' solvers, on the first data set."""
    rows = published.matrices()
    rows = rows[rows["dataset_name"] == rows["dataset_name"].iloc[0]].sort_values("stop_val")
    means = rows.groupby(["solver_name", "idx_rep"])["objective_relative_error"].last().groupby("solver_name").mean()
    assert len(means) > count + 1
    return {"Muon", *means.drop("Muon").nsmallest(count).index}, set(means.index)


OPACITIES = "Object.fromEntries(document.querySelector(`#plot-${p} .chart`).data.map(t => [t.legendgroup, t.opacity]))"


def test_the_baseline_and_the_six_best_are_shown_at_first_and_all_on_demand(site, page):
    visit(page, site, "orthogonalisation/index.html")
    draw_all(page)
    first, every = best(6)
    figure = page.locator("#plot-error_against_time")
    assert set(visible(page, "error_against_time")) == first
    assert f"{len(first)} of {len(every)}" in figure.locator(".some").inner_text()
    figure.get_by_role("button", name="Show all").click()
    page.wait_for_function(f"([p, n]) => new Set({VISIBLE}).size === n", arg=["error_against_time", len(every)])
    assert set(visible(page, "error_against_time")) == every
    figure.get_by_role("button", name="Show the best").click()
    page.wait_for_function(f"([p, n]) => new Set({VISIBLE}).size === n", arg=["error_against_time", len(first)])
    assert first | {"front of the means"} <= set(visible(page, "front"))
    # What the reader chose stays, whatever the figure.
    figure.locator("summary").click()
    figure.get_by_label("Cubic-5").check()
    before = figure.get_attribute("data-drawn")
    figure.get_by_label("data set").select_option(index=1)
    page.wait_for_function("b => document.querySelector('#plot-error_against_time').dataset.drawn !== b", arg=before)
    assert set(visible(page, "error_against_time")) == first | {"Cubic-5"}


def test_a_solver_stands_out_where_the_keyboard_or_the_pointer_is(site, page):
    visit(page, site, "orthogonalisation/index.html")
    draw_all(page)
    plot, shown = "error_against_time", best(6)[0]
    figure = page.locator(f"#plot-{plot}")
    figure.locator("summary").focus()
    page.keyboard.press("Enter")
    seen = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.type === 'checkbox' && document.activeElement.value")
        if focused in shown:
            page.wait_for_function(f"([p, g]) => {OPACITIES}[g] === 1", arg=[plot, focused])
            opacities = page.evaluate(f"p => {OPACITIES}", plot)
            assert {group for group, opacity in opacities.items() if opacity == 1} == {focused}
            drawn = figure.locator(".scatterlayer .trace").evaluate_all("all => all.map(t => t.style.opacity)")
            assert {"1", "0.15"} <= set(drawn)
            seen.add(focused)
    assert seen == shown
    page.locator("h1").evaluate("h => { h.tabIndex = -1; h.focus(); }")
    page.wait_for_function(f"p => Object.values({OPACITIES}).every(each => each === 1)", arg=plot)
    figure.locator(".toggles li", has_text="QR").hover()
    page.wait_for_function(f"p => {OPACITIES}['QR'] === 1 && {OPACITIES}['Muon'] < 1", arg=plot)
    figure.locator("h3").hover()
    page.wait_for_function(f"p => Object.values({OPACITIES}).every(each => each === 1)", arg=plot)
    figure.locator(".scatterlayer .points path").first.hover(force=True)
    page.wait_for_function(f"p => Object.values({OPACITIES}).filter(each => each === 1).length === 1", arg=plot)


def test_figures_and_rows_are_downloaded(site, page):
    visit(page, site, "training/index.html")
    draw_all(page)
    figure = page.locator("#plot-learning_curve")
    for format, start in (("SVG", b"<svg"), ("PNG", b"\x89PNG")):
        with page.expect_download() as download:
            figure.get_by_role("button", name=format).click()
        assert download.value.suggested_filename == f"orthobench-learning_curve.{format.lower()}"
        with open(download.value.path(), "rb") as file:
            assert file.read(4).startswith(start[:4])
    for link in page.locator("#downloads ~ ul a[download]").all():
        target = page.evaluate("a => new URL(a.getAttribute('href'), location.href).pathname", link.element_handle())
        assert os.path.getsize(target) > 1000


def violations(page, axe, **options):
    """What axe finds on a page as it is: the rule, the first place, and what is wrong with it."""
    page.evaluate(axe)
    found = page.evaluate(
        "options => axe.run(document, options)", {"resultTypes": ["violations"], "preload": False, **options}
    )
    return [
        (each["id"], each["nodes"][0]["html"][:200], each["nodes"][0]["failureSummary"]) for each in found["violations"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(site, page, scripts, scheme):
    page.emulate_media(color_scheme=scheme)
    rows = next(path for path in paths(site) if path.startswith("training/one/1-"))
    # In the dark only the colours are others.
    rules = {} if scheme == "light" else {"runOnly": ["color-contrast"]}
    for path in ("index.html", "training/index.html", rows, "training/solvers/adamw.html"):
        visit(page, site, path)
        if scheme == "light" and page.locator("figure.plot").count():
            draw_all(page)
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        assert violations(page, scripts, **rules) == [], path


def test_hostile_names_and_messages_are_shown_as_text(site, page):
    visit(page, site, "training/index.html")
    draw_all(page)
    page.wait_for_selector("[data-board] [data-shown]")
    assert any("<script>alert(1)</script>" in text for text in column(page, "[data-board]", 2))
    evil = next(path for path in paths(site) if path.startswith("training/solvers/evil"))
    visit(page, site, evil)
    assert "<img src=x onerror=" in page.locator("h1").inner_text()
    assert "About Evil</script>" in page.locator(".prose").inner_text()
    rows = next(path for path in paths(site) if path.startswith("training/one/1-"))
    visit(page, site, rows)
    page.get_by_text("refuted </script><script>alert(1)", exact=False).first.wait_for(state="attached")
    assert page.evaluate("document.querySelectorAll('img[src=x]').length") == 0


def test_tables_can_be_read_without_javascript(site, browser):
    plain = browser.new_context(offline=True, java_script_enabled=False)
    page = plain.new_page()
    page.goto((site / "training/index.html").as_uri())
    text = page.locator("[data-board=one] table").inner_text()
    assert "AdamW" in text
    assert "2 diverged" in text
    assert page.locator("noscript p").is_visible()
    page.goto((site / "index.html").as_uri())
    assert page.locator("#claims tbody tr").count() > 10
    plain.close()


def test_a_link_to_a_claim_opens_it(site, page):
    visit(page, site, "index.html")
    page.get_by_role("link", name="checks").first.click()
    page.wait_for_load_state("load")
    name = page.evaluate("location.hash.slice(1)")
    assert page.evaluate("n => document.getElementById(n + '-details').open", name)


def test_the_texts_of_badges_fit(site, page):
    badges = sorted((site / "badges").rglob("*.svg"))
    assert len(badges) > 4
    for path in badges:
        visit(page, site, path.relative_to(site))
        found = page.evaluate(
            """() => [...document.querySelectorAll("text")].map((text) => {
                const wanted = text.textLength.baseVal.value, start = text.getBBox().x;
                text.removeAttribute("textLength");
                return [start, wanted, text.getComputedTextLength()];
            })"""
        )
        width = page.evaluate("document.documentElement.width.baseVal.value")
        (start, wanted, _), (then, last, _) = found
        assert 0 < start < start + wanted < then < then + last < width, path
        assert all(0.8 * wanted < natural < 1.25 * wanted for _, wanted, natural in found), path


def test_a_bar_is_as_long_as_its_parts(site, page):
    visit(page, site, "index.html")
    bars = page.evaluate(
        """() => [...document.querySelectorAll("#matrix .bar svg")].map((svg) => [
            svg.clientWidth, svg.viewBox.baseVal.width, svg.getAttribute("aria-label"),
            [...svg.children].map((part) => [part.getBoundingClientRect().width, part.width.baseVal.value]),
        ])"""
    )
    assert bars
    for width, tests, told, parts in bars:
        assert told.endswith(f" of {tests:.0f}")
        assert sum(count for _, count in parts) == tests
        for drawn, count in parts:
            assert drawn == pytest.approx(width * count / tests, abs=1)


def test_the_keyboard_reaches_menus_and_sorts(site, page):
    visit(page, site, "training/index.html")
    page.wait_for_selector("[data-board] [data-shown]")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("[data-board]").get_by_label("metric").focus()
    before = page.locator("[data-board] h3").inner_text()
    page.keyboard.press("ArrowDown")
    page.wait_for_function("t => document.querySelector('[data-board] h3').innerText !== t", arg=before)

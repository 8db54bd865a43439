"""Tables in a real browser: what is in sight, what the keyboard does, what is explained, and that axe finds nothing."""

import re

import pytest
import test_site_browser as browsing
from test_site_browser import paths, violations, visit

scripts, site, browser, context, page = (
    getattr(browsing, name) for name in ("scripts", "site", "browser", "context", "page")
)
WIDTHS, SCHEMES = (380, 768, 1440), ("light", "dark")
BOARD = '[data-table^="board"]'


def kinds(site):
    """One page of each kind."""
    rows = next(path for path in paths(site) if path.startswith("training/one/1-"))
    return dict(zip(KINDS, ("index.html", "training/index.html", "training/solvers/adamw.html", rows), strict=True))


KINDS = ("home", "benchmark", "solver", "rows")


def settled(page):
    """Wait until all tables that Grid.js draws have their headings, and open what is folded."""
    page.wait_for_function(
        "() => [...document.querySelectorAll('.table')].every(each => each.querySelector('th[aria-sort]'))"
    )
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")


def luminance(colour):
    parts = [int(each) / 255 for each in re.findall(r"\d+", colour)[:3]]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


CLIPPED = """() => [...document.querySelectorAll("main *")].filter((each) => {
    const style = getComputedStyle(each);
    if (style.overflowX === "visible" || each.scrollWidth <= each.clientWidth + 1) return false;
    return each.checkVisibility() && !each.closest(".chart, select") && !(each.dataset.more || "").match(/left|right/);
}).map((each) => each.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing_nothing_is_clipped_without_a_cue_and_the_first_figure_is_in_sight(
    site, page, scripts, kind, width
):
    page.set_viewport_size({"width": width, "height": 900})
    visit(page, site, kinds(site)[kind])
    settled(page)
    page.wait_for_function(f"() => ({CLIPPED})().length === 0")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if kind in ("benchmark", "rows"):
        first = page.locator(f"{BOARD} tbody tr").first
        assert re.fullmatch(r"[\d.e-]+ ± [\d.e-]+", first.locator("td").nth(2).inner_text())
        for place in (1, 2):  # the solver, the mean with its half-width
            box = first.locator("td").nth(place).bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
    # Of what axe looks at, only this depends on the width, and colours on the scheme.
    rules = {} if width == min(WIDTHS) else {"runOnly": ["scrollable-region-focusable"]}
    assert violations(page, scripts, **rules) == []
    page.emulate_media(color_scheme="dark")
    if width == min(WIDTHS):
        assert violations(page, scripts, runOnly=["color-contrast"]) == []


def test_a_box_has_a_shadow_where_it_has_more(site, page):
    page.set_viewport_size({"width": 380, "height": 900})
    visit(page, site, "training/index.html")
    settled(page)
    box = page.locator(BOARD).first.locator(".gridjs-wrapper")
    for left, more, after in ((0, "right", "visible"), (50, "left right", "visible"), (10_000, "left", "hidden")):
        box.evaluate("(each, left) => { each.scrollLeft = left; }", left)
        page.wait_for_function("([each, more]) => each.dataset.more === more", arg=[box.element_handle(), more])
        assert box.evaluate("each => getComputedStyle(each, '::after').visibility") == after


@pytest.mark.parametrize("kind", ["benchmark", "rows"])
def test_the_solver_stays_in_sight(site, page, kind):
    page.set_viewport_size({"width": 380, "height": 900})
    visit(page, site, kinds(site)[kind])
    settled(page)
    box = page.locator(f"{BOARD} .gridjs-wrapper").first
    box.evaluate("each => { each.scrollLeft = 10000; }")
    assert box.evaluate("each => each.scrollLeft") > 200
    solver, last = (box.locator("tbody tr").first.locator("td").nth(place).bounding_box() for place in (1, 9))
    assert solver["x"] >= 0
    assert last["x"] + last["width"] <= 380
    assert solver["x"] + solver["width"] < 380 / 2 + 20


@pytest.mark.parametrize("kind", KINDS)
def test_headings_say_how_they_sort_and_enter_sorts(site, page, kind):
    visit(page, site, kinds(site)[kind])
    settled(page)
    header = page.locator(".table th").first
    assert header.get_attribute("scope") == "col"
    header.focus()
    for order in ("ascending", "descending"):
        page.keyboard.press("Enter")
        page.wait_for_function(
            "order => document.querySelector('.table th').getAttribute('aria-sort') === order", arg=order
        )
    others = page.locator(".table").first.locator("th").evaluate_all("all => all.slice(1).map(each => each.ariaSort)")
    assert set(others) == {"none"}


@pytest.mark.parametrize("kind", KINDS)
def test_each_table_has_its_caption_as_its_name(site, page, kind):
    visit(page, site, kinds(site)[kind])
    settled(page)
    for table in page.locator(".table table").all():
        name = page.evaluate("id => document.getElementById(id).textContent", table.get_attribute("aria-labelledby"))
        assert len(name) > 20
        assert table.get_attribute("role") is None


def shown(page):
    return page.locator(".tip:visible").all_inner_texts()


@pytest.mark.parametrize("kind", KINDS)
def test_a_heading_is_explained_by_keyboard_and_escape_puts_it_away(site, page, kind):
    visit(page, site, kinds(site)[kind])
    settled(page)
    header = page.locator(".table th[data-tip]").first
    tip = page.locator(f"#{header.get_attribute('aria-describedby')}")
    assert tip.get_attribute("role") == "tooltip"
    assert shown(page) == []
    before = page.locator(".table").first.locator("input, select").last
    before.focus()
    for _ in range(3):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.tip"):
            break
    (text,) = shown(page)
    described = page.evaluate("document.activeElement.getAttribute('aria-describedby')")
    assert text == page.locator(f"#{described}").text_content()
    page.keyboard.press("Escape")
    assert shown(page) == []
    page.keyboard.press("Tab")
    assert shown(page)[0] != text
    page.keyboard.press("Shift+Tab")
    assert shown(page) == [text]


@pytest.mark.parametrize("width", [380, 1440])
def test_a_metric_is_explained_by_the_pointer_which_may_go_to_the_explanation(site, page, width):
    page.set_viewport_size({"width": width, "height": 900})
    visit(page, site, "training/index.html")
    page.wait_for_selector("[data-board] [data-shown]")
    term = page.locator(f"{BOARD} .caption .term")
    assert term.inner_text() == "held-out loss (nats)"
    term.hover()
    (text,) = shown(page)
    assert "mean cross-entropy on the held-out part, in nats" in text
    assert text.endswith("lower is better")
    box = page.locator(".tip:visible").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5)
    page.wait_for_timeout(500)
    assert shown(page) == [text]
    page.keyboard.press("Escape")
    assert shown(page) == []
    term.hover()
    page.mouse.move(0, 0)
    page.wait_for_function("() => ![...document.querySelectorAll('.tip')].some(each => each.checkVisibility())")
    page.locator("[data-board]").get_by_label("metric").select_option(label="held-out accuracy")
    page.locator(".caption .term", has_text="held-out accuracy").first.hover()
    assert "share of its targets" in shown(page)[0]


def test_a_claim_of_the_overview_says_what_it_is_without_a_mouse(site, page):
    visit(page, site, "index.html")
    assert page.locator("#matrix [title]").count() == 0
    claim = page.locator("#matrix [data-tip]").first
    page.keyboard.press("Tab")  # the keyboard's focus is told from the pointer's
    claim.focus()
    assert len(shown(page)[0]) > 20
    for each in page.locator("#matrix td [data-tip]").all():
        assert each.evaluate("each => each.tabIndex") == 0


@pytest.mark.parametrize("scheme", SCHEMES)
def test_ranks_are_shaded_and_can_be_read(site, page, scheme):
    page.emulate_media(color_scheme=scheme)
    visit(page, site, "training/index.html")
    settled(page)
    looks = page.locator('[data-table^="overview"] td.heat').evaluate_all(
        """all => all.map(each => {
            const [own, ink] = [each, each.querySelector("a") || each].map((node) => getComputedStyle(node));
            return [each.className.match(/heat-[0-9]/)[0], own.backgroundColor, ink.color, each.innerText];
        })"""
    )
    assert len({shade for shade, _, _, _ in looks}) >= 2
    assert len({background for _, background, _, _ in looks}) == len({shade for shade, _, _, _ in looks})
    for shade, background, ink, text in looks:
        assert contrast(background, ink) >= 4.5, shade
        assert re.match(r"\d", text)  # the shade is not all that says it


def test_chips_are_found_sorted_and_read_after_the_name(site, page):
    visit(page, site, "training/index.html")
    page.wait_for_selector("[data-board] [data-shown]")
    cells = page.locator("[data-board] tbody tr td:nth-child(2)")
    texts = cells.evaluate_all("all => all.map(each => each.textContent)")
    assert "SGD learning_rate=0.1 momentum=0.9" in texts
    assert cells.locator(".chip").count() > len(texts)
    page.locator("[data-board] input[type=search]").fill("momentum=0.9")
    page.wait_for_function("() => document.querySelectorAll('[data-board] tbody tr').length === 1")

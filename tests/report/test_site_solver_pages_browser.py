"""A solver's first screen in a real browser."""

import pytest
from test_site_browser import PHONE, browser, context, page, scripts, site, visit  # noqa: F401, the fixtures

PAGES = ("training/solvers/turbo-muon.html", "orthogonalisation/solvers/turbo-muon.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_advice_picture_and_code_are_on_the_first_screen(site, page, path, scheme):  # noqa: F811
    page.set_viewport_size({"width": 1440, "height": 900})
    page.emulate_media(color_scheme=scheme)
    visit(page, site, path)
    for part in (".advice", ".versus img", ".first .command >> nth=0"):
        box = page.locator(part).bounding_box()
        assert box["height"] > 20, part
        assert box["y"] + box["height"] <= 900, part
    assert page.locator(".versus img").evaluate("image => image.naturalWidth") > 300
    left, right = (page.locator(part).bounding_box() for part in (".advice", ".versus"))
    assert left["x"] + left["width"] <= right["x"]


@pytest.mark.parametrize("width", [PHONE["width"], 768])
@pytest.mark.parametrize("path", [*PAGES, "cite.html", "training/index.html"])
def test_nothing_is_wider_than_a_narrow_screen(site, page, path, width):  # noqa: F811
    page.set_viewport_size({"width": width, "height": 800})
    visit(page, site, path)
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for image in page.locator(".versus img").all():
        box = image.bounding_box()
        assert box["x"] + box["width"] <= width


def test_an_entry_is_copied_as_it_is_shown(site, page):  # noqa: F811
    visit(page, site, "cite.html")
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    box = page.locator(".command").first
    box.get_by_role("button", name="Copy").click()
    page.wait_for_function("window.copied")
    assert page.evaluate("window.copied") == box.locator("code").text_content()


def test_axe_finds_no_serious_violation_on_these_pages(site, page, scripts):  # noqa: F811
    for path in (*PAGES, "cite.html"):
        visit(page, site, path)
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        page.evaluate(scripts)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations'], preload: false})")
        serious = [each["id"] for each in found["violations"] if each["impact"] in ("serious", "critical")]
        assert serious == [], path

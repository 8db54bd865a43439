"""Pictures of rows on pages, in a real browser."""

import published
import pytest
from made_up_segmentation import AOC, PICTURE, PLAIN, segmentation_frame
from test_site_browser import PHONE, browser, context, page, visit  # noqa: F401, the fixtures

from orthobench.report.site import build

DRAWN = "() => document.querySelector('#plot-scene').dataset.drawn"
INSIDE = "images => images.map(each => [each.alt, each.naturalWidth, each.getBoundingClientRect().right])"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rows = segmentation_frame(seeds=1, solvers=(AOC, PLAIN))
    own = (rows["solver_name"] == PLAIN) & (rows["stop_val"] > 0)
    rows.loc[own, "objective_picture"] = published.HOSTILE
    rows = published.provenance(rows, "solvers/aoc.py")
    results = published.write(folder / "results", {"segmentation/one/cpu.parquet": rows})
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ORTHOBENCH_CACHE", raising=False)  # the scripts of others are in the user's own
        reason = published.missing_scripts()
        if reason:
            pytest.skip(reason)
        assert build(results, folder / "site", root=published.ROOT) == []
    return folder / "site"


def test_pictures_are_drawn_and_what_is_none_is_said(site, page):  # noqa: F811
    for width in (1200, PHONE["width"]):
        page.set_viewport_size({"width": width, "height": 800})
        visit(page, site, "segmentation/index.html")
        page.locator("#plot-scene").scroll_into_view_if_needed()
        page.wait_for_function(DRAWN)
        labels = page.locator("#plot-scene .pictures p").all_inner_texts()
        assert labels == ["AOC", "Plain, no picture"]
        page.wait_for_function("() => document.querySelector('#plot-scene img').complete")
        ((alt, natural, right),) = page.locator("#plot-scene img").evaluate_all(INSIDE)
        assert alt.startswith("AOC: the image, the classes")
        assert natural == 500
        assert right <= width
    page.set_viewport_size({"width": 600, "height": 800})  # a new width draws charts anew, and leaves pictures alone
    page.wait_for_timeout(300)
    assert page.locator("#plot-scene img").count() == 1
    assert page.evaluate("document.querySelectorAll('img[src=x]').length") == 0


def test_benchopts_own_page_shows_them_too(site, page):  # noqa: F811
    visit(page, site, "segmentation/one/benchopt.html")
    page.locator("#plot_kind").first.select_option("scene")
    page.wait_for_function("() => document.querySelectorAll('#image_container img').length === 2")
    page.wait_for_function("() => [...document.querySelectorAll('#image_container img')].every(each => each.complete)")
    shown = page.locator("#image_container img").evaluate_all("all => all.map(each => [each.alt, each.naturalWidth])")
    assert shown == [["AOC", 500], ["Plain, no picture", 1]]


def test_the_site_is_what_its_rows_give(site):
    text = next((site / "data" / "segmentation" / "one").glob("scene-*.js")).read_text()
    assert text.count("data:image/png;base64,") == 1
    assert PICTURE not in text  # drawn anew from its pixels
    assert "alert" not in text
    assert text.count("no picture") == 1

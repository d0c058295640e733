"""The built site in a real browser: nothing asked for from outside, no error, and every run's page with its figures."""

import posixpath

import pytest

from conftest import Tab, address_of, leukonb, opened, show_all
from leukonb.runs.record import find_runs


@pytest.fixture(scope="session")
def address(smoke):
    with address_of(smoke[1]) as base:
        yield base


def pages(site):
    return sorted(p.relative_to(site).as_posix() for p in site.rglob("*.html"))


def few(names):
    """All that was run or can be moved, and the first two pages of each room of the library, which are made alike."""
    met = {}
    for name in names:
        met.setdefault(posixpath.dirname(name), []).append(name)
    return [n for room, those in met.items() for n in (those[:2] if room.startswith("library/") else those)]


def look_at(browser, base, names, narrow=()):
    """What is wrong with pages that are opened one after another; those in `narrow` are looked at in two widths."""
    trouble, tab = [], Tab(browser, base)
    for name in names:
        page, wrong = tab.open(name)
        show_all(page)
        drawn = page.locator(".plotly-graph-div").count()
        if page.locator(".plotly-graph-div .main-svg").count() < drawn:
            wrong.append(f"{name}: a figure is not drawn")
        if page.evaluate("[...document.images].some(i => i.complete && !i.naturalWidth)"):
            wrong.append(f"{name}: an image is not shown")
        for width in (1280, 390) if name in narrow else ():
            page.set_viewport_size({"width": width, "height": 900})
            if page.evaluate("document.documentElement.scrollWidth") > width:
                wrong.append(f"{name}: wider than a screen of {width} px")
        trouble += wrong
    tab.close()
    return trouble


@pytest.mark.parametrize("way", ["served", "from the disk"])
def test_pages_open_without_an_error_fit_the_screen_and_ask_for_nothing_outside(browser, smoke, address, way):
    names = pages(smoke[1])
    shown = [n for n in names if n == "index.html" or n.startswith("runs/")]
    assert len(few(names)) > len(shown) > 20
    if way == "served":
        trouble = look_at(browser, address, few(names), narrow=shown)
    else:
        trouble = look_at(browser, smoke[1].resolve().as_uri() + "/", shown)
    assert not trouble, "\n".join(trouble)


@pytest.mark.extras
def test_every_page_of_the_library_opens_without_an_error(browser, tmp_path):
    ran = leukonb("run", "released", "--out", tmp_path / "runs")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    built = leukonb("site", "--out", tmp_path / "runs", "--to", tmp_path / "site")
    assert built.returncode == 0, built.stdout + built.stderr
    names = pages(tmp_path / "site")
    assert sum(name.startswith("library/") for name in names) > 100
    with address_of(tmp_path / "site") as base:
        trouble = look_at(browser, base, names)
    assert not trouble, "\n".join(trouble)


def test_the_quick_study_has_its_pages(smoke):
    assert {r.experiment for r in find_runs(smoke[0]) if r.done} >= {
        "cohort",
        "training",
        "evaluation",
        "report",
    }
    assert set(pages(smoke[1])) >= {
        "index.html",
        "runs/index.html",
        *(f"runs/quick/{e}-{e}.html" for e in ("cohort", "training", "evaluation", "report")),
    }


@pytest.mark.parametrize("experiment", ["cohort", "training", "evaluation", "report"])
def test_a_runs_page_shows_figures_tables_and_where_they_come_from(browser, smoke, address, experiment):
    page, wrong = opened(browser, address, f"runs/quick/{experiment}-{experiment}.html")
    show_all(page)
    assert not wrong
    assert page.locator(".plotly-graph-div svg.main-svg, .plotly-graph-div canvas").count() > 0
    assert page.locator("main table.leukonb tbody tr").count() > 0
    said = page.locator("table#provenance").inner_text()
    (run,) = (r for r in find_runs(smoke[0], "quick") if r.experiment == r.name == experiment)
    assert run.key in said and "leukonb run quick" in said and "synthetic cohort" in said
    assert "these figures say nothing about C-NMC" in page.locator("main").inner_text()
    if experiment in ("cohort", "evaluation"):
        assert page.locator(".cells img").count() > 3
    page.close()


def test_the_report_is_one_click_from_home_and_leads_to_the_runs(browser, smoke, address):
    page, wrong = opened(browser, address, "index.html")
    page.locator("main table a").first.click()
    page.wait_for_url("**/runs/quick/report-report.html")
    page.locator("main table.leukonb a").first.click()
    page.wait_for_url("**/runs/quick/*.html")
    assert not wrong
    page.close()


def test_search_finds_a_run(browser, smoke, address):
    page, wrong = opened(browser, address, "index.html")
    page.locator("input[type=search], #quarto-search input").first.fill("Training")
    page.wait_for_selector("text=Training on whole identities")
    assert not wrong
    page.close()


BAD = """<img src="gone.png"><script>fetch("http://127.0.0.1:9/").catch(() => window.tried = true)</script>
<script>setInterval(() => fetch("good.html?" + Math.random()), 50); throw new Error("torn")</script>"""


def test_a_tab_notes_what_goes_wrong_and_with_which_page(browser, tmp_path):
    (tmp_path / "bad.html").write_text(BAD)
    (tmp_path / "good.html").write_text("<p>all is well</p>")
    with address_of(tmp_path) as base:
        tab = Tab(browser, base)
        page, first = tab.open("bad.html")
        page.wait_for_function("window.tried")
        page.wait_for_timeout(200)  # the browser says so on another way than that on which it answers
        _, second = tab.open("good.html")
        tab.close()
    for text in (
        "bad.html: 404",
        "bad.html: torn",
        "bad.html: outside: http://127.0.0.1:9",
        "bad.html: failed",
    ):
        assert any(line.startswith(text) for line in first), (text, first)
    assert second == []

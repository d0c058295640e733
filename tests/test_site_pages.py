"""What every page of the site promises, looked at in a tiny site whose pages hold what pages hold."""

import functools
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from conftest import ROOT, opened
from leukonb.draw.look import blank_figure, figure_html, table_html
from leukonb.pages.paper import draw_deltas
from leukonb.verbs import site
from leukonb.verbs.site_figures import Drawn, describe_figure, escape_names, figure_data_html, free_corner
from leukonb.verbs.site_page import outside_addresses
from leukonb.verbs.site_reader import walk_page
from leukonb.verbs.site_search import Prose

LINK = "<a href='https://example.org/'>12</a>"
WORDS = "a mean over subjects whose cells were never seen in training, at the threshold of validation"


def figure(name, **layout):
    drawn = blank_figure(title="Cells by subject", xaxis_title="subject", yaxis_title="cells", **layout)
    return figure_html(drawn.add_bar(x=[LINK, "<b>7</b>", "H3"], y=[208, 117, 90], name="cells"), name)


def long_figure():
    """A figure made for a wide page: its width, its names and its titles are more than a phone has."""
    drawn = blank_figure(
        width=900,
        title=WORDS,
        xaxis_title="AUROC, a mean over subjects never seen in training",
        yaxis_title="score of the primary test, by pair of arms",
    )
    panel = dict(text="balanced accuracy, nearly perfect classifier", font_size=16, showarrow=False)
    drawn.add_annotation(**panel, xref="paper", yref="paper", x=0.5, y=0.9)
    for name in ("own", "others"):
        arms = [f"all plain cues against a frozen network, score {i} (p = .042)" for i in range(6)]
        drawn.add_bar(x=[0.8] * 6, y=arms, orientation="h", name=f"{name}: {WORDS}")
    return nbformat.v4.new_output("display_data", {"text/html": figure_html(drawn, "long")})


def low_figure():
    """A figure whose upright title is longer than the figure is high."""
    drawn = blank_figure(
        height=240, yaxis_title="likeness to the first map, by the rank correlation of places"
    )
    return nbformat.v4.new_output("display_data", {"text/html": figure_html(drawn.add_bar(y=[1, 2]), "low")})


def wide(rows=4):
    columns = {f"what is compared {i}": ["long_text_without_a_break"] * rows for i in range(9)}
    return table_html(
        pd.DataFrame(
            {
                **columns,
                "difference": [0.125] * rows,
                "p": [0.04] * rows,
                "mean": ["0.848 (0.043 to 1.000)"] * rows,
            }
        ),
        "Arms, compared",
    )


def staged(project):
    """The pages of a tiny site, as `stage_site` leaves them."""
    markdown, code, html = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell, site._raw_html
    shown = [nbformat.v4.new_output("display_data", {"text/html": h}) for h in (figure("near"), wide())]
    home = [
        markdown(
            "## Own images\n\nOn leukemia. How to cite this: with $\\gamma < \\frac{1}{n}$, and\n\n$$\\sum_i x_i^2$$"
        ),
        code("#| code-fold: true\n#| code-summary: Code\nfoldedword = 1", outputs=shown),
        *(markdown(f"## Part {i}\n\n" + f"{WORDS}. " * 60) for i in range(4)),
        code(
            "#| echo: false", outputs=[nbformat.v4.new_output("display_data", {"text/html": figure("far")})]
        ),
    ]
    listed = {f"what is said {i}": ["a word or two"] * 60 for i in range(7)}
    runs = table_html(pd.DataFrame({**listed, "key": ["0f1e2d3c"] * 60}))
    scores = [html("<table><tr><th>score</th></tr><tr><td>AUROC</td></tr></table>"), html(wide(80))]
    for name, title, cells in (
        ("index", "A laboratory", home),
        ("library/evidence/metrics", "Scores", scores),
        (
            "library/evidence/intervals",
            "Intervals",
            [code("#| echo: false", outputs=[long_figure()])],
        ),
        ("library/data/cohort", "Cohort", []),
        ("runs/index", "Runs", [html(f"<div class='runs-list'>{runs}</div>")]),
        ("library/data/splits", "Splits", [code("#| echo: false", outputs=[low_figure()])]),
    ):
        site.write_page(project / f"{name}.ipynb", title, "A claim.", cells)
    config = yaml.safe_load((ROOT / "_quarto.yml").read_text())
    rooms = {"Data": ("cohort", "splits"), "Evidence": ("metrics", "intervals")}
    menu = [
        {"section": room, "contents": [f"library/{room.lower()}/{n}.ipynb" for n in names]}
        for room, names in rooms.items()
    ]
    config["website"]["sidebar"]["contents"] = [{"text": "Home", "href": "index.ipynb"}, *menu]
    site._stage_look(config, project)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A site of six pages in a folder, and its address there."""
    project = tmp_path_factory.mktemp("tiny")
    staged(project)
    site.seal_site(built := site.render_site(project))
    return built


@pytest.fixture
def home(browser, tiny):
    page, wrong = opened(browser, tiny.as_uri() + "/", "index.html")
    yield page
    page.close()
    assert not wrong, "\n".join(wrong)


def test_no_page_draws_by_itself_or_names_a_server(tiny):
    for p in tiny.rglob("*.html"):
        text = p.read_text()
        assert not outside_addresses(text) and "Plotly.newPlot" not in text and "sendChart" not in text
        assert text.index("Content-Security-Policy") < text.index("<script"), p.name
    assert "cloud.plotly.com" not in (tiny / "plotly.min.js").read_text()
    assert "plotly.min.js" not in (tiny / "library/data/cohort.html").read_text()


def settled(page, script, wanted):
    """What a script says of a page, once it is what is wanted or twenty seconds have passed.

    Playwright's own waiting hands a text to `eval`, which the pages forbid.
    """
    for _ in range(200):
        if (said := page.evaluate(script)) == wanted:
            break
        page.wait_for_timeout(100)
    return said


CUT = """() => {
  const svg = document.querySelector('.main-svg').getBoundingClientRect(), cut = [];
  for (const text of document.querySelectorAll('.main-svg text')) {
    const { left, right, top, bottom, width } = text.getBoundingClientRect();
    const out = Math.max(svg.left - left, right - svg.right, svg.top - top, bottom - svg.bottom);
    if (width && out > 2) cut.push(text.textContent);
  }
  return [cut, svg.right <= innerWidth, document.documentElement.scrollWidth];
}"""


def test_a_figure_made_for_a_wide_page_is_whole_on_a_phone(browser, tiny):
    phone = browser.browser.new_context(
        viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True
    )
    page, wrong = opened(phone, tiny.as_uri() + "/", "library/evidence/intervals.html", 390)
    page.wait_for_selector("#figure-long .main-svg")
    assert settled(page, CUT, [[], True, 390]) == [[], True, 390]
    assert page.locator(".figure-title").inner_text() == WORDS
    phone.close()
    assert not wrong


def test_on_a_wide_screen_an_upright_title_is_no_longer_than_its_figure(browser, tiny):
    page, wrong = opened(browser, tiny.as_uri() + "/", "library/data/splits.html", 1280)
    page.wait_for_selector("#figure-low .main-svg")
    assert settled(page, CUT, [[], True, 1280]) == [[], True, 1280]
    page.close()
    assert not wrong


def test_a_figure_has_scores_as_readers_write_them_and_its_key_beside_its_data():
    said = escape_names({"y": ["auroc", "mine"], "yaxis": {"title": {"text": "auroc"}, "ticktext": ["mcc"]}})
    assert said == {"y": ["AUROC", "mine"], "yaxis": {"title": {"text": "AUROC"}, "ticktext": ["MCC"]}}
    drawn = Drawn("a", [{"y": [1]}], {"yaxis": {"title": {"text": "weighted f1"}}})
    assert "weighted F1" in describe_figure(drawn)[1]
    hiding = {"legend": {"x": 0.02, "y": 0.98, "orientation": "v"}, "margin": {"t": 20}}
    freed = free_corner(hiding)
    assert freed["legend"]["y"] > 1 and freed["margin"]["t"] >= 60
    bar, key = {"type": "bar", "text": ["0.05"], "textposition": "inside"}, {"legend": {"x": 0}}
    data = json.loads(re.search(r">(.*?)</script>", figure_data_html(Drawn("a", [bar], key)))[1])
    assert data["data"][0]["textangle"] == 0 and data["layout"]["legend"]["itemsizing"] == "constant"
    beside = {"legend": {"x": 1.02, "y": 1, "orientation": "v"}}
    assert free_corner(beside) == beside


def test_a_figure_in_words_reaches_to_the_ends_of_its_intervals_and_names_its_marks():
    spread = {"array": [0.0582, 0.1], "arrayminus": [0.2, 0.1356], "symmetric": False}
    points = {"x": [0.8058, 0.9209], "error_x": spread, "y": [0, 1]}
    marks = {"ticktext": ["11", "101"], "tickvals": [0, 1], "title": {"text": "subjects"}}
    said = describe_figure(Drawn("a", [points], {"yaxis": marks}))[1]
    assert said == "Figure of lines. Across: from 0.606 to 1.021; up: subjects (11, 101)."
    names = {"type": "bar", "x": ["H1", "7"], "y": [3, 1200]}
    assert "Across: H1, 7; up: from 3 to 1,200" in describe_figure(Drawn("a", [names], {}))[1]
    two = [{"x": [0.9], "y": [0]}, {"x": [0.1], "y": [0], "xaxis": "x2"}]
    axes = {"xaxis": {"title": {"text": "AUROC"}}, "xaxis2": {"title": {"text": "Brier score"}}}
    assert "AUROC 0.900 in each, Brier score 0.100 in each" in describe_figure(Drawn("a", two, axes))[1]
    hidden = {"xaxis": {"showticklabels": False}, "yaxis": {"showticklabels": False}}
    assert describe_figure(Drawn("a", [{"x": [1.0, 2.5], "y": [0, 1]}], hidden))[1] == "Figure of lines."


def cells_of(*htmls):
    outputs = [nbformat.v4.new_output("display_data", {"text/html": html}) for html in htmls]
    return [nbformat.v4.new_code_cell("shown()", outputs=outputs)]


def outputs_of(cells):
    return [output["data"]["text/html"] for cell in cells for output in cell.outputs]


def test_a_page_has_no_empty_table_no_endless_number_and_nothing_twice():
    none = cells_of("<p class='none'>Parameters of this run: none.</p>")
    assert site.part_cells(none)[:2] == ([], [])
    spans = "<td>1.2 (0.000 to inf)</td><td>3 (1.2 to inf)</td><td>2 (-inf to 4.5)</td><td>-inf to inf</td><p>to infer</p>"
    told = outputs_of(site.clean_cells(cells_of(spans), "page"))[0]
    assert "inf<" not in told and "inf)" not in told and "to infer" in told
    assert "(no limits found)" in told and "(1.2 or more)" in told and "(4.5 or less)" in told
    twice = [*cells_of("<img src='a'>", "<b>own</b>"), *cells_of("<img src='a'>")]
    assert outputs_of(site._drop_repeats(twice)) == ["<img src='a'>", "<b>own</b>"]


def test_a_table_of_pandas_is_shown_without_the_numbers_of_its_rows():
    rows = pd.DataFrame({"rule": ["a", "b"], "value": [1, 2]})
    html = site.drop_row_numbers(rows.to_html())
    assert "<th>0</th>" not in html and "<th>rule</th>" in html
    assert html.count("<th>") == 2 and html.count("<td>") == 4
    named = rows.set_index("rule").to_html()
    assert (
        site.drop_row_numbers(named) == named
        and site.drop_row_numbers(rows[::-1].to_html()) == rows[::-1].to_html()
    )


def test_no_sentence_of_a_page_shouts_or_names_a_file_of_the_program():
    for path in sorted((ROOT / "leukonb/pages").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"\b(NOT|NEVER|ALWAYS|MUST|ONLY)\b(?!_)[ ,.]", re.sub(r"\bNOT_\w+|#.*", "", text)
        ), path
        if path.name.startswith("rules"):
            assert "in status.json" not in text


def test_a_line_for_the_printed_score_has_its_label_above_the_points():
    (label,) = draw_deltas().layout.annotations
    assert label.yref.endswith("domain") and label.y == 1 and label.yanchor == "bottom"


@pytest.mark.fault(
    group="site",
    fault="A name that Plotly reads as HTML",
    injected="a subject called <a href=...>, another called <b>7</b>",
    promise="drawn letter by letter; no link leads out of a figure",
)
def test_names_in_a_figure_are_letters(home):
    home.wait_for_selector("#figure-near .main-svg")
    assert home.locator(".plotly-graph-div a[href], .plotly-graph-div a[*|href]").count() == 0
    assert "<b>7</b>" in home.locator("#figure-near").inner_text()


def test_no_button_form_or_load_leads_outside(browser, tiny):
    """What is tried here from outside is refused, which the browser says in its console."""
    home, _ = opened(browser, tiny.as_uri() + "/", "index.html")
    home.evaluate("dispatchEvent(new Event('beforeprint'))")
    home.wait_for_selector("#figure-far .main-svg", state="attached")
    buttons = home.locator(".modebar-btn").evaluate_all("all => all.map(b => b.dataset.title || b.ariaLabel)")
    assert buttons == ["Download plot"] * 2
    assert home.locator("form, iframe, object, embed").count() == 0
    refused = home.evaluate("fetch('https://example.org/').then(() => 'sent', () => 'refused')")
    ran = home.evaluate(
        """() => { document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.ran = 1">');
                   return new Promise(done => setTimeout(() => done(window.ran || 0), 200)); }"""
    )
    home.close()
    assert refused == "refused" and ran == 0


@pytest.mark.parametrize("asked", ["cite", "AUROC", "own images"])
def test_search_finds_prose_and_tables_from_a_folder(home, asked):
    home.locator("input[type=search]").fill(asked)
    home.wait_for_selector(".site-search li a")
    found = home.locator(".site-search li a").first
    assert asked.lower() in found.inner_text().lower()
    found.click()
    home.wait_for_url("**/metrics.html*" if asked == "AUROC" else "**/index.html*")


@pytest.mark.parametrize("asked", ["0.848", ".848", "leukaemia", "Leukemia"])
def test_a_number_and_a_word_are_found_however_they_are_written(home, asked):
    home.locator("input[type=search]").fill(asked)
    home.wait_for_selector(".site-search li a")
    found = home.locator(".site-search li a").first.inner_text()
    assert ("With 0.848 in this part." if "848" in asked else "On leukemia. How to cite") in found


def test_what_a_search_shows_is_sentences_and_no_code():
    told = "An AUROC of .916 is claimed. " + "Of 12 people none was seen before. " * 20
    api = "<div class='api'><code>judge(threshold: float)</code><table><tr><td>DataFrame</td></tr></table></div>"
    page = f"<main><h1>Scores</h1>{api}<p>{told}</p><table><tr><td>.374</td><td>7</td></tr></table></main>"
    for name, found in (("runs/real/judge.html", ".374"), ("library/evidence/metrics.html", "")):
        walk_page(page, [prose := Prose(page, name)])
        (section,) = prose.sections
        assert section.text.startswith("An AUROC of .916 is claimed. Of 12 people none")
        assert section.text.endswith("seen before.") and section.more == found


def test_search_finds_no_folded_code(home):
    home.locator("input[type=search]").fill("foldedword")
    home.wait_for_selector(".site-search li")
    assert home.locator(".site-search li a").count() == 0


def test_a_figure_is_drawn_when_it_comes_near_and_in_print(home):
    home.wait_for_selector("#figure-near .main-svg")
    assert home.locator("#figure-far .main-svg").count() == 0
    assert home.evaluate("[...document.scripts].every(s => !s.src || s.defer || !s.src.includes('plotly'))")
    home.emulate_media(media="print")
    home.wait_for_selector("#figure-far .main-svg", state="attached")


def test_formulas_are_mathml(tiny, home):
    text = (tiny / "index.html").read_text()
    assert text.count("<math") == 2 and "<mfrac>" in text
    assert not re.search(
        r"\\\(|\\\[|\\frac|\\sum",
        re.sub(r"<script.*?</script>|<annotation.*?</annotation>", "", text, flags=re.S),
    )


def test_a_swipe_over_a_figure_scrolls_the_page_and_keeps_its_data(browser, tiny):
    context = browser.browser.new_context(
        has_touch=True, is_mobile=True, viewport={"width": 390, "height": 800}
    )
    page = context.new_page()
    page.goto(tiny.as_uri() + "/index.html")
    page.wait_for_selector("#figure-near .main-svg")
    page.locator("#figure-near").scroll_into_view_if_needed()
    before = page.evaluate("[scrollY, ...document.getElementById('figure-near')._fullLayout.yaxis.range]")
    box = page.locator("#figure-near").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = context.new_cdp_session(page)
    for kind, points in (
        ("touchStart", [(x, y)]),
        *(("touchMove", [(x, y - step)]) for step in range(20, 201, 20)),
        ("touchEnd", []),
    ):
        points = [{"x": across, "y": down} for across, down in points]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        page.wait_for_timeout(20)
    page.wait_for_timeout(200)
    after = page.evaluate("[scrollY, ...document.getElementById('figure-near')._fullLayout.yaxis.range]")
    context.close()
    assert after[0] > before[0] + 100 and after[1:] == before[1:]


def test_a_wide_table_keeps_its_numbers_on_a_phone(home):
    home.set_viewport_size({"width": 390, "height": 800})
    home.evaluate("dispatchEvent(new Event('resize'))")
    cell = home.locator("main table.leukonb td.number").first
    box = cell.bounding_box()
    assert "0.125" in cell.inner_text() and box["x"] >= 0 and box["x"] + box["width"] <= 390
    assert (
        cell.evaluate("cell => getComputedStyle(cell, '::before').whiteSpace") == "normal"
    )  # its label wraps
    assert home.evaluate("document.documentElement.scrollWidth") <= 390
    place = "e => { const b = document.createRange(); b.selectNodeContents(e); return b.getBoundingClientRect().x; }"
    value, ends = (
        home.locator("main td[data-label=mean]").first.evaluate(place),
        home.locator("main td[data-label=mean] .short").first.evaluate("e => e.getBoundingClientRect().x"),
    )
    assert ends >= value > 100  # the interval stands with its value, and not below the column's name


def test_a_long_list_of_runs_is_read_on_a_phone_without_scrolling_sideways(browser, tiny):
    page, wrong = opened(browser, tiny.as_uri() + "/", "runs/index.html", 390)
    page.wait_for_selector("table.brief")
    frame = page.locator(".runs-list .table-wrap")
    assert frame.evaluate("f => f.scrollWidth <= f.clientWidth + 1") and not wrong
    assert page.locator("td[data-label=key]").first.bounding_box()["x"] < 390
    page.close()


def test_what_is_wider_than_its_column_is_reached_by_keyboard(home):
    frame = home.locator(".table-wrap").first
    assert frame.get_attribute("tabindex") == "0" and frame.get_attribute("role") == "region"
    assert "Arms, compared" in frame.get_attribute("aria-label")
    frame.focus()
    home.keyboard.press("ArrowRight")
    assert settled(home, "document.querySelector('.table-wrap').scrollLeft > 0", True)


def test_a_figure_has_a_name_and_says_what_it_shows(home):
    for place in home.locator(".plotly-graph-div").all():
        said = home.locator(f"#{place.get_attribute('aria-describedby')}").text_content()
        assert place.get_attribute("aria-label") == "Cells by subject" and "from 90 to 208" in said


def test_the_first_key_skips_the_menu(home):
    home.keyboard.press("Tab")
    assert home.evaluate("document.activeElement.className") == "skip"
    home.keyboard.press("Enter")
    assert home.evaluate("document.querySelector(location.hash).tagName") == "MAIN"


def test_the_menu_opens_where_the_page_is_and_leads_everywhere_without_a_script(browser, tiny):
    name = "library/data/cohort.html"
    menu = re.search(r'<nav id="quarto-sidebar.*?</nav>', (tiny / name).read_text(), re.S)[0]
    assert menu.count("<li") == 3 and ">Evidence<" in menu and "splits.html" not in menu
    page, wrong = opened(browser, tiny.as_uri() + "/", name)
    shown = page.eval_on_selector_all(
        "#quarto-sidebar a[href]", "all => all.map(a => [a.href, a.checkVisibility()])"
    )
    assert {href: seen for href, seen in shown} == {
        (tiny / f"library/{place}.html").as_uri() if place else (tiny / "index.html").as_uri(): seen
        for place, seen in {
            "": True,
            "data/cohort": True,
            "data/splits": True,
            "evidence/metrics": False,
            "evidence/intervals": False,
        }.items()
    }
    assert page.get_attribute("#quarto-sidebar a.active", "aria-current") == "page"
    page.get_by_role("button", name="Evidence", exact=True).press("Enter")
    page.wait_for_selector("#quarto-sidebar a[href$='metrics.html']", state="visible")
    page.close()
    assert not wrong, "\n".join(wrong)


def test_a_page_carries_no_more_than_it_shows(tiny):
    sizes = {p.relative_to(tiny).as_posix(): p.stat().st_size for p in tiny.rglob("*.html")}
    assert sizes["library/data/cohort.html"] < 9_000, "a page with a title and a sentence"
    assert sizes["library/evidence/metrics.html"] - sizes["library/data/cohort.html"] < 45_000
    home = (tiny / "index.html").read_text()
    assert "foldedword = 1" in home and '<span class="op">' not in home
    beside = sum(p.stat().st_size for p in tiny.rglob("*") if p.suffix != ".html" and p.is_file())
    assert beside < 5_700_000, "plotly.js and what else stands once for all pages"
    assert not [
        p.name for p in tiny.rglob("*") if p.name in ("search.json", "fuse.min.js", "bootstrap-icons.woff")
    ]


@functools.cache
def axe():
    """axe-core, fetched once; the test is skipped, in one line, where that cannot be done."""
    place = Path(os.environ.get("LEUKONB_AXE", ROOT / ".venv" / "axe"))
    found = place if place.is_file() else place / "package" / "axe.min.js"
    if not found.is_file() and shutil.which("npm"):
        place.mkdir(parents=True, exist_ok=True)
        packed = ["npm", "pack", "axe-core@4.10.3", "--silent"]
        for words in (packed, ["tar", "xzf", "axe-core-4.10.3.tgz", "package/axe.min.js"]):
            subprocess.run(words, cwd=place, capture_output=True, timeout=120)
    if not found.is_file():
        pytest.skip(
            "axe-core is not here and npm could not fetch it: pages were not examined for screen readers"
        )
    return found.read_text()


@pytest.mark.parametrize("width", [390, 768, 1440])
@pytest.mark.parametrize("name", ["index.html", "library/evidence/metrics.html"])
def test_axe_finds_nothing_serious(browser, tiny, name, width):
    script = axe()
    page, _ = opened(browser, tiny.as_uri() + "/", name, width)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.evaluate(script)
    found = page.evaluate("axe.run({resultTypes: ['violations']}).then(r => r.violations)")
    page.close()
    serious = [
        f"{v['id']}: {v['nodes'][0]['html'][:150]}" for v in found if v["impact"] in ("serious", "critical")
    ]
    assert not serious, "\n".join(serious)


def test_a_served_site_is_read_on_this_machine_and_stops_when_asked(tiny):
    """`leukonb site --serve` ends in this call; its line names the address, and Ctrl-C is no error."""
    heard = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"  # in the background, too
    call = f"{heard}; from leukonb.verbs.site import serve_site; serve_site(sys.argv[1], 0)"
    with subprocess.Popen([sys.executable, "-c", call, tiny], stdout=subprocess.PIPE, text=True) as server:
        said = server.stdout.readline()
        with urllib.request.urlopen(said.split()[0] + "library/data/cohort.html", timeout=30) as answer:
            assert answer.status == 200 and b"Cohort" in answer.read()
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
    assert re.match(r"http://127\.0\.0\.1:\d+/ shows ", said) and "Ctrl-C stops it" in said


def test_code_that_is_wider_by_a_single_pixel_is_reached_by_keyboard(browser, tiny):
    page, _ = opened(browser, tiny.as_uri() + "/", "index.html")
    reached = page.evaluate(
        """() => {
          document.querySelectorAll('details').forEach(part => part.open = true);
          const code = document.querySelector('main pre');
          code.firstElementChild.textContent = 'x'.repeat(400);
          code.style.cssText = 'box-sizing: border-box; padding: 0; border: 0; max-width: none; white-space: pre';
          code.style.width = `${code.scrollWidth - 1}px`;
          dispatchEvent(new Event('resize'));
          return [code.scrollWidth - code.clientWidth, code.tabIndex];
        }"""
    )
    page.close()
    assert reached == [1, 0]


def test_a_shadow_beside_a_wide_table_is_light_on_a_dark_page(home):
    shade = "getComputedStyle(document.querySelector('.table-wrap.wide')).getPropertyValue('--shade')"
    home.emulate_media(color_scheme="dark")
    home.wait_for_selector(".table-wrap.wide", state="attached")
    assert "255" in home.evaluate(shade)


def test_a_chart_is_dark_on_a_dark_page_and_light_on_a_light_one(home):
    figure = home.locator(".plotly-graph-div .main-svg").first
    figure.scroll_into_view_if_needed()
    shades = {}
    for theme in ("light", "dark"):
        home.emulate_media(color_scheme=theme)
        with Image.open(io.BytesIO(figure.screenshot())) as shown:
            shades[theme] = np.median(np.asarray(shown.convert("L")))
    assert shades["light"] > 245 and shades["dark"] < 40


def test_what_a_reader_can_move_ends_in_its_limits_as_every_page_does():
    for path in [*(ROOT / "nbs/explore").glob("*.ipynb"), *(ROOT / "leukonb/verbs").glob("*.py")]:
        assert "What not to conclude" not in path.read_text(encoding="utf-8"), path

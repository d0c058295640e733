"""The instruments of the site, in a browser and from a folder: what they show is what `leukonb.evidence` and the records say."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from conftest import ROOT, opened
from leukonb.data.cohort import index_cohort, save_cohort
from leukonb.data.phantom import draw_cohort
from leukonb.evidence import predictions, utility
from leukonb.files import write_text
from leukonb.pages.maps import render_sheet
from leukonb.runs.published import find_published
from leukonb.verbs import site
from leukonb.verbs.instruments import PREVALENCES, add_to_menu, make_instruments
from test_site_pages import axe, settled

PAGES = ("threshold", "split", "cell_explorer")


def score_cells(cohort):
    """Scores of two classifiers of the cells of a drawn cohort; the second one is always right."""
    rng, rows = np.random.default_rng(3), cohort.cells.assign(split="test")
    truth = (rows.label == "ALL").to_numpy()
    person = rows.subject.map({s: rng.normal(0, 0.8) for s in sorted(rows.subject.unique())})
    logit = np.where(truth, 0.9, -0.9) + person + rng.normal(0, 1, len(rows))
    scores = {"<b>bold</b>": 1 / (1 + np.exp(-logit)), "perfect": np.where(truth, 0.9, 0.1)}
    tables = [predictions.tabulate_scores(rows, values, arm) for arm, values in scores.items()]
    return predictions.concatenate_tables(tables)


def worst_of(table):
    """The cell that the first classifier calls wrongly with the highest confidence."""
    own = table[table.arm == "<b>bold</b>"]
    wrong = own[(own.score >= 0.5) != (own.label == "ALL")]
    return wrong.assign(error=(wrong.score - (wrong.label == "ALL")).abs()).sort_values("error").iloc[-1]


def explain_worst(folder, table):
    """A run that has kept two maps of the worst cell, as the experiment `explanation` does."""
    images, ramp = np.full((1, 32, 32, 3), 90, np.uint8), np.linspace(-1, 1, 1024).reshape(1, 32, 32)
    drawn = {"Grad-CAM": ramp, "occlusion": -ramp}
    write_text(
        folder / "figures/cells.html",
        render_sheet(images, drawn, ["ALL"], ["ALL"], cells=[worst_of(table).cell]),
    )
    return SimpleNamespace(
        folder=folder, experiment="explanation", name="explanation", manifest={}, done=True, result={}
    )


def studied(place):
    """A study of drawn cells as its runs leave it: a cohort, scores, an embedding; and the published study of real ones."""
    cohort = index_cohort(draw_cohort(place / "drawn", 12, 6, 96, 0, progress=False), progress=False)
    save_cohort(cohort, place / "_cohorts/drawn")
    stated = {"inputs": {"data": cohort.digest, "parameters": {"backbone": "small"}}}
    manifest = {**stated, "synthetic": True, "paths": {"cohort": "../../../_cohorts/drawn"}}
    folder = place / "drawn-study/training/training-0"
    run = SimpleNamespace(
        folder=folder, experiment="training", name="training", manifest=manifest, done=True, result={}
    )
    table = score_cells(cohort)
    predictions.write_predictions(folder / "predictions.parquet", table)
    np.save(folder / "features-0.npy", np.random.default_rng(0).normal(size=(len(cohort.cells), 6)))
    real = [r for r in find_published() if r.folder.parts[-3] == "real"]
    explained = explain_worst(place / "drawn-study/explanation/explanation-0", table)
    return (
        table,
        {"real": ("Real cells", real), "drawn-study": ("A study of drawn cells", [run, explained])},
        real,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A site of the three instruments in a folder, and what they were made from."""
    place, project = tmp_path_factory.mktemp("studied"), tmp_path_factory.mktemp("instruments")
    table, studies, real = studied(place)
    made = make_instruments(studies, {run.folder: "index.html" for run in real})
    site.write_page(project / "index.ipynb", "Home", "A claim.", [])
    for page in made:
        site.write_page(project / page.page, page.title, page.claim, map(site._raw_html, page.parts))
    config = yaml.safe_load((ROOT / "_quarto.yml").read_text())
    config["website"]["sidebar"]["contents"] = add_to_menu([{"text": "Home", "href": "index.ipynb"}], made)
    site._stage_look(config, project)
    site.seal_site(folder := site.render_site(project))
    return folder, table, real


@pytest.fixture
def show(browser, built):
    """Opens an instrument; whatever goes wrong on it fails the test."""
    shown = []

    def go(name, width=1280):
        shown.append(opened(browser, built[0].as_uri() + "/", f"explore/{name}", width))
        return shown[-1][0]

    yield go
    for page, _ in shown:
        page.close()
    assert not [line for _, wrong in shown for line in wrong]


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.\d+", text)]


def rows_of(page, place):
    script = "p => [...document.querySelectorAll(`[data-place=${p}] tbody tr`)].map(r => [...r.cells].map(c => c.textContent))"
    return page.evaluate(script, place)


def test_the_threshold_page_shows_what_evidence_says(show, built):
    page, rows = show("threshold.html"), built[1]
    names = ("sensitivity", "specificity", "ppv", "npv", "needed_to_review", "net_benefit")
    for arm, name in enumerate(("<b>bold</b>", "perfect")):
        own = rows[rows.arm == name].reset_index(drop=True)
        for threshold, prevalence in (
            (0.5, 0.5),
            (0.07, 0.01),
            (0.31, 0.001),
            (0.66, 0.9),
            (0.93, 0.05),
            (0.99, 0.3),
        ):
            page.evaluate(
                "h => { location.hash = h; }", f"arm={arm}&threshold={threshold}&prevalence={prevalence}"
            )
            assert prevalence in PREVALENCES
            settled(page, "document.querySelector('output').textContent", f"{threshold:.2f}")
            evident = utility.predictive_values(own, prevalence, threshold).set_index("metric")
            found = dict(zip(names, rows_of(page, "values")))
            for metric, (_, text) in found.items():
                value, low, high = evident.loc[metric, ["value", "low", "high"]]
                if np.isnan(value):
                    assert text == "none", (metric, text)
                    continue
                wanted = [x for x in (value, low, high) if np.isfinite(x)]
                room = 0.051 if metric == "needed_to_review" else 0.00051
                assert np.allclose(numbers(text), wanted, atol=room, rtol=0), (
                    metric,
                    threshold,
                    prevalence,
                    text,
                )
            called = own.score >= threshold
            calls = [int((called & (own.label == label)).sum()) for label in ("ALL", "HEM")]
            assert [int(row[1].split()[0]) for row in rows_of(page, "confusion")] == calls
    assert page.locator("b").count() == 0 and page.locator("option", has_text="<b>bold</b>").count()


def test_a_threshold_from_which_no_cell_is_called_says_so_and_each_scale_has_its_marks(show):
    page = show("threshold.html")
    marks = page.locator("label:has([name=prevalence]) .marks span").all_inner_texts()
    assert marks == ["0.1 %", "2 %", "20 %", "50 %", "90 %"]
    assert page.locator("[data-place=benefit] text", has_text="net benefit of a cell").count() == 1
    uncalled = page.evaluate(
        """() => JSON.parse(document.querySelector('.instrument script').textContent).sources
               .flatMap(s => s.arms.map((arm, i) => [s.id, i, arm.points.findIndex(p => p[0] + p[1] === 0)]))
               .find(found => found[2] >= 0)"""
    )
    source, arm, place = uncalled
    page.evaluate("h => { location.hash = h; }", f"source={source}&arm={arm}&threshold={(place + 1) / 100}")
    settled(page, "document.querySelector('output').textContent", f"{(place + 1) / 100:.2f}")
    said = page.locator(".said").inner_text()
    assert said.endswith("No cell is called ALL, so nothing can be said of such a call.")


def test_the_threshold_is_moved_by_keyboard_and_stands_in_the_address(show):
    page = show("threshold.html")
    before = page.locator(".said").inner_text()
    page.locator("input[name=threshold]").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("output").first.inner_text() == "0.51"
    assert "threshold=0.51" in page.evaluate("location.hash")
    assert page.locator(".said").inner_text() != before
    assert page.locator(".drawn").inner_text().startswith("Drawn cells")


def test_the_leakage_page_shows_what_the_record_says_of_each_way(show, built):
    page = show("split.html")
    (run,) = (r for r in built[2] if r.experiment == "leakage")
    head = run.result["headline"]
    ways = [radio.get_attribute("value") for radio in page.locator("input[name=way]").all()]
    assert {f"AUROC claimed, split by {way}" for way in ways} <= set(head) and len(ways) > 2
    page.locator("input[name=way]").first.focus()
    for way in ways:
        assert f"way={way.replace(' ', '+')}" in page.evaluate("location.hash")
        for kind, (_, text) in zip(("claimed", "honest", "given away"), rows_of(page, "numbers")):
            said = head[f"AUROC {kind}, split by {way}"]
            assert np.allclose(
                numbers(text), [said["value"], said["low"], said["high"]], atol=0.00051, rtol=0
            )
        page.keyboard.press("ArrowRight")
    assert not page.locator(".drawn").is_visible()


def test_a_cell_is_found_looked_at_and_linked_to(show, built):
    page, table = show("cell_explorer.html"), built[1]
    own = table[table.arm == "<b>bold</b>"]
    wrong = own[(own.score >= 0.5) != (own.label == "ALL")]
    page.locator("select[name=kind]").select_option("wrong")
    assert page.locator(".tile").count() == len(wrong) == page.locator(".tile.wrong").count() > 3
    worst = worst_of(table)
    page.locator(".tile").first.focus()
    page.keyboard.press("Enter")
    said = page.locator(".large").inner_text()
    assert worst.cell[:12] in said and f"subject {worst.subject}," in said
    assert str(int(worst.score * 1000) / 1000)[:4] in said and "perfect" in said
    shape = page.evaluate(
        "getComputedStyle(document.querySelector('.large .face')).backgroundImage.slice(0, 20)"
    )
    assert shape == 'url("data:image/webp'
    maps = page.locator(".cell-maps figure")
    assert maps.all_inner_texts() == ["Grad-CAM", "occlusion"]
    assert page.evaluate("[...document.querySelectorAll('.cell-maps img')].every(i => i.naturalWidth > 30)")
    link = page.evaluate("location.hash")
    assert worst.cell[:12] in link
    again = show(f"cell_explorer.html{link}")
    assert again.locator(".large h2").inner_text() == page.locator(".large h2").inner_text()
    page.get_by_role("button", name="Next").click()
    assert not maps.count() and page.locator(".large").is_visible()
    page.locator("select[name=view]").select_option("map")
    assert "6 features of the backbone small" in page.locator("[data-place=map] figcaption").inner_text()
    assert "PCA" in page.locator("[data-place=map]").inner_text()
    drawn = "(() => { const c = document.querySelector('canvas'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; return new Set(d).size; })()"
    assert page.evaluate(drawn) > 10


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_an_instrument_fits_its_screen_and_axe_finds_nothing_serious(browser, built, name, width):
    page, wrong = opened(browser, built[0].as_uri() + "/", f"explore/{name}.html", width)
    page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not wrong  # axe itself asks for style sheets, which the page's policy forbids
    page.evaluate(axe())
    found = page.evaluate("axe.run({resultTypes: ['violations']}).then(r => r.violations)")
    page.close()
    serious = [
        f"{v['id']}: {v['nodes'][0]['html'][:150]}" for v in found if v["impact"] in ("serious", "critical")
    ]
    assert not serious, "\n".join(serious)


def test_a_site_has_the_instruments_that_its_records_allow(tmp_path):
    runs = find_published()
    made = site._stage_instruments(runs, site.page_addresses(runs), tmp_path)
    assert [page.page for page in made] == ["report.ipynb", "explore/split.ipynb"]
    assert (tmp_path / "explore/split.ipynb").is_file() and (tmp_path / "report.ipynb").is_file()

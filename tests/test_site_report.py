"""The report on real cells and the first page: what they say is what the records hold, and no link leads nowhere."""

import re
from html import escape
from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from leukonb.runs.published import find_published
from leukonb.verbs import home, instruments, site_report
from leukonb.verbs.instruments import add_to_menu, make_instruments

ROOT = Path(__file__).parent.parent


def real():
    return [run for run in find_published() if run.folder.parts[-3] == "real"]


def of_another_cohort(run):
    inputs = run.manifest["inputs"] | {"data": "ab" * 32}
    own = SimpleNamespace(
        **{name: getattr(run, name) for name in ("experiment", "result", "done", "key", "status")}
    )
    own.folder, own.manifest = run.folder, run.manifest | {"inputs": inputs}
    return own


def test_the_menu_leads_to_the_report_on_real_cells_and_not_to_one_of_drawn_cells():
    made = make_instruments({"real": ("Real cells", real())}, {})
    menu = add_to_menu([{"text": "Home"}, {"text": "Report", "href": "runs/quick/report-report.ipynb"}], made)
    assert menu[1] == {"text": "Report", "href": "report.ipynb"}
    assert [entry.get("text") for entry in menu].count("Report") == 1


def test_the_door_to_the_report_is_there_exactly_when_its_page_is():
    runs = real()
    for few in (runs, [run for run in runs if run.experiment != "folds"], []):
        page = home.describe_home(few, {}, "runs/index.html")
        assert ("href='report.html'" in "".join(page)) == (site_report.write_report(few, {}) is not None)


def test_every_score_of_the_report_stands_in_a_record():
    runs = real()
    page = " ".join(site_report.write_report(runs, {})[2])
    words = re.sub(r"<script.*?</script>|<[^>]+>", " ", page, flags=re.S)
    kept = "".join(path.read_text() for run in runs for path in run.folder.glob("*.csv"))
    kept += "".join((run.folder / "result.json").read_text() for run in runs)
    numbers = {n for text in re.findall(r"\d+\.\d+(?:e-\d+)?", kept) for n in (text, f"{float(text):.3f}")}
    scores = re.findall(r"(?<![\d.])[01]\.\d{3}(?!\d)", words)
    gain = re.findall(r"[+-](\d\.\d{3}) over random splits", words)
    assert len(scores) > 60 and set(scores) - set(gain) <= numbers


def test_the_report_tells_all_verdicts_of_a_run_and_lists_the_runs_that_it_tells_of():
    runs = real()
    page = "".join(site_report.write_report(runs, {run.folder: f"{run.experiment}.html" for run in runs})[2])
    by_name = {run.experiment: run for run in runs}
    notes = by_name["shared-people"].result["notes"]
    assert len(notes) > 4 and all(escape(note[:90]) in page for note in notes)
    assert "not to be told from chance" in page and ": plain." not in page and "from 0.904 to 0.773" in page
    made, told = page[page.index("id='how-it-was-made'") :], page[: page.index("id='how-it-was-made'")]
    listed = set(re.findall(r"href='([\w-]+)\.html'", made))
    assert set(re.findall(r"href='([\w-]+)\.html'", told)) <= listed and "transfer" not in listed
    assert by_name["folds"].manifest["inputs"]["data"][:16] in made and ">none<" not in made


def test_a_report_on_cells_of_ones_own_is_not_said_to_be_of_the_release():
    own = [of_another_cohort(run) for run in real()]
    page = "".join(site_report.write_report(own, {})[2])
    methods = re.search(r"id='methods'.*?id='results'", page, re.S)[0]
    assert "C-NMC" not in methods and "two of the three released folds" not in page
    assert "C-NMC" not in home.describe_home(own, {})[0]


def test_plain_cues_on_the_first_page_are_those_of_the_same_splits_and_the_caption_says_which():
    picked = home.pick_runs(real())
    rows, said = home.read_cues(picked)
    own = pd.read_csv(picked["leakage"].folder / "plain.csv").query("classifier == 'all plain cues'")
    own = own[own.what != "given away"]
    assert rows.value.tolist() == own.value.tolist() and len(rows) == 8
    assert "texture" in said and "over people" in said and "keep" in said
    shown = instruments._find_plain(picked["leakage"], real(), "image")["triple"][0]
    assert shown == own.query("unit == 'image'").value.iloc[0]
    picked = {name: run for name, run in picked.items() if name != "leakage"}
    rows, said = home.read_cues(picked)
    headline = picked["ways"].result["headline"]
    claimed = headline["AUROC of boosting on plain cues, by image"]["value"]
    assert rows.set_index("way").value["image"] == claimed and "texture" not in said
    _, of_splits = home.read_cues({"shortcuts": picked["shortcuts"]})
    assert "texture" in of_splits and "over splits" in of_splits


def test_on_paper_a_wide_table_is_whole_and_code_is_black(browser, tmp_path):
    styles = "".join((ROOT / f"leukonb/verbs/{name}.css").read_text() for name in ("site", "page"))
    names = "".join(f"<th scope='col'>measured in the part {i}</th>" for i in range(9))
    row = "".join(f"<td class='number'>0.{i}12 (0.100 to 0.900)</td>" for i in range(7))
    row += "<td>UID_H24_31_13_hem.bmp</td><td class='short'>no more alike</td>"
    table = f"<div class='table-wrap wide'><table><thead><tr>{names}</tr></thead><tbody><tr>{row}</tr></tbody></table></div>"
    page = tmp_path / "wide.html"
    page.write_text(f"<style>{styles}</style><main>{table}<p><code>leukonb run</code></p></main>")
    tab = browser.new_page()
    tab.set_viewport_size({"width": 718, "height": 900})
    tab.emulate_media(color_scheme="dark")
    tab.goto(page.as_uri())
    on_screen = tab.evaluate("document.querySelector('table').scrollWidth")
    tab.emulate_media(media="print")
    assert on_screen > 718 >= tab.evaluate("document.querySelector('table').getBoundingClientRect().right")
    assert tab.evaluate("getComputedStyle(document.querySelector('code')).color") == "rgb(0, 0, 0)"
    tab.close()


def test_maps_get_their_key_from_the_script_of_the_page(browser, tmp_path):
    script = (ROOT / "leukonb/verbs/page.js").as_uri()
    maps = "<div class='table-wrap'><table class='maps'><tr><td>a map</td></tr></table></div>"
    page = tmp_path / "maps.html"
    page.write_text(f"<main>{maps}</main><script src='{script}'></script>")
    tab = browser.new_page()
    tab.goto(page.as_uri())
    said = tab.locator(".table-wrap + .map-key").inner_text()
    assert "against the class called" in said and "for it" in said and "outline of the cell" in said
    tab.close()

"""What the site says of itself: headings are listed, a command keeps its hyphens, runs that are alike lead to each other."""

import re
import shutil

import pandas as pd
import yaml

from conftest import ROOT
from leukonb.runs.published import find_published
from leukonb.verbs import licences, menu, site, site_guides
from leukonb.pages.faults import read_record
from test_site import built, run


def test_a_page_lists_its_headings_and_a_warning_keeps_the_hyphens_of_a_command(tmp_path):
    project = tmp_path / "project"
    told = site._tell_parts(["<h2 id='found'>What was found</h2><p>a</p>"])
    cells = [site._callout("warning", "leukonb run quick --out runs"), *told]
    site.write_page(project / "index.ipynb", "Cells", "A claim.", cells)
    config = yaml.safe_load((ROOT / "_quarto.yml").read_text())
    config["website"]["sidebar"]["contents"] = [{"text": "Home", "href": "index.ipynb"}]
    site._stage_look(config, project)
    page = (site.render_site(project) / "index.html").read_text()
    assert 'href="#found"' in page and 'id="found"' in page
    assert "quick &#45;&#45;out runs" in page


def test_runs_that_are_alike_lead_to_each_other_and_are_one_entry(nbs):
    for seed in range(3):
        run(nbs, name=f"arm-{seed}", seed=seed, title=f"Arm {seed}")
    place = built(nbs)
    page = (place / "runs/quick/training-arm-1.html").read_text()
    assert page.count("aria-current='page'>Arm 1<") == 1
    assert "href='training-arm-0.html'>Arm 0<" in page and "href='training-arm-2.html'>Arm 2<" in page
    menu = (place / "menu.js").read_text()
    assert menu.count("training-arm-") == 1 and "reliability.html" in menu and "speed.html" in menu
    assert "How long runs took" in (place / "speed.html").read_text()
    assert "graphics card" in (place / "speed.html").read_text()


def test_each_promise_of_the_tests_is_one_row():
    rows = site_guides.tabulate_promises(read_record())
    assert not rows.duplicated(["what is broken", "promise"]).any() and (rows.tests > 0).all()
    assert rows.faults.sum() == sum(len(entry["faults"]) for entry in read_record().values())


def test_what_was_not_measured_is_a_sentence_with_its_command_and_no_empty_section():
    told = "".join(site_guides.describe_speed([], {}))
    assert told.count("<h2") == 1 and "Not measured</h2>" in told and "class='none'" not in told
    lines = told.split("<li>")[1:]
    assert len(lines) == 6 and all("<code>leukonb run " in line or "<code>make " in line for line in lines)


def test_times_and_the_menu_name_runs_in_words(nbs):
    assert menu.name_experiment("monte-carlo") == "Many splits" and menu.name_experiment("my-own") == "My own"
    point = run(nbs, name="classical.family-svm", title="Without a network: support vector machine")
    assert site._short_name(point) == "support vector machine"
    assert site._list_run(point)["run"] == "Without a network: support vector machine"
    assert site_guides.tabulate_times([point]).experiment.tolist() == ["Training"]


def test_what_is_found_on_the_release_is_no_entry_of_a_study_of_drawn_cells(nbs):
    shutil.copy(nbs / "experiments/training.ipynb", nbs / "experiments/released.ipynb")
    drawn, found = run(nbs), run(nbs, experiment="released", synthetic=None)
    peers = next(record for record in find_published() if record.experiment == "peers")
    runs = [drawn, found, peers]
    sections = site._list_results(runs, site.page_addresses(runs))
    named = {section["section"]: [entry["text"] for entry in section["contents"]] for section in sections}
    assert named["The release and the paper"] == ["What was released", "What others published"]
    assert [*named.values()][0] == ["Training"] and len(named) == 2
    assert [site._list_run(each)["study"] for each in runs] == ["quick", *["The release and the paper"] * 2]


def test_published_studies_are_told_apart_and_the_menu_has_the_words_people_look_for():
    runs = find_published()
    sections = [section["section"] for section in site._list_results(runs, site.page_addresses(runs))]
    assert {"Published: Real cells", "Published: Real cells, from their images"} <= set(sections)
    assert "Published records" not in sections
    assert menu.name_experiment("transfer") == "Domain shift"
    assert all((ROOT / "nbs" / page.removeprefix("library/")).is_file() for page in menu._TITLES)


def test_the_page_on_citing_offers_the_file_and_an_entry_with_a_year_for_each_work():
    page = "".join(site_guides.describe_citing((ROOT / "CITATION.cff").read_text(encoding="utf-8")))
    entries = re.findall(r"<code>(@.*?)</code>", page, re.S)
    assert len(entries) == 3 and all(re.search(r"year = \{\d{4}\}", entry) for entry in entries)
    assert "eprint = {2601.01026}" in entries[2] and "Braga and Dantas" in entries[2]
    assert "<a href='CITATION.cff' download>" in page


def test_the_licence_of_a_package_is_seen_before_its_version():
    table = pd.DataFrame({"package": ["a"], "version": ["1.0"], "licence": ["MIT"], "copyleft": [""]})
    page = "".join(licences.describe_licences(table))
    assert page.index(">licence</th>") < page.index(">version</th>")

"""The pages of one result: what its reader needs, nothing that leads nowhere, and no waiting for the whole library."""

import json
import posixpath
import re
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from test_site import run

from leukonb.files import digest_file, read_json, write_json
from leukonb.runs import published
from leukonb.runs.seal import seal
from leukonb.verbs import evaluate, plan, site
from leukonb.verbs.site_size import Row, read_menu

FOUND = "<p>see <a href='../../evidence/meaning.ipynb'>meaning</a></p>"


def written(path, title, text, *code):
    """A notebook of the library."""
    cells = [nbformat.v4.new_markdown_cell(f"# {title}\n\n> A claim.\n\n{text}")]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[*cells, *map(nbformat.v4.new_code_cell, code)]), path)


@pytest.fixture
def library(nbs, monkeypatch):
    """A run, a page on a method that leads to others, a glossary, a module that judges nothing; records of two kinds."""
    links = "[words](../glossary.ipynb), [cells](../data/cells.ipynb) <a href='../data/cells.ipynb'>there</a>"
    export = '#| export\ndef pick(table, key):\n    "As ``` and [a](b)."\n    return table[key](1) < 2'
    written(nbs / "evidence/meaning.ipynb", "Meaning", links, export)
    written(nbs / "data/cells.ipynb", "Cells", "[method](../evidence/meaning.ipynb)")
    written(nbs / "glossary.ipynb", "Glossary", "**subject**: a person.")
    made = run(nbs, "training", "<b>shown</b>")
    records = [r for r in published.find_published() if r.name in ("tests", "links")]
    assert {r.experiment for r in records} == {"simulation", "links"}
    monkeypatch.setattr(site, "find_published", lambda: records)
    return nbs.parents[1], made


def built(place, whole):
    return site.build_site(place / "runs", place / ("whole" if whole else "result"), whole)


def addresses(folder):
    """{page: the pages and files of the site that it leads to or loads}."""
    found = {}
    for page in folder.rglob("*.html"):
        name = page.relative_to(folder).as_posix()
        said = re.sub(r"<(pre|script)\b[^>]*>.*?</\1>", r"<\1>", page.read_text(encoding="utf-8"), flags=re.S)
        links = re.findall(r"\s(?:href|src)=[\"']([^\"'#]+)", said)
        within = [urlsplit(link).path for link in links if not re.match(r"[a-z]+:", link)]
        found[name] = {
            posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(to))) for to in within
        }
    return found


def rows_of(folder, name):
    """The rows that a script of the site holds."""
    text = (folder / name).read_text(encoding="utf-8")
    return json.loads(re.search(r"""\[\[(?:0,|").*\]\]""", text)[0])


def test_the_pages_of_a_result_hold_what_its_reader_needs_and_lead_nowhere_else(library):
    place, _ = library
    folder = built(place, False)
    led = addresses(folder)
    wanted = {"index", "cite", "reliability", "runs/index", "runs/quick/training-training"}
    wanted |= {"library/evidence/meaning", "library/glossary", "published/simulation/simulation-tests"}
    assert set(led) == {f"{name}.html" for name in wanted}
    assert not [(page, to) for page, those in led.items() for to in those if not (folder / to).exists()]
    meaning = (folder / "library/evidence/meaning.html").read_text()
    assert 'href="../glossary.html"' in meaning and "cells.html" not in meaning and ">there</a>" in meaning
    program = re.search(
        r'<details class="code-fold">.*?<code class="sourceCode">(.*?)</code>', meaning, re.S
    )[1]
    assert program == 'def pick(table, key):\n    "As ``` and [a](b)."\n    return table[key](1) &lt; 2'
    menu, sections = rows_of(folder, "menu.js"), rows_of(folder, "search.js")
    assert {link for _, _, link in menu if link} <= set(led)
    assert {section[0].partition("#")[0] for section in sections} <= set(led)
    home = (folder / "index.html").read_text()
    assert "leukonb site" in home and "there is none yet" not in home


def test_the_whole_site_holds_the_library_and_every_record(library):
    place, _ = library
    folder = built(place, True)
    led = addresses(folder)
    assert {
        "library/data/cells.html",
        "licences.html",
        "speed.html",
        "published/real/links-links.html",
    } <= set(led)
    assert not [(page, to) for page, those in led.items() for to in those if not (folder / to).exists()]
    assert "data/cells.html" in (folder / "library/evidence/meaning.html").read_text()


EVIDENCE = ("evidence.json", "methods.json")


@pytest.mark.parametrize("verb, publish", [(evaluate, "publish_evidence"), (plan, "publish_plan")])
def test_a_verdict_and_a_plan_are_published_as_a_result(library, verb, publish, monkeypatch):
    place, made = library
    for name in (*EVIDENCE, "plan.json"):
        (made.folder / name).write_text("{}")
    result = read_json(made.folder / "result.json")
    result["files"] = result.get("files", {}) | {n: digest_file(made.folder / n) for n in EVIDENCE}
    write_json(made.folder / "result.json", result)
    seal(made.folder, made.experiment)
    asked = []
    monkeypatch.setattr(site, "build_site", lambda runs, to, whole=True: asked.append(whole))
    kinds = {"publish_evidence": ({}, None, None, None, made), "publish_plan": ({}, None, made)}
    kind = evaluate.Evidence if verb is evaluate else plan.StudyPlan
    getattr(verb, publish)(kind(*kinds[publish]), place / "runs", place / "out")
    assert asked == [False]


def test_the_menu_of_every_page_is_that_of_the_first(library):
    place, _ = library
    project = place / "project"
    runs = site.read_runs(place / "runs")[0]
    site.stage_readable(runs, project, whole=False)
    meant = nbformat.read(project / "library/evidence/meaning.ipynb", 4)
    assert not any("code-fold: true" in cell.source for cell in meant.cells)  # the builder would colour it
    rendered = site.render_site(project)
    pages = {p.relative_to(rendered).as_posix(): p.read_text() for p in rendered.rglob("*.html")}
    first = read_menu(pages["index.html"], "index.html")
    assert Row(0, "Library", "") in first and len(pages) > 5
    assert all(read_menu(text, name) == first for name, text in pages.items())

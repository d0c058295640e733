"""The site: whole or absent, the same each time, true about its runs, and complete in itself."""

import os
import re
import zipfile
from html import escape, unescape
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest

from conftest import ROOT
from leukonb.files import refusal_line, write_json
from leukonb.draw.look import figure_html
from leukonb.runs.process import execute_run, prepare_folder
from leukonb.runs.record import make_run
from leukonb.verbs import site

NASTY = "<img src=x onerror=alert(1)> & `*b*` {{< pagebreak >}}"
LINKS = "<p>see <a href='../../training/{folder}/training.ipynb#loss'>page</a>, <a href='../../training/{folder}/loss.csv'>table</a>, <a href='model.keras'>model</a></p>"


def run(
    nbs, experiment="training", *html, name=None, state="done", error=None, finished=2.0, seed=0, **facts
):
    """A run as it lies on the disk once its notebook has been executed."""
    notebook = nbs / "experiments" / f"{experiment}.ipynb"
    facts = {"study": "quick", "size": "quick", "synthetic": True, "command": "leukonb run quick", **facts}
    made = make_run(
        nbs.parents[1] / "runs" / "quick", name or experiment, notebook, {"seed": seed}, "ab" * 32, **facts
    )
    prepare_folder(made, notebook, 1)
    executed = nbformat.read(notebook, 4)
    executed.metadata["papermill"] = {"output_path": str(made.folder)}
    executed.cells[-1].outputs = [
        nbformat.v4.new_output("display_data", {"text/html": h, "text/plain": "shown"}) for h in html
    ]
    nbformat.write(executed, made.notebook)
    (made.folder / "loss.csv").write_text("epoch,loss\n1,0.5\n")
    write_json(
        made.folder / "status.json",
        {"status": state, "started": finished - 1, "finished": finished, "seconds": 1.0, "error": error},
    )
    if state == "done":
        write_json(made.folder / "result.json", {"run": made.key, "headline": {"auroc": 0.9}})
    return made


def built(nbs):
    return site.build_site(nbs.parents[1] / "runs", nbs.parents[1] / "site")


@pytest.mark.fault(
    group="site",
    fault="Nothing has been run, or nothing ended well",
    injected="a site built from failed runs only",
    promise="refused; nothing is written",
)
def test_nothing_run_is_refused_and_nothing_written(nbs):
    assert "run `leukonb run quick` first" in refusal_line(built, nbs)
    run(nbs, state="failed")
    assert "nothing has been run" in refusal_line(built, nbs)
    assert not (nbs.parents[1] / "site").exists()


@pytest.mark.fault(
    group="site",
    fault="The target folder holds something else",
    injected="a file put there",
    promise="refused; the file is untouched",
)
def test_a_folder_that_is_no_site_is_left_alone(nbs):
    run(nbs)
    precious = nbs.parents[1] / "site" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("years of work")
    assert "not a site" in refusal_line(built, nbs) and precious.read_text() == "years of work"


@pytest.mark.fault(
    group="site", fault="The site is built twice", injected="two builds", promise="the same bytes"
)
def test_two_builds_are_the_same_bytes(nbs):
    (nbs.parent / "CITATION.cff").write_text((ROOT / "CITATION.cff").read_text())
    run(nbs, "training", "<b>once</b>")
    run(nbs, "report", name="report")
    first, second = (
        {p.relative_to(s): p.read_bytes() for p in s.rglob("*") if p.is_file()}
        for s in (built(nbs).rename(nbs.parents[1] / "first"), built(nbs))
    )
    assert first == second and Path("runs/quick/training-training.html") in first
    assert first[Path("CITATION.cff")] == (ROOT / "CITATION.cff").read_bytes()
    assert b"href='CITATION.cff'" in first[Path("cite.html")]


def test_every_page_says_what_its_figures_are_worth(nbs):
    made = run(nbs, "training", "<b>once</b>")
    run(nbs, "training", name="whole", size="full", synthetic=False)
    page, whole = ((built(nbs) / f"runs/quick/training-{n}.html").read_text() for n in ("training", "whole"))
    assert "Synthetic cohort, quick size: these figures say nothing about C-NMC" in page
    assert made.key in page and "leukonb run quick" in page and "What the training shows" in page
    assert "say nothing about" not in whole
    assert (
        page.index("What the training shows")
        < page.index("Synthetic cohort, quick")
        < page.index("<b>once</b>")
        < page.index("How this was made</h2>")
        < page.index('id="provenance"'.replace('"', "'"))
    )


@pytest.mark.fault(
    group="site",
    fault="A result is older than its code",
    injected="the notebook changed after the run",
    promise="its page and the list of runs say stale",
)
def test_a_changed_notebook_marks_its_runs_stale(nbs):
    run(nbs)
    page = built(nbs) / "runs/quick/training-training.html"
    assert "since then changed" not in page.read_text()
    notebook = nbs / "experiments" / "training.ipynb"
    notebook.write_text(notebook.read_text().replace("show()", "show(2)"))
    built(nbs)
    assert (
        "since then changed" in page.read_text() and "stale" in (page.parents[1] / "index.html").read_text()
    )


@pytest.mark.fault(
    group="site",
    fault="A report lacks a run that it needs",
    injected="a run whose record names a missing one",
    promise="its page says from how many it was made, and which is missing and why",
)
def test_a_page_names_what_its_run_lacks(nbs):
    run(nbs, missing={"of": 100, "runs": {"training.seed-7": "diverged: <b>the loss</b> is no number"}})
    page = (built(nbs) / "runs/quick/training-training.html").read_text()
    assert "Made from 99 of 100 runs" in page and "training.seed-7" in page and "<b>the loss" not in page


@pytest.mark.fault(
    group="site",
    fault="HTML and Markdown in titles, commands, errors and tables",
    injected="<img onerror> in each",
    promise="shown letter by letter on every page, never run",
)
def test_names_with_html_are_shown_and_not_run(nbs):
    run(nbs, "training", f"<td>{escape(NASTY)}</td>", title=f"T {NASTY}", command=f"leukonb run {NASTY}")
    run(nbs, "report", state="failed", error=f"E {NASTY}")
    for page in built(nbs).rglob("*.html"):
        assert "<img src=x" not in page.read_text(), page
    assert escape("<img src=x onerror=alert(1)>") in (nbs.parents[1] / "site/runs/index.html").read_text()


@pytest.fixture
def failing(nbs):
    """A finished run, and a run whose third cell fails with a path and HTML in its error."""
    run(nbs, "report")
    notebook = nbs / "experiments" / "training.ipynb"
    nb = nbformat.read(notebook, 4)
    nb.cells[2:] = [
        nbformat.v4.new_code_cell(source)
        for source in (
            "print('so far so good', __import__('os').getcwd())",
            f"raise OSError(__import__('os').path.abspath('gone.bmp') + {NASTY!r})",
            "print('beyond')",
        )
    ]
    nbformat.write(nb, notebook)
    made = make_run(
        nbs.parents[1] / "runs" / "quick",
        "training",
        notebook,
        {"seed": 0},
        study="quick",
        size="quick",
        synthetic=True,
        command="leukonb run quick",
    )
    assert execute_run(made, notebook)["status"] == "failed"
    return made


@pytest.mark.fault(
    group="site",
    fault="A run has failed, or its process has gone",
    injected="an error with a path and HTML in it in the third cell; then the state that SIGKILL leaves",
    promise="the list of runs leads to a page with its status, its error, the cell and the notebook as far as it came, without paths of the machine",
)
@pytest.mark.parametrize("gone", [False, True])
def test_a_run_that_ended_badly_leads_to_its_notebook(nbs, failing, gone):
    if gone:
        failing.notebook.rename(failing.folder / ".executed.ipynb")
        write_json(failing.folder / "status.json", {"status": "running", "pid": 1})
    place, name = built(nbs), f"quick/training-training-{failing.key[:8]}-not-done.html"
    listed, page = (place / "runs/index.html").read_text(), (place / "runs" / name).read_text()
    assert f'href="{name}"' in listed.replace("'", '"') and (
        gone or "in cell 4: OSError: …/gone.bmp" in unescape(listed)
    )
    assert ("its process is gone" if gone else "Not done, failed: OSError: …/gone.bmp") in unescape(page)
    assert "In cell 4" in page and 'id="ended"' in page.replace("'", '"') and "1 more was not begun" in page
    assert (
        "so far so good" in page and "Traceback" in page and "beyond" not in page and "<img src=x" not in page
    )
    copies = [p for p in (place / "files/quick/training").rglob("*") if p.is_file()]
    assert {p.name for p in copies} == {"run.json", "training.ipynb"}
    for p in [*copies, *place.rglob("*.html")]:
        assert str(nbs.parents[1]) not in p.read_text(), p
    assert name.split("/")[1] not in (place / "index.html").read_text()


@pytest.mark.fault(
    group="site",
    fault="Links that lead nowhere",
    injected="every link of a built site followed",
    promise="each leads to a page or a file, or is no link",
)
def test_links_between_runs_lead_to_pages_and_files(nbs):
    made = run(nbs)
    run(nbs, "report", LINKS.format(folder=made.folder.name))
    place = built(nbs)
    page = (place / "runs/quick/report-report.html").read_text()
    assert re.search(r"href=['\"]training-training\.html#loss['\"]>page", page)
    assert f"../../files/quick/training/{made.folder.name}/loss.csv" in page
    assert "model.keras" not in page and ">model</a>" in page
    for p in place.rglob("*.html"):
        for to in re.findall(r"<a\s[^>]*href=['\"]([^'\"#?]+)", p.read_text()):
            assert re.match(r"[a-z]+:", to) or (p.parent / unquote(to)).exists(), (
                f"{p.relative_to(place)} links to {to}"
            )


def test_of_two_runs_of_one_name_the_newest_has_the_plain_address(nbs):
    old, new = run(nbs, seed=1, finished=1.0), run(nbs, seed=2, finished=9.0)
    at = site.page_addresses([old, new])
    assert at[new.folder] == "runs/quick/training-training.ipynb"
    assert at[old.folder] == f"runs/quick/training-training-{old.key[:8]}.ipynb"
    assert {"training-training.html", f"training-training-{old.key[:8]}.html"} == {
        p.name for p in (built(nbs) / "runs/quick").iterdir()
    }


@pytest.mark.fault(
    group="site",
    fault="A run's notebook carries paths of the machine",
    injected="papermill's own metadata",
    promise="not in what is published",
)
def test_a_downloaded_notebook_names_no_place_of_the_machine(nbs):
    made = run(nbs)
    copy = built(nbs) / "files/quick/training" / made.folder.name / f"{made.folder.name}.zip"
    with zipfile.ZipFile(copy) as archive:
        inside = {Path(name).name: archive.read(name).decode() for name in archive.namelist()}
    assert set(inside) == {"run.json", "result.json", "training.ipynb"}
    assert str(nbs.parents[1]) in made.notebook.read_text() and not any(
        str(nbs.parents[1]) in text for text in inside.values()
    )


def test_the_archive_of_a_record_is_linked_once_and_the_same_whenever_it_is_made(nbs, tmp_path):
    made = run(nbs)
    table = site.provenance_html(
        made, "runs/quick/training-training.ipynb", site.published_files(made).values()
    ).source
    assert table.count(".zip' download>") == 1 and "loss.csv' download>" in table
    for folder in (tmp_path / "one", tmp_path / "two"):
        site.copy_offers(made, folder, {})
        os.utime(made.notebook, (9e8, 9e8))
    first, second = ([*folder.rglob("*.zip")] for folder in (tmp_path / "one", tmp_path / "two"))
    assert len(first) == 1 and first[0].read_bytes() == second[0].read_bytes()


@pytest.mark.parametrize(
    "html",
    [
        '<img src="https://example.org/a.png">',
        "<link rel='stylesheet' href='//example.org/a.css'>",
        "<style>@import url(https://example.org/f.css)</style>",
        "<script type='module'>import x from 'https://example.org/x.js'</script>",
        "<div style='background:url(http://example.org/x.png)'></div>",
    ],
)
@pytest.mark.fault(
    group="site",
    fault="A page that would load something from the network",
    injected="an image, style sheet, import, script or background elsewhere",
    promise="refused by page and address; the earlier site stands",
)
def test_a_page_that_would_load_from_outside_is_refused(nbs, html):
    run(nbs)
    before = (built(nbs) / "index.html").read_bytes()
    run(nbs, "report", html)
    line = refusal_line(built, nbs)
    assert "runs/quick/report-report.html" in line and "example.org" in line and len(line.splitlines()) == 1
    assert (nbs.parents[1] / "site/index.html").read_bytes() == before


def test_what_builders_load_for_nothing_is_taken_out():
    page = '<script src="https://cdnjs.cloudflare.com/ajax/libs/require.js/2.3.6/require.min.js" crossorigin="anonymous"></script><script type="application/javascript">define(\'jquery\', [],function() {return window.jQuery;})</script><a href="https://example.org">out</a>'
    done = site.finish_page(page, "a/b.html").html
    assert done == '<a href="https://example.org">out</a>' and not site.outside_addresses(done)


def test_a_figure_is_shown_once_and_with_one_plotly(nbs):
    import plotly.graph_objects as go

    made = run(nbs, "training", figure_html(go.Figure(go.Scatter(y=[1, 2])), "loss"))
    executed = nbformat.read(made.notebook, 4)
    executed.cells[-1].outputs += [
        nbformat.v4.new_output(
            "display_data",
            {"application/vnd.plotly.v1+json": go.Figure(go.Scatter(y=[2, 1])).to_plotly_json()},
        )
    ]
    nbformat.write(executed, made.notebook)
    place = built(nbs)
    page = (place / "runs/quick/training-training.html").read_text()
    assert (
        page.count('<script type="application/json" data-figure=') == 2
        and "Plotly.newPlot" not in page
        and page.count('src="../../plotly.min.js"') == 1
        and len(page) < 10**5
    )
    assert (
        "plotly.min.js" not in (place / "runs/index.html").read_text()
        and (place / "plotly.min.js").stat().st_size > 10**6
    )


def test_how_a_run_was_made_is_told_once_at_the_end_and_never_in_two_ways(nbs):
    """A report reads no images itself, so its notebook says `none`; the page says whose data it is made of."""
    from leukonb.runs.record import Run, show_provenance

    needed = run(nbs)
    write_json(
        needed.folder / "run.json",
        needed.manifest | {"inputs": needed.manifest["inputs"] | {"data": "cd" * 32}},
    )
    own = run(nbs, "report", "<b>found</b>")
    manifest = own.manifest | {"paths": {"training": [f"../../training/{needed.folder.name}"]}}
    manifest["inputs"] |= {"data": None, "needs": {"training": [needed.key]}}
    write_json(own.folder / "run.json", manifest)
    table = show_provenance(Run.read(own.folder)).data
    parameters = "<table><caption>Parameters of this run</caption></table>"
    executed = nbformat.read(own.notebook, 4)
    executed.cells[-1].outputs[:0] = [
        nbformat.v4.new_output("display_data", {"text/html": html}) for html in (parameters, table)
    ]
    nbformat.write(executed, own.notebook)
    page = (built(nbs) / "runs/quick/report-report.html").read_text()
    shown, made = page[page.index("<main") :].split("How this was made</h2>")
    assert ">none<" in table and page.count("<th scope='row'>data</th>") == 1 and "cdcdcdcd" in made
    assert "<td>none</td></tr><tr><th scope='row'>size" not in made
    assert "<b>found</b>" in shown and "Parameters of this run" in made and "Parameters of" not in shown
    assert "show()" in made and "show()" not in shown and "<details class='made'>" in made


@pytest.mark.parametrize(
    ("synthetic", "size", "said"),
    [(True, 4, ""), (True, 400_000, "too large for a page"), (False, 4, "terms that a web page cannot hold")],
)
def test_predictions_of_drawn_cells_are_offered_and_those_of_people_are_not(nbs, synthetic, size, said):
    made = run(nbs, synthetic=synthetic)
    (made.folder / "predictions.parquet").write_bytes(b"0" * size)
    places = site.published_files(made).values()
    table = site.provenance_html(made, "runs/quick/training-training.ipynb", places).source
    assert ("/predictions.parquet' download>" in table) == (not said)
    assert said in table and ("<th scope='row'>predictions</th>" in table) == bool(said)


def test_a_table_that_two_runs_share_stands_in_the_site_once(nbs):
    first, again, other = run(nbs), run(nbs, seed=1), run(nbs, seed=2)
    (other.folder / "loss.csv").write_text("epoch,loss\n1,0.7\n")
    doubles = site.find_doubles([first, again, other])
    folder = nbs.parents[1] / "site"
    for made in (first, again, other):
        site.copy_offers(made, folder, doubles)
    tables = sorted(p.parent.name for p in folder.rglob("loss.csv"))
    assert tables == sorted([first.folder.name, other.folder.name])
    offered = site._list_offers(again, doubles).values()
    shared = f"files/{'/'.join(first.folder.parts[-3:])}/loss.csv"
    pages = site.page_addresses([first, again, other])
    places = site._find_places([first, again, other], pages, nbs, {})
    assert shared in offered and places[os.path.realpath(again.folder / "loss.csv")] == shared
    assert all((folder / place).is_file() for place in offered)

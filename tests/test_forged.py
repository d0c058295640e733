"""A record that somebody has edited, even so that it fits itself: `verify` and `crate` find it and name it."""

import json
import re
import shutil

import pandas as pd
import pytest
from finished import write_run
from test_cohort import encoded
from test_integrity import MEAN
from test_runs import write

from leukonb.draw.cells import decode_thumbnails
from leukonb.files import digest_file, read_json, refusal_line, write_json
from leukonb.runs import verify
from leukonb.runs.crate import export_crate
from leukonb.runs.key import digest_inputs
from leukonb.runs.process import execute_run
from leukonb.runs.record import Run, is_whole, make_run, run_without
from leukonb.runs.seal import seal
from leukonb.runs.verify import all_equal, compare_runs, describe_remedy, repeat_run

FIRST = """import base64
from pathlib import Path
(scores,) = scores
Path("cells.png").write_bytes(base64.b64decode("iVBORw0KGgo="))"""
SHOW = """from IPython.display import HTML
print(f"the mean is {mean:.2f}")
HTML("<table><tr><th scope='col'>arm</th><th scope='col'>seconds</th></tr><tr><td>0.91</td><td>2.5</td></tr></table>")"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A run on what a made-up run of drawn cells has left, and its repetition, each executed once."""
    place = tmp_path_factory.mktemp("pair")
    facts = {"study": "quick", "size": "quick", "synthetic": True, "command": "leukonb run quick"}
    source = write(place, "show()", name="training")
    first = write_run(make_run(place / "runs/quick", "training", source, {"seed": 0}, **facts), source)
    scores = pd.DataFrame({"cell": ["a", "b"], "score": [0.25, 0.75]})
    scores.to_parquet(first.folder / "scores.parquet")
    result = read_json(first.folder / "result.json")
    result["files"]["scores.parquet"] = digest_file(first.folder / "scores.parquet")
    write_json(first.folder / "result.json", result)
    seal(first.folder, "training")
    lost = make_run(place / "runs/quick", "training-2", source, {"seed": 2}, **facts)
    parameters = "scores: list[str] = []"
    notebook = write(place, FIRST, MEAN, SHOW, name="second", parameters=parameters)
    called, needs = {"title": "The same without attention"}, {"scores": [first, lost]}  # by the study
    planned = make_run(place / "runs/quick", "without", notebook, {}, needs=needs, **facts | called)
    run = run_without(planned, {lost.key: (lost.name, "failed: asked to")})
    assert execute_run(run, notebook, threads=1)["status"] == "done"
    run = Run.read(run.folder)
    again = repeat_run(run, place / "again")
    assert execute_run(again, run.folder / ".source.ipynb", threads=1)["status"] == "done"
    return place, run, again


def edit(file, was, now):
    """Exchange words in a file, which must be there."""
    text = file.read_text()
    assert was in text
    file.write_text(text.replace(was, now))


def edit_json(file, **changes):
    write_json(file, {**read_json(file), **changes})


def edit_cell(run, kind, **changes):
    """Change the first cell of a kind in the executed notebook."""
    notebook = json.loads(run.notebook.read_text())
    cell = next(c for c in notebook["cells"] if c["cell_type"] == kind and not c.get("outputs"))
    cell |= changes
    run.notebook.write_text(json.dumps(notebook))


def edit_showing_cell(run, change):
    """Change the first cell of the executed notebook that shows a table, and its outputs."""
    notebook = json.loads(run.notebook.read_text())
    change(next(c for c in notebook["cells"] if any("data" in o for o in c.get("outputs", []))))
    run.notebook.write_text(json.dumps(notebook))


def add_output(run):
    table = {"text/html": "<p>Validated on 1,000 patients</p>"}
    forged = {"output_type": "display_data", "name": "stderr", "metadata": {}, "data": table}
    edit_showing_cell(run, lambda cell: cell["outputs"].append(forged))


def change_output(run, **changes):
    edit_showing_cell(run, lambda cell: cell["outputs"][0].update(changes))


def move_into_source(run):
    def move(cell):
        cell["source"] = "\n".join(["".join(cell["source"]), verify._show_output(cell["outputs"].pop(0))])

    edit_showing_cell(run, move)


TABLE = "<table class='provenance'>"
FORGED_ROW = "<tr><th scope='row'>device</th><td>NVIDIA H100</td></tr>"
FORGERIES = {
    "the shown number": lambda run: edit(run.notebook, "the mean is 0.50", "the mean is 0.99"),
    "a table beside a time": lambda run: edit(run.notebook, "<td>0.91</td>", "<td>0.99</td>"),
    "words of the page": lambda run: edit(
        run.notebook, "Where these numbers come from", "Checked by two people"
    ),
    "whether the cells were drawn": lambda run: edit_json(run.folder / "run.json", synthetic=False),
    "the size": lambda run: edit_json(run.folder / "run.json", size="full"),
    "the command": lambda run: edit_json(run.folder / "run.json", command="leukonb run paper"),
    "the names of the classes": lambda run: edit_json(
        run.folder / "run.json", inputs=run.manifest["inputs"] | {"classes": {"ALL": "HEM", "HEM": "ALL"}}
    ),
    "the seeds": lambda run: edit_json(run.folder / "run.json", seeds={"seed": 7}),
    "the notes": lambda run: edit_json(run.folder / "result.json", notes=["Validated on 1,000 patients."]),
    "the headline": lambda run: edit_json(run.folder / "result.json", headline={"mean": 0.99}),
    "the source": lambda run: edit(run.folder / ".source.ipynb", "float(", "0.49 + float("),
    "the device on the page": lambda run: edit(
        run.notebook, "device</th><td>", "device</th><td>NVIDIA H100, "
    ),
    "the device said twice": lambda run: edit(
        run.notebook, "<tr><th scope='row'>device</th>", f"{FORGED_ROW}<tr><th scope='row'>device</th>"
    ),
    "a second table of where its numbers come from": lambda run: edit(
        run.notebook, "<table class='provenance'>", f"<table class='provenance'>{FORGED_ROW}</table>{TABLE}"
    ),
    "another form of an output": lambda run: edit(
        run.notebook, '"text/html":', '"application/javascript": "show(0.99)", "text/html":'
    ),
    "the title": lambda run: edit_json(run.folder / "run.json", title="Validated on 1,000 patients"),
    "whose cells they are": lambda run: edit_json(run.folder / "run.json", alone=True),
    "code shown as text": lambda run: edit_cell(run, "code", cell_type="markdown"),
    "a pasted picture": lambda run: edit_cell(run, "code", attachments={"a.png": {"image/png": "AAAA"}}),
    "a table": lambda run: (run.folder / "mean.csv").write_text("mean\n0.99\n"),
    "a table that calls itself a warning": add_output,
    "a table that calls itself a stream": lambda run: change_output(run, output_type="stream"),
    "an output as a line of its cell": move_into_source,
}


@pytest.mark.fault(
    group="runs",
    fault="What a page shows was edited, and the record made to fit",
    injected="the executed notebook, run.json, result.json, the notebook's source or a table changed; all digests made anew",
    promise="verify names it, exit code 1; without new digests the crate is refused, too",
)
@pytest.mark.parametrize("fits", [False, True], ids=["as it lies", "with digests made anew"])
@pytest.mark.parametrize("what", FORGERIES)
def test_what_a_page_shows_cannot_be_edited(pair, tmp_path, what, fits):
    place, run, again = pair
    shutil.copytree(place / "runs", tmp_path / "runs", symlinks=True)
    forged = Run.read(tmp_path / run.folder.relative_to(place))
    FORGERIES[what](forged)
    if fits:
        result = read_json(forged.folder / "result.json")
        files = {name: digest_file(forged.folder / name) for name in result["files"]}
        edit_json(forged.folder / "result.json", files=files)
        seal(forged.folder, forged.experiment)
    forged = Run.read(forged.folder)
    table = compare_runs(forged, again)
    bad = table[~table.status.isin(["equal", "timed"])]
    assert not all_equal(table) and len(bad), bad
    assert is_whole(forged) == fits
    if fits:
        assert f"move {forged.folder} away" in describe_remedy(forged)
    else:
        said = refusal_line(export_crate, "quick", tmp_path / "runs", tmp_path / "crate")
        assert forged.folder.name in said and "has changed" in said and not (tmp_path / "crate").exists()
        assert describe_remedy(forged) == "leukonb run quick makes the run anew" or what == "the command"


def drop(run, file, *names):
    """Remove entries from a file of a record, where they are."""
    write_json(run.folder / file, {k: v for k, v in read_json(run.folder / file).items() if k not in names})


def drop_words(run, pattern, words=""):
    """Exchange what the executed notebook shows, which must be there."""
    text, found = re.subn(pattern, words, run.notebook.read_text())
    assert found
    run.notebook.write_text(text)


def drop_file(run, name):
    """Remove a file and what the result says of it."""
    (run.folder / name).unlink()
    files = read_json(run.folder / "result.json")["files"]
    edit_json(run.folder / "result.json", files={k: v for k, v in files.items() if k != name})


def drop_device(run):
    environment = {k: v for k, v in run.manifest["environment"].items() if k != "device"}
    edit_json(run.folder / "run.json", environment=environment)
    drop_words(run, "(device</th><td>)[^<]*", r"\1")


DELETIONS = {
    "a run that failed, in note and manifest": lambda run: (
        drop(run, "run.json", "missing"),
        edit_json(run.folder / "result.json", notes=[]),
    ),
    "that the cells were drawn": lambda run: drop(run, "run.json", "synthetic"),
    "the size, in manifest and page": lambda run: (
        drop(run, "run.json", "size"),
        drop_words(run, "(size</th><td>)quick", r"\1by hand"),
    ),
    "the command, in manifest and page": lambda run: (
        drop(run, "run.json", "command"),
        drop_words(run, "(command</th><td>)[^<]*", r"\1opened by hand, not recorded"),
    ),
    "the title": lambda run: drop(run, "run.json", "title"),
    "the device, in manifest and page": drop_device,
    "a row of the page": lambda run: drop_words(run, "<tr><th scope='row'>needs</th>.*?</tr>"),
    "the table of where numbers come from": lambda run: drop_words(
        run, "<table class='provenance'>.*?</table>"
    ),
    "the notebook's source": lambda run: (run.folder / ".source.ipynb").unlink(),
    "the executed notebook": lambda run: run.notebook.unlink(),
    "a picture": lambda run: (run.folder / "cells.png").unlink(),
    "a table": lambda run: drop_file(run, "mean.csv"),
    "a headline figure": lambda run: edit_json(run.folder / "result.json", headline={}),
    "a whole cell of the page": lambda run: run.notebook.write_text(
        json.dumps({**read_json(run.notebook), "cells": read_json(run.notebook)["cells"][:-1]})
    ),
}


@pytest.mark.fault(
    group="runs",
    fault="What a page shows was deleted with all that names it",
    injected="a note, a fact, a file or a part of the page and its entry in the record; all digests made anew",
    promise="verify names what must be there and is not",
)
@pytest.mark.parametrize("what", DELETIONS)
def test_what_a_page_shows_cannot_be_deleted(pair, tmp_path, what):
    place, run, _ = pair
    shutil.copytree(place / "runs", tmp_path / "runs", symlinks=True)
    forged = Run.read(tmp_path / run.folder.relative_to(place))
    DELETIONS[what](forged)
    seal(forged.folder, forged.experiment)
    forged = Run.read(forged.folder)
    again = repeat_as_stated(forged, tmp_path / "again", pair)
    table = compare_runs(forged, again)
    assert not all_equal(table), table


def repeat_as_stated(forged, place, pair):
    """The repetition of a forged run: it says what the manifest that it was given makes it say."""
    again = pair[2]
    shutil.copytree(again.folder, place)
    manifest = {**forged.manifest, "paths": again.manifest["paths"]}
    write_json(place / "run.json", manifest)
    result = read_json(place / "result.json")
    notes = [note for note in result["notes"] if "missing" in manifest or not note.startswith("Made from")]
    write_json(place / "result.json", {**result, "notes": notes})
    return Run.read(place)


def test_a_record_without_its_seal_says_that_it_has_none(pair, tmp_path):
    place, run, again = pair
    folder = shutil.copytree(run.folder, tmp_path / "runs/quick/second/copy")
    drop(Run.read(folder), "result.json", "record", "shown", "written", "ended")
    assert "it holds no digest of the whole record" in set(compare_runs(Run.read(folder), again).note)


def test_what_nobody_has_touched_comes_out_equal(pair):
    _, run, again = pair
    table = compare_runs(run, again)
    assert all_equal(table) and {"record", "page", "file", "figure"} == set(table.what)


def test_a_key_that_was_forged_with_its_inputs_does_not_fit_the_notebook(pair, tmp_path):
    place, run, again = pair
    shutil.copytree(place / "runs", tmp_path / "runs", symlinks=True)
    folder = tmp_path / run.folder.relative_to(place)
    manifest = read_json(folder / "run.json")
    manifest["inputs"]["notebook"] = "0" * 64
    manifest["key"] = digest_inputs(manifest["inputs"])
    write_json(folder / "run.json", manifest)
    edit_json(folder / "result.json", run=manifest["key"])
    seal(folder, run.experiment)
    table = compare_runs(Run.read(folder), again)
    assert "notebook" in set(table[table.status == "differs"].name)


def test_a_folder_that_calls_itself_published_is_still_held_against_its_files(pair, tmp_path):
    place, run, _ = pair
    folder = shutil.copytree(run.folder, tmp_path / "study/second" / run.folder.name)
    files = {p.name: digest_file(p) for p in folder.iterdir() if p.is_file()}
    (folder / "published.json").write_text(json.dumps({"files": files, "made": "2026-01-01", "leukonb": "1"}))
    assert Run.read(folder).done
    edit(folder / "mean.csv", "0.5", "0.9")
    assert Run.read(folder).status["status"] == "changed"
    (folder / "published.json").write_text("{}")
    assert not Run.read(folder).done


def test_a_crate_of_a_run_whose_table_is_gone_is_refused(pair, tmp_path):
    place, run, _ = pair
    shutil.copytree(place / "runs", tmp_path / "runs", symlinks=True)
    (tmp_path / run.folder.relative_to(place) / "mean.csv").unlink()
    said = refusal_line(export_crate, "quick", tmp_path / "runs", tmp_path / "crate")
    assert "mean.csv is gone since the run ended; leukonb run quick makes the run again" in said


@pytest.mark.fault(
    group="runs",
    fault="The file of a cell that a page draws was exchanged",
    injected="another cell's image under its name; the file removed",
    promise="no other picture is drawn in its place; the file is named",
)
def test_a_cell_is_drawn_from_its_own_file_only(tmp_path):
    (tmp_path / "a.bmp").write_bytes(encoded(1))
    cell = digest_file(tmp_path / "a.bmp")
    assert decode_thumbnails(tmp_path, ["a.bmp"], [cell], 16)[0].shape == (16, 16, 3)
    (tmp_path / "a.bmp").write_bytes(encoded(2))
    said = refusal_line(decode_thumbnails, tmp_path, ["a.bmp"], [cell], 16)
    assert "a.bmp has changed since it was indexed, and is not drawn" in said
    (tmp_path / "a.bmp").unlink()
    assert "a.bmp is gone" in refusal_line(decode_thumbnails, tmp_path, ["a.bmp"], [cell], 16)

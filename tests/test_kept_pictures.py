"""A run on real cells keeps numbers, tables and charts, and no picture of a cell nor any made from one."""

import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest

from leukonb.data import phantom
from leukonb.draw import cells as pictures
from leukonb.files import Refusal, write_json
from leukonb.pages import maps
from leukonb.runs.process import prepare_folder
from leukonb.runs.published import find_published, list_pictures, publish_run
from leukonb.runs.record import Run, finish, make_run
from leukonb.runs.seal import seal
from leukonb.verbs import site

ROOT = Path(__file__).parents[1]
REAL = False  # what run.json says of cells that nobody drew


def show_all() -> list[dict]:
    """What the two ways to show cells leave in a notebook of the run in the working folder."""
    images, rows = phantom.sample_cohort(subjects=4, cells=2, size=64, seed=5)
    texts = [f"{label}, subject {subject}" for label, subject in zip(rows.label, rows.subject)]
    ramp = np.tile(np.linspace(-1, 1, 64), (len(images), 64, 1))
    shown: list[dict] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("IPython.display.publish_display_data", shown.append)
        pictures.show_gallery(images, texts, marks=rows.label)
        maps.show_sheet(images, {"ramp": ramp}, texts, list(rows.label), "cells")
    return shown


def write_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, synthetic: bool, outputs: list | None = None
) -> Run:
    """A finished run whose notebook shows cells, or what it is told to show."""
    notebook = place / "nbs/experiments/look.ipynb"
    notebook.parent.mkdir(parents=True, exist_ok=True)
    cells = [nbformat.v4.new_code_cell("seed: int = 0", metadata={"tags": ["parameters"]})]
    nbformat.write(nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell("show()")]), notebook)
    monkeypatch.setenv("LEUKONB_NBS", str(place / "nbs"))
    run = make_run(place / "runs/clinic", "look", notebook, {"seed": 0}, synthetic=synthetic)
    prepare_folder(run, notebook, 1)
    monkeypatch.chdir(run.folder)
    shown = [nbformat.v4.new_output("display_data", data) for data in outputs or show_all()]
    executed = nbformat.read(notebook, 4)
    executed.cells[1].outputs = shown
    nbformat.write(executed, run.notebook)
    write_json(
        run.folder / "status.json", {"status": "done", "started": 1.8e9, "finished": 1.8e9, "seconds": 1.0}
    )
    finish(run, {"cells": 8})
    seal(run.folder, run.experiment)
    return run


@pytest.mark.parametrize(("said", "kept"), [(True, True), (REAL, False), (None, False)])
def test_a_run_on_cells_that_nobody_drew_leaves_no_picture_in_its_notebook(tmp_path, monkeypatch, said, kept):
    monkeypatch.chdir(tmp_path)
    Path("run.json").write_text(json.dumps({"synthetic": said}))
    outputs = show_all()
    assert [pictures.find_pictures({"data": data}) for data in outputs] == [kept, kept]
    assert Path("figures/cells.html").is_file() == kept
    assert all("subject 1" in data["text/html"] for data in outputs)


def test_by_hand_the_user_sees_the_cells_and_the_record_has_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run.json").write_text(json.dumps({"synthetic": REAL, "by_hand": "said"}))
    assert all(pictures.find_pictures({"data": data}) for data in show_all())
    assert not Path("figures").exists()


@pytest.mark.fault(
    group="site",
    fault="A kept picture of a real cell was exchanged after its run",
    injected="another content in every picture beside a record",
    promise="the page shows stand-ins and none of the exchanged pictures",
)
def test_pictures_lie_beside_the_record_and_a_page_shows_them_only_there(tmp_path, monkeypatch):
    run = write_run(tmp_path, monkeypatch, synthetic=REAL)
    assert not list_pictures(run.folder / "figures") and not any("pictures" in f for f in run.result["files"])
    beside = sorted((run.folder / "pictures").iterdir())
    for page in ("here.ipynb", "elsewhere.ipynb"):
        site.stage_run(run, tmp_path / "staged", page, {})
        for file in beside:
            file.write_text("another picture")
    staged = [(tmp_path / "staged" / page).read_text() for page in ("here.ipynb", "elsewhere.ipynb")]
    assert len(beside) == 2 and [text.count("data:image/jpeg") for text in staged] == [8 + 16, 0]


@pytest.mark.parametrize(
    "data", [{"image/png": "AAAA"}, {"text/html": "<img src='data:image/png;base64,AAAA'>"}]
)
def test_no_record_with_a_picture_of_a_real_cell_is_published(tmp_path, monkeypatch, data):
    run = write_run(tmp_path, monkeypatch, synthetic=REAL, outputs=[data])
    with pytest.raises(Refusal, match="holds pictures of real cells, look.ipynb"):
        publish_run(run, tmp_path / "published")
    assert not list((tmp_path / "published").rglob("*.ipynb"))


def test_a_record_of_real_cells_is_published_without_them(tmp_path, monkeypatch):
    record = publish_run(write_run(tmp_path, monkeypatch, synthetic=REAL), tmp_path / "published")
    assert not list_pictures(record) and "subject 1" in (record / "look.ipynb").read_text()


def test_no_published_record_of_real_cells_holds_a_picture():
    real = [run for run in find_published() if run.manifest.get("synthetic") is not True]
    assert real and not {run.folder.name: held for run in real if (held := list_pictures(run.folder))}


def test_cells_are_shown_in_the_two_ways_that_keep_them_out_of_records():
    """A page or an experiment that made a picture by itself would put it into the notebook of a real run."""
    ways = re.compile(
        r"picture_address|gallery_html|render_sheet|imshow|add_layout_image|go\.Image|Image\.|matplotlib"
    )
    places = [*(ROOT / "leukonb/pages").glob("*.py"), *(ROOT / "nbs/experiments").glob("*.ipynb")]
    found = {path.name for path in places if ways.search(path.read_text(encoding="utf-8"))}
    assert found == {"maps.py"} and len(places) > 50

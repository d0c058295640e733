"""One odd record among many: a line names it, and status, site, crate and verify go on with the rest."""

import io
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from finished import write_runs
from rich.console import Console

from leukonb.files import refusal_line
from leukonb.runs import verify
from leukonb.runs.crate import export_crate
from leukonb.runs.record import read_runs
from leukonb.runs.watch import list_status, status_table
from leukonb.verbs import site

TEXTS = {
    "empty": "",
    "a list": "[]",
    "null": "null",
    "an empty object": "{}",
    "a number": "7",
    "infinite": '{"run": Infinity, "status": "done", "seconds": Infinity}',
    "nested": '[{"cells": [[]]}]',
    "deep": "[" * 5000,
    "markup": '{"status": "[/b]", "error": "[/i]", "step": "[/u]"}',
}
FILES = ("run.json", "result.json", "status.json", "progress.json", "training.ipynb", ".source.ipynb")
FILES += ("published.json", ".redraw.json")


def spoil(file, how):
    """Put something odd in the place of a file."""
    half = file.read_bytes()[: file.stat().st_size // 2] if file.is_file() else b'{"a": '
    file.unlink(missing_ok=True)
    if how in TEXTS:
        file.write_text(TEXTS[how])
    elif how == "a folder":
        file.mkdir()
    elif how == "a link to nowhere":
        file.symlink_to("nowhere")
    elif how == "a link to itself":
        file.symlink_to(file.name)
    elif how == "a pipe":
        os.mkfifo(file)
    else:
        file.write_bytes({"cut off": half, "UTF-16": "{}".encode("utf-16"), "bytes": bytes(range(256))}[how])


HOWS = [*TEXTS, "a folder", "a link to nowhere", "a link to itself", "a pipe", "cut off", "UTF-16", "bytes"]


@pytest.fixture
def made(nbs, tmp_path, monkeypatch):
    """A finished training for each way of spoiling a file, one more, and a report that needs them."""
    monkeypatch.setattr(site, "list_library", lambda nbs: {})
    return write_runs(nbs, tmp_path / "runs", len(HOWS) + 1)


def look_at_all(out, other):
    """What status and site make of a folder of runs, and verify; any exception is a failure."""
    rows = list_status(out)
    Console(file=io.StringIO(), width=200).print(status_table(rows))
    json.loads(rows.to_json(orient="records"))
    sited = site.stage_readable(read_runs(out)[0], out.parent / "project")
    assert verify.find_run(other.key, out).key == other.key
    return rows.set_index("run"), {run.folder for run in sited}


@pytest.mark.fault(
    group="runs",
    fault="Odd records among others",
    injected="an empty file, [], null, half a file, a folder, a pipe, a link to itself ... for each file of a run",
    promise="status, site, crate and verify go on with all other runs; what cannot be read is named",
)
@pytest.mark.parametrize("name", FILES)
def test_odd_records_stop_nothing(made, tmp_path, capsys, name):
    spoilt, good = made[: len(HOWS)], [run.folder for run in made[len(HOWS) :]]
    for run, how in zip(spoilt, HOWS):
        spoil(run.folder / name, how)
    rows, sited = look_at_all(tmp_path / "runs", made[-1])
    assert set(rows.status[[folder.name for folder in good]]) == {"done"} and sited >= set(good)
    said = capsys.readouterr().err
    for run, how in zip(spoilt, HOWS):
        row = rows.loc[run.folder.name]
        if name == "run.json":
            assert (
                row.status == "unreadable"
                and run.folder.name in row.reason
                and said.count(run.folder.name) == 1
            )
        elif name in ("result.json", "training.ipynb", ".source.ipynb"):
            assert row.status in ("failed", "changed") and name in row.reason
        else:
            assert row.status in ("done", "changed")


HALF = "x\ud800y"  # of a character, which JSON can spell and no page can hold
VALUES = {
    "a title": ("run.json", {"title": HALF}),
    "a size": ("run.json", {"size": HALF}),
    "a device": ("run.json", {"environment": {"device": HALF}}),
    "a name of something": ("run.json", {HALF: 1}),
    "a figure that is a list": ("result.json", {"headline": {"a": ["odd", None]}}),
    "a figure without a value": ("result.json", {"headline": {"a": {}}}),
    "an odd end of an interval": ("result.json", {"headline": {"a": {"value": 0.9, "low": ["odd"]}}}),
    "an infinite figure": ("result.json", {"headline": {"a": float("inf")}}),
    "a figure's name": ("result.json", {"headline": {HALF: 1}}),
    "a note": ("result.json", {"notes": [HALF]}),
    "a reason": ("status.json", {"status": "failed", "error": HALF}),
}


@pytest.mark.fault(
    group="runs",
    fault="An odd value in a record that is otherwise as a run writes it",
    injected="half a character in a title, a size, a device, a note, a reason; a list or nothing for a figure",
    promise="status and site go on with all other runs; the run with the odd value is named, with its place",
)
def test_odd_values_stop_nothing(nbs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(site, "list_library", lambda nbs: {})
    made = write_runs(nbs, tmp_path / "runs", len(VALUES) + 1)
    for run, (name, odd) in zip(made, VALUES.values()):
        file = run.folder / name
        file.write_text(json.dumps({**json.loads(file.read_text()), **odd}))
    rows, sited = look_at_all(tmp_path / "runs", made[-1])
    said = capsys.readouterr().err
    assert sited >= {run.folder for run in made[len(VALUES) :]}
    for run, (what, (name, _)) in zip(made, VALUES.items()):
        row = rows.loc[run.folder.name]
        if name == "run.json":
            assert row.status == "unreadable" and said.count(run.folder.name) == 1, what
            assert "half a character" in row.reason
        elif name == "result.json":
            assert row.status == "failed" and "result.json is gone or damaged" in row.reason, what
        else:
            assert row.status == "done"


@pytest.mark.parametrize("how", HOWS)
def test_an_odd_plan_has_a_row_of_its_own(made, tmp_path, how):
    spoil(tmp_path / "runs/quick/plan.json", how)
    rows = list_status(tmp_path / "runs")
    odd = rows[rows.status == "unreadable"]
    assert sum(rows.status == "done") == len(made)
    assert how in ("a list", "an empty object") or "plan.json is no plan" in odd.reason.item()


@pytest.mark.parametrize("how", ["empty", "null", "a folder", "cut off"])
def test_a_run_of_which_nothing_is_left_to_read_has_failed(made, tmp_path, how):
    for name in ("result.json", "status.json"):
        spoil(made[0].folder / name, how)
    row = list_status(tmp_path / "runs").set_index("run").loc[made[0].folder.name]
    assert row.status == "failed" and "result.json is damaged; run the study again" in row.reason


def test_notebooks_that_were_cut_without_a_trace_leave_the_site_to_the_others(made, tmp_path, capsys):
    for run, how in zip(made, HOWS):
        spoil(run.notebook, how)
        result = json.loads((run.folder / "result.json").read_text())
        plain = {k: v for k, v in result.items() if k not in ("shown", "record", "written", "ended")}
        (run.folder / "result.json").write_text(json.dumps(plain))
        before = {k: v for k, v in run.manifest.items() if k != "schema"}
        (run.folder / "run.json").write_text(json.dumps(before))
        assert run.done, "an older version left no digest of it"
    sited = site.stage_readable(read_runs(tmp_path / "runs")[0], tmp_path / "project")
    said = capsys.readouterr().err
    left = {run.folder for run in made[: len(HOWS)]} - {run.folder for run in sited}
    assert {run.folder for run in made[len(HOWS) :]} <= {run.folder for run in sited}
    assert len(left) >= len(HOWS) - 1 and all(said.count(f"{folder} has no page") == 1 for folder in left)


@pytest.mark.fault(
    group="runs",
    fault="A run's folder that its reader may not look into",
    injected="a folder without permissions, read by another account",
    promise="one line names it; the rest goes on",
)
@pytest.mark.parametrize("level", [0, 1, 2], ids=["run", "experiment", "study"])
def test_a_folder_without_rights_is_named(nbs, monkeypatch, level):
    home = Path(tempfile.mkdtemp())
    home.chmod(0o755)
    made = write_runs(nbs, home / "runs", 2) + write_runs(nbs, home / "runs", 1, study="another")
    monkeypatch.delenv("LEUKONB_NBS")
    shut = [made[0].folder, *made[0].folder.parents][level]
    shut.chmod(0)
    was = os.geteuid()
    try:
        if was == 0:
            os.seteuid(65534)
        runs, odd = read_runs(home / "runs")
        rows = list_status(home / "runs", "another")
    finally:
        os.seteuid(was)
        shut.chmod(0o755)
    assert list(odd) == [shut] and "Permission denied" in odd[shut] and len(rows) == 2
    assert len(runs) == 2 + (2, 1, 0)[level]
    shutil.rmtree(home)


def test_a_crate_goes_on_without_what_cannot_be_read(made, tmp_path, capsys):
    spoil(made[0].folder / "run.json", "null")
    export_crate("quick", tmp_path / "runs", tmp_path / "crate")
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and made[0].folder.name in said
    assert not (tmp_path / "crate/training" / made[0].folder.name).exists()
    assert (tmp_path / "crate/training" / made[1].folder.name / "loss.csv").exists()


@pytest.mark.fault(
    group="runs",
    fault="The result of one run of a study was damaged before the study is exported",
    injected="[], an empty file, half a file or nothing in the place of result.json",
    promise="no crate that leaves the run out without a word: refused in one line that names it",
)
@pytest.mark.parametrize("how", ["a list", "empty", "cut off", "gone"])
def test_a_crate_leaves_out_no_run_whose_result_is_damaged(made, tmp_path, how):
    file = made[0].folder / "result.json"
    file.unlink() if how == "gone" else spoil(file, how)
    said = refusal_line(export_crate, "quick", tmp_path / "runs", tmp_path / "crate")
    assert made[0].folder.name in said and "result.json is gone or damaged" in said and "\n" not in said
    assert not (tmp_path / "crate").exists()
    (made[0].folder / "status.json").write_text('{"status": "failed", "error": "asked to"}')
    file.unlink(missing_ok=True)
    export_crate("quick", tmp_path / "runs", tmp_path / "crate")
    assert not (tmp_path / "crate/training" / made[0].folder.name).exists(), "it has failed"

"""When a run began and ended stands under its seal: nothing that was written beside it afterwards is shown for it."""

import json
import os
import re

import pandas as pd
import pytest
from finished import write_run
from test_runs import write

from leukonb.files import read_json, refusal_line, write_json
from leukonb.runs.crate import export_crate
from leukonb.runs.form import read_manifest
from leukonb.runs.process import _keep_history
from leukonb.runs.record import _digest_files, is_whole, make_run
from leukonb.runs.seal import seal
from leukonb.runs.watch import list_status
from leukonb.verbs.predict import describe_next

FORGED = {
    "started": 1.0,
    "finished": 1.2e9,
    "seconds": 9e6,
    "note": "approved",
    "error": "none",
    "gpu": "H100",
}
TOLD = {"started": 1.7e9 - 1, "finished": 1.7e9, "seconds": 1.0, "note": "the disk has no locks"}


@pytest.fixture
def run(tmp_path):
    """A finished run whose result says when it began and ended."""
    source = write(tmp_path, "show()", name="training")
    facts = {"study": "quick", "size": "quick", "synthetic": True, "command": "leukonb run quick"}
    made = write_run(make_run(tmp_path / "runs/quick", "training", source, {"seed": 0}, **facts), source)
    seal(made.folder, made.experiment, {"status": "running", "host": "node7", **TOLD})
    return made


def forge(run, **changes):
    file = run.folder / "status.json"
    write_json(file, {**read_json(file), **changes})


def list_times(crate):
    """The times of the runs in a crate."""
    graph = json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]
    return [(part["startTime"], part["endTime"]) for part in graph if part["@type"] == "CreateAction"]


@pytest.mark.fault(
    group="runs",
    fault="The status of a finished run was edited",
    injected="another duration, begin, end, note, reason and GPU written into status.json",
    promise="status and crate say what the sealed result says",
)
def test_what_was_written_into_the_status_of_a_finished_run_is_never_shown(run, tmp_path):
    before = list_status(tmp_path / "runs")
    forge(run, **FORGED)
    assert run.status == {**TOLD, "status": "done", "gpu": "H100"} and is_whole(run)
    after = list_status(tmp_path / "runs")
    assert after.to_json() == before.to_json() and after.seconds.tolist() == [1.0]
    ended = list_times(export_crate("quick", tmp_path / "runs", tmp_path / "crate"))
    assert ended == [("2023-11-14T22:13:19+00:00", "2023-11-14T22:13:20+00:00")]


@pytest.mark.parametrize("how", ["other times", "other times, and no digest"])
def test_times_forged_in_the_result_are_found(run, tmp_path, how):
    result = run.result
    result["ended"]["seconds"] = 9e6
    if how != "other times":
        del result["record"]
    write_json(run.folder / "result.json", result)
    assert run.status["status"] == "changed" and "result.json has changed" in run.status["error"]
    assert "result.json has changed" in refusal_line(
        export_crate, "quick", tmp_path / "runs", tmp_path / "crate"
    )


def drop_seal(run):
    """Take the whole seal out of a result; what is left of it."""
    old = {k: v for k, v in run.result.items() if k not in ("ended", "written", "record", "shown")}
    write_json(run.folder / "result.json", old)
    return old


def drop_version(run):
    """Take the version out of the manifest of a run, as in the records of before there were any."""
    write_json(run.folder / "run.json", {k: v for k, v in run.manifest.items() if k != "schema"})


def test_of_a_record_from_before_the_status_is_read(run):
    drop_seal(run)
    drop_version(run)
    forge(run, seconds=4.5)
    assert run.status["status"] == "done" and run.status["seconds"] == 4.5


@pytest.mark.fault(
    group="runs",
    fault="The whole seal of a finished run was deleted",
    injected="result.json without the digest of the record, the times and the digests of what pages show",
    promise="status names the run in one line, the site too, crate refuses it by name; it is made again when asked",
)
def test_a_run_whose_seal_is_gone_is_not_whole(run, tmp_path):
    write_json(run.folder / "result.json", {**drop_seal(run), "schema": 1})
    row = list_status(tmp_path / "runs").iloc[0]
    assert row.status == "changed" and row.reason.startswith("result.json has no seal; run the study again")
    assert not run.done and not is_whole(run)
    said = refusal_line(export_crate, "quick", tmp_path / "runs", tmp_path / "crate")
    assert said == f"{run.folder}: result.json has no seal; leukonb run quick makes the run again"
    seal(run.folder, run.experiment, TOLD)
    assert run.done and is_whole(run)


def test_the_name_of_the_machine_goes_into_no_result(run):
    assert set(run.result["ended"]) == set(TOLD) and "node7" not in (run.folder / "result.json").read_text()


def test_a_page_that_is_drawn_again_keeps_the_times_of_its_training(run, tmp_path):
    source = write(tmp_path, "show()", name="training")
    facts = {"study": "quick", "size": "quick", "synthetic": True, "command": "leukonb run quick"}
    new = write_run(make_run(tmp_path / "new", "training", source, {"seed": 0}, **facts), source)
    _keep_history(run.folder, new.folder)
    assert new.status == {**TOLD, "status": "done"} and is_whole(new)


@pytest.mark.fault(
    group="runs",
    fault="A table of a finished run was changed, and its result touched afterwards",
    injected="another number in a table, result.json given a later time, or written again as it was",
    promise="status names the table",
)
@pytest.mark.parametrize("how", ["touched", "written again"])
def test_a_result_touched_later_hides_no_changed_table(run, tmp_path, how):
    (run.folder / "loss.csv").write_text("epoch,loss\n1,0.1\n")
    if how == "touched":
        os.utime(run.folder / "result.json", (4e9, 4e9))
    else:
        write_json(run.folder / "result.json", run.result)
    row = list_status(tmp_path / "runs").iloc[0]
    assert row.status == "changed" and "loss.csv has changed" in row.reason


@pytest.mark.fault(
    group="runs",
    fault="run.json is empty, cut off, no text, or nested deeper than any record",
    injected="each of them",
    promise="one line says which it is, in words, and what to do",
)
@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "is empty"),
        (b" \n", "holds nothing but blanks"),
        (b'{"key": "ab1', "is no JSON"),
        (b"\xff\xfe\x00{", "is no JSON"),
        (b"[" * 100_000, "is nested too deep"),
    ],
)
def test_a_damaged_manifest_is_described_and_no_class_of_python_named(tmp_path, content, said):
    (tmp_path / "run.json").write_bytes(content)
    line = refusal_line(read_manifest, tmp_path)
    assert f"run.json {said}" in line and "put the file back" in line
    assert not re.search(r"Refusal|Error|Exception", line)


@pytest.mark.fault(
    group="data",
    fault="Some of the images that are scored tell no subject or no label",
    injected="cells without a subject, without a label, and without both, among others",
    promise="said after the scores, by number and the first of them, with what to do; no judgement is promised",
)
@pytest.mark.parametrize(
    "lacking, said",
    [
        ({"subject": [1]}, ["1 of 4 cells has no subject (the first: b.bmp)", "--subject-pattern"]),
        ({"label": [2, 3]}, ["2 of 4 cells have no label (the first: c.bmp)"]),
        ({"subject": [3], "label": [0]}, ["no subject (the first: d.bmp)", "no label (the first: a.bmp)"]),
    ],
)
def test_what_a_table_of_scores_lacks_is_said_instead_of_a_promise(lacking, said):
    whole = pd.DataFrame(
        {
            "path": ["a.bmp", "b.bmp", "c.bmp", "d.bmp"],
            "subject": ["1", "2", "3", "4"],
            "label": ["ALL", "HEM"] * 2,
        }
    )
    assert "leukonb evaluate p.csv judges the scores" in describe_next(whole, "p.csv")
    table = whole.copy()
    for column, rows in lacking.items():
        table.loc[rows, column] = None
    line = describe_next(table, "p.csv")
    assert all(part in line for part in said) and "fill in what is missing in p.csv" in line
    assert "judges the scores" not in line


@pytest.mark.fault(
    group="runs",
    fault="A sheet of maps or the methods of a judgement was edited, lost, or taken out of its record",
    injected="another content, the file removed, its digest removed from the result and the result sealed anew",
    promise="the run is not done, the file is named; asked for again, the run is made again",
)
@pytest.mark.parametrize("name", ["figures/cells.html", "methods.json"])
def test_sheets_of_maps_and_methods_stand_under_the_seal(run, tmp_path, name):
    file, result = run.folder / name, read_json(run.folder / "result.json")
    file.parent.mkdir(exist_ok=True)
    file.write_text("as it was")
    assert run.status["error"].startswith(f"{name} is not sealed") and not is_whole(run)
    said = refusal_line(export_crate, "quick", tmp_path / "runs", tmp_path / "crate")
    assert f"{name} is not sealed; leukonb run quick makes the run again" in said
    write_json(run.folder / "result.json", {**result, "files": _digest_files(run.folder)})
    seal(run.folder, run.experiment, TOLD)
    assert is_whole(run) and run.status["status"] == "done"
    file.write_text("as it is")
    assert run.status["error"].startswith(f"{name} has changed") and not is_whole(run)
    file.unlink()
    assert run.status["error"].startswith(f"{name} is gone") and not is_whole(run)


def test_a_judgement_whose_methods_are_gone_with_their_digest_is_not_whole(run):
    (run.folder / "evidence.json").write_text("{}")
    write_json(run.folder / "result.json", {**run.result, "files": _digest_files(run.folder)})
    seal(run.folder, run.experiment, TOLD)
    assert run.status["error"].startswith("methods.json is gone") and not is_whole(run)

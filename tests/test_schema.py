"""Versions of what is written: an older form is read, a later one is refused by name, and no key knows of them."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from leukonb.evidence.predictions import write_predictions
from leukonb.files import Refusal, read_json, write_json
from leukonb.pages.records import Records
from leukonb.runs import schema
from leukonb.runs.key import digest_inputs
from leukonb.runs.process import execute_run
from leukonb.runs.published import find_published
from leukonb.runs.reads import find_changed_reads
from leukonb.runs.record import Run, finish, is_whole, make_run, read_runs
from leukonb.runs.seal import seal
from leukonb.runs.notebook import find_experiment
from leukonb.verbs import evaluate
from leukonb.verbs.evaluate import read_judged
from leukonb.verbs.predict import calibrated_sets

RELEASED = find_experiment("released")
ROWS = {"cell": ["a", "b"], "subject": ["1", "2"], "label": ["ALL", "HEM"], "score": [0.9, 0.2]}


def make(out: Path, name: str = "one") -> Run:
    """A run that is done, with a table of predictions."""
    run = make_run(out / "own", name, RELEASED, {"least": 1}, study="own")
    run.folder.mkdir(parents=True)
    write_json(run.folder / "run.json", run.manifest)
    write_predictions(run.folder / "predictions.parquet", pd.DataFrame(ROWS))
    pd.DataFrame({"cell": ["a"]}).to_parquet(run.folder / "other.parquet")
    finish(run, {"AUROC": 1.0})
    seal(run.folder, run.experiment)
    return run


def set_version(file: Path, version: object) -> None:
    write_json(file, {**read_json(file), "schema": version})


def test_records_results_and_tables_state_their_version_and_the_key_does_not_know(tmp_path):
    run = make(tmp_path)
    assert read_json(run.folder / "run.json")["schema"] == 1 == run.result["schema"]
    said = schema.read_facts(run.folder / "predictions.parquet")
    assert said == {"schema": 1} and schema.read_facts(run.folder / "other.parquet") == {}
    assert run.key == digest_inputs(run.manifest["inputs"]) and "schema" not in run.manifest["inputs"]


def test_what_was_written_before_there_were_versions_is_read(tmp_path):
    run = make(tmp_path)
    manifest = {name: value for name, value in run.manifest.items() if name != "schema"}
    write_json(run.folder / "run.json", manifest)
    old = Run.read(run.folder)
    before = (run.folder / "predictions.parquet").read_bytes()
    finish(old, {"AUROC": 1.0})
    assert old.done and "schema" not in old.result
    assert (run.folder / "predictions.parquet").read_bytes() == before, "drawn again, it stays as it was"
    published = find_published()
    assert published and all(is_whole(each) for each in published)


@pytest.mark.fault(
    group="runs",
    fault="A record was written by a later version of leukonb",
    injected="a later number in run.json, in result.json",
    promise="a line names the file and the version; the run is never written over, all others are read",
)
@pytest.mark.parametrize("name", ["run.json", "result.json"])
def test_a_later_version_is_named_and_never_written_over(tmp_path, name):
    run, other = make(tmp_path), make(tmp_path, "other")
    set_version(run.folder / name, 2)
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    known, odd = read_runs(tmp_path)
    said = [*odd.values(), *(each.status.get("error", "") for each in known)]
    assert any(f"{name} is of version 2" in line and "update leukonb" in line for line in said)
    assert other.key in {each.key for each in known}, "the others are read"
    ended = execute_run(run, RELEASED)
    assert ended["status"] == "failed" and "version 2" in ended["error"]
    assert before == {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}


ODD = ["9", "1", 0, -1, 1.5, True, None, [1], {}]


@pytest.mark.fault(
    group="runs",
    fault="A record states a version that is none",
    injected="text, zero, a fraction, null, a list in run.json, result.json, evidence.json and a table",
    promise="a line names the file; it is never read as of no version, and the run is not written over",
)
@pytest.mark.parametrize("version", ODD, ids=repr)
def test_what_is_no_version_is_no_record(tmp_path, version):
    run, other = make(tmp_path), make(tmp_path, "other")
    set_version(run.folder / "run.json", version)
    with pytest.raises(Refusal, match=r"run\.json states schema .*, which is no version"):
        Run.read(run.folder)
    set_version(other.folder / "result.json", version)
    known, odd = read_runs(tmp_path)
    said = [*odd.values(), *(each.status.get("error", "") for each in known)]
    assert any("result.json states schema" in line for line in said) and not any(each.done for each in known)
    before = (other.folder / "result.json").read_bytes()
    ended = execute_run(other, RELEASED)
    assert ended["status"] == "failed" and "no version" in ended["error"]
    assert (other.folder / "result.json").read_bytes() == before
    write_json(tmp_path / "evidence.json", {"schema": version})
    with pytest.raises(Refusal, match=r"evidence\.json states schema"):
        schema.read_evidence(tmp_path / "evidence.json")
    with pytest.MonkeyPatch.context() as odd_form:
        odd_form.setitem(schema.VERSIONS, "predictions", version)
        write_predictions(tmp_path / "predictions.parquet", pd.DataFrame(ROWS))
        schema.stamp_predictions(tmp_path / "predictions.parquet")
    with pytest.raises(Refusal, match=r"predictions\.parquet states schema"):
        schema.check_predictions(tmp_path / "predictions.parquet")


@pytest.mark.fault(
    group="runs",
    fault="A table of predictions was written by a later version of leukonb",
    injected="a later number in the metadata of the table that a run reads",
    promise="refused by name before the run reads it",
)
def test_a_table_of_a_later_version_is_refused_before_a_run_reads_it(tmp_path, monkeypatch):
    run = make(tmp_path)
    with monkeypatch.context() as later:
        later.setitem(schema.VERSIONS, "predictions", 2)
        write_predictions(run.folder / "predictions.parquet", pd.DataFrame(ROWS))
        schema.stamp_predictions(run.folder / "predictions.parquet")
    finish(run, {"AUROC": 1.0})
    for name in (".source.ipynb", run.notebook.name):
        (run.folder / name).write_text("{}")
    seal(run.folder, run.experiment)
    facts = schema.read_facts(run.folder / "predictions.parquet")
    assert facts == {"schema": 2}, "a later number is not taken back"
    needs = {"trainings": [run]}
    reading = make_run(tmp_path / "own", "judge", find_experiment("ablation"), {"seed": 0}, needs=needs)
    ((name, change),) = find_changed_reads(reading)
    assert name == "trainings" and "version 2 of tables of predictions" in change


@pytest.mark.fault(
    group="runs",
    fault="evidence.json was written by a later version of leukonb",
    injected="a later number in it",
    promise="refused by name, with what to do",
)
def test_evidence_of_a_later_version_is_refused_by_name(tmp_path):
    for version, wanted in ((1, ""), (2, "version 2")):
        write_json(tmp_path / "evidence.json", {"schema": version})
        try:
            said = str(schema.read_evidence(tmp_path / "evidence.json"))
            assert wanted == "" and json.dumps(version) in said
        except Refusal as refusal:
            assert wanted and wanted in str(refusal)
    shutil.rmtree(tmp_path)


@pytest.fixture
def later(tmp_path, monkeypatch):
    """A table of predictions of a later version."""
    place = tmp_path / "predictions.parquet"
    with monkeypatch.context() as other:
        other.setitem(schema.VERSIONS, "predictions", 2)
        write_predictions(place, pd.DataFrame(ROWS))
        schema.stamp_predictions(place)
    return place


def test_scores_of_a_later_version_are_not_judged_nor_abstained_by(later):
    for reads in (read_judged, lambda table: calibrated_sets(table.with_name("model.keras"), 0.1)):
        with pytest.raises(Refusal, match="version 2 of tables of predictions"):
            reads(later)


def test_evidence_of_a_later_version_is_in_no_report_and_no_answer(tmp_path, monkeypatch):
    run = Run(tmp_path, {"key": "ab", "name": "one", "experiment": "judge"})
    write_json(tmp_path / "evidence.json", {"schema": 2})
    for name in ("scores", "naive", "comparisons"):
        (tmp_path / f"{name}.csv").write_text("metric\nauroc\n")
    monkeypatch.setattr(evaluate, "execute_run", lambda *words, **more: {"status": "done"})
    records = SimpleNamespace(first=lambda experiment: run)
    for reads in (lambda: evaluate.execute_judgement(run), lambda: Records.evidence.fget(records)):
        with pytest.raises(Refusal, match=r"evidence\.json is of version 2"):
            reads()

"""A study's runs verified and exported: what must come out equal does, what was changed is found."""

import hashlib
import platform
import shutil
import sys
from pathlib import Path

import pytest
from conftest import ROOT, leukonb
from rocrate.rocrate import ROCrate

from leukonb.files import read_json
from leukonb.runs.record import find_runs


def test_a_training_comes_out_equal_whatever_its_times(smoke):
    (run,) = (r for r in find_runs(smoke[0]) if r.name == "training")
    done = leukonb("verify", run.key, "--out", smoke[0])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "equal: file model.keras" in done.stdout and "equal: file history.csv" in done.stdout


def test_a_run_that_reads_a_cohort_and_other_runs_comes_out_equal(smoke):
    (run,) = (r for r in find_runs(smoke[0]) if r.experiment == "evaluation")
    assert (
        run.manifest["inputs"]["data"]
        and run.manifest["inputs"]["needs"]["trainings"]
        and {"cohort", "trainings"} <= set(run.manifest["paths"])
    )
    before = {p: p.stat().st_mtime_ns for p in smoke[0].rglob("*") if p.is_file()}
    done = leukonb("verify", run.key, "--out", smoke[0])
    assert done.returncode == 0 and "differs" not in done.stdout and "missing" not in done.stdout, (
        done.stdout + done.stderr
    )
    assert all(f"equal: file {name}" in done.stdout for name in run.result["files"])
    after = {p: p.stat().st_mtime_ns for p in smoke[0].rglob("*") if p.is_file() and p.name != ".lock"}
    assert after == {p: t for p, t in before.items() if p.name != ".lock"}, (
        "verify has changed what it verifies"
    )


@pytest.mark.fault(
    group="runs",
    fault="What a run has read is gone or is no longer the same",
    injected="a needed run's folder renamed, its result taken away, a table of it changed, the cohort's folder renamed, its table changed",
    promise="leukonb verify says which in one line, before it runs anything; exit code 1",
)
@pytest.mark.parametrize(
    "harm, says",
    [
        ("need gone", "trainings is gone"),
        ("need not done", "trainings is not what the run has read"),
        ("need changed", "predictions.parquet has changed"),
        ("cohort gone", "cohort is gone"),
        ("cohort changed", "cohort.parquet"),
    ],
)
def test_what_a_run_has_read_must_still_be_there(smoke, tmp_path, harm, says):
    (run,) = (r for r in find_runs(smoke[0]) if r.experiment == "evaluation")
    what = "cohort" if harm.startswith("cohort") else "trainings"
    path = run.manifest["paths"][what]
    place = (run.folder / (path if isinstance(path, str) else path[0])).resolve()
    aside = tmp_path / "aside"
    if harm.endswith("gone"):
        moved = place
        shutil.move(moved, aside)
    elif harm == "need not done":
        moved = place / "result.json"
        shutil.move(moved, aside)
    else:
        moved = place / ("cohort.parquet" if what == "cohort" else "predictions.parquet")
        shutil.copy(moved, aside)
        moved.write_bytes(moved.read_bytes() + b"x")
    try:
        done = leukonb("verify", run.key, "--out", smoke[0])
    finally:
        shutil.move(aside, moved)
    assert (
        done.returncode == 1
        and says in done.stderr
        and len(done.stderr.splitlines()) == 1
        and "equal:" not in done.stdout
    ), done.stdout + done.stderr


@pytest.mark.fault(
    group="runs",
    fault="A finished run's table is changed",
    injected="digits of a CSV replaced",
    promise="leukonb verify says which file, exit code 1",
)
def test_a_changed_table_is_found(smoke):
    (run,) = (r for r in find_runs(smoke[0]) if r.experiment == "cohort")
    table = run.folder / "parts.csv"
    before = table.read_bytes()
    try:
        table.write_bytes(before.replace(b"1", b"2"))
        done = leukonb("verify", run.key, "--out", smoke[0])
    finally:
        table.write_bytes(before)
    assert done.returncode == 1 and "differs: file parts.csv (changed in the run's folder" in done.stdout


def test_an_unknown_run_is_refused(smoke):
    done = leukonb("verify", "nothing", "--out", smoke[0])
    assert done.returncode == 1 and "no run 'nothing'" in done.stderr


def test_the_crate_reads_back_with_every_run_and_file(smoke, tmp_path):
    to = tmp_path / "crate"
    done = leukonb("crate", "quick", "--out", smoke[0], "--to", to)
    assert done.returncode == 0, done.stderr
    crate, known = ROCrate(to), {f"#{r.key}": r for r in find_runs(smoke[0])}
    actions = {a.id: a for a in crate.get_by_type("CreateAction")}
    assert set(actions) == set(known)
    for key, action in actions.items():
        names = {
            Path(f.id).relative_to("/".join(known[key].folder.parts[-2:])).as_posix()
            for f in action["result"]
        }
        assert names == {"run.json", "result.json", *known[key].result["files"]}
        assert action["startTime"] <= action["endTime"] and action["instrument"]["softwareRequirements"]
        for file in [*action["result"], action["instrument"]]:
            assert hashlib.sha256((to / file.id).read_bytes()).hexdigest() == file["sha256"]


def test_the_crate_holds_no_image_and_no_machine_path(smoke, tmp_path):
    leukonb("crate", "quick", "--out", smoke[0], "--to", tmp_path / "crate")
    said = [
        str(smoke[0]),
        str(smoke[0].parent),
        str(ROOT),
        platform.node(),
        str(Path.home()) + "/",
        sys.prefix,
    ]
    files = [
        p
        for place in (tmp_path / "crate", smoke[1] / "files")
        for p in place.rglob("*")
        if p.suffix in (".json", ".csv", ".md", ".ipynb", ".html", ".txt")
    ]
    assert len(files) > 50 and {".json", ".csv", ".ipynb"} <= {p.suffix for p in files}
    for p in files:
        text = p.read_text()
        assert not [word for word in said if len(word) > 3 and word in text], p
    command = read_json(next((tmp_path / "crate").glob("training/*/run.json")))["command"]
    assert command == "leukonb run quick --out runs --smoke --threads 1"
    assert not [
        p
        for p in (tmp_path / "crate").rglob("*")
        if p.suffix in (".bmp", ".png") or p.name == "cohort.parquet"
    ]

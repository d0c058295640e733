"""A study's runs verified and exported: what must come out equal does, what was changed is found."""
import hashlib
from pathlib import Path

import pytest
from conftest import leukonb
from rocrate.rocrate import ROCrate

from leukonb.study import runs


def test_a_training_comes_out_equal_whatever_its_times(smoke):
    run, = (r for r in runs.find(smoke[0]) if r.name == "training")
    done = leukonb("verify", run.key, "--out", smoke[0])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "equal: file model.keras" in done.stdout and "equal: file history.csv" in done.stdout


@pytest.mark.fault(group="runs", fault="A finished run's table is changed", injected="digits of a CSV replaced",
                   promise="leukonb verify says which file, exit code 1")
def test_a_changed_table_is_found(smoke):
    run, = (r for r in runs.find(smoke[0]) if r.experiment == "cohort")
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
    crate, known = ROCrate(to), {f"#{r.key}": r for r in runs.find(smoke[0])}
    actions = {a.id: a for a in crate.get_by_type("CreateAction")}
    assert set(actions) == set(known)
    for key, action in actions.items():
        names = {Path(f.id).relative_to("/".join(known[key].folder.parts[-2:])).as_posix() for f in action["result"]}
        assert names == {"run.json", "result.json", *known[key].result["files"]}
        assert action["startTime"] <= action["endTime"] and action["instrument"]["softwareRequirements"]
        for file in [*action["result"], action["instrument"]]:
            assert hashlib.sha256((to / file.id).read_bytes()).hexdigest() == file["sha256"]


def test_the_crate_holds_no_image_and_no_machine_path(smoke, tmp_path):
    leukonb("crate", "quick", "--out", smoke[0], "--to", tmp_path / "crate")
    text = (tmp_path / "crate/ro-crate-metadata.json").read_text()
    assert str(smoke[0]) not in text and "/home/" not in text
    assert not [p for p in (tmp_path / "crate").rglob("*") if p.suffix in (".bmp", ".png") or p.name == "cohort.parquet"]

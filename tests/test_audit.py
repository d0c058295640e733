"""The audit: its counts, what it says on a screen and to machines, and how the command ends."""

import json

import pytest
from conftest import leukonb
from test_cohort import TRAINING, WHOLE, put

from leukonb.data import audit
from leukonb.data.cohort import index_cohort


@pytest.fixture
def folder(tmp_path):
    """Five images of four subjects; 101 and 102 share one."""
    return put(
        tmp_path / "cells",
        {name.format(""): shade for name, shade in TRAINING.items()} | {"fold_1/all/UID_102_4_1_all.bmp": 1},
    )


def test_counts_and_joins(folder):
    found = audit.audit_cohort(index_cohort(folder))
    assert [found[k] for k in ("images", "cells", "subjects", "identities", "refused", "synthetic")] == [
        5,
        4,
        4,
        3,
        0,
        False,
    ]
    assert (
        found["joined"] == [["101", "102"]]
        and found["duplicates"][0]["subjects"] == "101, 102"
        and found["duplicates"][0]["folds"] == "0, 1"
    )
    assert sum(row["images"] for row in found["parts"]) == sum(row["images"] for row in found["folds"]) == 5
    assert found["missing"]["training"] == {"released": 10661, "there": 0, "missing": 10661}
    assert json.loads(json.dumps(found)) == found
    tables = audit.audit_tables(index_cohort(folder))
    assert {"parts", "subjects", "duplicates", "problems"} <= set(tables) and tables[
        "subjects"
    ].cells.sum() == 5


def test_one_class_only_is_said(tmp_path):
    found = audit.audit_cohort(
        index_cohort(put(tmp_path, {"hem/UID_H101_1_1_hem.bmp": 1, "hem/UID_H102_1_1_hem.bmp": 2}))
    )
    assert (
        found["refused"] == 0
        and "no cell of class ALL" in found["notes"][0]
        and "2 identities" in found["notes"][1]
    )


def test_a_sound_folder_ends_well(folder, tmp_path):
    done = leukonb("audit", folder, "--json", tmp_path / "audit.json")
    assert done.returncode == 0 and "subjects 101, 102" in done.stdout and done.stdout.endswith("0 refused\n")
    assert json.loads((tmp_path / "audit.json").read_text()) == json.loads(
        json.dumps(audit.audit_cohort(index_cohort(folder)))
    )


@pytest.mark.fault(
    group="data", fault="Thirty bad images", injected="30 files cut", promise="all in the report, exit code 1"
)
def test_refused_files_are_listed_and_the_exit_code_says_so(folder, tmp_path):
    put(folder, {f"fold_2/all/UID_105_1_{n}_all.bmp": WHOLE[:-n] for n in range(1, 31)})
    done = leukonb("audit", folder, "--json", tmp_path / "audit.json")
    assert (
        done.returncode == 1
        and done.stdout.count("is cut short") == 20
        and "10 more; --json FILE lists all" in done.stdout
    )
    assert len(json.loads((tmp_path / "audit.json").read_text())["problems"]) == 31


@pytest.mark.fault(
    group="data",
    fault="Names with markup, escape codes, line breaks",
    injected="files named [red]\\x1b[31m and <script>",
    promise="shown letter by letter on a terminal",
)
def test_names_are_shown_as_text(folder):
    put(folder, {"fold_2/hem/[red]\x1b[31m\nrefused: all :boom:.bmp": b"", "fold_2/hem/<script>.bmp": b""})
    done = leukonb("audit", folder)
    assert done.returncode == 1 and "\x1b" not in done.stdout
    assert (
        r"refused: fold_2/hem/[red]\x1b[31m\nrefused: all :boom:.bmp is empty; copy it again"
        in done.stdout.splitlines()
    )


@pytest.mark.parametrize("files", [{}, {"a.txt": "x"}, {"cats/1.bmp": 1}])
def test_nothing_to_audit_is_one_line(tmp_path, files):
    done = leukonb("audit", put(tmp_path, files), "--json", tmp_path / "audit.json")
    assert (
        done.returncode == 1
        and not done.stdout
        and done.stderr.count("\n") == 1
        and not (tmp_path / "audit.json").exists()
    )


def test_a_sample_of_the_release(sample, tmp_path):
    done = sample.leukonb("audit", sample.folder / "C-NMC_Leukemia", "--json", tmp_path / "audit.json")
    found = json.loads((tmp_path / "audit.json").read_text())
    assert done.returncode == 0, done.stderr
    group = next(group for group in found["joined"] if set(sample.joined) <= set(group))
    how = "identical pictures or known photographs of one cell"
    assert f"joined by {how}: subjects {', '.join(group)}" in done.stdout
    assert {
        (row["part"], row["label"]): (row["images"], row["subjects"]) for row in found["parts"]
    } == sample.parts
    late = sum(images for (part, _), (images, _) in sample.parts.items() if part == "preliminary")
    assert found["missing"]["preliminary"]["there"] == late

"""Modules of one's own: found beside one's own experiments and study, here and in what a run starts, and no longer."""

import os
import subprocess
import sys
from importlib import import_module

import pytest

from leukonb.runs import key
from leukonb.verbs.run import own_experiments


@pytest.fixture
def lab(tmp_path):
    """A folder of one's own with a module at each place where one may lie."""
    (tmp_path / "lab/experiments/studies").mkdir(parents=True)
    for place, name in (
        ("", "lab_nets"),
        ("experiments", "lab_losses"),
        ("experiments/studies", "lab_cells"),
    ):
        (tmp_path / "lab" / place / f"{name}.py").write_text(f"TINY = {name!r}\n")
    return tmp_path / "lab"


@pytest.mark.parametrize("name", ["lab_nets", "lab_losses", "lab_cells"])
def test_a_module_of_ones_own_is_found_here_in_runs_and_in_their_key(lab, name):
    with own_experiments(lab):
        assert import_module(name).TINY == name
        assert set(key.digest_named_code({"backbone": f"{name}:TINY"})) == {f"{name}.py"}
        done = subprocess.run(
            [sys.executable, "-c", f"import {name}; print({name}.TINY)"], capture_output=True, text=True
        )
        assert done.stdout.strip() == name, done.stderr
    with pytest.raises(ImportError):
        import_module(name)


def test_a_module_beside_a_study_that_is_named_by_its_file_is_found(lab, monkeypatch):
    monkeypatch.delenv("LEUKONB_NBS", raising=False)
    before = sys.path[:]
    with own_experiments(None, lab / "experiments/studies/mine.yml"):
        assert import_module("lab_cells").TINY == "lab_cells"
    with own_experiments(None, "quick"):
        assert sys.path == before


def test_a_module_of_another_folder_is_not_taken_for_one_of_its_name(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "before")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/lab_nets.py").write_text("TINY = 'other'\n")
    with own_experiments(lab):
        assert import_module("lab_nets").TINY == "lab_nets"
    with own_experiments(tmp_path / "other"):
        assert import_module("lab_nets").TINY == "other"
    assert os.environ["PYTHONPATH"] == "before" and str(tmp_path / "other") not in sys.path

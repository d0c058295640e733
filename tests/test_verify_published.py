"""A published record can be made again: its cohort is found, the runs that it needs come first, what it omits is compared."""

import shutil

import nbformat
import pytest

from leukonb.data.cohort import load_cohort
from leukonb.data.measured import read_measured, shipped_table
from leukonb.files import Refusal, write_json
from leukonb.runs import verify
from leukonb.runs.process import execute_run
from leukonb.runs.published import publish_run
from leukonb.runs.record import Run
from leukonb.runs.study import load_study, plan_study

HEAD = "import pandas as pd\nfrom pathlib import Path\nfrom leukonb.runs.record import finish, this_run"
DRAW = """table = pd.DataFrame({"drawn": [seed, 2 * seed]})
table.to_parquet("drawn.parquet")
finish(this_run(), {"sum": int(table.drawn.sum())})"""
MEAN = """drawn = pd.concat(pd.read_parquet(Path(folder, "drawn.parquet")) for folder in trainings)
drawn.to_csv("all.csv", index=False)
finish(this_run(), {"mean": float(drawn.drawn.mean())})"""
STUDY = """title: Two steps
shows: a table, and what is made of it
size: full
gpu: false
runs:
  draw: {experiment: draw, parameters: {seed: 3}}
  mean: {experiment: mean, needs: {trainings: [draw]}}
"""


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A published record that was made from a table which no record keeps; the runs themselves are gone."""
    experiments = tmp_path / "nbs" / "experiments"
    (experiments / "studies").mkdir(parents=True)
    monkeypatch.setenv("LEUKONB_NBS", str(tmp_path / "nbs"))
    given = {"draw": "seed: int = 0", "mean": "trainings: list[str] = []  # needed: folders of runs"}
    for name, body in (("draw", DRAW), ("mean", MEAN)):
        cells = [nbformat.v4.new_code_cell(given[name], metadata={"tags": ["parameters"]})]
        cells += [nbformat.v4.new_code_cell(HEAD), nbformat.v4.new_code_cell(body)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), experiments / f"{name}.ipynb")
    (experiments / "studies" / "steps.yml").write_text(STUDY)
    planned = plan_study(load_study("steps"), tmp_path / "runs", command="leukonb run steps")
    for p in planned:
        state = execute_run(p.run, p.notebook, threads=1)
        assert state["status"] == "done", state
        publish_run(p.run, tmp_path / "nbs" / "_published")
    shutil.rmtree(tmp_path / "runs")
    return [
        Run.read(tmp_path / "nbs" / "_published" / "steps" / p.run.experiment / p.run.folder.name)
        for p in planned
    ]


def test_a_published_record_is_made_again_with_what_it_needs(published):
    first, second = published
    assert not list(first.folder.glob("*.parquet"))
    found = verify.verify_run(second)
    assert verify.all_equal(found), found[~found.status.isin(["equal", "timed"])].to_string()
    result = first.result
    changed = {name: "0" * 64 if name.endswith(".parquet") else sha for name, sha in result["files"].items()}
    write_json(first.folder / "result.json", {**result, "files": changed})
    rows = verify.verify_run(first).set_index("name")
    assert rows.status["drawn.parquet"] == "differs" and "digest" in rows.note["drawn.parquet"]


def test_the_cohort_of_a_published_record_is_found(tmp_path):
    measured = read_measured(shipped_table())
    folder = verify._bring_cohort(_digest_as_cohort(tmp_path), tmp_path / "place", tmp_path / "runs")
    assert folder is not None and len(load_cohort(folder).cells) == len(measured.cells)
    assert folder.is_relative_to(tmp_path / "place")
    assert verify._bring_cohort("0" * 64, tmp_path / "place", tmp_path / "runs") is None


def _digest_as_cohort(folder):
    """The digest that a study of the package's table has as its data."""
    from leukonb.data.measured import measured_cohort

    return measured_cohort(shipped_table(), folder / "cohorts")[0].digest


def test_a_record_whose_images_are_elsewhere_is_refused_in_one_line(tmp_path):
    inputs = {"data": "0" * 64, "parameters": {}, "files": {}, "needs": {}}
    manifest = {"key": "ab", "name": "errors", "experiment": "evaluation", "inputs": inputs}
    manifest |= {"paths": {"cohort": "../../_cohorts/0000"}}
    run = Run(tmp_path / "real" / "evaluation" / "errors-ab", manifest)
    write_json(run.folder / "run.json", manifest)
    write_json(run.folder / "result.json", {"run": "ab", "headline": {}, "files": {}})
    write_json(run.folder / "published.json", {"files": {}})
    with pytest.raises(Refusal, match="cohort is gone"):
        verify.verify_run(run, out=tmp_path / "runs")

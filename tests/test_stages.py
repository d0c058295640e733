"""Where the minutes of a study go: what a run's record holds of them, and what the Speed page makes of that."""

import json

import nbformat
import pytest

from leukonb.pages import stages
from leukonb.runs.notebook import check_parameters
from leukonb.runs.process import execute_run
from leukonb.runs.record import Run, make_run
from leukonb.verbs.site_guides import describe_speed
from leukonb.verbs.site_speed import describe_stages, keep_build_time


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that slept for .6 s, as a study executes it."""
    place = tmp_path_factory.mktemp("stages")
    ends = "from leukonb.runs.record import this_run, finish\nfinish(this_run(), {'seed': seed})"
    cells = [nbformat.v4.new_code_cell("seed: int = 0", metadata={"tags": ["parameters"]})]
    cells += [nbformat.v4.new_code_cell(text) for text in ("import time", "time.sleep(0.6)", ends)]
    notebook = place / "slept.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), notebook)
    made = make_run(place / "_runs/mine", "slept", notebook, check_parameters(notebook, {}), study="mine")
    assert execute_run(made, notebook, threads=1)["status"] == "done"
    return made


def test_the_record_holds_how_long_python_started_and_the_run_waited(run):
    ended = run.result["ended"]
    assert ended["starting"] > 0 and 0 <= ended["waited"] < 60
    assert ended["finished"] - ended["started"] == pytest.approx(ended["seconds"], abs=0.5)


def test_the_stages_of_a_run_are_all_of_its_time(run):
    (row,) = stages.tabulate_stages([run]).to_dict("records")
    ended = run.result["ended"]
    whole = ended["finished"] - ended["started"] + ended["starting"] + ended["waited"]
    assert sum(row[stage] for stage in stages.STAGES) == pytest.approx(whole, abs=0.1)
    assert row["computing"] >= 0.6 and row["start of the kernel"] > 0 and row["imports"] < row["seconds"]
    assert (row["study"], row["run"], row["start of Python"]) == ("mine", "slept", ended["starting"])


def test_a_page_drawn_later_tells_nothing_of_a_runs_time(run):
    state = {**run.status, "started": 1e9, "finished": 1e9 + 60}
    cells = json.loads(run.notebook.read_text())["cells"]
    assert stages.split_seconds(cells, run.status)
    assert stages.split_seconds(cells, state) is None
    assert stages.split_seconds([{**cell, "metadata": {}} for cell in cells], run.status) is None
    assert stages.split_seconds(cells, {"status": "done"}) is None


def test_runs_side_by_side_count_once_by_the_clock(run):
    table = stages.tabulate_stages([run])
    twice = stages.sum_stages(table.loc[[0, 0]])
    assert twice.runs[0] == 2 and twice.seconds[0] == pytest.approx(2 * table.seconds[0])
    assert twice.elapsed[0] == pytest.approx(table.finished[0] - table.started[0])


def test_the_speed_page_shows_the_stages_and_later_how_long_its_site_took(run):
    page = "".join(describe_speed([run], {}))
    assert "id='stages'" in page and "figure-speed-stages" in page and "Building the site" not in page
    assert "`" not in page and "leukonb run benchmark" in page and "make report" not in page
    keep_build_time(run.folder.parents[2], 100.0, 1)
    keep_build_time(run.folder.parents[2], 140.0, 1)
    assert "Building the site of 1 finished runs took 100 s" in describe_stages([Run.read(run.folder)])[0]
    assert "make report" in "".join(describe_speed([], {}))

"""A thousand runs: each record is read a fixed number of times, however many others there are."""

import os
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from finished import write_runs
from test_runs import write

from leukonb.files import refusal_line
from leukonb.runs import demands, key, notebook
from leukonb.runs.notebook import find_experiment, find_named
from leukonb.runs.record import make_run, read_runs
from leukonb.runs.study import PlannedRun, load_study, plan_study
from leukonb.runs.watch import list_status
from leukonb.verbs import site

OPENED, WATCHED = Counter(), []


def _note(event, arguments):
    """Count the files under a watched folder that are opened, by their names."""
    if WATCHED and event == "open" and str(arguments[0]).startswith(WATCHED[0]):
        OPENED[str(arguments[0])] += 1


sys.addaudithook(_note)


def count_opened(folder, call):
    """How often each file below a folder is opened while something is called."""
    OPENED.clear()
    WATCHED.append(str(folder))
    try:
        call()
    finally:
        WATCHED.clear()
    return Counter(OPENED)


@pytest.fixture
def folders(nbs, tmp_path, monkeypatch):
    """Runs of a study with a report that needs all of them: some, and twice as many."""
    monkeypatch.setattr(site, "list_library", lambda nbs: {})
    for count in (8, 16):
        write_runs(nbs, tmp_path / str(count), count)
    return {count: tmp_path / str(count) for count in (8, 16)}


def test_a_list_of_twice_the_runs_opens_twice_the_files(folders):
    opened = {count: count_opened(out, lambda: list_status(out)) for count, out in folders.items()}
    assert max(opened[16].values()) == max(opened[8].values()) <= 3
    assert opened[16].total() * 9 == opened[8].total() * 17


@pytest.mark.fault(
    group="site",
    fault="A study of twice the runs is built into a site",
    injected="8 and 16 finished runs and a report that needs them all; opened files counted",
    promise="twice the runs open at most 2.1 times the files, no record more than 12 times",
)
def test_a_site_of_twice_the_runs_opens_little_more_than_twice_the_files(folders, tmp_path):
    totals, most = {}, {}
    for count, out in folders.items():
        opened = count_opened(out, lambda: site.build_site(out, tmp_path / f"site-{count}"))
        own = Counter({name: times for name, times in opened.items() if "/training/" in name})
        totals[count], most[count] = own.total() / count, max(own.values())
    assert totals[16] <= 1.05 * totals[8] and most[16] == most[8] <= 12, (totals, most)


def test_the_sidebar_of_a_large_study_is_short_and_leads_to_all_its_runs(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(site, "_MOST", 5)
    monkeypatch.setattr(site, "_CHOICES", range(0))  # so many runs that no page could offer a choice of all
    shown = {}
    for count, out in folders.items():
        assert len(site.stage_readable(read_runs(out)[0], tmp_path / "project")) == count + 1
        look = yaml.safe_load((tmp_path / "project/_quarto.yml").read_text())
        menu = look["website"]["sidebar"]["contents"]
        results = next(s["contents"] for s in menu if s.get("section") == "Results")
        shown[count] = next(s["contents"] for s in results if "section" in s)
        assert (tmp_path / f"project/runs/quick/training-training-{count - 1}.ipynb").exists()
    assert len(shown[8]) == len(shown[16]) == 6
    assert shown[16][-1] == {"text": "All 17 runs", "href": "runs/index.ipynb"}
    assert "report-report-0" in shown[16][0]["href"]


def test_what_is_known_of_an_experiments_code_is_found_out_once(folders, monkeypatch, tmp_path):
    real, followed = key._follow_imports, []
    monkeypatch.setattr(key, "_follow_imports", lambda *a, **k: followed.append(1) or real(*a, **k))
    key._FOUND.clear()
    list_status(folders[8])
    once = len(followed)
    list_status(folders[16])
    for seed in range(20):
        make_run(tmp_path, "more", find_experiment("training"), {"seed": seed})
    assert len(followed) == once > 0


def test_a_changed_notebook_is_looked_at_again(folders, nbs):
    assert set(list_status(folders[8]).status) == {"done"}
    notebook = nbs / "experiments/training.ipynb"
    notebook.write_text(notebook.read_text().replace("show()", "show(2)"))
    rows = list_status(folders[8])
    assert set(rows[rows.experiment == "training"].status) == {"stale"}


def test_a_bar_is_shown_where_there_are_many_runs(capsys):
    assert list(site._follow(list(range(99)), "files")) == list(range(99))
    assert capsys.readouterr().err == ""
    assert list(site._follow(list(range(100)), "files")) == list(range(100))
    assert "files" in capsys.readouterr().err


def test_a_changed_module_or_a_new_file_beside_it_is_looked_at_again(tmp_path, monkeypatch):
    package = tmp_path / "leukonb"
    (package / "data").mkdir(parents=True)
    for name, text in (("__init__.py", ""), ("data/__init__.py", ""), ("data/a.py", "x = 1")):
        (package / name).write_text(text)
    monkeypatch.setattr(key, "package_folder", lambda: package)
    notebook = write(tmp_path, "from leukonb.data import a")
    first = key.digest_modules(notebook)
    assert "data/a.py" in first and key.digest_modules(notebook) == first
    (package / "data/a.py").write_text("x = 2")
    second = key.digest_modules(notebook)
    assert second["data/a.py"] != first["data/a.py"]
    (package / "data/a.csv").write_text("1")
    assert "data/a.csv" in key.digest_modules(notebook)
    (package / "data/a.csv").unlink()
    assert key.digest_modules(notebook) == second


def test_a_grid_asks_for_its_form_and_its_split_once(folders, tmp_path, monkeypatch):
    real, parsed, drawn = notebook._cell_parameters, [], []
    monkeypatch.setattr(notebook, "_cell_parameters", lambda *a: parsed.append(1) or real(*a))
    monkeypatch.setattr(demands, "_draw_split", lambda cells, given, i: drawn.append(given))
    monkeypatch.setattr(demands, "_check_batch", lambda split, given: None)
    notebook._parse_once.cache_clear()
    cell = "cohort: str = ''\nseed: int = 0\nsplit_seed: int = 0\ntrain: float = 0.6\n"
    source = write(tmp_path, "pass", parameters=f"{cell}validation: float = 0.2\ntest: float = 0.2")
    planned = []
    for seed in range(30):
        effective = notebook.check_parameters(source, {"seed": seed, "split_seed": seed // 15})
        run = make_run(tmp_path / "runs", f"a.seed-{seed}", source, effective)
        planned.append(PlannedRun(run, source, [], 300))
    assert [p.run.manifest["inputs"]["parameters"]["seed"] for p in planned] == list(range(30))
    assert demands.check_cohort(planned, None) == {}
    assert len(parsed) == 1 and [given["split_seed"] for given in drawn] == [0, 1]


def test_an_experiment_that_was_added_or_removed_is_known_at_once(nbs):
    assert "third" not in find_named("*.ipynb")
    third = nbs / "experiments/third.ipynb"
    third.write_text("{}")
    assert find_named("*.ipynb")["third"] == [third]
    time = third.parent.stat().st_mtime - 60
    os.utime(third.parent, (time, time))
    assert "third" in find_named("*.ipynb")
    third.unlink()
    assert "third" not in find_named("*.ipynb")


def test_folders_of_experiments_are_not_listed_for_each_run(folders, monkeypatch):
    experiments = folders[8].parent / "checkout/nbs/experiments"
    os.utime(experiments, (1.7e9, 1.7e9))
    real, listed = Path.glob, []
    monkeypatch.setattr(Path, "glob", lambda self, pattern: listed.append(self) or real(self, pattern))
    notebook._list_once.cache_clear()
    list_status(folders[8])
    list_status(folders[16])
    assert listed.count(experiments.resolve()) == 1


@pytest.fixture
def clocked(folders, tmp_path):
    """A hundred finished runs, and the seconds of computing that something takes the first and the second time."""
    write_runs(folders[8].parent / "checkout/nbs", tmp_path / "hundred", 99)

    def clock(call):
        times = [time.process_time()]
        for _ in range(2):
            call()
            times.append(time.process_time())
        return times[1] - times[0], times[2] - times[1]

    return clock


@pytest.mark.fault(
    group="sweep",
    fault="A study of a thousand runs is listed",
    injected="a hundred finished runs, counted up",
    promise="at most two seconds of computing",
)
def test_a_thousand_runs_are_listed_in_two_seconds_of_computing(clocked, tmp_path):
    first, second = clocked(lambda: list_status(tmp_path / "hundred"))
    assert first + 9 * second < 2, (first, second)


@pytest.mark.fault(
    group="sweep",
    fault="A study of two thousand runs is planned",
    injected="a grid of a hundred points, counted up",
    promise="at most ten seconds of computing",
)
def test_two_thousand_runs_are_planned_in_ten_seconds_of_computing(clocked, tmp_path):
    """Each run is planned twice: once before the images are looked at, and once with them."""
    (tmp_path / "grid.yml").write_text(
        "title: T\nshows: S\nsize: quick\nruns: {a: {experiment: training, grid: {seed: [%s]}}}\n"
        % ", ".join(map(str, range(100)))
    )
    study = load_study(tmp_path / "grid.yml")
    first, second = clocked(lambda: plan_study(study, tmp_path / "out"))
    assert first + 39 * second < 10, (first, second)


def test_of_thousands_of_splits_some_are_drawn_and_the_rest_is_said(tmp_path, monkeypatch, capsys):
    drawn = []
    monkeypatch.setattr(demands, "_draw_split", lambda cells, given, i: drawn.append(given["split_seed"]))
    monkeypatch.setattr(demands, "_check_batch", lambda split, given: None)
    cell = "cohort: str = ''\nsplit_seed: int = 0\ntrain: float = 0.6\nvalidation: float = 0.2\ntest: float = 0.2"
    source = write(tmp_path, "pass", parameters=cell)
    with notebook.looking_once():
        planned = []
        for seed in range(500):
            effective = notebook.check_parameters(source, {"split_seed": seed})
            run = make_run(tmp_path / "runs", f"a.split_seed-{seed}", source, effective)
            planned.append(PlannedRun(run, source, [], 300))
    assert demands.check_cohort(planned, None) == {} and drawn == list(range(200))
    assert "the first 200 of 500 different splits can be drawn" in capsys.readouterr().err


def test_a_thousand_refused_runs_make_one_short_line(tmp_path, monkeypatch):
    monkeypatch.setattr(demands, "_find_refusal", lambda cells, given: "too few subjects")
    monkeypatch.setattr(demands, "_advise", lambda *_: "")
    cell = "cohort: str = ''\nsplit_seed: int = 0\ntrain: float = 0.6\nvalidation: float = 0.2\ntest: float = 0.2"
    source = write(tmp_path, "pass", parameters=cell)
    run = make_run(tmp_path / "runs", "a", source, notebook.check_parameters(source, {}))
    planned = [
        PlannedRun(replace(run, manifest={**run.manifest, "name": f"a-{n}"}), source, [], 300)
        for n in range(1000)
    ]
    said = refusal_line(demands.check_cohort, planned, None)
    assert said.startswith("example/a-0 (and 999 more: example/a-1, ") and len(said) < 250, said


def test_what_is_looked_at_once_is_looked_at_anew_the_next_time(folders, monkeypatch):
    real, looked = key._look_at, []
    monkeypatch.setattr(key, "_look_at", lambda paths: looked.append(1) or real(paths))
    list_status(folders[8])
    few = len(looked)
    list_status(folders[16])
    assert 0 < len(looked) - few <= few <= 8  # two questions of two experiments, whatever the number of runs

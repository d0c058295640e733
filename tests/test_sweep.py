"""Studies: refused with file and line before anything runs, or done once each."""

import subprocess
import sys

import nbformat
import numpy as np
import pytest
from conftest import leukonb

from leukonb.files import refusal_line
from leukonb.runs.study import apply_settings, leave_out, load_study, plan_study, shrink_to_smoke
from leukonb.runs.sweep import execute_plan
from leukonb.runs.watch import list_status

HEAD = "title: T\nshows: S\nsize: smoke\n"
LAST = "from leukonb.runs.record import this_run, finish\nfinish(this_run(), {'seed': 1})"


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """A folder of notebooks with three small experiments."""
    place = tmp_path / "nbs" / "experiments"
    (place / "studies").mkdir(parents=True)
    for name, parameters, *cells in [
        ("draw", "seed: int = 0\nfail: bool = False", "if fail: raise ValueError('asked to')", LAST),
        (
            "mean",
            "draws: list[str] = []  # needed without table: folders of drawings\ntable: str = ''",
            "assert all(__import__('pathlib').Path(d, 'result.json').exists() for d in draws)",
            LAST,
        ),
        ("last", "mean: str = ''  # needed: folder of a mean", LAST),
    ]:
        first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
        nbformat.write(
            nbformat.v4.new_notebook(cells=[first, *map(nbformat.v4.new_code_cell, cells)]),
            place / f"{name}.ipynb",
        )
    monkeypatch.setenv("LEUKONB_NBS", str(place.parent))
    return place


def study(suite, text):
    path = suite / "studies" / "s.yml"
    path.write_text(HEAD + text)
    return path


WHOLE = "runs:\n  last: {experiment: last, needs: {mean: mean}}\n  mean: {experiment: mean, needs: {draws: draw}}\n  draw: {experiment: draw, grid: {seed: [0, 1, 2]}}\n"


@pytest.mark.parametrize(
    "text, says",
    [
        ("runs: {a: {experiment: drw}}", "s.yml, line 4.*'drw'.*did you mean 'draw'"),
        ("runs:\n  a: {experiment: draw, parameters: {sed: 1}}", "s.yml, line 5.*'sed'.*'seed'"),
        ("runs:\n  a: {experiment: draw, parameters: {seed: one}}", "s.yml, line 5.*seed = 'one'.*int"),
        ("runs:\n  a: {experiment: draw, grid: {seed: 3}}", "s.yml, line 5.*list"),
        (
            "runs:\n  a:\n    experiment: mean\n    needs:\n      draws: b\n",
            "s.yml, line 8.*'b', which is no run",
        ),
        (
            "runs:\n  a: {experiment: mean, needs: {draws: c}}\n  c: {experiment: mean, needs: {draws: a}}",
            "s.yml, line [56].*in a circle: . -> . -> .$",
        ),
        ("runs:\n  a: {experiment: draw, nedds: {}}", "s.yml, line 5.*'nedds'.*'needs'"),
        ("runs:\n  a: {parameters: {}}", "s.yml, line 5.*no 'experiment'"),
        ("runs:\n  a: {experiment: draw}\n  a: {experiment: draw}", "s.yml, line 6.*twice"),
        ("runs: [1, 2]", "runs.*wrong type"),
        (
            "runs:\n  a: {experiment: last, needs: {mean: d}}\n  d: {experiment: draw, grid: {seed: [1, 2]}}",
            "s.yml, line 5.*takes one run, 2",
        ),
        (
            "runs:\n  a: {experiment: last, needs: {men: d}}\n  d: {experiment: draw}",
            "s.yml, line 5.*no parameter 'men'",
        ),
        (
            "runs:\n  a: {experiment: last}",
            "s.yml, line 5.*last is made of other runs in 'mean', and run a names none; add needs: {mean: a run}",
        ),
        (
            "runs:\n  a: {experiment: mean, parameters: {table: ''}}",
            "s.yml, line 5.*mean is made of other runs in 'draws'",
        ),
        (
            "runs:\n  a:\n    experiment: mean\n    needs: {draws: []}",
            "s.yml, line 7.*add needs: {draws: .a run.}",
        ),
        ("runs: {a: {experiment: draw", "s.yml, line .*YAML"),
    ],
)
@pytest.mark.fault(
    group="sweep",
    fault="A study file with an error",
    injected="an unknown experiment, parameter, field or type, a circle, broken YAML",
    promise="refused with file and line; nothing is written",
)
def test_a_bad_study_is_refused_with_its_line(suite, tmp_path, text, says):
    import re

    line = refusal_line(lambda: plan_study(load_study(study(suite, text)), tmp_path / "out"))
    assert re.search(says, line) and len(line.splitlines()) == 1, line
    assert not (tmp_path / "out").exists()


def test_what_an_experiment_can_be_given_instead_of_runs_is_enough(suite, tmp_path):
    (one,) = plan_study(
        load_study(study(suite, "runs:\n  a: {experiment: mean, parameters: {table: t.csv}}")),
        tmp_path / "out",
    )
    assert one.run.manifest["inputs"]["parameters"] == {"draws": [], "table": "t.csv"}


def test_the_points_of_a_grid_have_titles_of_their_own(suite, tmp_path):
    titles = [
        p.run.manifest["title"]
        for p in plan_study(
            load_study(study(suite, WHOLE.replace("{seed: [0, 1, 2]}", "{seed: [0, 1], fail: [false]}"))),
            tmp_path,
        )
    ]
    assert titles == ["draw: seed 0", "draw: seed 1", "mean", "last"]


@pytest.mark.fault(
    group="sweep",
    fault="A finished study is run again",
    injected="the study executed twice",
    promise="nothing is done again",
)
def test_a_study_runs_in_order_and_only_once(suite, tmp_path):
    path = study(suite, WHOLE)
    plan = plan_study(load_study(path), tmp_path)
    assert [p.run.name for p in plan] == ["draw.seed-0", "draw.seed-1", "draw.seed-2", "mean", "last"]
    assert [s["status"] for s in execute_plan(plan, workers=2)] == ["done"] * 5
    again = execute_plan(plan_study(load_study(path), tmp_path))
    assert all(s.get("kept") for s in again)


@pytest.mark.fault(
    group="sweep",
    fault="A run that always fails",
    injected="an error in a cell",
    promise="only the runs that need it wait; all others are done",
)
def test_a_failure_takes_along_only_what_needs_it(suite, tmp_path):
    text = (
        WHOLE
        + "  bad: {experiment: draw, parameters: {fail: true}}\n  after: {experiment: last, needs: {mean: bad}}\n"
    )
    plan = plan_study(load_study(study(suite, text)), tmp_path)
    ends = {p.run.name: s for p, s in zip(plan, execute_plan(plan, workers=2))}
    assert (
        ends["bad"]["status"] == "failed"
        and ends["after"]["status"] == "planned"
        and "needs bad" in ends["after"]["error"]
    )
    assert ends["last"]["status"] == "done"
    listed = list_status(tmp_path)
    assert set(listed.status) == {"done", "failed", "planned"}
    assert (
        listed.set_index("experiment")
        .loc["last"]
        .query("status == 'planned'")
        .reason.str.startswith("needs bad-")
        .all()
    )


def test_settings_reach_their_runs_or_are_refused(suite, tmp_path):
    path = study(suite, WHOLE)
    plan = plan_study(apply_settings(load_study(path), ["draw.seed=7"]), tmp_path)
    assert [p.run.manifest["inputs"]["parameters"] for p in plan if p.run.experiment == "draw"] == [
        {"seed": 7, "fail": False}
    ]
    assert "no run or experiment 'drw'" in refusal_line(apply_settings, load_study(path), ["drw.seed=7"])
    assert "experiment.parameter=value" in refusal_line(apply_settings, load_study(path), ["seed7"])


@pytest.mark.fault(
    group="sweep",
    fault="A notebook is changed after its run",
    injected="a cell added",
    promise="its runs are listed as stale, others are not",
)
def test_a_changed_notebook_makes_what_it_made_stale(suite, tmp_path):
    path = study(suite, WHOLE)
    execute_plan(plan_study(load_study(path), tmp_path))
    notebook = nbformat.read(suite / "last.ipynb", 4)
    notebook.cells.append(nbformat.v4.new_code_cell("1"))
    nbformat.write(notebook, suite / "last.ipynb")
    listed = list_status(tmp_path).set_index("experiment")
    assert listed.status["last"] == "stale" and listed.status["mean"] == "done"


def test_a_full_study_with_other_settings_is_no_longer_called_full():
    assert load_study("shortcuts").size == "full"
    assert apply_settings(load_study("shortcuts"), []).size == "full"
    assert apply_settings(load_study("shortcuts"), ["shortcuts.size=48"]).size == "changed"
    assert shrink_to_smoke(load_study("shortcuts")).size == "smoke"


def pictures(place, subjects=26, each=4):
    """A table of images that are not of C-NMC, beside its images."""
    from PIL import Image

    rng, rows = np.random.default_rng(0), ["path,label,subject"]
    for s in range(subjects):
        for k in range(each):
            Image.fromarray(rng.integers(30, 220, (24, 24, 3)).astype(np.uint8)).save(place / f"{s}_{k}.png")
            rows.append(f"{s}_{k}.png,{'ALL' if s % 2 else 'HEM'},p{s}")
    (place / "cells.csv").write_text("\n".join(rows) + "\n")
    return place / "cells.csv"


def test_optional_runs_are_left_out_aloud_where_a_cohort_has_not_what_they_ask_for(tmp_path):
    ran = leukonb(
        "run", "quick", "--smoke", "--data", pictures(tmp_path), "--out", tmp_path / "out", "--dry-run"
    )
    assert (
        ran.returncode == 0
        and "left out, with what needs it: folds: the challenge split needs the training part" in ran.stdout
    ), ran.stdout + ran.stderr
    assert (
        "training/training: planned" in ran.stdout
        and "challenge/challenge" not in ran.stdout
        and "training/folds" not in ran.stdout
    )


def test_what_needs_a_run_that_is_left_out_goes_on_without_it_unless_it_is_optional_too(suite):
    text = (
        WHOLE.replace("draw: {", "draw: {optional: true, ").replace(
            "needs: {draws: draw}", "needs: {draws: [draw, other]}"
        )
        + "  other: {experiment: draw, parameters: {seed: 9}}\n"
    )
    kept = leave_out(load_study(study(suite, text)), ["draw"])
    assert set(kept.runs) == {"last", "mean", "other"} and kept.runs["mean"]["needs"] == {"draws": ["other"]}
    gone = leave_out(
        load_study(study(suite, text.replace("mean: {exp", "mean: {optional: true, exp"))), ["draw"]
    )
    assert set(gone.runs) == {"last", "other"} and gone.runs["last"]["needs"] == {}
    assert "optional = 'yes'" in refusal_line(
        load_study, study(suite, text.replace("optional: true", "optional: 'yes'"))
    )


def test_a_smoke_size_may_leave_runs_out(suite):
    small = shrink_to_smoke(load_study(study(suite, "smoke: [draw.fail=false, -last]\n" + WHOLE)))
    assert set(small.runs) == {"mean", "draw"} and small.size == "smoke"
    assert "s.yml, line 4: -lst names no run of the study (did you mean 'last'?)" in refusal_line(
        lambda: shrink_to_smoke(load_study(study(suite, "smoke: [-lst]\n" + WHOLE)))
    )


def test_a_study_is_planned_and_done_without_dask(suite, tmp_path):
    """Dask belongs to an extra: where it is absent, only a cluster misses it."""
    text = "runs:\n  draw: {experiment: draw, memory: 1.5 GiB}\n"
    code = f"""import sys
sys.modules.update(dask=None, distributed=None)
from leukonb.runs.study import load_study, plan_study
from leukonb.runs.sweep import execute_plan
from leukonb.runs.watch import list_status
plan = plan_study(load_study({str(study(suite, text))!r}), {str(tmp_path / "out")!r})
print(plan[0].memory, execute_plan(plan)[0]["status"], *list_status({str(tmp_path / "out")!r}).status)"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.split() == [str(3 * 2**29), "done", "done"], ran.stdout + ran.stderr

"""Studies that are killed again and again: nothing done is lost or done twice, and the end is that of a study left alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from conftest import SMOKE

from leukonb.runs.record import describe_missing, find_runs
from leukonb.runs import verify

STUDY = """title: T
shows: S
size: quick
runs:
  draw: {experiment: draw, grid: {seed: [0, 1, 2, 3]}}
  mean: {experiment: mean, needs: {draws: draw}}
"""
DRAW = """
import random, time
from pathlib import Path
from leukonb.files import write_text
with open("../../../began", "a") as f: f.write(f"{seed}\\n")
time.sleep(seconds)
write_text("drawn.csv", f"value\\n{random.Random(seed).random()}\\n")
if fails: raise ValueError("asked to")
"""
MEAN = """
from pathlib import Path
values = [float(Path(d, "drawn.csv").read_text().split()[-1]) for d in draws]
"""
LAST = "from leukonb.runs.record import this_run, finish\nfinish(this_run(), {name: float(v) for name, v in headline.items()})"


def small_suite(place):
    """A folder of notebooks with a drawing and a mean of drawings; the study's file."""
    folder = place / "nbs" / "experiments"
    (folder / "studies").mkdir(parents=True)
    for name, parameters, *cells in [
        (
            "draw",
            "seed: int = 0\nseconds: float = 0.5\nfails: bool = False",
            DRAW,
            "headline = {'seed': seed}",
        ),
        (
            "mean",
            "draws: list[str] = []",
            MEAN,
            "headline = {'mean': sum(values)/len(values), 'draws': len(values)}",
        ),
    ]:
        first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
        nbformat.write(
            nbformat.v4.new_notebook(cells=[first, *map(nbformat.v4.new_code_cell, [*cells, LAST])]),
            folder / f"{name}.ipynb",
        )
    (folder / "studies" / "s.yml").write_text(STUDY)
    return folder / "studies" / "s.yml"


def started(study, out, nbs=None, *words):
    """A study begun as a user begins it."""
    command = [str(Path(sys.executable).parent / "leukonb"), "run", str(study), "--out", str(out), *words]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **({"LEUKONB_NBS": str(nbs)} if nbs else {})},
    )


def strike(process, whom):
    """SIGKILL the study's process alone, its whole family, or a kernel and a second later the study's process, which has seen it die."""
    family = psutil.Process(process.pid).children(recursive=True)
    for victims in {"study": [[process]], "family": [[process, *family]], "kernel": [family[-1:], [process]]}[
        whom
    ]:
        for victim in victims:
            try:
                victim.send_signal(signal.SIGKILL)
            except (psutil.NoSuchProcess, ProcessLookupError):
                pass
        time.sleep(1 if whom == "kernel" else 0)
    process.communicate()
    psutil.wait_procs(family if whom == "family" else [], timeout=10)


def done_now(out):
    """Each finished run with what would change if it were done again."""
    return {
        r.key: ((r.folder / "result.json").stat().st_mtime_ns, r.status.get("started"))
        for r in find_runs(out)
        if r.done
    }


def at_work(out):
    """Whether any run is at work just now."""
    return any(r.status["status"] == "running" for r in find_runs(out))


def killed(study, out, times, moments, longest, nbs=None, words=(), share=0.0):
    """Begin a study and kill it, so many times, within so many seconds: of its start, or for a share of the kills of its first run at work.

    How many kills met a run at work, and what was ever done twice.
    """
    met, kept, again = 0, {}, []
    for _ in range(times):
        process, wanted, moment = (
            started(study, out, nbs, *words),
            moments.random() < share,
            moments.uniform(0, longest),
        )
        while process.poll() is None and wanted and not at_work(out):
            time.sleep(0.2)
        deadline = time.monotonic() + moment
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if process.poll() is None:
            met += at_work(out)
            strike(process, moments.choice(["study", "family", "family", "kernel"]))
        else:
            process.communicate()
        now = done_now(out)
        again += [key for key in kept if now.get(key) != kept[key]]
        kept = now
    return met, kept, again


def same(first, second):
    """The runs that differ between two folders of runs, timings aside."""
    one, two = ({r.key: r for r in find_runs(out)} for out in (first, second))
    assert set(one) == set(two) and all(r.done for r in [*one.values(), *two.values()])
    return [
        (one[key].folder.name, *row)
        for key in one
        for row in verify.compare_runs(one[key], two[key]).itertuples(index=False)
        if row.status not in ("equal", "timed")
    ]


@pytest.mark.fault(
    group="sweep",
    fault="A study of small runs is killed again and again",
    injected="SIGKILL at 5 seeded moments: to the study's process, to its whole family, or to a kernel and then the study's process",
    promise="run again, it ends with the results of a study left alone, and no finished run is done again",
)
def test_a_small_study_killed_five_times(tmp_path, moments):
    study = small_suite(tmp_path)
    nbs = tmp_path / "nbs"
    began = time.monotonic()
    assert started(study, tmp_path / "alone", nbs, "--workers", "2").wait() == 0
    whole = time.monotonic() - began
    met, kept, again = killed(study, tmp_path / "runs", 5, moments, 0.6 * whole, nbs, ["--workers", "2"])
    end = started(study, tmp_path / "runs", nbs, "--workers", "2")
    said = end.communicate()[0]
    assert end.returncode == 0, said
    assert not same(tmp_path / "alone", tmp_path / "runs") and met and not again
    assert all(done_now(tmp_path / "runs")[key] == state for key, state in kept.items())


@pytest.mark.long
@pytest.mark.fault(
    group="sweep",
    fault="The quick study is killed twenty times",
    injected="SIGKILL at 20 seeded moments: to the study's process, to its whole family, or to a kernel and then the study's process",
    promise="run again, every table, figure, model and number is that of a study left alone, timings aside, and no finished run is done again",
)
def test_the_quick_study_killed_twenty_times(smoke, tmp_path, moments):
    out, whole = tmp_path / "runs", sum(r.status.get("seconds", 0) for r in find_runs(smoke[0]))
    met, kept, again = killed("quick", out, 20, moments, 0.1 * whole, words=SMOKE, share=0.8)
    end = started("quick", out, None, *SMOKE)
    said = end.communicate()[0]
    assert end.returncode == 0, said
    assert not (apart := same(smoke[0], out)) and not again and met >= 12, (apart, met, again)
    assert all(done_now(out)[key] == state for key, state in kept.items())


@pytest.mark.long
@pytest.mark.fault(
    group="sweep",
    fault="The time limit is reached in one run of a study",
    injected="a run of ten minutes under a limit of one",
    promise="status timeout with what to change; the others are done",
)
def test_a_run_past_its_limit_does_not_stop_the_others(tmp_path):
    study = small_suite(tmp_path)
    study.write_text(
        STUDY.replace("runs:", "limit: 60\nruns:").replace(
            "[0, 1, 2, 3]}}", "[0, 1]}}\n  slow: {experiment: draw, parameters: {seconds: 600.0}}"
        )
    )
    process = started(study, tmp_path / "runs", tmp_path / "nbs", "--workers", "2")
    said = process.communicate()[0]
    states = {r.name: r.status["status"] for r in find_runs(tmp_path / "runs")}
    assert process.returncode == 1 and states == {
        "draw.seed-0": "done",
        "draw.seed-1": "done",
        "slow": "timeout",
        "mean": "done",
    }, said
    assert "raise the study's limit" in said


@pytest.mark.fault(
    group="sweep",
    fault="One of several runs that a report needs has failed",
    injected="two of four runs made to fail",
    promise="the report is not made from the others in silence: the study says which run failed and what waits for it, exit code 1",
)
def test_a_report_does_not_hide_a_missing_run(tmp_path):
    study = small_suite(tmp_path)
    study.write_text(STUDY.replace("seed: [0, 1, 2, 3]", "seed: [0, 1], fails: [false, true]"))
    process = started(study, tmp_path / "runs", tmp_path / "nbs", "--workers", "2")
    said = process.communicate()[0]
    assert process.returncode == 1
    assert (
        "draw.seed-0.fails-True failed: ValueError: asked to" in " ".join(said.split())
        and "1 run waits for it" in said
    ), said
    assert not any(r.experiment == "mean" for r in find_runs(tmp_path / "runs"))


@pytest.mark.fault(
    group="sweep",
    fault="One of several runs that a report may do without has failed",
    injected="one of four runs made to fail, the report content with three",
    promise="the report is made from three and says so with the name and the reason; the study still ends with exit code 1; once the fourth is done, the report is made anew from all",
)
def test_a_report_over_three_of_four_says_so(tmp_path):
    study, out = small_suite(tmp_path), tmp_path / "runs"
    study.write_text(
        STUDY.replace("needs: {draws: draw}", "needs: {draws: [draw, odd]}, least: 3").replace(
            "[0, 1, 2, 3]}}", "[0, 1, 2]}}\n  odd: {experiment: draw, parameters: {seed: 3, fails: true}}"
        )
    )
    process = started(study, out, tmp_path / "nbs", "--workers", "2")
    said = process.communicate()[0]
    assert process.returncode == 1 and "mean/mean without odd: done" in said, said
    (run,) = (r for r in find_runs(out) if r.experiment == "mean")
    assert run.done and run.result["headline"]["draws"] == 3
    assert (
        run.result["notes"]
        == ["Made from 3 of 4 runs. Missing: odd (failed: ValueError: asked to)."]
        == [describe_missing(run)]
    )
    kept = done_now(out)
    study.write_text(study.read_text().replace("fails: true", "fails: false"))
    assert started(study, out, tmp_path / "nbs").wait() == 0
    assert {r.result["headline"]["draws"] for r in find_runs(out) if r.experiment == "mean"} == {3, 4}
    assert all(done_now(out)[key] == state for key, state in kept.items())


@pytest.mark.fault(
    group="sweep",
    fault="Two people start the same study at once",
    injected="leukonb run twice at the same moment on one folder",
    promise="every run is done once; both end well with the same results",
)
def test_a_study_started_twice_at_once(tmp_path):
    study = small_suite(tmp_path)
    both = [started(study, tmp_path / "runs", tmp_path / "nbs", "--workers", "2") for _ in range(2)]
    assert [p.wait() for p in both] == [0, 0]
    began = (tmp_path / "runs/began").read_text().split()
    assert sorted(began) == sorted(set(began)) and len(began) == 4
    assert all(r.done for r in find_runs(tmp_path / "runs"))


@pytest.mark.fault(
    group="sweep",
    fault="The machine asks the study for an early end",
    injected="SIGTERM while runs are at work",
    promise="exit code 75 and how to go on; run again, it ends well and no finished run is done again",
)
def test_sigterm_ends_a_study_in_order(tmp_path):
    study = small_suite(tmp_path)
    process = started(study, tmp_path / "runs", tmp_path / "nbs")
    while process.poll() is None and not done_now(tmp_path / "runs"):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said = process.communicate()[0]
    assert process.returncode == 75 and "take it up" in said, said
    kept = done_now(tmp_path / "runs")
    assert kept and started(study, tmp_path / "runs", tmp_path / "nbs").wait() == 0
    now = done_now(tmp_path / "runs")
    assert len(now) == 5 and all(now[key] == state for key, state in kept.items())

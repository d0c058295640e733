"""Forty runs on Dask workers that die at random, on two schedulers, and on one that is killed and comes back."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from test_faults_sweep import done_now, small_suite, started

from leukonb.runs import cluster
from leukonb.runs.process import execute_run, kill_tree
from leukonb.runs.study import load_study, plan_study
from leukonb.runs.sweep import execute_plan

pytestmark = pytest.mark.long
FORTY = (
    "title: T\nshows: S\nsize: quick\nruns:\n  draw: {experiment: draw, grid: {seed: ["
    + ", ".join(map(str, range(40)))
    + "]}}\n"
)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study of forty runs that each leave a line when they begin and one when they end."""
    file = small_suite(tmp_path)
    file.write_text(FORTY)
    notebook = tmp_path / "nbs/experiments/draw.ipynb"
    notebook.write_text(
        notebook.read_text().replace(
            "if fails:", 'open(\\"../../../ended\\", \\"a\\").write(f\\"{seed} \\")\\nif fails:'
        )
    )
    monkeypatch.setenv("LEUKONB_NBS", str(tmp_path / "nbs"))
    return file


def ended_once(out):
    """Whether each of the forty is done, and its last line was written once."""
    ended = Counter((out / "ended").read_text().split())
    return len(done_now(out)) == 40 and ended == Counter(map(str, range(40)))


def dask(*words):
    """A process of Dask's own command line."""
    return subprocess.Popen(
        [str(Path(sys.executable).parent / "dask"), *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def by_hand(port, workers=1):
    """A scheduler and its workers, started on loopback as a person would."""
    all_of = [dask("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")]
    all_of += [
        dask("worker", f"tcp://127.0.0.1:{port}", "--nthreads", 1, "--no-dashboard") for _ in range(workers)
    ]
    try:
        yield all_of
    finally:
        for process in all_of:
            kill_tree(process)
            process.wait()


@pytest.mark.fault(
    group="sweep",
    fault="Workers die at random under a study of forty runs",
    injected="Dask's own KillWorker plugin on a LocalCluster of two, by segmentation faults: each worker lives about six runs long",
    promise="all forty are done, each once",
)
def test_forty_runs_on_workers_that_die(study, tmp_path):
    from distributed.chaos import KillWorker

    out = tmp_path / "runs"
    pool = cluster.connect_cluster(cluster.Place("local", workers=2))
    plan = plan_study(load_study(study), out)
    began = time.monotonic()
    assert execute_run(plan[0].run, plan[0].notebook, threads=1)["status"] == "done"
    pool.client.register_plugin(KillWorker(delay=f"{6 * (time.monotonic() - began):.0f} s", mode="segfault"))
    said, alarm = [], threading.Timer(3600, os.kill, (os.getpid(), signal.SIGTERM))
    alarm.start()
    try:
        states = execute_plan(plan, pool=pool, show=lambda p, state: said.append(state["status"]))
    finally:
        alarm.cancel()
    assert [s["status"] for s in states] == ["done"] * 40 and ended_once(out)
    assert "lost" in said, "no worker died: the test has tried nothing"


@pytest.mark.fault(
    group="sweep",
    fault="Two schedulers are given the same forty runs at once",
    injected="two schedulers started by hand on loopback, leukonb run on each",
    promise="all forty are done, each once; both commands end well",
)
def test_forty_runs_on_two_schedulers(study, tmp_path):
    ports, out = (free_port(), free_port()), tmp_path / "runs"
    with by_hand(ports[0]), by_hand(ports[1]):
        both = [started(study, out, tmp_path / "nbs", "--cluster", f"127.0.0.1:{port}") for port in ports]
        said = [command.communicate(timeout=3600)[0] for command in both]
    assert [command.returncode for command in both] == [0, 0], said
    assert ended_once(out), said


@pytest.mark.fault(
    group="sweep",
    fault="The scheduler is killed in the middle of forty runs, and started again",
    injected="SIGKILL to the scheduler and its workers when ten runs are done; the same commands again",
    promise="the study waits, goes on, and all forty are done, each once",
)
def test_forty_runs_through_the_death_of_a_scheduler(study, tmp_path):
    port, out = free_port(), tmp_path / "runs"
    with by_hand(port, 2):
        command = started(study, out, tmp_path / "nbs", "--cluster", f"tcp://127.0.0.1:{port}")
        while command.poll() is None and len(done_now(out)) < 10:
            time.sleep(0.2)
    kept = done_now(out)
    with by_hand(port, 2):
        said = command.communicate(timeout=3600)[0]
        if command.returncode == 75:
            again = started(study, out, tmp_path / "nbs", "--cluster", f"tcp://127.0.0.1:{port}")
            said, command = said + again.communicate(timeout=3600)[0], again
    assert command.returncode == 0 and ended_once(out), said
    assert len(kept) >= 10 and all(done_now(out)[key] == state for key, state in kept.items())

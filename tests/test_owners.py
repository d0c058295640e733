"""Locks that do not lock: who has a run is known from its process and its heartbeat."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest
from finished import write_runs
from test_runs import LAST, run_of, write

from leukonb.files import read_json, write_json
from leukonb.runs import owner, process
from leukonb.runs.owner import describe_owner, hold_lock, is_locked
from leukonb.runs.process import execute_run, prepare_folder
from leukonb.runs.record import Run, is_whole
from leukonb.runs.seal import seal
from leukonb.runs.watch import list_status

ELSEWHERE = {"status": "running", "pid": 4711, "host": "node7", "machine": "node7", "started": 1.7e9}
REFUSE = {
    "ENOLCK": lambda *a: (_ for _ in ()).throw(OSError(errno.ENOLCK, "No locks available")),
    "each machine its own": lambda *a: None,
}


@pytest.fixture
def begun(tmp_path):
    """A run whose folder is prepared, of a notebook that says who has executed it."""
    notebook = write(tmp_path, "import os\nprint(os.getppid())", LAST)
    run = run_of(tmp_path, notebook)
    prepare_folder(run, notebook, 1)
    return run


def end(run):
    """Leave what an executed notebook leaves."""
    shutil.copy(run.folder / ".source.ipynb", run.notebook)
    write_json(run.folder / "result.json", {"run": run.key, "headline": {}, "notes": [], "files": {}})
    seal(run.folder, run.experiment)


@pytest.fixture
def executed(monkeypatch):
    """The runs that were executed, in the place of their notebooks."""
    those = []

    def execute(run):
        those.append(run.key)
        end(run)

    monkeypatch.setattr(process, "_execute_notebook", execute)
    return those


@pytest.mark.fault(
    group="runs",
    fault="A lock that does not lock",
    injected="flock that every machine grants by itself, or refuses with ENOLCK, while another machine's process is 2 s from its last heartbeat",
    promise="the run is not begun a second time while the first lives; then what that has left is taken",
)
@pytest.mark.parametrize("lock", REFUSE)
def test_a_run_that_another_machine_has_is_not_begun_again(begun, executed, monkeypatch, lock):
    monkeypatch.setattr(fcntl, "flock", REFUSE[lock])
    write_json(begun.folder / "status.json", ELSEWHERE)
    (begun.folder / ".heartbeat").touch()
    os.utime(begun.folder / ".heartbeat", (time.time() - 2,) * 2)
    assert is_locked(begun.folder) and begun.status["status"] == "running"
    second = threading.Thread(target=process.do_run, args=(str(begun.folder),))
    second.start()
    second.join(1.5)
    assert second.is_alive() and executed == []
    write_json(begun.folder / "result.json", {"run": begun.key, "headline": {"first": 1}, "files": {}})
    write_json(begun.folder / "status.json", {**ELSEWHERE, "status": "done", "finished": time.time()})
    second.join(20)
    assert not second.is_alive() and executed == [] and begun.result["headline"] == {"first": 1}


@pytest.mark.fault(
    group="runs",
    fault="The clocks of two machines that share a folder differ",
    injected="another machine's heartbeat 45 s in the past, and in the future, while the lock does not lock",
    promise="the living run is running, not quiet, and is not begun again; a dead one is free within minutes",
)
@pytest.mark.parametrize("away", [-45, 45])
def test_a_clock_45_seconds_off_neither_ends_nor_doubles_a_run(begun, executed, monkeypatch, away):
    monkeypatch.setattr(fcntl, "flock", REFUSE["each machine its own"])
    write_json(begun.folder / "status.json", ELSEWHERE)
    (begun.folder / ".heartbeat").touch()
    os.utime(begun.folder / ".heartbeat", (time.time() + away,) * 2)
    row = list_status(begun.folder.parents[2]).iloc[0]
    assert is_locked(begun.folder) and row.status == "running" and "no sign of life" not in row.reason
    second = threading.Thread(target=process.do_run, args=(str(begun.folder),))
    second.start()
    second.join(1)
    assert second.is_alive() and executed == []
    os.utime(begun.folder / ".heartbeat", (time.time() - 300,) * 2)
    second.join(20)
    assert executed == [begun.key] and begun.status["status"] == "done"


@pytest.mark.parametrize("lock", REFUSE)
def test_a_run_whose_owner_fell_silent_is_taken_up_and_the_lock_is_named(begun, executed, monkeypatch, lock):
    monkeypatch.setattr(fcntl, "flock", REFUSE[lock])
    write_json(begun.folder / "status.json", ELSEWHERE)
    (begun.folder / ".heartbeat").touch()
    os.utime(begun.folder / ".heartbeat", (time.time() - 150,) * 2)
    assert not is_locked(begun.folder) and begun.status.get("gone")
    process.do_run(str(begun.folder))
    assert executed == [begun.key] and begun.status["status"] == "done"
    assert ("the disk has no locks (ENOLCK)" in begun.status.get("note", "")) == (lock == "ENOLCK")


def test_a_process_of_this_machine_that_is_gone_is_not_waited_for(begun, executed):
    child = subprocess.Popen([sys.executable, "-c", "pass # do_run"])
    child.wait()
    write_json(begun.folder / "status.json", {**describe_owner(), "status": "running", "pid": child.pid})
    (begun.folder / ".heartbeat").touch()
    assert not is_locked(begun.folder)
    process.do_run(str(begun.folder))
    assert executed == [begun.key]


def test_another_runs_process_with_the_same_number_is_not_waited_for(begun, executed):
    child = subprocess.Popen(
        [sys.executable, "-c", "input() # do_run /runs/s/e/other-00"], stdin=subprocess.PIPE
    )
    try:
        write_json(begun.folder / "status.json", {**describe_owner(), "status": "running", "pid": child.pid})
        limit = time.monotonic() + 20
        while "do_run" not in " ".join(psutil.Process(child.pid).cmdline()) and time.monotonic() < limit:
            time.sleep(0.05)
        assert not is_locked(begun.folder)
        process.do_run(str(begun.folder))
        assert executed == [begun.key]
    finally:
        child.kill()
        child.wait()


def test_a_living_process_of_this_machine_is_waited_for_without_a_lock(begun, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", REFUSE["each machine its own"])
    words = f"import time; time.sleep(60) # do_run {begun.folder.resolve()}"
    child = subprocess.Popen([sys.executable, "-c", words])
    try:
        write_json(begun.folder / "status.json", {**describe_owner(), "status": "running", "pid": child.pid})
        limit = time.monotonic() + 20
        while (
            not is_locked(begun.folder) and time.monotonic() < limit
        ):  # its command line is there in a moment
            time.sleep(0.1)
        assert is_locked(begun.folder) and begun.status["status"] == "running"
    finally:
        child.kill()
        child.wait()
    assert not is_locked(begun.folder)


def test_of_two_that_began_in_one_moment_the_last_to_write_has_the_run(begun, monkeypatch):
    def execute(run):
        write_json(run.folder / "status.json", ELSEWHERE)
        write_json(run.folder / "result.json", {"run": run.key, "headline": {"other": 1}, "files": {}})
        time.sleep(0.5)
        raise RuntimeError("ended by the other")

    beating, killed = process._beating, []
    monkeypatch.setattr(process, "_execute_notebook", execute)
    monkeypatch.setattr(
        process, "_kill", killed.append
    )  # what this process has started is other tests' browser
    monkeypatch.setattr(process, "_beating", lambda folder, limit: beating(folder, limit, every=0.1))
    process.do_run(str(begun.folder))
    assert killed, "what the run had started was to end with it"
    assert begun.result["headline"] == {"other": 1}, "the other's result is left alone"
    assert read_json(begun.folder / "status.json") == ELSEWHERE and (begun.folder / ".heartbeat").exists()


@pytest.mark.fault(
    group="runs",
    fault="status by another account, or on a disk that may not be written",
    injected="a running study's folders readable by others only",
    promise="status says running, with its heartbeat; nothing is written",
)
def test_who_may_only_read_sees_that_a_run_is_running(nbs, monkeypatch):
    home = Path(tempfile.mkdtemp())
    home.chmod(0o755)
    run = write_runs(nbs, home / "runs", 1)[0]
    monkeypatch.delenv("LEUKONB_NBS")
    (run.folder / "result.json").unlink()
    write_json(run.folder / "status.json", {"status": "running", "pid": os.getpid(), "host": "here"})
    (run.folder / ".heartbeat").touch()
    was = os.geteuid()
    with hold_lock(run.folder):
        before = {p: p.stat().st_mtime_ns for p in home.rglob("*")}
        for path in home.rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        try:
            if was == 0:
                os.seteuid(65534)
            rows = list_status(home / "runs")
        finally:
            os.seteuid(was)
        assert rows.status.tolist()[1] == "running" and rows.heartbeat[1] < 60
        assert before == {p: p.stat().st_mtime_ns for p in home.rglob("*")}
    shutil.rmtree(home)


def test_looking_at_a_run_makes_no_lock_file(begun):
    write_json(begun.folder / "status.json", ELSEWHERE)
    assert begun.status["status"] == "failed" and not (begun.folder / ".lock").exists()


@pytest.mark.fault(
    group="runs",
    fault="The clock is set while a run goes on",
    injected="a clock that jumps back by a day; a record that states a negative duration",
    promise="durations come from the clock that only goes forward; a negative one is not believed",
)
def test_a_clock_that_jumps_changes_no_duration(begun, monkeypatch):
    real = time.time

    def execute(run):
        monkeypatch.setattr(time, "time", lambda: real() - 86400)
        end(run)

    monkeypatch.setattr(process, "_execute_notebook", execute)
    process.do_run(str(begun.folder))
    assert 0 <= begun.status["seconds"] < 60
    write_json(begun.folder / "status.json", {**begun.status, "seconds": -86374.0})
    assert begun.status["status"] == "done" and begun.status["seconds"] < 60, "the sealed one"
    old = {k: v for k, v in begun.result.items() if k not in ("ended", "written", "record", "shown")}
    write_json(begun.folder / "result.json", old)
    before = {k: v for k, v in begun.manifest.items() if k != "schema"}
    write_json(begun.folder / "run.json", before)
    assert begun.status["status"] == "done" and "seconds" not in begun.status, "as before there were seals"


def test_a_run_names_its_machine(begun, executed):
    process.do_run(str(begun.folder))
    assert Run.read(begun.folder).status["machine"] == owner.this_machine()
    assert execute_run(begun, begun.folder / ".source.ipynb")["status"] == "done" and len(executed) == 1


@pytest.mark.fault(
    group="runs",
    fault="A process is killed after the result, before the executed notebook is in its place",
    injected="a result beside a notebook that is still being written, with and without its process",
    promise="running while the process lives, then not done: the file is named, and the run is made again",
)
def test_a_result_without_its_notebook_is_not_done(begun, executed):
    result = {"run": begun.key, "headline": {}, "notes": [], "files": {}, "schema": 1}
    write_json(begun.folder / "result.json", result)
    (begun.folder / ".executed.ipynb").write_text("{}")
    with hold_lock(begun.folder):
        assert not begun.done and begun.status["status"] == "running"
    assert not begun.done and not is_whole(begun) and "example.ipynb is gone" in begun.status["error"]
    begun.notebook.write_text("{}")
    assert not begun.done and "result.json has no seal" in begun.status["error"]
    begun.notebook.unlink()
    process.do_run(str(begun.folder))
    assert executed == [begun.key]

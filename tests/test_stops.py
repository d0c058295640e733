"""Ctrl-C ends in one line and leaves nothing half written; whoever waits for another process says for whom."""

import io
import os
import platform
import signal
import threading
import time
import zipfile
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
from filelock import FileLock
from PIL import Image
from test_cohort import encoded
from test_runs import LAST

from leukonb import api
from leukonb.cli import main
from leukonb.data import archives, cohort, pixels, turns
from leukonb.files import digest_file, read_json, write_json
from leukonb.runs import keep, process
from leukonb.runs.owner import hold_lock
from leukonb.runs.record import Run
from leukonb.runs.study import PlannedRun, load_study, plan_study
from leukonb.runs.sweep import _is_elsewhere, execute_plan
from leukonb.runs.watch import describe_planned, list_status
from leukonb.verbs.run import own_experiments


@pytest.fixture
def heard():
    """Ctrl-C is heard as at a terminal, even where these tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press(*_, **__):
    """Ctrl-C, here and now."""
    signal.raise_signal(signal.SIGINT)


def stop_reading(monkeypatch):
    monkeypatch.setattr(cohort, "_try_measure", lambda path: time.sleep(0.05))
    monkeypatch.setattr(cohort, "ThreadPoolExecutor", Pressed)


class Pressed(cohort.ThreadPoolExecutor):
    """Threads during whose first work Ctrl-C is pressed."""

    def map(self, *given, **named):
        results = super().map(*given, **named)
        press()
        return results


def stop_writing(monkeypatch):
    """Ctrl-C as the files that were written shall take their places."""
    monkeypatch.setattr(keep, "_move_files", press)


def score_all(*_, **__):
    return pd.DataFrame({"cell": ["a"], "score": [0.5], "verdict": ["ALL"]})


VERBS = {
    "audit": lambda place: ["audit", str(place / "cells"), "--json", str(place / "to/found.json")],
    "predict": lambda place: ["predict", "m.keras", str(place / "cells"), "--out", str(place / "to/s.csv")],
}


@pytest.mark.fault(
    group="data",
    fault="Ctrl-C while images are audited or scored",
    injected="SIGINT as images are read, and as tables are written over those of an earlier time",
    promise="one line and exit code 75; what was there before is whole, and nothing half written is left",
)
@pytest.mark.parametrize("when", [stop_reading, stop_writing])
@pytest.mark.parametrize("verb", VERBS)
def test_ctrl_c_is_one_line_and_leaves_nothing_half_written(verb, when, tmp_path, heard, monkeypatch, capsys):
    (tmp_path / "cells/all").mkdir(parents=True)
    for n in range(6):
        (tmp_path / f"cells/all/UID_{n}_1_1_all.bmp").write_bytes(encoded(n, 64))
    words = VERBS[verb](tmp_path)
    if verb == "audit" or when is stop_writing:
        with monkeypatch.context() as scored:
            scored.setattr(api, "predict", score_all)
            assert main(words) == 0
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    capsys.readouterr()
    if when is stop_writing:
        monkeypatch.setattr(api, "predict", score_all)
    when(monkeypatch)
    assert main(words) == 75
    said = capsys.readouterr().err.strip().splitlines()
    assert said == [
        "leukonb: stopped before it was done; nothing half written is left, run the same command to begin anew"
    ]
    after = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    written = {p.name for p in before.keys() ^ after.keys()}
    assert not written and {p: b for p, b in after.items() if p.name != keep.LIST} == {
        p: b for p, b in before.items() if p.name != keep.LIST
    }
    monkeypatch.undo()
    monkeypatch.setattr(api, "predict", score_all)
    assert main(words) == 0


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    """The lock of this machine's only GPU, which is imaginary."""
    monkeypatch.setenv("LEUKONB_GPUS", "GPU-1")
    monkeypatch.setenv("LEUKONB_GPU_LOCKS", str(tmp_path / "locks"))
    return FileLock(tmp_path / "locks/GPU-1.lock", thread_local=False)


@pytest.mark.fault(
    group="sweep",
    fault="A run waits for a GPU that another run holds",
    injected="the GPU's lock held, its holder's note beside it",
    promise="the study and leukonb status say for whom the run waits, and since when that one has it",
)
def test_a_run_that_waits_for_a_gpu_says_for_whom(tmp_path, gpu):
    studies = tmp_path / "nbs/experiments/studies"
    studies.mkdir(parents=True)
    first = nbformat.v4.new_code_cell("seed: int = 0", metadata={"tags": ["parameters"]})
    nbformat.write(
        nbformat.v4.new_notebook(cells=[first, nbformat.v4.new_code_cell(LAST)]), studies.parent / "e.ipynb"
    )
    (studies / "s.yml").write_text("title: T\nshows: S\nsize: smoke\nruns: {a: {experiment: e}}\n")
    said, listed = [], []

    def show(planned, status):
        if status["status"] == "waits" and gpu.is_locked:
            said.append(describe_planned(planned, status))
            listed.extend(list_status(tmp_path / "_runs").reason)
            gpu.release()

    gpu.acquire()
    process._write_note(tmp_path / "locks/GPU-1.json", "training/seed-7")
    with own_experiments(tmp_path / "nbs"):
        states = execute_plan(plan_study(load_study("s"), tmp_path / "_runs"), show=show)
    assert states[0]["status"] == "done" and states[0]["gpu"] == "GPU-1"
    waits = f"waits for a GPU: GPU-1 is held by training/seed-7 (process {os.getpid()}) since "
    assert said[0].startswith(f"e/a: {waits}") and listed[0].startswith(waits)
    assert not (tmp_path / "locks/GPU-1.json").exists()


def test_a_run_whose_process_is_gone_waits_for_nothing(tmp_path):
    folder = tmp_path / "s/e/a-00"
    inputs = {"parameters": {}, "needs": {}, "data": None}
    write_json(folder / "run.json", {"key": "00", "name": "a", "experiment": "e", "inputs": inputs})
    write_json(folder / "progress.json", {"waits": "waits for a GPU: GPU-1 is held by another run"})
    with hold_lock(folder):
        assert list_status(tmp_path).reason[0].startswith("waits for a GPU")
    assert "waits" not in list_status(tmp_path).reason[0]


@pytest.mark.fault(
    group="runs",
    fault="Somebody else made the folder of the locks of GPUs first",
    injected="a folder of another account under its name in the temporary directory",
    promise="the locks are in the user's own folder, and no run waits or ends by it",
)
def test_locks_of_gpus_are_never_in_another_accounts_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(process.tempfile, "gettempdir", lambda: str(tmp_path))
    ours = process._gpu_locks()
    assert ours.startswith(str(tmp_path))
    os.mkdir(ours)
    assert process._gpu_locks() == ours
    user = os.getuid() + 1
    os.rmdir(ours)
    monkeypatch.setattr(process.os, "getuid", lambda: user)
    os.mkdir(process._gpu_locks())  # of this account, where another one asks
    assert process._gpu_locks().startswith(str(process.Path.home()))


@pytest.fixture
def holder(tmp_path):
    """A call that holds a lock in another thread until this one has asked for it, with a note of who it is."""
    threads = []

    def hold(lock):
        began = threading.Event()

        def work():
            with FileLock(lock), turns.leave_note(lock.with_name(f"{lock.name}.holder")):
                began.set()
                time.sleep(0.5)

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        began.wait()

    yield hold
    for thread in threads:
        thread.join()


WHO = f"process {os.getpid()} on {platform.node()} (since "


@pytest.mark.fault(
    group="data",
    fault="Another process unpacks the archive, or decodes the cells, that this one needs",
    injected="its lock held for half a second",
    promise="who waits says for which process, and since when that one is at it",
)
@pytest.mark.parametrize("what", ["archive", "cells"])
def test_whoever_waits_for_an_archive_or_for_cells_says_for_whom(tmp_path, capsys, holder, what):
    image = io.BytesIO()
    Image.new("RGB", (16, 16)).save(image, "PNG")
    (tmp_path / "a.png").write_bytes(image.getvalue())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "a.png")
    if what == "archive":
        place = tmp_path / "to" / digest_file(tmp_path / "a.zip")[:16]
        place.mkdir(parents=True)
        holder(place / ".lock")
        assert (archives.unpack_once(tmp_path / "a.zip", tmp_path / "to") / "a.png").is_file()
        line = f"unpacks into {place}; waiting for it"
    else:
        cells = pd.DataFrame({"cell": [digest_file(tmp_path / "a.png")], "path": ["a.png"]})
        cohort = SimpleNamespace(cells=cells, root=tmp_path)
        holder(tmp_path / "pixels-16.lock")
        assert len(pixels.decode_cohort(cohort, 16, tmp_path, progress=False)) == 1
        line = f"decodes cells into {tmp_path}/pixels-16.u8; waiting for it"
    said = capsys.readouterr().err
    assert said.startswith(f"leukonb: {WHO}") and said.strip().endswith(line) and said.count("\n") == 1
    assert not list(tmp_path.rglob("*.holder"))


def test_a_run_that_waits_for_cells_says_so_in_its_progress(tmp_path, capsys, holder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEUKONB_RUN", "1")
    write_json("run.json", {})
    said, real = [], turns.say_wait
    monkeypatch.setattr(turns, "say_wait", lambda line: real(line) or said.append(read_json("progress.json")))
    holder(tmp_path / "x.lock")
    with turns.in_turn(tmp_path / "x.lock", "decodes cells", lambda line: turns.say_wait(line)):
        assert read_json("progress.json") == {}
    line = said[0]["waits"]
    assert line.startswith(WHO) and capsys.readouterr().err == ""
    planned = SimpleNamespace(run=SimpleNamespace(experiment="e", name="a", manifest={}))
    shown = describe_planned(planned, {"status": "running", **said[0]})
    assert shown == f"e/a: waits, {line.removesuffix('; waiting for it')}"


@pytest.mark.fault(
    group="sweep",
    fault="Another process draws the page of a finished run anew",
    injected="the run's lock held for half a second, its holder's note beside it",
    promise="who waits says for which process and since when, and not who has computed the run",
)
def test_whoever_waits_for_a_page_to_be_drawn_says_for_whom(tmp_path, capsys, holder, monkeypatch):
    folder = tmp_path / "s/e/a-00"
    inputs = {"parameters": {}, "needs": {}, "data": None}
    manifest = {"key": "00", "name": "a", "experiment": "e", "inputs": inputs}
    write_json(folder / "run.json", manifest)
    write_json(folder / "status.json", {"status": "done", "pid": 4242, "host": "of-old", "started": 1.0})
    run, shown = Run(folder, manifest), []
    (folder / ".holder").write_text("process 17 on node17 (since 28 November, 07:49)")
    holder(folder / ".lock")
    planned = PlannedRun(run, tmp_path / "e.ipynb", [], 300)
    sweep = SimpleNamespace(planned=[planned], held={}, show=lambda *a: shown.append(describe_planned(*a)))
    assert _is_elsewhere(sweep, 0) and "process 17 on node17" in shown[0] and "of-old" not in shown[0]
    monkeypatch.setattr(process, "wants_redraw", lambda run: False)
    process.redraw_run(run, tmp_path / "e.ipynb")
    said = capsys.readouterr().err
    assert said == "leukonb: process 17 on node17 (since 28 November, 07:49) has e/a; waiting for it\n"
    assert not (folder / ".holder").exists()

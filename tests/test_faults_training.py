"""Training struck where it hurts most: while its state is written, when the disk is full, again and again."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import on_small_disk
from test_training import PROGRAM, finished, start

# the process kills itself inside the named step, with half of the step's file written
STRUCK = """
import os, signal, sys
from leukonb import files
from leukonb.model import network, training
step, calls = sys.argv[4], [0]
at = 1 if "model" in step else 2 # the first model is that of the first epoch; the first state may not be the last

def strike(path=None):
    if path is not None:
        data = path.read_bytes()
        path.write_bytes(data[:len(data)//2])
    os.kill(os.getpid(), signal.SIGKILL)

def struck(call, path_of):
    def wrapped(*words, **options):
        calls[0] += 1
        if calls[0] < at: return call(*words, **options)
        if path_of: call(*words, **options)
        strike(path_of(*words) if path_of else None)
    return wrapped

if step == "arrays half written": training.np.savez = struck(training.np.savez, lambda path, *_: path)
if step == "arrays without a note": training.write_json = struck(training.write_json, None)
if step == "note in place, old states not dropped": training._tell = struck(training._tell, None)
if step == "model half written": network.keras.Model.save = struck(network.keras.Model.save, lambda model, path: path)
if step == "model without a state": training._store = struck(training._store, None)
"""
STEPS = [
    "arrays half written",
    "arrays without a note",
    "note in place, old states not dropped",
    "model half written",
    "model without a state",
]


@pytest.mark.fault(
    group="training",
    fault="The training is killed while it saves",
    injected="SIGKILL inside a step of saving, with half of its file written",
    promise="taken up from a whole state, with the bits of an uninterrupted training",
)
@pytest.mark.parametrize(
    "step", [pytest.param(s, id=s, marks=[pytest.mark.long] if i else []) for i, s in enumerate(STEPS)]
)
def test_killed_inside_a_checkpoint(straight, tmp_path, step):
    here = str(Path(__file__).parent)
    process = subprocess.run(
        [sys.executable, "-c", STRUCK + PROGRAM, tmp_path, here, "0", step],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr[-2000:]
    assert finished(start(tmp_path)) == straight


LONGER = PROGRAM.replace(
    "train_network(NET, RECIPE", "train_network(NET, replace(RECIPE, epochs=24, patience=99)"
).replace("import sys", "from dataclasses import replace\nimport sys", 1)


def begun(folder):
    here = str(Path(__file__).parent)
    return subprocess.Popen(
        [sys.executable, "-c", LONGER, str(folder), here, ".3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.long
@pytest.mark.fault(
    group="training",
    fault="The training is killed again and again",
    injected="SIGKILL at 10 seeded moments of a training of 24 epochs: while it starts, or after its next epoch",
    promise="each start takes up what was saved; the last ends with the bits of an uninterrupted training",
)
def test_killed_ten_times(tmp_path, moments):
    alone, states = finished(begun(tmp_path / "alone")), []
    for _ in range(10):
        process = begun(tmp_path / "run")
        if moments.random() < 0.7:
            process.stdout.readline()
            time.sleep(moments.uniform(0, 0.8))
        else:
            time.sleep(moments.uniform(0, 8))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, process.communicate()
        process.communicate()
        states.append(
            max((int(p.stem[-4:]) for p in (tmp_path / "run").glob("checkpoints/epoch-*.json")), default=0)
        )
    assert finished(begun(tmp_path / "run")) == alone
    assert states == sorted(states) and 0 < states[-1] < 24, states


FULL = """
import shutil, os, sys
from leukonb.model import training
keep = training._store
def filled(model, folder, inputs, history):
    # another process takes the room before the third state is written
    if len(history) == 3: (folder.parent/"other").write_bytes(bytes(max(0, shutil.disk_usage(folder).free - 100_000)))
    return keep(model, folder, inputs, history)
training._store = filled
try:
    exec(open(sys.argv[4]).read())
    print("no error")
except OSError as error: print("error", error)
whole = [training._whole(note, __import__("json").loads(note.read_text())["inputs"])[1] for note in sorted(__import__("pathlib").Path(sys.argv[1], "checkpoints").glob("*.json"))]
print("states", len(whole), "damaged", sum(w is not None for w in whole), flush=True)
__import__("pathlib").Path(sys.argv[1], "other").unlink()
training._store = keep
exec(open(sys.argv[4]).read())
"""


@pytest.mark.long
@pytest.mark.fault(
    group="training",
    fault="The disk is full when a state is saved",
    injected="a disk of 60 MB, filled before the third epoch's state",
    promise="ends with an error that says so; the earlier states are whole, and with room made the bits are the same",
)
def test_no_room_for_a_state(straight, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [
            *on_small_disk(tmp_path / "disk", 60),
            sys.executable,
            "-c",
            FULL,
            tmp_path / "disk",
            Path(__file__).parent,
            "0",
            tmp_path / "program.py",
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search("^error .*No space left", done.stdout, re.M) and "states 2 damaged 0" in done.stdout, (
        done.stdout
    )
    assert done.stdout.splitlines()[-1] == straight

"""Images, tables and disks that fail, where it takes a process, a limit or a disk of its own to try."""

import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import pytest
from conftest import leukonb, on_small_disk
from hypothesis import given, settings, strategies as st
from test_cohort import TRAINING, WHOLE, encoded, put
from test_pixels import written

from leukonb.data import cohort, splits
from leukonb.files import refusal_line

PATHS = {name.format(""): shade for name, shade in TRAINING.items()}


def python(program, *words, before=(), **options):
    """Run a program in a process of its own; what it printed."""
    done = subprocess.run(
        [*before, sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(side):
    """A PNG of so many black rows and columns in a few bytes."""
    packed = zlib.compressobj(9)
    rows = b"".join(packed.compress(bytes(side + 1)) for _ in range(side)) + packed.flush()
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )


MEMORY = """
import resource, sys
from leukonb.data import cohort
most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
cohort.index_cohort(sys.argv[1])
before = most()
found = cohort.index_cohort(sys.argv[2])
print(most() - before, *found.problems[found.problems.refused].path)
"""


@pytest.mark.fault(
    group="data",
    fault="Images that declare 65,535 x 65,535 pixels, or unpack to 150 million",
    injected="the size written into the header of a BMP; a PNG of 147 kB that unpacks to 144 MB",
    promise="named by what they declare, without decoding: memory stays flat",
)
def test_a_declared_size_costs_no_memory(good, tmp_path):
    huge = WHOLE[:18] + struct.pack("<ii", 65535, 65535) + WHOLE[26:]
    bad = put(
        tmp_path / "bad",
        PATHS | {"fold_0/all/UID_101_9_1_all.bmp": huge, "fold_0/all/UID_101_9_2_all.png": bomb(12000)},
    )
    grown, *names = python(MEMORY, good, bad).split()
    assert sorted(names) == ["fold_0/all/UID_101_9_1_all.bmp", "fold_0/all/UID_101_9_2_all.png"]
    assert int(grown) < 60_000, f"{grown} kB"


@pytest.mark.fault(
    group="data",
    fault="A header with any bytes changed, a file cut anywhere",
    injected="changes and cuts drawn by Hypothesis",
    promise="read as it is or refused in one line; nothing is raised",
)
@settings(deadline=None, max_examples=80)
@given(at=st.integers(0, 60), value=st.binary(min_size=1, max_size=4), cut=st.integers(0, len(WHOLE)))
def test_any_header_is_read_or_refused(tmp_path_factory, at, value, cut):
    data = bytearray(WHOLE)
    data[at : at + len(value)] = value
    place = put(
        tmp_path_factory.mktemp("headers"),
        PATHS
        | {
            "fold_0/all/UID_101_9_9_all.bmp": bytes(data)[:cut],
            "fold_0/all/UID_101_9_8_all.bmp": bytes(data),
        },
    )
    found = cohort.index_cohort(place)
    assert len(found.cells) + found.problems.refused.sum() == 6
    assert all(reason.isprintable() for reason in found.problems.reason)
    shutil.rmtree(place)


@pytest.mark.fault(
    group="data",
    fault="Files and folders that may not be read",
    injected="all permissions taken away, as a user without privileges",
    promise="named with what to mend; the rest is kept",
)
def test_unreadable_files_and_folders_are_named(good, tmp_path):
    cohort.index_cohort(good)
    home = Path(tempfile.mkdtemp())
    moved = shutil.copytree(good, home / "cells")
    home.chmod(0o755)
    (moved / "fold_0/all/UID_101_1_1_all.bmp").chmod(0)
    (moved / "fold_1").chmod(0)
    was = os.geteuid()
    try:
        if was == 0:
            os.seteuid(65534)
        named = sorted(cohort.index_cohort(moved).problems.query("refused").path)
    finally:
        os.seteuid(was)
        (moved / "fold_1").chmod(0o755)
        shutil.rmtree(home)
    assert named == ["fold_0/all/UID_101_1_1_all.bmp", "fold_1"]


@pytest.mark.fault(
    group="data",
    fault="The same image in training and in the preliminary test",
    injected="a training image copied among those of the test, under another subject",
    promise="the subjects are one identity, which is left out of training where it is tested on",
)
def test_an_image_in_two_splits_is_found(tmp_path):
    labels = "Patient_ID,new_names,labels\nUID_157_29_1_all.bmp,1.bmp,1\nUID_H149_35_1_hem.bmp,2.bmp,0\n"
    late = "C-NMC_test_prelim_phase_data"
    more = {
        f"fold_2/{kind}/UID_{'H' if kind == 'hem' else ''}{n}_1_1_{kind}.bmp": n
        for n in range(200, 206)
        for kind in ("all", "hem")
    }
    more = {name: n + 40 * ("hem" in name) for name, n in more.items()}
    found = cohort.index_cohort(
        put(tmp_path, PATHS | more | {f"{late}/labels.csv": labels, f"{late}/1.bmp": 1, f"{late}/2.bmp": 12})
    )
    identity = dict(zip(found.cells.subject, found.cells.identity))
    assert identity["157"] == identity["101"]
    asked = splits.split_challenge(found.cells)
    assert set(asked.split[asked.identity == identity["101"]]) == {"test"} and "157" in set(asked.subject)
    whole = splits.split_by_identity(found.cells, 0.5, 0.25, 0.25)
    assert whole[whole.subject.isin(["101", "157"])].split.nunique() <= 1


FOLDERS = {
    "an empty class": (
        {name: n for name, n in PATHS.items() if "hem" in name} | {"fold_0/hem/UID_H109_1_1_hem.bmp": 9},
        [],
        "ALL",
    ),
    "one subject a class": (
        {"fold_0/all/UID_101_1_1_all.bmp": 1, "fold_0/hem/UID_H103_1_2_hem.bmp": 2},
        [],
        "subject",
    ),
    "shares of more than the whole": (PATHS, ["--set", "training.train=0.9"], "at most 1 together"),
    "a bad image": (PATHS | {"fold_0/all/UID_101_9_9_all.bmp": WHOLE[:-1]}, [], "UID_101_9_9_all.bmp"),
}


@pytest.mark.fault(
    group="data",
    fault="A cohort that a study cannot be made of",
    injected="leukonb run quick --data on such a folder",
    promise="one line that says what is missing, exit code 1, no run begun",
)
@pytest.mark.parametrize(
    "case", [pytest.param(c, id=c, marks=[pytest.mark.long] if i > 1 else []) for i, c in enumerate(FOLDERS)]
)
def test_a_study_refuses_what_it_cannot_use(tmp_path, case):
    files, words, says = FOLDERS[case]
    done = leukonb(
        "run", "quick", "--data", put(tmp_path / "cells", files), "--out", tmp_path / "runs", *words
    )
    assert done.returncode == 1 and says in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not list((tmp_path / "runs").rglob("run.json"))


@pytest.mark.fault(
    group="data",
    fault="More subjects asked for than there are",
    injected="a split of 40 subjects from a cohort of 4",
    promise="refused with both numbers",
)
def test_more_subjects_than_there_are(good):
    assert "asks for 20 ALL subjects (20 + 0 + 0), and there are 2" in refusal_line(
        splits.split_by_identity, cohort.index_cohort(good).cells, 40, 0, 0
    )


@pytest.mark.fault(
    group="data",
    fault="A data set changed between two runs of a study",
    injected="one image replaced by another",
    promise="another digest: every run that read it is a new run, and the old ones stay what they are",
)
def test_changed_data_are_other_data(good):
    before = cohort.index_cohort(good).digest
    (good / "fold_1/all/UID_102_3_1_all.bmp").write_bytes(encoded(70))
    after = cohort.index_cohort(good).digest
    (good / "fold_1/all/UID_102_3_1_all.bmp").write_bytes(encoded(3))
    assert before != after and cohort.index_cohort(good).digest == before


STORE = """
import hashlib, shutil, sys, pandas as pd
from pathlib import Path
from types import SimpleNamespace
from leukonb.data import pixels
root, to, size = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
names = sorted(root.glob("*.bmp"))
cells = pd.DataFrame([{"path": p.name, "cell": hashlib.sha256(p.read_bytes()).hexdigest()} for p in names])
print("ready", flush=True)
make = lambda: pixels.decode_cohort(SimpleNamespace(cells=cells, root=root), size, to).digest
"""

FULL = (
    STORE
    + """
measure = shutil.disk_usage
def filled(path):
    # room is there when it is measured, and taken by another before it is used
    free = measure(path)
    (to/"other").write_bytes(bytes(max(0, free.free - 20_000)))
    return free
if "filled" in sys.argv: shutil.disk_usage = filled
try: make()
except Exception as error: print(type(error).__name__, error)
print(*sorted(p.name for p in to.iterdir()))
(to/"other").unlink(missing_ok=True)
shutil.disk_usage = measure
print(make() if "filled" in sys.argv else "")
"""
)


@pytest.mark.fault(
    group="data",
    fault="The disk is full while images are decoded",
    injected="a disk of 1 MB; a disk that another process fills after its room was measured",
    promise="one clear line, no half store, and the process lives; with room made, the store is whole",
)
@pytest.mark.parametrize("case", ["too small", "filled"])
def test_a_real_full_disk_leaves_no_half_store(tmp_path, case):
    images = written(tmp_path / "images", n=40, size=64).root
    (tmp_path / "disk").mkdir()
    size = 128 if case == "too small" else 64
    _, said, left, digest = (
        python(FULL, images, tmp_path / "disk", size, case, before=on_small_disk(tmp_path / "disk", 1)) + "\n"
    ).splitlines()[:4]
    assert said.startswith("Refusal ") and "make room" in said, said
    assert [name for name in left.split() if name.endswith((".u8", ".json", ".tmp"))] == []
    if case == "filled":
        assert digest == python(STORE + "print(make())", images, tmp_path / "store", size).split()[-1]


@pytest.mark.long
@pytest.mark.fault(
    group="data",
    fault="A process that decodes images is killed",
    injected="SIGKILL at 4 seeded moments",
    promise="the next one makes the store whole, with the same digest; nothing of the killed one is left",
)
def test_a_killed_writer_leaves_nothing_in_the_way(tmp_path, moments):
    images = written(tmp_path / "images", n=150, size=450).root
    whole = python(STORE + "print(make())", images, tmp_path / "whole", 96).split()[-1]
    struck = 0
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", STORE + "make()", images, tmp_path / "store", "96"],
            stdout=subprocess.PIPE,
            text=True,
        )
        process.stdout.readline()
        time.sleep(moments.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        struck += process.wait() == -signal.SIGKILL
    assert struck
    assert python(STORE + "print(make())", images, tmp_path / "store", 96).split()[-1] == whole
    assert sorted(p.name for p in (tmp_path / "store").iterdir()) == [
        "pixels-96.json",
        "pixels-96.lock",
        "pixels-96.u8",
    ]


@pytest.mark.fault(
    group="data",
    fault="A disk too small for what a command writes",
    injected="leukonb phantom and leukonb audit --json on a disk of 1 MB",
    promise="one line that says so, exit code 1, nothing half left",
)
@pytest.mark.parametrize("command", ["phantom", "audit"])
def test_commands_on_a_full_disk_end_in_one_line(tmp_path, command, good):
    disk = tmp_path / "disk"
    disk.mkdir()
    words = (
        ["phantom", disk / "cells", "--subjects", "8", "--cells", "4"]
        if command == "phantom"
        else ["audit", good, "--json", disk / "audit.json"]
    )
    script = 'head -c 1048576 /dev/zero > "$0/other" 2>/dev/null; ' if command == "audit" else ""
    script += '"$@"; echo "exit $?"; ls -A "$0"'
    done = subprocess.run(
        [*on_small_disk(disk, 1), "sh", "-c", script, disk, Path(sys.executable).parent / "leukonb", *words],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "exit 1" in done.stdout, done.stdout + done.stderr
    assert (
        done.stderr.count("\n") == 1
        and ("No space left" if command == "audit" else "1 MB are free") in done.stderr
    ), done.stderr
    assert done.stdout.partition("exit 1\n")[2].split() == (["other"] if command == "audit" else [])

"""The pixel store: one winner of two writers, every flipped byte found, faster than decoding by ten times and more."""

import hashlib
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from leukonb.data import phantom, pixels
from leukonb.files import Refusal


def written(folder, n=12, size=120):
    folder.mkdir(parents=True, exist_ok=True)
    rng, rows = np.random.default_rng(0), []
    for i in range(n):
        data = phantom.encode_bmp(rng.integers(0, 256, (size, size, 3)).astype(np.uint8))
        (folder / f"{i}.bmp").write_bytes(data)
        rows.append({"path": f"{i}.bmp", "cell": hashlib.sha256(data).hexdigest()})
    return SimpleNamespace(cells=pd.DataFrame(rows), root=folder)


def test_every_cell_is_its_own_image(tmp_path):
    cohort = written(tmp_path / "images")
    store = pixels.decode_cohort(cohort, 32, tmp_path / "store")
    for row in cohort.cells.itertuples():
        expected = np.asarray(
            Image.open(tmp_path / "images" / row.path).resize((32, 32), Image.Resampling.BILINEAR)
        )
        assert np.array_equal(store.images(pd.DataFrame({"cell": [row.cell]}))[0], expected)


@pytest.mark.parametrize("at", [0, 5000, -1])
@pytest.mark.fault(
    group="data",
    fault="The decoded images on disk have changed",
    injected="a bit flipped at the start, in the middle, at the end",
    promise="found, said, and made anew once",
)
def test_a_flipped_byte_is_found_said_and_mended(tmp_path, capfd, at):
    cohort = written(tmp_path / "images")
    store = pixels.decode_cohort(cohort, 32, tmp_path / "store")
    good, file = store.digest, tmp_path / "store/pixels-32.u8"
    data = bytearray(file.read_bytes())
    data[at] ^= 4
    file.write_bytes(data)
    assert pixels.decode_cohort(cohort, 32, tmp_path / "store").digest == good
    assert "made anew: a byte in it has changed" in capfd.readouterr().err


@pytest.mark.parametrize("harm", ["cut", "gone", "note", "other"])
@pytest.mark.fault(
    group="data",
    fault="The decoded images on disk are cut, gone, of other cells, or their note is",
    injected="the files cut, deleted, replaced",
    promise="made anew, with the same digest",
)
def test_what_is_not_whole_is_made_anew(tmp_path, harm):
    cohort = written(tmp_path / "images")
    good = pixels.decode_cohort(cohort, 32, tmp_path / "store").digest
    file = tmp_path / "store/pixels-32.u8"
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif harm == "gone":
        file.unlink()
    elif harm == "note":
        file.with_suffix(".json").write_text("{")
    else:
        pixels.decode_cohort(
            SimpleNamespace(cells=cohort.cells[:5], root=cohort.root), 32, tmp_path / "store"
        )
    assert pixels.decode_cohort(cohort, 32, tmp_path / "store").digest == good


@pytest.mark.fault(
    group="data",
    fault="Two processes decode the same images at once",
    injected="two processes started together",
    promise="one winner, one store, nothing half left",
)
def test_two_processes_make_one_store(tmp_path):
    written(tmp_path / "images", n=60, size=450)
    program = (
        "import sys, hashlib, pandas as pd; from pathlib import Path; from types import SimpleNamespace; from leukonb.data import pixels;"
        "root = Path(sys.argv[1]); names = sorted(root.glob('*.bmp'));"
        "cells = pd.DataFrame([{'path': p.name, 'cell': hashlib.sha256(p.read_bytes()).hexdigest()} for p in names]);"
        "print(pixels.decode_cohort(SimpleNamespace(cells=cells, root=root), 64, sys.argv[2]).digest)"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", program, tmp_path / "images", tmp_path / "store"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = {p.communicate(timeout=120)[0].strip() for p in both}
    assert len(said) == 1 and len(said.pop()) == 64
    assert not list((tmp_path / "store").glob("*.tmp"))


@pytest.mark.fault(
    group="data",
    fault="An image changed between indexing and decoding",
    injected="one file overwritten",
    promise="refused by name; no store is left",
)
def test_a_file_changed_since_the_index_is_refused_by_name(tmp_path):
    cohort = written(tmp_path / "images")
    (tmp_path / "images/3.bmp").write_bytes((tmp_path / "images/4.bmp").read_bytes())
    with pytest.raises(Refusal, match="3.bmp has changed"):
        pixels.decode_cohort(cohort, 32, tmp_path / "store")
    assert not list((tmp_path / "store").glob("*.u8")) and not list((tmp_path / "store").glob("*.json"))


@pytest.mark.fault(
    group="data",
    fault="Too little room for the decoded images",
    injected="the free space reported as 1,000 bytes",
    promise="refused before anything is written",
)
def test_a_full_disk_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    cohort = written(tmp_path / "images")
    monkeypatch.setattr(pixels.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(Refusal, match="make room"):
        pixels.decode_cohort(cohort, 32, tmp_path / "store")


@pytest.mark.alone
def test_batches_come_ten_times_as_fast_as_decoding(tmp_path):
    cohort = written(tmp_path / "images", n=150, size=450)
    store = pixels.decode_cohort(cohort, 96, tmp_path / "store")

    def decoding():
        began = time.perf_counter()
        for row in cohort.cells.itertuples():
            pixels.decode_image((tmp_path / "images" / row.path).read_bytes(), 96)
        return len(cohort.cells) / (time.perf_counter() - began)

    def batches():
        began, seen = time.perf_counter(), 0
        for _ in range(20):
            for batch in store.batches(cohort.cells, 32):
                seen += len(batch)
        return seen / (time.perf_counter() - began)

    ratio = max(batches() for _ in range(3)) / max(decoding() for _ in range(3))
    assert ratio >= 10, ratio

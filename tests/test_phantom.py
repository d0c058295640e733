"""The synthetic cohort: like the real one, the same bytes for the same arguments, and nothing but a phantom overwritten."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import ks_2samp

from leukonb.data.morphology import measure_cells, quantile_distances
from leukonb.data.phantom import (
    Effects,
    draw_cell,
    draw_cohort,
    draw_traits,
    make_generator,
    plan_cells,
    sample_cohort,
)
from leukonb.files import Refusal, read_json


@pytest.fixture(scope="module")
def measured():
    images, table = sample_cohort(subjects=24, cells=6, size=450)
    return pd.concat([table, measure_cells(images)], axis=1)


def content(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_like_the_released_quantiles(measured):
    assert quantile_distances(measured).max(axis=None) <= 0.35


def test_like_the_images_of_a_sample(measured, sample):
    paths = sorted(sample.folder.rglob("UID_*.bmp"))
    real = measure_cells(np.asarray(Image.open(p).convert("RGB")) for p in paths)
    label = np.array([p.stem[-3:].upper() for p in paths])
    far = {
        (name, of): ks_2samp(real[name][label == of], measured[name][measured.label == of]).statistic
        for name in real
        for of in ("ALL", "HEM")
    }
    assert max(far.values()) <= 0.35, max(far, key=far.get)


def test_released_layout_and_files(tmp_path):
    folder = draw_cohort(tmp_path / "p", subjects=12, cells=4, size=50, duplicates=3, progress=False)
    images = sorted(folder.rglob("*.bmp"))
    marker = read_json(folder / "PHANTOM.json")
    assert marker["images"] == len(images) == 12 * 4 + 3 and marker["parameters"]["seed"] == 0
    late = pd.read_csv(folder / "C-NMC_Leukemia/C-NMC_test_prelim_phase_data_labels.csv")
    assert list(late) == ["Patient_ID", "new_names", "labels"] and set(late.labels) == {0, 1}
    assert all(
        (folder / "C-NMC_Leukemia/C-NMC_test_prelim_phase_data" / name).is_file() for name in late.new_names
    )
    assert all(p.stat().st_size == 54 + 50 * 152 and Image.open(p).size == (50, 50) for p in images)
    assert {p.parent.name for p in images if p.name.startswith("UID")} == {"all", "hem"}


def test_duplicates_stand_under_two_subjects_of_a_class_in_two_folds(tmp_path):
    folder = draw_cohort(tmp_path / "p", subjects=12, cells=6, size=48, duplicates=5, progress=False)
    same = (
        pd.DataFrame(
            [
                (p.read_bytes(), p.name.split("_")[1], p.parent.name, p.parts[-3])
                for p in folder.rglob("UID_*.bmp")
            ],
            columns=["bytes", "subject", "label", "fold"],
        )
        .groupby("bytes")
        .filter(lambda g: len(g) > 1)
        .groupby("bytes")
    )
    assert len(same) == 5
    assert (
        (same.subject.nunique() == 2).all()
        and (same.label.nunique() == 1).all()
        and (same.fold.nunique() == 2).all()
    )


def test_same_arguments_same_bytes(tmp_path):
    one = content(draw_cohort(tmp_path / "one", subjects=6, cells=4, size=64, workers=1, progress=False))
    assert one == content(
        draw_cohort(tmp_path / "three", subjects=6, cells=4, size=64, workers=3, progress=False)
    )
    assert one != content(draw_cohort(tmp_path / "one", subjects=6, cells=4, size=64, seed=1, progress=False))


@pytest.mark.parametrize("subjects", [4, 5, 6, 8, 10, 24, 101])
def test_plan(subjects):
    table = plan_cells(subjects, 9, seed=3)
    people = table.drop_duplicates("subject")
    assert len(table) == 9 * subjects and len(people) == subjects and people.label.value_counts().min() >= 2
    assert not table.duplicated(["subject", "image", "number"]).any()
    training = people[people.part == "training"].label.value_counts()
    assert (training >= np.minimum(3, people.label.value_counts())).all()
    assert (table.groupby("subject").part.nunique() == 1).all() and table.fold.isna().eq(
        table.part == "preliminary"
    ).all()


def test_no_class_effect_is_no_difference():
    null = Effects().null
    for subject in range(5):
        ill, well = (draw_traits(make_generator(7, subject), label, null) for label in ("ALL", "HEM"))
        assert ill == well
    none = Effects(*[0.0] * 8)
    assert len({tuple(draw_traits(make_generator(7, s), "HEM", none).values()) for s in range(5)}) == 1


def test_cells_on_exact_black():
    trait = draw_traits(make_generator(0, 0), "ALL")
    images = [draw_cell(make_generator(0, 0, k), trait, 97) for k in range(200)]
    assert all(0.05 < i.any(-1).mean() < 0.6 for i in images)
    touching = np.mean([bool(i[[0, -1]].any() or i[:, [0, -1]].any()) for i in images])
    assert 0 < touching < 0.1


@pytest.mark.parametrize(
    "options",
    [
        dict(subjects=3),
        dict(cells=0),
        dict(size=47),
        dict(seed=-1),
        dict(size=64.0),
        dict(duplicates=-1),
        dict(duplicates=999),
        dict(workers=0),
        dict(cells=5000, subjects=5000, size=2048),
    ],
)
def test_refusals(tmp_path, options):
    with pytest.raises(Refusal) as refusal:
        draw_cohort(tmp_path / "p", **{"subjects": 4, "cells": 1, "size": 48, "progress": False} | options)
    assert "\n" not in str(refusal.value) and not list(tmp_path.iterdir())


def test_keeps_what_is_not_a_phantom(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(Refusal, match="holds no phantom"):
        draw_cohort(tmp_path, subjects=4, cells=1, size=48)
    with pytest.raises(Refusal, match="is a file"):
        draw_cohort(tmp_path / "mine.txt", subjects=4, cells=1, size=48)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("value", [-1, float("nan"), "big", 5])
def test_effects_are_numbers(value):
    with pytest.raises(Refusal):
        Effects(size=value)

"""Hand-made features: unmoved by what they should not see, finite on real cells; classifiers that see no test cell."""

import numpy as np
import pandas as pd
import pytest

from leukonb.data import pixels
from leukonb.evidence import metrics, predictions
from leukonb.files import Refusal
from leukonb.model import classical


@pytest.fixture(scope="module")
def cell():
    """One cell with a wide black margin, 160 pixels."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[-80:80, -80:80]
    radius = 40 + 5 * np.cos(3 * np.arctan2(y, x))
    image = rng.integers(40, 90, (160, 160, 3)).astype(np.uint8)
    return np.where((np.hypot(x, y) < radius)[..., None], image, np.uint8(0))


def groups(found, *names):
    return {k: v for k, v in found.items() if k.split(".")[0] in names}


def test_a_cell_moved_in_its_frame_differs_in_background_alone(cell):
    here, moved = (
        classical.measure_features(cell),
        classical.measure_features(np.roll(cell, (9, -14), (0, 1))),
    )
    others = [g for g in classical.GROUPS if g != "background"]
    assert groups(moved, *others) == pytest.approx(groups(here, *others), rel=1e-6, abs=1e-6)
    assert moved["background.right"] - here["background.right"] == pytest.approx(-14 / 160, abs=1e-6)


def test_a_cell_turned_by_a_quarter_keeps_size_colour_and_outline(cell):
    here, turned = classical.measure_features(cell), classical.measure_features(np.rot90(cell).copy())
    assert groups(turned, "size", "colour", "outline") == pytest.approx(
        groups(here, "size", "colour", "outline"), rel=2e-3, abs=2e-3
    )


def test_size_and_outline_see_no_colour(cell):
    tinted = np.where(
        cell.any(-1, keepdims=True), np.maximum(cell // 2, 1) + np.uint8([40, 0, 20]), np.uint8(0)
    ).astype(np.uint8)
    here, other = classical.measure_features(cell), classical.measure_features(tinted)
    mask = {k: v for k, v in groups(here, "size", "outline", "background").items() if k != "size.nucleus"}
    assert {k: other[k] for k in mask} == mask
    assert other["colour.mean_red"] != here["colour.mean_red"]


def test_crumbs_and_the_border_are_background(cell):
    touched = np.roll(cell, 45, 0)
    touched[:, :3] = 0
    touched[5:8, 5:8] = 120
    found = classical.measure_features(touched)
    assert found["background.crumbs"] >= 1 and found["background.edge"] > 0
    assert (
        classical.measure_features(cell)["background.crumbs"]
        == classical.measure_features(cell)["background.edge"]
        == 0
    )


def test_two_processes_measure_what_one_does(cell):
    images = np.stack([np.roll(cell, k, 0) for k in range(5)])
    rows = pd.DataFrame({"cell": list("abcde")})
    store = pixels.from_arrays(images, rows)
    one, two = (classical.features_of_cells(store, rows, jobs=n, progress=False, batch=2) for n in (1, 2))
    pd.testing.assert_frame_equal(one, two)


def test_cells_of_a_sample_have_finite_features(sample):
    paths = sorted(sample.folder.rglob("*.bmp"))[:6]
    assert paths
    for path in paths:
        assert all(
            np.isfinite(v)
            for v in classical.measure_features(pixels.decode_image(path.read_bytes(), 225)).values()
        ), path.name


def world(people=20, cells=12, seed=0):
    """Features of which one tells classes apart, and rows of a split."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.where(np.arange(people) % 2, "HEM", "ALL"), cells)
    names = np.repeat([f"s{i}" for i in range(people)], cells)
    rows = pd.DataFrame(
        {
            "cell": [f"c{i}" for i in range(len(label))],
            "subject": names,
            "identity": names,
            "label": label,
            "split": np.where(np.repeat(np.arange(people), cells) < people * 0.6, "train", "test"),
        }
    )
    values = pd.DataFrame(
        {
            "size.area": rng.normal(label == "ALL", 1.0),
            "background.right": rng.normal(size=len(label)),
            "colour.mean_red": 7.0,
        },
        index=rows.cell,
    )
    return values, rows


@pytest.mark.parametrize("family", classical.FAMILIES)
def test_a_cue_is_found_and_noise_is_not(family):
    values, rows = world()
    learning, asked = (rows[rows.split == part] for part in ("train", "test"))
    found = {}
    for group in ("size", "background"):
        table = predictions.tabulate_scores(
            asked,
            classical.score_cells(classical.fit_classifier(values, learning, family, [group]), values, asked),
            family,
        )
        found[group] = metrics.compute_scores(table)["auroc"]
    assert found["size"] > 0.65 > 0.62 > found["background"] > 0.38


def test_the_same_seed_gives_the_same_scores():
    values, rows = world()
    for family in classical.FAMILIES:
        one, two = (
            classical.score_cells(
                classical.fit_classifier(values, rows[rows.split == "train"], family, seed=4), values, rows
            )
            for _ in range(2)
        )
        assert (one == two).all()


def test_calibration_holds_out_whole_identities():
    _, rows = world(people=8)
    for learning, held in classical.identity_folds(rows, 0):
        assert not set(rows.identity.iloc[learning]) & set(rows.identity.iloc[held])


def test_what_cannot_be_fitted_is_refused():
    values, rows = world()
    with pytest.raises(Refusal, match="both ALL and HEM"):
        classical.fit_classifier(values, rows[rows.label == "ALL"])
    with pytest.raises(Refusal, match="2 training identities"):
        classical.fit_classifier(values, rows[rows.identity.isin(["s0", "s1", "s2"])], "svm")
    with pytest.raises(Refusal, match="choose from size"):
        classical.fit_classifier(values, rows, groups=["texture"])
    with pytest.raises(Refusal, match="no feature group is named"):
        classical.fit_classifier(values, rows, groups=[])

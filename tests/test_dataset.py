"""The audit of images: what is planted is found, and little is found where nothing is."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage

from leukonb.data import cohort, doubts, duplicates, phantom, pixels
from leukonb.files import Refusal
from leukonb.pages import dataset

SIZE, LEAST = 160, 0.87


def audited(images, rows, seed=0):
    """Everything the experiment computes, of images in memory."""
    px = pixels.from_arrays(images, rows)
    features, measures, unrolls = dataset.prepare_cells(px, rows, jobs=1)
    pairs = dataset.propose_doubles(duplicates.hash_images(images), unrolls, rows)
    score = dataset.score_out_of_fold(features, rows, "logistic regression", seed=seed)
    compared, apart = (
        duplicates.confirm_pairs(pairs, unrolls),
        dataset.compare_neighbours(unrolls, rows.label),
    )
    return {
        "features": features,
        "measures": measures,
        "compared": compared,
        "apart": apart,
        "score": score,
        "same": dataset.find_copies(compared, rows, LEAST),
        "found": dataset.list_questionable(features, measures, rows, 5.0, score),
    }


def shrunk(images):
    """Images at half their size."""
    return np.asarray(images).reshape(-1, SIZE, 2, SIZE, 2, 3).mean((2, 4)).astype(np.uint8)


@pytest.fixture(scope="module")
def drawn():
    """Drawn cells at twice the size at which they are measured."""
    return phantom.sample_cohort(
        24, seed=5, size=2 * SIZE, cells=8, effects=phantom.Effects(size=2, chromatin=2, outline=0)
    )


@pytest.fixture(scope="module")
def clean(drawn):
    """Those that are not cut by the frame."""
    images, cells = shrunk(drawn[0]), drawn[1]
    inside = np.array([not (i[0].any() or i[-1].any() or i[:, 0].any() or i[:, -1].any()) for i in images])
    rows = cells[inside].reset_index(drop=True).assign(identity=lambda t: t.subject, path=lambda t: t.cell)
    return images[inside], rows


@pytest.fixture(scope="module")
def plain(clean):
    return audited(*clean)


def test_nothing_planted_is_hardly_ever_found(clean, plain):
    images, rows = clean
    assert (
        len(plain["same"]) == 0
        and (plain["apart"].correlation < LEAST).all()
        and len(plain["compared"]) > 200
    )
    why = plain["found"].groupby("reason").row.nunique()
    assert set(why.index) <= {"unusual size", "unusual colour", "label"}
    assert why.drop("label", errors="ignore").sum() <= 0.02 * len(rows)
    assert why.get("label", 0) <= 0.1 * len(rows)


@pytest.fixture(scope="module")
def planted(clean, drawn):
    """The same with a turned, brightened copy under another subject, a neighbour in the mask, a cell moved to the frame, and a hole."""
    images, rows = clean
    large = drawn[0][list(drawn[1].cell).index(rows.cell[3])]
    turned = shrunk(
        np.clip(ndimage.rotate(large, 65, reshape=False, order=1)[:, ::-1] * 1.1, 0, 255).astype(np.uint8)
    )[0]
    small = [np.asarray(Image.fromarray(images[k]).resize((80, 80))) for k in (10, 11)]
    two = np.zeros_like(images[0])
    two[40:120, :80] = small[0]
    reach = np.flatnonzero(two.any((0, 2)))[-1] - np.flatnonzero(small[1].any((0, 2)))[0]
    two[40:120, reach - 2 : reach + 78] = np.maximum(two[40:120, reach - 2 : reach + 78], small[1])
    cut, hole = np.zeros_like(images[0]), images[21].copy()
    cut[:, :100] = images[20][:, 60:]
    hole[74:88, 74:88] = 0
    some = rows.iloc[[3, 10, 20, 21]].assign(
        cell=["turned", "two", "cut", "hole"], path=["turned", "two", "cut", "hole"]
    )
    some.loc[some.cell == "turned", ["subject", "identity"]] = "another"
    return np.concatenate([images, [turned, two, cut, hole]]), pd.concat([rows, some], ignore_index=True)


@pytest.fixture(scope="module")
def seen(planted):
    return audited(*planted)


def test_a_turned_mirrored_and_brightened_copy_is_found_and_its_turn_known(planted, seen):
    rows = planted[1]
    pair = seen["same"][rows.cell.to_numpy()[seen["same"].b] == "turned"]
    assert len(pair) == 1 and pair.a.iloc[0] == 3 and pair.mirrored.iloc[0]
    assert pair.joins.iloc[0].startswith("two subjects") and "chromatin" in pair.by.iloc[0]
    back = duplicates.overlay_cell(planted[0][3], planted[0][pair.b.iloc[0]], pair.turned.iloc[0], True)
    both = planted[0][3].any(-1) & back.any(-1)
    assert np.corrcoef(planted[0][3][both].ravel(), back[both].ravel())[0, 1] > 0.95
    told = dataset.list_audit_findings(
        seen["same"], seen["compared"], seen["apart"], seen["found"], rows, LEAST, seen["score"]
    )
    assert any(f"{pair.subject_a.iloc[0]} and another" in s for s in told)


@pytest.mark.parametrize(
    "cell, reason", [("two", "more than one body"), ("cut", "cut by the frame"), ("hole", "holes")]
)
def test_each_planted_flaw_is_named(planted, seen, cell, reason):
    found = seen["found"]
    assert reason in set(found.reason[found.cell == cell])
    assert set(found.cell[found.reason == reason]) == {cell}


def test_a_frame_nearly_empty_and_a_cell_of_another_size_or_colour_are_named():
    rng = np.random.default_rng(0)
    measures = pd.DataFrame(
        {"neck": 1.0, "second": 0.0, "edge": 0.0, "holes": 0.0, "filled": [0.15] * 99 + [0.01]}
    )
    area, colour = rng.normal(3e4, 2e3, 100), rng.normal(50, 2, (100, 3))
    area[5], colour[7, 2] = 9e4, 90
    found = doubts.list_reasons(measures, area, colour, ["ALL"] * 50 + ["HEM"] * 50)
    assert set(zip(found.row, found.reason)) == {
        (5, "unusual size"),
        (7, "unusual colour"),
        (99, "next to nothing"),
    }


def test_most_swapped_labels_are_suspected(clean, plain):
    rows, features, given = clean[1], plain["features"], clean[1].label.copy()
    sure = np.flatnonzero(~dataset.suspect_labels(plain["score"], given))
    swap = np.random.default_rng(1).choice(sure, 8, replace=False)
    given.iloc[swap] = given.iloc[swap].map({"ALL": "HEM", "HEM": "ALL"})
    after = dataset.suspect_labels(
        dataset.score_out_of_fold(features, rows.assign(label=given), "logistic regression"), given
    )
    assert after[swap].mean() > 0.5 and np.delete(after, swap).mean() <= 0.12


def test_one_cell_under_two_labels_is_said(planted):
    images, rows = planted
    rows = rows.copy()
    rows.loc[rows.cell == "turned", "label"] = {"ALL": "HEM", "HEM": "ALL"}[rows.label[3]]
    unrolls = [duplicates.unroll(i) for i in images]
    compared = duplicates.confirm_pairs(
        pd.DataFrame({"a": [3], "b": [int(np.flatnonzero(rows.cell == "turned")[0])], "by": "chromatin"}),
        unrolls,
    )
    same = dataset.find_copies(compared, rows, LEAST)
    said = dataset.list_audit_findings(
        same, compared, compared.iloc[:0], pd.DataFrame({"row": [], "reason": []}), rows, LEAST
    )
    wrong = "1 of the pairs beyond the line has two labels, which no cell has: a wrong label, or strangers that are alike."
    assert wrong in said


def test_the_pairs_of_a_sample_are_found_and_no_two_classes_are_one_cell(known_sample, tmp_path):
    data = cohort.index_cohort(known_sample.folder)
    rows = data.cells.drop_duplicates("cell").reset_index(drop=True)
    images = pixels.decode_cohort(data, 225, tmp_path, progress=False).images(rows)
    unrolls = [duplicates.unroll(i) for i in images]
    compared = duplicates.confirm_pairs(
        dataset.propose_doubles(duplicates.hash_images(images), unrolls, rows), unrolls
    )
    same = dataset.find_copies(compared, rows, LEAST)
    assert {frozenset((a, b)) for a, b in zip(same.subject_a, same.subject_b)} == known_sample.near
    assert len(same) == known_sample.pairs
    hashed = compared[compared.by.str.contains("hash")]
    assert (hashed.correlation >= LEAST).sum() == known_sample.hashed
    assert dataset.compare_neighbours(unrolls, rows.label).correlation.max() < LEAST
    two = rows.subject[[doubts.measure_doubts(i)["neck"] <= doubts.LIMITS["neck"] for i in images]]
    assert set(two) == known_sample.touching


def test_features_of_a_frozen_network_place_the_cells(clean, tmp_path):
    images, rows = clean
    small = np.stack([np.asarray(Image.fromarray(i).resize((48, 48))) for i in images[:20]])
    points, said = dataset.embed_cells(
        None, pixels.from_arrays(small, rows.head(20)), rows.head(20), tmp_path, "small"
    )
    assert points.shape == (20, 160) and "small" in said and np.isfinite(points).all()


def test_what_cannot_be_audited_is_refused(clean):
    rows = clean[1]
    with pytest.raises(Refusal, match="2 of each are needed"):
        dataset.score_out_of_fold(None, rows[rows.label == "ALL"])
    with pytest.raises(Refusal, match="give cells of both classes"):
        dataset.compare_neighbours([duplicates.unroll(clean[0][0])], ["ALL"])
    with pytest.raises(Refusal, match="choose t-SNE or PCA"):
        dataset.lay_out(np.zeros((4, 2)), "UMAP")

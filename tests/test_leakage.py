"""What a split gives away: copies are pictures of their own, intervals cover, and a network that remembers people is found out."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from leukonb.data import cohort as cohorts, phantom, pixels, splits
from leukonb.evidence import predictions
from leukonb.files import Refusal
from leukonb.model import augment, heads, network, training
from leukonb.pages import leakage
from leukonb.runs.study import index_study_cohort, load_study


def cells_of(subjects=10, each=5, size=32):
    rng = np.random.default_rng(1)
    images = rng.integers(40, 220, (subjects * each, size, size, 3)).astype(np.uint8)
    names = [f"{'H' if i % 5 > 2 else ''}{i}" for i in range(subjects)]
    table = pd.DataFrame(
        {"cell": [hashlib.sha256(i).hexdigest() for i in images], "subject": np.repeat(names, each)}
    )
    table = table.assign(
        identity=table.subject,
        path=table.cell,
        label=np.where(table.subject.str.startswith("H"), "HEM", "ALL"),
    )
    return table, pixels.from_arrays(images, table)


def test_a_copy_is_one_picture_in_every_iteration_and_not_its_cell():
    cells, store = cells_of()
    pools = [splits.split_by_copies(cells, 0.6, 0.2, 0.2, seed=4, iteration=i, copies=1.5) for i in range(2)]
    copies = pools[0][pools[0].cell != pools[0].original]
    assert splits.digest_split(pools[0]) != splits.digest_split(pools[1])
    first, second = (training.pool_copies(store, pool, "paper", seed=4) for pool in pools)
    assert np.array_equal(first.images(copies), second.images(copies))
    assert np.array_equal(first.images(cells), store.images(cells))
    cell = store.images(copies[["original"]].set_axis(["cell"], axis=1))
    assert (first.images(copies) != cell).any(axis=(1, 2, 3)).all()
    assert not np.array_equal(
        training.pool_copies(store, pools[0], "paper", seed=5).images(copies), first.images(copies)
    )
    some = copies.iloc[:3]
    by_hand = augment.apply_parameters(
        store.images(some[["original"]].set_axis(["cell"], axis=1)),
        augment.draw_parameters("paper", 4, 2**32, some.cell),
    )
    assert np.array_equal(first.images(some), np.asarray(by_hand).round().astype(np.uint8))


def test_a_copy_that_mixes_two_cells_is_refused():
    cells, store = cells_of()
    with pytest.raises(Refusal, match="which mixes two cells"):
        training.pool_copies(store, splits.split_by_copies(cells, 0.6, 0.2, 0.2), "mixup")


def scores(gain, people, arm, iteration, rng, spread=1.0):
    """Predictions of ten cells of each of some people, who differ by `spread`."""
    label = np.where(np.asarray(people) % 2, "HEM", "ALL").repeat(10)
    by_person = np.random.default_rng(0).normal(size=1000)[people].repeat(10)
    logit = np.where(label == "ALL", gain, -gain) + spread * by_person + rng.normal(size=len(label))
    return predictions.check_table(
        pd.DataFrame(
            {
                "subject": [f"p{i}" for i in np.repeat(people, 10)],
                "label": label,
                "score": 1 / (1 + np.exp(-logit)),
                "arm": arm,
                "iteration": iteration,
            }
        )
    )


def drawn(gains, iterations=4, people=40, seed=0):
    rng, found = np.random.default_rng(seed), []
    for i in range(iterations):
        order = rng.permutation(people)
        order = (
            np.concatenate([order[order % 2 == k][: people // 4] for k in (0, 1)]),
            np.concatenate([order[order % 2 == k][people // 4 :] for k in (0, 1)]),
        )
        found += [
            (scores(g, order[0], u, i, rng), scores(0.3, order[1], u, i, rng)) for u, g in gains.items()
        ]
    return tuple(predictions.concatenate_tables(t) for t in zip(*found))


def test_scores_are_scikit_learn_s_and_their_means():
    own, apart = drawn({"image": 1.0, "identity": 0.3})
    found = (
        leakage.measure_optimism(leakage.resample_scores(own, apart, resamples=200))
        .set_index(["unit", "what"])
        .value
    )
    from sklearn.metrics import roc_auc_score

    def mean(table, unit):
        each = table[table.arm == unit].groupby("iteration")
        return np.mean([roc_auc_score(t.label == "ALL", t.score) for _, t in each])

    for unit in ("image", "identity"):
        assert found[unit, "claimed"] == pytest.approx(mean(own, unit)) and found[
            unit, "honest"
        ] == pytest.approx(mean(apart, unit))
        assert found[unit, "given away"] == pytest.approx(mean(own, unit) - mean(apart, unit))


def test_intervals_of_no_leak_hold_zero_as_often_as_they_say():
    holds = []
    for seed in range(30):
        rng = np.random.default_rng([seed, 7])
        people, later = rng.permutation(50), []
        effect = rng.normal(size=50)

        def one(some, i):
            label = np.where(some % 2, "HEM", "ALL").repeat(4)
            logit = np.where(label == "ALL", 0.5, -0.5) + effect[some].repeat(4) + rng.normal(size=len(label))
            return predictions.check_table(
                pd.DataFrame(
                    {
                        "subject": [f"p{k}" for k in some.repeat(4)],
                        "label": label,
                        "score": 1 / (1 + np.exp(-logit)),
                        "arm": "identity",
                        "iteration": i,
                    }
                )
            )

        for i in range(2):
            order = rng.permutation(people)
            later.append((one(order[:20], i), one(order[20:50], i)))
        own, apart = (predictions.concatenate_tables(t) for t in zip(*later))
        gap = (
            leakage.measure_optimism(leakage.resample_scores(own, apart, resamples=200, seed=seed))
            .set_index("what")
            .loc["given away"]
        )
        holds.append(gap.low <= 0 <= gap.high)
    assert np.mean(holds) >= 0.8


def test_a_leak_is_found_and_no_order_is_claimed_where_there_is_none():
    own, apart = drawn({"copies": 2.0, "image": 2.0, "identity": 0.3})
    found = leakage.resample_scores(own, apart, resamples=400)
    rows, steps = leakage.measure_optimism(found), leakage.compare_steps(found)
    said = leakage.describe_findings(rows, steps)
    assert "given away by the split" in said[0] and "not distinguishable from 0" in said[2]
    assert any(s.startswith("In this order") and "image before identity" in s for s in said)
    assert any(s.startswith("Not distinguishable") and "image, over copies and image" in s for s in said)


@pytest.mark.parametrize(
    "change, said",
    [
        (dict(iterations=1), "at least 2"),
        (dict(how=leakage.Protocol(reserved=0.0)), "reserve a share"),
        (dict(units=["fold"]), "units names 'fold'"),
        (dict(how=leakage.Protocol(reserved=0.9)), "would get no"),
        (dict(how=leakage.Protocol(copies=-1.0)), "give how many copies"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_a_training(change, said, tmp_path, monkeypatch):
    cells, store = cells_of()
    monkeypatch.setattr(training, "train_network", lambda *a, **k: pytest.fail("a network was trained"))
    given = dict(how=leakage.Protocol(), iterations=2, units=["copies", "identity"]) | change
    with pytest.raises(Refusal, match=said):
        leakage.train_networks(
            cells,
            store,
            network.Network("small", size=32),
            training.TrainingRecipe(),
            folder=tmp_path,
            **given,
        )


def test_effects_of_the_synthetic_cohort_are_stated_by_the_study(tmp_path):
    study = load_study("leakage")
    study.phantom = {**study.phantom, "subjects": 8, "cells": 2, "duplicates": 2}
    table, _ = index_study_cohort(study, tmp_path)
    said = leakage.describe_truth(table)
    assert f"stain {study.phantom['effects']['stain']:g}, focus 1" in said[1] and "size 0.5" in said[1]
    assert said[0].startswith("2 of 16 images stand under more than one subject")
    for effects, line in (
        ({"stian": 2.0}, "no effect 'stian' .did you mean 'stain'"),
        (3, "a mapping of names to strengths"),
        ({"stain": 9.0}, "not a number from 0 to 4"),
    ):
        study.phantom["effects"] = effects
        with pytest.raises(Refusal, match=line):
            index_study_cohort(study, tmp_path)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """The study's own kind of people, fewer of them, with pictures under two numbers."""
    place, effects = tmp_path_factory.mktemp("people"), load_study("leakage").phantom["effects"]
    phantom.draw_cohort(
        place / "images",
        subjects=120,
        cells=8,
        size=64,
        seed=1,
        duplicates=200,
        effects=phantom.Effects(**effects),
        progress=False,
    )
    data = cohorts.index_cohort(place / "images")
    return data.cells, pixels.decode_cohort(data, 32, place / "pixels", progress=False)


def test_a_split_by_image_gives_away_what_one_by_identity_does_not(people, tmp_path):
    """People differ more than classes do: heads that remember them are found out by people in no part of the split."""
    cells, store = people
    recipe = heads.HeadRecipe(
        units=(128, 64),
        dropouts=(0.0, 0.0, 0.0),
        batch=32,
        epochs=12,
        patience=12,
        peak=0.003,
        alpha=(0.5, 0.5),
    )
    own, apart = leakage.train_all_heads(
        cells,
        leakage.compute_features(store, network.Network("small", size=32), tmp_path),
        recipe,
        leakage.Protocol(),
        False,
        8,
        tmp_path,
    )
    gap = (
        leakage.measure_optimism(leakage.resample_scores(own, apart, resamples=400))
        .set_index(["what", "unit"])
        .loc["given away"]
    )
    print(gap)
    assert gap.low["copies"] > 0 and gap.low["image"] > 0 and gap.low["identity"] < 0 < gap.high["identity"]
    assert min(gap.value["copies"], gap.value["image"]) > gap.value["identity"] + 0.05


def test_heads_are_asked_about_their_own_test_part_and_the_reserved(people, tmp_path):
    cells, store = people
    recipe, how = heads.HeadRecipe(units=(8,), dropouts=(0.0, 0.0), epochs=1), leakage.Protocol(seed=3)
    find = leakage.compute_features(store, network.Network("small", size=32), tmp_path)
    own, apart = leakage.train_all_heads(cells, find, recipe, how, True, 2, tmp_path, ["copies", "subject"])
    for unit in ("copies", "subject"):
        for i in range(2):
            split, reserved = how.draw(cells, unit, i)
            some = [set(t[(t.arm == unit) & (t.iteration == i)].cell) for t in (own, apart)]
            assert some == [set(split[split.split == "test"].cell), set(reserved.cell)]


def test_a_measurement_that_is_done_is_not_done_again(tmp_path, monkeypatch):
    cells, store = cells_of()
    given = (
        cells,
        store,
        network.Network("small", size=32, head=(8,), dropouts=(0.1, 0.1)),
        training.TrainingRecipe(batch=8, epochs=1),
        leakage.Protocol(test=0.25),
        "copies",
        0,
        tmp_path,
    )
    first = leakage.train_and_score(*given)
    monkeypatch.setattr(training, "_learn", lambda *a, **k: pytest.fail("trained again"))
    assert all(a.equals(b) for a, b in zip(first, leakage.train_and_score(*given)))

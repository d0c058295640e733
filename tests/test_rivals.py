"""Costs are those of the published networks and of TensorFlow's own count; rivals meet on the same cells."""

import keras
import numpy as np
import pandas as pd
import pytest

from leukonb.evidence import predictions
from leukonb.files import Refusal, write_json
from leukonb.model import network
from leukonb.pages import rivals, shortcuts
from leukonb.runs.study import apply_settings, load_study, plan_study, shrink_to_smoke


@pytest.mark.parametrize(
    "name, size, published",
    [
        ("VGG16", 224, 15.5e9),
        ("DenseNet121", 224, 2.87e9),
        ("ConvNeXtTiny", 224, 4.47e9),
        ("EfficientNetV2B0", 224, 0.72e9),
    ],
)
def test_multiply_adds_of_published_networks(name, size, published):
    made = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3))
    assert rivals.count_multiply_adds(made) == pytest.approx(published, rel=0.04)


def test_multiply_adds_by_hand_of_every_kind_of_layer():
    inputs = keras.Input((10, 10, 8))
    x = keras.layers.Conv2D(16, 3, strides=2, groups=4)(inputs)  # 4 x 4 positions
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.SeparableConv2D(32, 3, padding="same")(x)
    x = keras.layers.Dense(5)(x)
    expected = 16 * (9 * 2 * 16 + 9 * 16 + (9 * 16 + 16 * 32) + 32 * 5)
    assert rivals.count_multiply_adds(keras.Model(inputs, x)) == expected


def test_attention_costs_its_two_dense_layers():
    nets = [
        network.build_network(network.Network("small", size=32, attention=a, head=(8,), dropouts=(0.1, 0.1)))
        for a in (True, False)
    ]
    assert rivals.count_multiply_adds(nets[0]) - rivals.count_multiply_adds(nets[1]) == 2 * 160 * 10


def test_a_network_read_from_its_file_counts_the_same(tmp_path):
    made = network.build_network(
        network.Network("small", size=32, attention=True, head=(8,), dropouts=(0.1, 0.1))
    )
    read = network.load_model(tmp_path / "model.keras", network.save_model(made, tmp_path / "model.keras"))
    assert rivals.count_multiply_adds(read) == rivals.count_multiply_adds(made)


def test_the_time_is_the_median_without_the_first_call(monkeypatch):
    clock = iter([0, 10, 10, 12, 12, 112])  # calls of 10, 2 and 100 seconds
    monkeypatch.setattr(rivals.time, "perf_counter", lambda: next(clock))
    calls = []
    assert rivals.time_per_cell(lambda: calls.append(1), cells=5, repeats=3) == 2
    assert len(calls) == 4


def run_of(folder, cells, **given):
    write_json(
        folder / "run.json",
        {"name": folder.name, "key": "k", "experiment": "training", "inputs": {"parameters": given}},
    )
    rng = np.random.default_rng(len(given))
    names = np.repeat([f"s{i}" for i in range(6)], 4)
    rows = pd.DataFrame(
        {
            "cell": [f"c{i}" for i in range(24)],
            "subject": names,
            "label": np.where(np.repeat(np.arange(6), 4) % 2, "HEM", "ALL"),
            "score": rng.uniform(size=24),
            "split": np.where(np.repeat(np.arange(6), 4) < 2, "validation", "test"),
        }
    )
    predictions.write_predictions(folder / "predictions.parquet", rows.iloc[cells])
    return folder


def test_rivals_are_named_and_only_their_test_part_is_judged(tmp_path):
    every = slice(None)
    runs = [
        run_of(tmp_path / "a", every, backbone="small", attention=True),
        run_of(tmp_path / "b", every, backbone="VGG16", attention=False),
        run_of(tmp_path / "c", every, backbone="VGG16", arm="mine"),
        run_of(tmp_path / "d", every, family="svm"),
    ]
    table = rivals.gather_rivals(runs)
    assert list(table.arm.unique()) == ["small network with SE", "VGG16", "mine", "svm"]
    assert set(table.split) == {"test"} and len(table) == 4 * 16


def test_rivals_that_scored_other_cells_are_refused(tmp_path):
    runs = [
        run_of(tmp_path / "a", slice(None), family="svm"),
        run_of(tmp_path / "b", slice(0, 22), family="logistic regression"),
    ]
    with pytest.raises(Refusal, match="same split, split_seed and iteration"):
        rivals.gather_rivals(runs)


def test_two_runs_that_would_be_one_arm_are_refused(tmp_path):
    runs = [run_of(tmp_path / name, slice(None), family="svm") for name in "ab"]
    with pytest.raises(Refusal, match="stands twice"):
        rivals.gather_rivals(runs)


def test_the_study_trains_every_rival_on_one_split(tmp_path):
    planned = plan_study(load_study("rivals"), tmp_path, cohort=tmp_path, data="d")
    given = [
        p.run.manifest["inputs"]["parameters"]
        for p in planned
        if p.run.experiment in ("training", "classical")
    ]
    shared = ("train", "validation", "test", "unit", "split_seed", "iteration", "seed")
    assert len({tuple(g[k] for k in shared) for g in given}) == 1 and len(given) == 16
    nets = [g for g in given if "backbone" in g]
    budget = ("size", "batch", "epochs", "patience", "rate", "peak", "augmentation", "selection")
    assert len({tuple(g[k] for k in budget) for g in nets}) == 1
    assert (
        len({rivals.name_classifier(p.run) for p in planned if p.run.experiment in ("training", "classical")})
        == 16
    )


def test_a_list_in_a_setting_becomes_a_grid():
    small = shrink_to_smoke(load_study("rivals"))
    assert small.runs["networks"]["grid"] == {"backbone": ["small"]}
    one = apply_settings(load_study("rivals"), ["networks.backbone=VGG16"])
    assert one.runs["networks"]["grid"] == {} and one.runs["networks"]["parameters"]["backbone"] == "VGG16"


def test_one_split_has_no_interval_over_splits():
    with pytest.raises(Refusal, match="at least 2"):
        shortcuts.score_cues(None, None, "identity", 1)

"""A network for other programs: the same probabilities, what the file says of itself, and what is refused."""

import numpy as np
import keras
import pandas as pd
import pytest

from leukonb.cli import main
from leukonb.data import phantom
from leukonb.files import digest_file, refusal_line
from leukonb.model import network
from leukonb.verbs import export, predict

OTHERS = [pytest.param(name, marks=pytest.mark.extras) for name in ("onnx", "openvino")]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    network.save_model(network.build_network(network.Network(backbone="small", size=48)), path)
    return path


@pytest.mark.parametrize("to", ["saved_model", *OTHERS])
def test_an_exported_network_gives_the_same_probabilities(to, model, tmp_path, capsys):
    form = export.FORMATS[to]
    out = tmp_path / f"network{form.suffix}"
    assert main(["export", str(model), "--to", to, "--out", str(out), "--threshold", "0.3"]) == 0
    assert f"{to} and Keras differ by at most" in capsys.readouterr().out
    cells = phantom.sample_cohort(subjects=4, cells=3, size=48, seed=1)[0].astype(np.float32)
    expected = network.softmax_scores(network.load_model(model).predict_on_batch(cells))
    for n in (1, len(cells)):
        assert np.abs(form.open(out, 1)(cells[:n]) - expected[:n]).max() < export.TOLERANCE
    facts = export.read_export_facts(to, out)
    assert facts["classes"] == "HEM, ALL" and facts["threshold"] == "0.3"
    assert facts["model_sha256"] == digest_file(model) and "scaling is inside" in facts["input"]


@pytest.mark.parametrize("to", OTHERS)
def test_a_layer_that_a_program_lacks_is_named_in_one_line(to, tmp_path):
    layers, images = keras.layers, keras.Input((48, 48, 3))
    maps = layers.Resizing(24, 24, interpolation="lanczos5")(images)
    logits = layers.Dense(2, name="logits")(layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(maps)))
    network.save_model(keras.Model(images, logits, name="leukonb"), tmp_path / "odd.keras")
    line = refusal_line(export.export_model, tmp_path / "odd.keras", to)
    assert f"cannot be written as {to}" in line and "\n" not in line
    assert [path.name for path in tmp_path.iterdir()] == ["odd.keras"]


@pytest.mark.parametrize("name", OTHERS)
def test_another_program_scores_a_folder_like_keras(name, model, tmp_path):
    drawn = phantom.draw_cohort(tmp_path / "cells", subjects=6, cells=2, size=48, progress=False)
    by_keras, other = (
        predict.predict_images(model, drawn, runtime=r, progress=False) for r in ("keras", name)
    )
    assert np.abs(by_keras.score - other.score).max() < export.TOLERANCE
    assert f"scored by {name}" in other.attrs["remarks"]


def test_an_export_is_refused_before_anything_is_written(model, tmp_path, capsys):
    (tmp_path / "there.onnx").touch()
    for words, said in (
        (["--to", "saved_model", "--out", str(tmp_path / "none" / "x")], "is no folder"),
        (["--to", "saved_model", "--out", str(tmp_path)], "is there already"),
        (["--to", "saved_model", "--out", str(tmp_path / "x"), "--threshold", "2"], "between 0 and 1"),
    ):
        assert main(["export", str(model), *words]) == 1
        assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["there.onnx"]


def test_the_program_that_scored_is_named_and_a_missing_one_is_refused(model, tmp_path, capsys, monkeypatch):
    drawn = phantom.draw_cohort(tmp_path / "cells", subjects=4, cells=2, size=48, progress=False)
    out = tmp_path / "scores.csv"
    assert main(["predict", str(model), str(drawn), "--out", str(out)]) == 0
    assert "scored by keras" in capsys.readouterr().out
    assert pd.read_csv(out).score.between(0, 1).all()
    monkeypatch.setattr(export, "is_installed", lambda to: False)
    assert main(["predict", str(model), str(drawn), "--out", str(out), "--runtime", "onnx"]) == 1
    assert "pip install 'leukonb[export]'" in capsys.readouterr().err


def test_settings_of_keras_in_the_home_folder_change_no_score(model):
    cells = phantom.sample_cohort(subjects=4, cells=1, size=48, seed=1)[0].astype(np.float32)
    scores = np.asarray(network.load_model(model)(cells))
    before = keras.config.image_data_format(), keras.config.floatx()
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float16")
    try:
        np.testing.assert_array_equal(np.asarray(export.open_model(model)(cells)), scores)
    finally:
        keras.config.set_image_data_format(before[0])
        keras.config.set_floatx(before[1])

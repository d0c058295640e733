"""Keras computes with TensorFlow, JAX or PyTorch: a small training, its scores, its maps and a head under each."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from leukonb.files import refusal_line
from leukonb.verbs.extras import require_extra

JAX = Path(sys.prefix) / "jax"  # a folder of its own (Makefile), or Python would import it with TensorFlow

SMOKE = """
import json, sys, tempfile
from pathlib import Path
import keras, numpy as np
from leukonb.data import phantom, pixels
from keras import layers
from leukonb.model import backbones, explain, heads, network, training

def build(images, weights, seed):
    first = keras.initializers.HeNormal(seed)
    maps = layers.Conv2D(8, 3, strides=4, use_bias=False, kernel_initializer=first, name="conv")(images)
    maps = layers.BatchNormalization(momentum=0.9, name="norm")(maps)
    maps = layers.Activation("relu", name="relu")(maps)
    return keras.Model(keras.utils.get_source_inputs(images), maps, name="tiny")

backbones.add_backbone(backbones.Backbone("tiny", build, backbones.standardise_pixels))
pictures, cells = phantom.sample_cohort(subjects=6, cells=4, size=48, seed=3)
store = pixels.from_arrays(pictures, cells)
number = cells.drop_duplicates("subject").set_index("subject")
number = number.assign(number=number.groupby("label").cumcount()).number
split = cells.assign(split=cells.subject.map(number).map(lambda n: ("train", "validation")[n % 2]))
split = split.assign(identity=cells.subject, iteration=0)
net = network.Network(backbone="tiny", size=48, head=(8,), dropouts=(0.1, 0.1))
recipe, place = training.TrainingRecipe(batch=8, epochs=2, augmentation="none"), Path(tempfile.mkdtemp())
stopped = place / "stopped"

def stop(history):
    if len(history) == 1 and not (stopped / "checkpoints/epoch-0002.json").exists():
        raise InterruptedError

trained = training.train_network(net, recipe, store, split, place, seed=1)
again = trained
if "take up" in sys.argv:
    try:
        training.train_network(net, recipe, store, split, stopped, seed=1, on_epoch=stop)
    except InterruptedError:
        pass
    again = training.train_network(net, recipe, store, split, stopped, seed=1)
model = network.load_model(trained.model_path)
scores, views = (training.predict_scores(model, store, cells, n) for n in (1, 8))
parts, images, targets = explain.cut_network(model), store.images(cells)[:4], list(cells.label[:4])
maps = [getattr(explain, name)(parts, images, targets) for name in ("gradcam", "hirescam", "gate_weighted_map")]
pooled = heads.pool_features(net, store, place).array
one, is_all = heads.HeadRecipe(epochs=1, batch=4), (cells.label == "ALL").to_numpy()
at = np.arange(len(cells)) % 4
masks = {"train": (at < 2)[None], "validation": (at == 2)[None], "test": (at == 3)[None], "iterations": [0]}
head = heads.train_keras_head(pooled, is_all, masks, 0, heads.ARMS[0], one)
print("smoke:" + json.dumps({
    "backend": training.describe_device()["backend"],
    "losses": trained.history.loss.tolist(),
    "judged": trained.history.val_loss.tolist(),
    "taken up": again is not trained and trained.sha256 == again.sha256,
    "scores": scores.tolist(),
    "views": views.tolist(),
    "apart": float(explain.largest_difference(parts, images, targets)),
    "maps": [bool(np.isfinite(m).all() and np.abs(m).max() > 0) for m in maps],
    "head": head[at > 1].tolist(),
}))
"""


def smoke(backend, cache, *words):
    """What a tiny training under a backend ends with, in a process of its own: Keras chooses once."""
    done = subprocess.run(
        [sys.executable, "-c", SMOKE, *words],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            **({"PYTHONPATH": str(JAX)} if backend == "jax" else {}),
            "KERAS_BACKEND": backend,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "JAX_COMPILATION_CACHE_DIR": cache,
        },
    )
    said = [line[6:] for line in done.stdout.splitlines() if line.startswith("smoke:")]
    assert said, done.stderr[-3000:]
    return json.loads(said[0])


@pytest.mark.parametrize(
    "backend, words",
    [
        pytest.param("tensorflow", (), id="tensorflow"),
        pytest.param("jax", (), id="jax"),
        pytest.param("jax", ("take up",), id="jax, taken up", marks=pytest.mark.extras),
        pytest.param("torch", ("take up",), id="torch, taken up", marks=pytest.mark.extras),
    ],
)
def test_a_backend_trains_scores_and_explains(backend, words, tmp_path):
    """With "take up" a second training is stopped after an epoch and taken up; `test_training` does it under TensorFlow."""
    if not find_spec(backend) and not (backend == "jax" and JAX.is_dir()):
        pytest.skip(f"{backend} is not installed here; make test installs jax, make test-extras torch")
    found = smoke(backend, str(tmp_path), *words)
    assert found["backend"] == backend and found["taken up"] == bool(words)
    assert all(0 < loss < 5 for loss in found["losses"] + found["judged"])
    assert found["losses"][1] != found["losses"][0]
    for name in ("scores", "views", "head"):
        assert all(0 < score < 1 for score in found[name])
    assert max(abs(a - b) for a, b in zip(found["scores"], found["views"])) > 1e-9
    assert all(found["maps"]) and found["apart"] < 1e-4


@pytest.mark.parametrize(
    "name, word", [("jaxx", "choose tensorflow, jax or torch"), ("torch", "not installed")]
)
def test_a_backend_that_is_not_there_is_named_in_one_line(name, word, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", name)
    monkeypatch.setitem(sys.modules, "torch", None)
    line = refusal_line(require_extra, "train")
    assert name in line and word in line and "\n" not in line

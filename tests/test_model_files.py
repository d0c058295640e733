"""Model files of others: too large for what they hold, of another Keras, or of another order of classes."""

import io
import json
import re
import time
import zipfile

import h5py
import keras
import numpy as np
import pytest

from leukonb.files import refusal_line
from leukonb.model import network

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3)).astype("float32")


def rewritten(path, to, **parts):
    """A copy of a .keras file with some parts changed by functions; a part that is not there is made."""
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in held.items():
            archive.writestr(name, parts.get(name.replace(".", "_"), lambda data: data)(data))
    return to


def sparse_weights(data):
    """Weights with an array of 3.6 GB that was never written."""
    file = io.BytesIO(data)
    with h5py.File(file, "r+") as held:
        held.create_dataset("layers/huge", (900, 1_000_000), "f4", chunks=(9, 1000))
    return file.getvalue()


def huge_layer(data):
    config = json.loads(data)
    next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")["config"][
        "units"
    ] = 30_000_000
    return json.dumps(config).encode()


def many_layers(data):
    """A chain of layers none of which is large by itself."""
    config = json.loads(data)
    for layer in config["config"]["layers"]:
        if layer["class_name"] == "Dense" and layer["config"]["name"] != "logits":
            layer["config"]["units"] = 40_000
    return json.dumps(config).encode()


def pointing(data, place):
    """Weights that lie in another file."""
    file = io.BytesIO(data)
    with h5py.File(file, "r+") as held:
        if place == "a link":
            held["layers/beside"] = h5py.ExternalLink("elsewhere.h5", "/kernel")
        else:
            held.create_dataset("layers/beside", (4,), "f4", external=[("beside.raw", 0, 16)])
    return file.getvalue()


@pytest.mark.parametrize("place", ["a link", "stored outside"])
@pytest.mark.fault(
    group="models",
    fault="Weights of a model file lie in another file",
    injected="an HDF5 link to, or an array stored in, a file beside it",
    promise="refused in one line that names both",
)
def test_weights_that_lie_elsewhere_are_refused(saved, tmp_path, place):
    path = rewritten(saved[1], tmp_path / "model.keras", model_weights_h5=lambda data: pointing(data, place))
    line = refusal_line(network.load_model, path)
    other = {"a link": "elsewhere.h5", "stored outside": "beside.raw"}[place]
    assert f"takes layers/beside from another file, {other!r}; save the network with its own weights" in line


HUGE = {
    "never written": ({"model_weights_h5": sparse_weights}, "declares 3,4.. MB of weights"),
    "packed zeros": ({"model_weights_h5": lambda data: data + bytes(60 * 2**20)}, "states 61 MB"),
    "one layer": ({"config_json": huge_layer}, "want more weights than are in it"),
    "many layers": ({"config_json": many_layers}, "want more weights than are in it"),
    "brackets": ({"config_json": lambda data: b"[" * 200_000 + b"]" * 200_000}, "nested 200,000 deep"),
}


@pytest.mark.parametrize("case", HUGE)
@pytest.mark.fault(
    group="models",
    fault="A model file that asks for gigabytes",
    injected="arrays never written, packed zeros, layers of 30,000,000 and 40,000 units, brackets 200,000 deep",
    promise="refused by size in seconds, before it is built",
)
def test_a_file_that_asks_for_more_than_it_holds_is_refused(saved, tmp_path, case):
    parts, said = HUGE[case]
    path, began = rewritten(saved[1], tmp_path / "model.keras", **parts), time.perf_counter()
    line = refusal_line(network.load_model, path)
    assert re.search(said, line) and "model.keras" in line and "\n" not in line, line
    assert time.perf_counter() - began < 20
    assert keras.layers.Layer.add_weight.__name__ == "add_weight"


@pytest.mark.fault(
    group="models",
    fault="A small model file whose layers fill the memory",
    injected="a layer without weights that makes 768,000,000 numbers of one cell, in a model within the model",
    promise="refused by what it would make, before it makes it",
)
def test_a_layer_that_would_fill_the_memory_is_refused(tmp_path):
    layers = keras.layers
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.UpSampling2D(2000), layers.GlobalMaxPooling2D()])
    keras.Sequential([keras.Input((8, 8, 3)), inner, layers.Dense(2)]).save(tmp_path / "model.keras")
    line = refusal_line(network.load_model, tmp_path / "model.keras", all_output=0)
    assert "model.keras" in line and "makes 768,000,000 numbers of one cell" in line, line


def test_weights_of_a_backbone_that_declare_more_than_they_hold_are_refused(tmp_path):
    (tmp_path / "own.weights.h5").write_bytes(sparse_weights(empty_weights()))
    shape = network.Network(backbone="small", size=48, weights=str(tmp_path / "own.weights.h5"))
    assert "declares 3,4" in refusal_line(network.build_network, shape)


def empty_weights():
    file = io.BytesIO()
    with h5py.File(file, "w"):
        pass
    return file.getvalue()


@pytest.mark.fault(
    group="models",
    fault="A model that another version of Keras has written",
    injected="a layer with an argument that this Keras does not know, and the other version's number",
    promise="the refusal names both versions",
)
def test_the_refusal_names_both_versions(saved, tmp_path):
    def unknown(data):
        config = json.loads(data)
        config["config"]["layers"][-1]["config"]["of_the_future"] = 1
        return json.dumps(config).encode()

    def later(data):
        return json.dumps({**json.loads(data), "keras_version": "99.1.0"}).encode()

    path = rewritten(saved[1], tmp_path / "model.keras", config_json=unknown, metadata_json=later)
    line = refusal_line(network.load_model, path)
    assert "written by Keras 99.1.0" in line and f"this is Keras {keras.__version__}" in line


def foreign(path, activation):
    inputs = keras.Input((48, 48, 3))
    mean = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, activation, kernel_initializer="random_normal")(mean))
    model.save(path)
    return np.asarray(model(IMAGES))


@pytest.mark.parametrize("activation", ["softmax", None])
@pytest.mark.fault(
    group="models",
    fault="A network of two outputs that is not of this suite",
    injected="a softmax of two classes in the order of the alphabet; two logits",
    promise="refused until someone says which output is ALL, then scored in that order",
)
def test_a_network_from_elsewhere_is_asked_about(tmp_path, activation):
    given = foreign(tmp_path / "theirs.keras", activation)
    assert "which of its two outputs is ALL" in refusal_line(network.load_model, tmp_path / "theirs.keras")
    shares = given if activation else keras.ops.softmax(given)
    for output in (0, 1):
        model = network.load_model(tmp_path / "theirs.keras", all_output=output)
        scores = network.softmax_scores(np.asarray(model(IMAGES)))
        np.testing.assert_allclose(scores, np.asarray(shares)[:, output], atol=1e-5)


def test_two_outputs_that_are_no_softmax_are_refused(tmp_path):
    foreign(tmp_path / "theirs.keras", "sigmoid")
    line = refusal_line(network.load_model, tmp_path / "theirs.keras", all_output=0)
    assert "ends in sigmoid" in line


@pytest.mark.fault(
    group="models",
    fault="A checkpoint of PyTorch that asks for gigabytes",
    injected="60 MB of packed zeros as the numbers of one array; one number repeated by strides of zero",
    promise="refused by size, before the numbers are read",
)
@pytest.mark.parametrize("case", ["packed", "repeated"])
def test_a_checkpoint_that_asks_for_more_than_it_holds_is_refused(tmp_path, case):
    from leukonb.model.checkpoints import read_checkpoint

    shape, strides = (("I9", "I1"), ("I999999999", "I0"))[case == "repeated"]
    window = b"ctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI6\ntQ"
    program = b"(dVweights\n" + window + f"I0\n({shape}\nt({strides}\nttRs.".encode()
    with zipfile.ZipFile(tmp_path / "net.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", program)
        archive.writestr("net/data/0", bytes(60 * 2**20 if case == "packed" else 24))
    line = refusal_line(read_checkpoint, tmp_path / "net.pth")
    assert ("does not hold" if case == "packed" else "reaches beyond the numbers") in line

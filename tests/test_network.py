"""The network, its layer and its loss: round trips, counts, and files that must not be opened."""

import json
import subprocess
import sys
import warnings
import zipfile

import keras
import numpy as np
import pytest

from leukonb.files import Refusal, digest_file
from leukonb.model import network
from leukonb.model.attention import SqueezeExcite
from leukonb.model.losses import Focal
from leukonb.model.network import Network

SMALL = Network(backbone="small", size=48)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3)).astype("float32")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model = network.build_network(SMALL)
    return model, path, network.save_model(model, path)


def test_layer_and_loss_round_trip():
    layer = SqueezeExcite(reduction=4)
    assert SqueezeExcite.from_config(layer.get_config()).reduction == 4
    loss = Focal(gamma=1.5, alpha=None)
    again = Focal.from_config(loss.get_config())
    assert (again.gamma, again.alpha) == (1.5, None)
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(Focal())).alpha == (
        0.75,
        0.25,
    )


def test_saved_and_loaded_gives_the_same_logits(saved):
    model, path, sha256 = saved
    assert sha256 == digest_file(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "The structure of `inputs`")
        assert np.array_equal(np.asarray(network.load_model(path, sha256)(IMAGES)), np.asarray(model(IMAGES)))


@pytest.mark.parametrize("attention, parameters", [(True, 14149024), (False, 14149024 - 296544)])
def test_the_papers_network_has_its_parameters(attention, parameters):
    assert network.build_network(Network(size=64, attention=attention)).count_params() == parameters


def test_first_weights_follow_the_seed():
    first, second, other = (network.build_network(Network(backbone="small", size=48, seed=s)) for s in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights()))
    assert not all(np.array_equal(a, b) for a, b in zip(first.get_weights(), other.get_weights()))


@pytest.mark.parametrize("backbone", ["MobileNetV2", "ResNet50"])
def test_another_backbone_scales_as_its_own_and_is_loaded_again(tmp_path, backbone):
    model = network.build_network(Network(backbone=backbone, size=64))
    network.save_model(model, tmp_path / "model.keras")
    black = np.zeros((1, 64, 64, 3), "float32")
    assert np.array_equal(np.asarray(network.load_model(tmp_path / "model.keras")(black)), np.asarray(model(black)))
    assert model.output_shape == (None, 2)
    assert np.isfinite(np.asarray(model(np.zeros((1, 64, 64, 3), "float32")))).all()


def test_logits_stay_float32_in_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = network.build_network(SMALL)
        assert model.get_layer("maps").compute_dtype == "bfloat16"
        assert str(np.asarray(model(IMAGES)).dtype) == "float32"
    finally:
        keras.config.set_dtype_policy(before)


def test_the_same_network_is_the_same_file_in_any_process(tmp_path):
    code = "import sys, time; from leukonb.model import network; kept = [object() for _ in range(int(sys.argv[2]))]; print(network.save_model(network.build_network(network.Network(backbone='small', size=64, seed=3)), sys.argv[1]))"
    digests = [
        subprocess.run(
            [sys.executable, "-c", code, tmp_path / f"{i}.keras", str(i * 1000)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[-1]
        for i in range(2)
    ]
    assert digests[0] == digests[1]


def test_focal_learns_in_one_step():
    model = network.build_network(SMALL)
    model.compile(keras.optimizers.Adam(1e-2), Focal())
    labels = np.eye(2, dtype="float32")[[0, 1, 1]]
    losses = [model.train_on_batch(IMAGES, labels) for _ in range(5)]
    assert losses[-1] < losses[0]


@pytest.mark.fault(
    group="models",
    fault="A model whose bytes are not those recorded",
    injected="the last byte changed",
    promise="refused by SHA-256 before it is opened",
)
def test_other_bytes_are_refused_before_opening(saved, tmp_path):
    _, path, sha256 = saved
    other = tmp_path / "other.keras"
    other.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(Refusal, match="SHA-256 differs"):
        network.load_model(other, sha256)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
@pytest.mark.fault(
    group="models",
    fault="A model cut short",
    injected="a tenth, half, all but the last bytes kept",
    promise="refused by name as not whole",
)
def test_cut_short_is_refused(saved, tmp_path, share):
    data = saved[1].read_bytes()
    cut = tmp_path / "cut.keras"
    cut.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(Refusal, match="not a whole|damaged"):
        network.load_model(cut)


@pytest.mark.fault(
    group="models",
    fault="A byte of a model is flipped",
    injected="12 seeded flips, each tried without a recorded digest",
    promise="refused, or the logits are the same bits",
)
def test_flipped_bytes_are_refused_or_change_nothing(saved, tmp_path):
    model, path, _ = saved
    data, rng, seen = path.read_bytes(), np.random.default_rng(0), 0
    expected = np.asarray(model(IMAGES))
    for at in rng.integers(0, len(data), 12):
        flipped = bytearray(data)
        flipped[at] ^= 0xFF
        file = tmp_path / "flipped.keras"
        file.write_bytes(bytes(flipped))
        try:
            assert np.array_equal(np.asarray(network.load_model(file)(IMAGES)), expected)
        except Refusal as refusal:
            assert "flipped.keras" in str(refusal)
            seen += 1
    assert seen >= 8


@pytest.mark.fault(
    group="models",
    fault="Weights that are no numbers",
    injected="a layer set to NaN and saved",
    promise="refused",
)
def test_weights_that_are_no_numbers_are_refused(saved, tmp_path):
    model = network.load_model(saved[1])
    model.get_layer("dense1").kernel.assign(np.full((160, 512), np.nan))
    network.save_model(model, tmp_path / "nan.keras")
    with pytest.raises(Refusal, match="not numbers"):
        network.load_model(tmp_path / "nan.keras")


@pytest.mark.fault(
    group="models",
    fault="A model of three classes",
    injected="such a model saved",
    promise="refused: not two logits",
)
def test_another_number_of_classes_is_refused(tmp_path):
    inputs = keras.Input((48, 48, 3))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(inputs)))
    model.save(tmp_path / "three.keras")
    with pytest.raises(Refusal, match="not two logits"):
        network.load_model(tmp_path / "three.keras")


@pytest.mark.fault(
    group="models",
    fault="A model that names what makes up no network",
    injected="a function of the system, of Python and of Keras, and layers that run another model or read another file, written into its configuration",
    promise="refused by the name; nothing is run",
)
@pytest.mark.parametrize(
    "module, name",
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("keras.utils", "get_file"),
        ("keras.src.utils.file_utils", "get_file"),
        ("keras.layers", "TFSMLayer"),
        ("keras.layers", "StringLookup"),
        ("keras.layers", "deserialize"),
    ],
)
def test_foreign_classes_are_refused_by_name(saved, tmp_path, module, name):
    foreign = tmp_path / "foreign.keras"
    with zipfile.ZipFile(saved[1]) as old, zipfile.ZipFile(foreign, "w") as new:
        for member in old.namelist():
            data = old.read(member)
            if member == "config.json":
                config = json.loads(data)
                config["config"]["layers"][1] |= {
                    "module": module,
                    "class_name": name,
                    "registered_name": None,
                }
                data = json.dumps(config).encode()
            new.writestr(member, data)
    with pytest.raises(Refusal, match=f"foreign.keras holds a {name} of {module}"):
        network.load_model(foreign)


@pytest.mark.fault(
    group="models",
    fault="A model with code in it",
    injected="a Lambda layer saved",
    promise="refused by name",
)
def test_a_lambda_is_refused(tmp_path):
    inputs = keras.Input((48, 48, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Lambda(lambda x: x)(inputs))
    keras.Model(inputs, keras.layers.Dense(2)(pooled)).save(tmp_path / "lambda.keras")
    with pytest.raises(Refusal, match="Lambda"):
        network.load_model(tmp_path / "lambda.keras")


@pytest.mark.fault(
    group="models",
    fault="Weights of another network",
    injected="weights of MobileNetV2 given to EfficientNetV2-B3",
    promise="refused: they do not fit",
)
def test_weights_of_another_backbone_are_refused(tmp_path):
    keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(64, 64, 3)).save_weights(
        tmp_path / "other.weights.h5"
    )
    with pytest.raises(Refusal, match="do not fit EfficientNetV2B3"):
        network.build_network(Network(size=64, weights=str(tmp_path / "other.weights.h5")))


def test_local_weights_are_taken(tmp_path):
    base = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(64, 64, 3))
    base.save_weights(tmp_path / "own.weights.h5")
    model = network.build_network(Network(backbone="MobileNetV2", size=64, weights=str(tmp_path / "own.weights.h5")))
    assert np.array_equal(model.get_layer("Conv1").get_weights()[0], base.get_layer("Conv1").get_weights()[0])

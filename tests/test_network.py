"""The network, its layer and its loss: round trips, counts, and files that must not be opened."""

import json
import subprocess
import sys
import warnings
import zipfile
from dataclasses import replace

import keras
import numpy as np
import pytest

from leukonb.files import Refusal, digest_file
from leukonb.model import network
from leukonb.model.attention import SqueezeExcite
from leukonb.model.backbones import BACKBONES, find_backbone, standardise_pixels
from leukonb.model.losses import Focal
from leukonb.model.network import Network

SMALL = Network(backbone="small", size=48)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3)).astype("float32")


# The battery of keras-hub for a layer: what it is made of, what it becomes in each way of calling it, and that it
# learns, runs in every precision, and survives being written.
LAYERS = [  # arguments, channels, weights of the layer
    ({"reduction": 4, "seed": 3}, 16, 16 * 4 + 4 + 4 * 16 + 16),
    ({"reduction": 16}, 64, 64 * 4 + 4 + 4 * 64 + 64),
    ({"reduction": 64, "seed": 0}, 16, 16 * 1 + 1 + 1 * 16 + 16),  # never less than one unit
]
each_layer = pytest.mark.parametrize("arguments, channels, parameters", LAYERS)


def maps_of(channels, positions=5):
    return keras.random.uniform((2, positions, positions, channels), seed=1)


@each_layer
def test_the_layer_keeps_its_arguments_under_their_own_names(arguments, channels, parameters):
    layer = SqueezeExcite(**arguments)
    assert {name: getattr(layer, name) for name in arguments} == arguments
    assert {name: layer.get_config()[name] for name in arguments} == arguments
    json.dumps(layer.get_config())


@each_layer
def test_the_layer_is_the_same_after_serialization(arguments, channels, parameters):
    layer = SqueezeExcite(name="attention", **arguments)
    text = json.dumps(keras.saving.serialize_keras_object(layer))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(again) is SqueezeExcite and again.get_config() == layer.get_config()
    assert dir(again) == dir(layer)


@each_layer
def test_the_layer_has_its_weights_and_shapes_called_on_symbols(arguments, channels, parameters):
    layer = SqueezeExcite(**arguments)
    found = layer(keras.KerasTensor((2, 5, 5, channels)))
    assert found.shape == (2, 5, 5, channels) == layer.compute_output_shape((2, 5, 5, channels))
    assert layer.count_params() == parameters
    assert (len(layer.weights), len(layer.trainable_weights), len(layer.non_trainable_variables)) == (4, 4, 0)
    hidden = max(1, channels // arguments["reduction"])
    assert [w.shape for w in layer.weights] == [
        (channels, hidden),
        (hidden,),
        (hidden, channels),
        (channels,),
    ]


@each_layer
def test_the_layer_gives_the_same_called_on_numbers(arguments, channels, parameters):
    layer, maps = SqueezeExcite(**arguments), maps_of(channels)
    found = layer(maps)
    assert tuple(found.shape) == (2, 5, 5, channels) and str(np.asarray(found).dtype) == "float32"
    inputs = keras.Input((None, None, channels))
    model = keras.Model(inputs, layer(inputs))
    np.testing.assert_allclose(model.predict(np.asarray(maps), verbose=0), np.asarray(found), rtol=1e-5)
    assert model.predict(np.asarray(maps_of(channels, 7)), verbose=0).shape == (2, 7, 7, channels)


@each_layer
def test_the_layer_learns_in_a_step(arguments, channels, parameters):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5, 5, channels))
    layer = SqueezeExcite(**arguments)
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(0.5), "mse")
    before = layer.get_weights()
    maps = np.asarray(maps_of(channels))
    losses = [model.train_on_batch(maps, 0.2 * maps) for _ in range(3)]
    assert losses[-1] < losses[0]
    assert not any(np.array_equal(a, b) for a, b in zip(before, layer.get_weights()))


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16", "bfloat16", "float64"])
@each_layer
def test_the_layer_runs_in_every_precision(arguments, channels, parameters, policy):
    layer = SqueezeExcite(dtype=policy, **arguments)
    found = layer(maps_of(channels))
    wanted = keras.DTypePolicy(policy)
    assert keras.backend.standardize_dtype(found.dtype) == wanted.compute_dtype
    assert {w.dtype for w in layer.weights} == {wanted.variable_dtype}
    assert {sub.dtype_policy.name for sub in layer._flatten_layers(include_self=False)} == {policy}
    exact = SqueezeExcite(**arguments)
    exact.build((2, 5, 5, channels))
    exact.set_weights([w.astype("float32") for w in layer.get_weights()])
    found = np.asarray(keras.ops.cast(found, "float32"))
    np.testing.assert_allclose(found, np.asarray(exact(maps_of(channels))), atol=0.02)


@each_layer
def test_the_layer_is_the_same_after_saving(tmp_path, arguments, channels, parameters):
    inputs = keras.Input((5, 5, channels))
    model = keras.Model(inputs, SqueezeExcite(name="attention", **arguments)(inputs))
    model.save(tmp_path / "layer.keras")
    again, maps = keras.saving.load_model(tmp_path / "layer.keras"), np.asarray(maps_of(channels))
    assert type(again.get_layer("attention")) is SqueezeExcite
    assert np.array_equal(np.asarray(again(maps)), np.asarray(model(maps)))


def test_the_layers_first_weights_follow_its_seed():
    def first(seed):
        layer = SqueezeExcite(reduction=4, seed=seed)
        layer.build((None, 5, 5, 16))
        return layer.get_weights()

    assert all(np.array_equal(a, b) for a, b in zip(first(1), first(1)))
    assert not np.array_equal(first(1)[0], first(2)[0])


@pytest.mark.parametrize("reduction", [0, -1])
def test_a_reduction_below_one_is_refused(reduction):
    with pytest.raises(ValueError, match=f"reduction is {reduction}"):
        SqueezeExcite(reduction=reduction)


# The same for the loss.
LOSSES = [{}, {"gamma": 1.5, "alpha": None}, {"gamma": 0.0, "alpha": (0.3, 0.7), "name": "weighed"}]
LOGITS = np.random.default_rng(2).normal(size=(6, 2)).astype("float32") * 3
TRUTH = np.eye(2, dtype="float32")[[0, 1, 1, 0, 1, 1]]


@pytest.mark.parametrize("arguments", LOSSES)
def test_the_loss_is_the_same_after_serialization(arguments):
    loss = Focal(**arguments)
    assert {name: getattr(loss, name) for name in arguments} == arguments
    text = json.dumps(keras.saving.serialize_keras_object(loss))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(again) is Focal and again.get_config() == loss.get_config()
    assert float(again(TRUTH, LOGITS)) == float(loss(TRUTH, LOGITS))


@pytest.mark.parametrize("arguments", LOSSES)
@pytest.mark.parametrize("reduction, shape", [(None, (6,)), ("sum", ()), ("sum_over_batch_size", ())])
def test_the_loss_has_its_shape_on_symbols_and_on_numbers(arguments, reduction, shape):
    loss = Focal(**arguments, reduction=reduction)
    assert tuple(keras.ops.shape(loss(TRUTH, LOGITS))) == shape
    symbols = keras.KerasTensor((6, 2))
    assert loss.call(symbols, symbols).shape == (6,)


@pytest.mark.parametrize("arguments", LOSSES)
def test_the_loss_takes_indices_columns_and_rows_alike(arguments):
    loss, indices = Focal(**arguments, reduction=None), TRUTH.argmax(1)
    each = [np.asarray(loss(truth, LOGITS)) for truth in (TRUTH, indices, indices[:, None])]
    assert np.array_equal(each[0], each[1]) and np.array_equal(each[0], each[2])


@pytest.mark.parametrize(
    "dtype, computed", [("float16", "float32"), ("bfloat16", "float32"), ("float64", "float64")]
)
def test_the_loss_is_never_computed_in_half_precision(dtype, computed):
    loss = Focal(reduction=None, dtype=dtype)
    raw = loss.call(keras.ops.cast(TRUTH, dtype), keras.ops.cast(LOGITS, dtype))
    assert keras.backend.standardize_dtype(raw.dtype) == computed
    np.testing.assert_allclose(np.asarray(raw), np.asarray(Focal(reduction=None)(TRUTH, LOGITS)), atol=0.02)


def test_a_model_compiled_with_the_loss_is_written_with_it(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    model.compile("sgd", Focal(gamma=1.0, alpha=(0.4, 0.6)))
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    losses = [model.train_on_batch(x, TRUTH) for _ in range(3)]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "compiled.keras")
    again = keras.saving.load_model(tmp_path / "compiled.keras")
    assert type(again.loss) is Focal and again.loss.get_config() == model.loss.get_config()


def test_a_gamma_below_zero_is_refused():
    with pytest.raises(ValueError, match="gamma is -1"):
        Focal(gamma=-1)


def test_every_network_of_keras_is_a_record():
    offered = {
        name for name, made in vars(keras.applications).items() if callable(made) and name[0].isupper()
    }
    assert offered | {"small"} <= set(BACKBONES)
    assert all(record.name == name for name, record in BACKBONES.items())


@pytest.mark.parametrize(
    "backbone, parameters", [("small", 254308), ("MobileNetV2", 3254930), ("EfficientNetV2B3", 14149024)]
)
def test_a_backbone_keeps_its_layers_and_scaling(backbone, parameters):
    model = network.build_network(Network(backbone=backbone, size=64))
    assert model.count_params() == parameters
    scaled = [layer.name for layer in model.layers if layer.name == "scale"]
    assert scaled == ["scale"] * (BACKBONES[backbone].scale is standardise_pixels)


TINY = """
import keras
from leukonb.model.backbones import Backbone, standardise_pixels
def build(images, weights, seed):
    x = keras.layers.Conv2D(8, 5, strides=4, name="first")(images)
    return keras.Model(keras.utils.get_source_inputs(images), keras.layers.Conv2D(16, 3, name="second")(x))
LAST, FIRST = (Backbone("tiny", build, standardise_pixels, layer=layer) for layer in ("", "first"))
"""


def test_a_backbone_of_ones_own_is_named_built_saved_and_started_from_a_file(tmp_path, monkeypatch):
    (tmp_path / "own_nets.py").write_text(TINY)
    monkeypatch.syspath_prepend(tmp_path)
    model = network.build_network(Network(backbone="own_nets:LAST", size=48))
    assert model.get_layer("maps").output.shape == (None, 9, 9, 16)
    sha256 = network.save_model(model, tmp_path / "model.keras")
    assert np.array_equal(
        np.asarray(network.load_model(tmp_path / "model.keras", sha256)(IMAGES)), np.asarray(model(IMAGES))
    )
    first = network.build_network(Network(backbone="own_nets:FIRST", size=48))
    assert first.get_layer("maps").output.shape == (None, 11, 11, 8)
    inputs = keras.Input((48, 48, 3))
    base = find_backbone("own_nets:LAST").build(standardise_pixels(inputs), None, 0)
    base.save_weights(tmp_path / "own.weights.h5")
    warm = network.build_network(
        Network(backbone="own_nets:LAST", size=48, weights=str(tmp_path / "own.weights.h5"))
    )
    assert np.array_equal(
        warm.get_layer("second").get_weights()[0], base.get_layer("second").get_weights()[0]
    )


@pytest.mark.parametrize(
    "name, line",
    [
        ("EfficientNetV2B33", "is unknown; the nearest are EfficientNetV2B3"),
        ("no_such_module:TINY", "cannot be imported .No module named 'no_such_module'"),
        ("math:TINY", "cannot be imported"),
        ("math:pi", "is a float; give a record"),
    ],
)
def test_a_backbone_that_is_not_there_is_refused(name, line):
    with pytest.raises(Refusal, match=line):
        find_backbone(name)


@pytest.mark.parametrize(
    "changes, line",
    [
        ({"backbone": "InceptionV3", "size": 74}, "give at least 75 pixels"),
        ({"size": 31}, "give at least 32 pixels"),
        ({"reduction": 0}, "reduction is 0"),
        ({"head": (0,), "dropouts": (0.1, 0.1)}, "head .0.; give numbers from 1"),
        ({"dropouts": (0.1, 0.1, 1.0)}, "dropouts are|dropouts is"),
        ({"depth": 1.0}, "depth is 1.0"),
        ({"weights": "imagenet"}, "small has no weights 'imagenet'"),
    ],
)
def test_a_network_that_cannot_be_is_refused(changes, line):
    with pytest.raises(Refusal, match=line):
        network.build_network(replace(Network(backbone="small", size=48), **changes))


def test_every_field_changes_what_it_says():
    def built(**changes):
        return network.build_network(replace(SMALL, **changes))

    assert built(reduction=8).get_layer("attention").reduce.units == 160 // 8
    assert built(head=(32,), dropouts=(0.1, 0.4)).get_layer("drop1").rate == 0.4
    deep = network.build_network(Network(size=32, depth=0.1, attention=False))
    default = network.build_network(Network(size=32, attention=False))
    pairs = [(a.rate, b.rate) for a, b in zip(deep.layers, default.layers) if a.name.endswith("_drop")]
    assert pairs and all(np.isclose(half * 2, whole) for half, whole in pairs)


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
    first, second, other = (
        network.build_network(Network(backbone="small", size=48, seed=s)) for s in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights()))
    assert not all(np.array_equal(a, b) for a, b in zip(first.get_weights(), other.get_weights()))


@pytest.mark.parametrize("backbone", ["MobileNetV2", "ResNet50"])
def test_another_backbone_scales_as_its_own_and_is_loaded_again(tmp_path, backbone):
    model = network.build_network(Network(backbone=backbone, size=64))
    network.save_model(model, tmp_path / "model.keras")
    black = np.zeros((1, 64, 64, 3), "float32")
    assert np.array_equal(
        np.asarray(network.load_model(tmp_path / "model.keras")(black)), np.asarray(model(black))
    )
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
    model = network.build_network(
        Network(backbone="MobileNetV2", size=64, weights=str(tmp_path / "own.weights.h5"))
    )
    assert np.array_equal(model.get_layer("Conv1").get_weights()[0], base.get_layer("Conv1").get_weights()[0])

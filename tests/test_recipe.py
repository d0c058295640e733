"""The recipe is PyTorch's: rates, cycle, optimizer and weights as torch and timm have them."""

import json
import struct
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
from pytorch_facts import FILE

from leukonb.files import Refusal, refusal_line
from leukonb.model import efficientnet, network, schedule, training
from leukonb.model.backbones import set_depth
from leukonb.model.network import Network
from leukonb.model.training import TrainingRecipe
from leukonb.runs.study import load_study, shrink_to_smoke

FACTS = json.loads(FILE.read_text())
SHAPES = FACTS["network"]["shapes"]
BLOCKS = 32


def rates_of(model):
    """Where a block of the built network is skipped: its name and how often."""
    return {layer.name[:-5]: layer.rate for layer in model.layers if layer.name.endswith("_drop")}


def places_of(model):
    """The names of its blocks, in their order."""
    names = [layer.name.split("_")[0] for layer in model.layers]
    return list(dict.fromkeys(name for name in names if name.startswith("block")))


@pytest.fixture(scope="module")
def arrays():
    """Numbers for every array of timm's network."""
    rng = np.random.default_rng(0)
    return {key: rng.uniform(0.9, 1.1, shape).astype("float32") for key, shape in SHAPES.items()}


def write_safetensors(path, arrays):
    """A file of the given arrays, float32."""
    table, offset = {}, 0
    for key, array in arrays.items():
        ends = [offset, offset := offset + 4 * array.size]
        table[key] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": ends}
    head = json.dumps(table).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for array in arrays.values():
            file.write(np.asarray(array, "<f4").tobytes())


def state(place, tag, **changes):
    """The config.json of a release beside a checkpoint."""
    known = efficientnet.RELEASES[tag]
    scaling = {"tag": tag, "mean": known.mean, "std": known.deviation}
    stated = {"architecture": efficientnet.NAME, "num_classes": known.classes, "pretrained_cfg": scaling}
    (place / "config.json").write_text(json.dumps({**stated, **changes}))


@pytest.fixture(scope="module")
def model():
    """The paper's network, small and from scratch."""
    return network.build_network(Network(size=32))


@pytest.mark.parametrize("depth", [0.2, 0.05])
def test_blocks_are_skipped_as_often_as_in_timm(model, depth):
    if depth != Network().depth:
        set_depth(model, depth)
    blocks, rates = places_of(model), rates_of(model)
    assert len(blocks) == BLOCKS and len(rates) == sum(FACTS["network"]["skips"]) == 26
    for name, rate in rates.items():
        place = blocks.index(name)
        assert rate == pytest.approx(depth * place / BLOCKS)
        assert rate == pytest.approx(FACTS["network"]["depth"][place] * depth / 0.2)


@pytest.mark.parametrize("cycle", FACTS["one_cycle"], ids=lambda c: f"{c['steps']}-{c['rising']}")
def test_rate_and_momentum_of_every_step_are_those_of_pytorch(cycle):
    given, steps = TrainingRecipe(rising=cycle["rising"]), cycle["steps"]
    step = np.arange(steps)
    np.testing.assert_allclose(training.learning_rate(given, step, steps), cycle["rate"], rtol=1e-9)
    np.testing.assert_allclose(training.first_beta(given, step, steps), cycle["beta1"], rtol=1e-12)


class Stub:
    """A model that learns nothing and notes how it was asked to."""

    variables: tuple = ()

    def __init__(self):
        self.seen = []
        self.optimizer = self
        self.beta = self
        self.learning_rate = 0.0

    def assign(self, value):
        self.now = value

    def train_on_batch(self, images, truth):
        self.seen.append((self.learning_rate, self.now))
        return np.zeros(4)


@pytest.mark.parametrize("kind", ["one-cycle", "constant"])
def test_every_step_of_a_training_has_its_own_rate_and_beta(monkeypatch, kind):
    model, cycle = Stub(), FACTS["one_cycle"][2]
    given = TrainingRecipe(epochs=4, rising=cycle["rising"], schedule=kind)
    task = training._Task(given, None, None, None, seed=0, steps=5)
    monkeypatch.setattr(training, "iterate_batches", lambda *_: [(0, 0)] * 5)
    for epoch in range(4):
        training._learn(model, task, epoch, training.threading.Event())
    expected = [cycle["rate"], cycle["beta1"]] if kind == "one-cycle" else [[1e-4] * 20, [0.9] * 20]
    np.testing.assert_allclose(np.transpose(model.seen), expected)


def test_optimizer_and_head_have_the_constants_of_pytorch():
    given = FACTS["defaults"]
    model = training.compile_network(Network(backbone="small", size=32), TrainingRecipe(), gpu=False)
    optimizer = model.optimizer
    assert (optimizer.epsilon, optimizer.beta_2) == (given["AdamW eps"], given["AdamW beta2"])
    assert any(variable is optimizer.beta for variable in training._variables(model))
    for name in ("norm1", "norm2"):
        norm = model.get_layer(name)
        assert norm.epsilon == given["batch norm eps"]
        assert norm.momentum == pytest.approx(1 - given["batch norm momentum"])


def test_a_checkpoint_of_timm_is_a_start_with_its_own_scaling(tmp_path, arrays):
    tag = "in21k_ft_in1k"
    write_safetensors(tmp_path / "model.safetensors", arrays)
    weights = str(tmp_path / "model.safetensors")
    assert "does not say what it was trained on" in refusal_line(
        network.build_network, Network(size=32, weights=weights)
    )
    state(tmp_path, tag)
    model = network.build_network(Network(size=32, weights=weights))
    assert np.allclose(model.get_layer("scale").mean, 255 * np.array(efficientnet.RELEASES[tag].mean))
    assert np.array_equal(
        model.get_layer("block6l_dwconv2").get_weights()[0][..., 0],
        arrays["blocks.5.11.conv_dw.weight"][:, 0].transpose(1, 2, 0),
    )
    assert np.array_equal(model.get_layer("top_bn").get_weights()[3], arrays["bn2.running_var"])


def test_a_training_is_known_by_its_weights_and_by_what_is_said_beside_them(tmp_path):
    file, rows = tmp_path / "model.safetensors", pd.DataFrame({"cell": ["a"]})
    task = training._Task(TrainingRecipe(), rows, rows, SimpleNamespace(digest="pixels"), 0, 1)
    seen = {training._digest_inputs(Network(weights=str(file)), task, None)}
    for write in (
        lambda: file.write_bytes(b"weights"),
        lambda: file.write_bytes(b"other weights"),
        lambda: state(tmp_path, "in1k"),
        lambda: state(tmp_path, "in21k_ft_in1k"),
    ):
        write()
        seen.add(training._digest_inputs(Network(weights=str(file)), task, None))
    assert len(seen) == 5


BAD = {
    "classes": ({"classifier.weight": np.ones((2, 4))}, {}, "a classifier of 2 classes and in1k has 1,000"),
    "config": ({}, {"architecture": "resnet50"}, "names resnet50, and model.safetensors is to be"),
    "mean": ({}, {"pretrained_cfg": {"tag": "in1k", "mean": [0.5] * 3, "std": [0.5] * 3}}, "calls it in1k"),
    "unscaled": ({}, {"pretrained_cfg": {"tag": "mine"}}, "states no mean and std"),
    "number": ({"bn1.bias": np.full(40, np.nan)}, {}, "values that are not numbers"),
}


@pytest.mark.fault(
    group="models",
    fault="A checkpoint of PyTorch that is not the network's",
    injected="another class count, network or mean; no mean stated; values that are no numbers",
    promise="refused in one line",
)
@pytest.mark.parametrize("case", BAD)
def test_a_checkpoint_that_is_not_the_networks_is_refused(tmp_path, arrays, case):
    changed, config, line = BAD[case]
    kept = arrays if case == "number" else {"bn1.bias": arrays["bn1.bias"]}
    write_safetensors(tmp_path / "model.safetensors", {**kept, **changed})
    state(tmp_path, "in1k", **config)
    given = Network(size=32, weights=str(tmp_path / "model.safetensors"))
    assert line in refusal_line(network.build_network, given)


@pytest.mark.parametrize(
    "changed, line",
    [
        ({"layer1.0.conv1.weight": (64, 3, 7, 7)}, "is of another network"),
        ({"conv_stem.weight": (32, 3, 3, 3)}, "does not fit"),
        ({"bn2.running_var": None}, "does not fit"),
    ],
)
def test_arrays_of_another_network_are_refused(model, arrays, changed, line):
    given = {**arrays, **{key: shape and np.ones(shape) for key, shape in changed.items()}}
    given = {key: array for key, array in given.items() if array is not None}
    inner = keras.Model(model.input, model.get_layer("maps").output, name="efficientnetv2-b3")
    assert line in refusal_line(efficientnet.load_release, inner, given)


def test_a_checkpoint_that_runs_code_is_refused(tmp_path):
    import pickle

    class Trap:
        def __reduce__(self):
            return print, ("the file was run",)

    (tmp_path / "model.pth").write_bytes(pickle.dumps(Trap()))
    given = Network(size=32, weights=str(tmp_path / "model.pth"), pretraining="in1k")
    assert "it names builtins.print" in refusal_line(network.build_network, given)


def test_pretraining_without_a_checkpoint_is_refused():
    with pytest.raises(Refusal, match="no checkpoint of PyTorch"):
        network.check_network(Network(weights="imagenet", pretraining="in1k"))
    line = refusal_line(network.build_network, Network(backbone="VGG16", size=32, weights="vgg16.pth"))
    assert "checkpoints of PyTorch are read for EfficientNetV2B3" in line


ARMS = {name: run for name, run in load_study("ablation").runs.items() if run["experiment"] == "training"}


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_of_the_ablation_can_be_trained(arm):
    given = ARMS[arm]["parameters"]
    stated = {**given, "alpha": training.weigh_classes(given["alpha"])}
    assert training.check_recipe(network.from_parameters(TrainingRecipe, stated))
    assert network.check_network(network.from_parameters(Network, stated))


def test_the_ablation_weighs_once_and_augments_otherwise():
    full = ARMS["full"]["parameters"]
    given = {name: run["parameters"] for name, run in ARMS.items()}
    once = given["weighed-once"]
    assert once["balance"] and once["alpha"] == 0.5 and {**once, "alpha": 0.25, "arm": "full"} == full
    augmented = {name: given[name]["augmentation"] for name in given if given[name]["balance"]}
    assert {"dihedral", "randaugment", "cutmix", "stain"} <= set(augmented.values())
    further = {"weighed-once", "dihedral", "randaugment", "cutmix", "stain"}
    assert further <= set(load_study("ablation").runs["ablation"]["needs"]["trainings"])
    assert not further & set(shrink_to_smoke(load_study("ablation")).runs)


def ask_pytorch(*words):
    """What torch and timm say, in a process of their own: beside TensorFlow they may crash."""
    facts = FILE.parents[2] / "tests" / "pytorch_facts.py"
    asked = [sys.executable, facts, *words]
    return subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.extras
def test_the_numbers_on_file_are_those_of_torch_and_timm():
    fresh = json.loads(ask_pytorch("print").splitlines()[-1])
    assert all(close(fresh[key], FACTS[key]) for key in ("defaults", "one_cycle", "walk", "network"))
    for size, theirs in fresh["depths"].items():
        built = network.build_network(Network(backbone=f"EfficientNetV2{size.upper()}", size=32))
        assert list(rates_of(built).values()) == pytest.approx(theirs)


def close(a, b):
    """Whether two nested lists of numbers agree to what rounding leaves."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    return a == pytest.approx(b, rel=1e-9, abs=1e-15)


@pytest.mark.extras
@pytest.mark.parametrize("tag, kind", [("in1k", "pth"), ("in21k_ft_in1k", "safetensors")])
def test_the_maps_are_those_of_timm(tmp_path, tag, kind):
    release = efficientnet.RELEASES[tag]
    scaling = json.dumps([release.mean, release.deviation])
    ask_pytorch(tmp_path, kind, scaling)
    theirs = np.load(tmp_path / "maps.npz")
    given = Network(size=96, weights=str(tmp_path / f"model.{kind}"), pretraining=tag)
    ours = np.asarray(network.feature_model(network.build_network(given))(theirs["images"])[0])
    assert np.abs(theirs["maps"]).max() > 0.1
    assert np.abs(ours - theirs["maps"]).max() < 1e-3


def test_a_constant_rate_is_the_papers_and_a_cycle_starts_below_it():
    given = TrainingRecipe()
    assert training.learning_rate(replace(given, schedule="constant"), 7, 100) == 1e-4
    assert training.learning_rate(given, 0, 100) == pytest.approx(given.peak / schedule.START)

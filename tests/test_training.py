"""Training by real processes: the same twice, and the same whatever interrupts it."""

import hashlib
import itertools
import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

from leukonb.data import pixels
from leukonb.files import Refusal
from leukonb.model import efficientnet, network, training
from leukonb.model.backbones import BACKBONES
from leukonb.model.checkpoints import SUFFIXES
from leukonb.model.network import Network
from leukonb.model.training import TrainingRecipe
from leukonb.runs.notebook import check_parameters, find_experiment, read_parameters
from leukonb.runs.ranges import CHECKPOINTS, CHOICES, RANGES, find_unfit
from leukonb.runs.study import apply_settings, load_study

PROGRAM = """
import sys, hashlib, time
import numpy as np
sys.path.insert(0, sys.argv[2])
from test_training import cohort, split_of, NET, RECIPE
from leukonb.model import network, training
cells, store = cohort()
slow = float(sys.argv[3]) if len(sys.argv) > 3 else 0
trained = training.train_network(NET, RECIPE, store, split_of(cells), sys.argv[1], seed=3, on_epoch=lambda history: (print(len(history), flush=True), time.sleep(slow)))
scores = training.predict_scores(network.load_model(trained.model_path), store, cells)
print("scores", hashlib.sha256(scores.tobytes()).hexdigest(), trained.epoch, open(f"{sys.argv[1]}/history.csv").readline().strip(), flush=True)
"""
NET = Network(backbone="small", size=48)
RECIPE = TrainingRecipe(batch=8, epochs=4, augmentation="all", selection="best")


def cohort():
    """Discs of noise, the larger ones ALL: ten subjects of five cells."""
    rng = np.random.default_rng(1)
    labels = np.repeat(["ALL", "HEM"] * 5, 5)
    radius = np.hypot(*(np.indices((48, 48)) - 23.5))
    images = np.stack(
        [
            rng.integers(60, 220, (48, 48, 3))
            * (radius < rng.normal(20 if label == "ALL" else 15, 2))[..., None]
            for label in labels
        ]
    ).astype(np.uint8)
    cells = pd.DataFrame(
        {
            "cell": [hashlib.sha256(image).hexdigest() for image in images],
            "subject": np.repeat([f"{'H' if i % 2 else ''}{i}" for i in range(10)], 5),
            "label": labels,
        }
    )
    return cells, pixels.from_arrays(images, cells)


def split_of(cells):
    people = (
        cells.drop_duplicates("subject")
        .assign(n=lambda t: t.groupby("label").cumcount())
        .set_index("subject")
        .n
    )
    return cells.assign(
        split=cells.subject.map(people).mod(3).map({0: "train", 1: "train", 2: "validation"}),
        identity=cells.subject,
        iteration=0,
    )


def start(folder, *words):
    here = str(__import__("pathlib").Path(__file__).parent)
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), here, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process):
    out, error = process.communicate(timeout=240)
    assert process.returncode == 0, error[-3000:]
    return out.splitlines()[-1]


def after(process, epochs):
    """Wait until a process has said that so many epochs are done."""
    for line in process.stdout:
        if line.strip() == str(epochs):
            return


def test_another_process_gives_the_same_bits(straight, tmp_path):
    assert finished(start(tmp_path)) == straight


@pytest.mark.parametrize("epochs, delay", [(1, 0.4), (3, 0.05)])
@pytest.mark.fault(
    group="training",
    fault="The training is killed",
    injected="SIGKILL after an epoch, at two moments",
    promise="taken up, and its scores are the bits of an uninterrupted training",
)
def test_killed_and_taken_up_ends_with_the_same_bits(straight, tmp_path, epochs, delay):
    process = start(tmp_path, 0.3)
    after(process, epochs)
    time.sleep(delay)
    process.kill()
    process.wait()
    assert finished(start(tmp_path)) == straight


@pytest.mark.fault(
    group="training",
    fault="The machine asks for an early end",
    injected="SIGTERM in the middle of an epoch",
    promise="leaves within a batch with the finished epochs kept; taken up with the same bits",
)
def test_sigterm_leaves_at_a_batch_and_is_taken_up(straight, tmp_path):
    process = start(tmp_path, 0.2)
    after(process, 1)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=120)
    assert process.returncode != 0 and "Preempted" in error and "are kept" in error
    assert finished(start(tmp_path)) == straight


@pytest.fixture(scope="module")
def struck(tmp_path_factory):
    """The folder of a training that was killed after its third epoch."""
    folder = tmp_path_factory.mktemp("struck")
    process = start(folder, 0.5)
    after(process, 3)
    process.kill()
    process.wait()
    return folder


@pytest.mark.parametrize("harm", ["flip", "gone", "note"])
@pytest.mark.fault(
    group="training",
    fault="The last saved state is damaged",
    injected="a bit of it flipped, the file removed, its note cut",
    promise="the one before is used, and said; the same bits at the end",
)
def test_a_damaged_state_is_seen_and_the_one_before_used(straight, struck, tmp_path, harm):
    shutil.copytree(struck, tmp_path, dirs_exist_ok=True)
    last = sorted((tmp_path / "checkpoints").glob("epoch-*.npz"))[-1]
    data = last.read_bytes()
    if harm == "flip":
        last.write_bytes(data[:2000] + bytes([data[2000] ^ 1]) + data[2001:])
    elif harm == "gone":
        last.unlink()
    else:
        last.with_suffix(".json").write_text('{"inputs": ')
    process = start(tmp_path)
    out, error = process.communicate(timeout=240)
    assert out.splitlines()[-1] == straight
    assert "the state before it is used" in error


@pytest.mark.fault(
    group="training",
    fault="A saved state of other settings lies in the folder",
    injected="another learning rate",
    promise="not taken up",
)
def test_other_inputs_do_not_take_up_a_state(tmp_path):
    cells, store = cohort()
    training.train_network(NET, TrainingRecipe(batch=8, epochs=1), store, split_of(cells), tmp_path, seed=3)
    again = training.train_network(
        NET, TrainingRecipe(batch=8, epochs=2, peak=5e-4), store, split_of(cells), tmp_path, seed=3
    )
    assert len(again.history) == 2
    fresh = training.train_network(
        NET, TrainingRecipe(batch=8, epochs=2, peak=5e-4), store, split_of(cells), tmp_path / "fresh", seed=3
    )
    pd.testing.assert_frame_equal(
        again.history.drop(columns="seconds"), fresh.history.drop(columns="seconds")
    )


@pytest.mark.fault(
    group="training",
    fault="A finished training is asked for again",
    injected="called twice",
    promise="not an epoch is done again",
)
def test_a_finished_training_is_not_done_again(tmp_path):
    cells, store = cohort()
    first = training.train_network(NET, TrainingRecipe(batch=8, epochs=1), store, split_of(cells), tmp_path)
    called = []
    second = training.train_network(
        NET, TrainingRecipe(batch=8, epochs=1), store, split_of(cells), tmp_path, on_epoch=called.append
    )
    assert not called and second.sha256 == first.sha256


@pytest.mark.fault(
    group="training",
    fault="The loss becomes no number",
    injected="a learning rate of 1e30",
    promise="stops under its own name, with what to change",
)
def test_a_loss_that_is_no_number_ends_under_its_own_name(tmp_path):
    cells, store = cohort()
    with pytest.raises(training.Diverged, match="lower the learning rate"):
        training.train_network(
            NET,
            TrainingRecipe(batch=8, epochs=8, rate=1e30, peak=1e30, clip=0),
            store,
            split_of(cells),
            tmp_path,
        )


@pytest.mark.fault(
    group="training",
    fault="A training part of one class",
    injected="the other class taken out",
    promise="refused before training",
)
def test_a_part_of_one_class_is_refused(tmp_path):
    cells, store = cohort()
    split = split_of(cells)
    with pytest.raises(Refusal, match="both ALL and HEM"):
        training.train_network(
            NET, RECIPE, store, split[(split.split == "train") | (split.label == "ALL")], tmp_path
        )


def test_early_stopping_waits_as_long_as_asked(tmp_path):
    cells, store = cohort()
    trained = training.train_network(
        NET, TrainingRecipe(batch=8, epochs=30, patience=2, least=0.9), store, split_of(cells), tmp_path
    )
    assert trained.stopped == "patience" and len(trained.history) == 3


def test_progress_and_history_are_written(tmp_path):
    cells, store = cohort()
    trained = training.train_network(NET, TrainingRecipe(batch=8, epochs=2), store, split_of(cells), tmp_path)
    told = json.loads((tmp_path / "progress.json").read_text())
    assert (told["step"], told["of"], told["unit"]) == (2, 2, "epoch")
    assert len(pd.read_csv(tmp_path / "history.csv")) == 2
    assert trained.sha256 == hashlib.sha256((tmp_path / "model.keras").read_bytes()).hexdigest()


def test_eight_views_do_not_depend_on_how_the_cell_lies():
    cells, store = cohort()
    model = network.build_network(NET)
    turned = pixels.from_arrays(store.images(cells)[:, ::-1].transpose(0, 2, 1, 3), cells)
    np.testing.assert_allclose(
        training.predict_scores(model, store, cells, views=8),
        training.predict_scores(model, turned, cells, views=8),
        atol=1e-5,
    )


PARAMETERS = read_parameters(find_experiment("training"))
FIELDS = [(record, field) for record in (Network, TrainingRecipe) for field in fields(record)]


@pytest.mark.parametrize("record, field", FIELDS, ids=lambda x: getattr(x, "name", None))
def test_every_field_is_a_parameter_of_the_experiment(record, field):
    parameter = PARAMETERS[field.name]
    assert parameter.what, f"{field.name} has no comment"
    if field.name == "alpha":
        stated = training.weigh_classes(parameter.default)
    else:
        stated = tuple(parameter.default) if isinstance(parameter.default, list) else parameter.default
    assert stated == ("imagenet" if field.name == "weights" else field.default)


def test_the_experiment_builds_both_records_of_its_parameters():
    given = {name: parameter.default for name, parameter in PARAMETERS.items()}
    given |= {"weights": None, "alpha": training.weigh_classes(given["alpha"])}
    assert network.from_parameters(Network, given) == Network()
    assert network.from_parameters(TrainingRecipe, given) == TrainingRecipe()


def is_refused_by_the_model(given):
    try:
        recipe = {**given, "alpha": training.weigh_classes(given["alpha"])}
        network.check_network(network.from_parameters(Network, given))
        training.check_recipe(network.from_parameters(TrainingRecipe, recipe))
    except Refusal:
        return True
    return False


def test_a_plan_and_the_model_refuse_the_same_numbers():
    plain = {name: parameter.default for name, parameter in PARAMETERS.items()}
    numbers = {int: (-1, 0, 1, 2, 3), float: (-1.0, -0.01, 0.0, 0.5, 1.0, 1.01, 2.0)}
    of_the_model = {field.name for record in (Network, TrainingRecipe) for field in fields(record)}
    for name in of_the_model & RANGES.keys() - {"seed", "size", "head", "dropouts"}:
        for value in numbers[int if PARAMETERS[name].type is int else float]:
            given = plain | {name: value}
            assert bool(find_unfit("training", given)) == is_refused_by_the_model(given), (name, value)
    for head, dropouts in itertools.product(
        ([], [1], [0], [2, 3]), ([], [0.0], [0.1, 0.9], [0.1, 1.0], [0.1] * 3)
    ):
        given = plain | {"head": head, "dropouts": dropouts}
        assert bool(find_unfit("training", given)) == is_refused_by_the_model(given), (head, dropouts)
    for weights in (None, "imagenet", "a.pth", "a.h5"):
        given = plain | {"weights": weights, "pretraining": "in1k"}
        assert bool(find_unfit("training", given)) == is_refused_by_the_model(given), weights
    for name, backbone in BACKBONES.items():
        sizes = [plain | {"backbone": name, "weights": None, "size": backbone.least - one} for one in (0, 1)]
        assert [bool(find_unfit("training", given)) for given in sizes] == [False, True], name
    assert set(CHECKPOINTS) == set(SUFFIXES)
    assert set(CHOICES["training.pretraining"]) == {"", *efficientnet.RELEASES}
    assert [name for name, each in BACKBONES.items() if not each.weights] == ["small"], (
        "has no released weights"
    )


def test_a_study_can_set_every_field():
    study = load_study("quick")
    others = {"reduction": 8, "head": [64], "dropouts": [0.1, 0.0], "depth": 0.1, "decay": 0, "clip": 0.5}
    others |= {"precision": "float32", "rising": 0.5, "least": 0.01, "alpha": None}
    apply_settings(study, [f"training.{name}={json.dumps(value)}" for name, value in others.items()])
    checked = check_parameters(find_experiment("training"), study.runs["training"]["parameters"])
    given = {**checked, "alpha": training.weigh_classes(checked["alpha"])}
    net, recipe = (network.from_parameters(record, given) for record in (Network, TrainingRecipe))
    assert (net.reduction, net.head, net.dropouts, net.depth) == (8, (64,), (0.1, 0.0), 0.1)
    assert (recipe.decay, recipe.clip, recipe.precision, recipe.rising) == (0, 0.5, "float32", 0.5)
    assert (recipe.least, recipe.alpha) == (0.01, None)


@pytest.mark.parametrize(
    "changes, line",
    [
        ({"rising": 1.5}, "rising is 1.5; give a share"),
        ({"precision": "float8"}, "precision is 'float8'; choose one of auto"),
        ({"decay": -1}, "decay is -1; give at least 0"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(changes, line):
    with pytest.raises(Refusal, match=line):
        training.check_recipe(replace(TrainingRecipe(), **changes))


@pytest.mark.parametrize("name", ["randaugment", "mixup", "cutmix", "gridmask", "stain"])
def test_every_augmentation_trains(tmp_path, name):
    cells, store = cohort()
    trained = training.train_network(
        NET, replace(RECIPE, epochs=1, augmentation=name), store, split_of(cells), tmp_path, seed=1
    )
    assert np.isfinite(trained.history.loss).all()


def test_a_step_is_traced_once(tmp_path, monkeypatch):
    traced, apply = [], training.AdamW.apply
    monkeypatch.setattr(training.AdamW, "apply", lambda *given: traced.append(given) or apply(*given))
    cells, store = cohort()
    training.train_network(NET, replace(RECIPE, epochs=1), store, split_of(cells), tmp_path, seed=3)
    assert len(traced) == 1

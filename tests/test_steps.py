"""Compiled steps: the training batch by batch, number for number, resumed or not, whoever hands over the images."""

import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from leukonb.data import phantom
from leukonb.data import pixels as stores
from leukonb.files import Refusal
from leukonb.model import augment, backbones, network, steps, training

NET = network.Network(backbone="tiny", size=48, weights=None, head=(8,), dropouts=(0.1, 0.1))
RECIPE = training.TrainingRecipe(batch=8, epochs=2, augmentation="paper", precision="float32")
JAX = Path(sys.prefix) / "jax"  # as in test_backends


def build(images, weights, seed):
    """A backbone that compiles in a second."""
    start = keras.initializers.HeNormal(seed)
    maps = keras.layers.Conv2D(8, 3, strides=4, use_bias=False, kernel_initializer=start, name="conv")(images)
    maps = keras.layers.BatchNormalization(momentum=0.9, name="norm")(maps)
    maps = keras.layers.Activation("relu", name="relu")(maps)
    return keras.Model(keras.utils.get_source_inputs(images), maps, name="tiny")


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """The backbone among those that there are, for these tests alone."""
    backbones.add_backbone(backbones.Backbone("tiny", build, backbones.standardise_pixels))
    yield
    del backbones.BACKBONES["tiny"]


def compiled():
    """A network before its first step, the same each time; one layer adds a penalty to the loss."""
    keras.utils.set_random_seed(0)
    model = training.compile_network(NET, RECIPE, False)
    model.get_layer("dense1").kernel.regularizer = keras.regularizers.L2(0.05)
    return model


def plan(cells, augmentation="paper", **options):
    """The lessons of two epochs of 24 cells, three batches each."""
    return steps.plan_lessons(*cells, replace(RECIPE, augmentation=augmentation), 1, **options)


def variables(model):
    return [*model.variables, *model.optimizer.variables]


def values(model):
    return [np.array(ops.convert_to_numpy(v.value)) for v in variables(model)]


@pytest.fixture(scope="module")
def cells():
    """Four people of six cells and their images."""
    pictures, table = phantom.sample_cohort(subjects=4, cells=6, size=48, seed=3)
    return table, stores.from_arrays(pictures, table)


@pytest.fixture(scope="module")
def whole(cells):
    """Two epochs in one go: the state and the means after each."""
    learner = steps.Learner(compiled(), plan(cells, at_once=3, on_device=True))
    after = []
    for epoch in range(2):
        means = learner.learn(epoch)
        after.append((means, values(learner.model)))
    return after


def test_a_resumed_epoch_is_bit_for_bit_that_of_a_whole_training(cells, whole):
    model = compiled()
    for variable, value in zip(variables(model), whole[0][1]):
        variable.assign(value)
    means = steps.Learner(model, plan(cells, at_once=1, on_device=False)).learn(1, threads=2)
    np.testing.assert_array_equal(means, whole[1][0])
    for found, expected in zip(values(model), whole[1][1]):
        np.testing.assert_array_equal(found, expected)


def batch_by_batch(cells, augmentation):
    """The means and the state after an epoch of `train_on_batch`."""
    (table, store), model, sums = cells, compiled(), []
    recipe = replace(RECIPE, augmentation=augmentation)
    for i, batch in enumerate(training.iterate_batches(table, store, recipe, 1, 0)):
        model.optimizer.learning_rate = float(training.learning_rate(recipe, i, 6))
        model.optimizer.beta.assign(float(training.first_beta(recipe, i, 6)))
        sums.append(model.train_on_batch(*batch))
    assert len(sums) == 3
    return np.mean(sums, 0), values(model), [variable.path for variable in variables(model)]


def check_alike(found, expected, names):
    """Means and states alike but for rounding."""
    np.testing.assert_allclose(found[0], expected[0], atol=1e-4)
    for name, one, other in zip(names, found[1], expected[1]):
        if "dense1" in name and "bias" in name:
            continue  # batch normalisation takes it out again: its gradient is rounding and no more
        np.testing.assert_allclose(one, other, atol=2e-4, rtol=2e-3, err_msg=name)


def test_an_epoch_is_the_one_of_training_batch_by_batch(cells, whole):
    means, state, names = batch_by_batch(cells, "paper")
    check_alike(whole[0], (means, state), names)


def test_a_batch_that_is_not_filled_is_refused(cells):
    table, store = cells
    with pytest.raises(Refusal, match="24 training cells do not fill a batch of 512; use a smaller batch"):
        steps.count_steps(table, augment.find_recipe("paper"), 512)


def test_images_without_room_on_a_card_are_handed_over_and_a_line_says_so(cells, monkeypatch, capsys):
    monkeypatch.setattr(steps, "free_on_card", lambda: 4 * 24 * 48 * 48 * 3 - 1)
    assert not plan(cells).on_device and "each dispatch brings its own" in capsys.readouterr().err
    monkeypatch.setattr(steps, "free_on_card", lambda: 4 * 24 * 48 * 48 * 3)
    assert plan(cells).on_device and capsys.readouterr().err == ""


def test_what_a_card_cannot_hold_is_refused_and_the_largest_batch_named(cells, monkeypatch):
    lessons = plan(cells, at_once=1, on_device=False)
    monkeypatch.setattr(steps, "_compile_steps", lambda model, told: (None, 500 + 1000 * told.recipe.batch))
    for left, remedy in ((8499, "use a batch of at most 7"), (2600, "at most 2"), (2400, "no batch fits")):
        monkeypatch.setattr(steps, "free_on_card", lambda: left)
        with pytest.raises(Refusal, match=f"a batch of 8 cells of 48 px wants .* left; .*{remedy}"):
            steps._fit_steps(None, lessons)
    monkeypatch.setattr(steps, "free_on_card", lambda: 8500)
    assert steps._fit_steps(None, lessons)[1] is lessons


def test_cells_that_the_host_mixes_are_handed_over_as_batches_have_them(cells):
    (table, store), lessons = cells, plan(cells, "mixup", at_once=2)
    recipe = replace(RECIPE, augmentation="mixup")
    draws = list(steps.draw_ahead(lessons, 1, threads=2))
    given = [(d["images"][i], d["truth"][i]) for d, count in draws for i in range(count)]
    batches = list(training.iterate_batches(table, store, recipe, 1, 1))
    assert len(given) == len(batches) == 3 and "matrix" not in draws[0][0] and not lessons.on_device
    for one, other in zip(given, batches):
        for mine, theirs in zip(one, other):
            np.testing.assert_array_equal(mine, ops.convert_to_numpy(theirs))


class Told:
    """A learner whose second dispatch ends with a sum of losses."""

    model = keras.Sequential([keras.Input((1,))])

    def __init__(self, total):
        self.total = total

    def learn(self, epoch, watch):
        watch(0, np.ones(4))
        watch(32, np.array([self.total, 0, 0, 0]))
        return np.array([0.5, 0.5, 0.5, 0.5])


def test_between_dispatches_a_stop_is_heard_and_a_loss_that_is_no_number(cells):
    task, end = training._Task(RECIPE, None, None, None, 0, 40), training.threading.Event()
    assert training._learn_compiled(Told(3.0), task, 0, end)["loss"] == 0.5
    with pytest.raises(training.Diverged, match="in epoch 2, by batch 32; lower the learning rate"):
        training._learn_compiled(Told(np.nan), task, 1, end)
    end.set()
    with pytest.raises(training.Preempted, match="2 epochs are kept"):
        training._learn_compiled(Told(3.0), task, 2, end)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="this is that process")
def test_all_of_this_and_a_whole_training_under_jax(tmp_path):
    if not find_spec("jax") and not JAX.is_dir():
        pytest.skip("jax is not installed here; make test installs it")
    here = Path(__file__).parent
    paths = {"PYTHONPATH": str(JAX), "JAX_COMPILATION_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, here / "steps_by_jax.py"],
        env={
            **os.environ,
            **paths,
            "KERAS_BACKEND": "jax",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
        capture_output=True,
        text=True,
        cwd=here.parent,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr

"""Compiled steps: the training of today, number for number, resumed or not, whoever hands over the images."""

import keras
import numpy as np
import pytest
from keras import ops

from leukonb.data import phantom
from leukonb.data import pixels as stores
from leukonb.files import Refusal
from leukonb.model import network, steps, training

NET = network.Network(backbone="small", size=48, weights=None, head=(8,), dropouts=(0.1, 0.1))
RECIPE = training.TrainingRecipe(batch=8, epochs=2, augmentation="paper", precision="float32")


def compiled():
    """A network before its first step; the same each time."""
    keras.utils.set_random_seed(0)
    return training.compile_network(NET, RECIPE, False)


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
    learner = steps.Learner(compiled(), steps.plan_lessons(*cells, RECIPE, seed=1, at_once=3))
    after = []
    for epoch in range(2):
        means = learner.learn(epoch)
        after.append((means, values(learner.model)))
    return after


def test_a_resumed_epoch_is_bit_for_bit_that_of_a_whole_training(cells, whole):
    model = compiled()
    for variable, value in zip(variables(model), whole[0][1]):
        variable.assign(value)
    streamed = steps.plan_lessons(*cells, RECIPE, seed=1, at_once=3, on_device=False)
    means = steps.Learner(model, streamed).learn(1, threads=2)
    np.testing.assert_array_equal(means, whole[1][0])
    for found, expected in zip(values(model), whole[1][1]):
        np.testing.assert_array_equal(found, expected)


def test_an_epoch_is_the_one_of_training_batch_by_batch(cells, whole):
    (table, store), model, sums = cells, compiled(), []
    lessons = steps.plan_lessons(table, store, RECIPE, seed=1)
    for i, batch in enumerate(training.iterate_batches(table, store, RECIPE, 1, 0)):
        model.optimizer.learning_rate = float(training.learning_rate(RECIPE, i, 2 * lessons.steps))
        model.optimizer.beta.assign(float(training.first_beta(RECIPE, i, 2 * lessons.steps)))
        sums.append(model.train_on_batch(*batch))
    assert len(sums) == lessons.steps > 1
    np.testing.assert_allclose(np.mean(sums, 0), whole[0][0], atol=1e-4)
    for variable, found, expected in zip(variables(model), values(model), whole[0][1]):
        np.testing.assert_allclose(found, expected, atol=2e-4, rtol=2e-3, err_msg=variable.path)


def test_what_steps_cannot_do_is_refused(cells):
    with pytest.raises(Refusal, match="do not make mixup"):
        steps.plan_lessons(*cells, training.TrainingRecipe(augmentation="mixup"))
    with pytest.raises(Refusal, match="use a smaller batch"):
        steps.plan_lessons(*cells, training.TrainingRecipe(batch=512))

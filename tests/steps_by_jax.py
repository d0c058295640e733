"""What holds under JAX alone; `test_steps` runs it in a process of its own."""

import keras
import numpy as np
import pandas as pd
import pytest
import test_steps
from test_steps import NET, RECIPE, compiled, plan, values

from leukonb.model import steps, training

cells, tiny, whole = test_steps.cells, test_steps.tiny, test_steps.whole  # fixtures


def train(cells, folder, **options):
    """A training of both people of each class, validated on the same cells."""
    table, store = cells
    split = pd.concat([table.assign(split=part) for part in ("train", "validation")])
    split = split.assign(identity="", iteration=0)
    return training.train_network(NET, RECIPE, store, split, folder, seed=1, **options)


@pytest.fixture(scope="module")
def trained(cells, tmp_path_factory):
    """A training in one go, in which no batch is handed over alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "train_on_batch", lambda *_: pytest.fail("a batch was handed over"))
        return train(cells, tmp_path_factory.mktemp("whole"))


class Stopped(Exception):
    """After an epoch."""


def stop(history):
    raise Stopped


def test_a_training_stopped_and_gone_on_without_room_for_images_is_the_whole_one(
    trained, cells, tmp_path, monkeypatch
):
    with pytest.raises(Stopped):
        train(cells, tmp_path, on_epoch=stop)
    monkeypatch.setattr(steps, "has_room", lambda need: False)
    monkeypatch.setattr(steps, "_ON_CPU", 1)
    again = train(cells, tmp_path)
    assert again.sha256 == trained.sha256
    one, other = (each.history.drop(columns="seconds") for each in (trained, again))
    assert one.equals(other)


def test_images_make_way_for_the_step_and_it_learns_the_same(whole, cells, monkeypatch, capsys):
    left = iter([0, 10**12, 10**12])
    monkeypatch.setattr(steps, "free_on_card", lambda: next(left))
    learner = steps.Learner(compiled(), plan(cells, at_once=3, on_device=True))
    np.testing.assert_array_equal(learner.learn(0), whole[0][0])
    for found, expected in zip(values(learner.model), whole[0][1]):
        np.testing.assert_array_equal(found, expected)
    assert not learner.lessons.on_device and "room that a step wants" in capsys.readouterr().err

"""`leukonb devices` measures the step that training takes, under each backend."""

from types import SimpleNamespace

import keras
import pytest

from leukonb.model import network, steps, training
from leukonb.verbs import devices


class Dispatches:
    """A learner that notes what is asked of it."""

    noted: list[str] = []

    def __init__(self, model, lessons):
        self.lessons = lessons

    def learn(self, epoch):
        self.noted.append("compiled steps")


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_what_is_measured_is_the_step_that_training_takes(backend, monkeypatch):
    noted: list[str] = []
    model = SimpleNamespace(
        optimizer=SimpleNamespace(), train_on_batch=lambda images, truth: noted.append("batch by batch")
    )
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(steps, "free_on_card", lambda: None)
    monkeypatch.setattr(steps, "Learner", Dispatches)
    monkeypatch.setattr(Dispatches, "noted", noted)
    monkeypatch.setattr(network, "build_network", lambda *a: model)
    monkeypatch.setattr(training, "compile_network", lambda *a: model)
    rows, store = devices._draw_cells(16)
    task = SimpleNamespace(learning=rows, pixels=store, recipe=training.TrainingRecipe(batch=8), seed=0)
    trains = training._choose_way(model, task).func
    rate, first, way = devices.time_step(False, "float32", 0.0)
    assert rate > 0 and first > 0 and len(set(noted)) == 1
    assert (
        {
            training._learn: "batch by batch",
            training._learn_compiled: "compiled steps",
        }[trains]
        == noted[0]
        == way.split(",")[0]
    )

"""Compiled steps of many heads: what NumPy computes head by head, whoever learns beside it."""

import sys

import numpy as np
import pandas as pd
import pytest

from leukonb.data import splits
from leukonb.model import heads
from leukonb.model.heads import ARMS, HeadRecipe

RECIPE = HeadRecipe(
    units=(24, 12), reduction=4, batch=17, epochs=5, patience=1, least=0.02, precision="float64"
)


@pytest.fixture(scope="module")
def world():
    """Thirty subjects of unequal size, features, truth, and the masks of three splits of unequal length."""
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(30), rng.integers(8, 20, 30))
    is_all, names = who % 5 < 3, [f"s{i}" for i in who]
    table = pd.DataFrame({"subject": names, "identity": names, "label": np.where(is_all, "ALL", "HEM")})
    table = table.assign(path="", cell=[f"c{i}" for i in range(len(who))])
    x = rng.normal(size=(30, 20))[who] + rng.normal(size=(len(who), 20)) + 0.8 * is_all[:, None]
    parts = heads.part_masks(splits.split_monte_carlo(table, 3, 0.6, 0.2, 0.2), table.cell)
    assert len(set(parts["train"].sum(1) // 17)) > 1, "heads of one length would not show who waits"
    return x, is_all, parts


@pytest.fixture(scope="module")
def together(world):
    """All heads at once by compiled steps, weights and all."""
    return heads.train_heads(*world, RECIPE, compiled=True, group=3, workers=1, keep=True)


def test_compiled_steps_are_numpys(world, together):
    by_numpy = heads.train_heads(*world, RECIPE, compiled=False, keep=True)
    np.testing.assert_allclose(together.scores, by_numpy.scores, rtol=0, atol=1e-9, equal_nan=True)
    assert together.heads.epochs.nunique() > 1, (
        "heads that stop at once would not show that they stay as they were"
    )
    pd.testing.assert_frame_equal(together.heads, by_numpy.heads)
    pd.testing.assert_frame_equal(together.history, by_numpy.history, rtol=0, atol=1e-9)
    for one, other in zip(together.weights, by_numpy.weights):
        for name, w in one.items():
            np.testing.assert_allclose(w, other[name], rtol=0, atol=1e-9)


def test_a_head_learns_the_same_alone(world, together):
    x, is_all, parts = world
    some = {name: rows[[1]] for name, rows in parts.items()}
    how = dict(arms=ARMS[:1], compiled=True, group=1, workers=1)
    alone = heads.train_heads(x, is_all, some, RECIPE, **how)
    np.testing.assert_allclose(alone.scores, together.scores[[1]], rtol=0, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("said, compiled", [(None, False), ("tensorflow", False), ("jax", True)])
def test_keras_is_not_loaded_to_find_out(monkeypatch, said, compiled):
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if said:
        monkeypatch.setenv("KERAS_BACKEND", said)
    assert heads._takes_compiled(None) == compiled
    assert "keras" not in sys.modules

"""Heads trained together: no split sees its test subjects, none sees another, and each is what it would be alone."""

from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from leukonb.data import splits
from leukonb.files import Refusal
from leukonb.model import heads
from leukonb.model.heads import ARMS, HeadRecipe

RECIPE = HeadRecipe(units=(24, 12), reduction=4, batch=16, epochs=5, patience=2)


@pytest.fixture(scope="module")
def world():
    """Thirty subjects of unequal size, features, and the masks of three splits."""
    rng = np.random.default_rng(0)
    counts = rng.integers(8, 20, 30)
    who = np.repeat(np.arange(30), counts)
    label = np.where(who % 5 < 3, "ALL", "HEM")
    table = pd.DataFrame(
        {
            "subject": [f"s{i}" for i in who],
            "identity": [f"s{i}" for i in who],
            "label": label,
            "path": "",
            "cell": [f"c{i}" for i in range(len(who))],
        }
    )
    x = rng.normal(size=(30, 20))[who] + rng.normal(size=(len(who), 20)) + 3 + 0.8 * (label == "ALL")[:, None]
    return (
        table,
        x.astype(np.float32),
        heads.part_masks(splits.split_monte_carlo(table, 3, 0.6, 0.2, 0.2), table.cell),
    )


def truth(table):
    return (table.label == "ALL").to_numpy()


def some(parts, which):
    return {k: v[which] for k, v in parts.items()}


def test_a_test_subjects_labels_and_features_do_not_reach_its_split(world):
    table, x, parts = world
    before = heads.train_heads(x, truth(table), parts, RECIPE, keep=True)
    for i in range(3):
        test = parts["test"][i]
        labels, features = truth(table).copy(), x.copy()
        labels[test], features[test] = ~labels[test], 0
        after = heads.train_heads(features, labels, some(parts, [i]), RECIPE, keep=True)
        for arm in range(2):
            for name, w in before.weights[arm * 3 + i].items():
                np.testing.assert_array_equal(w, after.weights[arm][name])


def test_a_training_subjects_labels_do(world):
    table, x, parts = world
    labels = truth(table).copy()
    labels[parts["train"][0]] = ~labels[parts["train"][0]]
    before, after = (
        heads.train_heads(x, y, some(parts, [0]), RECIPE, keep=True).weights[0]["dense1"]
        for y in (truth(table), labels)
    )
    assert np.abs(before - after).max() > 1e-3


@pytest.mark.parametrize("group", [1, 2, 3])
def test_together_as_alone(world, group):
    table, x, parts = world
    together = heads.train_heads(x, truth(table), parts, RECIPE, group=group)
    for i in range(3):
        alone = heads.train_heads(x, truth(table), some(parts, [i]), RECIPE, group=1, workers=1)
        for arm in range(2):
            np.testing.assert_allclose(
                together.scores[arm * 3 + i], alone.scores[arm], atol=1e-5, equal_nan=True
            )
            assert together.heads.epoch[arm * 3 + i] == alone.heads.epoch[arm]


def test_heads_in_another_order_give_the_same_in_that_order(world):
    table, x, parts = world
    turned = [2, 0, 1]
    one, other = (
        heads.train_heads(x, truth(table), parts, RECIPE),
        heads.train_heads(x, truth(table), some(parts, turned), RECIPE),
    )
    np.testing.assert_allclose(one.scores[turned], other.scores[:3], atol=1e-5, equal_nan=True)
    assert list(other.heads.iteration[:3]) == [2, 0, 1]


def test_the_number_of_threads_changes_nothing(world):
    table, x, parts = world
    one, two = (heads.train_heads(x, truth(table), parts, RECIPE, group=1, workers=n).scores for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_iterations_do_not_share_their_draws(world):
    form = heads.weight_shapes(20, True, RECIPE)
    assert np.abs(heads.initial_weights(form, 0, 0) - heads.initial_weights(form, 0, 1)).max() > 0.01
    assert not np.array_equal(
        heads.draw_batches(np.arange(64), RECIPE, 0, 0, 0), heads.draw_batches(np.arange(64), RECIPE, 0, 0, 1)
    )


@pytest.mark.parametrize("precision, most", [("float32", 1e-3), ("float64", 1e-9)])
@pytest.mark.parametrize("arm", ARMS)
def test_the_same_scores_as_keras(world, arm, precision, most):
    table, x, parts = world
    plain = replace(RECIPE, dropouts=(0.0, 0.0, 0.0), precision=precision)
    ours = heads.train_heads(x, truth(table), some(parts, [1]), plain, arms=(arm,)).scores[0]
    theirs = heads.train_keras_head(x, truth(table), parts, 1, arm, plain)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=most, equal_nan=True)
    assert keras.config.floatx() == keras.config.dtype_policy().name == "float32"


def test_gradients_are_those_of_finite_differences():
    rng, recipe = np.random.default_rng(0), replace(RECIPE, dropouts=(0.3, 0.2, 0.3), clip=0.0)
    form = heads.weight_shapes(6, True, recipe)
    flat = rng.normal(0, 0.4, (1, sum(int(np.prod(s)) for s in form.values())))
    u, m, y = rng.normal(size=(1, 16, 6)), rng.normal(size=(1, 1, 6)), rng.integers(0, 2, (1, 16))
    drops = [(rng.random((1, 16, n)) > 0.3) / 0.7 for n in (6, 24, 12)]

    def loss(f):
        logits, kept = heads._forward(heads.view_weights(f, form), u, m, drops)
        return heads._focal(logits, y, recipe), kept

    (_, d), kept = loss(flat)
    found = np.zeros_like(flat)
    heads._back(heads.view_weights(flat, form), heads.view_weights(found, form), d, kept, drops)
    for i in rng.choice(flat.shape[1], 40, replace=False):
        step = np.zeros_like(flat)
        step[0, i] = 1e-5
        numeric = (loss(flat + step)[0][0] - loss(flat - step)[0][0]) / 2e-5
        np.testing.assert_allclose(found[0, i], numeric[0], rtol=2e-3, atol=2e-7)


@pytest.mark.parametrize("odd", [False, True], ids=["even width", "odd width"])
@pytest.mark.parametrize("method", ["ridge", "lda"])
def test_closed_forms_are_scikit_learns(world, method, odd):
    table, x, parts = world
    x = x.astype(float) * np.logspace(-3, 3, x.shape[1]) + np.linspace(-50, 50, x.shape[1])
    x = np.column_stack([x, np.full(len(x), 7.0)])
    x = x[:, x.shape[1] % 2 != odd :]
    assert x.shape[1] % 2 == odd
    of = heads.sum_identities(x, truth(table), table.identity)
    w, offset = heads.solve_closed_form(
        of, heads.identity_masks(of, parts["train"], table.identity), method, penalty=3.0, shrinkage=0.05
    )
    for i, train in enumerate(parts["train"]):
        labels, z = np.where(truth(table)[train], 1, -1), StandardScaler().fit(x[train])
        if method == "ridge":
            said = Ridge(3.0).fit(z.transform(x[train]), labels).predict(z.transform(x))
        else:
            said = (
                LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.05)
                .fit(z.transform(x[train]), labels)
                .decision_function(z.transform(x))
            )
        np.testing.assert_allclose(x @ w[i] + offset[i], said, atol=1e-8)


def test_a_closed_form_without_a_single_solution_is_refused(world):
    table, x, parts = world
    x = np.column_stack([x, x[:, 0], np.zeros(len(x))])
    of = heads.sum_identities(x, truth(table), table.identity)
    train = heads.identity_masks(of, parts["train"], table.identity)
    assert np.isfinite(heads.solve_closed_form(of, train, penalty=1.0)[0]).all()
    with pytest.raises(Refusal, match="give a penalty or shrinkage above 0"):
        heads.solve_closed_form(of, train, penalty=0.0)


def test_sums_need_whole_identities(world):
    table, x, parts = world
    of, torn = heads.sum_identities(x, truth(table), table.identity), parts["train"].copy()
    torn[0, np.flatnonzero(torn[0])[0]] = False
    with pytest.raises(Refusal, match="whole ones"):
        heads.identity_masks(of, torn, table.identity)


def test_the_threshold_is_the_validation_parts(world):
    table, x, parts = world
    trained = heads.train_heads(x, truth(table), some(parts, [0]), RECIPE)
    asked, test = parts["validation"][0], parts["test"][0]
    labels = truth(table).copy()
    labels[test] = ~labels[test]
    np.testing.assert_array_equal(
        *(heads.calibrate_head(trained.scores[0], y, asked, "youden") for y in (truth(table), labels))
    )


def test_early_stopping_is_each_heads_own(world):
    table, x, parts = world
    trained = heads.train_heads(x, truth(table), parts, replace(RECIPE, epochs=12, patience=1, least=0.3))
    assert set(trained.heads.epochs) == {2}
    assert (trained.heads.epoch <= trained.heads.epochs).all()


def test_progress_is_written(world, tmp_path):
    from leukonb.files import read_json

    table, x, parts = world
    heads.train_heads(x, truth(table), parts, replace(RECIPE, epochs=1), folder=tmp_path)
    told = read_json(tmp_path / "progress.json")
    assert (told["step"], told["of"], told["unit"]) == (6, 6, "head") and set(told) == {
        "step",
        "of",
        "unit",
        "message",
        "seconds_left",
    }


def test_what_does_not_fit_is_refused(world):
    table, x, parts = world
    with pytest.raises(Refusal, match="smaller batch"):
        heads.train_heads(x, truth(table), parts, replace(RECIPE, batch=4096))
    with pytest.raises(Refusal, match="has no features"):
        heads.part_masks(splits.split_monte_carlo(table, 1), table.cell[1:])

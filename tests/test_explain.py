"""Explanations of real networks: cut, in half precision, from a file, without attention, and of the paper's backbone."""

import numpy as np
import pytest

from leukonb.data import phantom
from leukonb.model import explain
from leukonb.files import Refusal
from leukonb.model import network


@pytest.fixture(scope="module")
def cells():
    images, table = phantom.sample_cohort(subjects=6, cells=4, size=64, seed=2)
    return images[:8], table.label.to_numpy()[:8]


def small(**options):
    return network.build_network(
        network.Network(
            **{
                "backbone": "small",
                "size": 64,
                "weights": None,
                "head": (16,),
                "dropouts": (0.1, 0.1),
                "seed": 1,
                **options,
            }
        )
    )


@pytest.mark.parametrize("attention", [True, False])
def test_the_parts_of_a_cut_network_are_the_network(cells, attention):
    images, _ = cells
    model = small(attention=attention)
    parts = explain.cut_network(model)
    assert np.allclose(
        parts.top(parts.trunk(images.astype(np.float32))), model(images.astype(np.float32)), atol=1e-4
    )
    assert parts.grid == (4, 4) and (parts.gate is not None) == attention


def test_a_network_from_a_file_is_explained_alike(cells, tmp_path):
    images, labels = cells
    model = small()
    network.save_model(model, tmp_path / "model.keras")
    again = explain.cut_network(network.load_model(tmp_path / "model.keras"))
    assert np.allclose(
        explain.gradcam(explain.cut_network(model), images, labels),
        explain.gradcam(again, images, labels),
        atol=1e-6,
    )


def test_gradients_are_taken_in_single_precision_from_a_network_in_half(cells):
    import keras

    images, labels = cells
    single = small()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = small()
        half.set_weights(single.get_weights())
    finally:
        keras.config.set_dtype_policy("float32")
    parts = explain.cut_network(half)
    assert {layer.compute_dtype for layer in parts.whole.layers if layer.weights} == {"float32"}
    assert np.allclose(
        explain.gradcam(parts, images, labels),
        explain.gradcam(explain.cut_network(single), images, labels),
        atol=1e-5,
    )


def test_the_papers_backbone_is_cut_explained_and_left_as_it_was(cells):
    images, labels = cells[0][:3], cells[1][:3]
    parts = explain.cut_network(network.build_network(network.Network(size=64, weights=None)))
    before = parts.whole.get_weights()
    assert parts.trunk.output_shape[1:] == (2, 2, 1536)
    assert explain.channel_gates(parts, images).shape == (3, 1536)
    assert explain.largest_difference(parts, images, labels) < 1e-4
    rows = explain.randomise_weights(parts, images, labels, draws=1)
    assert list(dict.fromkeys(rows.stage)) == [
        "head",
        "attention",
        "trunk 1 of 4",
        "trunk 2 of 4",
        "trunk 3 of 4",
        "trunk 4 of 4",
    ]
    assert sum(len(layers) for layers in explain.weight_stages(parts).values()) == sum(
        bool(layer.weights) for layer in parts.whole.layers
    )
    assert all(np.array_equal(a, b) for a, b in zip(before, parts.whole.get_weights()))


def test_shuffling_comes_undone_when_a_map_fails(cells):
    images, labels = cells
    parts = explain.cut_network(small())
    before = parts.whole.get_weights()
    calls = []

    def failing(*given):
        calls.append(1)
        if len(calls) > 2:
            raise RuntimeError("no map")
        return explain.gradcam(*given)

    with pytest.raises(RuntimeError):
        explain.randomise_weights(parts, images, labels, 1, methods={"failing": failing})
    assert all(np.array_equal(a, b) for a, b in zip(before, parts.whole.get_weights()))


def test_a_network_that_branches_after_its_map_is_refused():
    import keras

    x = keras.Input((32, 32, 3))
    f = keras.layers.Conv2D(4, 3, name="maps")(x)
    two = keras.layers.Add(name="sum")(
        [keras.layers.GlobalAveragePooling2D()(f), keras.layers.GlobalMaxPooling2D()(f)]
    )
    with pytest.raises(Refusal, match="does not run straight on"):
        explain.cut_network(keras.Model(x, keras.layers.Dense(2)(two)))


def test_squares_lie_in_the_cell_and_curves_begin_and_end_alike(cells):
    images, labels = cells
    parts = explain.cut_network(small())
    maps = {"Grad-CAM": explain.gradcam(parts, images, labels)}
    rows = explain.deletion_curves(parts, images, labels, maps, orders=2)
    ends = rows[rows.step.isin([0, 8])]
    assert np.allclose(ends.odds, ends.random, atol=1e-5)  # nothing or all is the same in every order
    whole = explain.log_odds(parts, images, labels)
    start = rows[(rows.curve == "deletion") & (rows.step == 0)].set_index("image").odds
    assert np.allclose(whole[start.index], start, atol=1e-5)
    assert np.allclose(rows[(rows.curve == "insertion") & (rows.step == 8)].odds, start.to_numpy(), atol=1e-5)

"Augmentation: pure, exact where it can be, equal to SciPy's where it cannot."

import hashlib
import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import ndimage

from leukonb.files import Refusal
from leukonb.model import augment

CELLS = [hashlib.sha256(b"%d" % i).hexdigest() for i in range(64)]


def blobs(n=4, size=48, seed=0):
    "Random textured discs on black."
    disc = np.hypot(*(np.indices((size, size)) - (size - 1) / 2)) < size * 0.4
    return np.random.default_rng(seed).integers(1, 256, (n, size, size, 3), np.uint8) * disc[
        None, ..., None
    ].astype(np.uint8)


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


# What the first version of this suite drew, by a Philox of its own, for seeds that runs were made with.
@pytest.mark.parametrize(
    "seed, epoch, repeats, count, drawn",
    [
        (0, 0, 0, 24, "da11b1aafbca80e3"),
        (7, 3, 2, 24, "dd143092a48daf05"),
        (2**64 - 1, 5, 0, 4, "972c0330c66f74c4"),
        (3, 2**32, 1, 7, "1f64c09c320d6946"),
        (1, 1, np.arange(64), 24, "bad965c0c2f5ad9f"),
    ],
)
def test_numbers_are_the_bits_they_always_were(seed, epoch, repeats, count, drawn):
    assert digest(augment.draw_numbers(seed, epoch, CELLS, count, repeats)) == drawn


@pytest.mark.parametrize(
    "n, order", [(1, "af5570f5a1810b7a"), (10, "fa6ac2fcfea6408b"), (4097, "1ed25f56fba231dc")]
)
def test_orders_are_what_they_always_were(n, order):
    assert digest(augment.shuffle_order(n, 5, 2)) == order


@pytest.mark.parametrize(
    "recipe, drawn",
    [
        (
            "paper",
            {"flip": "2ec1e444f31647e7", "rotation": "bf0c0d565da8f3b2", "contrast": "7148a6e6d28e2731"},
        ),
        ("dihedral", {"view": "f661c75e25b23590"}),
        ("stain", {"scale_h": "fbaa40899ffe5d97", "offset_d": "7c4d3b5796d16710"}),
        ("cutmix", {"partner": "d1ec7676363975f3", "box_y": "ab8e9b1fb3f397db"}),
        ("gridmask", {"unit": "1d55d3fbd27919db", "ratio": "627a51857e3983ef", "turn": "032cad3110fdb3c3"}),
        ("randaugment", {"first": "0ef47e91e80b4e5d", "second_amount": "3fe3ba57ec2aec64"}),
    ],
)
def test_a_recipe_draws_what_it_always_drew(recipe, drawn):
    params = augment.draw_parameters(recipe, 7, 3, CELLS[:16], 1, np.arange(16) % 3 > 0)
    assert {name: digest(params[name]) for name in drawn} == drawn


def test_no_operation_takes_the_numbers_of_one_that_it_can_be_combined_with():
    for first, second in itertools.combinations(augment.OPERATIONS.values(), 2):
        if set(first.numbers) & set(second.numbers):
            with pytest.raises(Refusal, match="the same random numbers"):
                augment.find_recipe("none", **{o.name: 0.5 for o in (first, second)})
        else:
            assert not set(first.parameters) & set(second.parameters)
    assert all(augment._TIE not in operation.numbers for operation in augment.OPERATIONS.values())


@pytest.mark.parametrize("name", augment.OPERATIONS)
def test_a_cell_that_is_left_alone_stays_as_it_is(name):
    how = augment.Augmentation("one", {name: min(1, augment.OPERATIONS[name].most)})
    images = blobs(4, 24)
    params = augment.draw_parameters(how, 1, 0, CELLS[:4], augmented=False)
    found, labels = augment.apply_batch(how, images, np.eye(2)[[0, 1, 1, 0]], params)
    np.testing.assert_allclose(np.asarray(found), images, atol=1e-3)
    assert np.array_equal(np.asarray(labels), np.eye(2)[[0, 1, 1, 0]])


@pytest.mark.parametrize(
    "settings, line",
    [
        ({"rotation": 181}, "rotation is 181; give a number from 0 to 180"),
        ({"zoom": -0.1}, "zoom is -0.1; give a number from 0 to 0.9"),
        ({"flip": "often"}, "flip is 'often'; give a number from 0 to 1"),
        ({"dihedral": 0.5}, "dihedral is 0.5; give true or false"),
        ({"rotaton": 5}, "an augmentation has no 'rotaton'"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings, line):
    with pytest.raises(Refusal, match=line):
        augment.find_recipe("paper", **settings)


def test_a_further_operation_is_one_record(monkeypatch):
    monkeypatch.setattr(augment, "OPERATIONS", dict(augment.OPERATIONS))
    before = augment.draw_parameters("paper", 1, 0, CELLS)

    def dim(images, params):
        return images * augment._each(params["dim"])

    augment.add_operation(augment.Operation("dim", "colour", (24,), {"dim": 1}, dim))
    how = augment.find_recipe("paper", dim=0.5)
    params = augment.draw_parameters(how, 1, 0, CELLS)
    assert all(np.array_equal(params[name], before[name]) for name in before.dtype.names)
    only = augment.find_recipe("none", dim=0.5)
    images, dims = blobs(8, 24), augment.draw_parameters(only, 1, 0, CELLS[:8])
    np.testing.assert_allclose(
        np.asarray(augment.apply_parameters(images, dims)), images * augment._each(dims["dim"])
    )
    assert augment.describe_changes(how)[-1] == "dim +-0.5"
    with pytest.raises(Refusal, match="'flip' belongs to flip"):
        augment.add_operation(augment.Operation("turn", "warp", (25,), {"flip": 0}, dim))


def reference(image, params):
    "SciPy's warp through the same matrix."
    m = augment.warp_matrix(params, image.shape[0]).astype(float)[0]
    y, x = np.indices(image.shape[:2])
    places = [m[3] * x + m[4] * y + m[5], m[0] * x + m[1] * y + m[2]]
    return np.stack(
        [
            ndimage.map_coordinates(image[..., c].astype(float), places, order=1, mode="grid-constant")
            for c in range(3)
        ],
        -1,
    )


def test_draws_are_the_same_in_another_process():
    code = (
        "import hashlib; from leukonb.model.augment import draw_parameters;"
        "cells = [hashlib.sha256(b'%d' % i).hexdigest() for i in range(64)];"
        "print(hashlib.sha256(draw_parameters('paper', 7, 3, cells).tobytes()).hexdigest())"
    )
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert there == hashlib.sha256(augment.draw_parameters("paper", 7, 3, CELLS).tobytes()).hexdigest()


@pytest.mark.parametrize("name", ["paper", "dihedral", "stain", "gridmask"])
@settings(max_examples=15, deadline=None)
@given(chosen=st.lists(st.integers(0, 63), min_size=1, max_size=8))
def test_a_cell_gets_the_same_whatever_the_batch(name, chosen):
    images = blobs(64, 32)
    cells = [CELLS[i] for i in chosen]
    alone = augment.draw_parameters(name, 1, 2, CELLS)
    together = augment.draw_parameters(name, 1, 2, cells)
    assert np.array_equal(alone[chosen], together)
    batch = np.asarray(augment.apply_parameters(images[chosen], together))
    single = np.concatenate(
        [np.asarray(augment.apply_parameters(images[i : i + 1], alone[i : i + 1])) for i in chosen]
    )
    np.testing.assert_allclose(batch, single, atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(
    rotation=st.floats(0, 180),
    zoom=st.floats(0, 0.5),
    shift=st.floats(0, 0.3),
    flip=st.sampled_from([0.0, 0.5]),
    dihedral=st.booleans(),
    seed=st.integers(0, 2**64 - 1),
)
def test_warp_equals_scipys(rotation, zoom, shift, flip, dihedral, seed):
    how = augment.find_recipe("none", rotation=rotation, zoom=zoom, shift=shift, flip=flip, dihedral=dihedral)
    images, params = blobs(2, 24), augment.draw_parameters(how, seed, 0, CELLS[:2])
    found = np.asarray(augment.apply_parameters(images, params))
    for image, param, warped in zip(images, np.split(params, 2), found):
        expected = reference(image, param) if set(params.dtype.names or ()) else image
        assert np.abs(warped - expected).max() < 0.05

"Augmentation: pure, exact where it can be, equal to SciPy's where it cannot."

import hashlib
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
    single = np.concatenate([np.asarray(augment.apply_parameters(images[i : i + 1], alone[i : i + 1])) for i in chosen])
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

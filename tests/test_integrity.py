"""Records, tables and pages that were changed after they were written: each is found, named, and does no harm."""

import os
import shutil
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from test_cohort import encoded

from leukonb.files import refusal_line
from leukonb.verbs import evaluate, predict


@pytest.mark.fault(
    group="models",
    fault="Images to be scored that cannot be read",
    injected="a folder without permissions, two damaged files, a path that is not there, beside good images",
    promise="all of them are named in one line and nothing is scored",
)
def test_all_that_cannot_be_scored_is_named_at_once(tmp_path):
    home = Path(tempfile.mkdtemp())
    home.chmod(0o755)
    for n, name in enumerate(("a/good.bmp", "b/hidden.bmp", "cut.bmp")):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_bytes(encoded(n, 64))
    (home / "cut.bmp").write_bytes((home / "cut.bmp").read_bytes()[:99])
    (home / "text.png").write_text("<html>")
    (home / "b").chmod(0)
    was = os.geteuid()
    try:
        if was == 0:
            os.seteuid(65534)
        whole = refusal_line(predict.list_images, [home, home / "nowhere"])
        part = refusal_line(predict.list_images, home / "b")
    finally:
        os.seteuid(was)
        (home / "b").chmod(0o755)
    assert all(f"{home}/{name}" in whole for name in ("b ", "cut.bmp", "text.png", "nowhere"))
    assert "good.bmp" not in whole and "permissions" in part and "\n" not in whole
    (home / "cut.bmp").unlink()
    (home / "text.png").unlink()
    assert len(predict.list_images(home)) == 2
    shutil.rmtree(home)


@pytest.fixture
def table(tmp_path):
    """Predictions of eight subjects, half of them right."""
    rows = [(f"p{n % 8}", n % 2, (n * 7 % 10) / 10) for n in range(80)]
    return pd.DataFrame(rows, columns=["subject", "label", "score"])


@pytest.mark.fault(
    group="runs",
    fault="The kept copy of a judged table was changed",
    injected="other scores, a file cut off, a table without columns of ours",
    promise="made anew from the table that is judged",
)
@pytest.mark.parametrize("way", ["other scores", "cut off", "other columns"])
def test_a_kept_table_that_was_changed_is_made_anew(table, tmp_path, way):
    evaluate.plan_judgement(table, tmp_path)
    (kept,) = (tmp_path / "_tables").iterdir()
    right = kept.read_bytes()
    if way == "other scores":
        pd.read_parquet(kept).assign(score=1.0).to_parquet(kept)
    elif way == "cut off":
        kept.write_bytes(right[:100])
    else:
        pd.DataFrame({"a": [1]}).to_parquet(kept)
    evaluate.plan_judgement(table, tmp_path)
    fresh = pd.read_parquet(kept)
    assert len(fresh) == 80 and sorted(fresh.score) == sorted(table.score)
    stamp = kept.stat().st_mtime_ns
    evaluate.plan_judgement(table, tmp_path)
    assert kept.stat().st_mtime_ns == stamp, "a sound one is left alone"

"""Files on shares that cannot flush are written all the same; a disk that fails is not passed over."""

import errno
import os

import pandas as pd
import pytest

from leukonb import files


def failing(monkeypatch, code):
    def fsync(handle):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, "fsync", fsync)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
@pytest.mark.fault(
    group="data",
    fault="A folder or share that cannot flush",
    injected="fsync answers EINVAL, as virtual and network shares do, or that it is not supported",
    promise="the file is written, whole, without a word of it",
)
def test_a_share_that_cannot_flush_is_written_to(tmp_path, monkeypatch, code):
    failing(monkeypatch, code)
    files.write_json(tmp_path / "a.json", {"b": 1})
    with files.staged(tmp_path / "site") as site:
        (site / "index.html").write_text("cells")
    assert files.read_json(tmp_path / "a.json") == {"b": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "site"]


def test_a_disk_that_fails_is_not_passed_over(tmp_path, monkeypatch):
    failing(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        files.write_text(tmp_path / "a.txt", "b")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_names_are_text_and_stay_what_they_are(tmp_path, ending):
    names = ["001", "1", "1E2", "100", "NA", "nan", "1.0", "TRUE"]
    table = pd.DataFrame(
        {"subject": names, "identity": ["7"] * 8, "cell": names, "score": [0.5] * 7 + [None]}
    )
    again = files.read_table(files.write_table(tmp_path / f"table.{ending}", table))
    assert again.subject.tolist() == again.cell.tolist() == names and again.identity.tolist() == ["7"] * 8
    assert again.score.isna().sum() == 1

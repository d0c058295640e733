"""Duplicates: the package's table against the release's own digests, and what must be found where it is planted."""

import pandas as pd
import pytest

from leukonb.data import duplicates, release
from leukonb.files import Refusal


def test_pairs_are_those_of_the_digests(metadata):
    files = pd.read_csv(metadata.folder / "sha256.csv")
    files = files[files.path.str.endswith(".bmp")]
    sizes = files.groupby("sha256").size()
    assert len(duplicates.find_pairs(metadata.table)) == (sizes * (sizes - 1) // 2).sum() > 0


def test_exposed_agrees_with_pairs():
    found = duplicates.find_pairs()
    across = found[(found.fold_a != found.fold_b).fillna(False).astype(bool)]
    assert duplicates.count_exposed()["same picture trained on"].sum() == 2 * len(across)


def test_a_subject_cut_by_folds_is_seen():
    rows = release.released_table().copy()
    one = rows.index[(rows.subject == "1").fillna(False)][0]
    rows.loc[one, "fold"] = (rows.loc[one, "fold"] + 1) % 3
    assert (
        duplicates.count_crossing(rows).subjects.sum() == 1
        and duplicates.count_crossing().subjects.sum() == 0
    )


def test_nothing_twice_gives_empty_tables():
    rows = release.released_table().drop_duplicates("cell")
    assert (
        duplicates.find_pairs(rows).empty
        and duplicates.count_shared(duplicates.find_pairs(rows), rows).empty
        and duplicates.list_joined(rows).empty
    )


def test_one_class_gives_no_threshold():
    import numpy as np

    with pytest.raises(Refusal, match="both classes"):
        duplicates.choose_threshold(np.zeros((3, 64), bool), ["ALL"] * 3)

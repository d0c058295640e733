"""Splits: whole, exact, the same whatever the order; for any cohort that Hypothesis can think of."""

import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from leukonb.data import release, splits
from leukonb.files import Refusal


@st.composite
def cohorts(draw, most=16):
    """Cells of up to `most` subjects of each class, some subjects joined."""
    rows = []
    for label, prefix in (("ALL", ""), ("HEM", "H")):
        groups = draw(st.lists(st.integers(1, 3), min_size=3, max_size=most))
        number = 0
        for size in groups:
            first = f"{prefix}{number + 1}"
            for _ in range(size):
                number += 1
                rows += [(f"{prefix}{number}", first, label)] * draw(st.integers(1, 4))
    table = pd.DataFrame(rows, columns=["subject", "identity", "label"])
    cells = [f"{i:064x}" for i in range(len(table))]
    return table.assign(cell=cells, path=cells, part="training", fold=0)


@settings(max_examples=60, deadline=None)
@given(cells=cohorts(), seed=st.integers(0, 99), iteration=st.integers(0, 9))
@pytest.mark.fault(
    group="data",
    fault="Any cohort, identities of any size",
    injected="cohorts drawn by Hypothesis",
    promise="no identity in two parts of a split",
)
def test_no_identity_is_in_two_parts_and_no_quota_is_passed(cells, seed, iteration):
    split = (
        splits.split_by_identity(cells, 0.5, 0.2, 0.3, seed, iteration)
        if _fits(cells, 0.5, 0.2, 0.3)
        else None
    )
    if split is None:
        return
    assert split.groupby("identity").split.nunique().max() == 1
    counts = {label: int(n) for label, n in cells.groupby("label").subject.nunique().items()}
    wanted = splits.subject_quotas(counts, 0.5, 0.2, 0.3)
    got = split.groupby(["split", "label"]).subject.nunique()
    for part, quota in wanted.items():
        for label, n in quota.items():
            short = split.attrs["short"].get(f"{part} {label}", 0)
            assert got.get((part, label), 0) == n - short


def _fits(cells, *shares):
    try:
        splits.subject_quotas(
            {label: int(n) for label, n in cells.groupby("label").subject.nunique().items()}, *shares
        )
        return True
    except Refusal:
        return False


@settings(max_examples=30, deadline=None)
@given(cells=cohorts(), order=st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(cells, order):
    if not _fits(cells, 0.5, 0.2, 0.3):
        return
    index = list(cells.index)
    order.shuffle(index)
    first, second = (splits.split_by_identity(c, 0.5, 0.2, 0.3, 3, 1) for c in (cells, cells.loc[index]))
    assert splits.digest_split(first) == splits.digest_split(second)


@settings(max_examples=40, deadline=None)
@given(
    all_=st.integers(3, 120),
    hem=st.integers(3, 120),
    shares=st.lists(st.floats(0.15, 0.6), min_size=3, max_size=3),
)
def test_quotas_of_single_subjects_are_met_exactly(all_, hem, shares):
    shares = [s / max(1, sum(shares)) for s in shares]
    subjects = {"ALL": all_, "HEM": hem}
    try:
        wanted = splits.subject_quotas(subjects, *shares)
    except Refusal as refusal:
        assert "would get no" in str(refusal)
        return
    names = [(f"{i}", "ALL") for i in range(all_)] + [(f"H{i}", "HEM") for i in range(hem)]
    cells = pd.DataFrame(names, columns=["subject", "label"]).assign(
        identity=lambda t: t.subject, cell=lambda t: t.subject, path=lambda t: t.subject
    )
    split = splits.split_by_identity(cells, *shares)
    assert not split.attrs["short"]
    assert split.groupby(["split", "label"]).subject.nunique().to_dict() == {
        (part, label): n for part, quota in wanted.items() for label, n in quota.items()
    }


@pytest.fixture(scope="module")
def released():
    cells = release.released_table().assign(
        path=lambda t: t.cell, identity=lambda t: t.subject.map(release.released_identities())
    )
    return cells[cells.part != "final"].reset_index(drop=True)


def test_the_papers_quotas_hold_for_a_hundred_draws(released):
    for iteration in range(100):
        split = splits.split_by_identity(released, 80, 10, 11, iteration=iteration)
        assert not split.attrs["short"]
        assert split.groupby("split").subject.nunique().to_dict() == {
            "train": 80,
            "validation": 10,
            "test": 11,
        }
        assert split.groupby(["split", "label"]).identity.nunique().min() > 1, "one person fills a part"


@pytest.mark.fault(
    group="data",
    fault="A test part of one person",
    injected="a share of the subjects that gives the rarer class one identity",
    promise="refused before training: one identity of a class gives no interval",
)
def test_a_test_of_one_identity_a_class_is_refused(released):
    few = released[
        released.identity.isin(
            {i for _, ids in released.groupby("label").identity.unique().items() for i in ids[:8]}
        )
    ]
    with pytest.raises(Refusal, match="at least 2 of each"):
        splits.draw_split(few, "identity", 0.7, 0.2, 0.1)
    assert len(splits.draw_split(few, "identity", 0.5, 0.2, 0.3))


def test_released_folds_cross_and_are_made_whole(released):
    training = released[released.part == "training"]
    assert (training.groupby("identity").fold.nunique() > 1).any()
    whole = training.assign(fold=splits.assign_whole_folds(training))
    assert whole.groupby("identity").fold.nunique().max() == 1
    assert whole.groupby("cell").fold.nunique().max() == 1
    uncut = training.groupby("identity").filter(lambda rows: rows.fold.nunique() == 1)
    assert (whole.fold[uncut.index] == uncut.fold).all()


def test_by_subject_can_leak_what_by_identity_cannot(released):
    crossed = [
        (splits.split_by_subject(released, seed=s).groupby("identity").split.nunique() > 1).any()
        for s in range(5)
    ]
    assert any(crossed)
    assert not (splits.split_by_identity(released).groupby("identity").split.nunique() > 1).any()


def test_the_challenge_asks_the_preliminary_part_only(released):
    split = splits.split_challenge(released)
    assert set(split[split.split == "test"].cell) == set(released[released.part == "preliminary"].cell)
    with pytest.raises(Refusal, match="needs the preliminary part"):
        splits.split_challenge(released[released.part == "training"])


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda t: t.assign(label="ALL"), "all cells are ALL"),
        (lambda t: t.assign(label=None), "nothing to split"),
        (lambda t: t.assign(identity="one"), "cells of both classes"),
    ],
)
@pytest.mark.fault(
    group="data",
    fault="An empty class, no labels, all cells of one identity",
    injected="the cohort's table changed",
    promise="refused before training, with what is missing",
)
def test_what_cannot_be_split_is_refused(released, change, said):
    with pytest.raises(Refusal, match=said):
        splits.split_by_identity(change(released))


def test_unique_keeps_a_picture_once_in_a_part(released):
    split = splits.split_by_identity(released)
    kept = splits.drop_repeats(split)
    assert kept.groupby(["split", "cell"]).size().max() == 1 and set(kept.cell) == set(split.cell)


@settings(max_examples=30, deadline=None)
@given(cells=cohorts(), seed=st.integers(0, 99), copies=st.floats(0.3, 3))
def test_copies_are_rows_of_their_own_that_say_whose_they_are(cells, seed, copies):
    pool = splits.add_copies(cells, copies, seed)
    made = pool[pool.cell != pool.original]
    rare = cells[cells.label == made.label.iloc[0]] if len(made) else cells[:0]
    assert len(pool) == len(cells) + round(copies * len(rare)) or not len(made)
    assert (
        made.cell.is_unique
        and made.cell.str.fullmatch("[0-9a-f]{64}").all()
        and not set(made.cell) & set(cells.cell)
    )
    truth = cells.set_index("cell")
    assert all(
        (truth.loc[made.original, c].to_numpy() == made[c].to_numpy()).all()
        for c in ("subject", "identity", "label", "path")
    )
    each = made.original.value_counts().reindex(rare.cell, fill_value=0)
    assert not len(made) or each.max() - each.min() <= 1


@settings(max_examples=20, deadline=None)
@given(cells=cohorts(), order=st.randoms(use_true_random=False))
def test_copies_do_not_depend_on_the_order_of_rows(cells, order):
    index = list(cells.index)
    order.shuffle(index)
    first, second = (splits.split_by_copies(c, seed=3, iteration=1) for c in (cells, cells.loc[index]))
    assert splits.digest_split(first) == splits.digest_split(second)
    assert len(cells) + len(set(first.cell) - set(cells.cell)) == len(splits.add_copies(cells, seed=3))


def test_only_a_split_over_copies_asks_about_cells_that_were_learned(released):
    def known(split, label):
        shown = split.get("original", split.cell)
        part = (split.split == "test") & (split.label == label)
        return shown[part].isin(shown[split.split == "train"]).mean()

    by = {unit: splits.draw_split(released, unit) for unit in ("identity", "image", "copies")}
    assert known(by["identity"], "HEM") == 0 and known(by["image"], "HEM") < 0.05
    assert 0.6 < known(by["copies"], "HEM") < 0.8 and known(by["copies"], "ALL") < 0.05


@pytest.mark.parametrize("unit", ["identity", "subject", "image", "copies"])
def test_what_is_reserved_is_in_no_part_and_the_same_for_every_unit(released, unit):
    rest, apart = splits.reserve_identities(released, 0.2, seed=1, iteration=2)
    split = splits.draw_split(rest, unit, seed=1, iteration=2)
    assert not set(split.identity) & set(apart.identity)
    wanted = splits.subject_quotas(
        released.groupby("label").subject.nunique().to_dict(), 0.8 - 1e-9, 0.0, 0.2
    )["test"]
    assert apart.groupby("label").subject.nunique().to_dict() == wanted and set(apart.split) == {"test"}
    assert splits.digest_split(apart) == splits.digest_split(
        splits.reserve_identities(released.sample(frac=1, random_state=1), 0.2, seed=1, iteration=2)[1]
    )


def test_nothing_reserved_leaves_every_cell(released):
    rest, apart = splits.reserve_identities(released, 0.0)
    assert rest is released and not len(apart)


@pytest.mark.parametrize("copies", [0, -1.0, 200, float("nan")])
def test_a_number_of_copies_that_makes_no_pool_is_refused(released, copies):
    with pytest.raises(Refusal, match="give how many copies"):
        splits.draw_split(released, "copies", copies=copies)

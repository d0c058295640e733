"""Cells in two files and people under two numbers, in splits and on pages: kept together, counted, and told with a control."""

import numpy as np
import pandas as pd
import pytest

from leukonb.data import links, release, splits
from leukonb.data.cohort import COLUMNS, Cohort
from leukonb.files import Refusal
from leukonb.pages import leakage, peers, second_photographs, shared_people, ways


def drawn(people=16, cells=12, every=3):
    "Cells of so many people of each class, two folds, of which every third was photographed twice."
    subjects = [*(f"{i}" for i in range(people)), *(f"H{i}" for i in range(people))]
    rows = pd.DataFrame({"subject": np.repeat(subjects, cells)}, columns=list(COLUMNS))
    rows = rows.assign(cell=[f"{i:04}" for i in range(len(rows))], identity=rows.subject)
    rows["path"], rows["label"] = rows.cell, np.where(rows.subject.str.startswith("H"), "HEM", "ALL")
    rows["fold"] = rows.subject.map({s: i % 2 for i, s in enumerate(subjects)})
    return rows.assign(shown=rows.cell.where(np.arange(len(rows)) % every != 1, rows.cell.shift()))


def cut(split, shown):
    "How many cells have a photograph in two parts."
    return int((split.groupby(split.cell.map(shown)).split.nunique() > 1).sum())


@pytest.mark.fault(
    group="data",
    fault="One cell in training and test under two file names",
    injected="a second photograph of every third cell, split by image and by cell",
    promise="a split by cell keeps a cell in one part, and the page says what the split by image exposes",
)
def test_second_photographs_stay_in_one_part():
    rows = drawn()
    shown = dict(zip(rows.cell, rows.shown))
    for iteration in range(3):
        by = {
            u: splits.draw_split(rows, u, 0.5, 0.2, 0.3, iteration=iteration)
            for u in ("image", "cell", "identity")
        }
        assert cut(by["image"], shown) > 20 > cut(by["cell"], shown) == cut(by["identity"], shown) == 0
        shares = by["cell"].groupby("label").split.value_counts(normalize=True)
        assert (shares[:, "train"] - 0.5).abs().max() < 0.02 and (shares[:, "test"] - 0.3).abs().max() < 0.02
    exposed = leakage.measure_exposures(
        rows, leakage.Protocol(reserved=0.25), 2, ["image", "cell", "identity"]
    )
    assert exposed["second photograph"].iloc[0] > 0.1 and (exposed["second photograph"].iloc[1:] == 0).all()


def test_a_split_by_cell_is_the_same_whatever_the_order_of_rows():
    rows = drawn()
    first, second = (splits.split_by_cell(table) for table in (rows, rows.sample(frac=1, random_state=1)))
    assert splits.digest_split(first) == splits.digest_split(second)
    assert splits.digest_split(first) != splits.digest_split(splits.split_by_cell(rows, iteration=1))


def test_released_cells_are_known_without_their_images():
    cells = release.released_table().query("fold in [0, 1]").reset_index(drop=True)
    n = splits.count_shown(cells)
    certain = release.released_links().query("verdict == 'certain'")
    twice = set(certain.cell_a) | set(certain.cell_b) | set(cells.cell[cells.cell.duplicated()])
    assert (
        n["cells"] + n["surplus"] == n["files"] == len(cells) and n["shared"] == cells.cell.isin(twice).sum()
    )
    assert splits.count_shown(splits.keep_one(cells))["surplus"] == 0


def test_links_of_ones_own_are_taken_and_other_tables_refused(tmp_path):
    table = pd.DataFrame(
        {"cell_a": ["0000", "0004"], "cell_b": ["0001", "0005"], "verdict": ["certain", "refused"]}
    )
    table.to_csv(tmp_path / "links.csv", index=False)
    rows = drawn().drop(columns="shown")
    shown = splits.name_shown(rows, links.read_links(tmp_path / "links.csv"))
    assert shown[1] == "0000" and (shown[2:] == rows.cell[2:]).all()
    table.drop(columns="verdict").to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(Refusal, match="no column 'verdict'"):
        links.read_links(tmp_path / "other.csv")


def test_a_way_that_cannot_be_had_is_left_out_and_said():
    rows = drawn()
    data = Cohort(rows, ".", pd.DataFrame(columns=["path", "reason", "refused"]))
    units, said = leakage.choose_units(data, rows.assign(shown=rows.cell), ["image", "cell"])
    assert units == ["image"] and "Not split by cell" in said[0]
    units, said = leakage.choose_units(data, rows, ["image", "cell"])
    assert (
        units == ["image", "cell"] and f"{len(rows):,} files show {rows.shown.nunique():,} cells" in said[0]
    )


def test_parts_keep_whole_what_they_say():
    rows = drawn(people=8)
    rows["identity"] = rows.identity.replace({"1": "0", "H3": "H2"})
    for unit in ways.WAYS:
        drawn_parts = ways.split_parts(rows, unit)
        assert sorted(pd.concat([test for _, test in drawn_parts]).cell) == sorted(rows.cell)
        column = {"image": "cell", "cell": "shown"}.get(unit, unit)
        assert not any(set(train[column]) & set(test[column]) for train, test in drawn_parts)
    with pytest.raises(Refusal, match="ask for fewer parts"):
        ways.split_parts(rows, "identity", 9)


def test_the_control_loses_as_many_of_each_class_and_nobody_who_is_asked_about():
    rows = drawn()
    rows["identity"] = rows.identity.replace({"1": "0", "2": "0", "H1": "H0"})
    for _, train, test, shared in shared_people.pair_folds(rows):
        numbers = train[train.identity.isin(shared)].groupby("label").subject.nunique()
        drawn_sets = [shared_people.draw_others(train, shared, draw=k) for k in range(5)]
        for others in drawn_sets:
            lost = train[train.identity.isin(others)]
            assert lost.groupby("label").subject.nunique().equals(numbers) and not others & set(test.identity)
        assert len({frozenset(others) for others in drawn_sets}) > 1


@pytest.mark.parametrize(
    "without, verdict", [(0.5, "plain"), (0.81, "at the edge"), (0.9, "not to be told from chance")]
)
def test_the_verdict_is_where_the_score_lies_among_the_draws(without, verdict):
    facts = dict(direction="a", classifier="c", scored=shared_people.SHARED, people=9, cells=99, asked="3")
    kinds = [(shared_people.ALL_IN, [0.95]), (shared_people.LEFT_OUT, [without])]
    kinds.append((shared_people.CONTROL, [0.8, *np.linspace(0.85, 0.95, 9)]))
    rows = [
        {**facts, "training": k, "draw": i, "auroc": v} for k, values in kinds for i, v in enumerate(values)
    ]
    found = shared_people.compare_control(pd.DataFrame(rows))
    assert found.verdict.tolist() == [verdict]
    assert verdict in shared_people.describe_control(found)[0]


def test_folds_that_share_nobody_have_no_control():
    with pytest.raises(Refusal, match="no two folds share people of both classes"):
        shared_people.check_shared(drawn())


def test_a_cohort_of_ones_own_is_told_by_its_own_links():
    rows = drawn(people=4)
    rows["identity"] = rows.identity.replace({"1": "0"})
    pair = dict(
        cell_a="0000", cell_b="0012", file_a="UID_0_1_1_all.bmp", file_b="UID_1_1_1_all.bmp", score=0.9
    )
    table = pd.DataFrame([{**pair, "turn": 0.1, "verdict": "certain", "reason": ""}])
    found = second_photographs.join_facts(table, rows)
    people = second_photographs.list_people(rows, found)
    assert (
        people.certain.tolist() == [1]
        and people.elsewhere.tolist() == [""]
        and "1 (fold 1)" in people.numbers[0]
    )


def test_published_predictions_are_judged_or_asked_for(tmp_path):
    peers.make_up().to_csv(tmp_path / "peer.csv", index=False)
    rows, said = peers.read_peers(str(tmp_path / "peer.csv"))
    assert rows.subject.nunique() == 28 and peers.ARM in said[0]
    assert "made up" in peers.read_peers("", stand_in=True)[1][0]
    for given in (("", False), ("peer.csv", True)):
        with pytest.raises(Refusal, match="peers.table=FILE"):
            peers.read_peers(*given)

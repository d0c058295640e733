"""Each section of a judged page says what it is of, and its numbers move with those rows and with no others."""

import numpy as np
import pandas as pd
import pytest

from leukonb.evidence import predictions
from leukonb.evidence.worlds import OneSetWorld, draw_one_set
from leukonb.pages import judge as words
from leukonb.runs.notebook import find_experiment, read_code

ARMS = ["north", "middle", "south"]
OF_NOTHING = {"remarks", "methods"}  # what precedes the figures, and the paragraph: no numbers of their own
OF_COUNTS = {"judged"}  # how many people and cells there are, whatever their scores
OF_ALL_PAIRS = ["p, Holm", "test and interval"]  # a correction for the number of pairs is of all of them


def draw(splits, seeds=2, arms=ARMS):
    """A few people, scored by every seed of every arm; of many splits each tests others and trains on the rest."""
    rng, parts = np.random.default_rng(0), []
    cohort = draw_one_set(OneSetWorld(ALL=9, HEM=9, cells=3, distance=1.0), 3).query("arm == 'a'")
    people = cohort.drop_duplicates("identity").groupby("label").cumcount()
    place = cohort.identity.map(dict(zip(cohort.identity.unique(), people)))
    for i in range(splits):
        role = ((place + 3 * i) % 9).map(lambda k: "test" if k < 4 else "validation" if k < 6 else "train")
        for arm in arms:
            for seed in range(seeds):
                score = np.clip(cohort.score + rng.uniform(-0.3, 0.3, len(cohort)), 0.02, 0.98)
                parts.append(cohort.assign(iteration=i, split=role, arm=arm, seed=seed, score=score))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(site=np.where(table.identity.str[-1].isin(list("13579")), "Kiel", "Ulm"))


def turn(table):
    """The table with other scores of the last seed of the last arm in the last split, and in all training."""
    last = (
        (table.iteration == table.iteration.max())
        & (table.seed == table.seed.max())
        & (table.split == "test")
    )
    other = (last & (table.arm == ARMS[-1])) | (table.split == "train")
    chance = np.random.default_rng(7).uniform(0.02, 0.98, len(table))
    return table.assign(score=table.score.where(~other, chance))


def show_page(table, folder, monkeypatch):
    """What each section of a page is said to be of, and every table that it shows or keeps, by name."""
    kept = predictions.write_predictions(
        folder / "kept.parquet", predictions.check_table(table, keep=["site"]), ["site"]
    )
    given = {
        "table": str(kept),
        "resamples": 100,
        "permutations": 99,
        "prevalence": 0.2,
        "group": "site",
        "error": 0.4,
    }
    said, tables, figures = {}, {}, {}
    ours = {
        "show_table": lambda rows, name, *more, **other: tables.update({name: rows.copy()}),
        "write_table": lambda name, rows: tables.update({name.removesuffix(".csv"): rows.copy()}),
        "show": lambda figure, name, *more, **other: figures.update({name: figure}),
        "show_sentences": len,
    }
    monkeypatch.setattr(words, "open_section", lambda name, of="", found="": said.update({name: of}))
    monkeypatch.setattr(words, "close_section", lambda name, why: said.update({name: why}))
    monkeypatch.setattr(words, "tabulate_coverage", lambda *these, **more: [])
    monkeypatch.setattr(words, "describe_coverage", lambda *these, **more: [])
    monkeypatch.chdir(folder)
    space = {}
    for source, tags in read_code(find_experiment("judge")):
        exec(source, space)
        space |= {k: v for k, v in given.items() if k in space} if "parameters" in tags else {}
        space |= {k: v for k, v in ours.items() if k in space}
    return said, tables, figures


@pytest.fixture(scope="module", params=[1, 2], ids=["one test set", "many splits"])
def pages(request, tmp_path_factory):
    """The page of a table, and that of the table with other scores in a few rows."""
    table, folder = draw(request.param), tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        return request.param, *(show_page(rows, folder, patch) for rows in (table, turn(table)))


def of_last(rows):
    """Which rows of a table are of the last arm, or of a pair with it."""
    if "arm" in rows:
        return rows.arm.str.split(",").str[0] == ARMS[-1]
    return rows.pair.str.split(" - ").str[1] == ARMS[-1] if "pair" in rows else None


def test_each_section_says_which_arms_and_how_many_seeds_and_splits(pages):
    splits, (said, _, _), _ = pages
    kind = "mean over 2 seeds" if splits == 1 else "mean over 2 splits of 2 seeds each"
    closed = {name for name, of in said.items() if "this table holds 2 splits" in of}
    assert closed == ({"changes", "robustness"} if splits > 1 else set())
    told = {name: of for name, of in said.items() if name not in OF_NOTHING | closed | {"groups"}}
    assert len(told) >= 10
    for name, of in told.items():
        assert all(arm in of for arm in ARMS) and kind in of, name
    assert kind in said["groups"] or "the table holds 2 splits" in said["groups"]


def test_the_numbers_of_each_table_move_with_the_rows_it_is_of_and_with_no_others(pages):
    splits, (_, before, _), (_, after, _) = pages
    assert set(before) == set(after) and len(before) >= (20 if splits == 1 else 12)
    for name, rows in before.items():
        own = of_last(rows)
        assert own is not None, f"{name} does not say which arm or pair each row is of"
        now, then = (t.drop(columns=[c for c in OF_ALL_PAIRS if c in t]) for t in (rows, after[name]))
        mine = of_last(after[name])
        rest = [t[~of].reset_index(drop=True) for t, of in ((now, own), (then, mine))]
        pd.testing.assert_frame_equal(*rest, obj=name)
        if name not in OF_COUNTS:
            assert not now[own].reset_index(drop=True).equals(then[mine].reset_index(drop=True)), name


def test_of_many_splits_one_split_moves_in_one_arm(pages):
    splits, (_, before, _), (_, after, _) = pages
    if splits > 1:
        rows = [page["splits"].set_index(["arm", "iteration"]).sort_index() for page in (before, after)]
        moved = (rows[0] != rows[1]).any(axis=1)
        assert moved[moved].index.tolist() == [(ARMS[-1], 1)]


def test_each_figure_of_one_arm_is_of_the_arm_in_its_title(pages):
    _, (_, _, before), (_, _, after) = pages
    titled = {n: f.layout.title.text for n, f in before.items() if f.layout.title.text in ARMS}
    assert {text for text in titled.values()} == set(ARMS)
    for name, arm in titled.items():
        assert (before[name].to_json() == after[name].to_json()) == (arm != ARMS[-1]), name

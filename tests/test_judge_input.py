"""What the judge says of, or refuses in, a table and terms before it judges."""

from pathlib import Path

import pandas as pd
import pytest
from leukonb.evidence.class_judgement import judge_classes
from leukonb.evidence.judgement import judge_table
from leukonb.evidence.multiclass import ClassWorld, check_classes, draw_class_world
from leukonb.evidence.pilot import find_pilot_caveats
from leukonb.evidence.predictions import check_table
from leukonb.evidence.subgroups import place_subjects
from leukonb.evidence.tables import read_any_table
from leukonb.evidence.worlds import OneSetWorld, draw_one_set
from leukonb.files import Refusal
from leukonb.verbs import evaluate
from leukonb.verbs.evaluate import judge_predictions, plan_judgement, read_judged
from leukonb.verbs.plan import plan_at_once, prepare_plan

ACROSS = "{} of {} subjects of the test differ only in"


def one_arm(seed: int = 1, **world: int) -> pd.DataFrame:
    "A small test set of one arm."
    drawn = draw_one_set(OneSetWorld(**{"ALL": 5, "HEM": 6, "cells": 4, **world}), seed)
    return drawn[drawn.arm == "a"].reset_index(drop=True)


def in_two_parts(table: pd.DataFrame, part: str) -> pd.DataFrame:
    "The table, and its people a second time in another part of the split, under another spelling."
    other = {c: table[c] + ".0" for c in ("subject", "identity") if c in table}
    return pd.concat([table.assign(split="test"), table.assign(split=part, cell="t" + table.cell, **other)])


@pytest.mark.parametrize(("part", "harm"), [("train", "worth nothing"), ("validation", "thresholds")])
def test_a_person_spelt_in_two_ways_in_test_and_elsewhere_is_said(part: str, harm: str) -> None:
    table = check_table(in_two_parts(one_arm(), part))
    said = judge_table(table, resamples=100, permutations=99).remarks["a"]
    assert said[0].startswith(ACROSS.format(11, 11)) and harm in said[0]
    assert find_pilot_caveats(table)[0].startswith("Of the pilot: 11 of 11")
    sorts = draw_class_world(ClassWorld(subjects=6, cells=6), 1)
    people = sorts.subject.nunique()
    said = judge_classes(check_classes(in_two_parts(sorts, part))).remarks
    assert all(texts[0].startswith(ACROSS.format(people, people)) for texts in said.values())


def test_other_people_in_training_are_not_remarked_on() -> None:
    table = one_arm()
    mine = {c: "T" + table[c] for c in ("subject", "identity", "cell")}
    both = check_table(pd.concat([table, table.assign(split="train", **mine)]))
    assert not any("of the test differ" in text for text in judge_table(both).remarks["a"])


@pytest.mark.parametrize("data", [b"", b"\n \n", b"sep=;\n", b";;;\n"])
def test_an_empty_file_is_said_to_be_empty(tmp_path, data: bytes) -> None:
    (tmp_path / "scores.csv").write_bytes(data)
    with pytest.raises(Refusal, match=r"^scores\.csv is empty;"):
        read_any_table(tmp_path / "scores.csv")


def test_an_empty_workbook_and_an_empty_table_are_said_to_be_empty(tmp_path) -> None:
    pd.DataFrame().to_excel(tmp_path / "scores.xlsx", index=False)
    with pytest.raises(Refusal, match=r"^scores\.xlsx is empty;"):
        read_any_table(tmp_path / "scores.xlsx")
    with pytest.raises(Refusal, match="^table has no columns"):
        check_table(pd.DataFrame())


@pytest.mark.parametrize("above", ["# made by R\n", "#\n\n# it's \"May\n", "# a, b\n"])
def test_comments_above_the_header_are_left_out_and_said(tmp_path, above: str) -> None:
    (tmp_path / "scores.csv").write_text(above + "cell,subject,label,score\nc1,57,ALL,0.9\nc2,H1,HEM,x\n")
    table = read_any_table(tmp_path / "scores.csv")
    assert list(table) == ["cell", "subject", "label", "score"] and table.subject.tolist() == ["57", "H1"]
    assert "above its header" in table.attrs["reading"][0]
    with pytest.raises(Refusal, match=f"row {above.count(chr(10)) + 3}: score is 'x'"):
        check_table(table, source="scores.csv")


def test_a_header_may_begin_with_the_sign_of_a_comment(tmp_path) -> None:
    (tmp_path / "scores.csv").write_text("# made by R\n#cell,subject\n1,57\n")
    assert list(read_any_table(tmp_path / "scores.csv")) == ["#cell", "subject"]


@pytest.mark.parametrize("title", ["Scores of May", "Scores", "Test of the network"])
def test_a_title_above_the_header_is_named_as_that(tmp_path, title: str) -> None:
    (tmp_path / "scores.csv").write_text(title + "\ncell,subject,label,score\n1,57,ALL,0.9\n")
    with pytest.raises(Refusal, match=f"row 1: '{title}' is no header of the 4 columns below it"):
        read_any_table(tmp_path / "scores.csv")


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (
            2.5,
            13.4,
            "scores from 2.5 to 13.4 may be log-odds (--scale logit) or percentages (--scale percent)",
        ),
        (1.5, 6.0, "scores from 1.5 to 6 may be log-odds (--scale logit) or percentages (--scale percent)"),
        (2.5, 97.0, "the scores look like percentages: if they are, say --scale percent"),
        (-3.0, 4.0, "scores from -3 to 4 look like log-odds: if they are, say --scale logit"),
    ],
)
def test_what_scores_may_be_is_not_said_to_be_surer_than_it_is(low: float, high: float, said: str) -> None:
    table = one_arm()
    scores = [low + (high - low) * i / (len(table) - 1) for i in range(len(table))]
    with pytest.raises(Refusal) as refused:
        check_table(table.assign(score=scores))
    assert said in str(refused.value)


def look_up(table: pd.DataFrame, people: pd.DataFrame) -> list[str]:
    "How the table was read with its subjects looked up."
    return read_judged(table, subjects=people)[0].attrs["reading"]


def test_own_subjects_are_compared_with_those_that_are_looked_up() -> None:
    table = one_arm().drop(columns="identity")
    people = table[["cell", "subject"]]
    assert not any("own column" in text for text in look_up(table, people))
    said = look_up(table.assign(subject="zzz" + table.subject), people)
    assert "Its own column subject was not used: 11, such as zzz1, are 11 there, such as 1." in said
    said = look_up(table.assign(subject=table.cell), people)
    assert any(f"not used: {len(table)}," in text and "are 11 there" in text for text in said)
    with pytest.raises(
        Refusal, match="table, row 6: subject 1 is 2 in the table of subjects, and 1 further up"
    ):
        look_up(table.assign(subject=table.subject.replace({"2": "1"})), people)
    joined = table.assign(identity=table.subject.replace({"2": "1"}))
    with pytest.raises(Refusal, match="table, row 6: identity 1 is 2 in the table of subjects"):
        look_up(joined, people)


def test_a_cell_that_the_second_table_has_twice_is_named_with_both_rows() -> None:
    table = one_arm().drop(columns="identity")
    people = pd.concat([table[["cell", "subject"]], table[["cell", "subject"]][:1].assign(subject="other")])
    twice = (
        f"{table.cell[0]} of subject 1 in row 2 and {table.cell[0]} of subject other in row {len(table) + 2}"
    )
    with pytest.raises(
        Refusal, match=f"row 2: cell .* may be one of several in the table of subjects: {twice}"
    ):
        read_judged(table.drop(columns="subject"), subjects=people)


@pytest.mark.parametrize("other", ["delhi", "DELHI ", "Del\u200bhi"])
def test_a_group_that_is_written_in_two_ways_is_refused(tmp_path, other: str) -> None:
    table = one_arm()
    table["site"] = table.subject.map({"1": "Delhi", "2": other, "6": "Delhi"}).fillna("Porto")
    with pytest.raises(Refusal, match="table, row 6: site .* and 'Delhi' above differ only in"):
        place_subjects(table, "site")
    trained = table.assign(split="train", **{c: "T" + table[c] for c in ("subject", "identity", "cell")})
    both = pd.concat([table.assign(site=table.site.replace(other, "Delhi")), trained.assign(site="PORTO")])
    with pytest.raises(Refusal, match="site 'PORTO' and 'Porto' above"):
        plan_judgement(both, tmp_path, group="site")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("term", "value"), [("group", "nosuch"), ("prevalence", 0.05), ("bins", 5)])
def test_a_term_of_the_page_is_refused_where_none_is_made(term: str, value: object) -> None:
    with pytest.raises(Refusal, match=f"^{term} = .* is for a section of the page, and none is made"):
        judge_predictions(one_arm(), **{term: value})


def test_a_column_that_means_nothing_is_no_column_to_map_to() -> None:
    with pytest.raises(
        Refusal, match="scor=score: there is no column 'scor' to map to; known: cell, subject"
    ):
        judge_predictions(one_arm(), {"scor": "score"})
    sorts = draw_class_world(ClassWorld(subjects=6, cells=6), 1)
    with pytest.raises(Refusal, match="there is no column 'subjet' to map to"):
        judge_predictions(sorts, {"subjet": "subject"})


def test_a_person_in_validation_and_test_is_refused_for_several_classes_too() -> None:
    sorts = draw_class_world(ClassWorld(subjects=6, cells=6), 1)
    both = [sorts.assign(split="test"), sorts.assign(split="validation", cell="v" + sorts.cell)]
    with pytest.raises(Refusal, match="is in validation and in test"):
        read_judged(pd.concat(both))


@pytest.mark.parametrize(
    ("term", "value"),
    [*(("resamples", n) for n in (-5, 0, 1, 10**12)), ("seed", -1), ("permutations", 0), ("bins", 0)],
)
def test_a_count_that_nothing_can_be_drawn_with_is_refused_before_anything_is_written(
    tmp_path, term: str, value: int
) -> None:
    table = draw_one_set(OneSetWorld(ALL=4, HEM=4, cells=4), 1)
    for ask in (judge_predictions, lambda rows, **terms: plan_judgement(rows, tmp_path, **terms)):
        with pytest.raises(Refusal, match=f"^--{term} {value}: give a whole number from"):
            ask(table, **{term: value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("term", "value"), [("seed", -1), ("seed", 1.5), ("studies", 10**12), ("most", 10**9)]
)
def test_a_plan_refuses_such_a_count_as_well(tmp_path, term: str, value: float) -> None:
    terms = dict(score="specificity", specificity=0.85, icc=0.15, cells=20, half_width=0.15) | {term: value}
    for ask in (
        plan_at_once,
        lambda pilot, reading, **given: prepare_plan(pilot, tmp_path, reading, **given),
    ):
        with pytest.raises(Refusal, match=f"^--{term} {value}: give a whole number from"):
            ask(None, {}, **terms)
    assert not list(tmp_path.iterdir())


def test_arms_whose_names_look_like_numbers_keep_them_in_what_a_run_gives_back(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("arm,metric,value\n001,auroc,0.5\nNA,auroc,\n")
    (tmp_path / "comparisons.csv").write_text("a,b,difference\n001,NA,0.1\n")
    scores, tests = (evaluate._read_judged_table(tmp_path / f"{n}.csv") for n in ("scores", "comparisons"))
    assert scores.arm.tolist() == ["001", "NA"] and scores.value.isna().tolist() == [False, True]
    assert tests.loc[0, ["a", "b"]].tolist() == ["001", "NA"] and tests.difference[0] == 0.1

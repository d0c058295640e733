"""What the judge says of, or refuses in, a table and terms before it judges."""

import numpy as np
import pandas as pd
import pytest
from leukonb.evidence.class_judgement import judge_classes
from leukonb.evidence.judgement import judge_table
from leukonb.evidence.multiclass import ClassWorld, check_classes, draw_class_world
from leukonb.evidence.pilot import find_pilot_caveats
from leukonb.evidence.predictions import check_table
from leukonb.evidence.tables import read_any_table
from leukonb.evidence.worlds import OneSetWorld, draw_one_set
from leukonb.files import Refusal

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

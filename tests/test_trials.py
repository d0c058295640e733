"""How often links are right, counted on drawn cohorts: the record is what the method gives, and a looser line would be found out."""

import pytest

from leukonb.data import links, trials


def test_the_counts_in_the_package_are_those_of_the_method():
    known = trials.read_trials().set_index(["planted", "seed"])
    fresh = trials.try_cohort(7, 10)
    assert known.loc[(10, 7)].to_dict() == {k: v for k, v in fresh.items() if k not in ("planted", "seed")}
    assert fresh["found"] == 10 and fresh["false"] == 0


def test_a_hundred_cohorts_of_strangers_have_at_most_one_false_link():
    known = trials.read_trials()
    strangers, taken = known[known.planted == 0], known[known.planted > 0]
    assert len(strangers) == 100 and strangers.seed.is_unique and strangers["false"].sum() <= 1
    assert taken.found.sum() >= 0.99 * taken.planted.sum()
    said = trials.describe_trials(known)
    assert f"{strangers['false'].sum()} false links" in said[0] and f"{taken.found.sum():,} of" in said[1]


@pytest.mark.parametrize("line, wrong", [(links.CERTAIN, False), (30.0, True)])
def test_a_looser_line_calls_strangers_one_cell(monkeypatch, line, wrong):
    monkeypatch.setattr(links, "CERTAIN", line)
    monkeypatch.setattr(links, "PROBABLE", max(line, 1.0))
    assert (trials.try_cohort(0, 0, 5, 4)["false"] > 0) == wrong

"""Nothing public stands idle: each function is reached from a command, the front page or an experiment.

And each public name means one thing, so that a search for it finds one.
"""

import ast

import pytest

import usage

# What nothing in the product calls, and who does. A name goes from this list as soon as something calls it.
OTHERWISE = {
    "files.refusal_line": "examples and tests of refusals",
    "data.measured.read_rounding": "readers of the shipped table, whom its page sends there",
    "data.morphology.quantile_distances": "tests that synthetic cells resemble released ones",
    "data.release.remake_names": "a maintainer, to make the shipped labels anew",
    "data.release.remake_table": "a maintainer, to make the shipped table anew",
    "data.trials.try_cohort": "a maintainer, to make the shipped trials anew",
    "draw.charts.draw_by_group": "examples of groups",
    "evidence.intervals.count_subjects_right": "examples of networks",
    "evidence.miscalibration.count_miscalibration": "a maintainer, to make the shipped counts anew",
    "evidence.subgroups.compare_groups": "examples and tests of groups",
    "evidence.subgroups.shift_between": "examples and tests of groups",
    "evidence.worlds.population_score": "tests of intervals, which know the truth",
    "model.recipe.compare_recipe": "its own page of the library, a comparison with the article's recipe",
    "pages.faults.merge_record": "`make test-faults`",
    "pages.miniature.write_study": "examples and tests of the pages that sum up a study",
    "pages.rules.tabulate_answers": "examples of the rules",
    "pages.ways.measure_rounding": "a maintainer, to measure what `read_rounding` reads",
    "runs.key.digest_code": "examples and tests of the key",
    "runs.study.list_studies": "tests of every study",
    "verbs.export.read_export_facts": "whoever receives an exported network and asks where it comes from",
}

# Public names of two modules, each with why it stays. A name goes from this list as soon as one of the two is renamed.
TWICE = {
    "Population": "the subjects of a plan, and those of a simulated truth; published counts rest on both modules",
    "check_recipe": "what each kind of recipe answers: of heads, and of whole networks",
    "correlate_sizes": "of one table, and of the networks of one test set, which hands their tables on to the first",
    "count_crossing": "by pair of subjects of any cohort, and by pair of folds of the release; published records rest on it",
    "describe_odds": "read in the table of counts, and said of a comparison; published records rest on both modules",
    "describe": "what each table of simulated studies answers: of tests, and of intervals",
    "list_joined": "identities of the release, and whom links join; published records rest on both modules",
    "read_classes": "of a cohort's own table, and of a folder's; published records rest on both modules",
    "log_odds": "of scores, and of a network's images; published counts rest on the first",
}


def named(extra):
    """The names of a list as pairs of module and function."""
    return frozenset(tuple(name.rsplit(".", 1)) for name in extra)


def test_every_public_function_is_reached_or_its_user_is_named():
    assert usage.unreached(named(OTHERWISE)) == []


def test_no_name_stays_on_the_list_that_is_gone_or_reached():
    assert {n for n in named(OTHERWISE) if n not in usage.definitions() or n in usage.reached()} == set()


def test_no_parameter_that_nobody_sets_comes_to_those_known():
    """Each of them is a constant in disguise. The list only shrinks: one that is set, or gone, is struck off."""
    known = (usage.ROOT / "tests/unset.txt").read_text().splitlines()
    assert usage.unset() == known


def test_no_public_name_of_two_modules_comes_to_those_known():
    """Whoever searches for a name is to find one meaning. The list only shrinks: a name that is told apart is struck off."""
    assert sorted(usage.twice()) == sorted(TWICE)
    assert {name: where for name, where in usage.twice().items() if len(where) > 2} == {}


def test_a_public_name_of_two_modules_is_found(monkeypatch):
    trees = {
        "data.made_up": ast.parse("def first(): ...\ndef _own(): ...\nclass Second: ..."),
        "evidence.made_up": ast.parse(
            "def first(): ...\ndef _own(): ...\nfrom leukonb.data.made_up import Second"
        ),
        "api": ast.parse("class Second: ..."),
    }
    monkeypatch.setattr(usage, "modules", lambda: trees)
    monkeypatch.setattr(usage, "definitions", usage.definitions.__wrapped__)
    assert usage.twice() == {"first": ["data.made_up", "evidence.made_up"]}


@pytest.mark.parametrize(
    ("call", "unset"),
    [
        ("first(1)", ["second", "third"]),
        ("first(1, 2)", ["third"]),
        ("first(1, third=3)", ["second"]),
        ("first(*words)", []),
        ("first(1, **words)", []),
        ("refusal_line(first, 1, 2)", ["third"]),
        ("KINDS = {'one': first}", []),
    ],
)
def test_a_parameter_is_set_by_place_by_name_or_where_the_function_is_handed_on(monkeypatch, call, unset):
    made = "def first(one, second=2, *, third=3): ..."
    monkeypatch.setattr(usage, "modules", lambda: {"data.made_up": ast.parse(made)})
    place = usage.Place("data.made_up", ast.parse(call))
    place.names["first"].add(("data.made_up", "first"))
    monkeypatch.setattr(usage, "package", lambda: {"data.made_up": place})
    monkeypatch.setattr(usage, "notebooks", dict)
    monkeypatch.setattr(usage, "tests", list)
    monkeypatch.setattr(usage, "definitions", usage.definitions.__wrapped__)
    assert usage.unset() == [f"data.made_up.first: {name}" for name in unset]


@pytest.mark.parametrize(
    ("call", "idle"),
    [
        ("from leukonb.data import made_up\nmade_up.first()", []),
        ("from leukonb.data.made_up import first as one\none()", []),
        ("RUN = 'from leukonb.data.made_up import first; first()'", []),
        ("from leukonb.data.made_up import second\ntable = {'second': second}", ["data.made_up.first"]),
        ("from leukonb.data.made_up import first", ["data.made_up.first", "data.made_up.second"]),
        ("", ["data.made_up.first", "data.made_up.second"]),
    ],
)
def test_what_only_an_idle_function_calls_is_idle_too(monkeypatch, tmp_path, call, idle):
    for guide in usage.GUIDES:
        (tmp_path / guide).touch()
    trees = {
        "data.made_up": ast.parse("def first():\n    first(), second()\ndef second(): ..."),
        "cli": ast.parse(call),
    }
    monkeypatch.setattr(usage, "modules", lambda: trees)
    monkeypatch.setattr(usage, "notebooks", dict)
    monkeypatch.setattr(usage, "ROOT", tmp_path)
    for function in (usage.definitions, usage.package, usage.roots, usage.reached):
        monkeypatch.setattr(usage, function.__name__, function.__wrapped__)
    assert usage.unreached() == idle

"""The challenge: what is trained on, what is scored, how often it was looked at, and whose figure is whose."""

import numpy as np
import pandas as pd
import pytest

from leukonb.data import release, splits
from leukonb.evidence import predictions
from leukonb.files import Refusal, write_json
from leukonb.pages import ablation, challenge, paper
from leukonb.runs.record import Run
from leukonb.runs.demands import check_cohort
from leukonb.runs.study import load_study, plan_study


@pytest.fixture(scope="module")
def released():
    cells = release.released_table().assign(
        path=lambda t: t.cell, identity=lambda t: t.subject.map(release.released_identities())
    )
    return cells[cells.part != "final"].reset_index(drop=True)


def test_the_released_challenge_leaves_the_person_out_who_is_in_its_test(released):
    split = splits.draw_split(released, "challenge", validation=0.15, seed=3)
    same = released.subject.isin(["51", "75", "78"])  # the person who is subject 55 of the test
    assert split.attrs["left out"] == {"subjects": ["51", "75", "78"], "images": int(same.sum())}
    assert set(split[split.split == "test"].cell) == set(released.cell[released.part == "preliminary"])
    assert len(split) == len(released) - same.sum()
    alone = splits.draw_split(
        released.assign(identity=released.subject), "challenge", validation=0.15, seed=3
    )
    assert len(alone) == len(released) and "nothing was left out" in splits.describe_exclusions(alone)[0]


def test_an_identity_in_both_parts_is_left_out_of_training_and_said(released):
    both = released.assign(identity=released.identity.replace({"53": "1", "H25": "H1"}))
    split = splits.draw_split(both, "challenge", validation=0.15, seed=3)
    given_up = both[(both.part == "training") & both.identity.isin(["1", "51", "H1"])]
    assert len(given_up) and split.attrs["left out"] == {
        "subjects": sorted(given_up.subject.unique()),
        "images": len(given_up),
    }
    assert not (split.identity.isin(["1", "51", "H1"]) & (split.split != "test")).any()
    assert (split.split == "test").sum() == (both.part == "preliminary").sum()
    assert f"{len(given_up):,} images" in splits.describe_exclusions(split)[0]


def test_validation_is_of_training_identities_and_another_iteration_is_another_choice(released):
    first, other = (
        splits.draw_split(released, "challenge", validation=0.15, seed=0, iteration=i) for i in (0, 1)
    )
    people = [set(s.identity[s.split == "validation"]) for s in (first, other)]
    assert people[0] != people[1] and not people[0] & set(released.identity[released.part == "preliminary"])
    assert first.subject[first.split == "validation"].nunique() == pytest.approx(0.15 * 73, abs=1)


def test_other_splits_say_nothing_of_the_challenge(released):
    assert splits.describe_exclusions(splits.draw_split(released)) == []


PART = ["training", "preliminary", "preliminary"] * 2


@pytest.fixture
def cells():
    names = np.repeat(["1", "2", "3", "H1", "H2", "H3"], 10)
    return pd.DataFrame(
        {
            "cell": [f"{i:064x}" for i in range(60)],
            "subject": names,
            "identity": names,
            "part": np.repeat(PART, 10),
            "label": np.where(np.char.startswith(names, "H"), "HEM", "ALL"),
        }
    )


def made(out, name, cells, done=True, unit="challenge", package="p", hour=1, **given):
    """A run that scored some cells."""
    given = {"unit": unit, "seed": 0, **given}
    folder = out / "s" / "training" / name
    score = np.where(cells.label == "ALL", 0.6, 0.4) + np.random.default_rng(given["seed"]).uniform(
        -0.3, 0.3, len(cells)
    )
    predictions.write_predictions(
        folder / "predictions.parquet",
        predictions.tabulate_scores(cells.assign(split="test"), score, seed=given["seed"]),
    )
    write_json(
        folder / "run.json",
        {
            "key": name,
            "name": name,
            "experiment": "training",
            "study": "s",
            "seeds": {"seed": given["seed"]},
            "inputs": {"parameters": given, "package": package},
        },
    )
    write_json(folder / "status.json", {"status": "done", "finished": hour * 3600})
    if done:
        write_json(folder / "result.json", {"run": name, "files": {"predictions.parquet": ""}})
    return Run.read(folder)


def test_looks_count_finished_runs_by_the_images_they_scored(tmp_path, cells):
    late = cells[cells.part == "preliminary"]
    made(tmp_path, "one", late)
    made(tmp_path, "two", late, seed=1, hour=2)
    made(tmp_path, "tuned", late, epochs=7, hour=3)
    made(tmp_path, "other-code", late, package="q", hour=4)
    made(tmp_path, "half", cells[cells.subject.isin(["2", "H1"])], unit="identity", hour=5)
    made(tmp_path, "elsewhere", cells[cells.part == "training"], unit="identity")
    made(tmp_path, "unfinished", late, done=False)
    found = challenge.list_looks(tmp_path, cells)
    assert found.key.tolist() == ["one", "two", "tuned", "other-code", "half"]
    assert found.whole.tolist() == [True] * 4 + [False] and found.images.tolist() == [40] * 4 + [10]
    kinds = found.set_index("key").configuration
    assert kinds.one == kinds.two and kinds[["one", "tuned", "other-code"]].nunique() == 3
    said = challenge.describe_looks(found, ["one", "two"])
    assert "2 trainings of this page, 1 configuration, 1970-01-01 01:00 to 1970-01-01 02:00 UTC" in said[0]
    assert "not the only look: 2 other finished runs have scored all of it (2 configurations" in said[1]
    assert any("1 run with a split of its own has scored some" in s for s in said)


def test_one_look_is_called_one(tmp_path, cells):
    made(tmp_path, "one", cells[cells.part == "preliminary"])
    assert "it is one look" in challenge.describe_looks(challenge.list_looks(tmp_path, cells), ["one"])[1]


def test_a_training_that_scored_other_cells_is_refused(tmp_path, cells):
    late = cells[cells.part == "preliminary"]
    by_identity, short = (
        made(tmp_path, "a", late, unit="identity"),
        made(tmp_path, "b", late[late.cell != late.cell.iloc[0]]),
    )

    def table(run):
        return predictions.read_predictions(run.folder / "predictions.parquet")

    with pytest.raises(
        Refusal, match="was split by 'identity'; for the challenge train with unit: challenge"
    ):
        challenge.gather_predictions([by_identity], table(by_identity), cells)
    with pytest.raises(Refusal, match="scored 39 cells, and the preliminary test of this cohort has 40"):
        challenge.gather_predictions([short], table(short), cells)


def test_every_figure_of_the_field_is_claimed_with_its_source(tmp_path, cells):
    run = made(tmp_path, "one", cells[cells.part == "preliminary"])
    rows = challenge.gather_predictions(
        [run], predictions.read_predictions(run.folder / "predictions.parquet"), cells
    )
    scores = ablation.average_scores(rows)
    table = challenge.compare_with_field(scores, challenge.describe_test_part(rows, synthetic=True))
    theirs = table[table["whose figure"] != paper.OURS]
    assert (
        len(theirs) == len(paper.subjects_apart())
        and theirs["whose figure"].str.startswith("claimed by ").all()
    )
    assert theirs["where from"].str.contains("DOI|arXiv|VISAPP").all()
    assert (table["where from"][:2] == "40 drawn images, not C-NMC, 4 identities").all()
    value = scores.set_index("metric").value.weighted_f1
    assert table["preliminary, %"][0].startswith(f"{100 * value:.2f}")


def test_part_of_the_released_test_is_called_a_part(cells):
    rows = cells[cells.part == "preliminary"]
    assert (
        challenge.describe_test_part(rows, False)
        == "40 images of the preliminary test, 4 identities (of 1,867 images released)"
    )


def test_every_training_of_the_study_is_split_for_the_challenge(tmp_path):
    planned = plan_study(load_study("challenge"), tmp_path, cohort=tmp_path, data="d")
    given = [p.run.manifest["inputs"]["parameters"] for p in planned if p.run.experiment == "training"]
    assert (
        {g["unit"] for g in given} == {"challenge"}
        and [g["seed"] for g in given] == [0, 1, 2]
        and len({g["split_seed"] for g in given}) == 1
    )


def test_a_cohort_without_the_preliminary_part_is_refused_before_anything_runs(tmp_path, released):
    planned = plan_study(load_study("challenge"), tmp_path, cohort=tmp_path, data="d")
    with pytest.raises(
        Refusal,
        match="training/training.seed-0 .and 2 more.*: the challenge split needs the preliminary part",
    ):
        check_cohort(planned, released[released.part == "training"])

"""Cards and checklists: statuses follow the records, whatever is taken from them or changed in them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from leukonb.data import cohort as cohorts
from leukonb.data import release
from leukonb.evidence import predictions
from leukonb.files import digest, digest_file, refusal_line, write_json
from leukonb.pages import cards, checklists, records, rules
from leukonb.pages.rules_study import list_limits
from leukonb.runs.key import modules_reached
from leukonb.runs.record import find_runs

CHECKLISTS = {checklist.name: checklist for checklist in checklists.read_checklists()}


@pytest.fixture
def study(smoke, tmp_path, monkeypatch):
    """A copy of the records that the study's card was made from, to be changed: a function that reads them."""
    shutil.copytree(
        smoke[0] / "quick",
        tmp_path / "quick",
        ignore=shutil.ignore_patterns("checkpoints", "*.npy", "kernel*"),
    )
    monkeypatch.chdir(tmp_path)
    (folder,) = (smoke[0] / "_cohorts").iterdir()
    table = cohorts.load_cohort(folder)
    (card,) = (r for r in find_runs(smoke[0], "quick") if r.experiment == "cards")
    read = {
        Path(folder).name
        for name, folders in card.manifest["paths"].items()
        if name != "cohort"
        for folder in folders
    }
    return lambda: records.read_records(
        [r for r in find_runs(tmp_path, "quick") if r.folder.name in read], table
    )


def of(r, name):
    """The run of a name."""
    return next(x for x in r.runs if x.name == name)


def signed(run):
    """Make a run's changed files the ones that it wrote."""
    result = json.loads((run.folder / "result.json").read_text())
    result["files"] = {n: digest_file(run.folder / n) for n in result["files"] if (run.folder / n).is_file()}
    write_json(run.folder / "result.json", result)


def restated(run, **parameters):
    """Change what a run says it was given, its key with it."""
    inputs = run.manifest["inputs"]
    inputs["parameters"] = {k: v for k, v in (inputs["parameters"] | parameters).items() if v is not ...}
    key = digest(inputs)[:16]
    write_json(run.folder / "run.json", {**run.manifest, "key": key})
    write_json(
        run.folder / "result.json", {**json.loads((run.folder / "result.json").read_text()), "run": key}
    )


def statuses(r, name="REFORMS"):
    """{item: status}."""
    rows = checklists.fill_checklist(r, CHECKLISTS[name]).rows
    return dict(zip(rows["item"], rows.status))


def found(r, item, name="REFORMS"):
    """What was found for an item."""
    return checklists.fill_checklist(r, CHECKLISTS[name]).rows.set_index("item").found[item]


def test_the_quick_study_answers_what_it_can(study):
    status = statuses(study())
    assert [
        status[i]
        for i in ("2a", "2c", "2e", "3d", "3e", "3f", "5a", "5c", "5d", "5f", "6a", "6b", "7a", "7b", "7c")
    ] == ["met"] * 15
    assert (
        status["8a"] == "not met" and status["1a"] == "for the authors" and status["3g"] == "not applicable"
    )


def test_every_proof_is_there(study, smoke):
    for checklist in CHECKLISTS.values():
        filled = checklists.fill_checklist(study(), checklist)
        (run,) = (r for r in find_runs(smoke[0], "quick") if r.experiment == "cards")
        for proof, address in zip(filled.rows.proof, filled.addresses):
            own = not proof.count("/")
            assert (
                not address
                or ((run.folder if own else study().runs[0].folder.parents[2]) / address).is_file()
            ), (proof, address)


def test_a_split_by_image_is_found_by_its_shared_identities(study):
    restated(of(study(), "training"), unit="image")
    status = statuses(study())
    assert status["6b"] == status["6a"] == "not met" and status["5c"] == "met"
    assert "split by image" in found(study(), "6b") and "identities" in found(study(), "6b")
    assert any("split by image" in s for s in list_limits(study()))


def test_copies_made_before_the_split_are_known_by_the_picture_they_show(study):
    restated(of(study(), "training"), unit="copies")
    assert (
        statuses(study())["6b"] == "not met"
        and (records.count_overlap(study()).query("unit == 'copies'")["cells shared"] > 0).all()
    )


def test_predictions_of_other_cells_than_the_split_are_found(study):
    restated(of(study(), "training"), split_seed=5)
    assert statuses(study())["6b"] == "not met" and "not of the cells" in found(study(), "6b")


def test_without_a_validation_part_nothing_could_choose_the_epoch(study):
    run = of(study(), "training")
    table = pd.read_parquet(run.folder / "predictions.parquet")
    table[table.split != "validation"].to_parquet(run.folder / "predictions.parquet")
    rows = pd.read_csv(run.folder / "split.csv")
    rows[rows.split != "validation"].to_csv(run.folder / "split.csv", index=False)
    signed(run)
    status = statuses(study())
    assert status["5d"] == status["5c"] == status["6a"] == "not met" and "no validation part" in found(
        study(), "5d"
    )


@pytest.mark.parametrize("bare, status", [(["auroc"], "partly"), (None, "not met")])
def test_scores_without_intervals_are_told(study, bare, status):
    run = of(study(), "judge")
    evidence = json.loads((run.folder / "evidence.json").read_text())
    for arm in evidence["arms"].values():
        for name, score in arm["scores"].items():
            if bare is None or name in bare:
                score["low"] = score["high"] = None
    write_json(run.folder / "evidence.json", evidence)
    signed(run)
    assert statuses(study())["7b"] == status


def test_an_interval_over_cells_does_not_count(study):
    run = of(study(), "judge")
    evidence = json.loads((run.folder / "evidence.json").read_text())
    for arm in evidence["arms"].values():
        arm["scores"] = arm["naive"]
    write_json(run.folder / "evidence.json", evidence)
    signed(run)
    assert statuses(study())["7b"] == "not met"


def test_a_threshold_that_no_record_states_or_that_differs_is_told(study):
    def rule():
        return rules.answer(study(), "threshold")

    assert rule().status == "met"
    restated(of(study(), "evaluation"), threshold=0.4)
    assert rule().status == "not met" and "0.4, 0.5" in rule().found
    restated(of(study(), "evaluation"), threshold=0.5)
    run = of(study(), "judge")
    evidence = json.loads((run.folder / "evidence.json").read_text())
    write_json(run.folder / "evidence.json", {k: v for k, v in evidence.items() if k != "threshold"})
    signed(run)
    assert rule().status == "not met" and "no record states" in rule().found
    assert "no threshold" in cards.write_model_card(study())["Quantitative analyses"][0]


@pytest.mark.parametrize(
    "item, name",
    [("7a", "judge"), ("7b", "judge"), ("7c", "judge"), ("3e", "cohort"), ("3f", "cohort"), ("4b", "cohort")],
)
def test_a_run_left_out_leaves_its_items_open(study, item, name):
    r = study()
    before = statuses(r)[item]
    r.runs = [x for x in r.runs if x.experiment != name]
    assert before == "met" and statuses(r)[item] == "not met"


@pytest.mark.parametrize(
    "rule, absent",
    [
        ("transformations", "augmentation"),
        ("model", "gamma"),
        ("whole", "unit"),
        ("recipe", "patience"),
        ("initialisation", "weights"),
        ("input", "size"),
        ("flow", "iteration"),
    ],
)
def test_a_setting_that_was_not_recorded_is_missed(study, rule, absent):
    before = rules.answer(study(), rule).status
    restated(of(study(), "training"), **{absent: ...})
    assert before == "met" and rules.answer(study(), rule).status == "not met"


def test_what_stands_beside_the_model_counts(study):
    r = study()
    assert statuses(r)["5f"] == "met" and statuses(r)["7c"] == "met"
    r.runs = [x for x in r.runs if x.experiment not in ("shortcuts", "simulation")]
    assert (
        statuses(r)["5f"] == "partly"
        and statuses(r)["7c"] == "partly"
        and statuses(r)["6c"] == "for the authors"
    )


def test_a_background_that_tells_the_classes_apart_is_told(study):
    run = of(study(), "shortcuts")
    result = json.loads((run.folder / "result.json").read_text())
    result["headline"]["AUROC of background, by identity"] |= {"value": 0.9, "low": 0.8, "high": 0.95}
    write_json(run.folder / "result.json", result)
    assert statuses(study())["6c"] == "not met" and any("background" in s for s in list_limits(study()))


def test_maps_that_were_not_tested_are_partly_explained(study):
    run = next(x for x in study().runs if x.experiment == "explanation")
    assert rules.answer(study(), "explained").status == "met"
    (run.folder / "shuffled.csv").unlink()
    assert rules.answer(study(), "explained").status == "partly"
    r = study()
    r.runs = [x for x in r.runs if x.experiment != "explanation"]
    assert rules.answer(r, "explained").status == "not applicable"


def test_a_proof_that_was_changed_is_none(study):
    table = of(study(), "cohort").folder / "parts.csv"
    table.write_text(table.read_text() + "\n")
    assert statuses(study())["3e"] == "not met" and "changed after its run" in found(study(), "3e")


def test_code_with_changes_or_of_two_commits_is_partly_identified(study):
    for r in study().runs:
        manifest = r.manifest | {"environment": r.manifest["environment"] | {"commit": "0123456789ab"}}
        write_json(r.folder / "run.json", manifest)
    assert statuses(study())["2b"] == "met"
    run = of(study(), "judge")
    write_json(run.folder / "run.json", run.manifest | {"environment": {"commit": "0123456789ab+"}})
    assert statuses(study())["2b"] == "partly"


def test_real_pictures_make_questions_about_persons_the_authors_own(study):
    r = study()
    rows = release.released_table().dropna(subset=["label", "subject"])
    some = pd.concat([rows[rows.label == label].head(60) for label in ("ALL", "HEM")])
    cells = r.cohort.cells.iloc[: len(some)].assign(
        cell=some.cell.to_numpy()[: len(r.cohort.cells)], dataset="C-NMC 2019"
    )
    r.cohort = cohorts.Cohort(cells, r.cohort.root, r.cohort.problems)
    assert rules.answer(r, "people").status == "for the authors" and rules.answer(r, "source").status == "met"
    assert (
        rules.answer(r, "demographics").status == "not met"
        and rules.answer(r, "retrospective").status == "met"
    )
    assert "In no record" in " ".join(cards.write_datasheet(r)["Collection"]) or "in no record" in " ".join(
        cards.write_datasheet(r)["Collection"]
    )
    r.cohort.cells.loc[r.cohort.cells.index[0], "cell"] = "0" * 64
    assert rules.answer(r, "source").status == "partly"


def written(folder, *rows, columns="item,section,asks,rules", head=("title", "about", "source", "licence")):
    """A checklist of one's own, as a file."""
    file = folder / "checklists.OURS.csv"
    file.write_text(
        "\n".join([*(f"# {fact}: ours" for fact in head), columns, *rows]) + "\n", encoding="utf-8"
    )
    return file


def test_a_checklist_is_added_by_one_file(study, tmp_path):
    written(tmp_path, "1,Data,How many subjects,sizes", '2,Data,"On both sides, if any",whole+partitions')
    (ours,) = checklists.read_checklists(tmp_path)
    filled = checklists.fill_checklist(study(), ours)
    assert ours.name == "OURS" and filled.rows.status.tolist() == ["met", "met"]
    assert "On both sides, if any" in checklists.checklist_html(filled)


@pytest.mark.parametrize(
    "rows, options, line",
    [
        (["1,Data,Sizes,size+sises"], {}, "row 6: names a rule 'sises' that there is not; the rules are "),
        (["1,Data,Sizes"], {}, "row 6: has 3 values, not 4; mend that row"),
        (["1,Data,Sizes,sizes", "1,Data,Flow,flow"], {}, "row 7: repeats item 1; number each item once"),
        (["1,Data,,sizes"], {}, "row 6: has no asks; fill it in"),
        (
            ["1,Data,Sizes,sizes"],
            {"columns": "item,section,asks,rule"},
            "row 5: there is no column 'rule'; write ",
        ),
        (
            ["1,Data,Sizes,sizes"],
            {"columns": "item,asks,section,rules"},
            "row 5: the columns are item, asks, ",
        ),
        (
            ["1,Data,Sizes,sizes"],
            {"head": ("title", "about", "source")},
            "has no line `# licence: ...` at its",
        ),
        (
            ["1,Data,Sizes,sizes"],
            {"head": ("title", "abuot")},
            "row 2: `# abuot: ours` states none of title, ",
        ),
    ],
)
def test_a_checklist_that_cannot_be_used_is_refused_with_its_row(tmp_path, rows, options, line):
    refusal = refusal_line(checklists.read_checklist, written(tmp_path, *rows, **options))
    assert refusal.startswith("checklists.OURS.csv") and line in refusal


def test_the_checklists_of_the_package_are_whole():
    counts = {name: len(one.items) for name, one in CHECKLISTS.items()}
    assert counts.items() >= {"REFORMS": 32, "CLAIM": 44, "TRIPOD": 52}.items()
    assert list(counts.values()) == sorted(counts.values())
    assert all(one.title and one.source and one.licence for one in CHECKLISTS.values())
    for name in ("REFORMS", "CLAIM", "TRIPOD"):
        assert "doi:10." in CHECKLISTS[name].source and "Apache-2.0" in CHECKLISTS[name].licence


def test_the_key_of_a_card_covers_the_checklists():
    reached = modules_reached(ROOT / "nbs/experiments/cards.ipynb")
    assert {f"pages/checklists.{name}.csv" for name in CHECKLISTS} <= set(reached)


def test_another_cohort_is_refused(study):
    r = study()
    other = cohorts.Cohort(r.cohort.cells.iloc[1:], r.cohort.root, r.cohort.problems)
    assert "trained on other data" in refusal_line(records.read_records, r.runs, other)


def test_the_card_counts_subjects_and_says_what_it_is_not_for(study):
    r = study()
    rows, card = cards.scores_by_subject(r), cards.write_model_card(r)
    test = predictions.average_by_unit(
        pd.read_parquet(r.trainings[0].folder / "predictions.parquet").query("split == 'test'"), "identity"
    )
    accuracy = ((test.score >= 0.5) == (test.label == "ALL")).mean()
    assert (
        np.isclose(rows.set_index("metric").value["accuracy"], accuracy)
        and f"| accuracy | {accuracy:.3f} |" in card["Quantitative analyses"][1]
    )
    assert "Not for diagnosis" in " ".join(card["Intended use"]) and r.cohort.digest[:16] in " ".join(
        card["Training data"]
    )
    assert "Synthetic cohort" in cards.write_datasheet(r)["Motivation"][0]


def test_names_of_a_study_are_shown_letter_by_letter(study):
    run = of(study(), "training")
    write_json(run.folder / "run.json", run.manifest | {"title": "<script>x</script> [a](b)"})
    text = cards.render_markdown("Model card", cards.write_model_card(study()))
    assert "<script>" not in text and "[a](b)" not in text


def test_a_card_speaks_of_the_classes_of_its_cohort(study, tmp_path, monkeypatch):
    write_json(tmp_path / "run.json", {"inputs": {"classes": {"ALL": "blast [a](b)", "HEM": "normal"}}})
    monkeypatch.chdir(tmp_path)
    sheet = cards.write_datasheet(study()) | {"Uses": ["Telling ALL from HEM."]}
    text = cards.render_markdown("Datasheet", sheet)
    assert "Telling blast &#91;a&#93;" in text and "from normal." in text and "[a](b)" not in text
    assert " HEM" not in text


def test_the_run_keeps_card_sheet_and_tables(smoke):
    (run,) = (r for r in find_runs(smoke[0], "quick") if r.experiment == "cards")
    assert {"model-card.md", "datasheet.md", "flow.csv", "overlap.csv", "statuses.csv", "rules.csv"} | {
        f"{name.lower()}.csv" for name in CHECKLISTS
    } <= set(run.result["files"])
    for name in CHECKLISTS:
        rows = pd.read_csv(run.folder / f"{name.lower()}.csv", dtype=str, keep_default_na=False)
        assert len(rows) == len(CHECKLISTS[name].items) and set(rows.status) <= set(rules.STATUSES)
        assert (rows.proof[rows.status == "met"] != "").mean() > 0.9
    card = (run.folder / "model-card.md").read_text()
    assert card.startswith("# Model card") and "say nothing about leukemia" in card


def test_a_status_is_chosen_on_the_page(smoke, browser):
    from conftest import address_of, opened

    page_name = next(p for p in (smoke[1] / "runs").rglob("*cards*.html")).relative_to(smoke[1]).as_posix()
    with address_of(smoke[1]) as base:
        page, wrong = opened(browser, base, page_name)
        rows = page.locator(".checklist").first.locator("tr[data-status]")
        assert sum(rows.nth(i).is_visible() for i in range(rows.count())) == 32
        page.locator(".checklist").first.locator("input[value='not met']").check()
        shown = [
            rows.nth(i).get_attribute("data-status") for i in range(rows.count()) if rows.nth(i).is_visible()
        ]
        assert shown and set(shown) == {"not met"}
        links = [a for a in page.locator(".checklist a").evaluate_all("xs => xs.map(x => x.href)") if a]
        assert len(links) > 15 and all(
            (smoke[1] / a.removeprefix(base).split("#")[0]).is_file() for a in set(links)
        )
        page.close()
    assert not wrong

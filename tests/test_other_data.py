"""Data that people bring: ALL-IDB, Taleqani's folders, any class folders, tables; all drawn here."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from leukonb.data import audit, cohort, layouts, splits
from leukonb.evidence import predictions
from leukonb.files import Refusal, refusal_line
from leukonb.pages import report
from leukonb.pictures import NO_SUBJECTS, count_alone
from leukonb.verbs import people, predict, run, site
from leukonb.verbs.audit import count_in_words


def draw(folder, names, size=12):
    """A blot in a random place for each name, no two alike."""
    for i, name in enumerate(names):
        picture = np.zeros((size, size, 3), np.uint8)
        picture[2:9, 3 : 8 + i % 4] = (60 + 47 * i % 190, 37 * i % 200, 90)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / name)
    return folder


def says_alone(found):
    lines = "\n".join(audit.list_findings(audit.audit_cohort(found)))
    assert found.alone == len(found.cells) == found.cells.identity.nunique()
    assert f"note: {len(found.cells)} of {len(found.cells)} images have no subject" in lines
    record = audit.audit_cohort(found)
    assert count_in_words(record).endswith(f"{len(found.cells)} images, subjects unknown")
    assert count_in_words({**record, "alone": 2}).endswith(" identities; 2 images of unknown subjects")
    assert NO_SUBJECTS in lines
    return True


IDB = [f"img/Im{i:03}_{int(i < 5)}.tif" for i in range(1, 11)]
FOUR = ("Benign", "[Malignant] early Pre-B", "[Malignant] Pre-B", "[Malignant] Pro-B")
TALEQANI = [f"Original/{name}/WBC-{name[0]} ({i}).jpg" for name in FOUR for i in range(3)]


@pytest.mark.fault(
    group="data",
    fault="Sets of which nobody knows whose cells they show",
    injected="drawn miniatures of ALL-IDB2 and of Taleqani's four folders, brackets and blanks in their names",
    promise="read by their layouts; that there are no subjects is said with every audit and every table",
)
@pytest.mark.parametrize(
    "names, dataset, blasts", [(IDB, "ALL-IDB", 4), (TALEQANI, "Taleqani", 9)], ids=["ALL-IDB", "Taleqani"]
)
def test_a_set_without_subjects_is_read_and_says_so(tmp_path, names, dataset, blasts):
    found = cohort.index_cohort(draw(tmp_path / "set", names))
    assert not found.problems.refused.any() and set(found.cells.dataset) == {dataset}
    assert (found.cells.label == "ALL").sum() == blasts and says_alone(found)
    saved = cohort.load_cohort(cohort.save_cohort(found, tmp_path / "saved"))
    assert saved.alone == found.alone and saved.digest == found.digest
    listed = predict.list_images(tmp_path / "set")
    assert NO_SUBJECTS in listed.attrs["remarks"][-1]
    assert count_alone(listed.subject) == len(names) and listed.label.value_counts()["ALL"] == blasts
    table = predictions.check_table(listed.assign(score=0.5).drop(columns="path"), source="scores")
    assert any(NO_SUBJECTS in sentence for sentence in table.attrs["reading"])


def test_taleqanis_two_versions_are_not_read_together(tmp_path):
    both = [*TALEQANI, *(name.replace("Original", "Segmented") for name in TALEQANI)]
    line = refusal_line(cohort.index_cohort, draw(tmp_path, both))
    assert "holds every picture twice" in line and "name one of them" in line
    assert len(cohort.index_cohort(tmp_path / "Segmented").cells) == 12


def test_short_names_of_taleqanis_folders_are_read_too(tmp_path):
    names = [f"{name}/WBC ({i}).jpg" for name in ("Benign", "Early", "Pre", "Pro") for i in range(2)]
    found = cohort.index_cohort(draw(tmp_path, names))
    assert found.cells.label.value_counts().to_dict() == {"ALL": 6, "HEM": 2} and says_alone(found)


def test_one_class_of_several_is_told_from_the_rest(tmp_path):
    draw(tmp_path, [f"Original/{name}/WBC ({i}).jpg" for name in FOUR for i in range(6)])
    lines = ["folder,label", *(f"{name},{'ALL' if 'Pro' in name else 'HEM'}" for name in FOUR)]
    (tmp_path / "classes.csv").write_text("\n".join(lines))
    found = cohort.index_cohort(tmp_path)
    assert found.cells[found.cells.label == "ALL"].path.str.contains("Pro-B").all() and says_alone(found)
    remark = found.problems[~found.problems.refused].reason.iloc[0]
    assert "ALL stands for [Malignant] Pro-B, HEM stands for Benign and" in remark
    split = splits.draw_split(found.cells, "identity", 0.4, 0.2, 0.4)
    assert split.groupby("split").label.nunique().eq(2).all()
    (tmp_path / "classes.csv").write_text("\n".join(lines[:-1]))
    assert "has no line for the folder [Malignant] Pro-B" in refusal_line(cohort.index_cohort, tmp_path)
    (tmp_path / "classes.csv").write_text("folder,label\nBenign,maybe\n")
    assert "line 2 has label 'maybe'" in refusal_line(cohort.index_cohort, tmp_path)


def test_plain_class_folders_without_subjects_are_asked_about_first(tmp_path):
    draw(tmp_path, [f"{folder}/{i}.png" for folder in ("all", "hem") for i in range(3)])
    assert "none where nobody knows whose cells they are" in refusal_line(cohort.index_cohort, tmp_path)
    assert says_alone(cohort.index_cohort(tmp_path, subject_pattern="none"))


def test_a_table_without_subjects_is_asked_about_first(tmp_path):
    draw(tmp_path, [f"{i}.png" for i in range(6)])
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(6)], "label": ["ALL"] * 3 + ["HEM"] * 3})
    table.to_csv(tmp_path / "cells.csv", index=False)
    line = refusal_line(cohort.index_cohort, tmp_path / "cells.csv")
    assert "no column 'subject'" in line and "--subject-pattern none" in line
    assert says_alone(cohort.index_cohort(tmp_path / "cells.csv", subject_pattern="none"))


NAMES = ["001", "1", "1E2", "100", "NA", "NAN"]


@pytest.mark.fault(
    group="data",
    fault="Subjects whose names look like numbers or gaps",
    injected="001 and 1, 1E2 and 100, NA, in CSV, Excel and Parquet, as a table of images and as one of subjects",
    promise="each stays what it is, and is a person of its own",
)
@pytest.mark.parametrize("ending", ["csv", "xlsx", "parquet"])
def test_names_of_subjects_stay_what_they_are(tmp_path, ending):
    draw(tmp_path, [f"{i}.png" for i in range(6)])
    table = pd.DataFrame(
        {"path": [f"{i}.png" for i in range(6)], "label": ["ALL"] * 3 + ["HEM"] * 3, "subject": NAMES}
    )
    write = {"csv": table.to_csv, "xlsx": table.to_excel, "parquet": table.to_parquet}[ending]
    write(tmp_path / f"cells.{ending}", index=False)
    found = cohort.index_cohort(tmp_path / f"cells.{ending}")
    assert sorted(found.cells.subject) == sorted(NAMES) == sorted(found.cells.identity)
    saved = cohort.load_cohort(cohort.save_cohort(found, tmp_path / "saved"))
    assert sorted(saved.cells.subject) == sorted(NAMES)
    assert sorted(people.read_people(tmp_path / f"cells.{ending}").subject) == sorted(NAMES)


def test_a_subject_in_capitals_and_small_letters_is_one_and_is_remarked(tmp_path):
    draw(tmp_path, ["a.png", "b.png", "c.png"])
    (tmp_path / "cells.csv").write_text("path,label,subject\na.png,ALL,p1\nb.png,ALL,P1\nc.png,HEM,q\n")
    found = cohort.index_cohort(tmp_path / "cells.csv")
    assert found.cells.subject.nunique() == 2
    assert "writes one subject P1 and p1; counted as one" in found.problems.reason.iloc[0]


def test_a_pattern_finds_the_subjects_of_any_set(tmp_path):
    found = cohort.index_cohort(draw(tmp_path, IDB), subject_pattern="Im([0-9]{3})")
    assert found.alone == 0 and found.cells.subject.tolist() == [f"{i:03}" for i in range(1, 11)]
    assert layouts.compile_pattern("none") is layouts.ALONE


STUDY = """
title: Cells of others
shows: Whose cells they are
size: full
runs:
  cohort: {experiment: cohort}
  dataset: {experiment: dataset}
"""


@pytest.mark.fault(
    group="data",
    fault="Pages of runs on images whose subjects nobody knows",
    injected="a study planned on a drawn miniature of ALL-IDB2",
    promise="every run's record, and so every page, says that intervals are too narrow",
)
def test_every_run_on_images_without_subjects_says_so(tmp_path):
    draw(tmp_path / "set", IDB)
    (tmp_path / "mine.yml").write_text(STUDY)
    for pattern, said in ((None, f"{NO_SUBJECTS.capitalize()}."), ("Im([0-9]{3})", "")):
        prepared = run.prepare_study(
            str(tmp_path / "mine.yml"), tmp_path / "_runs", tmp_path / "set", (), False, pattern
        )
        assert [site.note_subjects(planned.run) for planned in prepared.planned] == [said] * 2
        assert all(report.state_use(p.run).endswith(said or "diagnosis.") for p in prepared.planned)


def test_one_class_is_named_to_be_told_from_the_rest(tmp_path):
    draw(tmp_path / "set", [f"{name}/WBC ({i}).jpg" for name in FOUR for i in range(3)])
    for source in (tmp_path / "set", tmp_path / "cells.csv"):
        if source.suffix:
            images = sorted((tmp_path / "set").rglob("*.jpg"))
            rows = [(path.relative_to(tmp_path).as_posix(), path.parent.name) for path in images]
            pd.DataFrame(rows, columns=["path", "label"]).to_csv(source, index=False)
        found = cohort.index_cohort(source, "none", positive="[malignant] pre-b")
        assert found.cells[found.cells.label == "ALL"].path.str.contains("] Pre-B").sum() == 3
        assert found.cells.label.value_counts().to_dict() == {"HEM": 9, "ALL": 3}
        assert "ALL stands for" in found.problems.reason.iloc[0]
        line = refusal_line(cohort.index_cohort, source, "none", positive="Late")
        assert "--positive Late" in line and "Benign" in line and "name one of several" in line
    line = refusal_line(cohort.index_cohort, draw(tmp_path / "odd", ["blast cells/1.png", "normal/2.png"]))
    assert "have no label" in line and "--positive" in line
    with pytest.raises(Refusal, match="goes with --features or --data"):
        run.prepare_study("quick", tmp_path / "_runs", positive="Late")


def test_a_parquet_table_of_images_is_no_table_of_measured_cells(tmp_path):
    draw(tmp_path, [f"{i}.png" for i in range(6)])
    rows = {"path": [f"{i}.png" for i in range(6)], "label": ["ALL"] * 3 + ["HEM"] * 3, "subject": NAMES}
    pd.DataFrame(rows).to_parquet(tmp_path / "cells.parquet")
    (tmp_path / "mine.yml").write_text(STUDY)
    prepared = run.prepare_study(str(tmp_path / "mine.yml"), tmp_path / "_runs", tmp_path / "cells.parquet")
    assert sorted(prepared.cells.subject) == sorted(NAMES)

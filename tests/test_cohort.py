"""The cohort: layouts, identities, files that are not what they claim, tables, saving, and the real sample."""

import json
import os
import random
import shutil
import struct
import threading
import time
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from leukonb.data import layouts, pixels, release
from leukonb.data.cohort import index_cohort, load_cohort, save_cohort
from leukonb.files import refusal_line

FACTS = ["cell", "subject", "identity", "label", "part", "fold", "image", "number"]


def encoded(shade, size=9, format="BMP", mode="RGB"):
    """One small image, different for each shade."""
    image = Image.new("RGB", (size, size))
    image.putpixel((size // 2, size // 2), (shade % 256, shade // 256 % 256, 77))
    image.convert(mode).save(data := BytesIO(), format)
    return data.getvalue()


def put(root, files):
    """Write {relative path: bytes, text or shade}."""
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        data = encoded(data) if isinstance(data, int) else data.encode() if isinstance(data, str) else data
        (root / name).write_bytes(data)
    return root


def facts(found):
    """What a cohort knows, by content."""
    return sorted(
        map(str, found.cells[FACTS].astype(object).where(found.cells[FACTS].notna(), None).values.tolist())
    )


TRAINING = {
    "fold_0/{}all/UID_101_1_1_all.bmp": 1,
    "fold_0/{}hem/UID_h103_1_2_hem.bmp": 2,
    "fold_1/{}all/UID_102_3_1_all.bmp": 3,
    "fold_2/{}hem/UID_H104_1_1_hem.bmp": 4,
}
LABELS = "Patient_ID,new_names,labels\nUID_157_29_1_all.bmp,1.bmp,1\nUID_H149_35_1_hem.bmp,2.bmp,0\nUID_157_3_1_all.bmp,10.bmp,1\n"
LATE = {"1.bmp": 11, "2.bmp": 12, "10.bmp": 13}
LAYOUTS = {
    "archive": (
        "C-NMC_Leukemia/C-NMC_training_data/",
        "C-NMC_Leukemia/C-NMC_test_prelim_phase_data/",
        "C-NMC_Leukemia/C-NMC_test_prelim_phase_data_labels.csv",
        "C-NMC_Leukemia/C-NMC_test_final_phase_data/",
    ),
    "archive doubled": (
        "C-NMC_Leukemia/C-NMC_training_data/",
        "C-NMC_Leukemia/C-NMC_test_prelim_phase_data/C-NMC_test_prelim_phase_data/",
        "C-NMC_Leukemia/C-NMC_test_prelim_phase_data/C-NMC_test_prelim_phase_data_labels.csv",
        "C-NMC_Leukemia/C-NMC_test_final_phase_data/C-NMC_test_final_phase_data/",
    ),
    "kaggle": (
        "C-NMC_Leukemia/training_data/",
        "C-NMC_Leukemia/validation_data/C-NMC_test_prelim_phase_data/",
        "C-NMC_Leukemia/validation_data/C-NMC_test_prelim_phase_data_labels.csv",
        "C-NMC_Leukemia/testing_data/C-NMC_test_final_phase_data/",
    ),
    "challenge": ("data/", "data/phase2/", "data/phase2.csv", "data/phase3/"),
}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.fault(
    group="data",
    fault="A label table with a byte order mark and CRLF line ends, in every layout of the release",
    injected="the CSV written so",
    promise="read as without them",
)
def test_every_layout_gives_the_same_cohort(tmp_path, layout, nested):
    training, late, table, last = LAYOUTS[layout]
    files = {training + name.format(name[:7] if nested else ""): shade for name, shade in TRAINING.items()}
    files |= {late + name: shade for name, shade in LATE.items()} | {
        table: b"\xef\xbb\xbf" + LABELS.replace("\n", "\r\n").encode()
    }
    files |= {last + f"{n}.bmp": encoded(20 + n, 60) for n in (1, 2, 10)}
    found = index_cohort(put(tmp_path, files))
    assert not found.problems.refused.any() and len(found.problems) == 1
    rows = found.cells.set_index("path")
    assert rows.dataset.eq("C-NMC 2019").all() and not found.synthetic
    assert (
        rows.subject[training + ("fold_0/fold_0/hem/" if nested else "fold_0/hem/") + "UID_h103_1_2_hem.bmp"]
        == "H103"
    )
    assert rows.fold[rows.part == "training"].tolist() == [0, 0, 1, 2]
    assert rows.loc[[late + n for n in LATE], ["subject", "label", "number"]].values.tolist() == [
        ["157", "ALL", 1],
        ["H149", "HEM", 1],
        ["157", "ALL", 1],
    ]
    final = rows[rows.part == "final"]
    assert (
        len(final) == 3
        and final.label.isna().all()
        and final.subject.isna().all()
        and final.identity.isna().all()
    )


@pytest.mark.parametrize(
    "layout, training",
    [
        ("archive", "C-NMC_training_data/fold_0/"),
        ("Kaggle", "training_data/fold_0/"),
        ("challenge", "fold_0/"),
        ("class folders", ""),
    ],
)
def test_a_layout_is_recognised_by_its_folders(tmp_path, layout, training):
    files = {f"{training}all/UID_101_1_1_all.bmp": 1, f"{training}hem/UID_h103_1_2_hem.bmp": 2}
    assert layouts.find_layout(layouts.list_files(put(tmp_path / "cells", files))).name == layout


def test_a_layout_is_added_by_one_record(tmp_path, monkeypatch):
    def read(files, pattern=None):
        facts = {"slide": {"subject": "P7", "label": "ALL"}}
        return layouts.Reading(files.root, {files.relative(p): facts for p in files.images}, [], "clinic")

    record = layouts.Layout("clinic", lambda files: "slides" in files.folder_names(), read)
    put(tmp_path, {"slides/a.bmp": 1, "other/UID_101_1_1_all.bmp": 2})
    monkeypatch.setattr(layouts, "LAYOUTS", [record, *layouts.LAYOUTS])
    cells = index_cohort(tmp_path / "slides").cells
    assert cells[["subject", "label", "dataset"]].values.tolist() == [["P7", "ALL", "clinic"]]
    assert index_cohort(tmp_path / "other").cells.subject.tolist() == ["101"]


def test_flattened_by_class_loses_folds_only(tmp_path):
    found = index_cohort(
        put(
            tmp_path,
            {"training_data/all/UID_101_1_1_all.bmp": 1, "training_data/hem/UID_h103_1_2_hem.bmp": 2},
        )
    )
    assert found.cells.part.eq("training").all() and found.cells.fold.isna().all()
    assert found.cells.label.tolist() == ["ALL", "HEM"] and not found.problems.refused.any()


def test_a_single_folder_named_all_is_no_class(tmp_path):
    found = index_cohort(put(tmp_path, {"all/UID_101_1_1_all.bmp": 1, "all/UID_h103_1_2_hem.bmp": 2}))
    assert found.cells.label.tolist() == ["ALL", "HEM"] and not found.problems.refused.any()


@pytest.mark.fault(
    group="data",
    fault="The same image under two subjects",
    injected="the file copied under another subject's name",
    promise="the subjects become one identity, which no split cuts",
)
def test_subjects_joined_by_the_folder_and_by_the_release(tmp_path):
    found = index_cohort(
        put(
            tmp_path,
            {
                "UID_101_1_1_all.bmp": 1,
                "UID_102_1_1_all.bmp": 1,
                "UID_102_2_1_all.bmp": 2,
                "UID_109_2_1_all.bmp": 2,
                "UID_21_1_1_all.bmp": 3,
                "UID_H5_1_1_hem.bmp": 4,
            },
        )
    )
    identity = dict(zip(found.cells.subject, found.cells.identity))
    assert identity == {"101": "101", "102": "101", "109": "101", "21": "1", "H5": "H2"}


def test_a_part_of_a_phantom_stays_synthetic_and_unjoined(tmp_path):
    put(
        tmp_path,
        {
            "PHANTOM.json": "{}",
            "C-NMC_Leukemia/training_data/fold_0/all/UID_20_1_1_all.bmp": 1,
            "C-NMC_Leukemia/training_data/fold_0/all/UID_21_1_1_all.bmp": 2,
        },
    )
    for folder in (tmp_path, tmp_path / "C-NMC_Leukemia", tmp_path / "C-NMC_Leukemia/training_data/fold_0"):
        found = index_cohort(folder, dataset="hospital")
        assert found.synthetic and found.cells.identity.tolist() == ["20", "21"] and not len(found.problems)


def test_synthetic_and_other_cells_are_not_mixed(tmp_path):
    put(tmp_path, {"a/PHANTOM.json": "{}", "a/UID_1_1_1_all.bmp": 1, "b/UID_2_1_1_all.bmp": 2})
    assert "synthetic" in refusal_line(index_cohort, tmp_path)


WHOLE = encoded(99)
BAD = {
    "empty": (b"", "empty"),
    "a byte short": (WHOLE[:-1], "cut short"),
    "a row short": (WHOLE[:-28], "cut short"),
    "half": (WHOLE[: len(WHOLE) // 2], "cut short"),
    "header only": (WHOLE[:54], "cut short"),
    "half a header": (WHOLE[:20], "header"),
    "trailing": (WHOLE + b"\0" * 40, "after its image"),
    "png": (encoded(99, format="PNG"), "a PNG"),
    "jpeg": (encoded(99, format="JPEG"), "a JPEG"),
    "html": (b"<!DOCTYPE html><p>not found" + b" " * 99, "HTML"),
    "noise": (random.Random(0).randbytes(400), "no bitmap"),
    "palette": (encoded(99, mode="P"), "8 bits"),
    "grey": (encoded(99, mode="L"), "8 bits"),
    "one bit": (encoded(99, mode="1"), "1 bits"),
    "alpha": (encoded(99, mode="RGBA"), "32 bits"),
    "sixteen bits": (WHOLE[:28] + b"\x10\0" + WHOLE[30:], "16 bits"),
    "compressed": (WHOLE[:30] + b"\1\0\0\0" + WHOLE[34:], "compressed"),
    "huge": (WHOLE[:18] + struct.pack("<ii", 65535, 65535) + WHOLE[26:], "65535 x 65535"),
    "negative": (WHOLE[:18] + struct.pack("<i", -9) + WHOLE[22:], "-9 x 9"),
    "offset": (WHOLE[:10] + struct.pack("<I", 2**31) + WHOLE[14:], "cut short"),
    "black": (WHOLE[:54] + bytes(len(WHOLE) - 54), "all black"),
    "other size": (encoded(99, 12), "12 x 12 pixels"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.fault(
    group="data",
    fault="An image that is not the bitmap its name claims",
    injected="one file's bytes cut, changed or replaced",
    promise="named in one report with the reason, before anything is trained; the other cells are kept",
)
def test_a_bad_image_is_named_with_its_reason(good, case):
    data, reason = BAD[case]
    put(good, {"fold_0/all/UID_101_9_9_all.bmp": data})
    found = index_cohort(good)
    bad = found.problems[found.problems.refused]
    assert (
        bad.path.tolist() == ["fold_0/all/UID_101_9_9_all.bmp"]
        and reason in bad.reason.iloc[0]
        and "; " in bad.reason.iloc[0]
    )
    assert len(found.cells) == 4 and "\n" not in bad.reason.iloc[0]


@pytest.mark.parametrize("suffix,format", [("png", "PNG"), ("jpg", "JPEG"), ("tif", "TIFF")])
@pytest.mark.fault(
    group="data",
    fault="A PNG, JPEG or TIFF that is cut",
    injected="the last third of the file taken away",
    promise="the whole one is read, the cut one named",
)
def test_other_formats_are_read_and_their_cuts_are_found(good, suffix, format):
    whole = encoded(99, 9, format)
    put(
        good,
        {
            f"fold_0/all/UID_101_8_8_all.{suffix}": whole,
            f"fold_0/all/UID_101_9_9_all.{suffix}": whole[: len(whole) * 2 // 3],
        },
    )
    found = index_cohort(good)
    assert len(found.cells) == 5 and found.problems.path[found.problems.refused].tolist() == [
        f"fold_0/all/UID_101_9_9_all.{suffix}"
    ]


@pytest.mark.fault(
    group="data",
    fault="A folder, a pipe, a dead link or a circle of links where an image should be",
    injected="mkdir, mkfifo and symlink",
    promise="named and never opened; nothing hangs",
)
def test_what_is_no_file_is_named_and_never_opened(good):
    os.mkfifo(good / "pipe.bmp")
    os.mkfifo(good / "pipe.csv")
    (good / "folder.bmp").mkdir()
    (good / "gone.bmp").symlink_to(good / "nowhere")
    (good / "loop").symlink_to(good)
    start, found = time.monotonic(), index_cohort(good)
    assert time.monotonic() - start < 10
    assert (
        sorted(found.problems.path[found.problems.refused]) == ["folder.bmp", "gone.bmp", "pipe.bmp"]
        and len(found.cells) == 4
    )


@pytest.mark.fault(
    group="data",
    fault="One picture under two labels; a subject of both classes; a name that contradicts its folder",
    injected="files copied and renamed",
    promise="named with the reason; the rest is kept",
)
def test_contradictions_are_refused(good):
    put(
        good,
        {
            "fold_0/hem/UID_101_5_5_all.bmp": 50,
            "fold_0/all/UID_105_1_1_all.bmp": 51,
            "fold_0/hem/UID_H106_1_1_hem.bmp": 51,
            "fold_0/all/UID_107_1_1_all.bmp": 52,
            "fold_0/hem/UID_107_1_2_hem.bmp": 53,
        },
    )
    found = index_cohort(good)
    reasons = found.problems[found.problems.refused].set_index("path").reason
    assert reasons["fold_0/hem/UID_101_5_5_all.bmp"].startswith("is ALL by its name and HEM by its folder")
    assert (
        "same picture" in reasons["fold_0/all/UID_105_1_1_all.bmp"]
        and "same picture" in reasons["fold_0/hem/UID_H106_1_1_hem.bmp"]
    )
    assert reasons.str.contains("subject 107 both classes").sum() == 1
    assert sorted(found.cells.subject) == ["101", "102", "H103", "H104"]


@pytest.mark.fault(
    group="data",
    fault="Names that do not parse",
    injected="files without subject or label in their names",
    promise="refused in one row that counts them",
)
def test_files_that_say_too_little_are_refused_in_one_row(good):
    put(good, {f"fold_1/hem/thumb {n}.bmp": 60 + n for n in range(5)})
    found = index_cohort(good)
    bad = found.problems[found.problems.refused]
    assert len(bad) == 1 and "and 4 more have no subject" in bad.reason.iloc[0] and len(found.cells) == 4


@pytest.mark.fault(
    group="data",
    fault="Nothing to read: an empty folder, text only, no labels, a file for a folder",
    injected="such folders made",
    promise="refused in one line that says what to do",
)
def test_nothing_to_index_is_one_line(tmp_path):
    put(
        tmp_path,
        {
            "empty/.keep": "",
            "text/readme.txt": "x",
            "cats/cats/1.bmp": 1,
            "cats/dogs/2.bmp": 2,
            "broken/all/UID_1_1_1_all.bmp": b"",
            "nolabels/C-NMC_test_prelim_phase_data/1.bmp": 1,
            "file.bmp": 3,
        },
    )
    said = {
        name: refusal_line(index_cohort, tmp_path / name)
        for name in ("absent", "empty", "text", "cats", "broken", "nolabels", "file.bmp")
    }
    assert all("\n" not in line and "; " in line for line in said.values())
    assert (
        "no label" in said["cats"]
        and "no label" in said["nolabels"]
        and "is empty" in said["broken"]
        and "holds no image" in said["text"]
    )


@pytest.mark.parametrize(
    "text,reason",
    [
        ("Patient_ID,labels\nUID_157_1_1_all.bmp,1\n", "no column 'new_names'"),
        (LABELS + "UID_157_1_9_all.bmp,1.bmp,1\n", "line 5 names 1.bmp a second time"),
        (LABELS + "\nUID_157_1_9_all.bmp,11.bmp,2\n", "line 6 has label '2'"),
        (LABELS + "UID_157_1_9_all.bmp,11.bmp\n", "line 5 has label ''"),
        (LABELS.encode("utf-16"), None),
        (LABELS.encode() + b"\xff,12.bmp,1\n", "UTF-8"),
    ],
)
@pytest.mark.fault(
    group="data",
    fault="A label table with a missing column, a double row, label 2, a short row or another encoding",
    injected="the CSV written so",
    promise="named with the number of the line",
)
def test_a_bad_label_table_is_named_with_its_line(good, text, reason):
    put(
        good,
        {
            "validation_data/labels.csv": text,
            **{f"validation_data/prelim/{name}": shade for name, shade in LATE.items()},
        },
    )
    bad = index_cohort(good).problems.query("refused")
    if reason:
        assert bad.path.iloc[0] == "validation_data/labels.csv" and reason in bad.reason.iloc[0]
    else:
        assert "no label" in bad.reason.iloc[0]


@pytest.mark.fault(
    group="data",
    fault="A row without a file, a file without a row",
    injected="rows and files taken away",
    promise="the row is a remark with its line, the file is refused",
)
def test_rows_without_a_file_are_a_remark_and_files_without_a_row_are_refused(good):
    put(good, {"prelim/labels.csv": LABELS, "prelim/1.bmp": 11, "prelim/3.bmp": 12})
    problems = index_cohort(good).problems
    assert problems[problems.path == "prelim/labels.csv"].values.tolist() == [
        ["prelim/labels.csv", "line 3 names 2.bmp, which is not there; so do 1 of 2 other lines", False]
    ]
    assert problems[problems.refused].path.tolist() == ["prelim/3.bmp"]
    assert "; prelim/labels.csv names other images" in problems[problems.refused].reason.iloc[0]


@pytest.mark.fault(
    group="data",
    fault="A label table that names files in other letters than theirs",
    injected="1.BMP or 1 in the table where the file is 1.bmp",
    promise="the table is named with its line, and the file; nothing is guessed",
)
@pytest.mark.parametrize("spelt", ["1.BMP", "1"])
def test_a_label_table_that_spells_files_otherwise_is_named(good, tmp_path, spelt):
    wrong = LABELS.replace("1.bmp", spelt)
    assert wrong != LABELS
    put(good, {"prelim/labels.csv": wrong, "prelim/1.bmp": 11, "prelim/2.bmp": 12})
    problems = index_cohort(good).problems.query("refused")
    line = next(n for n, text in enumerate(wrong.splitlines(), 1) if f",{spelt}," in text)
    assert problems.path.tolist() == ["prelim/labels.csv", "prelim/1.bmp"]
    assert f"line {line} names {spelt} where the file is prelim/1.bmp;" in problems.reason.iloc[0]
    put(tmp_path / "alone", {"prelim/labels.csv": wrong, "prelim/1.bmp": 11})
    assert "prelim/labels.csv line" in refusal_line(index_cohort, tmp_path / "alone")


@pytest.mark.fault(
    group="data",
    fault="A table of labels lies beside images and labels none of them",
    injected="other columns, names of no file, an encoding, a workbook; a table that is to be named itself",
    promise="the refusal names the table, and why it was not taken",
)
@pytest.mark.parametrize(
    "name, text, said",
    [
        ("labels.csv", "file,class\n1.bmp,ALL\n", "was not taken: it has no column 'path' but file, class;"),
        ("labels.csv", "path,label\ncells/1.bmp,ALL\n", "was not taken: it has no column 'subject' but path"),
        ("labels.csv", "path,label,subject\n1.png,ALL,1\n", "it names no file that is there (line 2: 1.png)"),
        ("labels.csv", "path,label,subject\ncells/1.bmp,ALL,1\n", "is such a table: name it in place of"),
        ("labels.csv", LABELS.replace(".bmp,", ".png,"), "it names no file that is there (line 2: 1.png)"),
        ("labels.csv", "ä;b\n".encode("latin-1"), "was not taken: it is no readable CSV"),
        ("labels.xlsx", None, "was not taken: it has no column 'path' but file;"),
    ],
)
def test_a_table_that_labels_nothing_is_named_with_its_reason(tmp_path, name, text, said):
    put(tmp_path, {"cells/1.bmp": 1, "cells/2.bmp": 2})
    if text is None:
        pd.DataFrame({"file": ["1.bmp"]}).to_excel(tmp_path / name, index=False)
    else:
        put(tmp_path, {name: text})
    line = refusal_line(index_cohort, tmp_path)
    assert f"in a CSV with path, label, subject; {name} " in line and said in line


@pytest.mark.fault(
    group="data",
    fault="A picture whose name, or whose folder's, begins with a dot",
    injected="both, and folders _runs and _site of somebody's own; those of leukonb and of macOS beside them",
    promise="left out, counted and the first named; of what leukonb or macOS wrote not a word",
)
@pytest.mark.parametrize(
    "names, said",
    [
        (["fold_0/.1.bmp"], ["fold_0/.1.bmp", "is left out: "]),
        ([".b/c/2.bmp", ".b/c/10.png", "a/.1.tif"], [".b/c/2.bmp", "and 2 others are left out: "]),
        (["_runs/1.bmp", "_site/2.bmp"], ["_runs/1.bmp", "and 1 other is left out: "]),
        (["._1.bmp", ".a/._1.bmp", "__MACOSX/1.bmp", "__MACOSX/a/._1.bmp", ".a/__MACOSX/1.bmp"], []),
        (["_runs/quick/training/a-1/run.json", "_runs/1.png", "_site/.leukonb.json", "_site/1.png"], []),
    ],
)
def test_hidden_pictures_are_left_out_with_a_remark(good, names, said):
    put(good, {name: 60 + n for n, name in enumerate(names)})
    found = index_cohort(good)
    remarks = found.problems[found.problems.reason.str.contains("left out")]
    assert len(found.cells) == 4 and not found.problems.refused.any() and len(remarks) == bool(said)
    for _, row in remarks.iterrows():
        assert row.path == said[0] and row.reason.startswith(said[1])


def test_a_table_of_paths(tmp_path):
    put(tmp_path, {"a b.bmp": 1, "sub/b.bmp": 2, "elsewhere/c.bmp": 3})
    rows = f"subject,path,label,note\r\nx1,./a b.bmp,ALL,\r\n\r\n y2 ,sub\\b.bmp,0,q\r\ny2,{tmp_path / 'elsewhere/c.bmp'},hem\r\n"
    put(
        tmp_path,
        {
            "t/cells.csv": b"\xef\xbb\xbf"
            + rows.replace("./a", "../a")
            .replace("sub", "../sub", 2)
            .replace("../subject", "subject")
            .encode()
        },
    )
    found = index_cohort(tmp_path / "t/cells.csv")
    assert (
        found.cells.set_index("subject").label.to_dict() == {"X1": "ALL", "Y2": "HEM"}
        and len(found.cells) == 3
    )
    assert found.cells.dataset.eq("cells").all() and not len(found.problems)


@pytest.mark.parametrize(
    "text,reason",
    [
        ("path,label\na.bmp,ALL\n", "no column 'subject'"),
        ("path,label,subject\n", "no row"),
        ("", "no column 'path'"),
        ("path,label,subject\na.bmp,ALL,1\na.bmp,ALL,1\n", "line 3 names a.bmp a second time"),
        ("path,label,subject\na.bmp,blast,1\n", "line 2 has label 'blast'"),
        ("path,label,subject\na.bmp,ALL,\n", "line 2 has no subject"),
        ("path,label,subject\n,ALL,1\n", "line 2 has no path"),
        (b"path,label,subject\n\xe9.bmp,ALL,1\n", "UTF-8"),
        ("path,label,subject\ngone.bmp,ALL,1\n", "line 2 of cells.csv names it; mend or remove"),
        ("path,label,subject\nA.BMP,ALL,1\n", "line 2 of cells.csv names it; the file is a.bmp"),
    ],
)
@pytest.mark.fault(
    group="data",
    fault="A table of paths that lacks a column, a label, a subject or a file",
    injected="the CSV written so",
    promise="refused with the number of the line",
)
def test_a_bad_table_of_paths_is_refused(tmp_path, text, reason):
    put(tmp_path, {"a.bmp": 1, "cells.csv": text})
    assert reason in refusal_line(index_cohort, tmp_path / "cells.csv")


def test_a_subject_pattern(tmp_path):
    put(tmp_path, {"all/p7/x.bmp": 1, "all/p8/x.bmp": 2, "hem/p9/x.bmp": 3, "hem/odd.bmp": 4})
    found = index_cohort(tmp_path, subject_pattern="(all|hem)/(?P<subject>p[0-9]+)/")
    assert found.cells.subject.tolist() == ["P7", "P8", "P9"] and found.problems.query(
        "refused"
    ).path.tolist() == ["hem/odd.bmp"]
    assert "parentheses" in refusal_line(
        index_cohort, tmp_path, subject_pattern="p[0-9]+"
    ) and "parentheses" in refusal_line(index_cohort, tmp_path, subject_pattern="(p")


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=25).filter(
    lambda n: not n.startswith(".") and len(n.encode()) < 200
)


@settings(deadline=None, max_examples=60)
@given(name=NAMES)
@pytest.mark.fault(
    group="data",
    fault="A file name with blanks, line breaks, control characters, any Unicode",
    injected="60 names drawn by Hypothesis",
    promise="read or refused, shown on one line, the same after saving and loading",
)
def test_any_name_is_read_or_refused_and_stays_on_one_line(tmp_path_factory, name):
    place = put(tmp_path_factory.mktemp("names"), {"all/UID_101_1_1_all.bmp": 1, f"hem/{name}.bmp": 2})
    found = index_cohort(place, subject_pattern="hem/(.*)[.]bmp$")
    assert len(found.cells) + (found.problems.refused.sum()) == 2
    assert all(text.isprintable() for text in [*found.problems.path, *found.problems.reason])
    assert facts(load_cohort(save_cohort(found, place / "kept"))) == facts(found)
    shutil.rmtree(place)


@given(name=st.text(max_size=30))
def test_a_name_parses_as_released_or_not_at_all(name):
    assert release.parse_name(name) == {} or name.isascii()


@pytest.mark.fault(
    group="data",
    fault="A file name that is no UTF-8",
    injected="a file so named",
    promise="refused by name; reports stay readable",
)
def test_a_name_that_is_no_text_is_refused(good):
    Path(os.fsdecode(os.fsencode(good) + b"/fold_0/all/\xff\xfe.bmp")).write_bytes(WHOLE)
    found = index_cohort(good)
    assert "UTF-8" in found.problems.query("refused").reason.iloc[0]
    json.dumps(found.problems.path.tolist()).encode()


def test_saved_with_its_images_and_moved(good, tmp_path):
    found = index_cohort(good)
    save_cohort(found, tmp_path / "good/kept")
    shutil.move(tmp_path / "good", tmp_path / "moved")
    again = load_cohort(tmp_path / "moved/kept")
    assert (
        again.digest == found.digest
        and again.cells.equals(found.cells)
        and all((again.root / path).is_file() for path in again.cells.path)
        and again.cells.dtypes.equals(found.cells.dtypes)
    )


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "json", "fields", "digest"])
@pytest.mark.fault(
    group="data",
    fault="The saved cohort is damaged",
    injected="a bit flipped, the file cut or removed, its note changed",
    promise="refused in one line",
)
def test_a_damaged_table_is_refused(good, tmp_path, damage):
    table, note = (
        save_cohort(index_cohort(good), tmp_path / "kept") / "cohort.parquet",
        tmp_path / "kept/cohort.json",
    )
    data, said = bytearray(table.read_bytes()), json.loads(note.read_text())
    if damage == "flip":
        data[len(data) // 3] ^= 4
    if damage == "cut":
        data = data[:-9]
    if damage == "digest":
        said["digest"] = "0" * 64
    if damage == "fields":
        said = {}
    table.write_bytes(data)
    note.write_text(json.dumps(said) if damage != "json" else "{")
    if damage == "gone":
        table.unlink()
    assert "\n" not in refusal_line(load_cohort, tmp_path / "kept")


@pytest.mark.parametrize("change", ["content", "gone", "cut"])
@pytest.mark.fault(
    group="data",
    fault="Images changed, cut or removed since they were indexed",
    injected="one file rewritten, cut or deleted",
    promise="found by digest and named",
)
def test_changed_images_are_found(good, change):
    found, path = index_cohort(good), good / "fold_1/all/UID_102_3_1_all.bmp"
    path.unlink() if change == "gone" else path.write_bytes(
        encoded(70) if change == "content" else encoded(3)[:-5]
    )
    assert "UID_102_3_1_all.bmp" in refusal_line(pixels.decode_cohort, found, 16, good / "pixels")


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_the_digest_knows_content_and_no_paths(tmp_path_factory, seed):
    place, order = tmp_path_factory.mktemp("digest"), random.Random(seed)
    files = {name.format(""): shade for name, shade in TRAINING.items()}
    one = index_cohort(put(place / "one", files))
    shuffled = sorted(files, key=lambda _: order.random())
    two = index_cohort(
        put(place / "two", {f"{order.randrange(99)}/{name}": files[name] for name in shuffled})
    )
    assert one.digest == two.digest
    assert index_cohort(put(place / "one", {shuffled[0]: files[shuffled[0]] + 100})).digest != one.digest
    shutil.rmtree(place)


def test_a_sample_of_the_release_whatever_its_names(known_sample, tmp_path):
    sample = index_cohort(known_sample.folder / "C-NMC_Leukemia")
    counts = sample.cells.groupby(["part", "label"]).subject.agg(["size", "nunique"])
    assert {key: (n["size"], n["nunique"]) for key, n in counts.iterrows()} == known_sample.parts
    assert not len(sample.problems)
    first, second = known_sample.joined
    whose = dict(zip(sample.cells.subject, sample.cells.identity))
    assert whose[second] == whose[first] != second
    files = [known_sample.folder / "C-NMC_Leukemia" / path for path in sample.cells.path]
    for seed in range(3):
        flat = tmp_path / f"flat{seed}"
        flat.mkdir()
        random.Random(seed).shuffle(files)
        for number, file in enumerate(files):
            (flat / f"{number}.bmp").symlink_to(file.resolve())
        again = index_cohort(flat)
        assert again.digest == sample.digest and facts(again) == facts(sample) and not len(again.problems)


@pytest.mark.fault(
    group="data",
    fault="A released image filed under the other class",
    injected="a known ALL cell copied among the healthy",
    promise="refused: its digest is known with its released label",
)
def test_a_released_image_moved_among_the_healthy_is_refused(known_sample, tmp_path):
    source = next(known_sample.folder.rglob("fold_0/all/*.bmp"))
    healthy = next(known_sample.folder.rglob("fold_0/hem/*.bmp"))
    put(tmp_path, {"hem/1.bmp": source.read_bytes(), "hem/2.bmp": healthy.read_bytes()})
    found = index_cohort(tmp_path)
    assert found.problems.query("refused").values.tolist() == [
        ["hem/1.bmp", "is ALL by its released label and HEM by its folder; move or rename it", True]
    ]


def test_the_packaged_table_is_made_from_the_release(metadata, tmp_path):
    remade = release.remake_table(metadata.folder, tmp_path / "release.csv.xz")
    assert remade.read_bytes() == metadata.packed and len(metadata.packed) < 1.5e6


def test_no_thread_of_an_index_is_left_for_the_garbage_collector(tmp_path):
    """One that is ended while another thread begins, and collects, waits for that thread and it for itself."""
    before = threading.active_count()
    found = index_cohort(put(tmp_path, {"UID_1_1_1_all.bmp": 1, "UID_2_1_1_all.bmp": b"no picture"}))
    assert found.problems.refused.any() and threading.active_count() == before

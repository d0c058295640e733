"""Stand-ins for data that do not travel with the code: of the same form, made up, with answers known beforehand."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage
from sklearn import metrics

from leukonb.data import phantom, release

PRELIMINARY = "validation_data/C-NMC_test_prelim_phase_data"
ROOT = Path(__file__).resolve().parents[1]

# The command line of a package to which the table of the file named first is the release.
PROGRAM = """
import sys
import pandas as pd
from leukonb.data import release
table = pd.read_pickle(sys.argv.pop(1))
release.released_table = lambda: table
from leukonb.cli import main
sys.exit(main())
"""


@dataclass(frozen=True)
class Sample:
    """A folder in the released layout, and what there is to find in it."""

    folder: Path
    leukonb: Callable[..., subprocess.CompletedProcess]  # the command line
    parts: dict[tuple[str, str], tuple[int, int]]  # {(part, label): (images, subjects)}
    joined: tuple[str, str]  # two subjects who share an image; the first is their identity
    near: set[frozenset[str]]  # the subjects of each pair of files that show one cell, not byte by byte
    pairs: int  # of such files
    hashed: int  # how many of them a perceptual hash finds
    touching: set[str]  # subjects with two cells in one image
    released: pd.DataFrame | None = None  # what the release would know of it; None for the release itself


def brightened(image):
    """A copy that looks the same and has other bytes."""
    return np.clip(image * 1.04, 0, 255).astype(np.uint8)


def turned(image):
    """The same cell turned by 65 degrees and mirrored."""
    return ndimage.rotate(image, 65, reshape=False, order=1)[:, ::-1]


def side_by_side(one, other):
    """Two cells at half their size that touch each other."""
    halves = [image.reshape(225, 2, 225, 2, 3).mean((1, 3)).astype(np.uint8) for image in (one, other)]
    both = np.zeros_like(one)
    both[110:335, :225] = halves[0]
    left = np.flatnonzero(halves[0].any((0, 2)))[-1] - np.flatnonzero(halves[1].any((0, 2)))[0] - 2
    both[110:335, left : left + 225] = np.maximum(both[110:335, left : left + 225], halves[1])
    return both


def centred(image):
    """Whether a cell is cut by no edge of its frame, and leaves room for another."""
    return not any(edge.any() for edge in (image[:5], image[-5:], image[:, :5], image[:, -5:]))


def plant(images, rows):
    """Rows with what is to be found: images, subjects and folds of copies, and of two cells in one image."""
    whole = rows[[centred(image) for image in images]]
    training = whole[whole.part == "training"]
    people = {
        label: [
            group.index[:2]
            for _, group in training[training.label == label].groupby("subject")
            if len(group) > 2
        ]
        for label in ("ALL", "HEM")
    }
    (a, b, c, d, *_), (h, i, *_) = people["ALL"], people["HEM"]
    number, planted = 100, []
    for row, like, image in (
        (a[0], b[0], images[a[0]]),  # one image under two subjects
        (c[0], c[0], brightened(images[c[0]])),  # nearly so, under one
        (h[0], i[0], brightened(images[h[0]])),  # and under two
        (a[1], d[0], turned(images[a[1]])),
        (b[1], b[1], side_by_side(images[b[1]], images[d[1]])),
    ):
        number += 1
        place = rows.loc[like, ["subject", "label", "part", "fold"]].to_dict()
        planted.append(
            {**place, "image": number, "number": 1, "source": rows.loc[row, "subject"], "pixels": image}
        )
    return planted


def written(folder, rows):
    """The files of a release: their bytes under the released names, with the labels of the preliminary part."""
    names = []
    for row in rows:
        data = phantom.encode_bmp(row["pixels"])
        row["name"] = f"UID_{row['subject']}_{row['image']}_{row['number']}_{row['label'].lower()}.bmp"
        row["path"] = f"training_data/fold_{row['fold']}/{row['label'].lower()}/{row['name']}"
        if row["part"] == "preliminary":
            names.append((row["name"], f"{len(names) + 1}.bmp", int(row["label"] == "ALL")))
            row["path"] = f"{PRELIMINARY}/{names[-1][1]}"
        row["cell"] = hashlib.sha256(data).hexdigest()
        (folder / row["path"]).parent.mkdir(parents=True, exist_ok=True)
        (folder / row["path"]).write_bytes(data)
    labels = pd.DataFrame(names, columns=["Patient_ID", "new_names", "labels"])
    labels.to_csv(folder / f"{PRELIMINARY}_labels.csv", index=False)


def table_of(rows):
    """Rows as the package keeps those of the release."""
    table = pd.DataFrame(rows).reindex(columns=release.COLUMNS)
    table = table.astype({"fold": "Int64", "image": "Int64", "number": "Int64"})
    return table.sort_values(["part", "cell", "subject"]).reset_index(drop=True)


def draw_sample(place: Path) -> Sample:
    """A made-up sample of a release, drawn by the phantom, and that release's table."""
    images, cells = phantom.sample_cohort(subjects=26, cells=5, size=450, seed=9)
    rows = cells.drop(columns="cell").to_dict("records")
    for row, image in zip(rows, images):
        row["pixels"] = image
    planted = plant(images, cells)
    written(place / "sample/C-NMC_Leukemia", rows + planted)
    frame = pd.DataFrame(rows + planted)
    counts = frame.groupby(["part", "label"]).subject.agg(["size", "nunique"])
    absent = [
        {"cell": hashlib.sha256(bytes([n])).hexdigest(), "part": "final", "fold": None, "image": None}
        for n in range(9)
    ]
    released = table_of([{k: row[k] for k in release.COLUMNS} for row in rows + planted] + absent)
    released.to_pickle(place / "released.pkl")
    first, turned_pair = planted[0], planted[3]
    return Sample(
        place / "sample",
        partial(run_with_release, place / "released.pkl"),
        {key: (int(n["size"]), int(n["nunique"])) for key, n in counts.iterrows()},
        tuple(sorted((first["source"], first["subject"]), key=int)),
        {frozenset((row["source"], row["subject"])) for row in (planted[1], planted[2], turned_pair)},
        pairs=3,
        hashed=2,
        touching={planted[4]["subject"]},
        released=released,
    )


def run_with_release(table: Path, *words, **options) -> subprocess.CompletedProcess:
    """The command line, to which the release is the table of a file."""
    command = [sys.executable, "-c", PROGRAM, table, *words]
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, cwd=options.pop("cwd", ROOT), **options
    )


@dataclass(frozen=True)
class Metadata:
    """The digests and labels of a release, and the table that the package makes of them."""

    folder: Path
    packed: bytes  # that table, compressed
    table: pd.DataFrame


def write_metadata(place: Path) -> Metadata:
    """The metadata of a made-up release of 60 files, nine of which are in it twice or three times."""
    rng = np.random.default_rng(0)
    digests = [hashlib.sha256(bytes([n])).hexdigest() for n in range(60)]
    rows, files, names = [], [], []
    for n, digest in enumerate(digests + [*digests[:6], *digests[20:23], *digests[20:22]]):
        part = ["training", "training", "training", "preliminary", "final"][n % 60 // 12]
        label, subject = ("ALL", str(1 + n // 5)) if n % 2 else ("HEM", f"H{1 + n // 5}")
        name = f"UID_{subject.lower() if n % 7 else subject}_{n + 1}_1_{label.lower()}.bmp"
        fold = int(rng.integers(3)) if part == "training" else None
        path = {
            "training": f"training_data/fold_{fold}/{label.lower()}/{name}",
            "preliminary": f"{PRELIMINARY}/{n}.bmp",
            "final": f"testing_data/C-NMC_test_final_phase_data/{n}.bmp",
        }[part]
        facts = {"subject": subject, "image": n + 1, "number": 1, "label": label} if part != "final" else {}
        rows.append({"cell": digest, "part": part, "fold": fold, **facts})
        files.append({"path": path, "sha256": digest, "size": 608538})
        if part == "preliminary":
            names.append({"Patient_ID": name, "new_names": f"{n}.bmp", "labels": int(label == "ALL")})
    files.append({"path": f"{PRELIMINARY}_labels.csv", "sha256": "0" * 64, "size": 58692})
    pd.DataFrame(files).sample(frac=1, random_state=0).to_csv(place / "sha256.csv", index=False)
    pd.DataFrame(names).to_csv(place / "C-NMC_test_prelim_phase_data_labels.csv", index=False)
    table = table_of(rows)
    return Metadata(place, release.pack_table(table), table)


@dataclass(frozen=True)
class Published:
    """A system's decisions on a test set, and the figures that come out: {score: value}, {score: (low, high)}."""

    table: Path
    subjects: int
    values: dict[str, float]
    over_subjects: dict[str, tuple[float, float]]
    over_cells: dict[str, tuple[float, float]]
    within: dict[str, float] = field(default_factory=lambda: {"subjects": 0.006, "cells": 0.004})


def scored(rows, times=None) -> dict[str, float]:
    """Three scores of decisions, each cell counted so many times, by scikit-learn."""
    truth, call = rows.label == "ALL", rows.score == 1
    return {
        "accuracy": metrics.accuracy_score(truth, call, sample_weight=times),
        "weighted_f1": metrics.f1_score(truth, call, average="weighted", sample_weight=times),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, call, sample_weight=times),
    }


def interval(rows, unit, resamples=200):
    """The middle 95 % of the scores over units that are drawn again, with repetition, within each class."""
    rng, scores = np.random.default_rng(0), []
    units = rows.groupby("label")[unit].unique()
    for _ in range(resamples):
        drawn = np.concatenate([rng.choice(of_class, len(of_class)) for of_class in units])
        scores.append(scored(rows, rows[unit].map(pd.Series(drawn).value_counts()).fillna(0)))
    return {name: tuple(np.percentile(of, [2.5, 97.5])) for name, of in pd.DataFrame(scores).items()}


def write_published(place: Path) -> Published:
    """Made-up decisions on 24 subjects, some of whom are hard; their figures by scikit-learn and plain resampling."""
    rng = np.random.default_rng(3)
    rows = []
    for n in range(24):
        label, right = ("HEM", rng.beta(8, 3)) if n % 2 else ("ALL", rng.beta(14, 2))
        for is_right in rng.random(int(rng.integers(8, 70))) < right:
            score = int((label == "ALL") == is_right)
            rows.append({"subject": f"S{n}", "label": label, "score": score, "arm": "made up"})
    table = pd.DataFrame(rows)
    table.to_csv(place / "made_up_decisions.csv", index=False)
    within = {"subjects": 0.02, "cells": 0.01}  # 200 draws here, others there
    over, naive = interval(table, "subject"), interval(table.reset_index(names="cell"), "cell")
    return Published(place / "made_up_decisions.csv", 24, scored(table), over, naive, within)

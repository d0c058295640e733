"""The wheel: the experiments travel in it, and it works in an empty environment and folder, without the checkout."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("tensorflow", "keras", "keras_cv", "dask", "distributed")


def ran(*words, **options):
    """A finished command, which must have succeeded; what it printed."""
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


def built(source, to):
    """The wheel of a folder, which the build may write in."""
    ran(
        *(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", to, "."),
        cwd=source,
    )
    return next(to.glob("leukonb-*.whl"))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what the wheel is built from."""
    to = tmp_path_factory.mktemp("wheel") / "source"
    to.mkdir()
    for name in ("leukonb", "nbs"):
        unwanted = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ROOT / name, to / name, symlinks=True, ignore=unwanted)
    for name in (
        "setup.py",
        "settings.ini",
        "_quarto.yml",
        "MANIFEST.in",
        "README.md",
        "LICENSE",
        "CITATION.cff",
    ):
        shutil.copyfile(ROOT / name, to / name)
    return to


@pytest.fixture(scope="module")
def wheel(source):
    return built(source, source.parent / "dist")


def members(wheel):
    """{name: content} of a wheel, without the list of its own digests."""
    with zipfile.ZipFile(wheel) as archive:
        return {n: archive.read(n) for n in archive.namelist() if not n.endswith("RECORD")}


def test_the_experiments_and_studies_travel_in_the_wheel(wheel):
    found = members(wheel)
    experiments = ROOT / "nbs/experiments"
    for path in [*experiments.glob("*.ipynb"), *experiments.glob("studies/*.yml")]:
        inside = f"leukonb/experiments/{path.relative_to(experiments).as_posix()}"
        assert found.pop(inside) == path.read_bytes(), inside
        if path.suffix == ".ipynb":
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            assert not any(c.get("outputs") for c in cells), f"{path.name} has outputs"
    assert not [n for n in found if n.startswith("leukonb/experiments/")]
    records = [p for p in (ROOT / "nbs/_published").rglob("*") if p.is_file()]
    for path in records:
        assert found.pop(f"leukonb/{path.relative_to(ROOT / 'nbs').as_posix()}") == path.read_bytes(), path
    assert not [n for n in found if n.startswith("leukonb/_published/")]
    tracked = ran("git", "ls-files", "leukonb", cwd=ROOT).split() if (ROOT / ".git").exists() else []
    data = [n for n in tracked if not n.endswith((".py", ".ipynb")) and (ROOT / n).is_file()]
    assert set(data) <= set(found), "a data file of the package is not in the wheel"


def test_an_older_build_leaves_nothing_in_the_wheel(source, wheel, tmp_path):
    left = source / "build/lib/leukonb/gone.py"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_text("")
    assert members(built(source, tmp_path)) == members(wheel)


def test_the_source_archive_builds_the_same_wheel(source, wheel, tmp_path):
    ran(sys.executable, "setup.py", "-q", "sdist", "-d", tmp_path, cwd=source)
    shutil.unpack_archive(next(tmp_path.glob("*.tar.gz")), tmp_path / "unpacked")
    again = built(next((tmp_path / "unpacked").iterdir()), tmp_path / "dist")
    assert members(again) == members(wheel)


class Installed:
    """The wheel in an environment of its own, and an empty folder to work in."""

    def __init__(self, wheel, place, extra=""):
        self.bin, self.folder = place / "venv/bin", place / "work"
        self.folder.mkdir(parents=True)
        ran(sys.executable, "-m", "venv", place / "venv")
        locked = re.findall(r"^[a-z].*==.*?(?= \\$)", (ROOT / ".lock/cpu.txt").read_text(), re.M)
        versions = place / "versions.txt"  # those of .lock; with its hashes, the wheel would need one too
        versions.write_text("\n".join(locked))
        python, what = self.bin / "python", [f"{wheel}{extra}", "-c", versions]
        if shutil.which("uv"):
            ran("uv", "pip", "install", "-q", "--python", python, *what)
        else:
            ran(python, "-m", "pip", "install", "-q", "--no-compile", *what)

    def __call__(self, *words):
        """What a command of the environment prints, run with nothing that leads to the checkout."""
        leads = ("LEUKONB", "PYTHON", "VIRTUAL_ENV", "JUPYTER")
        env = {k: v for k, v in os.environ.items() if not k.startswith(leads)}
        env |= {"PATH": f"{self.bin}:{os.environ['PATH']}", "HOME": str(self.folder.parent)}
        return ran(self.bin / words[0], *words[1:], cwd=self.folder, env=env)


@pytest.fixture(scope="module")
def base(wheel, tmp_path_factory):
    return Installed(wheel, tmp_path_factory.mktemp("base"))


def test_judging_needs_neither_a_network_library_nor_a_cluster(base):
    asked = f"from importlib.util import find_spec; print([n for n in {HEAVY} if find_spec(n)])"
    assert base("python", "-c", asked).strip() == "[]"
    assert "checkout" not in base("python", "-c", "import leukonb; print(leukonb.__file__)")


def test_help_is_printed_where_there_is_no_checkout(base):
    said = base("leukonb", "--help")
    assert all(verb in said for verb in ("audit", "run", "evaluate", "site"))


def test_published_records_are_whole_where_there_is_no_checkout(base):
    asked = "from leukonb.runs.published import find_published; print(*(run.key for run in find_published()))"
    keys = {p.parent.name.rpartition("-")[2] for p in (ROOT / "nbs/_published").rglob("run.json")}
    assert set(base("python", "-c", asked).split()) == keys


def test_images_are_audited_where_there_is_no_checkout(base):
    from PIL import Image, ImageDraw

    for i in range(12):
        label = ("all", "hem")[i % 2]
        path = base.folder / "cells" / label / f"UID_{label[0].upper()}{i // 4 + 1}_{i + 1}_1_{label}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (64, 64))
        ImageDraw.Draw(image).ellipse((8 + i, 8, 50, 40 + i), fill=(90 + 5 * i, 40, 120))
        image.save(path)
    base("leukonb", "audit", "cells", "--subject-pattern", r"UID_([AH]\d+)_", "--json", "audit.json")
    assert (base.folder / "audit.json").is_file()


def test_a_table_is_judged_where_there_is_no_checkout(base):
    rows = ["subject,label,score"]
    for i in range(160):
        label = ("ALL", "HEM")[i % 2]
        score = 0.5 + (0.15 if label == "ALL" else -0.15) + 0.3 * ((i * 37 % 101) / 101 - 0.5) * 1.9
        rows.append(f"{label}{i // 2 % 8},{label},{score:.4f}")
    (base.folder / "table.csv").write_text("\n".join(rows) + "\n")
    base("leukonb", "evaluate", "table.csv", "--out", "evidence", "--resamples", "200")
    said = json.loads((base.folder / "evidence/evidence.json").read_text(encoding="utf-8"))
    assert 0.5 < next(iter(said["arms"].values()))["scores"]["auroc"]["value"] < 1
    assert list((base.folder / "evidence/page").rglob("*.html"))


@pytest.mark.extras
def test_the_quick_study_runs_where_there_is_no_checkout(wheel, tmp_path):
    train = Installed(wheel, tmp_path, "[train]")
    train("leukonb", "run", "quick", "--smoke", "--workers", "2")
    assert list((train.folder / "_runs").rglob("result.json"))

"""What installing brings along: the page of licences, complete and not to be hidden from; the room on the disk."""

import ast
import configparser
import platform
import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from leukonb.verbs import licences, site

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_site_has_a_page_that_names_every_package_with_copyleft(tmp_path):
    site._stage_guides([], {}, tmp_path, True)
    page, table = (tmp_path / "licences.ipynb").read_text(), licences.list_licences()
    named = table.package[table.copyleft != ""]
    assert {"pingouin", "certifi"} <= set(named)
    for package in named:
        assert f"{package} (" in page, "named in a sentence, not only in the table"
    assert "GPL, version 3" in page and "container image" in page


@pytest.mark.fault(
    group="site",
    fault="A package whose licence asks for the whole comes in unsaid",
    injected="all that is installed, listed by pip-licenses; all modules, read for imports",
    promise="pingouin is the only one, the README says what that asks of whom, and two modules import it when they need it",
)
def test_pingouin_is_the_only_package_whose_licence_asks_for_the_whole():
    table = licences.list_licences()
    assert list(table.package[table.copyleft == "the whole"]) == ["pingouin"], "README says so"
    assert "pingouin is under the GPL, version 3; it is imported in two modules" in " ".join(README.split())
    imported = {}
    for module in sorted((ROOT / "leukonb").rglob("*.py")):
        text = module.read_text(encoding="utf-8")
        tree = ast.parse(text) if "pingouin" in text else ast.Module([], [])
        found = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
        named = [node for node in found if "import pingouin" in ast.unparse(node)]
        if named:
            imported[module.name] = [node for node in tree.body if node in named]
    assert imported == {"paired.py": [], "resampled.py": []}, "in two modules, in none at their start"


@pytest.mark.fault(
    group="site",
    fault="Settings of one's own would hide a package from the page of licences",
    injected="a pyproject.toml that tells pip-licenses to leave pingouin out",
    promise="the page names it all the same",
)
def test_settings_of_the_folder_where_one_works_hide_nothing(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text('[tool.pip-licenses]\nignore-packages = ["pingouin"]\n')
    monkeypatch.chdir(tmp_path)
    licences.list_licences.cache_clear()
    assert "pingouin" in set(licences.list_licences().package)


@pytest.mark.parametrize(
    ("licence", "asks"),
    [
        ("GNU General Public License v3 (GPLv3)", "the whole"),
        ("LGPL-2.1-or-later AND GPL-3.0-only", "the whole"),
        ("AGPL-3.0", "the whole"),
        ("GNU Library General Public License", "the package itself"),
        ("LGPL-3.0-or-later", "the package itself"),
        ("Eclipse Public License 2.0", "the package itself"),
        ("MIT AND PSF-2.0", ""),
    ],
)
def test_copyleft_is_known_however_a_licence_is_written(licence, asks):
    assert licences.copyleft_of(licence) == asks


def read_extras():
    """{extra: its requirements} as settings.ini has them, those of the package itself under an empty name."""
    config = configparser.ConfigParser(delimiters=["="], interpolation=None)
    config.read(ROOT / "settings.ini", encoding="utf-8")
    found = {k.removesuffix("requirements").rstrip("_"): v.split() for k, v in config["DEFAULT"].items()}
    return {k: v for k, v in found.items() if f"{k}_requirements".lstrip("_") in config["DEFAULT"]}


def follow(words, found=None):
    """The distributions that some requirements bring along on this machine, by their names."""
    found = {} if found is None else found
    for wanted in map(Requirement, words):
        name = canonicalize_name(wanted.name)
        try:
            distribution = found.get(name) or metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        new = name not in found
        found[name] = distribution
        holds = [{"extra": extra} for extra in ({""} if new else set()) | wanted.extras]
        further = []
        for text in distribution.requires or []:
            inner = Requirement(text)
            if any(inner.marker is None or inner.marker.evaluate(case) for case in holds):
                further.append(text.partition(";")[0])
        follow(further, found)
    return found


def measure_gb(distributions):
    """As unpacked: whether Python's compiled copies lie beside them depends on who installed them."""
    files = ((d, file) for d in distributions for file in d.files or [] if "__pycache__" not in file.parts)
    places = [d.locate_file(file) for d, file in files]
    return sum(place.stat().st_size for place in places if place.exists()) / 1e9


@pytest.mark.fault(
    group="site",
    fault="What an extra costs on the disk is not said, or untrue",
    injected="the files of all that leukonb and its extra for training bring along, counted",
    promise="the README names every extra with its size, and the two that are installed here are as large as it says",
)
def test_what_each_extra_costs_is_said_and_true():
    rows = dict(re.findall(r"^\| `leukonb(?:\[(\w+)\])?` \|.*\| ([^|]+) \|$", README, re.M))
    extras = {k: v for k, v in read_extras().items() if not k.startswith("dev") and "tests" not in k}
    assert set(rows) == set(extras), "a row of the README for each extra"
    stated = {extra: re.match(r"([0-9.]+) GB( more)?$", cost) for extra, cost in rows.items()}
    assert {extra for extra, size in stated.items() if not size} == {"gpu"} and "not measured" in rows["gpu"]
    assert [extra for extra, size in stated.items() if size and not size[2]] == [""]
    base, trains = follow(extras[""]), follow(extras["train"])
    train = {name: d for name, d in trains.items() if name not in base}
    if (platform.system(), platform.machine()) != ("Linux", "x86_64") or "tensorflow-cpu" not in train:
        return  # the sizes are those of that machine
    for extra, brought in (("", base), ("train", train)):
        assert measure_gb(brought.values()) == pytest.approx(float(stated[extra][1]), rel=0.15), extra

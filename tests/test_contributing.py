"""What a contributor types: nbdev's document step gets through, and README.md and the checkout stay as they are."""

import ast
import configparser
import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOT_RUN = {"export", "exports", "exporti", "exec_doc"}  # or run as they are, so that a mixture does no harm


def code_cells(path):
    """(number, directives, source) of a notebook's code cells."""
    for i, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] == "code":
            source = "".join(cell["source"])
            lines = [line[2:].split() for line in source.splitlines() if line.startswith("#|")]
            yield i, {words[0] for words in lines if words}, source


def mixed(source):
    """Whether a cell both imports and does something: nbdev runs it for its imports, without what it needs."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:  # a magic; nbdev leaves it alone
        return False
    imports = any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in nodes)
    return imports and any(isinstance(n, (ast.Expr, ast.Assign)) for n in nodes)


def notebooks(folder):
    return [p for p in sorted(folder.rglob("*.ipynb")) if ".ipynb_checkpoints" not in p.parts]


def faults(folder):
    return [
        f"{path.relative_to(folder).as_posix()}, cell {i}"
        for path in notebooks(folder)
        for i, directives, source in code_cells(path)
        if not directives & NOT_RUN and "eval:" not in directives and mixed(source)
    ]


def test_no_cell_mixes_imports_and_code():
    assert not faults(ROOT / "nbs"), "split these cells: imports in one, code in the next"


@pytest.mark.parametrize(
    "source, found",
    [
        ("import math\nmath.pi", True),
        ("from math import pi\nx = pi", True),
        ("def f():\n    import math\n    x = math.pi\n    return x", True),
        ("import math\nfrom math import pi", False),
        ("x = 1\nx", False),
        ("#| export\nimport math\nx = math.pi", False),
        ("#| eval: false\nimport math\nx = math.pi", False),
        ("%time x = 1\nimport math", False),
    ],
)
def test_a_cell_that_mixes_imports_and_code_is_found(tmp_path, source, found):
    cell = {"cell_type": "code", "source": source.splitlines(keepends=True)}
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": [cell]}))
    assert faults(tmp_path) == ["a.ipynb, cell 0"] * found


def settings():
    found = configparser.ConfigParser(delimiters=["="], interpolation=None)
    found.read(ROOT / "settings.ini", encoding="utf-8")
    return found["DEFAULT"]


# As Quarto does in a website: what it makes of a file in a folder lies in that folder of _site.
QUARTO = """#!{python}
import sys
from pathlib import Path
asked = sys.argv[2] if len(sys.argv) > 2 and not sys.argv[2].startswith("-") else None
if asked and not Path(asked).is_file():
    sys.exit(f"no such file: {{asked}}")
to = Path("_site") / (Path(asked).relative_to(Path.cwd()).parent if asked else ".")
to.mkdir(parents=True, exist_ok=True)
(to / ("README.md" if asked else "index.html")).write_text("made by Quarto")
"""

STEP = """
import sys
from nbdev import quarto
import nbdev.test
if __name__ == "__main__":
    name = sys.argv[1]
    if name == "prepare": # its examples are run by `make test` already
        nbdev.test.nbdev_test.__wrapped__ = lambda *a, **k: None
    getattr(quarto, name).__wrapped__(**({"n_workers": 1} if name == "nbdev_docs" else {}))
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The checkout as it is, uncommitted changes included, committed in a repository of its own."""
    place = tmp_path_factory.mktemp("contributing")
    to, stub = place / "clone", place / "bin/quarto"

    def git(*words):
        who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        return subprocess.run(
            ["git", *who, *words], cwd=to, check=True, capture_output=True, text=True
        ).stdout

    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_symlink() or (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_symlink():
                (to / name).symlink_to(os.readlink(ROOT / name))
            else:
                (to / name).write_bytes((ROOT / name).read_bytes())
    os.utime(to / "README.md", (0, 0))  # older than any notebook, so that nbdev would make it anew
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "as it is"]):
        git(*words)
    stub.parent.mkdir()
    stub.write_text(QUARTO.format(python=sys.executable))
    stub.chmod(0o755)
    (place / "step.py").write_text(STEP)
    env = {**os.environ, "PATH": f"{stub.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    env |= {"PYTHONPATH": str(to), "TF_CPP_MIN_LOG_LEVEL": "2"}

    def run(name):
        words = [sys.executable, str(place / "step.py"), name]
        done = subprocess.run(words, cwd=to, env=env, capture_output=True, text=True)
        return done, git("status", "--porcelain"), (to / "README.md").read_text(encoding="utf-8")

    return run


@pytest.mark.parametrize("command", ["nbdev_readme", "nbdev_docs", "prepare"])
def test_a_command_of_nbdev_leaves_the_readme_and_the_checkout_as_they_are(clone, command):
    done, changed, readme = clone(command)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not changed, f"changed by {command}:\n{changed}"
    assert readme == (ROOT / "README.md").read_text(encoding="utf-8")
    assert "imports and other code" not in done.stderr


def test_the_readme_is_made_of_no_notebook():
    """nbdev replaces README.md by what Quarto makes of a notebook at the top of nbs, never of one in a folder."""
    named = ROOT / "nbs" / settings()["readme_nb"]
    assert named.is_file() and named.parent != ROOT / "nbs"


@pytest.mark.fault(
    group="data",
    fault="A Python or a machine for which TensorFlow has no package",
    injected="Python 3.10 and 3.14, an Intel Mac, 32 bits, an old or another C library",
    promise="refused in one line before anything is downloaded",
)
@pytest.mark.parametrize(
    "machine, says",
    [
        (((3, 11), "Linux", "x86_64"), ""),
        (((3, 13), "Linux", "aarch64"), ""),
        (((3, 12), "Darwin", "arm64"), ""),
        (((3, 10), "Linux", "x86_64"), "this is 3.10"),
        (((3, 14), "Linux", "x86_64"), "this is 3.14"),
        (((3, 12), "Darwin", "x86_64"), "no package for Darwin on x86_64"),
        (((3, 12), "Linux", "x86_64", 32), "32 bits"),
        (((3, 12), "Linux", "x86_64", 64, ("", "")), "glibc 2.27"),
        (((3, 12), "Linux", "x86_64", 64, ("glibc", "2.17")), "glibc 2.27"),
    ],
)
def test_a_machine_that_will_not_do_is_refused_in_one_line(machine, says):
    said = runpy.run_path(str(ROOT / ".lock/machine.py"))["refusal"](*machine)
    assert says in said and bool(says) == bool(said) and "\n" not in said


LOOK = """
from leukonb.evidence import clustered, metrics, worlds
table = worlds.draw_one_set(worlds.OneSetWorld(ALL=8, HEM=6), 0).query("arm == 'b'")
row = clustered.interval_scores(table, ["distance"]).iloc[0]
truth = table.label == "ALL"
assert abs(row.value - (table.score - truth).abs().mean()) < 1e-12
assert 0 < row.low < row.value < row.high < 1
assert abs(metrics.compute_scores(table)["distance"] - row.value) < 1e-12
"""


def test_a_metric_of_scores_is_added_in_one_notebook(tmp_path):
    """As CONTRIBUTING says: a mean over cells is one record, and has a value and an interval everywhere."""
    shutil.copytree(ROOT / "leukonb", tmp_path / "leukonb", ignore=shutil.ignore_patterns("__pycache__"))
    place, record = tmp_path / "leukonb" / "evidence" / "metrics.py", 'MEANS = {"brier": square_error'
    source = place.read_text(encoding="utf-8")
    assert record in source
    new = f'{record}, "distance": lambda truth, score: abs(score - truth)'
    place.write_text(source.replace(record, new), encoding="utf-8")
    subprocess.run([sys.executable, "-c", LOOK], cwd=tmp_path, check=True)

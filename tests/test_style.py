"""The gate of style finds what it should in a made-up project, and nothing in what is clean."""

import json
import subprocess
from pathlib import Path

import density
import pytest
import style

HEADER = f'"""{"A long line of prose. " * 8}"""\n\n# %% auto #0\n__all__ = []\n\n# %% ../nbs/x.ipynb #1\n'
CLEAN = 'def double(value: int) -> int:\n    "Twice the value."\n    return 2 * value\n'
FAULTS = {
    "wide": (f"# {'x' * 52} {'y' * 56}\n", "E501"),
    "wordy": (f'WORD = (\n    "{"x" * 110}"\n)\n', "E501"),
    "unused": ("import json\n", "F401"),
    "two": ("a = 1; b = 2\n", "E702"),
    "named": ("double = lambda value: 2 * value\n", "E731"),
    "switched": (f"# {'x' * 52} {'y' * 56}  # noqa: E501\n", "noqa"),
    "untyped": ("def double(value):\n    return 2 * value\n", "typed"),
    "wrong": ("def double(value: int) -> int:\n    return str(value)\n", "mypy"),
}


def export(source: str) -> str:
    return "#| export\n" + source


def notebook(*cells: str) -> str:
    """A notebook; cells that begin with > are markdown."""
    made = []
    for number, source in enumerate(cells):
        cell: dict[str, object] = {
            "cell_type": "markdown",
            "id": str(number),
            "metadata": {},
            "source": source,
        }
        if not source.startswith(">"):
            cell |= {"cell_type": "code", "execution_count": None, "outputs": []}
        made.append(cell)
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    long = "".join(f"a{n} = {n}\n" for n in range(61)).rstrip()
    files = {f"leukonb/{name}.py": HEADER + source for name, (source, _) in FAULTS.items()}
    files |= {
        "leukonb/__init__.py": "",
        "leukonb/clean.py": HEADER + CLEAN,
        "leukonb/_modidx.py": "import os\n",
        "tests/test_clean.py": f"text = '{'x ' * 60}'\n".replace("'", '"'),
        "tests/test_unformatted.py": "a = [1,2]\n",
        "nbs/clean.ipynb": notebook("#| default_exp clean", export(CLEAN.rstrip()), "double(1)"),
        "nbs/long.ipynb": notebook("#| default_exp long", export(long), "a1 = 'unformatted'"),
        "nbs/fits.ipynb": notebook("#| default_exp fits", export(long.partition("\n")[2])),
        "nbs/explore/page.ipynb": notebook("> a page", FAULTS["wide"][0].rstrip()),
        "nbs/wide.ipynb": notebook("#| default_exp wide", FAULTS["wide"][0].rstrip()),
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def findings(project: Path) -> list[style.Finding]:
    return style.find_all(project)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_a_module_is_found(findings: list[style.Finding], name: str) -> None:
    assert {one.rule for one in findings if one.path == f"leukonb/{name}.py"} == {FAULTS[name][1]}


def test_nothing_else_is_found(findings: list[style.Finding]) -> None:
    rest = [str(one) for one in findings if not one.path.startswith("leukonb/")]
    assert rest == [
        "nbs/explore/page.ipynb:cell 2:1 E501 Line too long (111 > 110)",
        "nbs/long.ipynb:1 format is not as `ruff format nbs tests` saves it",
        "nbs/long.ipynb:cell 2:1 long-cell an export cell of 61 lines, at most 60",
        "tests/test_unformatted.py:1 format is not as `ruff format nbs tests` saves it",
    ]
    assert not [one for one in findings if one.path in ("leukonb/clean.py", "leukonb/_modidx.py")]


def test_what_has_no_type_is_named(findings: list[style.Finding]) -> None:
    messages = [one.message for one in findings if one.rule == "typed"]
    assert messages == ["double: parameter value has no type", "double: the return has no type"]
    source = (
        "class A:\n def f(self, x: int, *rest) -> int: ...\n def _g(self, x): ...\nclass _B:\n def f(x): ..."
    )
    named = {
        name: list(style.list_untyped(node)) for name, node in style.list_public(density.parsed(source).body)
    }
    assert named == {"A.f": ["parameter rest has no type"]}


def judged(allowed: int, found: int, *earlier: style.Counts | None) -> list[str]:
    key = ("E501", "leukonb/x.py")
    return [one.message for one in style.judge_allowance({key: allowed}, {key: found}, earlier)]


def test_an_allowance_only_shrinks() -> None:
    key = ("E501", "leukonb/x.py")
    assert judged(3, 3) == judged(3, 3, None, {key: 3}) == judged(3, 3, {key: 4}) == []
    assert judged(3, 2) == ["E501 leukonb/x.py: 3 allowed, 2 found; lower the allowance"]
    assert judged(3, 3, {key: 2}) == ["E501 leukonb/x.py: 3 allowed, 2 before; an allowance is never raised"]
    assert judged(3, 3, {key: 3}, {}) == [
        "E501 leukonb/x.py: 3 allowed, 0 before; an allowance is never raised"
    ]


def git(root: Path, *command: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.invalid")
    subprocess.run(["git", *identity, *command], cwd=root, check=True, capture_output=True)


def test_the_gate_passes_what_is_allowed(
    findings: list[style.Finding],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    there = list(findings)
    monkeypatch.setattr(style, "find_all", lambda root: there)
    (tmp_path / "tests").mkdir()
    allowance = tmp_path / style.ALLOWANCE
    allowance.write_text(f"{style.OPEN} to be taken\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "open")

    assert style.main([], tmp_path) == 1
    assert capsys.readouterr().out.splitlines()[:-1] == [str(one) for one in findings]
    assert style.main(["--allow"], tmp_path) == 0 and style.main([], tmp_path) == 0
    assert capsys.readouterr().out.endswith(f"\n0 findings, {len(findings)} allowed\n")
    git(tmp_path, "commit", "-qam", "taken")

    more = style.Finding("leukonb/wide.py", 0, 9, "E501", "Line too long")
    there.append(more)
    assert style.main([], tmp_path) == 1 and str(more) in capsys.readouterr().out
    assert style.main(["--allow"], tmp_path) == 1 and "never raised" in capsys.readouterr().out
    allowance.write_text(allowance.read_text().replace("E501 leukonb/wide.py 1", "E501 leukonb/wide.py 2"))
    assert style.main([], tmp_path) == 1 and "2 allowed, 1 before" in capsys.readouterr().out

    there[:] = findings[1:]
    git(tmp_path, "checkout", "-q", ".")
    assert style.main([], tmp_path) == 1 and "lower the allowance" in capsys.readouterr().out
    assert style.main(["--allow"], tmp_path) == 0 and style.main([], tmp_path) == 0


def test_the_numbers_of_a_notebook(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [
        "> " + "x" * 200,
        "#| default_exp made",
        export("import json"),
        export("def f(): return [json, 1]\n\ndef g(): return 2"),
        "> between",
        export("a = 1"),
        "assert f() and refusal_line(g)\nwith raises(ValueError): test_eq(1, 1)\nprint(refusal_line(g))",
        export("b = 2"),
    ]
    (tmp_path / "nbs").mkdir()
    (tmp_path / "nbs" / "made.ipynb").write_text(notebook(*cells))
    (measured,) = density.measure_notebooks(tmp_path, [Path("nbs/made.ipynb")]).values()
    assert measured.cells == {3: 1, 4: 4, 6: 1, 8: 1}
    assert (measured.examples, measured.prose, measured.assertions) == (4, 3, 4)
    assert measured.rows == [(2, 4), (1, 8)] and measured.with_outputs == 0
    assert style.main(["--numbers", "--hold"], tmp_path) == 0
    assert "total of 1" in capsys.readouterr().out


def test_a_limit_that_does_not_hold_is_said() -> None:
    poor = density.Density({1: 61, 2: 61}, examples=1, prose=1, assertions=1, rows=[(5, 1)], with_outputs=0)
    assert list(density.find_broken({Path("a.ipynb"): poor})) == [
        "a.ipynb:cell 1 is 61 lines long, at most 60",
        "a.ipynb:cell 2 is 61 lines long, at most 60",
        "a.ipynb:cell 1 begins a row of 5 export cells, at most 4",
        "total: the median export cell is 61 lines long, at most 12",
        "total: markdown to code is 0.008, at least 0.20",
        "total: 0.82 assertions per 100 exported lines, at least 6",
    ]

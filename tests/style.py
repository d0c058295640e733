"""The gate of style: what ruff, mypy and two checks of its own find beyond tests/allowance.txt.

style.py                                    the gate, a line a finding; exits 1 where there is one
style.py --allow                            write today's counts as the allowance, which only shrinks
style.py --numbers [--hold] [NOTEBOOK ...]  the density of the notebooks; --hold exits 1 past a limit
"""

import argparse
import ast
import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import density
from density import CONFIG, Cell, run_tool

ALLOWANCE = Path("tests", "allowance.txt")
HEADER = "# Findings of tests/style.py let pass for now: rule, path, count. `--allow` lowers them.\n"
OPEN = "# open:"  # an allowance that is still to be taken

Counts = dict[tuple[str, str], int]  # by rule and path
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, order=True)
class Finding:
    path: str
    cell: int  # 0 in a file that has none
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        cell = f"cell {self.cell}:" if self.cell else ""
        return f"{self.path}:{cell}{self.line} {self.rule} {self.message}"


def run_ruff(root: Path, *command: str) -> list[dict[str, Any]]:
    options = ("--config", str(CONFIG / "ruff.toml"), "--output-format", "json")
    return json.loads(run_tool(root, "ruff", *command, *options) or "[]")


def find_unformatted(root: Path) -> Iterator[Finding]:
    """Notebooks and tests that are not as `ruff format` would save them."""
    found = run_ruff(root, "format", "--check", "nbs", "tests")
    for path in {one["filename"] for one in found if one["code"] == "unformatted"}:
        name = str(Path(path).relative_to(root))
        yield Finding(name, 0, 1, "format", "is not as `ruff format nbs tests` saves it")


def find_header_end(module: Path) -> int:
    """The lines that nbdev writes itself before a module's first exported cell."""
    lines = module.read_text(encoding="utf-8").splitlines()
    starts = (n for n, line in enumerate(lines) if line.startswith("# %% ") and "# %% auto" not in line)
    return next(starts, 0)


def find_lint(root: Path) -> Iterator[Finding]:
    """Ruff's findings; an exported cell's only in its module, where what other cells use does not count."""
    notebooks: dict[Path, list[Cell]] = {}
    for found in run_ruff(root, "check", "nbs", "leukonb", "tests"):
        path = Path(found["filename"])
        rule, line, number = found["code"] or "syntax", found["location"]["row"], found["cell"] or 0
        if number:
            cells = notebooks.setdefault(path, density.read_cells(path))
            if density.is_module(cells) and (rule == "E501" or cells[number - 1].is_exported):
                continue
        elif rule == "E501" and line <= find_header_end(path):
            continue
        yield Finding(str(path.relative_to(root)), number, line, rule, found["message"])


def find_suppressed(root: Path) -> Iterator[Finding]:
    """Lines of a module for which a rule is switched off; an import that is there to be looked up may say so."""
    for module in sorted((root / "leukonb").rglob("*.py")):
        for number, line in enumerate(module.read_text(encoding="utf-8").splitlines(), 1):
            codes = re.search(r"#\s*(?:ruff:\s*)?noqa(?::\s*([A-Z]+\d+(?:[, ]+[A-Z]+\d+)*))?", line)
            if codes and (codes[1] or "") != "F401":
                said = codes[1] or "every rule"
                yield Finding(
                    str(module.relative_to(root)), 0, number, "noqa", f"switches off {said}; mend the line"
                )


def find_wide_words(root: Path) -> Iterator[Finding]:
    """Lines that are too long and that ruff lets pass, since they are one word without a blank."""
    for module in sorted((root / "leukonb").rglob("[!_]*.py")):
        lines, header = module.read_text(encoding="utf-8").splitlines(), find_header_end(module)
        for number, line in enumerate(lines, 1):
            if number > header and len(line) > 110 and len(line.split()) == 1:
                yield Finding(
                    str(module.relative_to(root)), 0, number, "E501", f"one word of {len(line)} columns"
                )


def find_type_errors(root: Path) -> Iterator[Finding]:
    config = str(CONFIG / "mypy.ini")
    command = ["mypy", "--config-file", config, "--no-error-summary", "leukonb"]
    for line in run_tool(root, *command).splitlines():
        if found := re.match(r"(.+?):(\d+): error: (.*)", line):
            yield Finding(found[1], 0, int(found[2]), "mypy", found[3])


def list_public(body: Iterable[ast.stmt], owner: str = "") -> Iterator[tuple[str, Function]]:
    """The functions and methods that others may call, by their full names."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from list_public([*node.body, *node.orelse], owner)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from list_public(node.body, f"{owner}{node.name}.")
        elif isinstance(node, Function) and not node.name.startswith("_"):
            yield f"{owner}{node.name}", node


def list_untyped(function: Function) -> Iterator[str]:
    given = function.args
    parameters = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    for parameter in filter(None, parameters):
        if parameter.annotation is None and parameter.arg not in ("self", "cls"):
            yield f"parameter {parameter.arg} has no type"
    if function.returns is None:
        yield "the return has no type"


def find_untyped(root: Path) -> Iterator[Finding]:
    """Public functions and methods without a type for each parameter and for what they return."""
    for module in sorted((root / "leukonb").rglob("[!_]*.py")):
        path = str(module.relative_to(root))
        for name, function in list_public(density.parsed(module.read_text(encoding="utf-8")).body):
            for message in list_untyped(function):
                yield Finding(path, 0, function.lineno, "typed", f"{name}: {message}")


def find_long_cells(root: Path) -> Iterator[Finding]:
    limit = density.LONGEST_CELL
    for notebook, cells in density.read_formatted(root, density.find_notebooks(root)).items():
        for cell in cells:
            if cell.is_exported and len(cell.lines) > limit:
                message = f"an export cell of {len(cell.lines)} lines, at most {limit}"
                yield Finding(str(notebook), cell.number, 1, "long-cell", message)


def find_all(root: Path) -> list[Finding]:
    searches = (
        find_unformatted,
        find_lint,
        find_wide_words,
        find_suppressed,
        find_type_errors,
        find_untyped,
        find_long_cells,
    )
    return sorted(finding for search in searches for finding in search(root))


def count(findings: Iterable[Finding]) -> Counts:
    return Counter((finding.rule, finding.path) for finding in findings)


def parse_allowance(text: str) -> Counts | None:
    """What is allowed; None where the allowance is still to be taken."""
    lines = text.splitlines()
    if not lines or any(line.startswith(OPEN) for line in lines):
        return None
    entries = (line.split() for line in lines if line.strip() and not line.startswith("#"))
    return {(rule, path): int(number) for rule, path, number in entries}


def read_allowance(root: Path) -> Counts | None:
    file = root / ALLOWANCE
    return parse_allowance(file.read_text(encoding="utf-8") if file.exists() else "")


def read_committed_allowance(root: Path, revision: str) -> Counts | None:
    command = ["git", "show", f"{revision}:./{ALLOWANCE.as_posix()}"]
    return parse_allowance(subprocess.run(command, cwd=root, capture_output=True, text=True).stdout)


def judge_allowance(allowed: Counts, found: Counts, earlier: Iterable[Counts | None]) -> Iterator[Finding]:
    """What is wrong with the allowance itself: more than is found, or more than was allowed before."""
    before = [counts for counts in earlier if counts is not None]
    for key, number in sorted(allowed.items()):
        there = found.get(key, 0)
        once = min((counts.get(key, 0) for counts in before), default=number)
        if there < number:
            message = f"{' '.join(key)}: {number} allowed, {there} found; lower the allowance"
            yield Finding(str(ALLOWANCE), 0, 1, "allowance", message)
        if number > once:
            message = f"{' '.join(key)}: {number} allowed, {once} before; an allowance is never raised"
            yield Finding(str(ALLOWANCE), 0, 1, "allowance", message)


def summarize(failing: list[Finding], allowed: int) -> str:
    rules = Counter(finding.rule for finding in failing)
    parts = ", ".join(f"{number} {rule}" for rule, number in sorted(rules.items()))
    return f"{len(failing)} findings{f' ({parts})' if parts else ''}, {allowed} allowed"


def hold_gate(root: Path) -> int:
    """Print what is found beyond the allowance; of a rule and file that has more, all of it."""
    findings, allowed = find_all(root), read_allowance(root) or {}
    found = count(findings)
    failing = [one for one in findings if found[one.rule, one.path] > allowed.get((one.rule, one.path), 0)]
    passed = len(findings) - len(failing)
    earlier = [read_committed_allowance(root, revision) for revision in ("HEAD", "HEAD~1")]
    failing += judge_allowance(allowed, found, earlier)
    print(*failing, summarize(failing, passed), sep="\n")
    return int(bool(failing))


def take_allowance(root: Path) -> int:
    """Write today's counts, unless one of them is above what is allowed already."""
    found, allowed = count(find_all(root)), read_allowance(root)
    raised = [key for key in sorted(found) if allowed is not None and found[key] > allowed.get(key, 0)]
    for rule, path in raised:
        print(f"{path} {rule} {found[rule, path]} found; an allowance is never raised")
    if not raised:
        entries = "".join(f"{rule} {path} {number}\n" for (rule, path), number in sorted(found.items()))
        (root / ALLOWANCE).write_text(HEADER + entries, encoding="utf-8")
        print(f"{ALLOWANCE}: {sum(found.values())} findings of {len(found)} rules and files allowed")
    return int(bool(raised))


def show_numbers(root: Path, notebooks: list[Path], hold: bool) -> int:
    if missing := [str(notebook) for notebook in notebooks if not notebook.is_file()]:
        raise SystemExit(f"{', '.join(missing)}: there is no such notebook")
    chosen = [notebook.resolve().relative_to(root) for notebook in notebooks] or density.find_notebooks(root)
    measured = density.measure_notebooks(root, chosen)
    density.print_table(measured)
    broken = list(density.find_broken(measured)) if hold else []
    print(*broken, sep="\n", end="\n" if broken else "")
    return int(bool(broken))


def main(arguments: list[str] | None = None, root: Path = CONFIG) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--allow", action="store_true", help="write today's counts as the allowance")
    parser.add_argument("--numbers", action="store_true", help="print the density of the notebooks")
    parser.add_argument("--hold", action="store_true", help="with --numbers: exit 1 past a limit")
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK", help="only these")
    chosen = parser.parse_args(arguments)
    if chosen.numbers:
        return show_numbers(root, chosen.notebooks, chosen.hold)
    return take_allowance(root) if chosen.allow else hold_gate(root)


if __name__ == "__main__":
    raise SystemExit(main())

"""How a notebook shares its formatted lines between exported code, examples and prose."""

import ast
import json
import math
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

CONFIG = Path(__file__).resolve().parents[1]  # where ruff.toml and mypy.ini are
COLUMNS = 110
LONGEST_CELL, LONGEST_ROW = 60, 4
MEDIAN_CELL, PROSE_TO_CODE, ASSERTIONS = 12, 0.20, 6.0
NOTE = (
    "lines: not blank, no directive, as `ruff format` lays them out; a markdown line counts as the lines it\n"
    f"would wrap to at {COLUMNS} columns; asserts: in cells that are not exported, per 100 exported lines;\n"
    "row: the longest of export cells with no example between them, cells of imports aside"
)


def run_tool(root: Path, *command: str) -> str:
    """What a tool of this environment prints; it ends the run where it fails without findings to show."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=root, capture_output=True, text=True)
    if done.returncode and not done.stdout.strip():
        raise SystemExit(f"{' '.join(command[:2])} failed: {done.stderr.strip()}")
    return done.stdout


def parsed(source: str) -> ast.Module:
    """The syntax tree; an empty one where the source has none, which ruff reports by itself."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.Module(body=[], type_ignores=[])


@dataclass(frozen=True)
class Cell:
    number: int  # from 1, as ruff counts
    is_code: bool
    source: str
    has_output: bool = False

    @cached_property
    def lines(self) -> list[str]:
        """The lines that count: not blank and, in code, no directives."""
        lines = [line for line in self.source.splitlines() if line.strip()]
        return [line for line in lines if not line.startswith("#|")] if self.is_code else lines

    @cached_property
    def tree(self) -> ast.Module:
        return parsed(self.source if self.is_code else "")

    @property
    def is_exported(self) -> bool:
        return self.is_code and bool(re.search(r"^#\|\s*export[is]?\b", self.source, re.M))

    @property
    def is_example(self) -> bool:
        return self.is_code and not self.is_exported and bool(self.lines)

    @property
    def only_imports(self) -> bool:
        return all(isinstance(statement, ast.Import | ast.ImportFrom) for statement in self.tree.body)


def read_cells(notebook: Path) -> list[Cell]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [
        Cell(number, cell["cell_type"] == "code", "".join(cell["source"]), bool(cell.get("outputs")))
        for number, cell in enumerate(cells, 1)
    ]


def is_module(cells: Iterable[Cell]) -> bool:
    """Whether a notebook exports a module."""
    return any(cell.is_code and re.search(r"^#\|\s*default_exp\b", cell.source, re.M) for cell in cells)


def find_notebooks(root: Path) -> list[Path]:
    found = (root / "nbs").rglob("*.ipynb")
    return sorted(path.relative_to(root) for path in found if ".ipynb_checkpoints" not in path.parts)


def read_formatted(root: Path, notebooks: Iterable[Path]) -> dict[Path, list[Cell]]:
    """The cells of each notebook as `ruff format` would save them; the notebooks stay as they are."""
    with tempfile.TemporaryDirectory() as name:
        copies = {notebook: Path(name, f"{n}.ipynb") for n, notebook in enumerate(notebooks)}
        for notebook, copy in copies.items():
            shutil.copyfile(root / notebook, copy)
        run_tool(Path(name), "ruff", "format", "--no-cache", "--config", str(CONFIG / "ruff.toml"), ".")
        return {notebook: read_cells(copy) for notebook, copy in copies.items()}


def count_assertions(node: ast.AST) -> int:
    """Assert statements, and calls of test_..., raises and refused that are not part of one."""
    if isinstance(node, ast.Assert):
        return 1
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in ("raises", "refusal_line") or name.startswith("test_"):
            return 1
    return sum(map(count_assertions, ast.iter_child_nodes(node)))


def count_wrapped(lines: Iterable[str]) -> int:
    return sum(math.ceil(len(line) / COLUMNS) for line in lines)


def find_rows(cells: Iterable[Cell]) -> Iterator[tuple[int, int]]:
    """Length and first cell of each row of export cells that no example interrupts."""
    row: list[int] = []
    for cell in cells:
        if cell.is_exported and not cell.only_imports:
            row.append(cell.number)
        elif cell.is_example and row:
            yield len(row), row[0]
            row = []
    if row:
        yield len(row), row[0]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


@dataclass(frozen=True)
class Density:
    cells: dict[int, int]  # lines of each export cell, by its number
    examples: int  # lines of code that is not exported
    prose: int
    assertions: int
    rows: list[tuple[int, int]]  # length and first cell
    with_outputs: int  # notebooks

    @property
    def exported(self) -> int:
        return sum(self.cells.values())

    @property
    def median(self) -> float:
        return statistics.median(self.cells.values()) if self.cells else 0

    @property
    def share_exported(self) -> float:
        return _ratio(self.exported, self.exported + self.examples)

    @property
    def prose_to_code(self) -> float:
        return _ratio(self.prose, self.exported + self.examples)

    @property
    def assertion_rate(self) -> float:
        return 100 * _ratio(self.assertions, self.exported)

    def describe(self) -> tuple[str, ...]:
        """The table's columns after the name."""
        lengths = sorted(self.cells.values()) or [0]
        nearly_all = lengths[math.ceil(0.9 * len(lengths)) - 1]
        return (
            f"{len(self.cells)}",
            f"{self.median:g}",
            f"{nearly_all}",
            f"{lengths[-1]}",
            f"{self.share_exported:.2f}",
            f"{self.prose_to_code:.2f}",
            f"{self.assertion_rate:.1f}",
            f"{max((length for length, _ in self.rows), default=0)}",
            f"{self.with_outputs or 'no'}",
        )


HEAD = ("cells", "median", "p90", "max", "exported", "md:code", "asserts", "row", "outputs")


def measure(cells: list[Cell]) -> Density:
    examples = [cell for cell in cells if cell.is_example]
    return Density(
        cells={cell.number: len(cell.lines) for cell in cells if cell.is_exported},
        examples=sum(len(cell.lines) for cell in examples),
        prose=sum(count_wrapped(cell.lines) for cell in cells if not cell.is_code),
        assertions=sum(count_assertions(cell.tree) for cell in examples),
        rows=list(find_rows(cells)),
        with_outputs=int(any(cell.has_output for cell in cells)),
    )


def total(parts: Iterable[Density]) -> Density:
    """The notebooks as one; its cells are numbered anew."""
    parts = list(parts)
    return Density(
        cells=dict(enumerate(length for part in parts for length in part.cells.values())),
        examples=sum(part.examples for part in parts),
        prose=sum(part.prose for part in parts),
        assertions=sum(part.assertions for part in parts),
        rows=[row for part in parts for row in part.rows],
        with_outputs=sum(part.with_outputs for part in parts),
    )


def measure_notebooks(root: Path, notebooks: Iterable[Path]) -> dict[Path, Density]:
    """Those that export a module, measured."""
    formatted = read_formatted(root, notebooks)
    return {notebook: measure(cells) for notebook, cells in formatted.items() if is_module(cells)}


def print_table(measured: dict[Path, Density]) -> None:
    rows: list[tuple[str, ...]] = [("notebook", *HEAD)]
    rows += [(str(notebook), *density.describe()) for notebook, density in measured.items()]
    rows += [(f"total of {len(measured)}", *total(measured.values()).describe())]
    width = max(len(row[0]) for row in rows)
    for row in rows:
        print(row[0].ljust(width), *(text.rjust(len(head) + 1) for text, head in zip(row[1:], HEAD)))
    print(NOTE)


def find_broken(measured: dict[Path, Density]) -> Iterator[str]:
    """A line for each limit that does not hold."""
    for notebook, density in measured.items():
        for number, length in density.cells.items():
            if length > LONGEST_CELL:
                yield f"{notebook}:cell {number} is {length} lines long, at most {LONGEST_CELL}"
        for length, first in density.rows:
            if length > LONGEST_ROW:
                yield f"{notebook}:cell {first} begins a row of {length} export cells, at most {LONGEST_ROW}"
    whole = total(measured.values())
    if whole.median > MEDIAN_CELL:
        yield f"total: the median export cell is {whole.median:g} lines long, at most {MEDIAN_CELL}"
    if whole.prose_to_code < PROSE_TO_CODE:
        yield f"total: markdown to code is {whole.prose_to_code:.3f}, at least {PROSE_TO_CODE:.2f}"
    if whole.assertion_rate < ASSERTIONS:
        yield f"total: {whole.assertion_rate:.2f} assertions per 100 exported lines, at least {ASSERTIONS:g}"

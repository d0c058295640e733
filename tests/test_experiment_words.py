"""What the pages of experiments say holds for whatever was judged, and no page ends a cell in Python's own words."""

import ast
import json
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


@lru_cache
def shown_by(module: str, function: str) -> str:
    """What a function of leukonb says that it returns, read from its source."""
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    return ast.unparse(defined[function].returns or ast.Constant("unsaid"))


def last_values(path: Path):
    """The call that ends each cell of a notebook, with what it returns."""
    names: dict[str, str] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        tree = ast.parse("".join(cell["source"])) if cell["cell_type"] == "code" else ast.Module([], [])
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        if not tree.body or not isinstance(tree.body[-1], ast.Expr):
            continue
        ending = tree.body[-1].value
        assert isinstance(ending, ast.Call), f"{path.name}: {ast.unparse(ending)}"
        first, *rest = ast.unparse(ending.func).split(".")
        module, _, function = ".".join([names[first], *rest]).rpartition(".")
        yield ast.unparse(ending), shown_by(module, function)


def test_no_cell_of_an_experiment_ends_in_a_value_that_python_would_print():
    printed = {
        path.stem: ending
        for path in sorted((ROOT / "nbs" / "experiments").glob("*.ipynb"))
        for ending, what in last_values(path)
        if what != "None"
    }
    assert not printed

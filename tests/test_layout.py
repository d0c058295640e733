"""The house: which room may know of which, held so that no arrow ever leads back."""

import ast
import graphlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "leukonb"
FLOORS = [
    {"files", "numbers"},
    {"pictures"},
    {"data", "evidence", "draw"},
    {"model", "runs"},
    {"pages"},
    {"verbs"},  # the site shows what pages make
    {"api"},
    {"cli"},
]
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
FRONT = {"audit", "evaluate", "features", "plan", "predict", "run"}  # functions of the front page
HEAVY = {"keras", "keras_cv", "tensorflow", "torch", "jax", "dask", "distributed"}


def module_name(path: Path) -> str:
    """The module of a file of the package, such as `data.cohort`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def modules(package: Path = PACKAGE) -> dict[str, ast.Module]:
    """Every module of the package by name, without `__init__` and the generated index."""
    files = [p for p in sorted(package.rglob("*.py")) if p.stem not in ("__init__", "_modidx")]
    return {".".join(p.relative_to(package).with_suffix("").parts): ast.parse(p.read_text()) for p in files}


def absolute(node: ast.ImportFrom, name: str) -> str:
    """The module that a `from` statement in the module `name` reads, without the leading package."""
    if not node.level:
        return (node.module or "").removeprefix("leukonb").lstrip(".")
    above = name.split(".")[: -node.level] if node.level else []
    return ".".join([*above, *([node.module] if node.module else [])])


def imports(name: str, tree: ast.Module, known: set[str]):
    """(module of ours, imported name) of each import anywhere in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (
                (a.name.removeprefix("leukonb."), "") for a in node.names if a.name.startswith("leukonb.")
            )
        elif isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("leukonb")):
            base = absolute(node, name)
            for a in node.names:
                inner = f"{base}.{a.name}".lstrip(".")
                front = not base and a.name in FRONT
                yield (inner, "") if inner in known else ("api" if front else base, a.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "leukonb" and node.attr in FRONT:
                yield "api", node.attr
        elif isinstance(node, ast.Call) and "import" in ast.unparse(node.func) and node.args:
            named = node.args[0].value if isinstance(node.args[0], ast.Constant) else ""
            if str(named).startswith("leukonb."):
                yield str(named).removeprefix("leukonb."), ""


def arrows_back(trees: dict[str, ast.Module]) -> list[str]:
    """Each import of a room that is not below, as `module imports module`."""
    found = []
    for name, tree in trees.items():
        room = name.split(".")[0]
        for target, _ in imports(name, tree, set(trees)):
            other = target.split(".")[0]
            if other and other != room and other in FLOOR and FLOOR[other] >= FLOOR[room]:
                found.append(f"{name} imports {target}")
    return found


def test_every_module_stands_in_a_room_with_a_floor():
    assert {name.split(".")[0] for name in modules()} <= set(FLOOR)


def test_no_arrow_leads_back():
    assert arrows_back(modules()) == []


@pytest.mark.parametrize(
    ("source", "back"),
    [
        ("from ..model import network", ["evidence.metrics imports model.network"]),
        ("def f():\n    from leukonb.runs.record import Run", ["evidence.metrics imports runs.record"]),
        ("from ..data import cohort", ["evidence.metrics imports data.cohort"]),
        ("from leukonb import predict", ["evidence.metrics imports api"]),
        ("import leukonb\nleukonb.predict('a', 'b')", ["evidence.metrics imports api"]),
        (
            "import importlib\nimportlib.import_module('leukonb.runs.record')",
            ["evidence.metrics imports runs.record"],
        ),
        ("import leukonb\nleukonb.__file__", []),
        ("from ..files import Refusal\nfrom . import calibration", []),
    ],
)
def test_an_arrow_back_is_found_wherever_the_import_stands(source, back):
    trees = {
        name: ast.parse("")
        for name in ("model.network", "runs.record", "data.cohort", "evidence.calibration")
    }
    assert arrows_back({**trees, "evidence.metrics": ast.parse(source)}) == back


# A notebook that is run by hand asks `record` for its run; only then is loaded what begins one in a kernel.
HOOKS = {("runs.record", "runs.kernel")}


def test_within_a_room_no_two_modules_need_each_other():
    trees = modules()
    needs = {
        name: {t for t, _ in imports(name, tree, set(trees)) if t in trees and (name, t) not in HOOKS}
        for name, tree in trees.items()
    }
    at_the_top = {
        name: ast.Module([n for n in tree.body if not isinstance(n, ast.FunctionDef)], [])
        for name, tree in trees.items()
    }
    assert not [h for h in HOOKS if h[1] in {t for t, _ in imports(h[0], at_the_top[h[0]], set(trees))}]
    assert len(list(graphlib.TopologicalSorter(needs).static_order())) == len(trees)


def test_evidence_draw_and_files_need_no_deep_learning_library():
    for name, tree in modules().items():
        if name.split(".")[0] in ("files", "numbers", "pictures", "data", "evidence", "draw"):
            for node in ast.walk(tree):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
                assert not {n.split(".")[0] for n in names} & HEAVY, name


def test_private_names_stay_in_their_module():
    trees = modules()
    found = [
        f"{name} imports {target}.{what}"
        for name, tree in trees.items()
        for target, what in imports(name, tree, set(trees))
        if what.startswith("_") and not what.startswith("__")
    ]
    assert found == []


def test_no_module_has_the_name_of_a_function_of_the_front_page():
    assert not FRONT & {name.split(".")[0] for name in modules()}

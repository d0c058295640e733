"""Who uses what: which functions are reached, which of their parameters anybody sets, which names stand twice.

python tests/usage.py lists all three.
"""

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
Name = tuple[str, str]  # a module, such as data.cohort, and what stands at its top
GUIDES = ("README.md", "CONTRIBUTING.md", "settings.ini")
TOP = (ast.FunctionDef, ast.ClassDef)
IN_TEXT = re.compile(r"leukonb\.([a-z_.]+)[.:]([A-Za-z]\w*)|from leukonb\.([a-z_.]+) import (\w+)")


def _dotted(node: ast.AST) -> str:
    """A name with its attributes, such as `leukonb.data.cohort`; none of anything else."""
    if isinstance(node, ast.Attribute):
        inner = _dotted(node.value)
        return inner and f"{inner}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


@dataclass
class Place:
    """One text of Python: a module, a notebook's own cells, or a file of tests."""

    module: str  # the module whose names it sees without an import; none for a test
    tree: ast.Module
    names: dict[str, set[Name]] = field(default_factory=lambda: defaultdict(set))  # what a name stands for
    modules: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def resolve(self, node: ast.AST) -> set[Name]:
        """What of the package a name or an attribute may stand for."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, set())
        if not isinstance(node, ast.Attribute):
            return set()
        if isinstance(node.value, ast.Call):  # a module that a function hands out, to import it late
            late = isinstance(node.value.func, ast.Name) and not (node.value.args or node.value.keywords)
            return {n for n in definitions() if n[1] == node.attr} if late else set()
        text = _dotted(node.value)
        known = self.modules.get(text, set())
        known = known or ({text.removeprefix("leukonb.")} if text.startswith("leukonb.") else set())
        return {(m, node.attr) for m in known if (m, node.attr) in definitions()}


@cache
def modules() -> dict[str, ast.Module]:
    """The package's modules by name; the package itself has the name ''."""
    package = ROOT / "leukonb"
    files = [p for p in sorted(package.rglob("*.py")) if p.stem != "_modidx"]
    names = [".".join(p.relative_to(package).with_suffix("").parts).removesuffix("__init__") for p in files]
    return {n.rstrip("."): ast.parse(p.read_text()) for n, p in zip(names, files)}


def _bound(node: ast.stmt) -> list[str]:
    if isinstance(node, TOP):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    assigned = isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign)
    return [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)] if assigned else []


@cache
def definitions() -> dict[Name, list[ast.stmt]]:
    """The statements that make each function, class and constant at the top of a module."""
    made: dict[Name, list[ast.stmt]] = defaultdict(list)
    for module, tree in modules().items():
        for node in tree.body:
            for name in _bound(node):
                made[module, name].append(node)
    return made


def _base(node: ast.ImportFrom, module: str) -> str | None:
    if not node.level:
        inside = (node.module or "").split(".")[0] == "leukonb"
        return (node.module or "").removeprefix("leukonb").lstrip(".") if inside else None
    above = module.split(".")[: -node.level] if module else []
    return ".".join([*above, *([node.module] if node.module else [])])


def _see(place: Place) -> Place:
    for module, name in definitions():
        if module == place.module and module:
            place.names[name].add((module, name))
    for node in ast.walk(place.tree):
        if isinstance(node, ast.ImportFrom) and (base := _base(node, place.module)) is not None:
            for a in node.names:
                inner = f"{base}.{a.name}".lstrip(".")
                if inner in modules():
                    place.modules[a.asname or a.name].add(inner)
                else:
                    place.names[a.asname or a.name].add((base or "api", a.name))
        elif isinstance(node, ast.Import):
            for a in node.names:
                if a.name.startswith("leukonb."):
                    place.modules[a.asname or a.name].add(a.name.removeprefix("leukonb."))
    return place


def _cells(path: Path) -> Iterator[ast.Module]:
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and "#| export" not in source:
            plain = [" " if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines()]
            yield ast.parse("\n".join(plain))


@cache
def notebooks() -> dict[str, Place]:
    """Each notebook's own cells (those that are not exported), which see the names of their module."""
    places = {}
    for path in sorted((ROOT / "nbs").rglob("*.ipynb")):
        if "_published" not in path.parts and ".ipynb_checkpoints" not in path.parts:
            name = path.relative_to(ROOT / "nbs").with_suffix("").as_posix()
            module = name.replace("/", ".").replace("-", "_")
            tree = ast.Module([node for cell in _cells(path) for node in cell.body], [])
            places[name] = _see(Place(module if module in modules() else "", tree))
    return places


@cache
def package() -> dict[str, Place]:
    """Each module as a place."""
    return {module: _see(Place(module, tree)) for module, tree in modules().items()}


def uses(node: ast.AST, place: Place) -> set[Name]:
    """What of the package a piece of code names, in strings such as `-c` takes too."""
    found = set()
    for n in ast.walk(node):
        if isinstance(n, ast.Name | ast.Attribute):
            found |= place.resolve(n)
        elif isinstance(n, ast.Constant) and isinstance(n.value, str) and "leukonb." in n.value:
            found |= {(a or c, b or d) for a, b, c, d in IN_TEXT.findall(n.value)}
    return found


@cache
def roots() -> set[Name]:
    """What is used from outside: commands, the front page, the experiments, and what the guides name."""
    found = {n for n in definitions() if n[0] in ("api", "cli", "")}
    for name, place in notebooks().items():
        if name.split("/")[0] in ("experiments", "explore") or name == "index":
            found |= uses(place.tree, place)
    for guide in GUIDES:
        found |= {(a or c, b or d) for a, b, c, d in IN_TEXT.findall((ROOT / guide).read_text())}
    for module, place in package().items():  # what a module does as it is read, such as enter a record
        for node in place.tree.body:
            found |= uses(node, place) if not _bound(node) else set()
            for d in getattr(node, "decorator_list", ()):
                if any(n[0] for n in uses(d, place)):
                    found.add((module, node.name))
    return found


@cache
def reached(extra: frozenset[Name] = frozenset()) -> set[Name]:
    """Everything that the roots, and what is named beside them, come to in the end."""
    waiting, seen = set(roots() | extra), set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in definitions():
            continue
        seen.add(name)
        for node in definitions()[name]:
            waiting |= uses(node, package()[name[0]])
    return seen


def unreached(extra: frozenset[Name] = frozenset()) -> list[str]:
    """Public functions and classes that nothing comes to, as `room.module.name`."""
    seen = reached(extra)
    public = [n for n, made in definitions().items() if isinstance(made[0], TOP) and not n[1].startswith("_")]
    return [f"{m}.{n}" for m, n in public if (m, n) not in seen]


def twice() -> dict[str, list[str]]:
    """Public functions and classes whose name stands in several modules, with those modules.

    The front page names anew what its rooms do.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for (module, name), made in definitions().items():
        if isinstance(made[0], TOP) and not name.startswith("_") and module not in ("api", ""):
            found[name].append(module)
    return {name: sorted(found[name]) for name in sorted(found) if len(found[name]) > 1}


@cache
def tests() -> list[Place]:
    """The files of tests."""
    return [_see(Place("", ast.parse(p.read_text()))) for p in sorted((ROOT / "tests").glob("*.py"))]


@dataclass
class Given:
    """What the calls of one function give it."""

    places: float = 0  # how many arguments by place, at most
    names: set[str] = field(default_factory=set)

    def add(self, arguments: list[ast.expr], keywords: list[ast.keyword]) -> None:
        starred = any(isinstance(a, ast.Starred) for a in arguments) or any(k.arg is None for k in keywords)
        self.places = max(self.places, float("inf") if starred else len(arguments))
        self.names |= {k.arg for k in keywords if k.arg} | ({"*"} if starred else set())


def calls(places: Iterable[Place]) -> dict[Name, Given]:
    """What is given to each function, by calls and by those that hand a function and its arguments on."""
    given: dict[Name, Given] = defaultdict(Given)
    for place in places:
        called = set()
        for node in ast.walk(place.tree):
            if isinstance(node, ast.Call):
                called.add(id(node.func))
                for name in place.resolve(node.func):
                    given[name].add(node.args, node.keywords)
                maker = (
                    _dotted(node.func).rpartition(".")[2][:1].isupper()
                )  # a class keeps it, who knows for whom
                for i, argument in enumerate([] if maker else node.args):
                    names = place.resolve(argument) if isinstance(argument, ast.Name | ast.Attribute) else ()
                    for name in names:
                        given[name].add(node.args[i + 1 :], node.keywords)
                        called.add(id(argument))
        for node in ast.walk(
            place.tree
        ):  # in a table or under another name: nobody can tell what it is given
            if isinstance(node, ast.Name | ast.Attribute) and id(node) not in called:
                if isinstance(node.ctx, ast.Load):
                    for name in place.resolve(node):
                        given[name].add([ast.Starred(node)], [])
    return given


def unset() -> list[str]:
    """Parameters with a default that no call sets, as `room.module.function: parameter`.

    Those of the front page are for its readers. Calls are those of the package, of notebooks and of tests.
    """
    given, found = calls([*package().values(), *notebooks().values(), *tests()]), []
    for (module, name), made in definitions().items():
        if not isinstance(made[0], ast.FunctionDef) or module in ("api", ""):
            continue
        words, calls_of = made[0].args, given.get((module, name), Given())
        by_place = words.posonlyargs + words.args
        first = len(by_place) - len(words.defaults)
        optional = [a.arg for i, a in enumerate(by_place) if i >= first and i >= calls_of.places]
        optional += [a.arg for a, d in zip(words.kwonlyargs, words.kw_defaults) if d is not None]
        idle = [a for a in optional if a not in calls_of.names and "*" not in calls_of.names]
        found += [f"{module}.{name}: {a}" for a in idle]
    return found


if __name__ == "__main__":
    print("nothing reaches", *unreached(), sep="\n  ")
    print("nobody sets", *unset(), sep="\n  ")
    print("stands twice", *(f"{name}: {', '.join(where)}" for name, where in twice().items()), sep="\n  ")

"""The key of a run: what decides its numbers moves it, what only draws or runs does not."""

import ast
import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, leukonb

from leukonb.files import digest_file, refusal_line, write_json
from leukonb.draw import found
from leukonb.runs import key, notebook, process
from leukonb.runs.crate import export_crate
from leukonb.runs.notebook import check_parameters, find_experiment
from leukonb.runs.process import execute_run
from leukonb.runs.record import Run, current_status, describe_standing, find_runs, make_run
from leukonb.runs.study import list_studies, load_study, plan_study
from leukonb.runs.sweep import execute_plan
from leukonb.runs.verify import verify_run
from leukonb.runs.watch import list_status
from leukonb.verbs import site

LAST = "from leukonb.runs.record import this_run, finish\nfinish(this_run(), {'AUROC': 0.91})"
PARAMETERS = "seed: int = 0\nweights: str | None = 'imagenet'  # file: 'imagenet', a local file, or none"

SNIPPET = """
@cached(size=2)
def score(cells, *rest, alpha=(0.75, 0.25), **options):
    "A docstring."
    with open(cells[0], "rb") as file, lock:
        match file.read():
            case {"a": [1, *_]} if alpha:
                total = sum(x**2 for x in rest if (y := x) > -1.0)
            case _:
                raise ValueError(f"{cells!r:>10} and {alpha[0]:.{2}f}" "!") from None
    try:
        return lambda x, /, *, z=None: {**options, "t": total, 1: [*rest]}
    except* OSError:
        return not (1 < 2 <= 3) or b"\\x00" if total else ...
    finally:
        del total
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package that a test may change."""
    copy = tmp_path / "copy" / "leukonb"
    shutil.copytree(ROOT / "leukonb", copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(key, "package_folder", lambda: copy)
    return copy


@pytest.fixture
def versions(monkeypatch):
    """Versions that a test may set."""
    stated, real = {}, key.version
    monkeypatch.setattr(key, "version", lambda name: stated.get(name) or real(name))
    key._list_versions.cache_clear()
    yield lambda **new: (stated.update(new), key._list_versions.cache_clear())
    key._list_versions.cache_clear()


def training(tmp_path, **given):
    path = find_experiment("training")
    return make_run(tmp_path / "runs", "training", path, check_parameters(path, given), "ab" * 32)


def change(file, old, new):
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file.name}"
    file.write_text(text.replace(old, new), encoding="utf-8")


def write(folder, *cells, parameters="seed: int = 0", name="example"):
    first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    head = nbformat.v4.new_markdown_cell(f"# {name}\n\n> What it shows.")
    path = folder / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [head, first, *map(nbformat.v4.new_code_cell, cells)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


# What draws or runs, and how code is written, does not move the key.

HOVER = ("draw/figures.py", "cells<extra></extra>", "cells of the subject<extra></extra>")
REFLOWED = (
    "model/losses.py",
    "        return ops.sum(loss, axis=-1)  # (batch,)\n",
    '        "The loss."\n        # one number a cell\n        return ops.sum(\n            loss,\n            axis=-1,\n        )\n',
)
HINTED = (
    "model/losses.py",
    "def _spread_classes(truth, logits):",
    "def _spread_classes(truth: object, logits):",
)
ENGINE = ("runs/process.py", "start_timeout=120", "start_timeout=240")
LOSS = ("model/losses.py", "1e-12", "1e-11")
SPLIT = ("data/splits.py", "def ", "import math\n\n\ndef ")


@pytest.mark.parametrize("file, old, new", [HOVER, REFLOWED, HINTED], ids=["hover", "reflowed", "hinted"])
def test_what_draws_and_how_code_is_written_keep_a_trainings_key(package, tmp_path, file, old, new):
    before = training(tmp_path)
    change(package / file, old, new)
    after = training(tmp_path)
    assert after.key == before.key
    assert (after.manifest["drawing"] != before.manifest["drawing"]) == file.startswith("draw/")


def test_a_part_of_a_figure_may_be_reworded_in_a_module_that_computes(package):
    path, file = find_experiment("leakage"), package / "pages" / "leakage.py"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    parts = [n for n in tree.body if key.is_figure_function(n) and "Figure" not in ast.unparse(n.returns)]
    assert parts
    before, drawing = key.digest_modules(path), key.digest_drawing(path)
    last = parts[0].body[-1]
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    lines.insert(last.lineno - 1, " " * last.col_offset + 'hovertemplate = "reworded"\n')
    file.write_text("".join(lines), encoding="utf-8")
    assert key.digest_modules(path) == before and key.digest_drawing(path) != drawing


@pytest.mark.parametrize(
    "file, name, experiment",
    [("pages/paper.py", "_SETS", "monte-carlo"), ("pages/maps.py", "_DYES", "explanation")],
)
def test_a_colour_in_a_module_that_computes_keeps_the_key(package, file, name, experiment):
    path, source = find_experiment(experiment), (package / file).read_text(encoding="utf-8")
    (node,) = [n for n in ast.parse(source).body if name in key._defined_names(n)]
    stated = ast.get_source_segment(source, node)
    before, drawing = key.digest_modules(path), key.digest_drawing(path)
    change(package / file, stated, stated.replace("#", "#0"))
    assert key.digest_modules(path) == before and key.digest_drawing(path) != drawing


def test_data_that_a_module_reads_under_another_name_than_its_own_count(package):
    path = find_experiment("released")
    before = key.digest_modules(path)
    for name in ("links.csv", "preliminary.csv.xz", "release.csv.xz"):
        assert f"data/{name}" in before
    links = package / "data" / "links.csv"
    links.write_text(links.read_text().splitlines()[0] + "\n")
    after = key.digest_modules(path)
    assert [n for n in after if after[n] != before[n]] == ["data/links.csv"]


def test_every_data_file_of_the_package_counts_for_a_module_that_reads_it(package):
    beside = [p.name for m in package.rglob("*.py") for p in key._beside(m)]
    data = [p for p in package.rglob("*") if p.suffix in (".csv", ".xz", ".json", ".parquet") and p.is_file()]
    by_digest = {"cnmc.parquet"}  # a cohort is known by its own digest, whatever file it came from
    assert {p.name for p in data} - by_digest <= set(beside)


def test_what_a_users_own_modules_compute_counts(tmp_path, monkeypatch):
    lab = tmp_path / "lab"
    path = write(lab, "import my_rate\nprint(my_rate.RATE)")
    (lab / "my_rate.py").write_text("from my_deeper import RATE\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.syspath_prepend(str(elsewhere))
    (elsewhere / "my_deeper.py").write_text("RATE = 0.91\n")
    before = key.digest_modules(path)
    assert {"my_rate.py", "my_deeper.py"} <= set(before) and not {n for n in before if "pandas" in n}
    (elsewhere / "my_deeper.py").write_text("RATE = 0.5500\n")
    assert key.digest_modules(path)["my_deeper.py"] != before["my_deeper.py"]


def test_what_is_installed_counts_by_its_version(tmp_path):
    counted = key.digest_modules(write(tmp_path, "import yaml, numpy"))
    assert counted["PyYAML"] == version("PyYAML") and "numpy" not in counted


def test_the_engine_keeps_a_trainings_key(package, tmp_path):
    before = training(tmp_path)
    change(package / ENGINE[0], ENGINE[1], ENGINE[2])
    assert training(tmp_path).key == before.key


def test_a_changed_loss_moves_a_trainings_key(package, tmp_path):
    before = training(tmp_path)
    change(package / LOSS[0], LOSS[1], LOSS[2])
    after = training(tmp_path)
    assert after.key != before.key and after.manifest["drawing"] == before.manifest["drawing"]
    package_then, package_now = (r.manifest["inputs"]["package"] for r in (before, after))
    assert [m for m in package_now if package_now[m] != package_then.get(m)] == ["model/losses.py"]


def test_a_figure_of_a_module_that_computes_keeps_the_key_and_its_tables_move_it(package):
    path, file = find_experiment("ablation"), package / "pages" / "ablation.py"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    figures = [n.name for n in tree.body if key.is_figure_function(n)]
    tables = [n.name for n in tree.body if isinstance(n, ast.FunctionDef) and n.name not in figures]
    before, drawing = key.digest_modules(path), key.digest_drawing(path)
    for name, moves in ((figures[0], False), (tables[0], True)):
        text = file.read_text(encoding="utf-8")
        node = next(n for n in ast.parse(text).body if getattr(n, "name", "") == name)
        lines = text.splitlines(keepends=True)
        first = node.body[1] if ast.get_docstring(node) else node.body[0]
        lines.insert(first.lineno - 1, f"{' ' * first.col_offset}_ = 'another word'\n")
        file.write_text("".join(lines), encoding="utf-8")
        assert (key.digest_modules(path) != before) == moves, name
    assert key.digest_drawing(path)["code"] != drawing["code"]


def test_a_function_of_draw_that_writes_into_tables_counts_where_it_is_imported(package):
    judge, train = find_experiment("judge"), find_experiment("training")
    before = key.digest_modules(judge), key.digest_modules(train)
    file = package / "draw" / "look.py"
    text = file.read_text(encoding="utf-8")
    assert text.count(" to {") >= 1
    file.write_text(text.replace(" to {", " up to {"), encoding="utf-8")
    assert key.digest_modules(judge) != before[0] and key.digest_modules(train) == before[1]


def test_what_a_section_found_is_shown_and_reaches_no_table():
    "Sentences of `draw.found` do not count in a key: an experiment only shows them."

    def count(tree):
        calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
        return sum(ast.unparse(func).removeprefix("found.") in found.__all__ for func in calls)

    said = shown = 0
    for path in (ROOT / "nbs" / "experiments").glob("*.ipynb"):
        for source, _ in notebook.read_code(path):
            tree = ast.parse(key._split_magics(source)[0])
            calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
            said += count(tree)
            shown += sum(count(call) for call in calls if ast.unparse(call.func) == "show_sentences")
    assert said == shown > 0


def test_nothing_else_of_draw_reaches_a_table():
    "Whatever is imported from `draw` draws, or counts by name."

    def names(tree):
        """What a program uses of `draw`; of a module imported whole, every name it takes from it."""
        for node in ast.walk(tree):
            if not (isinstance(node, ast.ImportFrom) and "draw" in (node.module or "").split(".")):
                continue
            room = f"leukonb.{node.module.removeprefix('leukonb.')}"
            for alias in node.names:
                whole = room == "leukonb.draw" and find_spec(f"{room}.{alias.name}")
                yield from attributes(tree, room, alias) if whole else [f"{room}.{alias.name}"]

    def attributes(tree, room, alias):
        short = alias.asname or alias.name
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == short:
                name = f"{room}.{alias.name}.{node.attr}"
                assert name not in key._COUNTED, f"import {name} by its name, or it does not count"
                yield name

    trees = [
        ast.parse(p.read_text(encoding="utf-8"))
        for p in (ROOT / "leukonb").rglob("*.py")
        if key.is_computing(p.relative_to(ROOT / "leukonb").as_posix())
    ]
    for path in (ROOT / "nbs" / "experiments").glob("*.ipynb"):
        trees += [ast.parse(key._split_magics(source)[0]) for source, _ in notebook.read_code(path)]
    imported = {name for tree in trees for name in names(tree)}
    drawing = {
        "blank_figure",
        "error_bars",
        "log_ticks",
        "hatch_classes",
        "ink_on",
        "in_run",
        "decode_thumbnails",
        "picture_address",
        "folded",
        "escape_text",
        "keeps_pictures",
        "publish_pictures",
        "class_names",  # these two put a cohort's own words for its classes into a text
        "say_classes",
    }
    other = {
        name
        for name in imported - set(key._COUNTED)
        if not (last := name.rpartition(".")[2]).startswith(("draw_", "show", "say_"))
        and not last.endswith("_html")
        and not last.isupper()
        and last not in drawing
    }
    assert set(key._COUNTED) <= imported and not other, f"drawing or counted? {sorted(other)}"


def test_a_page_about_the_package_itself_counts_every_byte(package):
    path = find_experiment("faults")
    before = key.digest_modules(path)
    change(package / ENGINE[0], ENGINE[1], ENGINE[2])
    changed = key.digest_modules(path)
    assert {m for m in changed if changed[m] != before.get(m)} == {"runs/process.py"}


def test_a_program_has_one_digest_under_every_python():
    "The trees of 3.11, 3.12 and 3.13 differ in fields that are empty; these digests must not."
    assert key.digest_code(SNIPPET)[:16] == "0b273dc1b2c589bb"


# Libraries and settings.


def test_a_patch_of_plotly_keeps_the_key_and_another_numpy_does_not(tmp_path, versions):
    versions(plotly="6.0.0", numpy="2.0.0")
    first = training(tmp_path)
    versions(plotly="6.0.1")
    patched = training(tmp_path)
    assert patched.key == first.key and patched.manifest["drawing"] != first.manifest["drawing"]
    versions(numpy="2.0.1")
    assert training(tmp_path).key != first.key


def test_kerass_settings_and_set_threads_move_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    keys = [training(tmp_path).key]
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keys.append(training(tmp_path).key)
    monkeypatch.delenv("KERAS_BACKEND")
    assert training(tmp_path).key == keys[0], "TensorFlow is what Keras takes unless it is told otherwise"
    write_json(tmp_path / "keras.json", {"floatx": "float64"})
    keys.append(training(tmp_path).key)
    path = find_experiment("training")
    keys.append(make_run(tmp_path, "training", path, check_parameters(path, {}), threads=2).key)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # which a run sets itself
    assert len(set(keys)) == 4 and training(tmp_path).key == keys[2]


def test_a_patch_of_python_keeps_the_key(tmp_path, monkeypatch):
    first = training(tmp_path).key
    major, minor, _ = key.platform.python_version_tuple()
    monkeypatch.setattr(key.platform, "python_version_tuple", lambda: (major, minor, "99"))
    assert training(tmp_path).key == first
    monkeypatch.setattr(key.platform, "python_version_tuple", lambda: (major, "99", "0"))
    assert training(tmp_path).key != first


# Files that parameters name.


def test_the_content_of_a_file_counts_not_its_name(tmp_path):
    weights = tmp_path / "b3.weights.h5"
    weights.write_bytes(b"one")
    first = training(tmp_path, weights=str(weights))
    renamed = weights.rename(tmp_path / "again.weights.h5")
    assert training(tmp_path, weights=str(renamed)).key == first.key
    renamed.rename(weights).write_bytes(b"another")
    assert training(tmp_path, weights=str(weights)).key != first.key
    assert training(tmp_path, weights=None).key != training(tmp_path, weights="imagenet").key != first.key


def test_a_relative_name_is_seen_from_where_the_command_is_typed(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "b3.h5").write_bytes(b"one")
    monkeypatch.chdir(tmp_path / "home")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    keys = {training(tmp_path, weights=w).key for w in ("b3.h5", "./b3.h5", "../home/b3.h5", "~/b3.h5")}
    assert len(keys) == 1


@pytest.mark.fault(
    group="runs",
    fault="A file that a parameter names is not there",
    injected="a name that leads nowhere, a word with a slip",
    promise="refused in one line that names the parameter, before anything starts",
)
@pytest.mark.parametrize("weights, says", [("gone.h5", "'gone.h5'"), ("imagnet", "did you mean 'imagenet'")])
def test_a_missing_file_is_refused_before_anything_starts(tmp_path, weights, says):
    words = ("--smoke", "--set", f"training.weights={weights}", "--out", tmp_path / "runs")
    ended = leukonb("run", "quick", *words)
    assert ended.returncode == 1 and not (tmp_path / "runs").exists()
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "parameter weights" in ended.stderr and says in ended.stderr


@pytest.mark.fault(
    group="runs",
    fault="A file that a parameter names changes after the plan",
    injected="other bytes under the same name, before the run starts",
    promise="status failed with the file's name; nothing is computed from it",
)
def test_a_file_that_changed_since_the_plan_ends_the_run(tmp_path):
    path = write(tmp_path, LAST, parameters=PARAMETERS)
    (tmp_path / "b3.h5").write_bytes(b"one")
    run = make_run(tmp_path / "runs", "one", path, {"seed": 0, "weights": str(tmp_path / "b3.h5")})
    (tmp_path / "b3.h5").write_bytes(b"two")
    ended = execute_run(run, path)
    assert ended["status"] == "failed" and "b3.h5 is not the file it was" in ended["error"]
    assert not run.notebook.exists()


@pytest.fixture
def nbs(tmp_path, monkeypatch):
    """A folder of one's own with a front page, an experiment and its studies."""
    place = tmp_path / "secret" / "nbs"
    (place / "experiments" / "studies").mkdir(parents=True)
    shutil.copy(ROOT / "_quarto.yml", place.parent)
    shutil.copy(ROOT / "nbs" / "index.ipynb", place)
    monkeypatch.setenv("LEUKONB_NBS", str(place))
    return place


def test_no_path_of_the_machine_reaches_a_page_or_a_crate(nbs, tmp_path):
    cells = [
        "from pathlib import Path\nassert Path(weights).read_bytes() == b'one'\nprint(weights)",
        "from leukonb.runs.record import show_parameters, this_run\nshow_parameters(this_run())",
        "from leukonb.draw.look import show_table\nimport pandas as pd\nshow_table(pd.DataFrame({'first weights': [weights]}), 'network')",
        LAST,
    ]
    write(nbs / "experiments", *cells, parameters=PARAMETERS)
    (tmp_path / "secret" / "b3.h5").write_bytes(b"one")
    text = f"title: T\nshows: t\nsize: smoke\nruns:\n  a: {{experiment: example, parameters: {{weights: {tmp_path}/secret/b3.h5}}}}\n"
    (nbs / "experiments" / "studies" / "s.yml").write_text(text)
    out = tmp_path / "out"
    assert [s["status"] for s in execute_plan(plan_study(load_study("s"), out))] == ["done"]
    (run,) = find_runs(out)
    assert run.manifest["inputs"]["parameters"]["weights"] == "b3.h5"
    assert run.manifest["inputs"]["files"] == {"weights": digest_file(tmp_path / "secret" / "b3.h5")}
    assert str(tmp_path) not in (run.folder / "run.json").read_text()
    built = site.build_site(out, tmp_path / "site")
    crate = export_crate("s", out, tmp_path / "crate")
    files = [p for place in (built, crate) for p in place.rglob("*") if p.is_file()]
    assert (built / "search.js") in files and len(files) > 10
    for word in (str(tmp_path), "secret"):
        assert not [p for p in files if word in p.read_text(encoding="utf-8", errors="replace")], word
    pages = "".join(p.read_text(encoding="utf-8") for p in built.rglob("*.html"))
    assert "b3.h5" in pages and run.manifest["inputs"]["files"]["weights"][:16] in pages


# How a finished run stands.


def test_code_makes_stale_libraries_make_elsewhere_and_drawing_makes_a_note(nbs, tmp_path, versions):
    versions(numpy="2.0.0", plotly="6.0.0")
    path = write(nbs / "experiments", LAST)
    run = make_run(tmp_path / "s", "one", path, {"seed": 0}, study="s", command="leukonb run s")
    assert execute_run(run, path)["status"] == "done" and "note" not in current_status(run)

    def said():
        (row,) = list_status(tmp_path).itertuples()
        return row.status, row.reason, " ".join(describe_standing(Run.read(run.folder)))

    versions(plotly="6.0.1")
    state, reason, page = said()
    assert (state, reason) == ("done", "drawn by an earlier version")
    assert page == "Drawn by an earlier version. leukonb run s draws it again without training."
    versions(numpy="2.0.1")
    state, reason, page = said()
    assert state == "made elsewhere" and "numpy: 2.0.0 then, 2.0.1 now" in reason and run.done
    assert page.startswith("Made elsewhere") and "since then changed" not in page
    write(nbs / "experiments", "1 + 1", LAST)
    state, reason, page = said()
    assert (state, reason) == ("stale", "older than its notebook")
    stands = "The numbers stand as they were measured; since then changed: notebook. "
    assert page == stands + "leukonb run s measures them anew."


def test_the_site_says_how_a_result_stands(nbs, tmp_path, versions):
    versions(numpy="2.0.0")
    path = write(nbs / "experiments", LAST)
    run = make_run(tmp_path / "out" / "s", "one", path, {"seed": 0}, study="s", size="full", synthetic=False)
    assert execute_run(run, path)["status"] == "done"
    versions(numpy="2.0.1")
    built = site.build_site(tmp_path / "out", tmp_path / "site")
    assert "Made elsewhere" in (built / site.page_address(run, tmp_path / "out")).read_text()
    assert "made elsewhere" in (built / "runs" / "index.html").read_text()


# Drawn again, not trained again.

TRAINS = """import os
from pathlib import Path
from leukonb.files import Refusal
state = Path("states/weights.txt")
if not state.exists():
    if os.environ["LEUKONB_REDRAW"]:
        raise Refusal("the state of the training is gone")
    state.parent.mkdir()
    state.write_text("0.91")
Path("scores.csv").write_text("auroc\\n" + state.read_text())"""
DRAWS = """Path("figures").mkdir(exist_ok=True)
Path("figures/roc.json").write_text(Path("/proc/self/stat").read_text())"""


@pytest.fixture
def drawn(nbs, tmp_path, versions):
    """A finished run of a study, and how to do the study again under another Plotly."""
    versions(plotly="6.0.0")
    write(nbs / "experiments", TRAINS, DRAWS, LAST)
    path = nbs / "experiments" / "studies" / "s.yml"
    path.write_text("title: T\nshows: t\nsize: smoke\nruns:\n  a: {experiment: example}\n")

    def again(plotly):
        versions(plotly=plotly)
        said = []
        execute_plan(plan_study(load_study("s"), tmp_path / "out"), show=lambda p, s: said.append(s))
        return said[-1]

    again("6.0.0")
    (run,) = find_runs(tmp_path / "out")
    return run, again


def content(folder):
    return {
        p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"
    }


def test_a_page_is_drawn_again_without_training(drawn):
    run, again = drawn
    trained, before = (run.folder / "states" / "weights.txt").stat(), content(run.folder)
    ended = run.result["ended"]
    said, now = again("6.0.1"), content(run.folder)
    assert (said["status"], said["drawn"]) == ("done", "drawn again, not trained")
    assert run.result["ended"] == ended and set(ended) == {
        "started",
        "finished",
        "seconds",
        "starting",
        "waited",
    }
    kept = (run.folder / "states" / "weights.txt").stat()
    assert (kept.st_ino, kept.st_mtime_ns) == (trained.st_ino, trained.st_mtime_ns)
    same = [Path("scores.csv"), Path("status.json"), Path("states/weights.txt")]
    assert (
        all(now[p] == before[p] for p in same)
        and now[Path("figures/roc.json")] != before[Path("figures/roc.json")]
    )
    stored = Run.read(run.folder).manifest
    assert stored["drawing"]["plotly"] == "6.0.1"
    assert stored["environment"] == run.manifest["environment"] and stored["key"] == run.key
    assert all(digest_file(run.folder / name) == d for name, d in run.result["files"].items())
    assert current_status(Run.read(run.folder)).get("note") is None
    assert again("6.0.1").get("kept") and len(find_runs(run.folder.parents[2])) == 1
    verified = verify_run(Run.read(run.folder)).set_index("name")
    assert verified.status["scores.csv"] == "equal", "a repetition of a run that was drawn again trains"


def test_a_record_that_was_being_replaced_when_the_power_failed_is_put_back(drawn):
    run, again = drawn
    run.folder.rename(run.folder.with_name(f".{run.folder.name}.old77"))
    half = run.folder.with_name(f".{run.folder.name}.half.tmp")
    write_json(half / "run.json", {"key": run.key})
    assert again("6.0.1")["drawn"] == "drawn again, not trained"
    assert run.done and (run.folder / "states" / "weights.txt").read_text() == "0.91"
    assert [p.name for p in run.folder.parent.iterdir()] == [run.folder.name]


@pytest.mark.fault(
    group="runs",
    fault="A page that is drawn again comes out with other numbers, or not at all",
    injected="the training's state changed, or taken away",
    promise="the old record stays whole; one line says why; it is not tried again by the same code",
)
@pytest.mark.parametrize(
    "harm, says", [("0.92", "scores.csv came out otherwise"), ("", "state of the training is gone")]
)
def test_a_page_that_cannot_be_drawn_again_stays_as_it_was(drawn, harm, says):
    run, again = drawn
    state = run.folder / "states" / "weights.txt"
    state.write_text(harm) if harm else state.unlink()
    before = content(run.folder)
    said = again("6.0.1")
    assert (
        said["status"] == "done"
        and said["drawn"].startswith("kept as drawn before: ")
        and says in said["drawn"]
    )
    now = content(run.folder)
    assert {p: c for p, c in now.items() if p.name != ".redraw.json"} == before
    assert (
        again("6.0.1").get("kept")
        and current_status(Run.read(run.folder))["note"] == "drawn by an earlier version"
    )
    assert "drawn" in again("6.0.2"), "other code is tried anew"
    assert not [p for p in run.folder.parent.iterdir() if p.name.startswith(".")]


def test_a_page_that_only_a_full_disk_kept_from_being_drawn_is_tried_again(drawn, monkeypatch):
    run, again = drawn
    with monkeypatch.context() as full:
        full.setattr(process, "_execute", lambda new, *_, **__: process._no_room(new.folder))
        assert "kept as drawn before: no room is left" in again("6.0.1")["drawn"]
    assert again("6.0.1")["drawn"] == "drawn again, not trained"


# A user's own experiments.


def test_own_and_shipped_experiments_are_both_found_and_own_ones_win(nbs, capfd):
    own = write(nbs / "experiments", LAST, name="training")
    (nbs / "experiments" / "studies" / "mine.yml").write_text("title: T\nshows: t\nsize: smoke\nruns: {}\n")
    notebook._say_once.cache_clear()
    assert find_experiment("training") == own and find_experiment("training") == own
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1 and "training is your own" in said[0]
    assert find_experiment("cohort").parent == ROOT / "nbs" / "experiments"
    assert {"mine", "quick"} <= set(list_studies()) and load_study("mine").title == "T"
    assert not capfd.readouterr().err


def test_a_folder_without_experiments_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKONB_NBS", str(tmp_path / "nowhere"))
    assert "no folder experiments" in refusal_line(find_experiment, "training")


def test_the_experiments_of_an_installed_package_are_found(tmp_path, monkeypatch):
    installed = tmp_path / "site-packages" / "leukonb"
    path = write(installed / "experiments", LAST, name="training")
    shutil.copy(ROOT / "nbs" / "index.ipynb", installed)
    monkeypatch.setattr(notebook, "_package", lambda: installed)
    monkeypatch.chdir(tmp_path)
    assert find_experiment("training") == path and notebook.notebooks_folder() == installed


@pytest.mark.parametrize(
    "kind", ["open('/etc/passwd')", "Path", "int | str", "list[open]", "tuple[int, int]", "1"]
)
def test_an_annotation_is_read_and_never_run(tmp_path, kind):
    path = write(tmp_path, LAST, parameters=f"cells: {kind} = 40")
    line = refusal_line(notebook.read_parameters, path)
    assert "parameters cell, line 1" in line and len(line.splitlines()) == 1


def test_the_list_of_many_runs_reads_a_module_once(tmp_path, monkeypatch):
    path = find_experiment("training")
    for seed in range(20):
        run = make_run(tmp_path / "s", f"t{seed}", path, {"seed": seed}, study="s")
        write_json(run.folder / "run.json", run.manifest)
        write_json(run.folder / "result.json", {"run": run.key})
    parsed = []
    real = ast.parse
    monkeypatch.setattr(key.ast, "parse", lambda *a, **k: parsed.append(1) or real(*a, **k))
    assert set(list_status(tmp_path).status) == {"done"} and not parsed

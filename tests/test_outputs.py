"""The gate of saved outputs, on made-up notebooks."""

import base64
import io
import subprocess
import sys
from pathlib import Path

import nbformat
import outputs
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

FIGURE = """import json, base64, struct
from IPython.display import publish_display_data
packed = {"dtype": "f8", "bdata": base64.b64encode(struct.pack("2d", .1, .2)).decode()}
figure = {"data": [{"type": "scatter", "name": "loss", "y": packed}], "layout": {"title": {"text": "Loss"}}}
publish_display_data({"application/vnd.plotly.v1+json": figure})"""


def printed(text: str) -> dict:
    return new_output("stream", name="stdout", text=text)


def valued(text: str) -> dict:
    return new_output("execute_result", data={"text/plain": text})


def figure(y: list[float], title: str = "Loss", kind: str = "scatter") -> dict:
    trace = {"type": kind, "name": "loss", "y": y}
    drawn = {"data": [trace], "layout": {"title": {"text": title}}}
    return new_output("display_data", data={outputs.FIGURE: drawn})


def drawn(grey: int, size: int = 4, kind: str = "image/png") -> dict:
    """A grey square as a saved output, by itself or in a page."""
    held = io.BytesIO()
    Image.new("L", (size, size), grey).save(held, "PNG")
    text = base64.b64encode(held.getvalue()).decode()
    page = f"<img src='data:image/png;base64,{text}'>"
    return new_output("display_data", data={kind: page if kind == "text/html" else text})


DRAW = """import base64, io
from IPython.display import publish_display_data
from PIL import Image
held = io.BytesIO()
Image.new("L", (4, 4), 90).save(held, "PNG")
text = base64.b64encode(held.getvalue()).decode()
"""
PICTURE = DRAW + "publish_display_data({'image/png': text})"
PICTURE_IN_A_PAGE = (
    DRAW + """publish_display_data({'text/html': f"<img src='data:image/png;base64,{text}'>"})"""
)

CELLS = {
    "right": ("print('so')\n1/4", [printed("so\n"), valued("0.25")], ""),
    "stale": ("print('so\\nnew')", [printed("so\nold\n")], "stdout: saved 'old', fresh 'new'"),
    "missing": ("1 + 1", [], "saved nothing, fresh text/plain '2'"),
    "more": ("1 + 1;", [valued("2")], "saved text/plain '2', fresh nothing"),
    "rounded": (".1 + .2", [valued("0.3")], ""),
    "counted": ("7", [valued("8")], "text/plain: saved '8', fresh '7'"),
    "left out": ("#| eval: false\n1/0", [], ""),
    "left out, and shown": ("#| eval: false\n1/0", [valued("as it was")], "is not run, so what it shows"),
    "stderr": ("import sys; print('hm', file=sys.stderr)", [], ""),
    "TensorFlow's remarks": ("print('so\\nWARNING:tensorflow:5 out of 6 calls')", [printed("so\n")], ""),
    "nothing but remarks": ("print('WARNING:tensorflow:5 out of 6 calls')", [], ""),
    "marked": ("#| varies: training\nprint('loss 12.25 ----')", [printed("loss   3.5 --\n")], ""),
    "marked, another form": (
        "#| varies: clock\nprint('took 2 s')",
        [printed("after 3 s\n")],
        "stdout: saved 'after 3 s', fresh 'took 2 s'",
    ),
    "marked by a wrong word": ("#| varies: often\n1", [valued("1")], "`varies: often` is refused"),
    "path": ("import tempfile; tempfile.mkdtemp()", [valued("'x'")], "a path or an address of this machine"),
    "address": ("hex(0x7f1234567890)", [valued("'0x7f1234567890'")], "a path or an address of this machine"),
    "figure": (FIGURE, [figure([0.1, 0.2 + 1e-9])], ""),
    "figure, another value": (FIGURE, [figure([0.1, 0.3])], "saved 'data[0].y[1]: 0.3'"),
    "figure, marked": ("#| varies: training\n" + FIGURE, [figure([0.5, 0.6])], ""),
    "figure, marked, another title": ("#| varies: training\n" + FIGURE, [figure([0.1, 0.2], "F1")], "F1"),
    "figure, marked, another kind": (
        "#| varies: training\n" + FIGURE,
        [figure([0.1], kind="bar")],
        "type: bar",
    ),
}
CELLS |= {
    "picture": (PICTURE, [drawn(90)], ""),
    "picture, by another decoder": (PICTURE, [drawn(92)], ""),
    "picture, another": (PICTURE, [drawn(160)], "picture 1: another, 5"),
    "picture, another size": (PICTURE, [drawn(90, 5)], "saved 'picture 1: 5 x 5 pixels'"),
    "picture in a page": (PICTURE_IN_A_PAGE, [drawn(160, kind="text/html")], "picture 1: another, 5"),
    "drawing of letters": (
        "from IPython.display import SVG\nSVG('<svg><text>AUROC 0.55</text></svg>')",
        [new_output("execute_result", data={"image/svg+xml": "<svg><text>AUROC 0.91</text></svg>"})],
        "image/svg+xml: saved",
    ),
    "data": (
        "from IPython.display import publish_display_data\npublish_display_data({'application/json': {'n': 3}})",
        [new_output("display_data", data={"application/json": {"n": 4}})],
        "application/json: saved 'n: 4', fresh 'n: 3'",
    ),
}
NOTEBOOKS = {
    "raising": ("1/0", "raised ZeroDivisionError"),
    "ended": ("import os; os._exit(3)", "its process ended: Kernel died"),
    "slow": ("while True: pass", "did not end: the notebook's 3 s were over"),
    "module": ("#| default_exp made\n", "a module's notebook that shows nothing"),
}


def written(path: Path, *cells: tuple[str, list[dict]]) -> Path:
    nbformat.write(
        new_notebook(cells=[new_code_cell(source, outputs=saved) for source, saved in cells]), path
    )
    return path


def ran(capfd, command: str, path: Path) -> tuple[int, str]:
    code = outputs.main([command, str(path)])
    return code, capfd.readouterr().out


@pytest.fixture(scope="module", params=["a kernel of its own", "a forked kernel"])
def findings(tmp_path_factory, request) -> dict[str, str]:
    """What the gate finds in each cell of one made-up notebook, and in the notebooks that go wrong."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "a forked kernel":
            patch.setattr(outputs, "MANY", 1)
            patch.setattr(outputs, "LIBRARIES", ["pandas", "not_there"])
        return found_in(tmp_path_factory.mktemp("made-up"))


def found_in(folder: Path) -> dict[str, str]:
    cells = outputs.Notebook(written(folder / "cells.ipynb", *(case[:2] for case in CELLS.values())))
    others = {
        name: outputs.Notebook(written(folder / f"{name}.ipynb", (NOTEBOOKS[name][0], [])))
        for name in NOTEBOOKS
    }
    slow = others["slow"]  # of the others none may meet the limit, however busy the machine is
    outputs.run_together([cells, *(n for n in others.values() if n is not slow)], 2, 120)
    outputs.run_together([slow], 1, 3)
    said = cells.directives()
    found = {name: "\n".join(cells.cell_findings(i, said[i])) for i, name in enumerate(CELLS)}
    return found | {name: "\n".join(notebook.findings()) for name, notebook in others.items()}


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_found_right_or_wrong(name, findings):
    expected = CELLS[name][2]
    assert (expected in findings[name]) if expected else not findings[name]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_that_goes_wrong_is_found(name, findings):
    assert NOTEBOOKS[name][1] in findings[name]


def test_a_finding_names_the_notebook_and_the_cell(findings):
    assert "raising.ipynb, cell 1 (" in findings["raising"]
    assert "division by zero" in findings["raising"].splitlines()[-1]


def test_what_is_written_is_found_right_and_clean(tmp_path, capfd):
    path = written(
        tmp_path / "to-write.ipynb", ("print('so')\n{'a': len, 'b': object()}", [printed("stale\n")])
    )
    assert ran(capfd, "write", path)[0] == 0
    fresh = path.read_bytes()
    assert b"stale" not in fresh and b'"execution_count": null' in fresh
    clean = [str(Path(sys.executable).with_name("nbdev_clean")), "--fname", str(path)]
    subprocess.run(clean, cwd=outputs.ROOT, check=True)
    assert path.read_bytes() == fresh
    code, said = ran(capfd, "check", path)
    assert code == 0 and "every saved output is true" in said


def test_what_a_forked_kernel_brings_along_was_imported_as_in_a_notebook(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "MANY", 1)
    monkeypatch.setattr(outputs, "LIBRARIES", ["pandas"])
    asked = "print('pandas' in sys.modules, __import__('pandas').get_option('display.max_columns'))"
    notebook = outputs.Notebook(written(tmp_path / "a.ipynb", ("import sys", []), (asked, [])))
    outputs.run_together([notebook], 1, 120)
    assert outputs.shown(notebook.fresh[1])[0].value == "True 20\n"


def test_a_notebook_that_raises_is_not_written(tmp_path, capfd):
    path = written(tmp_path / "raises.ipynb", ("print('before')\n1/0", [printed("kept\n")]))
    before = path.read_bytes()
    code, said = ran(capfd, "write", path)
    assert code == 1 and "raised ZeroDivisionError" in said and path.read_bytes() == before


def test_no_settings_of_the_user_reach_a_notebook(monkeypatch):
    monkeypatch.setenv("LEUKONB_REAL", "somewhere")
    assert not [name for name in outputs.environment("/tmp") if name.startswith("LEUKONB_")]


@pytest.mark.parametrize(
    ("saved", "fresh", "varies", "same"),
    [
        ("auc 0.912", "auc 0.913", False, True),
        ("auc 0.912", "auc 0.914", False, False),
        ("f  9.99", "f 10.00", False, True),
        ("a  b", "a b", False, False),
        ("n 99", "n 100", False, False),
        ("1e-05", "3e-05", False, False),
        ("-0.00", "0.00", False, True),
        ("version 2.20.1", "version 2.20.2", False, False),
        ("0.5 of 3", "0.5 of 4", False, False),
        ("took 3.2 s", "took 14 s", True, True),
        ("run 4bac14e9531d", "run 651b01c7637a", True, True),
        ("1 cell", "1 image", True, False),
        ("a 1\nb 2", "a 1", True, False),
        ("<img src='data:image/jpeg;base64,AAAA'>", "<img src='data:image/jpeg;base64,BB=='>", False, True),
    ],
)
def test_text_is_the_same_but_for_a_rounding(saved, fresh, varies, same):
    assert (outputs.text_difference(saved, fresh, varies) is None) == same

"""Published records lie under the notebooks, and nbdev's cleaning, export and tests pass over them; all together they are small."""

import json

import nbformat
from nbdev.clean import nbdev_clean
from nbdev.doclinks import nbglob

from conftest import ROOT
from leukonb.runs import published

MOST = 25_000_000  # bytes


def test_export_and_tests_pass_over_published_records():
    found = [str(path) for path in nbglob(str(ROOT / "nbs"))]
    assert any(path.endswith("experiments/folds.ipynb") for path in found)
    assert list((ROOT / "nbs/_published").rglob("*.ipynb")) and not [p for p in found if "_published" in p]


def test_cleaning_passes_over_published_records(tmp_path):
    cell = nbformat.v4.new_code_cell("1", execution_count=7)
    for name in ("own.ipynb", "_published/study/record/page.ipynb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / name)
    nbdev_clean(fname=str(tmp_path))
    own, kept = sorted(tmp_path.rglob("*.ipynb"), key=lambda path: path.name)
    assert '"execution_count": null' in own.read_text() and '"execution_count": 7' in kept.read_text()


def test_published_records_are_small():
    assert sum(path.stat().st_size for path in (ROOT / "nbs/_published").rglob("*") if path.is_file()) <= MOST


def test_a_published_page_leaves_out_warnings_and_nothing_that_only_bears_their_name(tmp_path):
    new = nbformat.v4.new_output
    warned = new("stream", name="stderr", text="hm")
    cell = nbformat.v4.new_code_cell("1", outputs=[warned, new("display_data", {"text/plain": "0.91"})])
    page = nbformat.v4.new_notebook(cells=[cell])
    page.cells[0].outputs[1]["name"] = "stderr"  # which nbformat writes in no notebook, and a forger may
    (tmp_path / "page.ipynb").write_text(json.dumps(page))
    kept = published._strip_execution(tmp_path / "page.ipynb").cells[0].outputs
    assert [output.output_type for output in kept] == ["display_data"]

"""A report as an article: what it refers to is there, and it becomes a PDF where something makes one."""

import re
from pathlib import Path

import nbformat
import pytest

from conftest import ROOT
from leukonb.pages import article, report
from leukonb.verbs import article_pdf


def test_the_report_shows_what_its_sentences_refer_to():
    cells = nbformat.read(ROOT / "nbs/experiments/report.ipynb", 4).cells
    source = "\n".join(c.source for c in cells if c.cell_type == "code")
    shown = [
        f"figure:{e}-{n}" for e, n in re.findall(r'show_kept_figure\(\s*read, "([\w-]+)", "([\w-]+)"', source)
    ]
    assert ["table:headline", *shown] == list(report.SHOWN)
    numbers = article.Numbers(report.SHOWN)
    said = [numbers.resolve(text) for text in (article.INTRODUCTION, article.RESULTS)]
    assert not any("@" in text for text in said) and said[1].count("(#figure-") == len(shown)
    at = [source.index(part) for part in ("write_abstract", "INTRODUCTION", "write_methods", "RESULTS")]
    assert at == sorted(at) and source.index("references()") > source.index("write_limits")


def test_every_work_has_an_address():
    assert all("https://" in work for work in article.WORKS.values())


@pytest.mark.extras
def test_an_article_becomes_a_pdf(tmp_path):
    pytest.importorskip("pypandoc", reason="pandoc is not installed: no PDF was made")
    pytest.importorskip("typst", reason="typst is not installed: no PDF was made")
    written = article.Article("Cells of 35 people", ["figure:curves"])
    written.say("Introduction", "As in @figure:curves and @work:paper.")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/curves.json").write_text(
        '{"data": [{"type": "bar", "x": ["12"], "y": [208]}], "layout": {}}'
    )
    written.caption("figure:curves", "Cells")
    written.references()
    written.write(Path(tmp_path / "article.md"))
    made = article_pdf.make_pdf(tmp_path / "article.md", tmp_path / "article.pdf")
    assert made.read_bytes().startswith(b"%PDF") and made.stat().st_size > 5_000

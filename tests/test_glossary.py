"""The glossary: each word once, in order, with a link to a page that is there and is published."""

import re

import nbformat
import pytest
from conftest import ROOT

from leukonb.verbs.site import list_library

GLOSSARY = ROOT / "nbs/glossary.ipynb"
GROUPS = [
    re.findall(r"^- \*\*(.+?)\.\*\* (.+?)(?=^- |\Z)", cell.source, re.M | re.S)
    for cell in nbformat.read(GLOSSARY, 4).cells
]
ENTRIES = [entry for group in GROUPS for entry in group]


def test_each_word_stands_once_and_in_order():
    words = [word for word, _ in ENTRIES]
    assert len(words) == len(set(words)) > 50
    for group in GROUPS:
        assert [word.lower() for word, _ in group] == sorted(word.lower() for word, _ in group)


@pytest.mark.parametrize(("word", "text"), ENTRIES, ids=[word for word, _ in ENTRIES])
def test_a_word_is_explained_shortly_and_links_to_its_page(word, text):
    meaning, links = re.sub(r"\[.*?\]\(.*?\)", "", text, flags=re.S), re.findall(r"\]\((.+?)\)", text)
    assert links and len(re.findall(r"[.?](?:\s|$)", meaning.replace("et al. ", ""))) <= 3, word
    assert all((GLOSSARY.parent / link).is_file() for link in links)


def test_the_site_publishes_it():
    assert list_library(GLOSSARY.parent)[GLOSSARY] == "library/glossary.ipynb"
    assert "nbs/glossary.ipynb" in (ROOT / "nbs/library.yml").read_text(encoding="utf-8")

"""The page of licences: made of what is installed, complete, and not to be hidden from."""

import pytest

from leukonb.verbs import licences, site


def test_the_site_has_a_page_that_names_every_package_with_copyleft(tmp_path):
    site._stage_guides([], {}, tmp_path, True)
    page, table = (tmp_path / "licences.ipynb").read_text(), licences.list_licences()
    named = table.package[table.copyleft != ""]
    assert {"pingouin", "certifi"} <= set(named)
    for package in named:
        assert f"{package} (" in page, "named in a sentence, not only in the table"
    assert "GPL, version 3" in page and "container image" in page


def test_pingouin_is_the_only_package_whose_licence_asks_for_the_whole():
    table = licences.list_licences()
    assert list(table.package[table.copyleft == "the whole"]) == ["pingouin"], "README says so"


@pytest.mark.fault(
    group="site",
    fault="Settings of one's own would hide a package from the page of licences",
    injected="a pyproject.toml that tells pip-licenses to leave pingouin out",
    promise="the page names it all the same",
)
def test_settings_of_the_folder_where_one_works_hide_nothing(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text('[tool.pip-licenses]\nignore-packages = ["pingouin"]\n')
    monkeypatch.chdir(tmp_path)
    licences.list_licences.cache_clear()
    assert "pingouin" in set(licences.list_licences().package)


@pytest.mark.parametrize(
    ("licence", "asks"),
    [
        ("GNU General Public License v3 (GPLv3)", "the whole"),
        ("LGPL-2.1-or-later AND GPL-3.0-only", "the whole"),
        ("AGPL-3.0", "the whole"),
        ("GNU Library General Public License", "the package itself"),
        ("LGPL-3.0-or-later", "the package itself"),
        ("Eclipse Public License 2.0", "the package itself"),
        ("MIT AND PSF-2.0", ""),
    ],
)
def test_copyleft_is_known_however_a_licence_is_written(licence, asks):
    assert licences.copyleft_of(licence) == asks

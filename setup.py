"""Install leukonb as settings.ini describes it."""
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
config = ConfigParser(delimiters=["="], interpolation=None)
config.read(here / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]


def words(key):
    return settings.get(key, "").split()


setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=settings["author"],
    license="Apache-2.0",
    keywords=settings["keywords"],
    packages=find_packages(include=["leukonb", "leukonb.*"]),
    package_data={"leukonb": ["data/*.xz", "study/*.css", "study/*.html", "study/*.json"]},
    python_requires=f">={settings['min_python']}",
    install_requires=words("requirements"),
    extras_require={extra: words(f"{extra}_requirements") for extra in ("cpu", "gpu", "cluster", "dev")},
    entry_points={"console_scripts": words("console_scripts"),
                  "nbdev": ["leukonb=leukonb._modidx:d"]},
    classifiers=["Intended Audience :: Science/Research", "Programming Language :: Python :: 3"],
)

"""Install leukonb as settings.ini describes it; the experiments, studies and published records travel inside the package."""

import shutil
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

here = Path(__file__).parent
config = ConfigParser(delimiters=["="], interpolation=None)
config.read(here / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]
NAMES = ("train", "gpu", "imagenet", "cluster", "mlflow", "pdf", "export", "dev", "extras-tests")
EXTRAS = {name: name.replace("-", "_") for name in NAMES}


def words(key):
    return settings.get(key, "").split()


def travelling():
    """The files outside the package that a wheel holds inside it: {place in the package: file}."""
    nbs = here / "nbs"
    found = [nbs / "_quarto.yml", nbs / "library.yml", nbs / "index.ipynb"]
    found += [p for kind in ("*.ipynb", "studies/*.yml") for p in sorted((nbs / "experiments").glob(kind))]
    found += [p for p in sorted((nbs / "_published").rglob("*")) if p.is_file()]
    return {Path("leukonb") / p.relative_to(nbs): p for p in found} | {
        Path("leukonb/CITATION.cff"): here / "CITATION.cff"
    }


class Build(build_py):
    """The package as it is now, and the experiments as leukonb/experiments."""

    def run(self):
        if self.editable_mode:
            return super().run()
        shutil.rmtree(Path(self.build_lib) / "leukonb", ignore_errors=True)  # modules of an older build
        super().run()
        for place, source in travelling().items():
            to = Path(self.build_lib) / place
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, to)


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
    package_data={"leukonb": [f"**/*.{kind}" for kind in ("xz", "parquet", "css", "html", "js", "json", "csv", "yml")]},
    python_requires=f">={settings['min_python']},<3.14",
    install_requires=words("requirements"),
    extras_require={extra: words(f"{key}_requirements") for extra, key in EXTRAS.items()},
    entry_points={"console_scripts": words("console_scripts"), "nbdev": ["leukonb=leukonb._modidx:d"]},
    classifiers=["Intended Audience :: Science/Research", "Programming Language :: Python :: 3"],
    cmdclass={"build_py": Build},
)

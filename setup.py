"Installs inr_assr. All metadata stands in settings.ini; this file only reads it."

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
config = ConfigParser(delimiters=["="], interpolation=None)
config.read(HERE / "settings.ini", encoding="utf-8")
meta = config["DEFAULT"]


def lines(key):
    "The items of a multi-line key."
    return [line.strip() for line in meta[key].splitlines() if line.strip()]


in_package = re.search(r'__version__ = "(.+)"', (HERE / "inr_assr/__init__.py").read_text(encoding="utf-8"))[1]
if in_package != meta["version"]:
    raise SystemExit(
        f"settings.ini says version {meta['version']}, inr_assr/__init__.py says {in_package}: make them equal"
    )

extras = {name: lines(f"{name}_requirements") for name in ("demo", "parquet", "fabric", "slurm", "tensorboard", "hub", "onnx", "docs", "dev")}
extras["dev"] += [item for name in extras if name not in ("docs", "onnx", "dev") for item in extras[name]]

setup(
    name=meta["lib_name"],
    version=meta["version"],
    description=meta["description"],
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=meta["author"],
    license=meta["license"],
    keywords=meta["keywords"].split(),
    python_requires=f">={meta['min_python']}",
    packages=find_packages(include=["inr_assr", "inr_assr.*"]),
    package_data={"inr_assr": ["published.csv"]},
    install_requires=lines("requirements"),
    extras_require=extras,
    entry_points={"console_scripts": lines("console_scripts"), "nbdev": ["inr_assr = inr_assr._modidx:d"]},
    zip_safe=False,
)

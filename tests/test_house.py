"The house rules that no single notebook can check: generated files, names, metadata, the direction of imports."

import ast
import configparser
import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest

import inr_assr
from conftest import ROOT
from inr_assr.faces import grid, runner

BIN = Path(sys.executable).parent
NOTEBOOKS = sorted(path for path in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
RUNNERS = [path for path in NOTEBOOKS if path.parent.name == "runs"]
MODULES = sorted(path for path in (ROOT / "inr_assr").rglob("*.py") if path.name not in ("__init__.py", "_modidx.py"))


def test_the_package_is_what_the_notebooks_export(tmp_path):
    for name in ("nbs", "inr_assr"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for path in (tmp_path / "inr_assr").rglob("*.py"):
        if path.name != "__init__.py":
            path.unlink()
    subprocess.run([BIN / "nbdev-export"], cwd=tmp_path, check=True, capture_output=True)
    made = {path.relative_to(tmp_path): path.read_text() for path in (tmp_path / "inr_assr").rglob("*.py")}
    here = {path.relative_to(ROOT): path.read_text() for path in (ROOT / "inr_assr").rglob("*.py")}
    assert made.keys() == here.keys()
    different = [str(path) for path in here if made[path] != here[path]]
    assert not different, f"run `make notebooks` or nbdev-export: {different}"


def test_each_module_has_one_notebook_and_numbers_are_unique():
    exports = [match[1] for path in NOTEBOOKS for match in re.finditer(r'"#\| default_exp ([\w.]+)', path.read_text())]
    assert len(exports) == len(set(exports)) == len(MODULES)
    numbers = [path.name[:2] for path in NOTEBOOKS if path.name[0].isdigit()]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_tidy(path):
    text = path.read_text()
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3" and notebook.metadata.kernelspec.language == "python"
    assert len(text) < 400_000
    outputs = json.dumps([cell.get("outputs", []) for cell in notebook.cells])
    assert not re.search(r"/(home|root|tmp|work|Users|private)/\w", outputs), "a machine's path in an output"
    assert "it/s]" not in outputs and '"output_type": "error"' not in outputs
    assert (
        not any("widgets" in cell.get("metadata", {}) for cell in notebook.cells) and "widgets" not in notebook.metadata
    )


METHODS = [p for p in NOTEBOOKS if p.parent.name in ("encoders", "decoders") and "contract" not in p.stem]


@pytest.mark.parametrize("path", METHODS, ids=lambda p: p.stem)
def test_method_notebook_shows_its_figure_and_its_scorecard(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    shown = [output.get("data", {}) for cell in cells for output in cell.outputs]
    assert any("image/png" in data for data in shown), "no figure: execute the notebook (`make notebooks NB=...`)"
    cards = [data["text/html"] for data in shown if re.search(r"\((en|de)coder\)</b>", data.get("text/html", ""))]
    assert cards and all("all promises kept" in card for card in cards)


@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if p.name[0].isdigit()], ids=lambda p: p.stem)
def test_links_lead_somewhere(path):
    text = "".join(
        "".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "markdown"
    )
    for link in re.findall(r"\]\(([^)#:]+\.ipynb)\)", text):
        assert (path.parent / link).exists(), link


def test_index_leads_through_all_notebooks_in_order():
    text = (ROOT / "nbs" / "index.ipynb").read_text()
    links = [link for link in re.findall(r"\]\(([a-z]+/[\w]+\.ipynb)\)", text)]
    assert "](study.ipynb)" in text
    numbered = list(dict.fromkeys(link for link in links if Path(link).name[0].isdigit()))
    assert set(numbered) == {p.relative_to(ROOT / "nbs").as_posix() for p in NOTEBOOKS if p.name[0].isdigit()}
    assert numbered == sorted(numbered, key=lambda link: Path(link).name)


def test_readme_is_made_from_index():
    readme = (ROOT / "README.md").read_text()
    for cell in json.loads((ROOT / "nbs" / "index.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "markdown":
            text = re.sub(r"\]\(((?:[a-z]+/)?\w+\.ipynb)\)", r"](nbs/\1)", "".join(cell["source"]))
            assert text.strip() in readme, "run `make readme`"


@pytest.mark.parametrize("path", RUNNERS, ids=lambda p: p.stem)
def test_runner_parameters_are_those_of_its_class(path):
    notebook = nbformat.read(path, as_version=4)
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells) == 1
    name = f"{path.stem.capitalize()}Run"
    cls = getattr(runner, name, None) or getattr(grid, name)
    told = papermill.inspect_notebook(str(path))
    fields = {f.name: f for f in dataclasses.fields(cls)}
    assert list(told) == list(fields)
    for name, field in fields.items():
        assert told[name]["inferred_type_name"] == field.type.__name__
        assert told[name]["help"], f"{name} has no comment"
        default = field.default if field.default is not dataclasses.MISSING else field.default_factory()
        assert ast.literal_eval(told[name]["default"]) == default


def test_versions_agree_and_the_source_package_is_whole(tmp_path):
    settings = configparser.ConfigParser(delimiters=["="], interpolation=None)
    settings.read(ROOT / "settings.ini")
    assert settings["DEFAULT"]["version"] == inr_assr.__version__
    assert {"settings.ini", "README.md"} <= set((ROOT / "MANIFEST.in").read_text().split())


def test_every_module_imports_by_itself():
    names = [path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in MODULES]
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    subprocess.run([sys.executable, "-c", code, *reversed(names)], check=True, cwd=ROOT)


def test_arrows_point_down():
    found = subprocess.run([BIN / "lint-imports"], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


def test_no_obvious_mistakes():
    rules = ["--select", "E9,F63,F7,F82,F401,F811", "--output-format", "concise"]
    words = [BIN / "ruff", "check", *rules, "inr_assr", "tests", "docs", "setup.py"]
    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_top_level_names_are_lazy_and_there():
    code = "import sys, inr_assr; assert 'torch' not in sys.modules; [getattr(inr_assr, n) for n in inr_assr.__all__]; assert 'build_model' in dir(inr_assr)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_nothing_large_is_in_the_repository():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    sizes = {name: (ROOT / name).stat().st_size for name in files if name and (ROOT / name).exists()}
    assert max(sizes.values()) < 1_000_000
    golden = sum(size for name, size in sizes.items() if name.startswith("tests/golden"))
    assert golden < 6_500_000  # the tiny fixture of every method takes 5.0 MB, the metrics' pictures 0.8
    assert sum(sizes.values()) < 25_000_000

"Every notebook of the book runs as a test: its cells assert what its text says."

import json

import matplotlib
import pytest
from nbdev.test import test_nb as run_nb

from conftest import ROOT

matplotlib.use("Agg")
NOTEBOOKS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "nbs").rglob("*.ipynb")
    if ".ipynb_checkpoints" not in path.parts and path.parent.name != "runs"
)


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_notebook(notebook):
    passed, _ = run_nb(ROOT / notebook, skip_flags=["slow", "gpu"], basepath=ROOT)
    assert passed, f"{notebook} failed; its traceback stands above"


def test_there_are_notebooks():
    assert len(NOTEBOOKS) > 30


@pytest.mark.parametrize("notebook", [n for n in NOTEBOOKS if not n.endswith("index.ipynb")])
def test_each_notebook_tests_what_it_exports(notebook):
    cells = [
        ("".join(cell["source"]))
        for cell in json.loads((ROOT / notebook).read_text())["cells"]
        if cell["cell_type"] == "code"
    ]
    exported = [cell for cell in cells if cell.startswith("#| export")]
    checks = [cell for cell in cells if cell not in exported and ("assert " in cell or "test_" in cell)]
    assert exported and checks
    lines = sum(len(cell.splitlines()) for cell in exported)
    assert lines <= 400, f"{lines} exported lines hold more than one idea"

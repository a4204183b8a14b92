"The papermill notebooks run, from our runner and from papermill's own command, and refuse what they do not know before any work."

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from conftest import ROOT, SMALL, cli
from inr_assr.faces.runner import run_notebook
from inr_assr.foundations.errors import InputError

RUNS = ROOT / "nbs" / "runs"
TINY = ["encoder.blocks=1", "encoder.features=8", "decoder.width=16", "decoder.hidden=[16]", "recipe.patch=12"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    "A smoke training through the runner."
    root = tmp_path_factory.mktemp("runs")
    run_notebook(
        RUNS / "train.ipynb",
        root / "train.ipynb",
        {"decoder": "LTE", "root": str(root), "smoke": True, "options": TINY, "device": "cpu"},
        quiet=True,
    )
    return root


def outputs_of(path: Path) -> str:
    return json.dumps([cell.get("outputs") for cell in json.loads(path.read_text())["cells"]])


def test_train(trained):
    folder = trained / "smoke" / "model_states_EDSR_LTE_Simple_Patch_12_Scale_1_4"
    assert (folder / "best.pth").exists()
    shown = outputs_of(trained / "train.ipynb")
    assert "image/png" in shown and "epoch   1 of 1" in shown


def test_test_and_report(trained, photos):
    weights = trained / "smoke" / "model_states_EDSR_LTE_Simple_Patch_12_Scale_1_4" / "best.pth"
    rows = trained / "rows.csv"
    run_notebook(
        RUNS / "test.ipynb",
        trained / "test.ipynb",
        {
            "weights": [str(weights)],
            "benchmark": str(photos),
            "scales": "[2, '2x3.5']",
            "out": str(rows),
            "device": "cpu",
            "profile": "ours",
        },
        quiet=True,
    )
    assert len(pd.read_csv(rows)) == 2 * 2 * 6 * 3
    run_notebook(
        RUNS / "report.ipynb",
        trained / "report.ipynb",
        {
            "rows": [str(rows)],
            "out": str(trained / "r.html"),
            "picture": str(photos / "astronaut.png"),
            "weights": [str(weights)],
            "scale": "2",
        },
        quiet=True,
    )
    page = (trained / "r.html").read_text(encoding="utf-8")
    assert "Side by side" in page and "x2x3.5" in page
    assert not [link for link in re.findall(r'(?:src|href)="([^"]*)', page) if not link.startswith(("data:", "#"))]


def test_demo_on_a_budget_of_seconds(tmp_path):
    "The demo's code path; whether it beats bicubic is checked by the demo itself, on its own budget."
    with pytest.raises(InputError, match="bicubic was not beaten"):
        run_notebook(
            RUNS / "demo.ipynb",
            tmp_path / "demo.ipynb",
            {"folder": str(tmp_path), "epochs": 1, "iterations": 2, "published": False},
            quiet=True,
        )
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "This is a demo budget" in page and "Before and after" in page
    assert set(pd.read_csv(tmp_path / "rows.csv", dtype=str).scale) == {"2", "2.5", "3", "4", "6", "2x3.5"}


def test_misspelt_parameter_or_value(tmp_path):
    done = cli("run", RUNS / "train.ipynb", "-o", tmp_path / "a.ipynb", "-p", "epoch", "3")
    assert done.returncode == 2 and "Did you mean 'epochs'?" in done.stderr and done.stderr.count("\n") == 1
    done = cli(
        "run", RUNS / "train.ipynb", "-o", tmp_path / "a.ipynb", "-p", "recipe", "TrainSimpel", "-p", "root", tmp_path
    )
    assert done.returncode == 2 and "Did you mean 'TrainSimple'?" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("model_states*")) and not list(tmp_path.glob("smoke/*"))


def test_papermill_itself_stops_on_a_misspelt_parameter(tmp_path):
    words = [
        Path(sys.executable).with_name("papermill"),
        "--no-progress-bar",
        "-k",
        "python3",
        RUNS / "train.ipynb",
        tmp_path / "out.ipynb",
        "-p",
        "epoch",
        "3",
        "-p",
        "root",
        tmp_path,
    ]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode != 0
    assert "parameter: 'epoch' is not known. Did you mean 'epochs'?" in done.stderr
    assert not list(tmp_path.glob("model_states*"))  # before any work


def test_help_notebook_is_the_manual():
    done = subprocess.run(
        [Path(sys.executable).with_name("papermill"), "--help-notebook", RUNS / "train.ipynb"],
        capture_output=True,
        text=True,
    )
    for word in ("recipe: str", "epochs: int", "smoke: bool", "held out"):
        assert word in done.stdout, done.stdout


def test_a_dry_run_says_what_it_takes_and_leaves_nothing(photos, tmp_path):
    words = ("--data", photos, "--root", tmp_path, "--epochs", 3, "--iterations", 50, "--batch", 2)
    done = cli("train", *SMALL, *words, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "150 steps of" in done.stdout and "memory: " in done.stdout and "disk: " in done.stdout
    assert not list(tmp_path.iterdir())

"The papermill notebooks run, from our runner and from papermill's own command, and refuse what they do not know before any work."

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from conftest import ROOT, SMALL, cli
from inr_assr.faces.runner import check_kernel, run_notebook
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


def toy(folder: Path, *cells: str) -> Path:
    "A notebook of some cells."
    import nbformat

    first = nbformat.v4.new_code_cell("n: int = 1", metadata={"tags": ["parameters"]})
    book = nbformat.v4.new_notebook(
        cells=[first, *map(nbformat.v4.new_code_cell, cells)],
        metadata={"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}},
    )
    nbformat.write(book, folder / "toy.ipynb")
    return folder / "toy.ipynb"


def test_a_killed_kernel_is_said_in_one_line(tmp_path):
    source = toy(tmp_path, "print('before')", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "print('after')")
    done = cli("run", source, "-o", tmp_path / "done {here}.ipynb")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "the kernel of toy.ipynb was killed or does not answer" in done.stderr
    shown = outputs_of(tmp_path / "done {here}.ipynb")  # braces are part of the name
    assert "before" in shown and "after" not in shown


@pytest.mark.parametrize(
    "program, said",
    [
        (sys.executable, None),
        ("python", None),
        ("/usr/bin/env", None),  # what it starts cannot be known
        ("{folder}/python3", "belongs to another interpreter"),
        ("/no/such/python3", "needs '/no/such/python3', which is not there"),
    ],
)
def test_a_kernel_of_another_interpreter_is_said_in_one_line(program, said, tmp_path, monkeypatch):
    (tmp_path / "python3").symlink_to("/bin/true")
    spec = {"argv": [program.format(folder=tmp_path), "-m", "ipykernel_launcher", "-f", "{connection_file}"]}
    folder = tmp_path / "jupyter" / "kernels" / "python3"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps({**spec, "display_name": "python3", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    if said is None:
        check_kernel()
        return
    done = cli("run", toy(tmp_path, "1"), "-o", tmp_path / "out" / "done.ipynb")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert said in done.stderr and str(folder) in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_full_disk_under_a_notebook_leaves_what_was_there(tmp_path):
    source, output = toy(tmp_path, "print('x' * 20_000)"), tmp_path / "done.ipynb"

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # a file that may not grow is what a full disk looks like
    try:
        done = cli("run", source, "-o", output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert f"cannot write '{output}'" in done.stderr
    assert json.loads(output.read_text())["cells"]  # the state before the large cell, whole
    assert {path.name for path in tmp_path.iterdir()} == {"toy.ipynb", "done.ipynb"}


def test_a_file_that_is_no_notebook(tmp_path):
    for text in ("", "{", "[]", '{"cells": 3}'):
        (tmp_path / "torn.ipynb").write_text(text)
        done = cli("run", tmp_path / "torn.ipynb", "-o", tmp_path / "out.ipynb")
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and "torn.ipynb" in done.stderr, (text, done.stderr)
    assert not (tmp_path / "out.ipynb").exists()

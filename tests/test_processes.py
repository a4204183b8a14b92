"Two processes train as one does: from the shell, by torchrun, from a notebook; and one can finish what the other began."

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

pytest.importorskip("lightning_fabric", reason="Lightning Fabric is not installed")

from conftest import ROOT, SMALL, SMALL_FOLDER, cli, cli_process
from inr_assr.faces.runner import run_notebook
from inr_assr.models.checkpoints import read_checkpoint

WORDS = ("--epochs", 3, "--iterations", 8, "--batch", 4)
TOLERANCE = 1e-5  # of weights after 24 steps: sums in another order, and what Adam makes of it


def weights_and_log(root: Path) -> tuple[dict, pd.DataFrame]:
    folder = root / SMALL_FOLDER
    return read_checkpoint(folder / "last.pth")["weights"], pd.read_csv(folder / "log.csv")


def same(one: Path, two: Path) -> None:
    (weights, log), (others, other_log) = weights_and_log(one), weights_and_log(two)
    assert weights.keys() == others.keys() and len(log) == 3
    assert max((weights[key] - others[key]).abs().max().item() for key in weights) < TOLERANCE
    assert (log["loss"] - other_log["loss"]).abs().max() < 1e-5 and (log["psnr"] - other_log["psnr"]).abs().max() < 1e-3


@pytest.fixture(scope="module")
def alone(photos, tmp_path_factory):
    root = tmp_path_factory.mktemp("alone")
    done = cli("train", *SMALL, "--data", photos, "--root", root, *WORDS)
    assert done.returncode == 0, done.stderr
    return root


def test_two_processes_from_the_shell(photos, alone, tmp_path):
    done = cli_process("train", *SMALL, "--data", photos, "--root", tmp_path, *WORDS, "--devices", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch   3 of 3") == 1 and "cpu and 1 more" in done.stdout  # one of them speaks
    same(alone, tmp_path)


def test_begun_by_one_and_finished_by_two_of_torchrun(photos, alone, tmp_path):
    words = [*SMALL, "--data", photos, "--root", tmp_path, *WORDS]
    begun = subprocess.Popen([shutil.which("inr-assr"), "train", *map(str, words)], stdout=subprocess.PIPE, text=True)
    for line in begun.stdout:
        if line.startswith("epoch   1"):
            begun.kill()
            break
    begun.wait()
    torchrun = Path(sys.executable).with_name("torchrun")
    done = subprocess.run(
        [torchrun, "--standalone", "--nproc-per-node", "2", "--no-python", "inr-assr", "train", *map(str, words)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "going on from" in done.stdout, done.stdout + done.stderr
    same(alone, tmp_path)


def test_two_processes_from_a_notebook(photos, alone, tmp_path):
    options = [word for word in SMALL if "=" in str(word)]
    parameters = {"decoder": "LTE", "data": str(photos), "root": str(tmp_path), "options": options, "device": "cpu"}
    parameters |= {"epochs": 3, "iterations": 8, "batch": 4, "devices": 2}
    run_notebook(ROOT / "nbs" / "runs" / "train.ipynb", tmp_path / "train.ipynb", parameters, quiet=True)
    same(alone, tmp_path)


def test_what_does_not_fit_is_one_line(photos, tmp_path):
    words = ["train", *SMALL, "--data", photos, "--root", tmp_path, *WORDS]
    done = cli_process(*words, "--devices", 3)
    assert done.returncode == 2, done.stderr
    assert done.stderr == "inr-assr: devices: a batch of 4 cannot be shared evenly by 3 processes.\n"
    done = cli(*words, "--devices", "many")
    assert done.returncode == 2 and "devices: 'many' does not fit" in done.stderr


def test_all_processes_are_refused_a_folder_in_which_another_trains(photos, tmp_path):
    (tmp_path / SMALL_FOLDER).mkdir()
    with FileLock(tmp_path / SMALL_FOLDER / ".lock"):
        done = cli_process("train", *SMALL, "--data", photos, "--root", tmp_path, *WORDS, "--devices", 2)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("inr-assr: root: another process is training in") and done.stderr.count("\n") == 1
    assert [path.name for path in (tmp_path / SMALL_FOLDER).iterdir()] == [".lock"]

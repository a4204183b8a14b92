"What the last bits of a training depend on is kept with it; a resume under other circumstances says so first."

import pytest
import torch

from conftest import SMALL, SMALL_FOLDER, cli
from inr_assr.models.checkpoints import read_checkpoint

WORDS = ("--epochs", 2, "--iterations", 2, "--batch", 2)


@pytest.fixture
def begun(photos, tmp_path):
    "A training with one of two epochs done, and the words that go on with it."
    words = ["train", *SMALL, "--data", photos, "--root", tmp_path, *WORDS]
    done = cli(*words)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / SMALL_FOLDER
    for name in ("best.pth", "log.csv"):
        (folder / name).unlink()
    (folder / "before.pth").rename(folder / "last.pth")
    return folder, words


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def test_it_is_kept_with_the_run(begun):
    kept = read_checkpoint(begun[0] / "last.pth")["computed_on"]
    assert kept["threads"] == torch.get_num_threads() and kept["device"] == "cpu" and kept["processes"] == 1


def test_the_same_threads_say_nothing(begun):
    done = cli(*begun[1])
    assert done.returncode == 0 and "last bits" not in done.stdout and "epoch   2 of 2" in done.stdout, done.stderr


def test_other_threads_are_told_before_the_training_goes_on(begun, threads):
    torch.set_num_threads(threads + 1)
    done = cli(*begun[1])
    assert done.returncode == 0, done.stderr
    told = f"were trained with threads {threads} (now {threads + 1}); further ones may differ in their last bits."
    assert told in done.stdout and f"OMP_NUM_THREADS={threads} " in done.stdout
    assert done.stdout.index(told) < done.stdout.index("epoch   2 of 2")


def test_a_run_of_an_earlier_version_goes_on(begun):
    contents = read_checkpoint(begun[0] / "last.pth")
    del contents["computed_on"]
    torch.save(contents, begun[0] / "last.pth")
    done = cli(*begun[1])
    assert done.returncode == 0 and "last bits" not in done.stdout and "epoch   2 of 2" in done.stdout, done.stderr

"A training killed at any moment and started again ends bit by bit as the one that was never killed."

import contextlib
import multiprocessing
import os
import random
import signal
import time

import pandas as pd
import pytest
import torch

from conftest import SMALL, SMALL_FOLDER, cli
from inr_assr.faces.cli import main
from inr_assr.models.checkpoints import read_checkpoint

SOFT = ("--option", "recipe.ema=0.9", "--option", "recipe.clip=1.0", "--option", "recipe.schedule=warm_restarts")
WORDS = ["--epochs", 5, "--iterations", 20, "--batch", 2, "--seed", 3, "--keep-every", 2, *SOFT]


def train(photos, root) -> None:
    done = cli("train", *SMALL, "--data", photos, "--root", root, *WORDS)
    assert done.returncode == 0, done.stderr


def quietly(words) -> None:
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
        main(words)


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    "The training that is left alone, and how long it takes."
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # children are forked
    root = tmp_path_factory.mktemp("whole")
    train(photos, tmp_path_factory.mktemp("warm"))
    start = time.monotonic()
    train(photos, root)
    yield root / SMALL_FOLDER, time.monotonic() - start
    torch.set_num_threads(threads)


def equal(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a if key != "seconds")
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


@pytest.mark.parametrize("moment", range(20))
def test_killed_at_a_random_moment(moment, photos, whole, tmp_path):
    folder, seconds = whole
    words = [str(word) for word in ("train", *SMALL, "--data", photos, "--root", tmp_path, *WORDS)]
    process = multiprocessing.get_context("fork").Process(target=quietly, args=(words,))
    process.start()
    time.sleep(random.Random(moment).uniform(0, seconds))
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    train(photos, tmp_path)
    again = tmp_path / SMALL_FOLDER
    names = {"last.pth", "before.pth", "best.pth", "epoch_2.pth", "epoch_4.pth", "log.csv", ".lock"}
    assert {path.name for path in again.iterdir()} == names
    for name in names - {"log.csv", ".lock", "before.pth"}:
        one, two = read_checkpoint(folder / name), read_checkpoint(again / name)
        assert equal(one, two), name  # weights, their mean, optimiser, records, configuration, versions
    logs = [pd.read_csv(path / "log.csv").drop(columns="seconds") for path in (folder, again)]
    assert logs[0].equals(logs[1]) and len(logs[0]) == 5

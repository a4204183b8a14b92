"Training killed and started again ends as if nothing had happened; a folder belongs to one configuration."

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import SMALL, SMALL_FOLDER, cli
from inr_assr.foundations.images import read_picture, save_picture
from inr_assr.models.checkpoints import read_checkpoint

WORDS = ("--epochs", 4, "--iterations", 12, "--batch", 2, "--seed", 3)


def train(photos, root, *more):
    return cli("train", *SMALL, "--data", photos, "--root", root, *WORDS, *more)


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    done = train(photos, root)
    assert done.returncode == 0, done.stderr
    return root / SMALL_FOLDER


def same_run(one: Path, other: Path):
    a, b = (read_checkpoint(folder / "last.pth") for folder in (one, other))
    assert a["weights"].keys() == b["weights"].keys()
    assert all(torch.equal(a["weights"][key], b["weights"][key]) for key in a["weights"])
    for x, y in zip(
        a["training"]["optimiser"]["state"].values(), b["training"]["optimiser"]["state"].values(), strict=True
    ):
        assert all(torch.equal(x[key], y[key]) for key in x)
    logs = [pd.read_csv(folder / "log.csv").drop(columns="seconds") for folder in (one, other)]
    assert logs[0].equals(logs[1]) and len(logs[0]) == 4


@pytest.mark.parametrize("after", [1, 2, 3])
def test_killed_after_an_epoch_and_resumed(after, photos, whole, tmp_path):
    "SIGKILL as soon as the epoch's line appears, then the same command again."
    words = [Path(sys.executable).with_name("inr-assr"), "train", *SMALL, "--data", photos, "--root", tmp_path, *WORDS]
    process = subprocess.Popen(
        [str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    for line in process.stdout:
        if re.match(rf"epoch +{after} of 4", line):
            time.sleep(0.02 * after)
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    done = train(photos, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "going on from" in done.stdout or "complete" in done.stdout
    assert {path.name for path in (tmp_path / SMALL_FOLDER).iterdir() if path.name != ".lock"} == {
        "last.pth",
        "before.pth",
        "best.pth",
        "log.csv",
    }  # no litter
    same_run(whole, tmp_path / SMALL_FOLDER)


def test_a_finished_run_is_left_alone(photos, whole):
    before = (whole / "last.pth").stat().st_mtime_ns
    done = train(photos, whole.parent)
    assert done.returncode == 0 and "complete" in done.stdout
    assert (whole / "last.pth").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "more, field",
    [
        (("--epochs", 9), "recipe.epochs: 9 wanted, 4 in the folder"),
        (("--seed", 4), "seed: 4 wanted, 3 in the folder"),
        (("--option", "encoder.blocks=2"), "model.encoder_options.blocks: 2 wanted, 1 in the folder"),
    ],
)
def test_another_configuration_is_refused(more, field, photos, whole):
    before = {path.name: path.read_bytes() for path in whole.iterdir()}
    done = train(photos, whole.parent, *more)
    assert done.returncode == 2 and field in done.stderr and done.stderr.count("\n") == 1
    assert {path.name: path.read_bytes() for path in whole.iterdir()} == before


def test_other_pictures_are_another_configuration(photos, whole, tmp_path):
    for path in sorted(photos.iterdir())[:5]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    done = train(tmp_path, whole.parent)
    assert done.returncode == 2 and "data: " in done.stderr


def test_a_damaged_checkpoint_is_not_overwritten(photos, tmp_path):
    (tmp_path / SMALL_FOLDER).mkdir()
    (tmp_path / SMALL_FOLDER / "last.pth").write_bytes(b"torn")
    done = train(photos, tmp_path)
    assert done.returncode == 2 and "last.pth" in done.stderr
    assert (tmp_path / SMALL_FOLDER / "last.pth").read_bytes() == b"torn"


@pytest.mark.parametrize("torn", ["torn", "cut", "bit"])
def test_a_torn_checkpoint_falls_back_to_the_one_before_and_says_so(torn, photos, whole, tmp_path):
    shutil.copytree(whole, tmp_path / SMALL_FOLDER)
    last = tmp_path / SMALL_FOLDER / "last.pth"
    bytes_ = bytearray(last.read_bytes())
    number = read_checkpoint(last)["weights"]["decoder.imnet.layers.0.weight"].numpy().tobytes()
    bytes_[bytes_.index(number) + len(number) // 2] ^= 1  # in the middle of a tensor
    last.write_bytes({"torn": b"torn", "cut": bytes_[:-1000], "bit": bytes_}[torn])
    done = train(photos, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Going on from before.pth, an epoch earlier" in done.stdout + done.stderr
    assert "going on from" in done.stdout and "last.pth after" not in done.stdout
    same_run(whole, tmp_path / SMALL_FOLDER)  # epoch 4 was trained again, to the same bits


def test_interrupted_by_the_keyboard(photos, tmp_path):
    words = [
        Path(sys.executable).with_name("inr-assr"),
        "train",
        *SMALL,
        "--data",
        photos,
        "--root",
        tmp_path,
        "--epochs",
        500,
        "--iterations",
        50,
        "--batch",
        2,
    ]
    process = subprocess.Popen(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background inherit it ignored
    )
    for line in process.stdout:
        if line.startswith("epoch"):
            process.send_signal(signal.SIGINT)
            break
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "goes on after the last finished epoch" in error and "Traceback" not in error


INR_ASSR = Path(sys.executable).with_name("inr-assr")


def started(*words, **options) -> subprocess.Popen:
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    unbuffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.Popen([INR_ASSR, *map(str, words)], env=unbuffered, **streams)


@pytest.fixture(scope="module")
def rows(photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    for name in ("bicubic", "another"):
        done = cli("test", "--bicubic", "--run", name, "--benchmark", photos, "--scales", "2", "--out", path)
        assert done.returncode == 0, done.stderr
    return path


@pytest.mark.parametrize("command", ["test", "upscale", "report", "table"])
def test_any_command_interrupted_by_the_keyboard(command, photos, weights, rows, tmp_path):
    "While it imports, or while it works: one line and 130, and no half-written file."
    large = tmp_path / "large"
    large.mkdir()
    for path in photos.iterdir():
        save_picture(np.kron(read_picture(path), np.ones((8, 8, 1), np.uint8)), large / path.name)
    words = {
        "test": ("--weights", weights, "--benchmark", large, "--scales", "2,3,4"),
        "upscale": (large, "-o", tmp_path / "out", "--weights", weights, "--scale", 4),
        "report": (rows, "--out", tmp_path / "r.html"),
        "table": (rows,),
    }
    stop = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    for seconds in (0.5, 1.5):
        process = started(command, *words[command], **stop)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        if process.returncode == 0 and command in ("report", "table"):  # it was done before
            continue
        assert process.returncode == 130 and error.startswith("inr-assr: interrupted") and error.count("\n") == 1, error
        assert not list(tmp_path.rglob("*.part*"))


def test_a_reader_that_has_seen_enough_is_no_fault(rows):
    for words in (("table", rows), ("recipes",), ("test", "--help")):
        process = started(*words)
        process.stdout.close()  # as `| head -0`
        assert process.stderr.read() == "" and process.wait(60) != 120


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is not at hand")
@pytest.mark.parametrize("words", [("table",), ("models",), ("--help",)])
def test_a_full_disk_under_standard_output_is_said(words, rows):
    with open("/dev/full", "w") as full:
        process = started(*words, *[rows] * (words == ("table",)), stdout=full)
        error = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and error.count("\n") == 1 and "No space left on device" in error, error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is not at hand")
def test_standard_error_that_cannot_be_written_changes_no_exit_code():
    with open("/dev/full", "w") as full:
        assert started("tabel", stderr=full).wait(60) == 2
        assert started("recipes", stderr=full).wait(60) == 0


def test_a_table_on_a_full_disk_leaves_no_file(rows, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    for command, out in (("table", "t.md"), ("compare", "c.md"), ("report", "r.html")):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            done = cli(command, rows, "--out", tmp_path / out, *(["--metric", "psnr_y"] if command == "table" else []))
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and "No space left" in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def shell(line: str) -> subprocess.CompletedProcess:
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True)


def test_closed_streams(rows, tmp_path):
    "A table for a closed standard output is said to be lost; whatever goes into a file is done all the same."
    done = shell(f"'{INR_ASSR}' table '{rows}' >&-")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "standard output is closed" in done.stderr
    done = shell(f"'{INR_ASSR}' table '{rows}' --out '{tmp_path}/t.md' >&- 2>&-")
    assert done.returncode == 0 and (tmp_path / "t.md").read_text().startswith("| encoder")
    done = shell(f"'{INR_ASSR}' tabel 2>&-")
    assert done.returncode == 2 and done.stdout == ""  # an error is no table

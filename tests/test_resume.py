"A test that is killed goes on where it stopped, and several tests at once lose nothing."

import random
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from conftest import cli
from inr_assr.foundations.images import read_picture, save_picture
from inr_assr.testing.results import KEY, read_rows

SCALES = "1.1:8:8"
COUNT = 6 * 8  # photos, scales
EAGER = "from inr_assr.faces import cli, jobs; jobs.RowFile.EVERY = 0; raise SystemExit(cli.main())"
INR_ASSR = [sys.executable, "-c", EAGER]  # writes after every picture, however fast they are


def words(photos, out, *more):
    known = ["--benchmark", photos, "--data", ".", "--scales", SCALES, "--metrics", "psnr_y", "--profile", "ours"]
    return [str(word) for word in ("test", *(more or ["--bicubic"]), *known, "--out", out)]


def same(path, other):
    one, two = (read_rows(p).sort_values(KEY, ignore_index=True) for p in (path, other))
    pd.testing.assert_frame_equal(one.drop(columns="seconds"), two.drop(columns="seconds"))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_killed_at_any_moment_and_started_again_gives_the_same_rows(photos, tmp_path, suffix):
    unbroken, killed = tmp_path / f"unbroken{suffix}", tmp_path / f"killed{suffix}"
    assert cli(*words(photos, unbroken)).returncode == 0
    chance, stops = random.Random(suffix), []
    for _ in range(3 if suffix == ".csv" else 1):
        process = subprocess.Popen([*INR_ASSR, *words(photos, killed)], stdout=subprocess.PIPE, text=True)
        before = killed.stat().st_mtime_ns if killed.exists() else 0
        while process.poll() is None and not (killed.exists() and killed.stat().st_mtime_ns != before):
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
        stops.append(len(read_rows(killed)))  # whole at any moment
    assert stops == sorted(stops) and 0 < stops[0] < COUNT, stops
    done = cli(*words(photos, killed))
    assert done.returncode == 0
    if stops[-1] < COUNT:
        assert f"{stops[-1]} of {COUNT} pictures were measured before" in done.stdout
    same(unbroken, killed)
    assert f"{COUNT} of {COUNT} pictures were measured before" in cli(*words(photos, killed)).stdout
    assert "before" not in cli(*words(photos, killed, "--bicubic", "--again")).stdout


def test_two_processes_at_once_lose_nothing(photos, weights, tmp_path):
    out = tmp_path / "rows.csv"
    commands = [[], [], ["--weights", weights, "--run", "a"], ["--weights", weights, "--run", "b"]]
    running = [subprocess.Popen([*INR_ASSR, *words(photos, out, *c)], stdout=subprocess.DEVNULL) for c in commands]
    assert [process.wait() for process in running] == [0] * 4
    rows = read_rows(out)
    assert rows.groupby("run").size().to_dict() == {"bicubic": COUNT, "a": COUNT, "b": COUNT}
    assert not rows.duplicated(KEY).any()


def test_a_folder_holds_one_file_a_run_and_benchmark(photos, weights, tmp_path):
    assert cli(*words(photos, tmp_path / "rows")).returncode == 0
    assert cli(*words(photos, tmp_path / "rows", "--weights", weights, "--run", "mine")).returncode == 0
    names = sorted(path.name for path in (tmp_path / "rows").glob("*.csv"))
    assert names == [f"rows_bicubic_{photos.name}.csv", f"rows_mine_{photos.name}.csv"]
    assert len(read_rows(tmp_path / "rows")) == 2 * COUNT


def test_what_cannot_be_measured_is_counted_and_said(photos, tmp_path):
    folder = tmp_path / "some"
    for path in sorted(photos.glob("*.png"))[:3]:
        save_picture(read_picture(path), folder / path.name)
    broken = sorted(folder.glob("*.png"))[1]
    broken.write_bytes(broken.read_bytes()[:2000])
    out = tmp_path / "rows.csv"
    done = cli(
        "test", "--bicubic", "--benchmark", folder, "--scales", "2", "--metrics", "psnr_y,ms_ssim_rgb", "--out", out
    )
    assert done.returncode == 1
    assert "over 2 pictures, 1 left out" in done.stdout
    assert f"left out: {broken.stem}" in done.stdout and "damaged" in done.stdout
    assert "ms_ssim_rgb: (116, 126) pixels are too few; it needs 176" in done.stdout
    assert read_rows(out)["value"].isna().sum() == 4
    broken.write_bytes((photos / broken.name).read_bytes())
    done = cli("test", "--bicubic", "--benchmark", folder, "--scales", "2", "--metrics", "psnr_y", "--out", out)
    assert "over 3 pictures\n" in done.stdout and "2 of 3 pictures were measured before" in done.stdout


def test_an_optional_metric_leaves_the_others_alone(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("INR_ASSR_BACKBONES", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    base = ["test", "--bicubic", "--benchmark", photos, "--scales", "4"]
    done = cli(*base, "--metrics", "lpips_alex,psnr_y")
    assert done.returncode == 0 and "note: lpips_alex is left out: " in done.stdout and "psnr_y" in done.stdout
    done = cli(*base, "--metrics", "lpips_alex")
    assert done.returncode == 2 and "lpips_alex: " in done.stderr and len(done.stderr.splitlines()) == 1

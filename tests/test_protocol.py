"Numbers that others printed, from pictures that others made: resampling, metrics, the LIIF authors' weights."

import csv
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conftest import cli, shared
from inr_assr.foundations.images import read_picture, to_tensor
from inr_assr.foundations.resampling import resize_by_matrices, resize_matlab, resize_pillow
from inr_assr.metrics.contract import METRICS
from inr_assr.testing.results import means, read_rows

LIIF = {  # luma PSNR of the authors' EDSR-baseline-LIIF, by their own code
    "Set5": {"2": 37.9877, "3": 34.3997, "4": 32.2375, "2.5": 35.9292, "6": 28.9551, "8": 26.9824},
    "Set14": {"2": 33.6621, "3": 30.3421, "4": 28.6181, "2.5": 31.6571, "6": 26.4547, "8": 24.9383},
    "B100": {"2": 32.1826, "3": 29.1090, "4": 27.6034},
}
BICUBIC = {
    "Set5": {"2": 33.673, "3": 30.403, "4": 28.429, "2.5": 31.793, "6": 25.930, "8": 24.399},
    "Set14": {"2": 30.323, "3": 27.628, "4": 26.085, "2.5": 28.765, "6": 24.337, "8": 23.187},
    "B100": {"2": 29.559, "3": 27.209, "4": 25.961, "2.5": 28.155, "6": 24.541, "8": 23.668},
}
RCAN = {  # printed by its authors' MATLAB code: PSNR and SSIM on luma
    2: {
        "baby": (38.979958, 0.968184),
        "bird": (43.639850, 0.990903),
        "butterfly": (36.058756, 0.980312),
        "head": (36.075233, 0.892380),
        "woman": (36.617042, 0.975444),
    },
    3: {
        "baby": (35.803059, 0.931255),
        "bird": (38.794508, 0.974730),
        "butterfly": (31.812360, 0.956393),
        "head": (34.238129, 0.839170),
        "woman": (33.062721, 0.947882),
    },
    4: {
        "baby": (33.948246, 0.896239),
        "bird": (35.904838, 0.951746),
        "butterfly": (29.359312, 0.934269),
        "head": (33.010323, 0.799064),
        "woman": (30.945093, 0.919886),
    },
}


def means_of(path, metric="psnr_y"):
    table = means(read_rows(path))
    return table[table.metric == metric].set_index("scale")["mean"]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("benchmark", ["Set5", "Set14"])
def test_matlab_bicubic_makes_the_benchmark_files_bit_by_bit(benchmark, scale):
    root, checked = shared("data", benchmark), 0
    for path in sorted((root / "HR").glob("*.png")):
        hr = np.asarray(Image.open(path))  # as stored: one of Set14 is grey
        height, width = (n // scale for n in hr.shape[:2])
        made = resize_matlab(hr[: height * scale, : width * scale], (height, width))
        assert np.array_equal(
            made, np.asarray(Image.open(root / "LR_bicubic" / f"X{scale}" / f"{path.stem}x{scale}.png"))
        ), path.name
        checked += 1
    assert checked == {"Set5": 5, "Set14": 14}[benchmark]


@pytest.mark.parametrize("size", [(48, 48), (97, 31), (150, 220), (333, 100)])
def test_pillow_bicubic_is_pillows(size):
    "On photos and noise; the matrices are the model, `resize_pillow` the calls. Not taller than 2:1, where Pillow 13 turns its order."
    from skimage import data

    for picture in (data.chelsea(), np.random.default_rng(1).integers(0, 256, (120, 133, 3), np.uint8)):
        made = resize_pillow(picture, size)
        assert np.array_equal(made, resize_by_matrices(picture, size))
        across = Image.fromarray(picture).resize((size[1], picture.shape[0]), Image.Resampling.BICUBIC)
        assert np.array_equal(made, np.asarray(across.resize((size[1], size[0]), Image.Resampling.BICUBIC)))
        if (picture.shape[0] - size[0]) <= 2 * (picture.shape[1] - size[1]):
            assert np.array_equal(
                made, np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BICUBIC))
            )


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_psnr_and_ssim_are_the_authors_matlab_prints(scale):
    folder, truth = shared("data", "metric_check", "RCAN_Set5", f"X{scale}"), shared("data", "Set5", "HR")
    for name, (psnr, ssim) in RCAN[scale].items():
        restored = to_tensor(read_picture(folder / f"{name}_RCAN_x{scale}.png"))
        hr = to_tensor(read_picture(truth / f"{name}.png"))[..., : restored.shape[-2], : restored.shape[-1]]
        a, b = (t[..., scale:-scale, scale:-scale].double() for t in (restored, hr))
        assert METRICS["psnr_y"](a, b).item() == pytest.approx(psnr, abs=2e-5)
        assert METRICS["ssim_y"](a, b).item() == pytest.approx(ssim, abs=2e-6)


def check_luma(what, benchmark, expected, folder):
    "Mean luma PSNR under the profile `liif`, by the command line, within 0.003 dB."
    root = shared("data", benchmark).parent
    words = ["--benchmark", benchmark, "--data", root, "--scales", ",".join(expected), "--metrics", "psnr_y"]
    done = cli("test", *what, *words, "--out", folder / "rows.csv")
    assert done.returncode == 0, done.stderr
    for scale, value in expected.items():
        assert means_of(folder / "rows.csv")[scale] == pytest.approx(value, abs=0.003)


@pytest.mark.parametrize("benchmark", BICUBIC)
def test_bicubic_baseline(benchmark, tmp_path):
    check_luma(["--bicubic"], benchmark, BICUBIC[benchmark], tmp_path)


def check_liif(benchmark, folder):
    check_luma(["--weights", shared("weights", "edsr-baseline-liif.pth")], benchmark, LIIF[benchmark], folder)


def test_the_liif_authors_weights_on_set5(tmp_path):
    check_liif("Set5", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", ["Set14", "B100"])
def test_the_liif_authors_weights(benchmark, tmp_path):
    check_liif(benchmark, tmp_path)


def test_a_grey_file_is_three_equal_channels():
    bridge = read_picture(shared("data", "Set14", "HR", "bridge.png"))
    assert bridge.shape == (512, 512, 3) and (bridge[..., 0] == bridge[..., 2]).all()


def test_rows_are_tidy(tmp_path):
    root = shared("data", "Set5").parent
    assert (
        cli(
            "test",
            "--bicubic",
            "--benchmark",
            "Set5",
            "--data",
            root,
            "--scales",
            "2,2x3.5",
            "--profile",
            "ours",
            "--out",
            tmp_path / "rows.csv",
        ).returncode
        == 0
    )
    with open(tmp_path / "rows.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = "run encoder decoder recipe seed benchmark scale profile tiling image metric value seconds version commit".split()
    assert set(wanted) <= set(rows[0]) and len(rows) == 5 * 2 * 3
    assert {row["scale"] for row in rows} == {"2", "2x3.5"} and {row["metric"] for row in rows} == {
        "psnr_y",
        "psnr_rgb",
        "ssim_y",
    }
    parquet = tmp_path / "rows.parquet"
    assert (
        cli(
            "test",
            "--bicubic",
            "--benchmark",
            "Set5",
            "--data",
            root,
            "--scales",
            "2,2x3.5",
            "--profile",
            "ours",
            "--out",
            parquet,
        ).returncode
        == 0
    )
    one, other = pd.read_csv(tmp_path / "rows.csv"), pd.read_parquet(parquet)
    assert one.value.tolist() == other.value.tolist()


def test_a_wrong_lr_folder_never_gives_a_wrong_mean(tmp_path):
    for part in ("HR", "LR_bicubic/X2"):
        shutil.copytree(shared("data", "Set5", *part.split("/")), tmp_path / "Set5" / part)
    words = (
        "test",
        "--bicubic",
        "--benchmark",
        "Set5",
        "--data",
        tmp_path,
        "--scales",
        "2",
        "--out",
        tmp_path / "rows.csv",
    )
    (tmp_path / "Set5/LR_bicubic/X2/.DS_Store").write_text("stray")
    assert cli(*words).returncode == 0  # a hidden file is no picture
    (tmp_path / "Set5/LR_bicubic/X2/birdx2.png").rename(tmp_path / "Set5/LR_bicubic/X2/brdx2.png")
    done = cli(*words)
    assert done.returncode == 2 and "bird.png" in done.stderr
    shutil.copy(tmp_path / "Set5/LR_bicubic/X2/headx2.png", tmp_path / "Set5/LR_bicubic/X2/birdx2.png")
    (tmp_path / "Set5/LR_bicubic/X2/brdx2.png").unlink()
    done = cli(*words)
    assert done.returncode == 2 and "birdx2.png" in done.stderr and "144x144" in done.stderr


def test_a_curve_of_forty_scales_decodes_each_picture_once(photos, tmp_path, monkeypatch):
    from inr_assr.testing import evaluation

    read, plain = [], evaluation.read_picture
    monkeypatch.setattr(evaluation, "read_picture", lambda path: read.append(path) or plain(path))
    words = ("--scales", "1.1:12:40", "--profile", "ours", "--metrics", "psnr_y", "--out", tmp_path / "rows.csv")
    done = cli("test", "--bicubic", "--benchmark", photos, *words)
    assert done.returncode == 0, done.stderr
    rows = read_rows(tmp_path / "rows.csv")
    assert rows["scale"].nunique() == 40 and len(rows) == 40 * 6 and rows["value"].notna().all()
    assert {"1.1", "12"} <= set(rows["scale"]) and len(read) == 6
    means = rows.groupby(rows["scale"].astype(float))["value"].mean()
    assert means.iloc[0] > means.iloc[-1] + 10  # it falls, from the least scale to the largest

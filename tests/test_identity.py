"What a row is identified by: pixels, weights, protocol and code, not names; and nothing is averaged over two different things."

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import cli, shared
from PIL import Image

import inr_assr
from inr_assr.data.pictures import DEMO_PHOTOS, demo_photo
from inr_assr.faces.jobs import test_job as run_test
from inr_assr.foundations.errors import InputError
from inr_assr.foundations.images import read_picture, save_picture
from inr_assr.foundations.resampling import resize_matlab
from inr_assr.models.checkpoints import save_model
from inr_assr.models.model import build_model
from inr_assr.testing.evaluation import Method, code_fingerprint
from inr_assr.testing.results import read_rows

NAMES = list(DEMO_PHOTOS)[:3]


def photos(folder: Path, seed: int) -> Path:
    "Three photos; another seed gives other pictures of the same names and size."
    for k, name in enumerate(NAMES):
        save_picture(demo_photo(list(DEMO_PHOTOS)[(k + seed) % 6])[60:132, 60:150], folder / f"{name}.png")
    return folder


def measure(folder, out=None, *words, scale="3"):
    "Test bicubic, or what `words` say; the mean that is printed, and the whole answer."
    words = words if "--weights" in words else ("--bicubic", *words)
    words += ("--out", out) if out else ()
    done = cli("test", *words, "--benchmark", folder, "--data", ".", "--scales", scale, "--metrics", "psnr_y")
    assert done.returncode == 0, done.stderr
    return float(re.search(r"psnr_y (\S+) over", done.stdout)[1]), done.stdout


def refusals(out) -> list[str]:
    "What the commands that average say of a file whose rows they refuse."
    done = [cli("table", out), cli("compare", out, "--baseline", "bicubic"), cli("report", out, "--out", f"{out}.html")]
    assert [d.returncode for d in done] == [2] * 3 and not Path(f"{out}.html").exists()
    return [d.stderr for d in done]


def test_two_folders_with_one_last_part(tmp_path):
    a, b, out = photos(tmp_path / "a/photos", 0), photos(tmp_path / "b/photos", 1), tmp_path / "r.csv"
    alone = [measure(folder)[0] for folder in (a, b)]
    assert alone[0] != alone[1]
    assert [measure(folder, out)[0] for folder in (a, b)] == alone
    for folder, mean in zip((a, b), alone, strict=True):  # both are kept, and found again
        again, said = measure(folder, out)
        assert again == mean and "3 of 3 pictures were measured before" in said
    prints = [read_rows(out).groupby("image")["hr_pixels"].unique()[name] for name in sorted(NAMES)]
    for said in refusals(out):
        assert len(said.splitlines()) == 1 and all(code in said for code in prints[0]) and "--again" in said
    measure(b, out, "--again")
    done = cli("table", out)
    assert done.returncode == 0 and f"{alone[1]:.2f}" in done.stdout and f"{alone[0]:.2f}" not in done.stdout


@pytest.fixture
def set5(tmp_path):
    "Three photos in the place of Set5, with LR files at x2."
    photos(tmp_path / "data/Set5/HR", 0)
    for name in NAMES:
        hr = read_picture(tmp_path / f"data/Set5/HR/{name}.png")
        save_picture(resize_matlab(hr, (36, 45)), tmp_path / f"data/Set5/LR_bicubic/X2/{name}x2.png")
    return tmp_path / "data/Set5"


def test_lr_files_that_were_replaced(set5, tmp_path):
    out = tmp_path / "r.csv"
    before = measure(set5, out, scale="2")[0]
    for path in (set5 / "LR_bicubic/X2").iterdir():
        save_picture(read_picture(path) // 2, path)
    right = measure(set5, scale="2")[0]
    assert abs(right - before) > 1
    assert measure(set5, out, scale="2")[0] == right
    assert all("LR pictures are named" in said for said in refusals(out))


def test_lr_files_of_the_real_set5_that_were_replaced(tmp_path):
    real, out = shared("data", "Set5"), tmp_path / "r.csv"
    for path in (*(real / "HR").iterdir(), *(real / "LR_bicubic/X2").iterdir()):
        target = tmp_path / "Set5" / path.relative_to(real)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    words = "test", "--bicubic", "--benchmark", "Set5", "--data", tmp_path, "--scales", "2", "--metrics", "psnr_y"
    first = cli(*words, "--out", out).stdout
    for path in (tmp_path / "Set5/LR_bicubic/X2").iterdir():
        save_picture(np.clip(read_picture(path).astype(int) + 12, 0, 255).astype(np.uint8), path)
    mean = [re.search(r"psnr_y (\S+) over 5", text)[1] for text in (first, cli(*words).stdout)]
    assert float(mean[1]) < float(mean[0]) - 5
    assert f"psnr_y {mean[1]} over 5 pictures" in cli(*words, "--out", out).stdout


def test_another_hr_folder_of_one_benchmark(set5, tmp_path, capsys):
    out, other = tmp_path / "r.csv", photos(tmp_path / "other/HR", 2)
    run = lambda **more: run_test(Method.bicubic(), "Set5", tmp_path / "data", [3], metrics=["psnr_y"], profile="ours", **more)  # fmt: skip
    first, right = run(out=out), run(hr_folder=other)
    assert (run(hr_folder=other, out=out)["value"] == right["value"]).all()
    assert (first["value"] != right["value"]).all()


def test_the_code_counts_with_git_or_without(tmp_path):
    "A copy of the package elsewhere, as a wheel would be, is the same code; one edited line is another."
    folder, out = photos(tmp_path / "photos", 0), tmp_path / "r.csv"
    measure(folder, out)
    copied = shutil.copytree(Path(inr_assr.__file__).parent, tmp_path / "site/inr_assr")

    def elsewhere() -> str:
        words = ["test", "--bicubic", "--benchmark", folder, "--scales", "3", "--metrics", "psnr_y", "--out", out]
        code = "from inr_assr.faces.cli import main; raise SystemExit(main())"
        environment = {**os.environ, "PYTHONPATH": str(copied.parent)}
        return subprocess.run([sys.executable, "-c", code, *map(str, words)], env=environment, cwd=tmp_path, text=True, capture_output=True, check=True).stdout  # fmt: skip

    assert "3 of 3 pictures were measured before" in elsewhere()
    module = copied / "foundations/resampling.py"
    module.write_text(f"{module.read_text()}\n# edited\n")
    assert "before" not in elsewhere()
    codes = set(read_rows(out)["code"])
    assert len(codes) == 1 and codes != {code_fingerprint()}  # measured again, and replaced
    assert "before" not in measure(folder, out)[1]


def test_every_file_is_decoded_once(set5, tmp_path, monkeypatch):
    from inr_assr.foundations import images

    counts, opened = Counter(), images._open

    def counting(path):
        counts[Path(path).name] += 1
        return opened(path)

    monkeypatch.setattr(images, "_open", counting)
    for _ in range(2):  # when measured, and when found again
        counts.clear()
        measure(set5, tmp_path / "r.csv", scale="2")
        assert counts == {f"{name}{end}.png": 1 for name in NAMES for end in ("", "x2")}
    counts.clear()
    measure(photos(tmp_path / "photos", 0), None, scale="2,2.5,4")
    assert counts == {f"{name}.png": 1 for name in NAMES}


def test_two_files_with_one_stem(tmp_path):
    folder, out, save = tmp_path / "mine", tmp_path / "r.csv", tmp_path / "restored"
    for k, name in enumerate(("a.png", "a.jpg", "a.png.jpg", "b.png")):
        save_picture(demo_photo(list(DEMO_PHOTOS)[k])[60:132, 60:150], folder / name)
    first, _ = measure(folder, out, "--save", save)
    again, said = measure(folder, out, "--save", save)
    assert again == first and "4 of 4 pictures were measured before" in said
    rows = read_rows(out)
    assert sorted(rows["image"]) == ["a.jpg", "a.png", "a.png.jpg", "b"] and rows["value"].nunique() == 4
    assert sorted(path.name for path in save.rglob("*.png")) == ["a.jpg.png", "a.png.jpg.png", "a.png.png", "b.png"]
    for path in save.rglob("*.png"):
        hr = read_picture(folder / (path.stem if path.stem != "b" else "b.png")).astype(float)
        assert np.abs(read_picture(path) - hr).mean() < 20
    measure(folder, out, "--run", "other")
    table = cli("compare", out, "--baseline", "bicubic")
    assert "| 4 |" in table.stdout and f"{first:.2f}" in cli("table", out, "--own").stdout
    checked = cli("data", "check", folder, "--root", tmp_path)
    assert checked.returncode == 1 and "'a.jpg' and 'a.png'" in checked.stdout


def test_partners_of_repeated_stems(tmp_path):
    root = tmp_path / "mine"
    pictures = {name: demo_photo(list(DEMO_PHOTOS)[k])[60:132, 60:150] for k, name in enumerate(("a.png", "a.bmp"))}
    for name, picture in pictures.items():
        save_picture(picture, root / "HR" / name)
        save_picture(resize_matlab(picture, (36, 45)), root / "LR_bicubic/X2" / name.replace(".", "x2."))
    assert measure(root, None, scale="2")[0] > 25
    (root / "LR_bicubic/X2/ax2.bmp").rename(root / "LR_bicubic/X2/ax2.webp")
    done = cli("test", "--bicubic", "--benchmark", root, "--scales", "2")
    assert done.returncode == 2 and "no file for 'a.bmp'" in done.stderr


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    "Two states of one model."
    paths = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = build_model("EDSR", "LTE", {"blocks": 1, "features": 8}, {"width": 16, "hidden": [16]})
        paths.append(save_model(model, tmp_path_factory.mktemp("weights") / "last.pth"))
    return paths


def test_two_checkpoints_under_one_name(tmp_path, checkpoints):
    folder, out, last = photos(tmp_path / "photos", 0), tmp_path / "r.csv", tmp_path / "last.pth"
    means = []
    for path in checkpoints:  # `last.pth`, tested, trained on, tested again
        shutil.copy(path, last)
        means.append(measure(folder, out, "--weights", last, "--run", "mine", "--device", "cpu")[0])
    measure(folder, out)
    rows = read_rows(out)
    names = [f"mine [weights {code}]" for code in rows.loc[rows["run"] == "mine", "weights"].unique()]
    table, compared = cli("table", out), cli("compare", out, "--baseline", "bicubic")
    page = cli("report", out, "--out", tmp_path / "r.html")
    assert [done.returncode for done in (table, compared, page)] == [0, 0, 0]
    for text in (table.stdout, compared.stdout, (tmp_path / "r.html").read_text()):
        for name, mean in zip(names, means, strict=True):
            assert name in text and f"{mean:.2f}" in text
        assert f"{sum(means) / 2:.2f}" not in text
    done = cli("compare", out, "--baseline", "mine")
    assert done.returncode == 2 and names[0] in done.stderr and names[1] in done.stderr


def test_a_saved_picture_is_that_of_its_row(tmp_path, checkpoints):
    folder, out, last, save = photos(tmp_path / "p", 0), tmp_path / "r.csv", tmp_path / "last.pth", tmp_path / "s"
    pictures = []
    for path in (*checkpoints, checkpoints[0]):
        shutil.copy(path, last)
        measure(folder, out, "--weights", last, "--run", "mine", "--device", "cpu", "--save", save)
        pictures.append(read_picture(save / "mine/p_x3" / f"{NAMES[0]}.png"))
    assert (pictures[0] == pictures[2]).all() and (pictures[0] != pictures[1]).any()
    about = Image.open(save / "mine/p_x3" / f"{NAMES[0]}.png").text["inr_assr"]
    assert json.loads(about)["weights"] == read_rows(out)["weights"].iloc[-1]


@pytest.mark.parametrize("way", ["profile", "precision", "cut", "looks"])
def test_other_differences_under_one_name(tmp_path, checkpoints, way):
    folder, out = photos(tmp_path / "photos", 0), tmp_path / "r.csv"
    base = ("--weights", checkpoints[0], "--run", "mine", "--device", "cpu")
    more = {
        "profile": ("--profile", "lte"),
        "precision": ("--precision", "bf16"),
        "cut": ("--strategy", "Patched", "--breakdown-patch-size", "12"),
        "looks": ("--ensemble",),
    }[way]
    means = [measure(folder, out, *base)[0], measure(folder, out, *base, *more)[0]]
    assert read_rows(out).groupby("image").size().eq(2).all()
    page = cli("report", out, "--out", tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert page.returncode == 0 and all(f"{mean:.2f}" in text for mean in means)
    if way == "profile":
        assert "profile liif" in text and "profile lte" in text and cli("table", out).returncode == 2
    else:
        table = cli("table", out)
        assert table.returncode == 0 and all(f"{mean:.2f}" in table.stdout for mean in means)


def test_names_stay_within_the_folder(tmp_path):
    folder, save = photos(tmp_path / "photos", 0), tmp_path / "deep/s"
    for run in ("../../x", "/etc/x", "..", "a/b", "a_b"):
        measure(folder, tmp_path / "deep/rows", "--run", run, "--save", save)
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "deep"}
    assert len(list(save.iterdir())) == 5 and set((tmp_path / "deep").iterdir()) == {save, tmp_path / "deep/rows"}
    rows = read_rows(tmp_path / "deep/rows")
    assert set(rows["run"]) == {"../../x", "/etc/x", "..", "a/b", "a_b"} and len(rows) == 15


def test_a_name_that_is_no_utf8(tmp_path):
    folder, out = photos(tmp_path / "photos", 0), tmp_path / "r.csv"
    try:
        os.rename(folder / f"{NAMES[0]}.png", os.fsencode(folder) + b"/\xff\xfe.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    for _ in range(2):
        mean, said = measure(folder, out, "--save", tmp_path / "s")
    assert "3 of 3 pictures were measured before" in said and "\\udcff\\udcfe" in set(read_rows(out)["image"])
    assert len(list((tmp_path / "s").rglob("*.png"))) == 3


def test_infinity_is_a_value(tmp_path):
    folder, out = photos(tmp_path / "photos", 0), tmp_path / "r.csv"
    plain = measure(folder)[0]
    save_picture(np.full((60, 60, 3), 255, np.uint8), folder / "white.png")
    mean, said = measure(folder, out)
    assert mean == plain and "over 3 pictures, 1 identical (infinite, not in the mean)\n" in said
    assert "4 of 4 pictures were measured before" in measure(folder, out)[1]
    table, page = cli("table", out), cli("report", out, "--out", tmp_path / "r.html")
    assert "1 identical pictures (infinite) are not in the means" in table.stdout and page.returncode == 0
    assert "1 identical pictures (infinite)" in (tmp_path / "r.html").read_text()
    alone = tmp_path / "alone"
    save_picture(np.full((60, 60, 3), 255, np.uint8), alone / "white.png")
    assert "psnr_y inf over 1 pictures, 1 identical (infinite)" in measure(alone)[1]


def test_a_picture_of_one_pixel_is_named_and_left_out(tmp_path):
    folder = photos(tmp_path / "photos", 0)
    save_picture(np.zeros((1, 1, 3), np.uint8), folder / "tiny.png")
    torch.manual_seed(0)
    model = build_model("EDSR", "CiaoSR", {"blocks": 1, "features": 8}, {})
    weights = save_model(model, tmp_path / "w.pth")
    done = cli("test", "--weights", weights, "--benchmark", folder, "--scales", "2", "--device", "cpu")
    assert done.returncode == 1 and "over 3 pictures, 1 left out" in done.stdout and "left out: tiny: " in done.stdout
    for name in NAMES:
        (folder / f"{name}.png").unlink()
    done = cli("test", "--weights", weights, "--benchmark", folder, "--scales", "2", "--device", "cpu")
    assert done.returncode == 2 and "tiny" in done.stderr


def test_a_run_of_bicubic_has_the_name_it_is_given(tmp_path):
    measure(photos(tmp_path / "photos", 0), tmp_path / "r.csv", "--run", "mine")
    assert set(read_rows(tmp_path / "r.csv")["run"]) == {"mine"}


def test_no_difference_is_taken_between_two_pictures_of_one_name(tmp_path):
    "In Python as on the command line."
    from inr_assr.testing.statistics import compare

    folder, out = photos(tmp_path / "p", 0), tmp_path / "r.csv"
    assert cli("test", "--bicubic", "--benchmark", folder, "--data", ".", "--scales", "4", "--out", out).returncode == 0
    rows = read_rows(out)
    other = rows.assign(run="mine", value=rows["value"] + 1)
    assert compare(pd.concat([rows, other]), "mine", "bicubic", claim="checkpoints").difference == pytest.approx(1)
    other["hr_pixels"] = other["hr_pixels"].iloc[::-1].to_numpy()
    with pytest.raises(InputError, match="two HR pictures are named"):
        compare(pd.concat([rows, other]), "mine", "bicubic", claim="checkpoints")

"Whatever a person gives: one clear line with what is allowed, or what they would expect. Never a traceback, and nothing lost."

import shutil

import numpy as np
import pytest
from PIL import Image

from conftest import SMALL, SMALL_FOLDER, cli, cli_process
from inr_assr.faces.commands import COMMANDS
from inr_assr.foundations.images import read_alpha, read_picture, save_picture
from inr_assr.foundations.resampling import resize_matlab


def refused(done, *hints):
    "Exit code 2, one line on stderr that holds all hints, no traceback."
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    for hint in hints:
        assert hint in done.stderr, done.stderr


@pytest.fixture
def mixed(photos, tmp_path):
    "A folder such as people have: photos, a text, a truncated PNG, CMYK, 16 bits, grey, alpha, a tiny one."
    folder = tmp_path / "mixed"
    shutil.copytree(photos, folder)
    photo = Image.open(photos / "coffee.png")
    (folder / "notes.txt").write_text("not a picture")
    (folder / "text.png").write_text("not a picture either")
    whole = (photos / "coffee.png").read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    photo.convert("L").save(folder / "grey.png")
    Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257).save(folder / "sixteen.png")
    clear = photo.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(photo.size))
    clear.save(folder / "alpha.png")
    photo.crop((0, 0, 9, 7)).save(folder / "tiny.png")
    return folder


def test_upscale_works_through_a_mixed_folder(mixed, weights, tmp_path):
    done = cli("upscale", mixed, "-o", tmp_path / "out", "--weights", weights, "--scale", "2x1.5", "--device", "cpu")
    assert done.returncode == 1 and "Traceback" not in done.stderr  # some could not be done, and that is told
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        f"{n}.png"
        for n in (
            "coffee",
            "rocket",
            "immunohistochemistry",
            "hubble_deep_field",
            "flower",
            "astronaut",
            "cmyk",
            "grey",
            "sixteen",
            "alpha",
            "tiny",
        )
    }
    for word in ("left alone", "notes.txt", "left out text.png", "left out truncated.png"):
        assert word in done.stdout
    assert read_picture(tmp_path / "out" / "tiny.png").shape == (14, 14, 3)
    assert read_alpha(tmp_path / "out" / "alpha.png").shape == (240, 195)
    assert (
        np.abs(
            read_picture(tmp_path / "out" / "sixteen.png").astype(int) - read_picture(tmp_path / "out" / "grey.png")
        ).max()
        <= 1
    )


def test_training_names_what_it_leaves_out(mixed, tmp_path):
    done = cli("train", *SMALL, "--data", mixed, "--root", tmp_path, "--epochs", 1, "--iterations", 2, "--batch", 2)
    assert done.returncode == 0, done.stderr
    for word in (
        "10 pictures",
        "1 file that is no picture: notes.txt",
        "left out text.png",
        "left out truncated.png",
        "left out tiny.png",
    ):
        assert word in done.stdout, done.stdout


@pytest.mark.parametrize("scale", ["0", "-1", "abc", "nan", "2x", "2x3x4", "1e9"])
def test_upscale_refuses_a_scale(scale, photos, weights, tmp_path):
    refused(
        cli("upscale", photos / "coffee.png", "-o", tmp_path / "o.png", "--weights", weights, f"--scale={scale}"),
        "scale: ",
    )
    assert not (tmp_path / "o.png").exists()


def test_upscale_refuses(photos, weights, tmp_path):
    base = ("upscale", photos / "coffee.png", "-o", tmp_path / "o.png", "--weights", weights)
    refused(cli(*base, "--size", "0x10"), "size: ")
    refused(cli("upscale", tmp_path / "none", "-o", tmp_path / "o.png", "--weights", weights, "--scale", 2), "no file")
    refused(cli("upscale", photos / "coffee.png", "-o", tmp_path / "o.doc", "--weights", weights, "--scale", 2), ".png")
    refused(
        cli(
            "upscale",
            photos / "coffee.png",
            "-o",
            photos / "coffee.png" / "below" / "o.png",
            "--weights",
            weights,
            "--scale",
            2,
        ),
        "cannot make the folder",
    )
    refused(cli("upscale", photos / "coffee.png", "-o", "/proc/o.png", "--weights", weights, "--scale", 2), "/proc")
    refused(
        cli(
            "upscale", photos / "coffee.png", "-o", tmp_path / "o.png", "--weights", photos / "coffee.png", "--scale", 2
        ),
        "not a checkpoint",
    )
    refused(
        cli(
            "upscale", photos / "coffee.png", "-o", tmp_path / "o.png", "--weights", "edsr-baseline-life", "--scale", 2
        ),
        "Did you mean 'edsr-baseline-liif'?",
    )
    refused(cli(*base, "--scale", 2, "--device", "abacus"), "device: 'abacus'")
    refused(cli(*base, "--scale", 2, "--tiling", "-3"), "tiling: ")
    refused(cli(*base, "--scal", 2), "Did you mean --scale?")
    refused(cli(*base), "give one of --scale")
    refused(cli("upscail", "x"), "invalid choice")


def test_train_refuses(photos, tmp_path):
    base = ("train", *SMALL, "--data", photos, "--root", tmp_path)
    refused(cli(*base, "--encoder", "EDRS"), "encoder: 'EDRS'", "Valid: EDSR")
    refused(cli(*base, "--decoder", "LIIFF"), "Did you mean 'LIIF'?")
    refused(cli(*base, "--recipe", "TrainSimpel"), "Did you mean 'TrainSimple'?")
    refused(cli(*base, "--option", "recipe.loss=gradient_l1"), "needs neighbours; say recipe.sampling=")
    refused(cli(*base, "--option", "recipe.schedule_options={'count': -1}"), "recipe.schedule_options.count: -1")
    refused(
        cli(*base, "--option", "recipe.loss=ssim", "--option", "recipe.sampling=window", "--option", "recipe.patch=8"),
        "recipe.patch: 8 does not fit; ssim",
    )
    refused(cli(*base, "--option", "encoder.block=3"), "Did you mean 'blocks'?")
    refused(cli(*base, "--option", "recipe.epoch=3"), "Did you mean 'epochs'?")
    refused(cli(*base, "--option", "blocks=3"), "encoder.NAME=VALUE")
    refused(cli(*base, "--option", "encoder.blocks=many"), "encoder.blocks")
    refused(cli(*base, "--option", "decoder.hidden=7"), "hidden")
    refused(cli(*base, "--epochs", "0"), "epochs: '0'")
    refused(cli(*base, "--seed", "x"), "seed: 'x'")
    refused(cli(*base, "--data", tmp_path / "none"), "data: no folder")
    refused(cli(*base, "--option", "recipe.patch=500"), "fewer than the 500")
    (tmp_path / "file").write_text("a file")
    refused(cli(*base, "--root", tmp_path / "file"), "cannot make the folder")
    bad = tmp_path / "allbad"
    bad.mkdir()
    (bad / "a.png").write_text("no picture")
    refused(cli(*base, "--data", bad), f"no picture in '{bad}' can be used; a.png")
    assert not list(tmp_path.glob("model_states*"))  # nothing was begun


def test_a_schedule_longer_than_the_training_is_told(photos, tmp_path):
    words = ["train", *SMALL, "--recipe", "TrainSGDR", "--data", photos, "--root", tmp_path, "--epochs", 1]
    words += ["--iterations", 1, "--batch", 1]
    for more in (["--dry-run"], []):
        done = cli(*words, *more)
        assert done.returncode == 0 and "the first restart would come after 50 epochs: there is none" in done.stdout


def test_test_refuses(photos, weights, tmp_path):
    base = ("test", "--benchmark", photos, "--out", tmp_path / "rows.csv")
    refused(cli(*base), "give one of --weights")
    refused(cli(*base, "--bicubic", "--weights", weights), "give one of --weights")
    refused(cli(*base, "--bicubic", "--scales", "2,0"), "scale: ")
    refused(cli(*base, "--bicubic", "--metrics", "psnr"), "Did you mean 'psnr_y'?")
    refused(cli(*base, "--bicubic", "--profile", "life"), "Did you mean 'liif'?")
    refused(cli(*base, "--bicubic", "--strategy", "Patch"), "Did you mean 'Patched'?")
    refused(cli(*base, "--bicubic", "--scales", "100"), "nothing is left")
    refused(cli("test", "--bicubic", "--benchmark", "Set5", "--data", tmp_path), "Set5 is not in")
    refused(cli("test", "--bicubic", "--benchmark", photos, "--out", tmp_path / "rows.txt"), ".csv or .parquet")
    refused(
        cli(
            "test",
            "--encoder",
            "EDSR",
            "--decoder",
            "LTE",
            "--recipe",
            "TrainSimple",
            "--root",
            tmp_path,
            "--benchmark",
            photos,
        ),
        "no checkpoint",
    )
    assert not (tmp_path / "rows.csv").exists()
    refused(cli("report", tmp_path / "none.csv"), "no file")
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    refused(cli("report", tmp_path / "table.csv"), "lacks the columns")


def test_broken_pictures_are_named_counted_and_show_in_the_exit_code(mixed, tmp_path):
    done = cli("test", "--bicubic", "--benchmark", mixed, "--scales", "2", "--out", tmp_path / "rows.csv")
    assert done.returncode == 1 and "over 11 pictures, 2 left out" in done.stdout
    assert "text.png" in done.stdout and "truncated.png" in done.stdout and "Traceback" not in done.stderr


def test_in_a_process_of_its_own(photos, weights, tmp_path):
    refused(
        cli_process("upscale", photos / "coffee.png", "-o", tmp_path / "o.png", "--weights", weights, "--scale", "0"),
        "scale: '0'",
    )
    refused(
        cli_process("train", "--encoder", "EDSR", "--decoder", "LIIFF", "--data", photos, "--root", tmp_path),
        "Did you mean 'LIIF'?",
    )


def test_help_is_there_for_every_command():
    assert set(COMMANDS) >= {"train", "test", "upscale", "report", "recipes", "benchmarks", "models", "run", "data"}
    for command in COMMANDS:
        done = cli(command, "--help")
        assert done.returncode == 0 and "usage: inr-assr" in done.stdout


def test_the_lists():
    listed = cli("recipes").stdout
    assert all(word in listed for word in ("TrainGramL1Loss", "sampling", "window", "source", "yinboc/liif"))
    assert "Urban100" in cli("benchmarks").stdout
    listed = cli("models").stdout
    assert all(word in listed for word in ("EDSR", "LIIF", "LTE", "edsr-baseline-liif", "blocks"))


def test_small_folder_name_is_the_reference_ones(photos, tmp_path):
    assert (
        cli(
            "train", *SMALL, "--data", photos, "--root", tmp_path, "--epochs", 1, "--iterations", 1, "--batch", 1
        ).returncode
        == 0
    )
    assert {p.name for p in (tmp_path / SMALL_FOLDER).iterdir()} == {"last.pth", "best.pth", "log.csv", ".lock"}


@pytest.fixture
def files_set(photos, tmp_path):
    "A folder in Set5's layout: six photos, their HR cut to 120 x 128, and LR files at x2, beside a run that is right."
    for path in sorted(photos.glob("*.png")):
        picture = read_picture(path)[:120, :128]
        save_picture(picture, tmp_path / "mine/HR" / path.name)
        save_picture(resize_matlab(picture, (60, 64)), tmp_path / f"mine/LR_bicubic/X2/{path.stem}x2.png")
    return tmp_path / "mine"


def outcome(folder, *more):
    out = folder.parent / "rows.csv"
    out.unlink(missing_ok=True)
    return cli("test", "--bicubic", "--benchmark", folder, "--scales", "2", "--metrics", "psnr_y", "--out", out, *more)


def test_exchanged_lr_files_are_named_and_counted(files_set):
    right = outcome(files_set)
    assert right.returncode == 0 and "over 6 pictures\n" in right.stdout
    lr = sorted((files_set / "LR_bicubic/X2").glob("*.png"))
    first, second = lr[0].read_bytes(), lr[3].read_bytes()
    lr[0].write_bytes(second), lr[3].write_bytes(first)
    done = outcome(files_set)
    assert done.returncode == 1 and "over 4 pictures, 2 left out" in done.stdout
    for path in (lr[0], lr[3]):
        assert f"{path.name!r} is not made from '{path.stem.removesuffix('x2')}.png'" in done.stdout


def test_every_lr_file_exchanged_gives_no_mean_at_all(files_set):
    lr = sorted((files_set / "LR_bicubic/X2").glob("*.png"))
    contents = [path.read_bytes() for path in lr]
    for path, content in zip(lr, contents[1:] + contents[:1], strict=True):
        path.write_bytes(content)
    refused(outcome(files_set), "is not made from")


def test_lr_of_another_scale_a_dropped_picture_and_sizes_off_by_one(files_set):
    lr = sorted((files_set / "LR_bicubic/X2").glob("*.png"))
    kept = lr[2].read_bytes()
    for size in ((40, 43), (61, 64), (60, 63)):
        save_picture(resize_matlab(read_picture(files_set / "HR" / lr[2].name.replace("x2", "")), size), lr[2])
        refused(outcome(files_set), f"{lr[2].name!r} is {size[1]}x{size[0]}", "needs 64x60")
    lr[2].write_bytes(kept)
    (files_set / "HR" / lr[4].name.replace("x2", "")).unlink()
    refused(outcome(files_set), "1 LR files have no partner", lr[4].name)
    lr[4].unlink()
    done = outcome(files_set)
    assert done.returncode == 0 and "over 5 pictures\n" in done.stdout
    lr[1].write_bytes(lr[1].read_bytes()[:400])
    done = outcome(files_set)
    assert done.returncode == 1 and "over 4 pictures, 1 left out" in done.stdout and "damaged" in done.stdout

"Results files that can be checked: `inr-assr test --record` writes them, `inr-assr verify` measures again; what is other fails, and is named."

import csv
import shutil

import pandas as pd
import pytest
import torch

from conftest import ROOT, cli, shared
from inr_assr.faces.verify import results_page
from inr_assr.foundations.images import read_picture, save_picture
from inr_assr.models.checkpoints import save_model
from inr_assr.models.model import build_model

RESULTS = ROOT / "outputs" / "results"


@pytest.fixture(scope="module")
def home(photos, weights, tmp_path_factory):
    "A root with two photos in `set`, weights, and their results file."
    root = tmp_path_factory.mktemp("verify")
    (root / "set").mkdir()
    for file in sorted(photos.glob("*.png"))[:2]:
        save_picture(read_picture(file)[:60, :72], root / "set" / file.name)
    shutil.copy(weights, root / "small.pth")
    words = ["--benchmark", "set", "--data", root, "--scales", "2,3", "--profile", "ours", "--device", "cpu"]
    made = cli("test", "--weights", root / "small.pth", *words, "--record", root / "results.csv")
    assert made.returncode == 0, made.stderr
    return root


@pytest.fixture
def case(home, tmp_path):
    "A copy that may be spoilt."
    return shutil.copytree(home, tmp_path / "case")


def verify(case, *more):
    return cli("verify", case / "results.csv", "--data", case, "--weights", case / "small.pth", "--device", "cpu", *more)


def change(case, **values) -> None:
    "Overwrite cells of the file's first row."
    with open(case / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0].update(values)
    with open(case / "results.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def names(case) -> list[str]:
    return [file.stem for file in sorted((case / "set").glob("*.png"))]


def test_what_was_recorded_is_verified(case):
    done = verify(case)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verified: 12 values of 2 pictures on set agree within their tolerances" in done.stdout


def test_the_file_names_no_place_and_is_a_rows_file(case):
    text = (case / "results.csv").read_text()
    rows = pd.read_csv(case / "results.csv")
    assert "/" not in "".join(rows["command"]) and str(case.parent) not in text
    assert set(rows["command"]) == {"inr-assr test --weights small.pth --benchmark set --scales 2,3 --profile ours"}
    assert (rows["tolerance"] > 0).all() and rows["weights"].str.len().eq(8).all()
    assert cli("table", case / "results.csv", "--metric", "psnr_y", "--own").returncode == 0


def test_a_changed_value_fails_and_is_named(case):
    value = float(pd.read_csv(case / "results.csv")["value"][0])
    change(case, value=str(value + 0.002))
    done = verify(case)
    assert done.returncode == 1
    assert f"differs: value: set x2 {names(case)[0]} psnr_y: the file says {value + 0.002:.6f}" in done.stdout
    assert done.stdout.count("differs:") == 1
    change(case, value=str(value + 0.0005))  # within its tolerance
    assert verify(case).returncode == 0


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_value_that_is_none_fails(case, value):
    change(case, value=value)
    done = verify(case)
    assert done.returncode == 1 and "differs: value: set x2" in done.stdout


def test_other_weights_fail_and_are_named(case):
    torch.manual_seed(1)
    model = build_model("EDSR", "LTE", {"blocks": 1, "features": 8}, {"width": 16, "hidden": [16]})
    save_model(model, case / "small.pth")
    done = verify(case)
    known = pd.read_csv(case / "results.csv")["weights"][0]
    assert done.returncode == 1 and done.stdout.split("differs: ")[1].startswith(f"weights: the file says {known}, tested was ")


def test_another_picture_fails_and_is_named(case):
    name = names(case)[1]
    picture = read_picture(case / "set" / f"{name}.png").copy()
    picture[5, 5, 0] ^= 1  # one bit
    save_picture(picture, case / "set" / f"{name}.png")
    done = verify(case)
    assert done.returncode == 1 and f"differs: picture: set {name} has other HR pixels than in the file" in done.stdout
    assert names(case)[0] not in done.stdout.split("differs:", 1)[1]


def test_a_missing_picture_and_one_too_many_fail_and_are_named(case):
    first, second = names(case)
    (case / "set" / f"{first}.png").rename(case / "set" / "stranger.png")
    done = verify(case)
    assert done.returncode == 1
    assert f"differs: picture: set {first} is in the file and was not measured" in done.stdout
    assert "differs: picture: set stranger was measured and is not in the file" in done.stdout
    assert f"set {second}" not in done.stdout


def test_another_profile_fails_and_is_named(case):
    text = (case / "results.csv").read_text()
    (case / "results.csv").write_text(text.replace("--profile ours", "--profile liif"))
    done = verify(case)
    assert done.returncode == 1 and "differs: profile: the file says ours, tested was liif" in done.stdout
    (case / "results.csv").write_text(text.replace(",ours,", ",liif,", 1))
    done = verify(case)
    assert done.returncode == 1 and "differs: profile: the file says liif, ours, tested was ours" in done.stdout


@pytest.mark.parametrize(("column", "value"), [("precision", "bf16"), ("looks", "8"), ("cell_policy", "clip 4"), ("profile_hash", "00000000")])
def test_another_way_of_testing_fails_and_is_named(case, column, value):
    change(case, **{column: value})
    done = verify(case)
    assert done.returncode == 1 and f"differs: {column}: the file says" in done.stdout


@pytest.mark.parametrize("value", ["", "0", "-1", "inf", "wide"])
def test_a_tolerance_that_is_none_is_refused(case, value):
    change(case, tolerance=value)
    done = verify(case)
    assert done.returncode == 2 and "tolerance" in done.stderr


@pytest.mark.parametrize("command", ["rm -r .", "inr-assr train --encoder EDSR", "inr-assr test --bicubic --benchmark set --out rows.csv"])
def test_a_command_that_is_no_test_is_not_run(case, command):
    change(case, command=command)
    done = verify(case)
    assert done.returncode == 2 and "must be an inr-assr test that writes no file" in done.stderr
    assert not (case / "rows.csv").exists()


def test_files_that_cannot_be_verified_say_why(case):
    rows = pd.read_csv(case / "results.csv")
    rows.drop(columns=["tolerance", "command"]).to_csv(case / "results.csv", index=False)
    assert "lacks tolerance and command" in verify(case).stderr
    pd.concat([rows, rows[:1]]).to_csv(case / "results.csv", index=False)
    assert "twice" in verify(case).stderr
    (case / "results.csv").write_text("run,value\n1,2\n")
    assert verify(case).returncode == 2
    shutil.rmtree(case / "set")
    rows.to_csv(case / "results.csv", index=False)
    assert verify(case).returncode == 2
    assert cli("verify", case / "nothing.csv").returncode == 2


def test_one_file_holds_one_model_and_protocol(case):
    words = ["--benchmark", "set", "--data", case, "--scales", "2", "--device", "cpu", "--record", case / "results.csv"]
    before = (case / "results.csv").read_bytes()
    for more, name in ((["--bicubic", "--profile", "ours"], "weights"), (["--weights", case / "small.pth", "--profile", "liif"], "profile")):
        done = cli("test", *more, *words)
        assert done.returncode == 2 and f"is of {name}" in done.stderr, done.stderr
    assert (case / "results.csv").read_bytes() == before
    assert cli("test", "--bicubic", *words[:-1], case / "results.txt").returncode == 2


def test_bicubic_has_no_weights(case):
    words = ["--benchmark", "set", "--data", case, "--scales", "2", "--profile", "ours", "--record", case / "bicubic.csv"]
    assert cli("test", "--bicubic", *words).returncode == 0
    assert cli("verify", case / "bicubic.csv", "--data", case).returncode == 0
    done = cli("verify", case / "bicubic.csv", "--data", case, "--weights", case / "small.pth")
    assert done.returncode == 2 and "bicubic, which has none" in done.stderr


# The committed files


def test_the_page_is_made_from_the_files():
    assert (RESULTS / "README.md").read_text() == results_page(RESULTS), "inr-assr results outputs/results --out outputs/results/README.md"


def test_the_committed_files_agree_on_two_pictures_of_set5(tmp_path):
    kept, source = ("butterfly", "woman"), shared("data", "Set5")
    for folder in [source / "HR", *(source / "LR_bicubic").iterdir()]:
        to = tmp_path / folder.relative_to(source.parent)
        to.mkdir(parents=True)
        for file in folder.iterdir():
            if file.name.startswith(kept):
                shutil.copy(file, to)
    for name, weights in (("bicubic_liif", []), ("edsr-baseline-liif_liif", ["--weights", shared("weights", "edsr-baseline-liif.pth")])):
        rows = pd.read_csv(RESULTS / f"{name}.csv", dtype=str, keep_default_na=False)
        rows[(rows["benchmark"] == "Set5") & rows["image"].isin(kept)].to_csv(tmp_path / f"{name}.csv", index=False)
        done = cli("verify", tmp_path / f"{name}.csv", "--data", tmp_path, "--device", "cpu", *weights)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "verified: 12 values of 2 pictures on Set5 agree" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(file.name for file in RESULTS.glob("*.csv")))
def test_all_of_the_committed_files_agree(name):  # minutes a file
    data = shared("data", "B100").parent
    words = ["--weights", shared("weights", "edsr-baseline-liif.pth")] if name.startswith("edsr") else []
    done = cli("verify", RESULTS / name, "--data", data, *words)
    assert done.returncode == 0, done.stdout + done.stderr

"What `check` finds in a set that was spoilt in known ways, that it finds nothing in the real ones, and that no row of the table is made up."

import itertools
from collections import defaultdict

import numpy as np
import pytest
from conftest import cli, shared
from PIL import Image

from inr_assr.data.benchmarks import BENCHMARKS, TRAINING_SETS, find_benchmark
from inr_assr.data.downloads import check, listing
from inr_assr.data.pairs import ALIKE, alike, make_pair
from inr_assr.data.pictures import DEMO_PHOTOS, demo_photo
from inr_assr.foundations.images import read_picture, save_picture
from inr_assr.foundations.resampling import resize_matlab

NAMES = list(DEMO_PHOTOS)[:5]


@pytest.fixture
def root(tmp_path):
    "Five photos of 131x97 (width x height) in the place of Set5, with LR files at x2 and x3."
    for name in NAMES:
        photo = demo_photo(name)[60:157, 60:191]
        save_picture(photo, tmp_path / f"Set5/HR/{name}.png")
        for s in (2, 3):
            small = resize_matlab(photo[: 97 // s * s, : 131 // s * s], (97 // s, 131 // s))
            save_picture(small, tmp_path / f"Set5/LR_bicubic/X{s}/{name}x{s}.png")
    assert check("Set5", tmp_path).empty
    return tmp_path


def found(root) -> list[tuple[str, str]]:
    "Problems as (file, problem)."
    return list(check("Set5", root)[["file", "problem"]].itertuples(index=False, name=None))


def small(root, k: int, scale: int = 2):
    return root / f"Set5/LR_bicubic/X{scale}/{NAMES[k]}x{scale}.png"


def test_a_missing_picture(root):
    (root / f"Set5/HR/{NAMES[1]}.png").unlink()
    said = found(root)
    assert said[0] == ("", "4 pictures, 5 in full") and len(said) == 3
    assert [file for file, _ in said[1:]] == [small(root, 1, s).name for s in (2, 3)]
    assert listing(root).loc["Set5", "state"] == "incomplete"


def test_a_missing_and_a_stray_lr_file(root):
    small(root, 0).rename(small(root, 0).with_name("stray.png"))
    assert found(root) == [("", f"no LR file for '{NAMES[0]}.png'"), ("stray.png", "no HR picture belongs to it")]


@pytest.mark.parametrize("renamed", [False, True])
def test_x3_files_in_the_folder_x2(root, renamed):
    for k in range(5):
        small(root, k).unlink()
        target = small(root, k) if renamed else small(root, k).with_name(small(root, k, 3).name)
        target.write_bytes(small(root, k, 3).read_bytes())
    said = found(root)
    if renamed:
        assert len(said) == 5 and all("is 43x32" in problem and "needs 65x48" in problem for _, problem in said)
    else:
        assert len(said) == 10 and sum("no LR file" in problem for _, problem in said) == 5


@pytest.mark.parametrize("size", [(48, 66), (49, 65), (47, 65)])
def test_sizes_off_by_one(root, size):
    save_picture(resize_matlab(demo_photo(NAMES[2])[60:157, 60:191], size), small(root, 2))
    ((file, problem),) = found(root)
    assert file == small(root, 2).name and f"is {size[1]}x{size[0]}" in problem and "needs 65x48" in problem


@pytest.mark.parametrize("spoil", ["cut", "empty", "text", "one byte"])
@pytest.mark.parametrize("kind", ["HR", "LR"])
def test_a_corrupt_file(root, kind, spoil):
    path = small(root, 3) if kind == "LR" else root / f"Set5/HR/{NAMES[3]}.png"
    content = path.read_bytes()
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
    path.write_bytes({"cut": content[:middle], "empty": b"", "text": b"not a picture", "one byte": changed}[spoil])
    ((file, problem),) = found(root)
    assert file == path.name and path.name in problem


def test_exchanged_and_blank_lr_files(root):
    one, other = small(root, 1).read_bytes(), small(root, 4).read_bytes()
    small(root, 1).write_bytes(other), small(root, 4).write_bytes(one)
    save_picture(np.zeros((32, 43, 3), np.uint8), small(root, 2, 3))
    said = found(root)
    assert sorted(file for file, _ in said) == sorted(
        p.name for p in (small(root, 1), small(root, 4), small(root, 2, 3))
    )
    assert all("is not made from" in problem for _, problem in said)
    done = cli("data", "check", "Set5", "--root", root)
    assert done.returncode == 1 and done.stdout.startswith("Set5: 3 problems\n") and len(done.stdout.splitlines()) == 4


def test_all_files_shifted_by_one(root):
    contents = [small(root, k).read_bytes() for k in range(5)]
    for k in range(5):
        small(root, k).write_bytes(contents[k - 1])
    assert len(found(root)) == 5


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_true_pairs_pass_with_a_margin_and_no_exchanged_pair_does(scale):
    pairs, by_shape = {}, defaultdict(list)
    for name in ("Set5", "Set14", "B100"):
        for path in sorted((shared("data", name) / "HR").iterdir()):
            lr = read_picture(path.parents[1] / f"LR_bicubic/X{scale}/{path.stem}x{scale}.png")
            hr = read_picture(path)
            by_shape[hr.shape].append((name, path.stem))
            pairs[name, path.stem] = (np.ascontiguousarray(hr[: lr.shape[0] * scale, : lr.shape[1] * scale]), lr)
    assert len(pairs) == 119 and min(alike(*pair) for pair in pairs.values()) > 0.96
    exchanged = [both for keys in by_shape.values() for both in itertools.combinations(keys, 2)]
    assert len(exchanged) == 3190
    assert max(alike(pairs[a][0], pairs[b][1]) for a, b in exchanged[scale::3]) < 0.32 < ALIKE


@pytest.mark.parametrize("scale", [2, 4, 8, 12, "2x6"])
@pytest.mark.parametrize("kernel", ["pillow", "matlab"])
def test_a_pair_passes_whatever_made_it(scale, kernel):
    for name in NAMES:
        pair = make_pair(name, demo_photo(name)[:253, :307], scale, kernel)
        assert alike(pair.hr, pair.lr) > 0.8, name


@pytest.mark.parametrize("name", ["Set5", "Set14", "B100"])
def test_the_real_sets_are_clean_and_the_command_says_so(name):
    folder = shared("data", name).parent
    assert BENCHMARKS[name].missing(folder) == ""
    done = cli("data", "check", name, "--root", folder)
    assert (done.returncode, done.stdout) == (0, f"{name}: no problems\n")
    row = listing(folder).loc[name]
    assert row["state"] == "complete" and row["LR files at"] == "2, 3, 4"


def test_rows_say_what_their_sources_say():
    facts = shared("facts", "data_and_weights.md").read_text(encoding="utf-8")
    checksums = 0
    for registry in (BENCHMARKS, TRAINING_SETS):
        for name in registry:
            row = registry[name]
            assert row.terms and row.source and (row.downloads or row.by_hand), name
            for download in row.downloads:
                if wanted := download.checksum.removeprefix("md5:"):
                    line = next(line for line in facts.splitlines() if wanted in line)
                    assert download.name in line and (not download.size or f"{download.size:,}" in line), download.name
                    checksums += 1
                for address in download.addresses:
                    folder, _, file = address.partition("://")[2].rpartition("/")
                    assert folder in facts and file in facts, address
    assert checksums == 4  # two of DIV2K's LR archives, its training pictures, SVT
    kinds = {name: BENCHMARKS[name].kind for name in BENCHMARKS}
    assert set(kinds.values()) == {"DIV2K", "BENCHMARK"} and [n for n in kinds if kinds[n] == "DIV2K"] == ["DIV2K"]
    assert TRAINING_SETS["DIV2K-train"].count == 800 and "application" in BENCHMARKS["Manga109"].terms


def test_plain_folders_of_pictures(tmp_path):
    "The seed's ./datasets/SVT and ./datasets/CelebA-HQ, and LIIF's layout of the latter: LR made from its 256 pixels is LIIF's."
    photo = demo_photo(NAMES[0])[:256, :256]
    for set_name in ("SVT", "CelebA-HQ"):
        save_picture(photo, tmp_path / set_name / "00_01.png")
        row, root = find_benchmark(set_name, tmp_path)
        assert row.hr_folder(root) == tmp_path / set_name and row.lr_folder(root, 2) is None
        assert check(set_name, tmp_path).empty
    for side in (256, 128, 64, 32):
        small = np.asarray(Image.fromarray(photo).resize((side, side), Image.Resampling.BICUBIC))
        save_picture(small, tmp_path / f"CelebA-HQ/{side}/1.png")
        np.testing.assert_array_equal(make_pair("1", photo, 256 // side).lr, small)
    assert find_benchmark("CelebA_HQ", tmp_path)[0].hr_folder(tmp_path) == tmp_path / "CelebA-HQ/256"
    assert listing(tmp_path).loc["CelebA-HQ", "pictures"] == "1"
